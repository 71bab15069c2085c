"""A frame as all who look for candidates read it: photons of live pixels, and their background.

One pass over the image marks dead pixels and takes what the background of each block is made of;
whoever looks at the same frame afterwards starts from there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Blocks over which the background is taken, pixels; between their centres it is interpolated.
BLOCK = 128
CLIPPINGS = 3
CLIP_SIGMAS = 4.0
# Photons of a pixel that have a place of their own in the histogram of a block.
BINS = 2048
# In place of the photons of a dead pixel.
DEAD = -1
# So many photons are counted many pixels at once: most pixels have no more.
FEW = 3
# Of a row of a block: with more pixels beyond these than one in so many, all are counted alike.
SPARSE = 8


@dataclass(frozen=True, eq=False)
class Marked:
    """A frame with its dead pixels marked.

    Attributes
    ----------
    photons : [ss, fs] int32
        `DEAD` where a pixel is not live.
    block : int
        Edge of a block, pixels.
    lit, live : [block_ss, block_fs] int64
        Pixels with a photon, and live pixels.
    total, kept : [block_ss, block_fs]
        Photons and number of the pixels that are left when bright ones are clipped away.
    """

    photons: NDArray[np.int32]
    block: int
    lit: NDArray[np.int64]
    live: NDArray[np.int64]
    total: NDArray[np.float64]
    kept: NDArray[np.float64]

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """The background of each block: mean of its live pixels, bright ones clipped away.

        Half a photon is added, and a block without live pixels takes the mean of all: there is
        a background everywhere.
        """
        everywhere = (self.total.sum() + 0.5) / max(self.kept.sum(), 1)
        own = (self.total + 0.5) / np.maximum(self.kept, 1)
        return np.where(self.kept > 0, own, everywhere)


def mark(image: NDArray[Any], mask: NDArray[np.bool_], block: int = BLOCK) -> Marked:
    """Return a frame with its dead pixels marked; of floats the nearest whole photons are taken.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    """
    whole = np.rint(image) if image.dtype.kind == "f" else image
    photons, *sums = _marked(whole, mask, block, CLIPPINGS, CLIP_SIGMAS)
    return Marked(photons, block, *sums)


@njit(cache=True, nogil=True)
def _marked(image: Any, mask: Any, block: int, clippings: int, sigmas: float) -> Any:
    """Return photons, and of each block lit and live pixels and the clipped sums.

    Loops without branches are what compilers turn into ones over many pixels at a time.
    """
    n_ss, n_fs = image.shape
    size = ((n_ss + block - 1) // block, (n_fs + block - 1) // block)
    photons = np.empty((n_ss, n_fs), np.int32)
    lit, live = np.zeros(size, np.int64), np.zeros(size, np.int64)
    total, kept = np.zeros(size), np.zeros(size)
    histogram = np.zeros((size[1], BINS), np.int64)
    beyond = np.zeros(size[1])
    for i in range(size[0]):
        histogram[:] = 0
        beyond[:] = 0.0
        last = min((i + 1) * block, n_ss)
        for ss in range(i * block, last):
            counts, alive, out = image[ss], mask[ss], photons[ss]
            for fs in range(n_fs):
                out[fs] = np.int32(counts[fs]) if alive[fs] else np.int32(DEAD)
            for j in range(size[1]):
                row = out[j * block : min((j + 1) * block, n_fs)]
                beyond[j] += _count(row, histogram[j])
                live[i, j] += len(row)
        for j in range(size[1]):
            # `_count` leaves the number of dead pixels in the place of the dark ones.
            dead = histogram[j, 0]
            live[i, j] -= dead
            lit[i, j] = histogram[j, 1:].sum()
            histogram[j, 0] = live[i, j] - lit[i, j]
            total[i, j], kept[i, j] = _clipped(histogram[j], beyond[j], clippings, sigmas)
    return photons, lit, live, total, kept


@njit(cache=True, nogil=True)
def _count(row: Any, histogram: Any) -> float:
    """Add a row of pixels to a histogram, dead ones under 0; return the photons beyond it.

    Dark pixels are not counted: they are those that remain.
    """
    dead, dark, one, two = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for k in range(len(row)):
        dead += np.int32(row[k] < 0)
        dark += np.int32(row[k] == 0)
        one += np.int32(row[k] == 1)
        two += np.int32(row[k] == 2)
    histogram[0] += dead
    histogram[1] += one
    histogram[2] += two
    more = len(row) - dead - dark - one - two
    if more == 0:
        return 0.0
    beyond = 0.0
    if more * SPARSE < len(row):
        for k in range(len(row)):
            if row[k] >= FEW:
                if row[k] >= BINS - 1:
                    beyond += row[k]
                histogram[min(row[k], BINS - 1)] += 1
        return beyond
    kept = histogram[0], histogram[1], histogram[2]
    largest = np.int32(0)
    for k in range(len(row)):
        histogram[min(max(row[k], 0), BINS - 1)] += 1
        largest = max(largest, row[k])
    histogram[0], histogram[1], histogram[2] = kept
    if largest >= BINS - 1:
        for k in range(len(row)):
            if row[k] >= BINS - 1:
                beyond += row[k]
    return beyond


@njit(cache=True, nogil=True)
def _clipped(histogram: Any, beyond: float, clippings: int, sigmas: float) -> tuple[float, float]:
    """Return photons and number of the pixels of a block that are not clipped.

    Pixels beyond the histogram are in or out together, as the smallest of them would be.
    """
    most = BINS - 1
    while most > 0 and histogram[most] == 0:
        most -= 1
    total, pixels = 0.0, 0
    limit = np.inf
    for _ in range(clippings):
        total, pixels = 0.0, 0
        for value in range(most + 1):
            if value > limit:
                break
            many = histogram[value]
            pixels += many
            total += beyond if value == BINS - 1 else value * many
        mean = total / max(pixels, 1)
        limit = mean + max(sigmas * np.sqrt(mean), 1.0)
    return total, float(pixels)
