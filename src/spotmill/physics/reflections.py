"""Reflection lists: one |F|^2 for each symmetry-independent reflection, and its equivalents.

Friedel's law is taken to hold throughout: I(hkl) = I(-h-k-l).
"""

import math
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError

Cell = tuple[float, float, float, float, float, float]

# Rounding of cells in the PDB and in merged lists passes; the cell of another crystal does not.
LENGTH_TOLERANCE = 1e-3  # of the length
ANGLE_TOLERANCE = 0.1  # degrees

LIMIT_TOLERANCE = 0.01  # of d_min

# No crystal has larger indices, and three of them pack into one 64-bit key.
LARGEST_INDEX = 5000

# Noise leaves a few weak intensities where the space group has none; strong ones mean that
# the space group is wrong.
ABSENT_SHARE = 0.1


@dataclass(frozen=True)
class Reflections:
    """Hold the intensities of a crystal, one for each independent reflection.

    Attributes
    ----------
    cell
        a, b, c in Å and alpha, beta, gamma in degrees.
    space_group
        Extended Hermann-Mauguin symbol, such as ``P 43 21 2`` or ``R 3:H``.
    hkl
        int32 [n, 3] in the CCP4 asymmetric unit, sorted; neither 000 nor systematically
        absent ones.
    intensity
        float64 [n], |F|^2 in electrons^2 per unit cell.
    d_min
        Resolution limit of the list in Å.
    """

    cell: Cell
    space_group: str
    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    d_min: float


def find_space_group(name: str, cell: Cell) -> gemmi.SpaceGroup:
    """Return the space group of a name, in the setting that the cell (Å, degrees) implies.

    Raises
    ------
    SpotmillError
        When the name is unknown or the cell lacks the symmetry of the group.
    """
    space_group = gemmi.find_spacegroup_by_name(name, alpha=cell[3], gamma=cell[5])
    if space_group is None:
        raise SpotmillError(
            f"space group {name!r} is unknown; give its Hermann-Mauguin name, such as 'P 43 21 2'"
        )
    if not gemmi.UnitCell(*cell).is_compatible_with_spacegroup(space_group):
        raise SpotmillError(
            f"cell {describe_cell(cell)} does not have the symmetry of space group "
            f"{space_group.xhm()}; correct one of the two"
        )
    return space_group


def describe_cell(cell: Cell) -> str:
    """Return a cell as text, in Å and degrees."""
    lengths = " ".join(f"{value:.10g}" for value in cell[:3])
    return f"{lengths} Å, {' '.join(f'{value:.10g}' for value in cell[3:])}°"


def rotations(space_group: gemmi.SpaceGroup) -> NDArray[np.int64]:
    """Return the rotation parts of a space group, [n, 3, 3], such that h' = h @ R."""
    return np.array([op.rot for op in space_group.operations().sym_ops]) // gemmi.Op.DEN


def laue_rotations(space_group: gemmi.SpaceGroup) -> NDArray[np.int64]:
    """Return the rotations of the Laue class (with the inversion), [n, 3, 3]."""
    proper = rotations(space_group)
    return np.unique(np.concatenate([proper, -proper]), axis=0)


def resolutions(cell: Cell, hkl: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return d in Å of each reflection, [n]; that of 000 is infinite."""
    with np.errstate(divide="ignore"):
        return 1 / np.linalg.norm(hkl @ reciprocal_basis(cell), axis=1)


def reciprocal_basis(cell: Cell) -> NDArray[np.float64]:
    """Return a*, b*, c* as the rows of [3, 3], in 1/Å without 2 pi.

    The orientation is CrystFEL's standard one: a along +x, b in the xy plane.

    Raises
    ------
    SpotmillError
        When the cell is not one in Å (1 to 10 000) and degrees (10 to 170).
    """
    lengths, angles = cell[:3], cell[3:]
    if not (1 <= min(lengths) <= max(lengths) <= 1e4 and 10 <= min(angles) <= max(angles) <= 170):
        raise SpotmillError(f"cell {describe_cell(cell)}: give lengths in Å and angles in degrees")
    return np.array(gemmi.UnitCell(*cell).frac.mat.tolist())


def orbit_keys(hkl: NDArray[np.int32], operations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each reflection, [n], the same for all its equivalents."""
    keys = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in operations:
        np.maximum(keys, _pack(hkl @ rotation), out=keys)
    return keys


def merge(
    cell: Cell,
    space_group: gemmi.SpaceGroup,
    hkl: NDArray[np.int32],
    intensity: NDArray[np.float64],
    d_min: float | None = None,
) -> Reflections:
    """Average a list over the Laue class, move it into the asymmetric unit and sort it.

    Parameters
    ----------
    cell
        In Å and degrees.
    hkl, intensity
        The list, [n, 3] and [n].
    d_min
        Resolution limit of the list in Å; the finest reflection's where None.

    Raises
    ------
    SpotmillError
        When an intensity is negative or not finite, when systematically absent reflections
        are strong, or when nothing is left.
    """
    _check_intensities(hkl, intensity)
    absent = space_group.operations().systematic_absences(hkl)
    _check_absences(space_group, hkl, intensity, absent)
    keep = ~absent & hkl.any(axis=1)
    hkl, intensity = hkl[keep], intensity[keep]
    if not len(hkl):
        raise SpotmillError("holds no reflections; give a finer d_min or another list")
    _, first, orbit = np.unique(
        orbit_keys(hkl, laue_rotations(space_group)), return_index=True, return_inverse=True
    )
    mean = np.bincount(orbit, weights=intensity) / np.bincount(orbit)
    indices = _asymmetric_unit(cell, space_group, hkl[first])
    order = np.argsort(_pack(indices))
    limit = float(resolutions(cell, indices).min()) if d_min is None else d_min
    return Reflections(cell, space_group.xhm(), indices[order], mean[order], limit)


def truncate(reflections: Reflections, d_min: float) -> Reflections:
    """Leave out the reflections beyond `d_min` (Å).

    Raises
    ------
    SpotmillError
        When the list ends before `d_min`, or when nothing is left.
    """
    if _lacks_shell(reflections, d_min):
        raise SpotmillError(
            f"d_min {d_min:g} Å asked for, but the list ends at {reflections.d_min:.4g} Å; "
            f"ask for {math.ceil(reflections.d_min * 1000) / 1000:g} Å or coarser"
        )
    keep = np.ones(len(reflections.hkl), dtype=bool)
    if d_min > reflections.d_min:
        keep = resolutions(reflections.cell, reflections.hkl) >= d_min
    if not keep.any():
        raise SpotmillError(f"has no reflection at {d_min:g} Å or coarser; give a finer d_min")
    return Reflections(
        reflections.cell,
        reflections.space_group,
        reflections.hkl[keep],
        reflections.intensity[keep],
        d_min,
    )


def expand_to_hemisphere(
    reflections: Reflections,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return all symmetry equivalents, one of each Friedel pair.

    Returns
    -------
    hkl, intensity
        int32 [m, 3] and float64 [m] (electrons^2 per unit cell), sorted by h, k, l. Of each
        pair the one whose first index other than 0 is positive.
    """
    cell = reflections.cell
    operations = laue_rotations(find_space_group(reflections.space_group, cell))
    hkl = np.concatenate([reflections.hkl @ rotation for rotation in operations])
    keys = _pack(hkl)
    upper = keys > _pack(np.zeros((1, 3), dtype=np.int64))[0]
    intensity = np.tile(reflections.intensity, len(operations))[upper]
    unique, first = np.unique(keys[upper], return_index=True)
    return _unpack(unique), intensity[first]


def check_same_crystal(
    first_name: str,
    first_cell: Cell | None,
    first_space_group: str | None,
    second_name: str,
    second_cell: Cell | None,
    second_space_group: str | None,
) -> None:
    """Raise SpotmillError where two sources disagree on the cell or the space group.

    Lengths (Å) may differ by 0.1 %, angles by 0.1 degrees; space groups are compared by
    their operations. None means that a source does not state the value.
    """
    if first_cell and second_cell and not _same_cell(first_cell, second_cell):
        raise SpotmillError(
            f"cells disagree: {first_name} has {describe_cell(first_cell)}, {second_name} has "
            f"{describe_cell(second_cell)}; use files of the same crystal"
        )
    if not (first_space_group and second_space_group):
        return
    cell = first_cell or second_cell
    groups = []
    for name, text in ((first_name, first_space_group), (second_name, second_space_group)):
        alpha, gamma = (cell[3], cell[5]) if cell else (0.0, 0.0)
        group = gemmi.find_spacegroup_by_name(text, alpha=alpha, gamma=gamma)
        if group is None:
            raise SpotmillError(
                f"{name}: space_group: {text!r} is unknown; give its Hermann-Mauguin name"
            )
        groups.append(group)
    if groups[0].operations() != groups[1].operations():
        raise SpotmillError(
            f"space groups disagree: {first_name} has {groups[0].xhm()}, {second_name} has "
            f"{groups[1].xhm()}; use files of the same crystal"
        )


def _lacks_shell(reflections: Reflections, d_min: float) -> bool:
    """Say whether the crystal has reflections between the list's limit and `d_min`."""
    # A list's finest reflection seldom lies exactly at the limit that the list was made for.
    if d_min >= (1 - LIMIT_TOLERANCE) * reflections.d_min:
        return False
    if d_min < reflections.d_min / 2:
        return True
    group = find_space_group(reflections.space_group, reflections.cell)
    cell = gemmi.UnitCell(*reflections.cell)
    nearer = reflections.d_min * (1 - 1e-6)
    return len(gemmi.make_miller_array(cell, group, d_min, nearer)) > 0


def _same_cell(first: Cell, second: Cell) -> bool:
    lengths = np.allclose(first[:3], second[:3], rtol=LENGTH_TOLERANCE, atol=0)
    return lengths and np.allclose(first[3:], second[3:], rtol=0, atol=ANGLE_TOLERANCE)


def _check_intensities(hkl: NDArray[np.int32], intensity: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~(np.isfinite(intensity) & (intensity >= 0)))
    if len(wrong):
        h, k, l = hkl[wrong[0]]  # noqa: E741
        raise SpotmillError(
            f"reflection {h} {k} {l} has intensity {intensity[wrong[0]]:g} ({len(wrong)} such in "
            "all); |F|^2 must be a number of 0 or more, so correct or remove these"
        )


def _check_absences(
    space_group: gemmi.SpaceGroup,
    hkl: NDArray[np.int32],
    intensity: NDArray[np.float64],
    absent: NDArray[np.bool_],
) -> None:
    if not absent.any() or absent.all():
        return
    if intensity[absent].mean() > ABSENT_SHARE * intensity[~absent].mean():
        strongest = np.flatnonzero(absent)[np.argmax(intensity[absent])]
        h, k, l = hkl[strongest]  # noqa: E741
        raise SpotmillError(
            f"reflection {h} {k} {l} has intensity {intensity[strongest]:g} but is systematically "
            f"absent in space group {space_group.xhm()}; correct the space group or the list"
        )


def _asymmetric_unit(
    cell: Cell, space_group: gemmi.SpaceGroup, hkl: NDArray[np.int32]
) -> NDArray[np.int32]:
    rows = np.arange(len(hkl), dtype=np.int32)
    data = gemmi.IntAsuData(
        gemmi.UnitCell(*cell), space_group, np.ascontiguousarray(hkl, dtype=np.int32), rows
    )
    data.ensure_asu()
    return np.array(data.miller_array, dtype=np.int32)


def _pack(hkl: NDArray[np.integer]) -> NDArray[np.int64]:
    base = 4 * LARGEST_INDEX
    return (hkl[:, 0].astype(np.int64) * base + hkl[:, 1]) * base + hkl[:, 2]


def _unpack(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    base = 4 * LARGEST_INDEX
    low = (keys + base // 2) % base - base // 2
    rest = (keys - low) // base
    middle = (rest + base // 2) % base - base // 2
    return np.stack([(rest - middle) // base, middle, low], axis=1).astype(np.int32)
