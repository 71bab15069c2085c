"""What real frames hold besides spots, and simulated ones do not: halos, edges, cosmic rays.

Models of peaks know the background in blocks of a hundred pixels. Light that changes over fewer
leaves heaps of false peaks, which two plain tests tell from a crystal's.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.physics.peak_finding import Peaks

# Pixels (rows and columns) of the ring around a peak, and how many of it must be live.
INNER, OUTER, FEWEST = 4, 6, 16
# Standard deviations by which the 3 x 3 pixels of a peak stand out of that ring.
LEAST_DEVIANCE = 3.0
# Pixels of the ring above its median by more hold another spot.
CLIP_SIGMAS = 3.0
# Edge of the square in which a heap lies: pixels, and share of the detector's longer side.
HEAP, HEAP_SHARE = 128, 0.125
FEWEST_IN_HEAP = 5


def outstanding(peaks: Peaks, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
    """Return the peaks that stand out of the pixels around them, not of the block alone.

    The ring around a peak gives the background, its brightest pixels left out; a peak without
    enough live pixels around it is kept.
    """
    at = np.floor(peaks.place).astype(np.int64)
    deviance = _deviance(image, mask, at[:, 1], at[:, 0], CLIP_SIGMAS)
    take = deviance >= LEAST_DEVIANCE
    return Peaks(peaks.place[take], peaks.intensity[take], peaks.score[take])


def outside_heap(all_peaks: Peaks, kept: Peaks, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many peaks lie in one small square, and how many of the kept ones do not.

    The square, centred on a peak, is the one with the most of all peaks; where that is a few,
    nothing is a heap and all kept ones lie outside.
    """
    place = all_peaks.place
    reach = min(HEAP, HEAP_SHARE * max(shape)) / 2
    best, most = -1, 0
    for number, (fs, ss) in enumerate(place):
        near = (abs(place[:, 0] - fs) <= reach) & (abs(place[:, 1] - ss) <= reach)
        if near.sum() > most:
            best, most = number, int(near.sum())
    if most < FEWEST_IN_HEAP:
        return 0, len(kept.score)
    return most, int((abs(kept.place - place[best]) > reach).any(1).sum())


@njit(cache=True)
def _deviance(image: Any, mask: Any, rows: Any, columns: Any, sigmas: float) -> Any:
    """Return by how many standard deviations 3 x 3 pixels exceed the ring around them."""
    found = np.full(len(rows), np.inf)
    ring = np.empty((2 * OUTER + 1) ** 2)
    for k in range(len(rows)):
        photons, near, around = 0.0, 0, 0
        for i in range(max(rows[k] - OUTER, 0), min(rows[k] + OUTER + 1, image.shape[0])):
            for j in range(max(columns[k] - OUTER, 0), min(columns[k] + OUTER + 1, image.shape[1])):
                if not mask[i, j]:
                    continue
                apart = max(abs(i - rows[k]), abs(j - columns[k]))
                if apart <= 1:
                    photons += image[i, j]
                    near += 1
                elif apart >= INNER:
                    ring[around] = image[i, j]
                    around += 1
        if around < FEWEST or near == 0:
            continue
        middle = np.median(ring[:around])
        limit = middle + sigmas * np.sqrt(middle + 1.0)
        total, count = 0.5, 0
        for n in range(around):
            if ring[n] <= limit:
                total += ring[n]
                count += 1
        mean = total / count * near
        if photons <= mean:
            found[k] = 0.0
        else:
            found[k] = np.sqrt(2.0 * (photons * np.log(photons / mean) - photons + mean))
    return found
