"""The `integrated` engine: Bragg spots in closed form.

A reflection at s (|s| = 1/d, turned with the crystal, beam along +z) diffracts the one
wavenumber of the band for which it lies on the Ewald sphere,

    k_res = -|s|^2 / (2 s_z),

and, integrated over the band and the reflection's own small volume, gives

    photons = fluence r_e^2 P |F|^2 N_cells p(k_res) / (V_cell |s|^2 / 2),

because d^3s = k^2 (1 - cos 2theta) dOmega dk = (|s|^2 / 2) dOmega dk and the integral of
the interference function over one reciprocal cell is N_cells (kinematic theory; Warren,
X-ray Diffraction, 1969, ch. 4). p is the density of the spectrum in wavenumber, P the
polarisation factor. With mosaicity or divergence a spot becomes rays (physics/rocking),
each with its own k_res and the same formula. Valid where spots are small against the spacing
of reflections and their rocking width against the band: crystals of about half a micrometre
and more.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.rocking import REACH, Rocking, spread_rays
from spotmill.physics.spectrum import Spectrum
from spotmill.physics.units import ANGSTROM, CLASSICAL_ELECTRON_RADIUS

SHARP = Rocking(0.0, 0.0, 1)

TURN_TOLERANCE = 2e-3  # of lengths that a quaternion in single precision turns
LARGEST_S = 200.0  # 1/Å; 2/wavelength at 1 MeV is 161


@dataclass(frozen=True)
class Source:
    """What every spot of a crystal has in common.

    Attributes
    ----------
    spectrum
        Density in wavenumber.
    scale
        fluence r_e^2 N_cells / V_cell, 1/Å^3: photons per |F|^2, before the geometry.
    polarisation
        Fraction polarised along x, or None to leave the factor out.
    rocking
        Mosaicity and divergence.
    """

    spectrum: Spectrum
    scale: float
    polarisation: float | None
    rocking: Rocking = SHARP


def scale(fluence: float, crystal_volume: float, cell_volume: float) -> float:
    """Return fluence r_e^2 N_cells / V_cell in 1/Å^3.

    Parameters
    ----------
    fluence
        Photons per m^2.
    crystal_volume
        m^3.
    cell_volume
        Å^3.

    Raises
    ------
    SpotmillError
        When the crystal holds no whole unit cell, or is larger than 1 cm^3, as with sizes
        in a wrong unit; when the cell is not between 10 and 1e10 Å^3, or the fluence negative.
    """
    if not 10 <= cell_volume <= 1e10:
        raise SpotmillError(f"cell_volume: {cell_volume!r} is not that of a cell; give Å^3")
    if not (math.isfinite(fluence) and fluence >= 0):
        raise SpotmillError(f"fluence: {fluence!r} is not a number of photons per m^2")
    n_cells = crystal_volume / ANGSTROM**3 / cell_volume
    if not (n_cells >= 1 and crystal_volume <= 1e-6):
        raise SpotmillError(
            f"size: a crystal of {crystal_volume:g} m^3 holds {n_cells:.2g} unit cells; give metres"
        )
    electron = CLASSICAL_ELECTRON_RADIUS / ANGSTROM
    return fluence * ANGSTROM**2 * electron**2 * n_cells / cell_volume


@dataclass(frozen=True)
class Spots:
    """The spots of one pattern, one row each, and the rays that draw them.

    Attributes
    ----------
    hkl : [n, 3] int32
    s : [n, 3] turned reciprocal vectors, 1/Å
    wavenumber : [n] k_res, 1/Å (mean over the rays)
    photons : [n] expected photons
    direction : [n, 3] unit vectors of the diffracted rays (mean over the rays)
    ray_spot, ray_photons, ray_direction : [m], [m], [m, 3]
        Rays: the spot each belongs to, its expected photons, its direction. A perfect
        crystal in a parallel beam has one ray a spot.
    """

    hkl: NDArray[np.int32]
    s: NDArray[np.float64]
    wavenumber: NDArray[np.float64]
    photons: NDArray[np.float64]
    direction: NDArray[np.float64]
    ray_spot: NDArray[np.int64]
    ray_photons: NDArray[np.float64]
    ray_direction: NDArray[np.float64]


@njit(cache=True)
def _excited(hkl: Any, squared: Any, axes: Any, low: float, high: float) -> tuple[Any, Any]:
    """Return rows of `hkl` that the band excites, and 1 or -1 for them or their Friedel mates."""
    rows = np.empty(hkl.shape[0], np.int64)
    signs = np.empty(hkl.shape[0], np.int64)
    count = 0
    for i in range(hkl.shape[0]):
        z = hkl[i, 0] * axes[0, 2] + hkl[i, 1] * axes[1, 2] + hkl[i, 2] * axes[2, 2]
        twice = 2.0 * abs(z)
        if low * twice <= squared[i] < high * twice:
            rows[count] = i
            signs[count] = -1 if z > 0 else 1
            count += 1
    return rows[:count], signs[:count]


@dataclass(frozen=True)
class ReflectionTable:
    """One of each Friedel pair of all reflections, as the kernel wants them.

    Attributes
    ----------
    hkl : [n, 3] int32
    intensity : [n] |F|^2, electrons^2 per unit cell
    squared : [n] |s|^2, 1/Å^2 (no orientation changes it)
    axes : [3, 3] rows a*, b*, c* before turning, 1/Å
    """

    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    squared: NDArray[np.float64]
    axes: NDArray[np.float64]

    def within(self, s_max: float) -> "ReflectionTable":
        """Return the reflections with |s| up to `s_max` (1/Å); SpotmillError beyond 200 1/Å."""
        if not 0 < s_max <= LARGEST_S:
            raise SpotmillError(f"s_max: {s_max!r} is not between 0 and {LARGEST_S:g} 1/Å")
        keep = self.squared <= s_max**2
        return ReflectionTable(self.hkl[keep], self.intensity[keep], self.squared[keep], self.axes)


def reflection_table(
    hkl: NDArray[np.integer], intensity: NDArray[np.floating], axes: NDArray[np.float64]
) -> ReflectionTable:
    """Prepare a hemisphere of reflections [n, 3] and their |F|^2 [n] for `diffract`.

    `axes` are rows a*, b*, c* in 1/Å. Raises SpotmillError when they are not those of a cell
    of 1 to 10 000 Å.
    """
    lengths = np.linalg.norm(axes, axis=1)
    if not ((lengths > 1e-4) & (lengths < 2)).all():
        raise SpotmillError(f"axes: lengths {lengths.tolist()} are not those of a*, b*, c* in 1/Å")
    s = hkl.astype(np.float64) @ axes
    squared = np.einsum("ij,ij->i", s, s)
    return ReflectionTable(
        np.ascontiguousarray(hkl, dtype=np.int32),
        np.ascontiguousarray(intensity, dtype=np.float64),
        squared,
        axes,
    )


def polarisation_factor(
    direction: NDArray[np.float64], fraction: float | None
) -> NDArray[np.float64]:
    """Return P of rays [n, 3]: f (1 - x^2) + (1 - f) (1 - y^2) for unit vectors, or 1 for None."""
    if fraction is not None and not 0 <= fraction <= 1:
        raise SpotmillError(f"polarisation: {fraction!r} is not a fraction between 0 and 1")
    if fraction is None:
        return np.ones(len(direction))
    x, y = direction[:, 0], direction[:, 1]
    return np.asarray(fraction * (1 - x * x) + (1 - fraction) * (1 - y * y))


def diffract(reflections: ReflectionTable, turned: NDArray[np.float64], light: Source) -> Spots:
    """Return every spot that one orientation excites.

    Parameters
    ----------
    turned
        [3, 3] rows a*, b*, c* as turned, 1/Å.

    Raises
    ------
    SpotmillError
        When the turned axes are not as long as those of the reflections.
    """
    lengths = [np.linalg.norm(axes, axis=1) for axes in (turned, reflections.axes)]
    if not (np.abs(lengths[0] / lengths[1] - 1) < TURN_TOLERANCE).all():
        raise SpotmillError(
            f"turned: lengths {lengths[0].tolist()} are not those of the reflections' axes, "
            f"{lengths[1].tolist()} 1/Å; turn those"
        )
    if light.rocking.sharp:
        return _sharp_spots(reflections, turned, light)
    return _broad_spots(reflections, turned, light)


def _sharp_spots(reflections: ReflectionTable, turned: NDArray[np.float64], light: Source) -> Spots:
    """Return the spots of a perfect crystal in a parallel beam."""
    band = light.spectrum
    rows, signs = _excited(reflections.hkl, reflections.squared, turned, band.low, band.high)
    hkl = (reflections.hkl[rows] * signs[:, None]).astype(np.int32)
    s = hkl @ turned
    squared = reflections.squared[rows]
    wavenumber = -squared / (2 * s[:, 2])
    direction = s / wavenumber[:, None]
    direction[:, 2] += 1.0
    photons = light.scale * reflections.intensity[rows] * band.density(wavenumber) / (squared / 2)
    photons *= polarisation_factor(direction, light.polarisation)
    spot = np.arange(len(rows))
    return Spots(hkl, s, wavenumber, photons, direction, spot, photons, direction)


def _near_band(
    reflections: ReflectionTable, turned: NDArray[np.float64], light: Source
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows that the band excites within `REACH` deviations of turning, and their signs."""
    length = np.sqrt(reflections.squared)
    cosine = (reflections.hkl @ turned[:, 2]) / length
    slack = REACH * light.rocking.spread
    least = np.arccos(-np.clip(length / (2 * light.spectrum.high), 0, 1))
    most = np.arccos(-np.clip(length / (2 * light.spectrum.low), 0, 1))
    found = []
    for sign in (1, -1):
        psi = np.arccos(np.clip(sign * cosine, -1, 1))
        rows = np.flatnonzero((psi > least - slack) & (psi < most + slack))
        found.append((rows, np.full(len(rows), sign)))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([sign for _, sign in found])


def _broad_spots(reflections: ReflectionTable, turned: NDArray[np.float64], light: Source) -> Spots:
    """Return the spots of a mosaic crystal or divergent beam."""
    rows, signs = _near_band(reflections, turned, light)
    hkl = (reflections.hkl[rows] * signs[:, None]).astype(np.int32)
    s = hkl @ turned
    rays = spread_rays(s, light.spectrum.low, light.spectrum.high, light.rocking)
    factor = light.scale * reflections.intensity[rows] / (reflections.squared[rows] / 2)
    photons = factor[rays.spot] * rays.weight * light.spectrum.density(rays.wavenumber)
    photons *= polarisation_factor(rays.direction, light.polarisation)
    n = len(rows)
    total = np.bincount(rays.spot, photons, minlength=n).astype(np.float64)
    keep = total > 0
    mean = np.maximum(total, 1e-300)
    wavenumber = np.bincount(rays.spot, photons * rays.wavenumber, minlength=n) / mean
    direction = np.stack(
        [np.bincount(rays.spot, photons * axis, minlength=n) / mean for axis in rays.direction.T],
        axis=1,
    )
    number = np.cumsum(keep) - 1
    own = keep[rays.spot] & (photons > 0)
    direction = direction[keep]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Spots(
        hkl[keep],
        s[keep],
        wavenumber[keep],
        total[keep],
        direction,
        number[rays.spot[own]],
        photons[own],
        rays.direction[own],
    )
