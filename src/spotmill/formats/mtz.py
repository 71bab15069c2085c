"""MTZ files: reading intensities from any, writing ours."""

import re
from collections.abc import Sequence
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.physics.reflections import (
    LARGEST_INDEX,
    Cell,
    Reflections,
    find_space_group,
    laue_rotations,
    merge,
    orbit_keys,
)

TITLE = "Spotmill: |F|^2 in electrons^2 per unit cell"
INTENSITY_LABELS = ("I", "IMEAN")
AMPLITUDE_LABELS = ("F", "FP")
# How our own files say for which limit they were made.
HISTORY_D_MIN = re.compile(r"spotmill reflections: .*\bd_min ([0-9.]+) A")


def read_mtz(path: str | Path) -> Reflections:
    """Read a merged MTZ file.

    Intensities are the column of type J (called I or IMEAN where there are several), taken
    as electrons^2 per unit cell. Without one, the amplitudes of the column of type F (called
    F or FP where there are several) are squared.

    Raises
    ------
    SpotmillError
        When the file is no MTZ, is not merged, has neither column or no space group, or an
        intensity is missing or negative.
    """
    mtz = _open(path)
    column = _choose_column(mtz, path)
    values = np.array(column.array, dtype=np.float64)
    intensity = values**2 if column.type == "F" else values
    listed = np.array(mtz.array[:, :3])
    if not len(listed):
        raise SpotmillError(f"{path}: holds no reflections; give another file")
    if not (np.abs(listed) <= LARGEST_INDEX).all():
        raise SpotmillError(f"{path}: has indices beyond {LARGEST_INDEX}; the file is damaged")
    hkl: NDArray[np.int32] = listed.astype(np.int32)
    cell: Cell = mtz.get_cell(column.dataset_id).parameters
    if mtz.spacegroup is None:
        raise SpotmillError(
            f"{path}: space group {mtz.spacegroup_name!r} is unknown; set it in the file"
        )
    try:
        space_group = find_space_group(mtz.spacegroup.xhm(), cell)
        _refuse_unmerged(space_group, hkl)
        return merge(cell, space_group, hkl, intensity, _stated_d_min(mtz))
    except SpotmillError as error:
        raise SpotmillError(f"{path}: column {column.label}: {error}") from error


def write_mtz(path: str | Path, reflections: Reflections, history: Sequence[str]) -> None:
    """Write reflections as MTZ: H, K, L and I (type J, electrons^2 per unit cell, float32).

    Parameters
    ----------
    history
        Lines of up to 80 characters; the list's d_min is recorded before them.
    """
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = TITLE
    mtz.history = [f"spotmill reflections: d_min {reflections.d_min:.6g} A", *history]
    mtz.spacegroup = find_space_group(reflections.space_group, reflections.cell)
    mtz.set_cell_for_all(gemmi.UnitCell(*reflections.cell))
    mtz.add_dataset("spotmill")
    mtz.add_column("I", "J")
    mtz.set_data(np.column_stack([reflections.hkl, reflections.intensity]).astype(np.float32))
    with atomic(path) as temporary:
        mtz.write_to_file(str(temporary))


def _open(path: str | Path) -> gemmi.Mtz:
    try:
        with Path(path).open("rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise SpotmillError(
            f"{path}: cannot be read ({error.strerror}); check the name and the folder"
        ) from error
    if magic != b"MTZ ":
        raise SpotmillError(f"{path}: is not an MTZ file; check its contents")
    try:
        return gemmi.read_mtz_file(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].removeprefix(f"{path}: ")
        raise SpotmillError(
            f"{path}: is not a whole MTZ file ({reason}); make or fetch it anew"
        ) from error


def _choose_column(mtz: gemmi.Mtz, path: str | Path) -> gemmi.Mtz.Column:
    for kind, labels in (("J", INTENSITY_LABELS), ("F", AMPLITUDE_LABELS)):
        columns = list(mtz.columns_with_type(kind))
        if not columns:
            continue
        if len(columns) == 1:
            return columns[0]
        for label in labels:
            named = [column for column in columns if column.label == label]
            if len(named) == 1:
                return named[0]
        names = ", ".join(column.label for column in columns)
        raise SpotmillError(
            f"{path}: has several columns of type {kind} ({names}); call the right one {labels[0]}"
        )
    names = ", ".join(mtz.column_labels())
    raise SpotmillError(
        f"{path}: has neither intensities (type J) nor amplitudes (type F) among its columns "
        f"{names}; give a file with one"
    )


def _refuse_unmerged(space_group: gemmi.SpaceGroup, hkl: NDArray[np.int32]) -> None:
    keys, counts = np.unique(orbit_keys(hkl, laue_rotations(space_group)), return_counts=True)
    if len(keys) < len(hkl):
        raise SpotmillError(
            f"lists {np.count_nonzero(counts > 1)} reflections more than once; merge it first"
        )


def _stated_d_min(mtz: gemmi.Mtz) -> float | None:
    for line in mtz.history:
        match = HISTORY_D_MIN.search(line)
        if match:
            return float(match[1])
    return None
