"""Mosaic crystals in divergent beams: a spot becomes an arc or streak.

The blocks of a mosaic crystal are turned by small angles, normal with standard deviation
eta about every axis; the rays of a beam come from directions normal with standard deviation
delta on each axis. For a reflection s at the angle psi from the beam axis only two
combinations matter to first order: the turn u within the plane of s and beam, which moves
the resonant wavenumber k = -|s| / (2 cos(psi + u)), and turns out of that plane, which
move the spot sideways at constant k. The turn u is that of the crystal less that of the
ray, so its law is normal with variance eta^2 + delta^2.

Each reflection is replaced by rays on a low-discrepancy set of points (Sobol). The turn u
is taken within what the band can excite only, by the inverse of its normal law, and each
ray carries the probability of that interval over the number of rays: photons are conserved
whatever their number. What is left out, reflections that the band touches with less than
LEAST_SHARE of their curve, is less than that share of all photons.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spotmill.errors import SpotmillError

# Turns beyond this many standard deviations are left out (6e-7 of them).
REACH = 5.0
MOST_RAYS = 4096

# No crystal or beam is so perfect; below it squares of deviations underflow.
LEAST_SPREAD = 1e-9  # rad

LARGEST_MOSAICITY = math.radians(10.0)
LARGEST_DIVERGENCE = 0.1  # rad
# Reflections of which the band excites less than this share are left out.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Rocking:
    """Spread of crystal and beam.

    Attributes
    ----------
    mosaicity, divergence
        Standard deviations, rad.
    rays
        Number of rays a reflection is replaced by.
    """

    mosaicity: float
    divergence: float
    rays: int

    @property
    def sharp(self) -> bool:
        """True for a perfect crystal in a parallel beam."""
        return self.mosaicity == 0 and self.divergence == 0

    @property
    def spread(self) -> float:
        """Standard deviation of the turn that matters for the wavenumber, rad."""
        return math.hypot(self.mosaicity, self.divergence)


def rocking(mosaicity: float, divergence: float, reach: float) -> Rocking:
    """Choose the number of rays so that they lie closer than a pixel.

    Parameters
    ----------
    mosaicity, divergence
        Standard deviations, rad.
    reach
        Distance of the farthest pixel from the crystal, in pixels.

    Raises
    ------
    SpotmillError
        When a deviation is beyond 0.1745 rad (10 degrees; divergence: 0.1 rad), as degrees or
        mrad taken for rad would be, or a reach is below 1 pixel, as one in m would be.
    """
    if not (0 <= mosaicity <= LARGEST_MOSAICITY and 0 <= divergence <= LARGEST_DIVERGENCE):
        raise SpotmillError(
            f"mosaicity, divergence: {mosaicity:g} and {divergence:g} rad are negative or beyond "
            f"{LARGEST_MOSAICITY:.4g} and {LARGEST_DIVERGENCE:g}; give standard deviations in rad"
        )
    if not (math.isfinite(reach) and reach >= 1):
        raise SpotmillError(f"reach: {reach!r} is not a number of pixels of 1 or more")
    if math.hypot(mosaicity, divergence) < LEAST_SPREAD:
        return Rocking(0.0, 0.0, 1)
    # Out of plane a spot moves by the whole turn, in plane by twice that.
    extent = 1 + REACH * math.hypot(2 * mosaicity, divergence) * reach
    rays = 2 ** math.ceil(math.log2(4 * extent))
    return Rocking(mosaicity, divergence, int(min(max(rays, 32), MOST_RAYS)))


@lru_cache(maxsize=8)
def _points(rays: int) -> NDArray[np.float64]:
    """Return [rays, 4] Sobol points inside the unit cube."""
    # Imported only where needed: scipy.stats takes longer to load than a hundred frames to make.
    from scipy.stats import qmc

    points = qmc.Sobol(4, scramble=False).random(rays)
    # Half a step inwards: 0 would be an infinite deviation.
    return np.asarray(points + 0.5 / rays)


@dataclass(frozen=True)
class Rays:
    """Rays of all reflections of a pattern.

    Attributes
    ----------
    spot : [m] row of the reflection
    wavenumber : [m] 1/Å
    weight : [m] probability that the ray stands for
    direction : [m, 3] unit vectors
    """

    spot: NDArray[np.int64]
    wavenumber: NDArray[np.float64]
    weight: NDArray[np.float64]
    direction: NDArray[np.float64]


def spread_rays(s: NDArray[np.float64], low: float, high: float, width: Rocking) -> Rays:
    """Replace reflections s [n, 3] (1/Å) by the rays that a band [low, high] can excite."""
    length = np.linalg.norm(s, axis=1)
    across = np.hypot(s[:, 0], s[:, 1])
    psi = np.arctan2(across, s[:, 2])
    # k = -|s| / (2 cos angle) rises as the angle falls from pi towards pi / 2.
    least = np.arccos(-np.clip(length / (2 * high), 0, 1)) - psi
    most = np.arccos(-np.clip(length / (2 * low), 0, 1)) - psi
    start, stop = np.minimum(least, most), np.maximum(least, most)
    below, above = ndtr(start / width.spread), ndtr(stop / width.spread)
    probability = above - below
    rows = np.flatnonzero(probability > LEAST_SHARE)
    points = _points(width.rays)
    share = below[rows, None] + probability[rows, None] * points[:, 0]
    turn = width.spread * ndtri(np.clip(share, 1e-300, 1 - 1e-16))
    turn = np.clip(turn, start[rows, None], stop[rows, None])
    return _trace(s, length, psi, across, rows, probability, turn, points, width)


def _trace(
    s: NDArray[np.float64],
    length: NDArray[np.float64],
    psi: NDArray[np.float64],
    across: NDArray[np.float64],
    rows: NDArray[np.int64],
    probability: NDArray[np.float64],
    turn: NDArray[np.float64],
    points: NDArray[np.float64],
    width: Rocking,
) -> Rays:
    """Return the rays of turns [row, ray]."""
    variance = width.spread**2
    split = ndtri(points[:, 1]) * width.mosaicity * width.divergence / width.spread
    crystal = turn * (width.mosaicity**2 / variance) + split
    beam = crystal - turn
    sideways = ndtri(points[:, 2]) * width.mosaicity
    slant = ndtri(points[:, 3]) * width.divergence
    ones = np.ones_like(turn)
    safe = np.where(across[rows] > 0, across[rows], 1.0)
    radial = np.where(across[rows, None] > 0, s[rows, :2] / safe[:, None], np.array([1.0, 0.0]))
    aside = np.stack([-radial[:, 1], radial[:, 0]], axis=1)
    angle = psi[rows, None] + crystal
    size = length[rows, None]

    def vector(out: Any, off: Any, along: Any) -> NDArray[np.float64]:
        """Return vectors from radial, sideways and axial parts [row, ray]."""
        xy = out[..., None] * radial[:, None, :] + off[..., None] * aside[:, None, :]
        return np.concatenate([xy, along[..., None]], axis=-1)

    turned = vector(
        size * np.sin(angle) * np.cos(sideways),
        size * ones * np.sin(sideways),
        size * np.cos(angle) * np.cos(sideways),
    )
    incoming = vector(
        np.sin(beam) * np.cos(slant), ones * np.sin(slant), np.cos(beam) * np.cos(slant)
    )
    wavenumber = -size / (2 * np.cos(psi[rows, None] + turn))
    direction = turned / wavenumber[..., None] + incoming
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    n = turn.shape[1]
    return Rays(
        np.repeat(rows, n),
        wavenumber.ravel(),
        np.repeat(probability[rows] / n, n),
        direction.reshape(-1, 3),
    )
