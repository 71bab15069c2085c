"""Candidate spots of a frame at full resolution, so that a spot of one pixel stays a spot."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.learning.marked import Marked, mark

# From this share of lit pixels on, one photon and several are no longer alike.
CROWDED = 0.5
# A pixel counts no more photons than this where sums are compared, which then stay numbers of 32
# bits.
MOST_PHOTONS = 2**27
# Pixels of a row that are looked at together for a maximum.
TOGETHER = 32
# In crowded blocks maxima that stand out by less, standard deviations, are passed over unless too
# few others are found: there every ninth pixel is one.
WORTH_IT = 3.0


class Candidates(NamedTuple):
    """Local maxima of a frame, the most significant first.

    Attributes
    ----------
    ss, fs : [n] int32
    peak, near, wide : [n] photons of the pixel, in 3 x 3 and in 5 x 5 pixels around it
    near_live, wide_live : [n] live pixels among these
    background : [n] photons a pixel expected without a spot
    deviance : [n] of `near` from the background's Poisson law, in standard deviations
    """

    ss: NDArray[np.int32]
    fs: NDArray[np.int32]
    peak: NDArray[np.float64]
    near: NDArray[np.float64]
    wide: NDArray[np.float64]
    near_live: NDArray[np.float64]
    wide_live: NDArray[np.float64]
    background: NDArray[np.float64]
    deviance: NDArray[np.float64]


def find_candidates(
    image: NDArray[np.integer], mask: NDArray[np.bool_], count: int, block: int
) -> Candidates:
    """Return the `count` most significant local maxima of a frame (see `candidates_of`).

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    block
        Edge in pixels of the blocks over which the background is taken.
    """
    return candidates_of(mark(image, mask, block), count)


def candidates_of(frame: Marked, count: int) -> Candidates:
    """Return the `count` most significant local maxima of a frame.

    Notes
    -----
    The deviance is the signed root of the likelihood ratio of a Poisson count n to its mean
    m, sqrt(2 (n log(n/m) - n + m)) (Li & Ma, ApJ 272, 317, 1983, for a known background).
    """
    blocks = means_of(frame)
    cuts = _cuts(frame, blocks)
    while True:
        ss, fs, near, near_live = _maxima(frame.photons, cuts, frame.block)
        level = blocks[ss // frame.block, fs // frame.block]
        mean = level * near_live
        likelihood = near * np.log(near / mean) - (near - mean)
        deviance = np.sign(near - mean) * np.sqrt(2 * np.maximum(likelihood, 0))
        if not cuts.any() or (deviance >= WORTH_IT).sum() >= count:
            break
        cuts[:] = 0
    best = first_of(deviance, count)
    ss, fs = ss[best], fs[best]
    peak, wide, wide_live = _around(frame.photons, ss, fs)
    return Candidates(
        ss=ss.astype(np.int32),
        fs=fs.astype(np.int32),
        peak=peak,
        near=near[best].astype(np.float64),
        wide=wide,
        near_live=near_live[best].astype(np.float64),
        wide_live=wide_live,
        background=level[best],
        deviance=deviance[best],
    )


def first_of(deviance: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the numbers of the `count` largest, the largest first.

    Equal candidates keep their order on the detector on every machine.
    """
    rows = np.arange(len(deviance))
    if len(deviance) > count:
        least = np.partition(deviance, len(deviance) - count)[len(deviance) - count]
        rows = np.flatnonzero(deviance >= least)
    return np.asarray(rows[np.argsort(-deviance[rows], kind="stable")[:count]])


def block_means(
    image: NDArray[np.integer], mask: NDArray[np.bool_], block: int
) -> NDArray[np.float64]:
    """Return the background of each block: lit pixels a live pixel.

    Pixels are counted and not photons, so that a spot adds little to its block. Half a
    pixel is added: an empty block has a background, too. Where most pixels are lit, it is
    the mean photons of those that are left when bright ones are clipped away.
    """
    return means_of(mark(image, mask, block))


def means_of(frame: Marked) -> NDArray[np.float64]:
    """Return the background of each block of a frame, as `block_means` does."""
    means = np.asarray((frame.lit + 0.5) / np.maximum(frame.live, 1))
    crowded = frame.lit > CROWDED * frame.live
    return np.where(crowded, frame.levels, means) if crowded.any() else means


def _cuts(frame: Marked, blocks: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the least 3 x 3 sum of live pixels in each crowded block that is worth it; else 0.

    A count n stands out of a mean m by no more than (n - m) / sqrt(m) standard deviations.
    """
    mean = 9 * blocks
    least = np.minimum(mean + WORTH_IT * np.sqrt(mean), MOST_PHOTONS)
    return np.where(frame.lit > CROWDED * frame.live, least, 0).astype(np.int32)


@njit(cache=True, nogil=True)
def _maxima(photons: Any, cuts: Any, block: int) -> Any:
    """Return ss, fs, photons and live pixels of 3 x 3 of each local maximum.

    A maximum has the largest 3 x 3 sum (then the largest count, then the first place)
    within one pixel of it; a single photon with none beside it is left out. Sums of three rows
    are kept, around the one that is looked at. `cuts` are the least sums in each block, of maxima
    among live pixels alone.
    """
    n_ss, n_fs = photons.shape
    found = np.empty((4096, 4), np.int64)
    count = 0
    near = np.zeros((3, n_fs + 2), np.int32)
    column = np.zeros(n_fs + 2, np.int32)
    top = np.zeros(n_fs, np.uint8)
    is_cut = cuts.any()
    # Of three rows which stretches have a dead pixel, or lie beyond the edge.
    holes = np.ones((3, (n_fs + TOGETHER - 1) // TOGETHER + 2), np.bool_)
    _near(photons, 0, column, near[0])
    if is_cut:
        _holes(photons, 0, holes[0])
    for ss in range(n_ss):
        _near(photons, ss + 1, column, near[(ss + 1) % 3])
        if is_cut:
            _holes(photons, ss + 1, holes[(ss + 1) % 3])
        _tops(near[(ss - 1) % 3], near[ss % 3], near[(ss + 1) % 3], top)
        if count + n_fs > len(found):
            longer = np.empty((2 * len(found) + n_fs, 4), np.int64)
            longer[:count] = found[:count]
            found = longer
        for first in range(0, n_fs, TOGETHER):
            part = top[first : first + TOGETHER]
            if is_cut:
                last = first + len(part) - 1
                least = cuts[ss // block, first // block : last // block + 1].min()
                number = first // TOGETHER
                if least > 0 and not holes[:, number : number + 3].any():
                    sums = near[ss % 3, first + 1 : last + 2]
                    for k in range(len(part)):
                        part[k] &= np.uint8(sums[k] >= least)
            tops = np.uint8(0)
            for k in range(len(part)):
                tops |= part[k]
            if tops == 0:
                continue
            for fs in range(first, first + len(part)):
                if top[fs] and _is_first(photons, near, ss, fs):
                    found[count, 0], found[count, 1] = ss, fs
                    found[count, 2], found[count, 3] = _sum(photons, ss, fs, 1)
                    count += 1
    return found[:count, 0], found[:count, 1], found[:count, 2], found[:count, 3]


@njit(cache=True, nogil=True)
def _holes(photons: Any, ss: int, out: Any) -> None:
    """Mark the stretches of a row that have a dead pixel; all of them beyond the edge."""
    out[:] = True
    if ss >= photons.shape[0]:
        return
    own = photons[ss]
    for number in range(len(out) - 2):
        part = own[number * TOGETHER : (number + 1) * TOGETHER]
        least = np.int32(0)
        for k in range(len(part)):
            least = min(least, part[k])
        out[number + 1] = least < 0


@njit(cache=True, nogil=True)
def _near(photons: Any, ss: int, column: Any, out: Any) -> None:
    """Fill in the photons of 3 x 3 pixels around each lit pixel of a row, 0 around others.

    `out` and `column` have one place more on either side of the row.
    """
    out[:] = 0
    if ss < 0 or ss >= photons.shape[0]:
        return
    zero, most = np.int32(0), np.int32(MOST_PHOTONS)
    own, inner, middle = photons[ss], out[1:-1], column[1:-1]
    for k in range(len(own)):
        middle[k] = min(max(own[k], zero), most)
    if ss > 0:
        beside = photons[ss - 1]
        for k in range(len(own)):
            middle[k] += min(max(beside[k], zero), most)
    if ss < photons.shape[0] - 1:
        beside = photons[ss + 1]
        for k in range(len(own)):
            middle[k] += min(max(beside[k], zero), most)
    left, right = column[:-2], column[2:]
    for k in range(len(own)):
        inner[k] = left[k] + middle[k] + right[k] if own[k] > 0 else zero


@njit(cache=True, nogil=True)
def _tops(above: Any, own: Any, below: Any, top: Any) -> None:
    """Mark the pixels of a row beside which no lit pixel has a larger sum."""
    for k in range(len(top)):
        beside = max(max(above[k], above[k + 1]), max(above[k + 2], own[k]))
        beside = max(max(beside, own[k + 2]), max(below[k], max(below[k + 1], below[k + 2])))
        top[k] = (own[k + 1] >= beside) & (own[k + 1] >= 2)


@njit(cache=True, nogil=True)
def _is_first(photons: Any, near: Any, ss: int, fs: int) -> bool:
    """Return whether no pixel beside (ss, fs) of as large a sum comes before it."""
    own, peak = near[ss % 3, fs + 1], photons[ss, fs]
    for a in range(max(ss - 1, 0), min(ss + 2, photons.shape[0])):
        sums, counts = near[a % 3], photons[a]
        for b in range(max(fs - 1, 0), min(fs + 2, photons.shape[1])):
            if sums[b + 1] != own or (a == ss and b == fs):
                continue
            earlier = a < ss or (a == ss and b < fs)
            if counts[b] > peak or (counts[b] == peak and earlier):
                return False
    return True


@njit(cache=True, nogil=True)
def _around(photons: Any, rows: Any, columns: Any) -> Any:
    """Return photons of each pixel and of 5 x 5 around it, and how many of these are live."""
    peak, wide, live = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    for row in range(len(rows)):
        peak[row] = photons[rows[row], columns[row]]
        wide[row], live[row] = _sum(photons, rows[row], columns[row], 2)
    return peak, wide, live


@njit(cache=True, nogil=True)
def _sum(photons: Any, ss: int, fs: int, reach: int) -> tuple[Any, Any]:
    """Return photons and number of the live pixels up to `reach` from a pixel."""
    total = np.int64(0)
    live = 0
    for a in range(max(ss - reach, 0), min(ss + reach + 1, photons.shape[0])):
        for b in range(max(fs - reach, 0), min(fs + reach + 1, photons.shape[1])):
            if photons[a, b] >= 0:
                total += np.int64(photons[a, b])
                live += 1
    return total, live
