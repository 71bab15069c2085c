"""The text files that `pattern_sim` read, as they are: nothing merged, nothing assumed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.cell import read_cell
from spotmill.formats.hkl import read_list_text
from spotmill.model import read_text
from spotmill.physics.reflections import LARGEST_INDEX, Cell

# Sums and products of such numbers stay in the floating range.
LARGEST = 1e100

SPECTRUM_HEADER = "# energy/keV current/A"

# Key in a CrystFEL beam file (0.5 and before) -> option; the others do not matter here.
BEAM_KEYS = {
    "beam/photon_energy": "photon_energy",
    "beam/bandwidth": "bandwidth",
    "beam/fluence": "nphotons",
    "beam/radius": "beam_radius",
}
LARGEST_STREAM = 2**36  # bytes
BEAM_KEYS_WITHOUT_EFFECT = ("beam/divergence", "profile_radius")

FLOAT = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
STREAM_AXIS = re.compile(rf"([abc]star) = {FLOAT} {FLOAT} {FLOAT} nm\^-1")


@dataclass(frozen=True, eq=False)
class IntensityList:
    """A CrystFEL reflection list.

    Attributes
    ----------
    symmetry : str
        Its point group.
    hkl : [n, 3]
    intensity : [n]
    phase : [n]
        Radians; nan where the list has none.
    """

    symmetry: str
    hkl: NDArray[np.int64]
    intensity: NDArray[np.float64]
    phase: NDArray[np.float64]


def read_intensities(path: str | Path) -> IntensityList:
    """Read a CrystFEL reflection list of version 2.0, also gzipped.

    Raises
    ------
    SpotmillError
        With the line number, when a line cannot be read.
    """
    lines = read_list_text(path).splitlines()
    if len(lines) < 3 or not lines[0].startswith("CrystFEL reflection list version 2"):
        raise SpotmillError(
            f"{path}: is not a CrystFEL reflection list of version 2.0; make one with "
            "`spotmill reflections`"
        )
    key, _, symmetry = lines[1].partition(":")
    if key.strip() != "Symmetry":
        raise SpotmillError(f"{path}: line 2: must be 'Symmetry:' and a point group")
    rows = []
    for number, line in enumerate(lines[3:], start=4):
        if line.startswith("End of reflections"):
            break
        rows.append(_reflection(line, f"{path}: line {number}"))
    else:
        raise SpotmillError(f"{path}: ends without 'End of reflections'; the file is truncated")
    if not rows:
        raise SpotmillError(f"{path}: holds no reflections; give another list")
    table = np.array(rows)
    return IntensityList(
        symmetry.strip(), table[:, :3].astype(np.int64), table[:, 3], np.radians(table[:, 4])
    )


def _reflection(line: str, where: str) -> tuple[int, int, int, float, float]:
    words = line.split()
    try:
        h, k, l = (int(word) for word in words[:3])  # noqa: E741
        intensity = float(words[3])
        phase = float("nan") if words[4] == "-" else float(words[4])
    except (ValueError, IndexError) as error:
        raise SpotmillError(f"{where}: is not 'h k l I phase ...'; correct it") from error
    if max(abs(h), abs(k), abs(l)) > LARGEST_INDEX:
        raise SpotmillError(f"{where}: index beyond {LARGEST_INDEX}; correct or remove the line")
    if not 0 <= intensity < LARGEST:
        raise SpotmillError(f"{where}: intensity {words[3]}: must be 0 or more; set it to 0")
    return h, k, l, intensity, phase


def read_cell_or_pdb(path: str | Path) -> tuple[Cell, str | None]:
    """Return cell (Å, degrees) and space group of a CrystFEL cell file or a PDB file.

    A PDB file may hold a CRYST1 record alone. A cell file has no space group (None).
    """
    text = read_text(path)
    if text.startswith("CrystFEL unit cell file"):
        return read_cell(path).cell, None
    try:
        structure = gemmi.read_pdb_string(text)
    except (RuntimeError, ValueError) as error:
        raise SpotmillError(
            f"{path}: is neither a CrystFEL cell file nor PDB; give either"
        ) from error
    if not structure.cell.is_crystal():
        raise SpotmillError(
            f"{path}: has no CRYST1 record, nor is it a CrystFEL cell file; give either"
        )
    a, b, c, alpha, beta, gamma = structure.cell.parameters
    return (a, b, c, alpha, beta, gamma), structure.spacegroup_hm or None


def read_spectrum(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies in eV and weights of a two-column file (keV, weight) with CrystFEL's header.

    Raises
    ------
    SpotmillError
        With the line number, when the header or a line is not as it must be.
    """
    lines = read_text(path).splitlines()
    if not lines or lines[0].strip() != SPECTRUM_HEADER:
        raise SpotmillError(f"{path}: line 1: must be {SPECTRUM_HEADER!r}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            rows.append(numbers(line, 2, f"{path}: line {number}"))
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0] * 1000, table[:, 1]


def read_beam(path: str | Path) -> dict[str, float]:
    """Return photon_energy (eV), bandwidth, nphotons, beam_radius (m) as a beam file has them.

    Raises
    ------
    SpotmillError
        With the line number, when a key is unknown or its value no number.
    """
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        key, equals, value = (part.strip() for part in line.partition(";")[0].partition("="))
        if not key or key in BEAM_KEYS_WITHOUT_EFFECT:
            continue
        if key not in BEAM_KEYS or not equals:
            raise SpotmillError(
                f"{path}: line {number}: {key}: unknown key; known are {', '.join(BEAM_KEYS)}"
            )
        found[BEAM_KEYS[key]] = numbers(value, 1, f"{path}: line {number}: {key}")[0]
    return found


def stream_axes(path: str | Path) -> Iterator[NDArray[np.float64]]:
    """Yield a*, b*, c* [3, 3] in 1/Å of the first crystal of each chunk of a CrystFEL stream."""
    rows: dict[str, list[float]] = {}
    fresh = False
    for number, line in enumerate(read_text(path, LARGEST_STREAM).splitlines(), start=1):
        if line.startswith("----- Begin chunk"):
            fresh, rows = True, {}
        found = STREAM_AXIS.match(" ".join(line.split()))
        if fresh and found:
            axis = numbers(" ".join(found.groups()[1:]), 3, f"{path}: line {number}")
            rows[found.group(1)] = [value / 10 for value in axis]
        if fresh and len(rows) == 3:
            fresh = False
            axes = np.array([rows["astar"], rows["bstar"], rows["cstar"]])
            if abs(np.linalg.det(axes)) < 1e-12:
                raise SpotmillError(
                    f"{path}: line {number}: astar, bstar, cstar lie in a plane; index anew"
                )
            yield axes


def quaternions(lines: Iterable[str], source: str) -> Iterator[NDArray[np.float64]]:
    """Yield the four numbers w x y z of each line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield np.array(numbers(line, 4, f"{source}: line {number}"))


def numbers(text: str, count: int, where: str) -> list[float]:
    """Return so many finite numbers of a text, or raise SpotmillError."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError as error:
        raise SpotmillError(
            f"{where}: {text.strip()!r} is not {count} number(s); correct it"
        ) from error
    if len(values) != count or not (np.abs(values) <= LARGEST).all():
        raise SpotmillError(f"{where}: {text.strip()!r} is not {count} number(s); correct it")
    return values
