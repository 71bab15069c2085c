"""Candidate spots of a frame at full resolution, so that a spot of one pixel stays a spot."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Photons a pixel count as background at most; what a spot adds to its block stays small.
CLIP = 1


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
    photons = np.where(mask, image, 0)
    background = block_means(photons, mask, block)
    rows = _maxima(photons.astype(np.int64), mask, np.flatnonzero(photons))
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
    photons: NDArray[Any], mask: NDArray[np.bool_], block: int
) -> NDArray[np.float64]:
    """Return the background of each block: photons a live pixel, clipped at `CLIP` a pixel.

    Half a photon is added to each block: an empty block has a background, too.
    """
    edges = [np.arange(0, side, block) for side in photons.shape]

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        rows = np.add.reduceat(values, edges[0], axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(rows, edges[1], axis=1))

    clipped = total(np.minimum(photons, CLIP).astype(np.uint8))
    return np.asarray((clipped + 0.5) / np.maximum(total(mask), 1.0))


@njit(cache=True)
def _maxima(photons: Any, mask: Any, flat: Any) -> Any:
    """Return ss, fs, peak, near, near_live, wide, wide_live of each local maximum.

    A maximum has the largest 3 x 3 sum (then the largest count, then the first place)
    within one pixel of it.
    """
    n_ss, n_fs = photons.shape
    rows = np.empty((flat.size, 7), np.int64)
    found = 0
    for pixel in flat:
        ss, fs = pixel // n_fs, pixel % n_fs
        near = _sum(photons, ss, fs)
        if near < 2 and photons[ss, fs] < 2:
            continue
        largest = True
        for a in range(max(ss - 1, 0), min(ss + 2, n_ss)):
            for b in range(max(fs - 1, 0), min(fs + 2, n_fs)):
                if photons[a, b] == 0 or (a == ss and b == fs):
                    continue
                other = _sum(photons, a, b)
                if other > near:
                    largest = False
                elif other == near:
                    if photons[a, b] > photons[ss, fs]:
                        largest = False
                    elif photons[a, b] == photons[ss, fs] and a * n_fs + b < pixel:
                        largest = False
        if not largest:
            continue
        near_live, wide, wide_live = 0, 0, 0
        for a in range(max(ss - 2, 0), min(ss + 3, n_ss)):
            for b in range(max(fs - 2, 0), min(fs + 3, n_fs)):
                wide += photons[a, b]
                wide_live += mask[a, b]
                if abs(a - ss) <= 1 and abs(b - fs) <= 1:
                    near_live += mask[a, b]
        rows[found] = (ss, fs, photons[ss, fs], near, near_live, wide, wide_live)
        found += 1
    return rows[:found]


@njit(cache=True)
def _sum(photons: Any, ss: int, fs: int) -> int:
    """Return the photons in 3 x 3 pixels."""
    total = 0
    for a in range(max(ss - 1, 0), min(ss + 2, photons.shape[0])):
        for b in range(max(fs - 1, 0), min(fs + 2, photons.shape[1])):
            total += photons[a, b]
    return total
