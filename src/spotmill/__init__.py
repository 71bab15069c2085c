"""Spotmill mills diffraction spots: labelled serial-crystallography frames and models of them."""

from importlib.metadata import version

__version__ = version("spotmill")
