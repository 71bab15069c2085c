"""Spectra from files: two columns, photon energy and density."""

from pathlib import Path

import numpy as np

from spotmill.errors import SpotmillError
from spotmill.model import read_text
from spotmill.physics.spectrum import Tabulated, tabulated

# CrystFEL's own header; its energies are in keV.
CRYSTFEL_HEADER = "# energy/keV current/A"

# Sums of such densities stay in the floating range.
LARGEST = 1e100


def read_spectrum(path: str | Path) -> Tabulated:
    """Read a spectrum: photon energy in eV and density, separated by blanks or a comma.

    Under CrystFEL's header line `# energy/keV current/A` energies are in keV. Blank lines
    and other lines that begin with # are passed over.

    Raises
    ------
    SpotmillError
        When a line is not two numbers, or the numbers are no spectrum.
    """
    lines = read_text(path).splitlines()
    unit = 1000.0 if lines and lines[0].strip() == CRYSTFEL_HEADER else 1.0
    rows = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            energy, density = (float(word) for word in words)
        except ValueError as error:
            raise SpotmillError(
                f"{path}: line {number}: is not two numbers, photon energy (eV) and "
                "density; correct it"
            ) from error
        if not (abs(energy) <= LARGEST and abs(density) <= LARGEST):
            raise SpotmillError(
                f"{path}: line {number}: {line.strip()[:60]!r} is not finite, or too large to be "
                "meant; correct it"
            )
        rows.append((energy * unit, density))
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    try:
        return tabulated(table[:, 0], table[:, 1])
    except SpotmillError as error:
        raise SpotmillError(f"{path}: {error}; give eV, or keV under CrystFEL's header") from error
