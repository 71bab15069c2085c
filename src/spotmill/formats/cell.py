"""CrystFEL unit cell files (``crystfel_unitcell(5)``), version 1.0."""

import math
from dataclasses import dataclass
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.point_groups import CENTRINGS, HOLOHEDRIES, UNIQUE_AXES, lattice_of
from spotmill.model import read_text
from spotmill.physics.reflections import Cell, Reflections, find_space_group

FIRST_LINE = "CrystFEL unit cell file version 1.0"
LENGTHS = ("a", "b", "c")
ANGLES = ("al", "be", "ga")
WORDS = ("lattice_type", "centering", "unique_axis")
UNITS = {
    **{key: {"A": 1.0, "nm": 10.0} for key in LENGTHS},
    **{key: {"deg": 1.0, "rad": 180 / math.pi} for key in ANGLES},
}


@dataclass(frozen=True)
class CellFile:
    """Hold what a CrystFEL unit cell file says.

    Attributes
    ----------
    cell
        a, b, c in Å and alpha, beta, gamma in degrees.
    lattice_type, centering, unique_axis
        CrystFEL's words; the unique axis is None for lattices without one.
    """

    cell: Cell
    lattice_type: str
    centering: str
    unique_axis: str | None


def read_cell(path: str | Path) -> CellFile:
    """Read a CrystFEL unit cell file; all six parameters are required.

    Raises
    ------
    SpotmillError
        With the line number, when a line is unknown, contradictory or lacks its unit.
    """
    lines = read_text(path).splitlines()
    if not lines or lines[0].strip() != FIRST_LINE:
        raise SpotmillError(f"{path}: line 1: must be {FIRST_LINE!r}; is this a .cell file?")
    numbers: dict[str, float] = {}
    words: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        _read_line(line, f"{path}: line {number}", numbers, words)
    missing = [key for key in (*WORDS[:2], *LENGTHS, *ANGLES) if key not in words | numbers]
    if missing:
        raise SpotmillError(f"{path}: {missing[0]}: is required; add it")
    lattice, axis = words["lattice_type"], words.get("unique_axis")
    if lattice in UNIQUE_AXES and axis is None:
        raise SpotmillError(f"{path}: unique_axis: is required for a {lattice} lattice; add it")
    a, b, c, alpha, beta, gamma = (numbers[key] for key in LENGTHS + ANGLES)
    return CellFile(
        (a, b, c, alpha, beta, gamma),
        lattice,
        words["centering"],
        axis if lattice in UNIQUE_AXES else None,
    )


def write_cell(path: str | Path, reflections: Reflections) -> None:
    """Write the cell of reflections as a CrystFEL unit cell file."""
    space_group = find_space_group(reflections.space_group, reflections.cell)
    lattice, centering, axis = lattice_of(space_group)
    lines = [FIRST_LINE, "", f"lattice_type = {lattice}", f"centering = {centering}"]
    if axis:
        lines.append(f"unique_axis = {axis}")
    for keys, unit, values in (
        (LENGTHS, "A", reflections.cell[:3]),
        (ANGLES, "deg", reflections.cell[3:]),
    ):
        lines.append("")
        lines += [f"{key} = {value:.10g} {unit}" for key, value in zip(keys, values, strict=True)]
    write_text(path, "\n".join(lines) + "\n")


def _read_line(line: str, where: str, numbers: dict[str, float], words: dict[str, str]) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals:
        raise SpotmillError(f"{where}: is not of the form 'parameter = value'; correct it")
    if key not in WORDS and key not in UNITS:
        raise SpotmillError(
            f"{where}: {key}: unknown parameter; known: {', '.join((*WORDS, *LENGTHS, *ANGLES))}"
        )
    if key in numbers or key in words:
        raise SpotmillError(f"{where}: {key}: is given twice; keep one")
    if key in UNITS:
        numbers[key] = _quantity(key, value, where)
        return
    allowed = {
        "lattice_type": tuple(HOLOHEDRIES),
        "centering": tuple(CENTRINGS),
        "unique_axis": ("a", "b", "c"),
    }[key]
    if value not in allowed:
        raise SpotmillError(
            f"{where}: {key}: {value!r} is not one of {', '.join(allowed)}; choose one"
        )
    words[key] = value


def _quantity(key: str, value: str, where: str) -> float:
    factors = UNITS[key]
    text, _, unit = value.partition(" ")
    unit = unit.strip()
    if unit not in factors:
        raise SpotmillError(f"{where}: {key}: needs a number and a unit, {' or '.join(factors)}")
    try:
        number = float(text) * factors[unit]
    except ValueError as error:
        raise SpotmillError(f"{where}: {key}: {text!r} is not a number; correct it") from error
    highest = 180.0 if key in ANGLES else 1e5
    if not 0 < number < highest:
        raise SpotmillError(f"{where}: {key}: {value} is not between 0 and {highest:g}; correct it")
    return number
