"""The `integrated` engine: Bragg spots in closed form.

A reflection at s (|s| = 1/d, turned with the crystal, beam along +z) diffracts the one
wavenumber of the band for which it lies on the Ewald sphere,

    k_res = -|s|^2 / (2 s_z),

and, integrated over the band and the reflection's own small volume, gives

    photons = fluence r_e^2 P |F|^2 N_cells p(k_res) / (V_cell |s|^2 / 2),

because d^3s = k^2 (1 - cos 2theta) dOmega dk = (|s|^2 / 2) dOmega dk and the integral of
the interference function over one reciprocal cell is N_cells (kinematic theory; Warren,
X-ray Diffraction, 1969, ch. 4). p is the density of the spectrum in wavenumber, P the
polarisation factor. Valid where spots are small against the spacing of reflections and
their rocking width against the band: crystals of about half a micrometre and more.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector
from spotmill.physics.units import (
    ANGSTROM,
    CLASSICAL_ELECTRON_RADIUS,
    wavenumber_from_photon_energy,
)

# A Gaussian is drawn this many standard deviations wide: 6e-7 of it lies outside.
SPREAD_WIDTH = 5.0


@dataclass(frozen=True)
class Band:
    """A top-hat band of wavenumbers, 1/Å."""

    low: float
    high: float

    @property
    def density(self) -> float:
        """Return the spectral density inside the band, Å."""
        return 1.0 / (self.high - self.low)


def tophat_band(photon_energy: float, bandwidth: float) -> Band:
    """Return the band of full relative width `bandwidth` around a photon energy in eV."""
    centre = wavenumber_from_photon_energy(photon_energy)
    return Band(centre * (1 - bandwidth / 2), centre * (1 + bandwidth / 2))


@dataclass(frozen=True)
class Source:
    """What every spot of a pattern has in common.

    Attributes
    ----------
    scale
        fluence r_e^2 N_cells / V_cell, 1/Å^3: photons per |F|^2, before the geometry.
    polarisation
        Fraction polarised along x, or None to leave the factor out.
    """

    band: Band
    scale: float
    polarisation: float | None


def source(
    photon_energy: float,
    bandwidth: float,
    nphotons: float,
    beam_radius: float,
    polarisation: float | None,
    crystal_size: float,
    cell_volume: float,
) -> Source:
    """Return the source term for a cube-shaped crystal bathed in a flat round beam.

    Parameters
    ----------
    photon_energy, bandwidth
        eV; full relative width.
    nphotons, beam_radius
        Photons in the pulse; m.
    crystal_size
        Edge of the cube, m.
    cell_volume
        Å^3.

    Raises
    ------
    SpotmillError
        When the crystal is smaller than one unit cell, as with a size given in µm.
    """
    edge = crystal_size / ANGSTROM
    n_cells = edge**3 / cell_volume
    if n_cells < 1:
        raise SpotmillError(
            f"size: a crystal of {crystal_size:g} m holds no whole unit cell; give metres"
        )
    if crystal_size > 0.01 or beam_radius > 0.1:
        raise SpotmillError(
            f"size, beam_radius: {crystal_size:g} m and {beam_radius:g} m; give metres"
        )
    fluence = nphotons / (math.pi * (beam_radius / ANGSTROM) ** 2)
    electron = CLASSICAL_ELECTRON_RADIUS / ANGSTROM
    scale = fluence * electron**2 * n_cells / cell_volume
    return Source(tophat_band(photon_energy, bandwidth), scale, polarisation)


@dataclass(frozen=True)
class Spots:
    """The spots of one pattern, one row each.

    Attributes
    ----------
    hkl : [n, 3] int32
    s : [n, 3] turned reciprocal vectors, 1/Å
    wavenumber : [n] k_res, 1/Å
    photons : [n] expected photons
    direction : [n, 3] unit vectors of the diffracted rays
    """

    hkl: NDArray[np.int32]
    s: NDArray[np.float64]
    wavenumber: NDArray[np.float64]
    photons: NDArray[np.float64]
    direction: NDArray[np.float64]


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
        """Return the reflections with |s| up to `s_max` (1/Å)."""
        keep = self.squared <= s_max**2
        return ReflectionTable(self.hkl[keep], self.intensity[keep], self.squared[keep], self.axes)


def reflection_table(
    hkl: NDArray[np.integer], intensity: NDArray[np.floating], axes: NDArray[np.float64]
) -> ReflectionTable:
    """Prepare a hemisphere of reflections [n, 3] and their |F|^2 [n] for `diffract`."""
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
    """
    band = light.band
    rows, signs = _excited(reflections.hkl, reflections.squared, turned, band.low, band.high)
    hkl = (reflections.hkl[rows] * signs[:, None]).astype(np.int32)
    s = hkl @ turned
    squared = reflections.squared[rows]
    wavenumber = -squared / (2 * s[:, 2])
    direction = s / wavenumber[:, None]
    direction[:, 2] += 1.0
    photons = light.scale * reflections.intensity[rows] * band.density / (squared / 2)
    photons *= polarisation_factor(direction, light.polarisation)
    return Spots(hkl, s, wavenumber, photons, direction)


@dataclass(frozen=True)
class Footprint:
    """Where the expected photons of a pattern fall.

    Attributes
    ----------
    spot : [m] row of the spot
    pixel : [m] flat number of the pixel in the data array, live pixels only
    photons : [m] expected photons
    panel : [n] number of the panel that holds most of the spot, -1 for none
    fs, ss : [n] position in the data array, continued beyond the panel's edge where needed
    live : [n] share of the spot's photons that falls on live pixels
    """

    spot: NDArray[np.int64]
    pixel: NDArray[np.int64]
    photons: NDArray[np.float64]
    panel: NDArray[np.int64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    live: NDArray[np.float64]


@njit(cache=True)
def _weights(position: float, sigma: float, first: int, count: int, out: Any) -> None:
    """Set out[:count] to the shares of a Gaussian at `position` on pixels first, first + 1 ..."""
    if sigma == 0.0:
        for i in range(count):
            out[i] = 1.0 if first + i <= position < first + i + 1 else 0.0
        return
    scale = 1.0 / (sigma * math.sqrt(2.0))
    before = math.erf((first - position) * scale)
    for i in range(count):
        after = math.erf((first + i + 1 - position) * scale)
        out[i] = 0.5 * (after - before)
        before = after


@njit(cache=True)
def _strike(corner: Any, fs: Any, ss: Any, ray: Any) -> tuple[float, float]:
    """Return where a ray meets a panel's plane, in pixels from its corner; NaN behind it."""
    nx = fs[1] * ss[2] - fs[2] * ss[1]
    ny = fs[2] * ss[0] - fs[0] * ss[2]
    nz = fs[0] * ss[1] - fs[1] * ss[0]
    along = nx * ray[0] + ny * ray[1] + nz * ray[2]
    reach = nx * corner[0] + ny * corner[1] + nz * corner[2]
    if along == 0.0 or reach / along <= 0.0:
        return math.nan, math.nan
    t = reach / along
    px, py, pz = t * ray[0] - corner[0], t * ray[1] - corner[1], t * ray[2] - corner[2]
    ff = fs[0] * fs[0] + fs[1] * fs[1] + fs[2] * fs[2]
    gg = ss[0] * ss[0] + ss[1] * ss[1] + ss[2] * ss[2]
    fg = fs[0] * ss[0] + fs[1] * ss[1] + fs[2] * ss[2]
    pf = px * fs[0] + py * fs[1] + pz * fs[2]
    pg = px * ss[0] + py * ss[1] + pz * ss[2]
    determinant = ff * gg - fg * fg
    return (pf * gg - pg * fg) / determinant, (pg * ff - pf * fg) / determinant


@njit(cache=True)
def _deposit(
    rays: Any,
    photons: Any,
    corners: Any,
    fs_axes: Any,
    ss_axes: Any,
    bounds: Any,
    mask: Any,
    sigmas: Any,
    width: float,
) -> tuple[Any, Any, Any, Any, Any, Any, Any, int]:
    n = rays.shape[0]
    half = 0
    for p in range(sigmas.size):
        half = max(half, int(np.ceil(width * sigmas[p])))
    side = 2 * half + 1
    capacity = 2 * n * side * side + 16
    spot = np.empty(capacity, np.int64)
    pixel = np.empty(capacity, np.int64)
    share = np.empty(capacity, np.float64)
    panel = np.full(n, -1, np.int64)
    at_fs = np.full(n, np.nan)
    at_ss = np.full(n, np.nan)
    live = np.zeros(n)
    across = np.empty(side)
    down = np.empty(side)
    count = 0
    for i in range(n):
        most = 0.0
        for p in range(corners.shape[0]):
            u, v = _strike(corners[p], fs_axes[p], ss_axes[p], rays[i])
            min_fs, max_fs, min_ss, max_ss = bounds[p]
            reach = int(np.ceil(width * sigmas[p]))
            inside = -reach <= u < max_fs - min_fs + 1 + reach
            if not (inside and -reach <= v < max_ss - min_ss + 1 + reach):
                continue
            first_fs = int(np.floor(u)) - reach
            first_ss = int(np.floor(v)) - reach
            size = 2 * reach + 1
            _weights(u, sigmas[p], first_fs, size, across)
            _weights(v, sigmas[p], first_ss, size, down)
            here = 0.0
            for b in range(size):
                row = first_ss + b + min_ss
                if row < min_ss or row > max_ss:
                    continue
                for a in range(size):
                    column = first_fs + a + min_fs
                    weight = across[a] * down[b]
                    if column < min_fs or column > max_fs or weight == 0.0:
                        continue
                    here += weight
                    if not mask[row, column]:
                        continue
                    live[i] += weight
                    if count < capacity:
                        spot[count] = i
                        pixel[count] = row * mask.shape[1] + column
                        share[count] = weight * photons[i]
                    count += 1
            if here > most:
                most = here
                panel[i] = p
                at_fs[i] = u + min_fs
                at_ss[i] = v + min_ss
    return spot[:count], pixel[:count], share[:count], panel, at_fs, at_ss, live, capacity - count


def footprint(spots: Spots, detector: Detector, point_spread: float) -> Footprint:
    """Return which live pixels the spots fall on, and in what shares.

    A Gaussian of standard deviation `point_spread` (m) is integrated over each pixel; what
    falls on another panel than the spot's centre is counted there, none is lost at an edge
    but what falls into gaps.
    """
    corners, fs_axes, ss_axes, bounds = detector.flat_arrays()
    sigmas = point_spread / np.linalg.norm(fs_axes, axis=1)
    spot, pixel, share, panel, fs, ss, live, spare = _deposit(
        spots.direction,
        spots.photons,
        corners,
        fs_axes,
        ss_axes,
        bounds,
        detector.mask,
        sigmas,
        SPREAD_WIDTH,
    )
    if spare < 0:
        raise SpotmillError("detector: panels overlap in space; mend its geometry file")
    return Footprint(spot, pixel, share, panel, fs, ss, live)
