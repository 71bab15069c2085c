"""CrystFEL reflection lists, version 2.0."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.cell import CellFile, read_cell
from spotmill.formats.point_groups import (
    Operations,
    as_array,
    lattice_of,
    lattice_operations,
    laue_operations,
    laue_symbol,
    point_group_operations,
    symmorphic_group,
    with_inversion,
)
from spotmill.model import read_text
from spotmill.physics.reflections import (
    LARGEST_INDEX,
    Reflections,
    find_space_group,
    merge,
    orbit_keys,
)
from spotmill.plain_files import LARGEST_TEXT, check_unpacked

FIRST_LINE = "CrystFEL reflection list version 2.0"
COLUMNS = "   h    k    l                I    phase   sigma(I)   nmeas"
COLUMN_NAMES = ["h", "k", "l", "I", "phase", "sigma(I)", "nmeas"]
LAST_LINE = "End of reflections"


@dataclass(frozen=True)
class _List:
    symmetry: str
    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    lines: list[int]


def read_hkl(
    path: str | Path, cell_file: str | Path, space_group: str | None = None
) -> Reflections:
    """Read a CrystFEL reflection list (also gzipped) with its unit cell file.

    Intensities are taken as electrons^2 per unit cell, and averaged over the Laue class.

    Parameters
    ----------
    space_group
        Where it is not given, the symmorphic group of the list's Laue class and the cell
        file's centring is taken, which has no absences but those of the centring.

    Raises
    ------
    SpotmillError
        With the line number for a line that cannot be read or a repeated reflection; when
        list, cell file and space group disagree; when an intensity is negative.
    """
    listed = _parse(path)
    described = read_cell(cell_file)
    try:
        operations = point_group_operations(listed.symmetry)
    except SpotmillError as error:
        raise SpotmillError(f"{path}: line 2: {error}") from error
    group = _space_group(path, listed.symmetry, operations, cell_file, described, space_group)
    _refuse_repeats(path, listed, operations)
    try:
        return merge(described.cell, group, listed.hkl, listed.intensity)
    except SpotmillError as error:
        raise SpotmillError(f"{path}: {error}") from error


def write_hkl(path: str | Path, reflections: Reflections) -> None:
    """Write reflections as a CrystFEL list, merged in their Laue class."""
    space_group = find_space_group(reflections.space_group, reflections.cell)
    rows = [
        "{:4d} {:4d} {:4d} {:16.9g}        -       0.00       1".format(*hkl, value)
        for hkl, value in zip(reflections.hkl.tolist(), reflections.intensity.tolist(), strict=True)
    ]
    head = [FIRST_LINE, f"Symmetry: {laue_symbol(space_group)}", COLUMNS]
    write_text(path, "\n".join([*head, *rows, LAST_LINE]) + "\n")


def read_list_text(path: str | Path) -> str:
    """Return the text of a reflection list, gzipped or not."""
    if Path(path).suffix != ".gz":
        return read_text(path)
    check_unpacked(path, LARGEST_TEXT)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            return handle.read()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SpotmillError(
            f"{path}: cannot be read as gzipped text ({error}); check the name and the file"
        ) from error


def _parse(path: str | Path) -> _List:
    lines = read_list_text(path).splitlines()
    if not lines or lines[0].strip() != FIRST_LINE:
        raise SpotmillError(f"{path}: line 1: must be {FIRST_LINE!r}; is this a .hkl file?")
    if len(lines) < 3 or not lines[1].startswith("Symmetry:"):
        raise SpotmillError(f"{path}: line 2: must be 'Symmetry:' and a point group, as 4/mmm")
    if lines[2].split() != COLUMN_NAMES:
        raise SpotmillError(f"{path}: line 3: must name the columns {' '.join(COLUMN_NAMES)}")
    indices: list[tuple[int, int, int]] = []
    values: list[float] = []
    numbers: list[int] = []
    for number, line in enumerate(lines[3:], start=4):
        if line.strip() == LAST_LINE:
            break
        hkl, value = _parse_row(line, f"{path}: line {number}")
        indices.append(hkl)
        values.append(value)
        numbers.append(number)
    else:
        raise SpotmillError(f"{path}: ends without {LAST_LINE!r}; the file is truncated")
    if not indices:
        raise SpotmillError(f"{path}: holds no reflections; give another list")
    symmetry = lines[1].partition(":")[2].strip()
    return _List(symmetry, np.array(indices, dtype=np.int32), np.array(values), numbers)


def _parse_row(line: str, where: str) -> tuple[tuple[int, int, int], float]:
    fields = line.split()
    if len(fields) != len(COLUMN_NAMES):
        raise SpotmillError(
            f"{where}: has {len(fields)} columns instead of {len(COLUMN_NAMES)} "
            f"({' '.join(COLUMN_NAMES)}); mend the line"
        )
    try:
        h, k, l = (int(field) for field in fields[:3])  # noqa: E741
        value = float(fields[3])
    except ValueError as error:
        raise SpotmillError(
            f"{where}: h, k, l must be whole numbers and I a number; mend it"
        ) from error
    if max(abs(h), abs(k), abs(l)) > LARGEST_INDEX:
        raise SpotmillError(f"{where}: index beyond {LARGEST_INDEX}; correct or remove the line")
    if not (math.isfinite(value) and value >= 0):
        raise SpotmillError(
            f"{where}: reflection {h} {k} {l} has intensity {fields[3]}; |F|^2 must be a number "
            "of 0 or more, so correct or remove the line"
        )
    return (h, k, l), value


def _space_group(
    path: str | Path,
    symmetry: str,
    operations: Operations,
    cell_file: str | Path,
    described: CellFile,
    name: str | None,
) -> gemmi.SpaceGroup:
    lattice = lattice_operations(described.lattice_type, described.unique_axis)
    axis = f", unique axis {described.unique_axis}" if described.unique_axis else ""
    if not operations <= lattice:
        raise SpotmillError(
            f"{path} has Symmetry {symmetry}, but {cell_file} a {described.lattice_type} lattice"
            f"{axis}, which lacks it; use files of the same crystal"
        )
    if name is None:
        found = symmorphic_group(with_inversion(operations), described.centering)
        if found is None:
            raise SpotmillError(
                f"{path} has Symmetry {symmetry}, {cell_file} centering {described.centering}"
                f"{axis}: no space group in the tables has both; re-index to a standard setting"
            )
        name = found.xhm()
    try:
        group = find_space_group(name, described.cell)
    except SpotmillError as error:
        raise SpotmillError(f"{cell_file}: {error}") from error
    if not operations <= laue_operations(group):
        raise SpotmillError(
            f"{path} has Symmetry {symmetry}, which space group {group.xhm()} does not have; "
            "correct one of the two"
        )
    if lattice_of(group)[1] != described.centering:
        raise SpotmillError(
            f"{cell_file} has centering {described.centering}, space group {group.xhm()} has "
            f"{lattice_of(group)[1]}; correct one of the two"
        )
    return group


def _refuse_repeats(path: str | Path, listed: _List, operations: Operations) -> None:
    keys = orbit_keys(listed.hkl, as_array(operations))
    _, first, orbit = np.unique(keys, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[orbit] != np.arange(len(keys)))
    if len(repeated):
        row = int(repeated[0])
        h, k, l = listed.hkl[row]  # noqa: E741
        raise SpotmillError(
            f"{path}: line {listed.lines[row]}: reflection {h} {k} {l} is equivalent to the one "
            f"of line {listed.lines[first[orbit[row]]]} in {listed.symmetry}; keep one"
        )
