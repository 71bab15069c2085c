"""MTZ files: reading intensities from any, writing ours."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.formats.digests import PLACEHOLDER, is_altered, signed
from spotmill.physics.reflections import (
    LARGEST_INDEX,
    Cell,
    Reflections,
    find_space_group,
    laue_rotations,
    merge,
    orbit_keys,
)
from spotmill.plain_files import check_plain

TITLE = "Spotmill: |F|^2 in electrons^2 per unit cell"
INTENSITY_LABELS = ("I", "IMEAN")
AMPLITUDE_LABELS = ("F", "FP")
# How our own files say for which limit they were made.
HISTORY_D_MIN = re.compile(r"spotmill reflections: .*\bd_min ([0-9]+(?:\.[0-9]+)?) A")

RECORD, WORD = 80, 4  # bytes of a line of the header, and of a number
LARGEST_HEADER = 64 * 2**20


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
    try:
        column, group = _choose_column(mtz, path), mtz.spacegroup_name
    except UnicodeDecodeError as error:
        raise SpotmillError(
            f"{path}: its header holds letters that are not UTF-8; make or fetch it anew"
        ) from error
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
        raise SpotmillError(f"{path}: space group {group!r} is unknown; set it in the file")
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
    mtz.history = [*mtz.history, f"sha256 {PLACEHOLDER}"]
    # Written here, not by gemmi, whose error of a full disk says nothing of it.
    content = signed(mtz.write_to_bytes())
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _open(path: str | Path) -> gemmi.Mtz:
    _check_size(path)
    if is_altered(Path(path).read_bytes()):
        raise _broken(path, "its bytes are not those of its own sha256")
    try:
        return gemmi.read_mtz_file(str(path))
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0].removeprefix(f"{path}: ")
        raise _broken(path, reason) from error


def _check_size(path: str | Path) -> None:
    """Raise SpotmillError unless a file is as long as its header says; gemmi takes it on trust."""
    size = check_plain(path)
    try:
        with Path(path).open("rb") as handle:
            start = handle.read(20)
            if start[:4] != b"MTZ ":
                raise SpotmillError(f"{path}: is not an MTZ file; check its contents")
            if len(start) < 20:
                raise _broken(path, "its first lines are missing")
            order: Literal["big", "little"] = "big" if start[8] >> 4 == 1 else "little"
            place = int.from_bytes(start[4:8], order, signed=True)
            if place == -1:
                place = int.from_bytes(start[12:20], order, signed=True)
            header = (place - 1) * WORD
            if not RECORD <= header <= size - RECORD or size - header > LARGEST_HEADER:
                raise _broken(path, "its header is missing")
            handle.seek(header)
            text = handle.read()
    except OSError as error:
        raise SpotmillError(
            f"{path}: cannot be read ({error.strerror}); check the name and the folder"
        ) from error
    records = (text[at : at + RECORD] for at in range(0, len(text), RECORD))
    for record in records:
        words = record.split()
        if words and words[0].upper() == b"NCOL":
            counts = [int(word) if word.isdigit() and len(word) < 16 else -1 for word in words[1:4]]
            if len(counts) < 3 or min(counts) < 0 or 0 in counts[:1]:
                raise _broken(path, "its numbers of columns and reflections are none")
            if RECORD + counts[0] * counts[1] * WORD > header or counts[2] * RECORD > len(text):
                raise _broken(path, "it is shorter than its header says")
        if words and words[0].upper()[:4] in (b"END", b"MTZH"):
            break


def _broken(path: str | Path, reason: str) -> SpotmillError:
    return SpotmillError(f"{path}: is not a whole MTZ file ({reason}); make or fetch it anew")


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
    try:
        history = list(mtz.history)
    except UnicodeDecodeError:
        # Ours is plain text; what other programs note of themselves does not matter.
        return None
    for line in history:
        match = HISTORY_D_MIN.search(line)
        if match and float(match[1]) > 0:
            return float(match[1])
    return None
