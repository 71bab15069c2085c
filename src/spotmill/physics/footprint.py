"""Where the photons of spots fall: panels, pixels and shares."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.diffraction import Spots
from spotmill.physics.geometry import Detector

# A Gaussian is drawn this many standard deviations wide: 6e-7 of it lies outside.
SPREAD_WIDTH = 5.0
RAYS_AT_ONCE = 50_000
SHARES_AT_ONCE = 5_000_000  # of a ray in a pixel
MOST_SHARES = 50_000_000

WIDEST_SPREAD = 0.02  # m


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
) -> tuple[Any, Any, Any, Any, Any, Any, Any, Any, int]:
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
    most = np.zeros(n)
    across = np.empty(side)
    down = np.empty(side)
    count = 0
    for i in range(n):
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
            if here > most[i]:
                most[i] = here
                panel[i] = p
                at_fs[i] = u + min_fs
                at_ss[i] = v + min_ss
    spare = capacity - count
    return spot[:count], pixel[:count], share[:count], panel, at_fs, at_ss, live, most, spare


def footprint(spots: Spots, detector: Detector, spread: Sequence[tuple[float, float]]) -> Footprint:
    """Return which live pixels the spots fall on, and in what shares.

    Gaussians are integrated over each pixel; what falls on another panel than the spot's
    centre is counted there, and nothing is lost at an edge but what falls into gaps.

    Parameters
    ----------
    spread
        Components of the point spread: standard deviation (m) and weight of each.

    Raises
    ------
    SpotmillError
        When panels overlap in space, or a standard deviation or weight is impossible.
    """
    for sigma, weight in spread:
        if not (0 <= sigma < WIDEST_SPREAD and 0 <= weight <= 1):
            raise SpotmillError(
                f"spread: {sigma:g} m with weight {weight:g}: give a standard deviation below "
                f"{WIDEST_SPREAD:g} m and a weight between 0 and 1"
            )
    largest = _rays_at_once(spots, detector, spread)
    one_each = len(spots.ray_photons) == len(spots.photons)
    if len(spread) == 1 and one_each and len(spots.photons) <= largest:
        sigma, weight = spread[0]
        one = _rays_on_pixels(spots, detector, sigma, weight)
        return Footprint(one.ray, one.pixel, one.photons, one.panel, one.fs, one.ss, one.live)
    pieces = [_merged(piece, detector, spread) for piece in _pieces(spots, largest)]
    if not pieces:
        pieces = [_merged(spots, detector, spread)]
    offsets = np.cumsum([0, *(len(piece.panel) for piece in pieces)])
    return Footprint(
        np.concatenate([p.spot + first for p, first in zip(pieces, offsets, strict=False)]),
        np.concatenate([piece.pixel for piece in pieces]),
        np.concatenate([piece.photons for piece in pieces]),
        np.concatenate([piece.panel for piece in pieces]),
        np.concatenate([piece.fs for piece in pieces]),
        np.concatenate([piece.ss for piece in pieces]),
        np.concatenate([piece.live for piece in pieces]),
    )


def _rays_at_once(spots: Spots, detector: Detector, spread: Sequence[tuple[float, float]]) -> int:
    """Return how many rays fit into memory together; raise SpotmillError if one spot's do not."""
    steps = np.linalg.norm(detector.flat_arrays().fs, axis=1)
    half = math.ceil(SPREAD_WIDTH * max(sigma for sigma, _ in spread) / steps.min())
    area = (2 * half + 1) ** 2
    most = int(np.bincount(spots.ray_spot).max(initial=0))
    if most * area > MOST_SHARES:
        raise SpotmillError(
            f"spread: a spot of {most} rays, each {2 * half + 1} pixels wide, needs too much "
            "memory; give a narrower point spread, a smaller crystal or less mosaicity"
        )
    return min(RAYS_AT_ONCE, max(SHARES_AT_ONCE // area, 1))


def _pieces(spots: Spots, largest: int) -> Iterator[Spots]:
    """Yield the spots some at a time, so that memory does not grow with the number of rays."""
    counts = np.bincount(spots.ray_spot, minlength=len(spots.photons))
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + largest)), first + 1)
        rays = slice(before, ends[last - 1])
        own = slice(first, last)
        yield Spots(
            spots.hkl[own],
            spots.s[own],
            spots.wavenumber[own],
            spots.photons[own],
            spots.direction[own],
            spots.ray_spot[rays] - first,
            spots.ray_photons[rays],
            spots.ray_direction[rays],
        )
        first = last


def _merged(spots: Spots, detector: Detector, spread: Sequence[tuple[float, float]]) -> Footprint:
    """Return the footprint of spots with several rays or components of the point spread."""
    parts = [_rays_on_pixels(spots, detector, sigma, weight) for sigma, weight in spread]
    live = np.sum([part.live for part in parts], axis=0)
    return _gather(
        spots,
        detector.mask.size,
        np.concatenate([part.ray for part in parts]),
        np.concatenate([part.pixel for part in parts]),
        np.concatenate([part.photons for part in parts]),
        live,
        # The widest reaches panels that no other component does.
        parts[int(np.argmax([sigma for sigma, _ in spread]))],
    )


@dataclass(frozen=True)
class _Deposits:
    """What one component of the point spread deposits, by ray."""

    ray: NDArray[np.int64]
    pixel: NDArray[np.int64]
    photons: NDArray[np.float64]
    panel: NDArray[np.int64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    live: NDArray[np.float64]
    most: NDArray[np.float64]


def _rays_on_pixels(spots: Spots, detector: Detector, sigma: float, weight: float) -> _Deposits:
    corners, fs_axes, ss_axes, bounds = detector.flat_arrays()
    ray, pixel, photons, panel, fs, ss, live, most, spare = _deposit(
        spots.ray_direction,
        spots.ray_photons * weight,
        corners,
        fs_axes,
        ss_axes,
        bounds,
        detector.mask,
        sigma / np.linalg.norm(fs_axes, axis=1),
        SPREAD_WIDTH,
    )
    if spare < 0:
        raise SpotmillError("detector: panels overlap in space; mend its geometry file")
    return _Deposits(ray, pixel, photons, panel, fs, ss, live * weight, most)


def _gather(
    spots: Spots,
    n_pixels: int,
    ray: NDArray[np.int64],
    pixel: NDArray[np.int64],
    photons: NDArray[np.float64],
    live: NDArray[np.float64],
    where: _Deposits,
) -> Footprint:
    """Put the deposits of the rays of each spot together, one entry a pixel."""
    n = len(spots.photons)
    key, inverse = np.unique(spots.ray_spot[ray] * n_pixels + pixel, return_inverse=True)
    merged = np.bincount(inverse, photons, minlength=len(key)).astype(np.float64)
    total = np.maximum(np.bincount(spots.ray_spot, spots.ray_photons, minlength=n), 1e-300)
    share = np.bincount(spots.ray_spot, spots.ray_photons * live, minlength=n) / total
    on = np.flatnonzero(where.panel >= 0)
    owner, strength = spots.ray_spot[on], spots.ray_photons[on] * where.most[on]
    n_panels = int(where.panel.max(initial=0)) + 1
    by_panel = np.bincount(owner * n_panels + where.panel[on], strength, minlength=n * n_panels)
    by_panel = by_panel.reshape(n, n_panels)
    panel = np.where(by_panel.max(axis=1) > 0, by_panel.argmax(axis=1), -1)
    same = where.panel[on] == panel[owner]
    weight = np.bincount(owner[same], strength[same], minlength=n)
    known = np.maximum(weight, 1e-300)

    def mean(at: NDArray[np.float64]) -> NDArray[np.float64]:
        moment = np.bincount(owner[same], strength[same] * at[on][same], minlength=n)
        return np.where(weight > 0, moment / known, np.nan)

    fs, ss = mean(where.fs), mean(where.ss)
    return Footprint(key // n_pixels, key % n_pixels, merged, panel, fs, ss, share)
