"""Candidate peaks of a frame on any background, with the pixels around each."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from spotmill.learning.marked import BLOCK, Marked, mark
from spotmill.physics.peak_finding import deviance

# A candidate has at least so many photons in 3 x 3 pixels, and stands out of the background's
# Poisson law by so many standard deviations, in one pixel, in 2 x 2 or in 3 x 3.
LEAST_PHOTONS = 3
LEAST_DEVIANCE = 3.0
# Sums of 3 x 3 pixels are weighted 4, 2, 1 from the middle to the corners: for a background b
# their mean is 16 b and their standard deviation 6 sqrt(b). A maximum of them is looked at from
# so many standard deviations, and from this sum.
LEAST_SIGMAS = 2.5
LEAST_SUM = 6
# A pixel counts no more photons than this in such a sum, which then stays a number of 32 bits.
MOST_PHOTONS = 2**26
# Pixels of a row that are looked at together for one above its cut.
TOGETHER = 32


class Candidates(NamedTuple):
    """Local maxima of a frame, the most significant first.

    Attributes
    ----------
    ss, fs : [n] int64
    background : [n] photons a pixel expected without a spot
    deviance : [n, 3] of the photons in the pixel, in 2 x 2 (the best of four) and in 3 x 3
        pixels, in standard deviations
    patch : [n, size, size] float32, photons; the background on dead pixels
    live : [n, size, size] bool
    """

    ss: NDArray[np.int64]
    fs: NDArray[np.int64]
    background: NDArray[np.float64]
    deviance: NDArray[np.float64]
    patch: NDArray[np.float32]
    live: NDArray[np.bool_]

    def of(self, rows: NDArray[Any]) -> "Candidates":
        """Return some of the candidates."""
        return Candidates(*(column[rows] for column in self))


def block_background(
    image: NDArray[np.integer], mask: NDArray[np.bool_], block: int = BLOCK
) -> NDArray[np.float64]:
    """Return the background of each block: mean of its live pixels, bright ones clipped away.

    Half a photon is added, and a block without live pixels takes the mean of all: there is a
    background everywhere.
    """
    return mark(image, mask, block).levels


def interpolated(
    blocks: NDArray[np.float64], shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Return the background of the pixels [ss, fs] from a corner on, from that of blocks."""
    return np.asarray(_interpolated(blocks, shape, corner, BLOCK))


def background_map(image: NDArray[np.integer], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the background of every pixel [ss, fs] as `find_candidates` takes it."""
    return interpolated(block_background(image, mask), image.shape)


def find_candidates(
    image: NDArray[np.integer], mask: NDArray[np.bool_], count: int, size: int
) -> Candidates:
    """Return the `count` most significant local maxima of a frame (see `candidates_of`).

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    """
    return candidates_of(mark(image, mask), count, size)


def candidates_of(frame: Marked, count: int, size: int) -> Candidates:
    """Return the `count` most significant local maxima of a frame.

    Parameters
    ----------
    frame
        With its dead pixels marked, in blocks of `BLOCK`.
    size
        Odd edge in pixels of the patch around each.

    Notes
    -----
    The deviance is the root of the likelihood ratio of a Poisson count n to its mean m,
    sqrt(2 (n log(n/m) - n + m)) (Li & Ma, ApJ 272, 317, 1983, for a known background). That of
    one pixel and of 2 x 2 is not diluted where a spot is narrower than 3 x 3; the largest of the
    three says which candidates come first. A maximum has the largest sum of photons, weighted
    1, 1/2, 1/4 from the middle to the corners of 3 x 3 pixels, within two pixels of it.
    """
    photons, blocks = frame.photons, frame.levels
    rows = _maxima(photons, blocks, _cuts(blocks), BLOCK)
    first = np.argsort(-rows[:, 3:].max(1, initial=0.0), kind="stable")[:count]
    rows = rows[first]
    ss, fs = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    patch, live = _patches(photons, ss, fs, rows[:, 2], size)
    return Candidates(ss, fs, rows[:, 2], rows[:, 3:], patch, live)


def _cuts(blocks: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the weighted sum from which a pixel of each block is looked at."""
    least = minimum_filter(blocks, 3, mode="nearest")
    cut = 16 * least + LEAST_SIGMAS * 6 * np.sqrt(least)
    return np.maximum(np.ceil(cut), LEAST_SUM).astype(np.int32)


@njit(cache=True, nogil=True)
def _level(blocks: Any, ss: int, fs: int, block: int) -> float:
    """Return the background of a pixel, linear between the centres of blocks."""
    y = min(max((ss + 0.5) / block - 0.5, 0.0), blocks.shape[0] - 1.0)
    x = min(max((fs + 0.5) / block - 0.5, 0.0), blocks.shape[1] - 1.0)
    i, j = int(y), int(x)
    k, m = min(i + 1, blocks.shape[0] - 1), min(j + 1, blocks.shape[1] - 1)
    y, x = y - i, x - j
    upper = (1 - x) * blocks[i, j] + x * blocks[i, m]
    return float((1 - y) * upper + y * ((1 - x) * blocks[k, j] + x * blocks[k, m]))


@njit(cache=True, nogil=True)
def _interpolated(blocks: Any, shape: Any, corner: Any, block: int) -> Any:
    """Return the background of all pixels of a part."""
    image = np.empty(shape)
    for ss in range(shape[0]):
        for fs in range(shape[1]):
            image[ss, fs] = _level(blocks, ss + corner[0], fs + corner[1], block)
    return image


@njit(cache=True, nogil=True)
def _smoothed(photons: Any, ss: int, column: Any, out: Any) -> None:
    """Fill in the sums of 3 x 3 pixels around a row, weighted 4, 2, 1 from middle to corners.

    Those at the edges of the frame are 0; `column` is room of the length of a row.
    """
    zero, most = np.int32(0), np.int32(MOST_PHOTONS)
    out[:] = 0
    if ss < 1 or ss > photons.shape[0] - 2:
        return
    above, own, below = photons[ss - 1], photons[ss], photons[ss + 1]
    for k in range(len(column)):
        column[k] = (
            min(max(above[k], zero), most)
            + 2 * min(max(own[k], zero), most)
            + min(max(below[k], zero), most)
        )
    left, middle, right, inner = column[:-2], column[1:-1], column[2:], out[1:-1]
    for k in range(len(inner)):
        inner[k] = left[k] + 2 * middle[k] + right[k]


@njit(cache=True, nogil=True)
def _square(photons: Any, ss: int, fs: int, edge: int) -> Any:
    """Return photons and live pixels of the square of which this is the first corner."""
    total, pixels = 0, 0
    for a in range(ss, ss + edge):
        for b in range(fs, fs + edge):
            if photons[a, b] >= 0:
                total += photons[a, b]
                pixels += 1
    return total, pixels


@njit(cache=True, nogil=True)
def _maxima(photons: Any, blocks: Any, cuts: Any, block: int) -> Any:
    """Return ss, fs, background and the three deviances of each local maximum.

    Weighted sums of five rows are kept, around the one that is looked at.
    """
    n_ss, n_fs = photons.shape
    found = np.empty((1024, 6))
    count = 0
    weighted = np.zeros((5, n_fs), np.int32)
    column = np.zeros(n_fs, np.int32)
    cut = np.empty(n_fs, np.int32)
    top = np.zeros(n_fs, np.uint8)
    for ahead in range(min(3, n_ss)):
        _smoothed(photons, ahead, column, weighted[ahead])
    for ss in range(1, n_ss - 1):
        _smoothed(photons, ss + 2, column, weighted[(ss + 2) % 5])
        if ss == 1 or ss % block == 0:
            for fs in range(n_fs):
                cut[fs] = cuts[ss // block, fs // block]
        _tops(weighted[(ss - 1) % 5], weighted[ss % 5], weighted[(ss + 1) % 5], cut, top)
        if count + n_fs > len(found):
            longer = np.empty((2 * len(found) + n_fs, 6))
            longer[:count] = found[:count]
            found = longer
        for first in range(0, n_fs, TOGETHER):
            part = top[first : first + TOGETHER]
            tops = np.uint8(0)
            for k in range(len(part)):
                tops |= part[k]
            if tops == 0:
                continue
            for fs in range(first, first + len(part)):
                if top[fs] == 0 or photons[ss, fs] < 0 or not _is_top(weighted, ss, fs, n_ss):
                    continue
                near, pixels = _square(photons, ss - 1, fs - 1, 3)
                if near < LEAST_PHOTONS:
                    continue
                level = _level(blocks, ss, fs, block)
                if pixels == 9 and _is_noise(photons, ss, fs, near, level):
                    continue
                own, wide, four = deviance(photons[ss, fs], level), 0.0, 0.0
                wide = deviance(near, level * pixels)
                for a in range(ss - 1, ss + 1):
                    for b in range(fs - 1, fs + 1):
                        some, pixels = _square(photons, a, b, 2)
                        four = max(four, deviance(some, level * pixels))
                if max(own, wide, four) >= LEAST_DEVIANCE:
                    found[count, 0], found[count, 1], found[count, 2] = ss, fs, level
                    found[count, 3], found[count, 4], found[count, 5] = own, four, wide
                    count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _tops(above: Any, own: Any, below: Any, cut: Any, top: Any) -> None:
    """Mark the pixels of a row with a sum above the cut and as large as the eight beside it."""
    top[:] = 0
    left, right, inner, low = own[:-2], own[2:], own[1:-1], cut[1:-1]
    up, down, out = above[1:-1], below[1:-1], top[1:-1]
    up_left, up_right, down_left, down_right = above[:-2], above[2:], below[:-2], below[2:]
    for k in range(len(out)):
        beside = max(max(left[k], right[k]), max(max(up[k], down[k]), low[k]))
        across = max(max(up_left[k], up_right[k]), max(down_left[k], down_right[k]))
        out[k] = inner[k] >= max(beside, across)


@njit(cache=True, nogil=True)
def _is_noise(photons: Any, ss: int, fs: int, near: int, level: float) -> bool:
    """Return whether no deviance of a place, all live, can reach the least one.

    A count n stands out of a mean m by no more than (n - m) / sqrt(m) standard deviations: no
    logarithm is needed for most places. Rounding is allowed for.
    """
    limit = 0.999 * LEAST_DEVIANCE * LEAST_DEVIANCE
    some = 0
    for a in range(ss - 1, ss + 1):
        for b in range(fs - 1, fs + 1):
            total = photons[a, b] + photons[a, b + 1] + photons[a + 1, b] + photons[a + 1, b + 1]
            some = max(some, total)
    own, four, wide = photons[ss, fs] - level, some - 4 * level, near - 9 * level
    return bool(
        (own <= 0 or own * own < limit * level)
        and (four <= 0 or four * four < limit * 4 * level)
        and (wide <= 0 or wide * wide < limit * 9 * level)
    )


@njit(cache=True, nogil=True)
def _is_top(weighted: Any, ss: int, fs: int, n_ss: int) -> bool:
    """Return whether no pixel within two has a larger sum; of equal ones the first counts.

    `weighted` has row number ss in its row ss % 5.
    """
    own, n_fs = weighted[ss % 5, fs], weighted.shape[1]
    for a in range(max(ss - 2, 0), min(ss + 3, n_ss)):
        row = weighted[a % 5]
        for b in range(max(fs - 2, 0), min(fs + 3, n_fs)):
            other = row[b]
            if other > own or (other == own and (a < ss or (a == ss and b < fs))):
                return False
    return True


@njit(cache=True, nogil=True)
def _patches(photons: Any, ss: Any, fs: Any, level: Any, size: int) -> Any:
    """Return the photons around places and which pixels are live."""
    reach = size // 2
    patch = np.empty((len(ss), size, size), np.float32)
    live = np.zeros((len(ss), size, size), np.bool_)
    for row in range(len(ss)):
        for i in range(size):
            for j in range(size):
                a, b = ss[row] + i - reach, fs[row] + j - reach
                within = 0 <= a < photons.shape[0] and 0 <= b < photons.shape[1]
                live[row, i, j] = within and photons[a, b] >= 0
                patch[row, i, j] = photons[a, b] if live[row, i, j] else level[row]
    return patch, live
