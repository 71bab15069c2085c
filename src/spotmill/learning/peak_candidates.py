"""Candidate peaks of a frame on any background, with the pixels around each."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Blocks over which the background is taken, pixels; between their centres it is interpolated.
BLOCK = 128
CLIPPINGS = 3
CLIP_SIGMAS = 4.0
# A candidate has at least so many photons in 3 x 3 pixels, and stands out of the background's
# Poisson law by so many standard deviations.
LEAST_PHOTONS = 3
LEAST_DEVIANCE = 3.0


class Candidates(NamedTuple):
    """Local maxima of a frame, the most significant first.

    Attributes
    ----------
    ss, fs : [n] int64
    background : [n] photons a pixel expected without a spot
    deviance : [n] of the photons in 3 x 3 pixels, in standard deviations
    patch : [n, size, size] float32, photons; the background on dead pixels
    live : [n, size, size] bool
    """

    ss: NDArray[np.int64]
    fs: NDArray[np.int64]
    background: NDArray[np.float64]
    deviance: NDArray[np.float64]
    patch: NDArray[np.float32]
    live: NDArray[np.bool_]


def block_background(image: NDArray[np.integer], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the background of each block: mean of its live pixels, bright ones clipped away.

    Half a photon is added, and a block without live pixels takes the mean of all: there is a
    background everywhere.
    """
    total, live = _clipped_sums(image, mask, BLOCK, CLIPPINGS, CLIP_SIGMAS)
    everywhere = (total.sum() + 0.5) / max(live.sum(), 1)
    return np.where(live > 0, (total + 0.5) / np.maximum(live, 1), everywhere)


def background_map(image: NDArray[np.integer], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the background of every pixel [ss, fs] as `find_candidates` takes it."""
    return np.asarray(_interpolated(block_background(image, mask), image.shape, BLOCK))


def find_candidates(
    image: NDArray[np.integer], mask: NDArray[np.bool_], count: int, size: int
) -> Candidates:
    """Return the `count` most significant local maxima of a frame.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    size
        Odd edge in pixels of the patch around each.

    Notes
    -----
    The deviance is the root of the likelihood ratio of a Poisson count n to its mean m,
    sqrt(2 (n log(n/m) - n + m)) (Li & Ma, ApJ 272, 317, 1983, for a known background). A
    maximum has the largest sum of photons, weighted 1, 1/2, 1/4 from the middle to the corners
    of 3 x 3 pixels, within two pixels of it.
    """
    clean = np.where(mask, image, 0)
    level = block_background(image, mask)
    rows = _maxima(clean, mask, level, BLOCK, LEAST_PHOTONS, LEAST_DEVIANCE)
    rows = rows[np.argsort(-rows[:, 3], kind="stable")[:count]]
    ss, fs = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    patch, live = _patches(clean, mask, ss, fs, rows[:, 2], size)
    return Candidates(ss, fs, rows[:, 2], rows[:, 3], patch, live)


@njit(cache=True)
def _clipped_sums(image: Any, mask: Any, block: int, clippings: int, sigmas: float) -> Any:
    """Return photons and number of the pixels of each block that are not clipped."""
    n_ss, n_fs = image.shape
    size = ((n_ss + block - 1) // block, (n_fs + block - 1) // block)
    total, live = np.zeros(size), np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            limit = np.inf
            for _ in range(clippings):
                photons, pixels = 0.0, 0
                for ss in range(i * block, min((i + 1) * block, n_ss)):
                    for fs in range(j * block, min((j + 1) * block, n_fs)):
                        if mask[ss, fs] and image[ss, fs] <= limit:
                            photons += image[ss, fs]
                            pixels += 1
                mean = photons / max(pixels, 1)
                limit = mean + max(sigmas * np.sqrt(mean), 1.0)
            total[i, j], live[i, j] = photons, pixels
    return total, live


@njit(cache=True)
def _level(blocks: Any, ss: int, fs: int, block: int) -> float:
    """Return the background of a pixel, linear between the centres of blocks."""
    y = min(max((ss + 0.5) / block - 0.5, 0.0), blocks.shape[0] - 1.0)
    x = min(max((fs + 0.5) / block - 0.5, 0.0), blocks.shape[1] - 1.0)
    i, j = int(y), int(x)
    k, m = min(i + 1, blocks.shape[0] - 1), min(j + 1, blocks.shape[1] - 1)
    y, x = y - i, x - j
    upper = (1 - x) * blocks[i, j] + x * blocks[i, m]
    return float((1 - y) * upper + y * ((1 - x) * blocks[k, j] + x * blocks[k, m]))


@njit(cache=True)
def _interpolated(blocks: Any, shape: tuple[int, int], block: int) -> Any:
    """Return the background of all pixels."""
    image = np.empty(shape)
    for ss in range(shape[0]):
        for fs in range(shape[1]):
            image[ss, fs] = _level(blocks, ss, fs, block)
    return image


@njit(cache=True)
def _maxima(clean: Any, mask: Any, blocks: Any, block: int, least: int, deviance: float) -> Any:
    """Return ss, fs, background and deviance of each local maximum."""
    n_ss, n_fs = clean.shape
    near = np.zeros(clean.shape, np.float32)
    weighted = np.zeros(clean.shape, np.float32)
    for ss in range(1, n_ss - 1):
        for fs in range(1, n_fs - 1):
            middle, beside, above = 0.0, 0.0, 0.0
            middle = float(clean[ss, fs])
            beside = float(clean[ss, fs - 1]) + float(clean[ss, fs + 1])
            above = float(clean[ss - 1, fs]) + float(clean[ss + 1, fs])
            corner = float(clean[ss - 1, fs - 1]) + float(clean[ss - 1, fs + 1])
            corner += float(clean[ss + 1, fs - 1]) + float(clean[ss + 1, fs + 1])
            near[ss, fs] = middle + beside + above + corner
            weighted[ss, fs] = middle + 0.5 * (beside + above) + 0.25 * corner
    found = []
    for ss in range(1, n_ss - 1):
        for fs in range(1, n_fs - 1):
            photons = near[ss, fs]
            if photons < least or not mask[ss, fs] or not _is_top(weighted, ss, fs):
                continue
            level = _level(blocks, ss, fs, block)
            pixels = 0
            for a in range(ss - 1, ss + 2):
                for b in range(fs - 1, fs + 2):
                    pixels += 1 if mask[a, b] else 0
            mean = level * pixels
            if photons <= mean:
                continue
            squared = 2.0 * (photons * np.log(photons / mean) - photons + mean)
            if squared >= deviance * deviance:
                found.append((float(ss), float(fs), level, np.sqrt(squared)))
    rows = np.empty((len(found), 4))
    for row in range(len(found)):
        for column in range(4):
            rows[row, column] = found[row][column]
    return rows


@njit(cache=True)
def _is_top(weighted: Any, ss: int, fs: int) -> bool:
    """Return whether no pixel within two has a larger sum; of equal ones the first counts."""
    own = weighted[ss, fs]
    for a in range(max(ss - 2, 0), min(ss + 3, weighted.shape[0])):
        for b in range(max(fs - 2, 0), min(fs + 3, weighted.shape[1])):
            other = weighted[a, b]
            if other > own or (other == own and (a < ss or (a == ss and b < fs))):
                return False
    return True


@njit(cache=True)
def _patches(clean: Any, mask: Any, ss: Any, fs: Any, level: Any, size: int) -> Any:
    """Return the photons around places and which pixels are live."""
    reach = size // 2
    patch = np.empty((len(ss), size, size), np.float32)
    live = np.zeros((len(ss), size, size), np.bool_)
    for row in range(len(ss)):
        for i in range(size):
            for j in range(size):
                a, b = ss[row] + i - reach, fs[row] + j - reach
                within = 0 <= a < clean.shape[0] and 0 <= b < clean.shape[1]
                if within and mask[a, b]:
                    patch[row, i, j] = clean[a, b]
                    live[row, i, j] = True
                else:
                    patch[row, i, j] = level[row]
    return patch, live
