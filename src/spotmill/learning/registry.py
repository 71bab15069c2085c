"""The models by name: one line and one module each. Importing this imports no torch."""

import importlib
from types import ModuleType
from typing import NamedTuple

PLACE = "spotmill.learning.models"


class Entry(NamedTuple):
    """Where a model lives and what it can tell."""

    module: str
    targets: tuple[str, ...]


MODELS: dict[str, Entry] = {
    "patch_counter": Entry("patch_counter", ("hit",)),
    "binary_cnn": Entry("binary_cnn", ("hit",)),
    "base_cnn": Entry("base_cnn", ("hit",)),
    "radial_profile": Entry("radial_profile", ("photon_energy", "camera_length")),
    "linear": Entry("linear", ("hit", "photon_energy", "camera_length")),
}


def model_module(name: str) -> ModuleType:
    """Import the module of a model, which defines `Settings`, `encoder` and `Network`.

    See `spotmill.learning.models` for what these promise.
    """
    return importlib.import_module(f"{PLACE}.{MODELS[name].module}")
