"""A small experiment with a task of every kind, made through the commands.

120 frames on the tiny detector, each with its own photon energy and camera length.
"""

import json
from pathlib import Path
from typing import Any

from conftest import copy_tiny
from test_values import make_frames

from spotmill.cli import main

DETECTOR = "config/detectors/tiny.geom"
TASKS: dict[str, dict[str, Any]] = {
    "hit": {
        "target": "hit",
        "model": "patch_counter",
        "settings": {"candidates": 16, "block": 32},
        "epochs": 4,
        "learning_rate": 0.01,
    },
    "flux": {
        "target": "hit",
        "flux": [1, 0.1],
        "model": "photon_statistics",
        "epochs": 2,
        "learning_rate": 0.03,
    },
    "energy": {
        "target": "photon_energy",
        "scale": "values",
        "model": "profile_likelihood",
        "settings": {"bins": 32, "spacing": 2.0, "correction": 3},
        "epochs": 1,
        "learning_rate": 0.05,
    },
    "peaks": {
        "target": "peaks",
        "model": "peak_net",
        "settings": {"candidates": 64, "width": 4, "hidden": 8, "copies": 1, "crop": 64},
        "batch_size": 64,
        "epochs": 2,
        "learning_rate": 0.01,
    },
}


def make_kinds(folder: Path, tasks: dict[str, dict[str, Any]] | None = None) -> Path:
    """Write frames, tasks and splits into a new folder, which must be made the current one."""
    copy_tiny(folder)
    make_frames()
    for name, task in (tasks or TASKS).items():
        add_task(name, **task)
    return folder


def add_task(name: str, **task: Any) -> None:
    """Write a task file (YAML holds JSON) and its split."""
    Path(f"{name}.yaml").write_text(json.dumps(task))
    words = ["--task", f"{name}.yaml", "--manifest", "m.parquet"]
    assert main(["split", *words, "--output", f"splits/{name}.parquet"]) == 0


def common(name: str) -> list[str]:
    """Return the words that training and search share."""
    return [
        *("--task", f"{name}.yaml", "--split", f"splits/{name}.parquet"),
        *("--detector", DETECTOR, "--threads", "1"),
    ]
