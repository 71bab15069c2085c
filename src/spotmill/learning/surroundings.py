"""What lies around candidate spots: whether they stand out of the pixels close by, and alone.

The background of a candidate is that of a block of a hundred pixels. Where light changes over
fewer - the halo of the beam, the edge of a shadow, a ring of ice - candidates stand out of the
block, but not of the ring of pixels around them, and lie close together.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Numbers that are told of each candidate.
COUNT = 3
# Pixels (rows and columns) of the ring, and how many of it must be live.
INNER, OUTER, FEWEST = 4, 6, 16
# Pixels of the ring above its median by more hold another spot.
CLIP_SIGMAS = 3.0
# Candidates within so many pixels are neighbours.
REACH = 48


def surroundings(
    photons: NDArray[np.int32],
    ss: NDArray[np.integer],
    fs: NDArray[np.integer],
    background: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return what lies around candidates, [n, 3].

    Logarithms of 1 + the standard deviations by which the 3 x 3 pixels exceed the ring of those 4
    to 6 away, of the ring over the background of the block, and of 1 + the candidates within
    48 pixels. A ring of few live pixels is taken to be as bright as the block.

    Parameters
    ----------
    photons
        [ss, fs], below 0 where a pixel is dead.
    ss, fs, background
        [n] of the candidates; photons a pixel.
    """
    contrast, level = _rings(photons, ss, fs, background, CLIP_SIGMAS)
    apart = np.maximum(abs(ss[:, None] - ss[None]), abs(fs[:, None] - fs[None]))
    neighbours = (apart <= REACH).sum(1) - 1
    return np.stack([np.log1p(contrast), np.log(level / background), np.log1p(neighbours)], axis=1)


@njit(cache=True)
def _rings(photons: Any, rows: Any, columns: Any, background: Any, sigmas: float) -> Any:
    """Return standard deviations above the ring, and photons a pixel of the ring."""
    n_ss, n_fs = photons.shape
    contrast, level = np.zeros(len(rows)), background.copy()
    ring = np.empty((2 * OUTER + 1) ** 2)
    for k in range(len(rows)):
        total, near, around = 0.0, 0, 0
        for i in range(max(rows[k] - OUTER, 0), min(rows[k] + OUTER + 1, n_ss)):
            for j in range(max(columns[k] - OUTER, 0), min(columns[k] + OUTER + 1, n_fs)):
                if photons[i, j] < 0:
                    continue
                apart = max(abs(i - rows[k]), abs(j - columns[k]))
                if apart <= 1:
                    total += photons[i, j]
                    near += 1
                elif apart >= INNER:
                    ring[around] = photons[i, j]
                    around += 1
        if around >= FEWEST:
            middle = np.median(ring[:around])
            limit = middle + sigmas * np.sqrt(middle + 1.0)
            seen, count = 0.5, 0
            for n in range(around):
                if ring[n] <= limit:
                    seen += ring[n]
                    count += 1
            level[k] = seen / count
        mean = level[k] * near
        if total > mean:
            contrast[k] = np.sqrt(2.0 * (total * np.log(total / mean) - total + mean))
    return contrast, level
