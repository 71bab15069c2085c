"""CrystFEL's words for Laue classes, lattices and centrings, in terms of space groups.

The unique axis is c unless `_uaa` or `_uab` follows; `_R` and `_H` say rhombohedral and
hexagonal axes.
"""

import gemmi
import numpy as np

from spotmill.errors import SpotmillError
from spotmill.physics.reflections import laue_rotations, rotations

Operations = frozenset[tuple[int, ...]]

# A space group of each point group, unique axis c.
POINT_GROUPS = {
    "1": "P 1",
    "-1": "P -1",
    "2": "P 1 1 2",
    "m": "P 1 1 m",
    "2/m": "P 1 1 2/m",
    "222": "P 2 2 2",
    "mm2": "P m m 2",
    "mmm": "P m m m",
    "4": "P 4",
    "-4": "P -4",
    "4/m": "P 4/m",
    "422": "P 4 2 2",
    "4mm": "P 4 m m",
    "-42m": "P -4 2 m",
    "-4m2": "P -4 m 2",
    "4/mmm": "P 4/m m m",
    "3_R": "R 3:R",
    "-3_R": "R -3:R",
    "32_R": "R 3 2:R",
    "3m_R": "R 3 m:R",
    "-3m_R": "R -3 m:R",
    "3_H": "P 3",
    "-3_H": "P -3",
    "321_H": "P 3 2 1",
    "312_H": "P 3 1 2",
    "3m1_H": "P 3 m 1",
    "31m_H": "P 3 1 m",
    "-3m1_H": "P -3 m 1",
    "-31m_H": "P -3 1 m",
    "6": "P 6",
    "-6": "P -6",
    "6/m": "P 6/m",
    "622": "P 6 2 2",
    "6mm": "P 6 m m",
    "-62m": "P -6 2 m",
    "-6m2": "P -6 m 2",
    "6/mmm": "P 6/m m m",
    "23": "P 2 3",
    "m-3": "P m -3",
    "432": "P 4 3 2",
    "-43m": "P -4 3 m",
    "m-3m": "P m -3 m",
}

LAUE_CLASSES = (
    *("-1", "2/m", "2/m_uab", "2/m_uaa", "mmm", "4/m", "4/mmm", "-3_H", "-3_R"),
    *("-3m1_H", "-31m_H", "-3m_R", "6/m", "6/mmm", "m-3", "m-3m"),
)

# How far the axes are relabelled, in cyclic order, to move the unique axis from c.
TURNS = {"": 0, "c": 0, "a": 1, "b": 2}

# The full symmetry of each lattice, unique axis c.
HOLOHEDRIES = {
    "triclinic": "-1",
    "monoclinic": "2/m",
    "orthorhombic": "mmm",
    "tetragonal": "4/mmm",
    "rhombohedral": "-3m_R",
    "hexagonal": "6/mmm",
    "cubic": "m-3m",
}

CENTRINGS = "PABCIFRH"

UNIQUE_AXES = {"monoclinic": "abc", "tetragonal": "abc", "hexagonal": "abc"}


def point_group_operations(symbol: str) -> Operations:
    """Return the rotations of a point group by CrystFEL's symbol.

    Raises
    ------
    SpotmillError
        When the symbol is not one of CrystFEL's.
    """
    base, suffix, axis = symbol.partition("_ua")
    if base not in POINT_GROUPS or axis not in TURNS or bool(suffix) != bool(axis):
        raise SpotmillError(
            f"Symmetry: {symbol!r} is not a point group of CrystFEL's; write it as in 4/mmm, "
            "2/m_uab or -3m1_H"
        )
    operations = rotations(gemmi.find_spacegroup_by_name(POINT_GROUPS[base]))
    return _as_set(np.roll(operations, TURNS[axis], axis=(1, 2)))


def laue_operations(space_group: gemmi.SpaceGroup) -> Operations:
    """Return the rotations of a space group's Laue class."""
    return _as_set(laue_rotations(space_group))


def laue_symbol(space_group: gemmi.SpaceGroup) -> str:
    """Return CrystFEL's symbol of a space group's Laue class."""
    operations = laue_operations(space_group)
    return next(name for name in LAUE_CLASSES if point_group_operations(name) == operations)


def lattice_of(space_group: gemmi.SpaceGroup) -> tuple[str, str, str | None]:
    """Return CrystFEL's lattice type, centring letter and unique axis (where it has one)."""
    symbol = laue_symbol(space_group)
    letter = space_group.centring_type()
    if symbol.endswith("_R"):
        return "rhombohedral", "R", None
    if symbol.endswith("_H") or symbol.startswith("6"):
        return "hexagonal", "H" if letter == "R" else letter, "c"
    if symbol.startswith("2/m"):
        return "monoclinic", letter, symbol.partition("_ua")[2] or "c"
    if symbol.startswith("4"):
        return "tetragonal", letter, "c"
    plain = {"-1": "triclinic", "mmm": "orthorhombic", "m-3": "cubic", "m-3m": "cubic"}
    return plain[symbol], letter, None


def lattice_operations(lattice_type: str, unique_axis: str | None) -> Operations:
    """Return the rotations of a lattice's full symmetry."""
    suffix = f"_ua{unique_axis}" if unique_axis else ""
    return point_group_operations(HOLOHEDRIES[lattice_type] + suffix)


def symmorphic_group(operations: Operations, centring: str) -> gemmi.SpaceGroup | None:
    """Return the centrosymmetric group without absences but the centring's, or None.

    Parameters
    ----------
    operations
        Rotations of a Laue class.
    centring
        CrystFEL's letter (H: rhombohedral on hexagonal axes, R: on rhombohedral axes).
    """
    letter = {"H": "R", "R": "P"}.get(centring, centring)
    for group in gemmi.spacegroup_table():
        if (
            group.is_symmorphic()
            and group.is_centrosymmetric()
            and group.centring_type() == letter
            and laue_operations(group) == operations
        ):
            return group
    return None


def with_inversion(operations: Operations) -> Operations:
    """Return the Laue class of a point group."""
    return operations | frozenset(tuple(-value for value in row) for row in operations)


def as_array(operations: Operations) -> np.ndarray:
    """Return rotations as [n, 3, 3], in a fixed order."""
    return np.array(sorted(operations)).reshape(-1, 3, 3)


def _as_set(operations: np.ndarray) -> Operations:
    return frozenset(tuple(row) for row in operations.reshape(-1, 9).tolist())
