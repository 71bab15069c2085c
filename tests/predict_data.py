"""Small trained models for the tests of prediction, and frames of other detectors."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import test_peaks
from learning_data import DATASETS, make, write_task

from spotmill.cli import main
from spotmill.physics.peak_bound import profile

SIZE = 24
VALUES = {"model": "radial_profile", "settings": {"bins": SIZE, "terms": 5}, "epochs": 10}
TASKS: dict[str, dict[str, Any]] = {
    "hit": {},
    "whole": {"model": "base_cnn", "epochs": 1},
    "photon_energy": {"target": "photon_energy", **VALUES},
    "camera_length": {"target": "camera_length", **VALUES},
    "peaks": {
        "target": "peaks",
        "model": "peak_net",
        "settings": {**test_peaks.NET, "background": [0.01, 4.0]},
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 0.005,
    },
}


def train_models(folder: Path) -> Path:
    """Train a model of each kind on frames of 120 x 110 pixels; return their folder."""
    make(folder / "frames")
    for dataset in "AB":
        test_peaks.make(folder / "peaks", dataset)
    for name, changes in TASKS.items():
        place = folder / ("peaks" if name == "peaks" else "frames")
        task = write_task(folder / f"{name}.yaml", **changes)
        known = "AB" if name == "peaks" else DATASETS
        split = str(folder / f"splits/{name}.parquet")
        words = ["--manifest", *(str(place / f"manifest/{one}.parquet") for one in known)]
        assert main(["split", "--task", str(task), *words, "--output", split]) == 0
        words = ["--detector", str(folder / "frames/small.geom"), "--split", split]
        output = str(folder / "models" / name)
        assert main(["train", "--task", str(task), *words, "--output", output]) == 0
    return folder / "models"


def other_detector(
    path: Path, background: float, spots: int, seed: int, frames: int = 1, **changes: Any
) -> np.ndarray:
    """Write frames of a detector of 3 modules of 64 x 200 pixels of 172 µm, with gaps.

    Returns the place (fs, ss) of the spots, [n, 2]; they are the same in all frames.
    """
    rng = np.random.default_rng(seed)
    shape = (3 * 64 + 2 * 17, 200)
    live = np.ones(shape, dtype=bool)
    live[64:81] = live[145:162] = False
    true: list[tuple[float, float]] = []
    while len(true) < spots:
        fs, ss = rng.uniform(6, shape[1] - 6), rng.uniform(6, shape[0] - 6)
        part = np.s_[int(ss) - 3 : int(ss) + 4, int(fs) - 3 : int(fs) + 4]
        apart = all(np.hypot(fs - a, ss - b) > 12 for a, b in true)
        if live[part].all() and apart:
            true.append((fs, ss))
    images = np.empty((frames, *shape), dtype=np.int32)
    for image in images:
        image[:] = rng.poisson(np.full(shape, background))
        for fs, ss in true:
            part = np.s_[int(ss) - 2 : int(ss) + 3, int(fs) - 2 : int(fs) + 3]
            image[part] += rng.poisson(60 * profile((fs % 1 - 0.5, ss % 1 - 0.5), 0.4))
        image[~live] = -1
    images = (images * changes.pop("gain", 1)).astype(changes.pop("dtype", np.int32))
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = images
        beam = file.create_group("entry/instrument/beam")
        beam["incident_wavelength"] = changes.pop("wavelength", 2.0664)
        beam["incident_wavelength"].attrs["units"] = "angstrom"
        detector = file.create_group("entry/instrument/detector")
        detector["distance"] = 100.0
        detector["distance"].attrs["units"] = "mm"
    return np.array(true).reshape(-1, 2)


def other_geometry(path: Path, clen: str = "0.1") -> Path:
    """Write the geometry of that detector, a panel a module."""
    text = f"clen = {clen}\nphoton_energy = 6000 eV\nres = 5813.95\nadu_per_photon = 1\n"
    text += "data = /entry/data/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    for number, first in enumerate((0, 81, 162)):
        name = f"m{number}"
        text += f"{name}/min_fs = 0\n{name}/max_fs = 199\n{name}/min_ss = {first}\n"
        text += f"{name}/max_ss = {first + 63}\n{name}/corner_x = -100\n"
        text += f"{name}/corner_y = {first - 113}\n{name}/fs = x\n{name}/ss = y\n"
    path.write_text(text)
    return path
