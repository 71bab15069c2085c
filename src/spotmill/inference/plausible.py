"""What real frames hold besides spots, and simulated ones do not: halos, edges, cosmic rays.

Models of peaks know the background in blocks of a hundred pixels. Light that changes over fewer
leaves heaps of false peaks, which two plain tests tell from a crystal's.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from spotmill.inference.ridges import abound, fitted_centre, ridges
from spotmill.physics.peak_finding import Peaks, deviance, ring_statistics

# Pixels (rows and columns) of the ring around a peak, and how many of it must be live.
INNER, OUTER, FEWEST = 4, 6, 16
# Standard deviations by which the 3 x 3 pixels of a peak stand out of that ring.
LEAST_DEVIANCE = 3.0
# A ring about the beam is narrow where it outshines its surroundings by this factor: of its many
# pixels, all candidates, the brightest stand out by 3 standard deviations without being spots.
NARROW, LEAST_ON_RING = 1.3, 5.0
# Standard deviations of counting by which it does; of frames of more pixels every other row and
# column tells.
RING_SIGMAS, FEW_PIXELS = 4.0, 2_000_000
# Pixels of the ring off its median by more belong to another spot, or lie in a shadow.
CLIP_SIGMAS = 3.0
# A quarter of the ring has so many live pixels, and its median (whose variance is pi/2 that of a
# mean) is off another's by so many standard deviations where the ring lies across an edge.
FEWEST_OF_QUARTER, EDGE_SIGMAS = 8, 5.0
# Edge of the square in which a heap lies: pixels, and share of the detector's longer side.
HEAP, HEAP_SHARE = 128, 0.125
FEWEST_IN_HEAP = 5
# Rings about a centre that is off the stated one by less are the stated one's, pixels.
LEAST_SHIFT = 2.0


def outstanding(
    peaks: Peaks,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    radius: NDArray[np.floating] | None = None,
    centre: tuple[float, float] | None = None,
) -> Peaks:
    """Return the peaks that stand out of the pixels around them, not of the block alone.

    The ring around a peak gives the background, its brightest pixels left out; a peak without
    enough live pixels around it is kept. Where the distance of pixels from the beam is known
    (`radius` [ss, fs] in pixels, NaN where there is no panel), it must also stand out of rings
    about the beam that are as narrow as itself, such as those of ice; and wherever the beam is,
    out of a row of light that runs through it. Where many lie on such rows, rings are taken about
    the centre that these tell, too, near the stated one (`centre`, fs and ss in pixels, of one flat
    panel).
    """
    at = np.floor(peaks.place).astype(np.int64)
    if not len(at):
        return peaks
    levels, pixels = _levels(image, mask, at[:, 1], at[:, 0], CLIP_SIGMAS)
    rings = ridges(image, mask, at, levels)
    on_ring = rings > NARROW
    if radius is not None:
        many, keep = abound(np.where(on_ring, rings, 1.0)), True
        if many and centre is not None:
            fitted = fitted_centre(peaks.place[on_ring], centre)
            if np.hypot(fitted[0] - centre[0], fitted[1] - centre[1]) > LEAST_SHIFT:
                radius, keep = _about(fitted, image.shape), False
        factor, near = _ring_factors(image, mask, radius, at, keep)
        rings = np.maximum(rings, factor)
        on_ring |= near if many else factor > NARROW
    stands_out = _deviance(image, mask, at[:, 1], at[:, 0], levels * rings, pixels)
    return peaks.rows(stands_out >= np.where(on_ring, LEAST_ON_RING, LEAST_DEVIANCE))


def narrow_rings(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    radius: NDArray[np.floating],
    at: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return by what factor rings about the beam outshine their surroundings at places (fs, ss).

    At least 1. The surroundings are what the square ring around a peak sees of them.
    """
    return _ring_factors(image, mask, radius, at)[0]


def _ring_factors(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    radius: NDArray[np.floating],
    at: NDArray[np.int64],
    keep: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the factors of `narrow_rings`, and whether places lie by a narrow ring.

    With `keep` the rings of the radius wait for the next frame.
    """
    known, ring = _rings(radius, keep)
    some = _every(image.size)
    live = mask[some] & known
    mean, _ = ring_statistics(np.ascontiguousarray(image[some]), live, ring)
    pixels = np.bincount(ring[live], minlength=len(mean))
    steps = np.arange(-OUTER, OUTER + 1)
    weight = np.where(abs(steps) < INNER, 2 * (OUTER - INNER + 1), 2 * OUTER + 1).astype(float)
    around = np.convolve(np.pad(mean, OUTER, mode="edge"), weight / weight.sum(), mode="valid")
    plain = (mean - around) * pixels > RING_SIGMAS * np.sqrt(around * pixels)
    factor = np.where(plain, mean / np.maximum(around, 1e-12), 1.0)
    own = np.nan_to_num(radius[at[:, 1], at[:, 0]]).astype(np.int64)
    own = np.minimum(own, len(factor) - 1)
    near = maximum_filter1d(factor, 2 * OUTER + 1) > NARROW
    return np.asarray(factor[own]), np.asarray(near[own])


# The last radius, whose rings wait for the frames that follow: one object a detector.
_kept: list[tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.int32]]] = []


def _every(pixels: int) -> tuple[slice, slice]:
    """Return which rows and columns tell of the rings of a frame."""
    step = 1 if pixels <= FEW_PIXELS else 2
    return np.s_[::step, ::step]


def _about(centre: tuple[float, float], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the distance of every pixel [ss, fs] from a centre (fs, ss)."""
    fs, ss = (np.arange(side, dtype=np.float32) + 0.5 for side in (shape[1], shape[0]))
    return np.hypot(fs - np.float32(centre[0]), ss[:, None] - np.float32(centre[1]))


def _rings(radius: NDArray[np.floating], keep: bool) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Return which of these pixels have a ring, and the number of each one's ring."""
    for before, known, ring in _kept:
        if before is radius:
            return known, ring
    some = radius[_every(radius.size)]
    known = np.isfinite(some)
    ring = np.where(known, some, 0).astype(np.int32)
    if keep:
        _kept[:] = [(radius, known, ring)]
    return known, ring


def background_around(
    image: NDArray[Any], mask: NDArray[np.bool_], place: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the photons a pixel around places (fs, ss), 0 where no pixel is live."""
    at = np.floor(place).astype(np.int64)
    return np.asarray(_levels(image, mask, at[:, 1], at[:, 0], CLIP_SIGMAS)[0])


def outside_heap(all_peaks: Peaks, kept: Peaks, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many peaks lie in one small square, and how many of the kept ones do not.

    The square, centred on a peak, is the one with the most of all peaks; where that is a few,
    nothing is a heap and all kept ones lie outside.
    """
    place = all_peaks.place
    reach = min(HEAP, HEAP_SHARE * max(shape)) / 2
    best, most = _fullest(np.ascontiguousarray(place), reach)
    if most < FEWEST_IN_HEAP:
        return 0, len(kept.score)
    return most, int((abs(kept.place - place[best]) > reach).any(1).sum())


@njit(cache=True, nogil=True)
def _fullest(place: Any, reach: float) -> Any:
    """Return the first place with the most others within reach along both axes, and how many."""
    best, most = -1, np.int64(0)
    for number in range(len(place)):
        near = np.int64(0)
        for other in range(len(place)):
            along_fs = abs(place[other, 0] - place[number, 0]) <= reach
            along_ss = abs(place[other, 1] - place[number, 1]) <= reach
            near += np.int64(along_fs & along_ss)
        if near > most:
            best, most = number, near
    return best, most


@njit(cache=True, nogil=True)
def _levels(image: Any, mask: Any, rows: Any, columns: Any, sigmas: float) -> Any:
    """Return the background of places, and the live pixels that it is taken from."""
    levels, pixels = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    ring = np.empty((4, (2 * OUTER + 1) ** 2))
    for k in range(len(rows)):
        around = surroundings(image, mask, rows[k], columns[k], INNER, OUTER, ring)
        pixels[k] = len(around)
        if len(around) == 0:
            continue
        middle = np.median(around)
        reach = sigmas * np.sqrt(middle + 1.0)
        total, count = 0.5, 0
        for value in around:
            if abs(value - middle) <= reach:
                total += value
                count += 1
        levels[k] = total / max(count, 1)
    return levels, pixels


@njit(cache=True, nogil=True)
def _deviance(image: Any, mask: Any, rows: Any, columns: Any, levels: Any, pixels: Any) -> Any:
    """Return by how many standard deviations 3 x 3 pixels exceed the ring around them.

    `levels` are those of rings with so many `pixels`; with too few of them it is infinite.
    """
    found = np.full(len(rows), np.inf)
    for k in range(len(rows)):
        photons, near = 0.0, 0
        for i in range(max(rows[k] - 1, 0), min(rows[k] + 2, image.shape[0])):
            for j in range(max(columns[k] - 1, 0), min(columns[k] + 2, image.shape[1])):
                if mask[i, j]:
                    photons += image[i, j]
                    near += 1
        if pixels[k] >= FEWEST and near > 0:
            found[k] = deviance(photons, levels[k] * near)
    return found


@njit(cache=True, nogil=True)
def surroundings(
    image: Any, mask: Any, row: int, column: int, inner: int, outer: int, ring: Any
) -> Any:
    """Return the live pixels of the square ring around a pixel that tell its background.

    They are all of them; or, where its quarters differ by more than counting allows, as at the
    edge of a shadow, those of the brightest quarter. `ring` [4, n] is room to work in.
    """
    counts = np.zeros(4, np.int64)
    for i in range(max(row - outer, 0), min(row + outer + 1, image.shape[0])):
        for j in range(max(column - outer, 0), min(column + outer + 1, image.shape[1])):
            if not mask[i, j] or max(abs(i - row), abs(j - column)) < inner:
                continue
            # Quarters between the diagonals: above, below, left and right.
            if abs(i - row) > abs(j - column):
                quarter = 0 if i < row else 1
            else:
                quarter = 2 if j < column else 3
            ring[quarter, counts[quarter]] = image[i, j]
            counts[quarter] += 1
    low, high, brightest = np.inf, -1.0, -1
    for quarter in range(4):
        if counts[quarter] < FEWEST_OF_QUARTER:
            continue
        middle = np.median(ring[quarter, : counts[quarter]])
        low = min(low, middle)
        if middle > high:
            high, brightest = middle, quarter
    if brightest >= 0 and high - low > EDGE_SIGMAS * np.sqrt(
        1.57 * (high + low + 0.5) / counts[brightest]
    ):
        return ring[brightest, : counts[brightest]].copy()
    every = np.empty(counts.sum())
    first = 0
    for quarter in range(4):
        every[first : first + counts[quarter]] = ring[quarter, : counts[quarter]]
        first += counts[quarter]
    return every
