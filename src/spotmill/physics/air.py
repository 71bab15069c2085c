"""The expected image of the air along the beam, from first principles.

Equations, sources and limits: docs/water.md, "Air".
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.response import shadow_plane
from spotmill.physics.units import (
    BOLTZMANN,
    CLASSICAL_ELECTRON_RADIUS,
    wavelength_from_photon_energy,
)
from spotmill.physics.water import centres, check_light, live_blocks

PRESSURE = 101325.0  # Pa
TEMPERATURE = 293.0  # K
LONGEST_PATH = 1.0  # m; what is longer was meant as mm


class Gas(NamedTuple):
    """One gas of the air: share of its molecules, atoms in a molecule, distance between them."""

    element: str
    share: float
    atoms: int
    bond: float  # Å


# Dry air without its 0.04 % of CO2 (U.S. Standard Atmosphere, 1976). Bond lengths: Huber &
# Herzberg, Constants of Diatomic Molecules (1979), r_e of the ground states.
GASES = (Gas("N", 0.7808, 2, 1.098), Gas("O", 0.2095, 2, 1.208), Gas("Ar", 0.0093, 1, 0.0))

# Gauss-Legendre nodes along the path, even in the scattering angle.
NODES = 12
# Steps of the scattering angle from 0 to pi at which scattering is tabulated.
ANGLES = 4000
# Nearer to the beam's axis a pixel counts as this far away, m.
AXIS = 1e-9

# International Tables C (1992), table 6.1.1.4, holds for sin(theta)/lambda up to 2 1/Å.
HIGHEST_Q = 8 * np.pi  # 1/Å

Values = NDArray[np.float64]


def air_density(pressure: float = PRESSURE) -> float:
    """Return the molecules of air per m³ at a pressure in Pa and 293 K (ideal gas)."""
    if not 0 < pressure <= 1e6:
        raise SpotmillError(f"pressure: {pressure!r} is not between 0 and 1e6 Pa; give it in Pa")
    return pressure / (BOLTZMANN * TEMPERATURE)


def form_factor(element: str, q: ArrayLike) -> Values:
    """Return the form factor in electrons of a free atom at q in 1/Å (IT92 coefficients)."""
    coefficients = np.array(gemmi.Element(element).it92.get_coefs())
    a, b, c = coefficients[:4], coefficients[4:8], coefficients[8]
    s2 = (np.asarray(q, dtype=np.float64) / (4 * np.pi)) ** 2
    return np.asarray(np.exp(-s2[..., np.newaxis] * b) @ a + c)


def elastic_scattering(q: ArrayLike) -> Values:
    """Return the elastic scattering of air in electrons² per molecule, at q in 1/Å.

    Rigid molecules in all orientations, 2 f² (1 + sin(qb)/(qb)) with the bond length b
    (Debye, Ann. Phys. 351, 809, 1915); argon f². Molecules scatter independently.

    Raises
    ------
    SpotmillError
        When a q lies outside the form factors.
    """
    points = _checked(q)
    total = np.zeros(points.shape)
    for gas in GASES:
        f2 = form_factor(gas.element, points) ** 2
        pairs = np.sinc(points * gas.bond / np.pi) if gas.atoms == 2 else 0.0
        total += gas.share * gas.atoms * f2 * (1 + pairs)
    return total


def inelastic_scattering(q: ArrayLike) -> Values:
    """Return the inelastic scattering of air in electrons per molecule, at q in 1/Å.

    Independent atoms, Hubbell et al., J. Phys. Chem. Ref. Data 4, 471 (1975).

    Raises
    ------
    SpotmillError
        When a q lies outside the table.
    """
    points = _checked(q)
    total = np.zeros(points.shape)
    for gas in GASES:
        total += gas.share * gas.atoms * _incoherent(gas.element)(points / (4 * np.pi))
    return total


def _checked(q: ArrayLike) -> Values:
    points = np.asarray(q, dtype=np.float64)
    if points.size and not (points.min() >= 0 and points.max() <= HIGHEST_Q):
        raise SpotmillError(
            f"q: {points.min():.4g} to {points.max():.4g} 1/Å asked for, but what is known of air "
            f"ends at {HIGHEST_Q:.4g}; check the unit of photon_energy (eV)"
        )
    return points


@cache
def _incoherent(element: str) -> PchipInterpolator:
    """Return the shipped incoherent scattering function of an element over q / (4 pi)."""
    text = resources.files("spotmill").joinpath("data", "air_incoherent.csv").read_text("utf-8")
    lines = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    rows = np.array(lines[1:], dtype=np.float64)
    return PchipInterpolator(rows[:, 0], rows[:, lines[0].index(element)])


def expected_air(
    detector: Detector,
    photon_energy: float,
    nphotons: float,
    polarisation: float | None,
    upstream: float,
    downstream: float,
    compton: bool = False,
    pressure: float = PRESSURE,
) -> NDArray[np.float32]:
    """Return the photons that air along the beam is expected to scatter into each pixel.

    N n r_e² times the integral over the path of (|F(q)|² + S(q)) P dOmega, where angle, q,
    polarisation P and solid angle dOmega are those seen from each point of the path.

    Parameters
    ----------
    detector : Detector
    photon_energy : float
        eV.
    nphotons : float
        Photons in the shot.
    polarisation : float or None
        Fraction polarised along x; None leaves the factor out.
    upstream, downstream : float
        Beam in air before and after the interaction point, m.
    compton : bool
        Add inelastic scattering.
    pressure : float
        Pa.

    Returns
    -------
    [ss, fs] float32
        Photons; 0 where no panel is, and where the mask is False.

    Raises
    ------
    SpotmillError
        When a value has a wrong unit, or the path ends behind the detector.
    """
    wavelength = wavelength_from_photon_energy(photon_energy)
    check_light(nphotons, polarisation)
    check_path(detector, upstream, downstream)
    scale = nphotons * air_density(pressure) * CLASSICAL_ELECTRON_RADIUS**2
    table = _angular_table(wavelength, compton)
    image = np.zeros(detector.shape, dtype=np.float32)
    for panel, rows, live in live_blocks(detector):
        points = centres(panel, rows)[live]
        photons = _along_path(panel, points, (upstream, downstream), table, polarisation)
        # A view of the image, so that pixels of one block are set in place.
        image[rows, panel.slab[1]][live] = scale * photons
    return image


def check_path(detector: Detector, upstream: float, downstream: float) -> None:
    """Raise SpotmillError unless both lengths in m are those of a path before the detector."""
    for name, length in (("air_upstream", upstream), ("air_downstream", downstream)):
        if not 0 <= length < LONGEST_PATH:
            raise SpotmillError(
                f"{name}: {length!r} is not between 0 and {LONGEST_PATH:g} m; give it in metres"
            )
    plane = shadow_plane(detector)
    if 0 < plane < downstream:
        raise SpotmillError(
            f"air_downstream: {downstream:g} m ends behind the detector at {plane:g} m; "
            "give the length from the crystal to the beamstop, in metres"
        )


def _angular_table(wavelength: float, compton: bool) -> tuple[Values, Values]:
    """Return scattering angles in rad and what a molecule scatters there, electrons²."""
    angle = np.linspace(0, np.pi, ANGLES + 1)
    q = 4 * np.pi * np.sin(angle / 2) / wavelength
    known = q <= HIGHEST_Q
    values = np.full(q.shape, np.nan)
    values[known] = elastic_scattering(q[known])
    if compton:
        values[known] += inelastic_scattering(q[known])
    return angle, values


def _along_path(
    panel: Panel,
    points: Values,
    path: tuple[float, float],
    table: tuple[Values, Values],
    polarisation: float | None,
) -> Values:
    """Return the integral over the path of scattering, solid angle and polarisation.

    Taken over the scattering angle psi in place of z: with the distance rho of a pixel from
    the beam, dOmega dz = |A_z cos(psi) + A_rho sin(psi)| dpsi / rho, smooth however near to
    the pixel the path ends (A: area vector of the pixel).
    """
    x, y, z = points.T
    rho = np.maximum(np.hypot(x, y), AXIS)
    first, last = np.arctan2(rho, z + path[0]), np.arctan2(rho, z - path[1])
    across = (panel.normal[0] * x + panel.normal[1] * y) / rho
    middle, half = (last + first) / 2, (last - first) / 2
    direction = 0.0
    if polarisation is not None:
        direction = (polarisation * x**2 + (1 - polarisation) * y**2) / rho**2
    total = np.zeros(len(points))
    for node, weight in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
        psi = middle + node * half
        sine, cosine = np.sin(psi), np.cos(psi)
        seen = np.abs(panel.normal[2] * cosine + across * sine)
        total += weight * np.interp(psi, *table) * seen * (1 - direction * sine**2)
    if not np.isfinite(total).all():
        raise SpotmillError(
            f"q: exceeds {HIGHEST_Q:.4g} 1/Å, where what is known of air ends; "
            "check the unit of photon_energy (eV), or set no air path"
        )
    return np.asarray(total * half / rho)
