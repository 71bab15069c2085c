"""Rows of the tables that `spotmill simulate` writes: spots and frames."""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.formats.tables import SPOTS
from spotmill.physics.conditions import CONDITIONS, Conditions, dead_panels
from spotmill.physics.geometry import Detector
from spotmill.physics.pattern import Lattice, Pattern, Scene
from spotmill.physics.units import photon_energy_from_wavelength
from spotmill.randomise import Randomise

Columns = dict[str, list[Any]]


def as_array(values: list[Any], name: str, most: int) -> NDArray[Any]:
    """Return a frame column as an array; lists of crystals are filled up with NaN."""
    if not isinstance(values[0], list):
        return np.array(values)
    width = {"quaternion": 4, "astar": 3, "bstar": 3, "cstar": 3}.get(name, 1) * most
    filled = np.full((len(values), width), np.nan)
    for row, value in zip(filled, values, strict=True):
        row[: len(value)] = value
    return filled


def joined(columns: Columns) -> dict[str, Any]:
    """Return the columns of the table of the spots, each in one piece."""
    return {name: np.concatenate(columns[name]) if columns[name] else [] for name in SPOTS.names}


def add_spots(columns: Columns, index: int, number: int, lattice: Lattice, scene: Scene) -> None:
    """Append the rows of one crystal's spots that touch the detector."""
    spots, where = lattice.spots, lattice.where
    on = where.panel >= 0
    on &= (spots.photons >= scene.engine.least) | (lattice.photons >= 1)
    names = np.array([panel.name for panel in scene.detector.panels])
    rows = {
        "index": np.full(int(on.sum()), index, dtype=np.int64),
        "crystal": np.full(int(on.sum()), number, dtype=np.int32),
        "panel": names[where.panel[on]],
        "fs": where.fs[on],
        "ss": where.ss[on],
        "expected_photons": spots.photons[on],
        "live_fraction": where.live[on],
        "photons": lattice.photons[on],
        "d": 1.0 / np.linalg.norm(spots.s[on], axis=1),
        "photon_energy": spots.wavenumber[on] * photon_energy_from_wavelength(1.0),
    } | {name: spots.hkl[on, axis] for axis, name in enumerate("hkl")}
    for name, values in rows.items():
        columns[name].append(values)


def dead_names(
    detector: Detector, randomise: Randomise, identity: tuple[int, str, int]
) -> list[str]:
    """Return the names of the panels that count nothing in a frame."""
    if not randomise.masks_panels:
        return []
    dead = dead_panels(detector, randomise, identity)
    return [panel.name for panel, gone in zip(detector.panels, dead, strict=True) if gone]


def add_frame(
    columns: Columns,
    index: int,
    pattern: Pattern,
    conditions: Conditions,
    args: argparse.Namespace,
) -> None:
    """Append one frame's row."""
    lattices = pattern.lattices
    n_spots = sum(int((lattice.photons >= args.min_photons).sum()) for lattice in lattices)
    row: dict[str, Any] = {
        "index": index,
        "n_crystals": len(lattices),
        "quaternion": [float(x) for lattice in lattices for x in lattice.quaternion],
        "size": [lattice.size for lattice in lattices],
        "mosaicity": [lattice.mosaicity for lattice in lattices],
        "n_spots": n_spots,
        "photons": float(sum(lattice.photons.sum() for lattice in lattices)),
        "n_saturated": pattern.n_saturated,
        "is_hit": n_spots >= args.min_spots,
    }
    for axis, name in enumerate(("astar", "bstar", "cstar")):
        row[name] = [float(x) for lattice in lattices for x in lattice.turned[axis]]
    row |= {name: getattr(conditions, name) for name in CONDITIONS}
    for name, value in row.items():
        columns[name].append(value)
