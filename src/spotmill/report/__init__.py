"""Figures and pages: what was made, and whether the models can be believed."""
