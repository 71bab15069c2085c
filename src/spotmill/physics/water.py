"""The expected image of liquid water, from first principles.

Equations, sources and limits: docs/water.md.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Solvent
from spotmill.errors import SpotmillError
from spotmill.physics.geometry import ROWS, Detector, Panel, magnitude, positions
from spotmill.physics.units import CLASSICAL_ELECTRON_RADIUS, wavelength_from_photon_energy
from spotmill.physics.water_shapes import lit_length, transmission
from spotmill.physics.water_tables import (
    Table,
    absorption_coefficient,
    incoherent_scattering,
    look_up,
    number_density,
    water_table,
)

Points = NDArray[np.float64]


def expected_water(
    detector: Detector,
    photon_energy: float,
    nphotons: float,
    beam_radius: float,
    polarisation: float | None,
    solvent: Solvent,
    table: Table | None = None,
) -> NDArray[np.float32]:
    """Return the photons that water is expected to scatter into each pixel in one shot.

    N n l r_e² (|F(q)|² + S(q)) P dOmega T, at the centre of each pixel: photons N,
    molecules per volume n, lit length l, polarisation P, solid angle dOmega, and where the
    solvent asks for them Compton scattering S and transmission T.

    Parameters
    ----------
    detector : Detector
    photon_energy : float
        eV.
    nphotons : float
        Photons in the shot.
    beam_radius : float
        Of the flat, round beam, m. A sheet's photons do not depend on it.
    polarisation : float or None
        Fraction polarised along x; None leaves the factor out.
    solvent : Solvent
    table : (q, F2), optional
        1/Å and electrons² per molecule, in place of `water_table`.

    Returns
    -------
    [ss, fs] float32
        Photons; 0 where no panel is, and where the mask is False.

    Raises
    ------
    SpotmillError
        When a value has a wrong unit, or a pixel's q lies outside the table.
    """
    wavelength = wavelength_from_photon_energy(photon_energy)
    check_light(nphotons, polarisation)
    # lit_length checks beam_radius, so it comes before what uses it.
    molecules = number_density(solvent.temperature) * lit_length(solvent, beam_radius)
    scale = nphotons * molecules * CLASSICAL_ELECTRON_RADIUS**2
    structure = water_table(solvent.temperature) if table is None else table
    transmitted = None
    if solvent.absorption:
        attenuation = absorption_coefficient(photon_energy, solvent.temperature)
        transmitted = transmission(solvent, beam_radius, attenuation)
    image = np.zeros(detector.shape, dtype=np.float32)
    for panel, rows, live in live_blocks(detector):
        points = centres(panel, rows)[live]
        photons = scale * _scattered(points, wavelength, structure, solvent.compton)
        photons *= solid_angle(panel, points)
        if polarisation is not None:
            photons *= polarisation_factor(points, polarisation)
        if transmitted is not None:
            photons *= _transmitted(points, transmitted)
        # A view of the image, so that pixels of one block are set in place.
        image[rows, panel.slab[1]][live] = photons
    return image


def check_light(nphotons: float, polarisation: float | None) -> None:
    """Raise SpotmillError unless these are photons of a shot and a fraction (or None)."""
    if not (math.isfinite(nphotons) and nphotons > 0):
        raise SpotmillError(f"nphotons: {nphotons!r} is not a positive number of photons")
    if polarisation is not None and not 0 <= polarisation <= 1:
        raise SpotmillError(f"polarisation: {polarisation!r} is not between 0 and 1")


def live_blocks(detector: Detector) -> Iterator[tuple[Panel, slice, NDArray[np.bool_]]]:
    """Yield panel, rows of the data array and live pixels [ss, fs] of blocks that have some."""
    for panel in detector.panels:
        for first in range(panel.min_ss, panel.max_ss + 1, ROWS):
            rows = slice(first, min(first + ROWS, panel.max_ss + 1))
            live = detector.mask[rows, panel.slab[1]]
            if live.any():
                yield panel, rows, live


def centres(panel: Panel, rows: slice) -> Points:
    """Return the pixel centres of some rows of a panel, [ss, fs, 3] m."""
    ss, fs = np.ogrid[rows.start : rows.stop, panel.min_fs : panel.max_fs + 1]
    return positions(panel, fs + 0.5, ss + 0.5)


def _scattered(
    points: Points, wavelength: float, structure: Table, compton: bool
) -> NDArray[np.float64]:
    """Return electrons² (elastic) and electrons (inelastic) per molecule towards points."""
    q = 2 * np.pi * magnitude(points, wavelength)
    electrons = look_up(q, structure)
    return electrons + incoherent_scattering(q) if compton else electrons


def _transmitted(
    points: Points, transmitted: Callable[[Points], NDArray[np.float64]]
) -> NDArray[np.float64]:
    return transmitted(points / np.linalg.norm(points, axis=-1, keepdims=True))


def solid_angle(panel: Panel, points: Points) -> NDArray[np.float64]:
    """Return the solid angle in sr of a panel's pixels at points [n, 3] in m.

    |A · r| / |r|³ with the area vector A of a pixel: the pixel as seen from the
    interaction point, at any tilt. For a plane normal to the beam, p² L / R³.
    """
    distance = np.linalg.norm(points, axis=-1)
    return np.asarray(np.abs(points @ panel.normal) / distance**3)


def polarisation_factor(points: Points, polarisation: float) -> NDArray[np.float64]:
    """Return f (1 - x²/R²) + (1 - f)(1 - y²/R²) at points [n, 3] in m.

    f is the fraction of the light whose electric field lies along x.
    """
    squares = points**2
    x, y = squares[..., 0], squares[..., 1]
    return np.asarray(1 - (polarisation * x + (1 - polarisation) * y) / squares.sum(axis=-1))
