"""A small production with a task of every kind, made by the real workflow for the browser."""

import json
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT, copy_tiny
from mill import PARTS, append, snakemake

# YAML holds JSON.
TASKS: dict[str, dict[str, Any]] = {
    "hit": {
        "target": "hit",
        "model": "patch_counter",
        "settings": {"candidates": 16, "block": 32, "hidden": 8},
        "batch_size": 8,
        "epochs": 30,
        "learning_rate": 3.0e-3,
    },
    "photon_energy": {
        "target": "photon_energy",
        "model": "radial_profile",
        "settings": {"bins": 24, "terms": 4, "spot_photons": 6, "spot_reach": 2},
        "batch_size": 8,
        "epochs": 10,
        "learning_rate": 0.03,
    },
    "photon_energy_values": {
        "target": "photon_energy",
        "scale": "values",
        "model": "profile_likelihood",
        "settings": {"bins": 32, "spacing": 2.0, "correction": 3},
        "epochs": 1,
        "learning_rate": 0.05,
    },
    "hit_low_flux": {
        "target": "hit",
        "flux": [1, 0.1],
        "model": "photon_statistics",
        "epochs": 2,
        "learning_rate": 0.03,
    },
    "peaks": {
        "target": "peaks",
        "model": "peak_net",
        "settings": {"candidates": 64, "width": 4, "hidden": 8, "copies": 1, "crop": 64},
        "batch_size": 64,
        "epochs": 3,
        "learning_rate": 0.01,
    },
}


def build(folder: Path) -> Path:
    """Run the workflow on the tiny detector in a new folder, to its report, and return it."""
    folder.mkdir()
    copy_tiny(folder)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name)
    config = folder / "config/config.yaml"
    config.write_text(config.read_text().split("tasks:")[0].replace("size: 12", "size: 24"))
    sheet = folder / "config/datasets.tsv"
    # A and B alone: every dataset is nine jobs.
    sheet.write_text("".join(sheet.read_text().splitlines(keepends=True)[:3]))
    append(config, "tasks:\n" + "".join(f"  - config/tasks/{name}.yaml\n" for name in TASKS))
    for name, task in TASKS.items():
        (folder / f"config/tasks/{name}.yaml").write_text(json.dumps(task) + "\n")
    snakemake(folder)
    return folder
