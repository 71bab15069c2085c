"""Reflection lists in any of the formats that Spotmill reads."""

from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.formats.cell import read_cell
from spotmill.formats.hkl import read_hkl, write_hkl
from spotmill.formats.mtz import read_mtz, write_mtz
from spotmill.physics.reflections import Reflections, check_same_crystal, truncate

__all__ = ["is_reflection_list", "read_reflections", "write_hkl", "write_mtz"]

LIST_SUFFIXES = (".mtz", ".hkl", ".hkl.gz")


def is_reflection_list(path: str | Path) -> bool:
    """Say whether a file is a list of reflections, by its name."""
    return str(path).lower().endswith(LIST_SUFFIXES)


def read_reflections(
    path: str | Path,
    cell_file: str | Path | None = None,
    d_min: float | None = None,
    space_group: str | None = None,
) -> Reflections:
    """Read |F|^2 from an MTZ file or a CrystFEL list.

    Parameters
    ----------
    cell_file
        CrystFEL unit cell file; required with a .hkl, checked against an MTZ's own cell.
    d_min
        Leaves out what is beyond, in Å; the list's own limit where None.
    space_group
        Hermann-Mauguin name; what a .hkl does not say, checked against what an MTZ says.

    Raises
    ------
    SpotmillError
        When a file cannot be read, files disagree, or the list ends before `d_min`.
    """
    name = str(path).lower()
    if not is_reflection_list(path):
        raise SpotmillError(f"{path}: is neither .mtz nor .hkl; name a list of reflections")
    if name.endswith(".mtz"):
        reflections = read_mtz(path)
        _check_cell_file(path, reflections, cell_file)
        check_same_crystal(
            str(path), None, reflections.space_group, "the space group asked for", None, space_group
        )
    elif cell_file is None:
        raise SpotmillError(
            f"{path}: does not say its unit cell; name its CrystFEL .cell file too (cell_file)"
        )
    else:
        reflections = read_hkl(path, cell_file, space_group)
    if d_min is None:
        return reflections
    try:
        return truncate(reflections, d_min)
    except SpotmillError as error:
        raise SpotmillError(f"{path}: {error}") from error


def _check_cell_file(
    path: str | Path, reflections: Reflections, cell_file: str | Path | None
) -> None:
    if cell_file is None:
        return
    cell = read_cell(cell_file).cell
    check_same_crystal(str(path), reflections.cell, None, str(cell_file), cell, None)
