"""The models by name: one line and one module each. Importing this imports no torch."""

import importlib
from types import ModuleType
from typing import NamedTuple

PLACE = "spotmill.learning.models"


class Entry(NamedTuple):
    """Where a model lives, what it can tell, and whether it reads whole frames (summed or not).

    `scale` says whether it tells classes, or values with their standard deviations; `memory`
    how much training takes, MB, under the settings of the shipped tasks.
    """

    module: str
    targets: tuple[str, ...]
    whole_frames: bool
    scale: str = "classes"
    memory: int = 3000


MODELS: dict[str, Entry] = {
    "patch_counter": Entry("patch_counter", ("hit",), False),
    "binary_cnn": Entry("binary_cnn", ("hit",), True),
    "base_cnn": Entry("base_cnn", ("hit",), True),
    "dual_input_cnn": Entry("dual_input_cnn", ("hit",), True, memory=8000),
    "resnet50": Entry("resnet50", ("hit",), True, memory=4000),
    "radial_profile": Entry("radial_profile", ("photon_energy", "camera_length"), False),
    "peak_net": Entry("peak_net", ("peaks",), False),
    "heatmap_cnn": Entry("heatmap_cnn", ("peaks",), False),
    "dncnn": Entry("dncnn", ("peaks",), False),
    "profile_likelihood": Entry(
        "profile_likelihood", ("photon_energy", "camera_length"), False, "values"
    ),
    "photon_statistics": Entry("photon_statistics", ("hit",), False),
    "linear": Entry("linear", ("hit", "photon_energy", "camera_length"), True),
}


def model_module(name: str) -> ModuleType:
    """Import the module of a model, which defines `Settings`, `encoder` and `Network`.

    See `spotmill.learning.models` for what these promise.
    """
    return importlib.import_module(f"{PLACE}.{MODELS[name].module}")
