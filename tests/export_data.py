"""A task for every registered model, on the frames of `kinds_data`."""

from typing import Any

from kinds_data import TASKS

WHOLE: dict[str, Any] = {
    "target": "hit",
    "input": {"sum_bin": 4},
    "epochs": 1,
    "learning_rate": 1e-4,
}
CROPS: dict[str, Any] = {
    "target": "peaks",
    "settings": {"crop": 64, "crops": 1, "frames": 8},
    "batch_size": 8,
    "epochs": 1,
    "learning_rate": 1e-3,
}
EVERY: dict[str, dict[str, Any]] = {
    "patch_counter": TASKS["hit"],
    "photon_statistics": TASKS["flux"],
    "profile_likelihood": TASKS["energy"],
    "peak_net": TASKS["peaks"],
    "linear": WHOLE | {"model": "linear", "input": {"sum_bin": 1}, "balance": True},
    "base_cnn": WHOLE | {"model": "base_cnn", "input": {"sum_bin": 1}},
    "binary_cnn": WHOLE | {"model": "binary_cnn"},
    "dual_input_cnn": WHOLE | {"model": "dual_input_cnn"},
    "resnet50": WHOLE | {"model": "resnet50", "input": {"sum_bin": 3}},
    "heatmap_cnn": CROPS | {"model": "heatmap_cnn"},
    # Fewer and narrower layers: a whole one reads frames for minutes.
    "dncnn": CROPS
    | {
        "model": "dncnn",
        "settings": CROPS["settings"] | {"layers": 4, "channels": 8, "tile": 128},
    },
}
