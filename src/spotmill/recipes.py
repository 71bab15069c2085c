"""Versions of what each stage computes.

A number is raised by hand when the *numbers* that a stage writes change. The rules
pass it as a parameter, so a raised recipe remakes its stage and everything after
it, while a comment, a formatter or a faster loop remakes nothing. The golden tests
(`tests/test_frames.py`, `tests/test_golden.py`) fail when numbers change and the recipe does not.

A model has a recipe of its own besides: what it computes changed (`learning/models/`,
its encoder). Raising it retrains the tasks that use this model and no other; training
itself (`learning/training.py`) is the recipe of the stage `train`.
"""

RECIPES: dict[str, int] = {
    "reflections": 2,
    "geometry": 2,
    "simulate": 2,
    "water": 2,
    "overlay": 2,
    "labels": 2,
    "manifest": 2,
    "check": 2,
    "map": 1,
    "split": 3,
    "train": 3,
    "evaluate": 4,
    "saliency": 3,
    "tune": 1,
    "gallery": 3,
    "report": 7,
    "card": 2,
    "crate": 3,
    "cost": 1,
}

MODEL_RECIPES: dict[str, int] = {
    "patch_counter": 1,
    "binary_cnn": 1,
    "base_cnn": 1,
    "dual_input_cnn": 1,
    "resnet50": 1,
    "radial_profile": 2,
    "profile_likelihood": 1,
    "peak_net": 2,
    "heatmap_cnn": 1,
    "dncnn": 1,
    "linear": 1,
    "photon_statistics": 1,
}
