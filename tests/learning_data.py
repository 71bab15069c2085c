"""A small experiment for the tests of learning: four datasets on a detector of 120 x 110 pixels."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from spotmill.config import FIRST_EMPTY
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.tables import MANIFEST, write_table

SHAPE = (120, 110)
DATASETS = {"A": (6000.0, 0.1), "B": (8000.0, 0.1), "C": (6000.0, 0.2), "D": (8000.0, 0.2)}
PATTERNS, EMPTIES = 40, 20

GEOMETRY = """\
photon_energy = 7000 eV
clen = 0.1
res = 13333.333333
adu_per_photon = 1
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 109
p/min_ss = 0
p/max_ss = 119
p/corner_x = -55
p/corner_y = -60
p/fs = x
p/ss = y
"""


def mask() -> np.ndarray:
    live = np.ones(SHAPE, dtype=bool)
    live[58:62] = False
    return live


def water(photon_energy: float, clen: float) -> np.ndarray:
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(ss + 0.5 - 60, fs + 0.5 - 55) / 80
    ring = np.exp(-(((radius - 0.6 * (6000 / photon_energy) ** 2 * clen / 0.15) / 0.25) ** 2))
    level = 0.1 * (0.1 / clen) * (0.3 + ring)
    return np.where(mask(), level, 0).astype(np.float32)


# What a modelled background says of itself in the header of its frames.
WATER = {
    "detector": GEOMETRY,
    "beam": "nphotons: 1.0e+8\nbeam_radius: 5.0e-6\nbandwidth: 0.01\n",
    "solvent": "shape: sheet\nthickness: 1.0e-4\n",
}


def header(
    dataset: str, content: str, kind: str, parameters: dict[str, Any] | None = None
) -> Header:
    photon_energy, clen = DATASETS[dataset]
    return Header(
        dataset=dataset,
        content=content,
        kind=kind,
        photon_energy=photon_energy,
        clen=clen,
        pixel_size=75e-6,
        recipe=1,
        seed=1,
        parameters=parameters or {},
    )


def draw_spots(image: np.ndarray, rng: np.random.Generator) -> int:
    """Add spots of one pixel and more; return how many have 5 photons and more on live pixels."""
    live, strong = mask(), 0
    for _ in range(rng.integers(0, 7)):
        ss, fs = rng.integers(2, SHAPE[0] - 2), rng.integers(2, SHAPE[1] - 2)
        expected = rng.choice([1.0, 12.0, 40.0, 150.0])
        block = rng.poisson(expected * np.outer([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]))
        block = block * live[ss - 1 : ss + 2, fs - 1 : fs + 2]
        image[ss - 1 : ss + 2, fs - 1 : fs + 2] += block.astype(np.uint32)
        strong += int(block.sum() >= 5)
    return strong


def make(
    folder: Path,
    patterns: int = PATTERNS,
    datasets: tuple[str, ...] = tuple(DATASETS),
    parameters: dict[str, Any] | None = None,
    leak: bool = False,
) -> None:
    """Write geometry, water, peaks, overlays and manifests.

    With a leak, hits alone have bright pixels of no crystal at twelve fixed places.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.geom").write_text(GEOMETRY)
    for dataset in datasets:
        photon_energy, clen = DATASETS[dataset]
        expected = water(photon_energy, clen)
        with write_shard(
            folder / f"water/{dataset}.h5",
            header(dataset, "water", "empty"),
            np.array([0]),
            SHAPE,
            np.float32,
            mask(),
        ) as shard:
            shard.put(0, expected)
        rows: list[dict[str, Any]] = []
        for kind, first, count in (("crystal", 0, patterns), ("empty", FIRST_EMPTY, EMPTIES)):
            name = f"{kind[0]}00000"
            path = folder / f"overlay/{dataset}/{name}.h5"
            indices = np.arange(first, first + count)
            with (
                write_shard(
                    path,
                    header(dataset, "overlay", kind, parameters),
                    indices,
                    SHAPE,
                    np.uint16,
                    mask(),
                ) as shard,
                ExitStack() as stack,
            ):
                peaks = folder / f"peaks/{dataset}/{name}.h5"
                if kind == "crystal":
                    drawn = stack.enter_context(
                        write_shard(
                            peaks, header(dataset, "peaks", kind), indices, SHAPE, np.uint16, mask()
                        )
                    )
                for position, index in enumerate(indices.tolist()):
                    rng = np.random.default_rng([ord(dataset), index])
                    image = rng.poisson(expected).astype(np.uint32)
                    bragg = np.zeros(SHAPE, dtype=np.uint32)
                    spots = draw_spots(bragg, rng) if kind == "crystal" else 0
                    if leak and spots >= 3:
                        image[10:118:18, 20:90:35] += 60
                    shard.put(index, (image + bragg).astype(np.uint16))
                    if kind == "crystal":
                        drawn.put(index, bragg.astype(np.uint16))
                    rows.append(
                        {
                            "dataset": dataset,
                            "index": index,
                            "kind": kind,
                            "photon_energy": photon_energy,
                            "clen": clen,
                            "n_spots": spots,
                            "photons": 0,
                            "is_hit": spots >= 3,
                            "shard": name,
                            "position": position,
                            "overlay": str(path),
                            "peaks": str(peaks) if kind == "crystal" else "",
                            "labels": "",
                            "truth": "",
                            "recipe": "{}",
                        }
                    )
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        write_table(folder / f"manifest/{dataset}.parquet", columns, MANIFEST)


def write_task(path: Path, **changes: Any) -> Path:
    """Write a task file (YAML holds JSON)."""
    task: dict[str, Any] = {
        "target": "hit",
        "model": "patch_counter",
        "settings": {"candidates": 16, "block": 40},
        "epochs": 60,
        "learning_rate": 0.01,
    }
    if changes.get("model", "patch_counter") != "patch_counter":
        del task["settings"]
    path.write_text(json.dumps(task | changes))
    return path
