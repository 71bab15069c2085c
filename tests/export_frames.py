"""A small folder of results with two datasets, for the tests of exported frames.

`01` is stored; `02` is virtual, and each of its frames has its own energy, distance and beam.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from conftest import copy_tiny, simulate_words, water_words

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.overlays.opener import open_overlay

DATASETS = {"01": (6000.0, 0.05), "02": (8000.0, 0.09)}
SHARDS = {"p00000": (0, 9), "p00001": (9, 6)}
EMPTIES = 7
FRAMES = 2 * (15 + EMPTIES)
DETECTOR = "config/detectors/tiny.geom"
RANDOMISE = """\
photon_energy: {uniform: [-300, 300]}
clen: {uniform: [-0.005, 0.005]}
beam_x: {normal: [0, 5.0e-4]}
beam_y: {normal: [0, 5.0e-4]}
"""
SHARES = ("--train", "0.6", "--validation", "0.2", "--test", "0.2")


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def make_dataset(name: str, virtual: bool) -> None:
    photon_energy, clen = DATASETS[name]
    where: dict[str, object] = {"photon-energy": photon_energy, "clen": clen, "dataset": name}
    where["beam"] = "bright.yaml"
    images = Path("results/images")
    water = f"{images}/water/{name}.h5"
    run(*water_words(water, **where))
    words = [part for key, value in where.items() for part in (f"--{key}", value)]
    run("geometry", "--detector", DETECTOR, *words, "--output", f"{images}/{name}.geom")
    changes = ["--randomise", "r.yaml", "--virtual"] if virtual else []
    drawn = ["overlay", "--water", water, "--seed", "7", *changes]
    files: dict[str, list[str]] = {"overlay": [], "peaks": [], "labels": [], "truth": []}
    for shard, (first, count) in SHARDS.items():
        peaks = f"{images}/peaks/{name}/{shard}.h5"
        truth = f"results/truth/{name}/{shard}.parquet"
        given = {**where, "randomise": "r.yaml" if virtual else None}
        places = {"peaks/x.h5": peaks, "truth/x.parquet": truth}
        run(*(places.get(word, word) for word in simulate_words("x", first, count, **given)))
        overlay = f"{images}/peaks_water_overlay/{name}/{shard}.h5"
        run(*drawn, "--peaks", peaks, "--output", overlay)
        labels = f"{images}/labels/{name}/{shard}.h5"
        run("labels", "--peaks", peaks, "--output", labels)
        for key, path in zip(files, (overlay, peaks, labels, truth), strict=True):
            files[key].append(path)
    files["overlay"].append(f"{images}/peaks_water_overlay/{name}/e00000.h5")
    run(*drawn, "--first", FIRST_EMPTY, "--count", EMPTIES, "--output", files["overlay"][-1])
    given_files = [part for key, paths in files.items() for part in (f"--{key}", *paths)]
    run("manifest", *given_files, "--output", f"results/manifest/{name}.parquet")


def make_results(folder: Path) -> Path:
    """Write the results into a new folder, which must be made the current one."""
    copy_tiny(folder)
    Path("r.yaml").write_text(RANDOMISE)
    Path("bright.yaml").write_text("nphotons: 3.0e8\nbeam_radius: 5.0e-6\nbandwidth: 0.01\n")
    for name in DATASETS:
        make_dataset(name, virtual=name == "02")
    manifests = [f"results/manifest/{name}.parquet" for name in DATASETS]
    run("manifest", "--join", *manifests, "--output", "results/manifest/all.parquet")
    for task, hold_out in (("hit", []), ("held", ["02"])):
        text = {"target": "hit", "model": "patch_counter", "epochs": 1, "learning_rate": 0.01}
        Path(f"{task}.yaml").write_text(json.dumps(text | {"hold_out": hold_out}))
        words = ["split", "--task", f"{task}.yaml", "--manifest", *manifests, *SHARES]
        where = "results/splits" if task == "hit" else "held"
        run(*words, "--output", f"{where}/{task}.parquet")
    return folder


def export(what: str, output: object, *words: object) -> int:
    return main([str(word) for word in ("export", what, "--output", output, *words)])


def listed(output: object) -> pd.DataFrame:
    """Return the list of frames of an export."""
    return pd.read_csv(f"{output}/frames.csv", dtype={"dataset": str})


def manifest() -> pd.DataFrame:
    """Return all frames of the results by identity."""
    table = pd.read_parquet("results/manifest/all.parquet")
    return table.set_index(["dataset", "index"])


def source(row: Any, kind: str) -> np.ndarray:
    """Return an image of the results; what is stored is read by h5py alone."""
    path = getattr(row, kind)
    if not path:
        return np.zeros((128, 166))
    if kind == "overlay" and "/02/" in path:
        with open_overlay(path) as shard:
            return shard.read(row.position).copy()
    with h5py.File(path) as file:
        return file["entry/data/data"][row.position]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
