"""What the counts of a frame's background do around its local mean, in one pass over the pixels.

The background is linear between the centres of blocks (`peak_candidates.interpolated`); it is made
row by row and never kept for a whole frame.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.learning.marked import BLOCK


class Moments(NamedTuple):
    """Sums over background pixels.

    Attributes
    ----------
    total : expected photons
    square : squared difference of the photons from those expected
    beside : product of the differences of neighbours along fs
    pixels, pairs : how many pixels, and how many neighbours
    levels : [n] background of every so many live pixels
    """

    total: float
    square: float
    beside: float
    pixels: int
    pairs: int
    levels: NDArray[np.float64]


def background_moments(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    blocks: NDArray[np.float64],
    sigmas: float,
    stride: int,
) -> Moments:
    """Return the moments of a frame about its background.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    blocks
        Background of each block of `BLOCK` pixels.
    sigmas
        Pixels above the background by more do not belong to it (by one photon and less, all do).
    stride
        Of so many live pixels the background of one is returned.
    """
    sums = np.zeros((3, image.shape[1]))
    levels = np.empty(image.size // stride + 1)
    pixels, pairs, count = _moments(image, mask, blocks, BLOCK, sigmas, stride, sums, levels)
    # Columns are summed up one by one: on every machine in the same order.
    total, square, beside = (float(np.cumsum(row)[-1]) for row in sums)
    return Moments(total, square, beside, pixels, pairs, levels[:count])


@njit(cache=True, nogil=True)
def _moments(
    image: Any,
    mask: Any,
    blocks: Any,
    block: int,
    sigmas: float,
    stride: int,
    sums: Any,
    levels: Any,
) -> Any:
    """Add to the sums of columns, fill in levels; return numbers of pixels, pairs and levels."""
    n_ss, n_fs = image.shape
    total, square, beside = sums[0], sums[1], sums[2]
    upper, lower = np.empty(n_fs), np.empty(n_fs)
    level, off = np.empty(n_fs), np.zeros(n_fs)
    inside = np.zeros(n_fs, np.int32)
    places, alive = np.empty(n_fs, np.int64), 0
    pixels, pairs, count, skip = 0, 0, 0, 0
    variance = sigmas * sigmas
    above = -1
    for ss in range(n_ss):
        y = min(max((ss + 0.5) / block - 0.5, 0.0), blocks.shape[0] - 1.0)
        i = int(y)
        if i != above:
            _between(blocks[i], block, upper)
            _between(blocks[min(i + 1, blocks.shape[0] - 1)], block, lower)
            above = i
        y -= i
        counts, live = image[ss], mask[ss]
        belong, beside_one = np.int32(0), np.int32(0)
        for k in range(n_fs):
            mean = (1 - y) * upper[k] + y * lower[k]
            excess = counts[k] - mean
            own = live[k] and not (excess > 1.0 and excess * excess > variance * mean)
            level[k] = mean
            inside[k] = np.int32(own)
            belong += np.int32(own)
            off[k] = excess if own else 0.0
            total[k] += mean if own else 0.0
        before, after = off[:-1], off[1:]
        for k in range(n_fs):
            square[k] += off[k] * off[k]
        for k in range(n_fs - 1):
            beside[k] += before[k] * after[k]
            beside_one += inside[k] & inside[k + 1]
        pixels += int(belong)
        pairs += int(beside_one)
        if ss == 0 or not _same(live, mask[ss - 1]):
            alive = 0
            for k in range(n_fs):
                if live[k]:
                    places[alive] = k
                    alive += 1
        while skip < alive:
            levels[count] = level[places[skip]]
            count += 1
            skip += stride
        skip -= alive
    return pixels, pairs, count


@njit(cache=True, nogil=True)
def _between(row: Any, block: int, out: Any) -> None:
    """Fill in the background along fs, linear between the centres of a row of blocks."""
    for k in range(len(out)):
        x = min(max((k + 0.5) / block - 0.5, 0.0), len(row) - 1.0)
        j = int(x)
        x -= j
        out[k] = (1 - x) * row[j] + x * row[min(j + 1, len(row) - 1)]


@njit(cache=True, nogil=True)
def _same(one: Any, other: Any) -> bool:
    """Return whether two rows of a mask are alike."""
    differ = np.int32(0)
    for k in range(len(one)):
        differ += np.int32(one[k] != other[k])
    return bool(differ == 0)
