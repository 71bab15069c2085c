"""Candidate spots of a frame at full resolution, so that a spot of one pixel stays a spot."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.learning.peak_candidates import block_background

# From this share of lit pixels on, one photon and several are no longer alike.
CROWDED = 0.5


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
    """Return the `count` most significant local maxima of a frame.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    block
        Edge in pixels of the blocks over which the background is taken.

    Notes
    -----
    The deviance is the signed root of the likelihood ratio of a Poisson count n to its mean
    m, sqrt(2 (n log(n/m) - n + m)) (Li & Ma, ApJ 272, 317, 1983, for a known background).
    """
    background = block_means(image, mask, block)
    rows = _maxima(image, mask)
    ss, fs = rows[:, 0], rows[:, 1]
    level = background[ss // block, fs // block]
    mean = level * rows[:, 4]
    near = rows[:, 3]
    likelihood = near * np.log(near / mean) - (near - mean)
    deviance = np.sign(near - mean) * np.sqrt(2 * np.maximum(likelihood, 0))
    # A stable sort: equal candidates keep their order on the detector on every machine.
    best = np.argsort(-deviance, kind="stable")[:count]
    numbers = rows[best].astype(np.float64)
    return Candidates(
        ss=ss[best].astype(np.int32),
        fs=fs[best].astype(np.int32),
        peak=numbers[:, 2],
        near=numbers[:, 3],
        wide=numbers[:, 5],
        near_live=numbers[:, 4],
        wide_live=numbers[:, 6],
        background=level[best],
        deviance=deviance[best],
    )


def block_means(
    image: NDArray[np.integer], mask: NDArray[np.bool_], block: int
) -> NDArray[np.float64]:
    """Return the background of each block: lit pixels a live pixel.

    Pixels are counted and not photons, so that a spot adds little to its block. Half a
    pixel is added: an empty block has a background, too. Where most pixels are lit, it is
    the mean photons of those that are left when bright ones are clipped away.
    """
    lit, live = _block_sums(image, mask, block)
    means = np.asarray((lit + 0.5) / np.maximum(live, 1))
    crowded = lit > CROWDED * live
    if not crowded.any():
        return means
    return np.where(crowded, block_background(image, mask, block), means)


@njit(cache=True)
def _block_sums(image: Any, mask: Any, block: int) -> tuple[Any, Any]:
    """Return lit and live pixels of each block."""
    n_ss, n_fs = image.shape
    size = ((n_ss + block - 1) // block, (n_fs + block - 1) // block)
    lit = np.zeros(size, np.int64)
    live = np.zeros(size, np.int64)
    for i in range(size[0]):
        for j in range(size[1]):
            bright, pixels = 0, 0
            for ss in range(i * block, min((i + 1) * block, n_ss)):
                for fs in range(j * block, min((j + 1) * block, n_fs)):
                    if mask[ss, fs]:
                        pixels += 1
                        bright += 1 if image[ss, fs] > 0 else 0
            lit[i, j], live[i, j] = bright, pixels
    return lit, live


@njit(cache=True)
def _maxima(image: Any, mask: Any) -> Any:
    """Return ss, fs, peak, near, near_live, wide, wide_live of each local maximum.

    A maximum has the largest 3 x 3 sum (then the largest count, then the first place)
    within one pixel of it; a single photon with none beside it is left out.
    """
    n_ss, n_fs = image.shape
    rows = np.empty((1024, 7), np.int64)
    found = 0
    for ss in range(n_ss):
        for fs in range(n_fs):
            if image[ss, fs] == 0 or not mask[ss, fs]:
                continue
            near, near_live = _sum(image, mask, ss, fs, 1)
            if near < 2 or not _is_largest(image, mask, ss, fs, near):
                continue
            if found == len(rows):
                longer = np.empty((2 * found, 7), np.int64)
                longer[:found] = rows
                rows = longer
            wide, wide_live = _sum(image, mask, ss, fs, 2)
            row = (ss, fs, np.int64(image[ss, fs]), near, near_live, wide, wide_live)
            for column in range(7):
                rows[found, column] = row[column]
            found += 1
    return rows[:found]


@njit(cache=True)
def _is_largest(image: Any, mask: Any, ss: int, fs: int, near: int) -> bool:
    """Return whether no lit pixel beside (ss, fs) comes before it."""
    peak = image[ss, fs]
    for a in range(max(ss - 1, 0), min(ss + 2, image.shape[0])):
        for b in range(max(fs - 1, 0), min(fs + 2, image.shape[1])):
            if image[a, b] == 0 or not mask[a, b] or (a == ss and b == fs):
                continue
            other, _ = _sum(image, mask, a, b, 1)
            if other > near:
                return False
            earlier = a < ss or (a == ss and b < fs)
            if other == near and (image[a, b] > peak or (image[a, b] == peak and earlier)):
                return False
    return True


@njit(cache=True)
def _sum(image: Any, mask: Any, ss: int, fs: int, reach: int) -> tuple[Any, Any]:
    """Return photons and number of the live pixels up to `reach` from a pixel."""
    photons = np.int64(0)
    live = 0
    for a in range(max(ss - reach, 0), min(ss + reach + 1, image.shape[0])):
        for b in range(max(fs - reach, 0), min(fs + reach + 1, image.shape[1])):
            if mask[a, b]:
                photons += np.int64(image[a, b])
                live += 1
    return photons, live
