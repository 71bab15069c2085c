"""Candidate peaks of a frame on any background, with the pixels around each."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

# Blocks over which the background is taken, pixels; between their centres it is interpolated.
BLOCK = 128
CLIPPINGS = 3
CLIP_SIGMAS = 4.0
# A candidate has at least so many photons in 3 x 3 pixels, and stands out of the background's
# Poisson law by so many standard deviations, in one pixel, in 2 x 2 or in 3 x 3.
LEAST_PHOTONS = 3
LEAST_DEVIANCE = 3.0
# Sums of 3 x 3 pixels are weighted 4, 2, 1 from the middle to the corners: for a background b
# their mean is 16 b and their standard deviation 6 sqrt(b). A maximum of them is looked at from
# so many standard deviations, and from this sum.
LEAST_SIGMAS = 2.5
LEAST_SUM = 6
# Photons of a pixel that have a place of their own in the histogram of a block.
BINS = 2048
# In place of the photons of a dead pixel.
DEAD = -1


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
    return _levels(marked(image, mask), block)


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
    sqrt(2 (n log(n/m) - n + m)) (Li & Ma, ApJ 272, 317, 1983, for a known background). That of
    one pixel and of 2 x 2 is not diluted where a spot is narrower than 3 x 3; the largest of the
    three says which candidates come first. A maximum has the largest sum of photons, weighted
    1, 1/2, 1/4 from the middle to the corners of 3 x 3 pixels, within two pixels of it.
    """
    photons = marked(image, mask)
    blocks = _levels(photons)
    rows = _maxima(photons, _smoothed(photons), blocks, _cuts(blocks), BLOCK)
    first = np.argsort(-rows[:, 3:].max(1, initial=0.0), kind="stable")[:count]
    rows = rows[first]
    ss, fs = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    patch, live = _patches(photons, ss, fs, rows[:, 2], size)
    return Candidates(ss, fs, rows[:, 2], rows[:, 3:], patch, live)


def marked(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the photons of live pixels, whole ones, and `DEAD` elsewhere."""
    whole = np.rint(image) if image.dtype.kind == "f" else image
    return np.asarray(_marked(whole, mask))


def _levels(photons: NDArray[np.int32], block: int = BLOCK) -> NDArray[np.float64]:
    """Return the background of each block."""
    total, live = _clipped_sums(photons, block, CLIPPINGS, CLIP_SIGMAS)
    everywhere = (total.sum() + 0.5) / max(live.sum(), 1)
    return np.where(live > 0, (total + 0.5) / np.maximum(live, 1), everywhere)


def _cuts(blocks: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the weighted sum from which a pixel of each block is looked at."""
    least = minimum_filter(blocks, 3, mode="nearest")
    cut = 16 * least + LEAST_SIGMAS * 6 * np.sqrt(least)
    return np.maximum(np.ceil(cut), LEAST_SUM).astype(np.int32)


@njit(cache=True)
def _marked(image: Any, mask: Any) -> Any:
    """Return the photons of live pixels, `DEAD` elsewhere."""
    photons = np.empty(image.shape, np.int32)
    for ss in range(image.shape[0]):
        for fs in range(image.shape[1]):
            photons[ss, fs] = image[ss, fs] if mask[ss, fs] else DEAD
    return photons


@njit(cache=True)
def _clipped_sums(photons: Any, block: int, clippings: int, sigmas: float) -> Any:
    """Return photons and number of the pixels of each block that are not clipped.

    Pixels beyond the histogram are in or out together, as the smallest of them would be.
    """
    n_ss, n_fs = photons.shape
    size = ((n_ss + block - 1) // block, (n_fs + block - 1) // block)
    total, live = np.zeros(size), np.zeros(size)
    # One more for dead pixels, which are -1.
    histogram = np.zeros(BINS + 1, np.int64)
    for i in range(size[0]):
        for j in range(size[1]):
            most, beyond = 0, 0.0
            for ss in range(i * block, min((i + 1) * block, n_ss)):
                for fs in range(j * block, min((j + 1) * block, n_fs)):
                    value = photons[ss, fs]
                    most = max(most, value)
                    if value < BINS - 1:
                        histogram[value + 1] += 1
                    else:
                        histogram[BINS] += 1
                        beyond += value
            most = min(most, BINS - 1)
            limit = np.inf
            for _ in range(clippings):
                sum_, pixels = 0.0, 0
                for value in range(most + 1):
                    if value > limit:
                        break
                    many = histogram[value + 1]
                    pixels += many
                    sum_ += beyond if value == BINS - 1 else value * many
                mean = sum_ / max(pixels, 1)
                limit = mean + max(sigmas * np.sqrt(mean), 1.0)
            total[i, j], live[i, j] = sum_, pixels
            histogram[: most + 2] = 0
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
def _interpolated(blocks: Any, shape: Any, corner: Any, block: int) -> Any:
    """Return the background of all pixels of a part."""
    image = np.empty(shape)
    for ss in range(shape[0]):
        for fs in range(shape[1]):
            image[ss, fs] = _level(blocks, ss + corner[0], fs + corner[1], block)
    return image


@njit(cache=True)
def _smoothed(photons: Any) -> Any:
    """Return the sums of 3 x 3 pixels, weighted 4, 2, 1 from the middle to the corners."""
    n_ss, n_fs = photons.shape
    weighted = np.zeros(photons.shape, np.int32)
    column = np.zeros(n_fs, np.int32)
    for ss in range(1, n_ss - 1):
        for fs in range(n_fs):
            column[fs] = (
                max(photons[ss - 1, fs], 0)
                + 2 * max(photons[ss, fs], 0)
                + max(photons[ss + 1, fs], 0)
            )
        for fs in range(1, n_fs - 1):
            weighted[ss, fs] = column[fs - 1] + 2 * column[fs] + column[fs + 1]
    return weighted


@njit(cache=True)
def _deviance(photons: float, mean: float) -> float:
    """Return by how many standard deviations a count exceeds its mean; 0 where it does not."""
    if photons <= mean:
        return 0.0
    return float(np.sqrt(max(2.0 * (photons * np.log(photons / mean) - photons + mean), 0.0)))


@njit(cache=True)
def _square(photons: Any, ss: int, fs: int, edge: int) -> Any:
    """Return photons and live pixels of the square of which this is the first corner."""
    total, pixels = 0, 0
    for a in range(ss, ss + edge):
        for b in range(fs, fs + edge):
            if photons[a, b] >= 0:
                total += photons[a, b]
                pixels += 1
    return total, pixels


@njit(cache=True)
def _maxima(photons: Any, weighted: Any, blocks: Any, cuts: Any, block: int) -> Any:
    """Return ss, fs, background and the three deviances of each local maximum."""
    n_ss, n_fs = photons.shape
    found = []
    for ss in range(1, n_ss - 1):
        for j in range(cuts.shape[1]):
            cut = cuts[ss // block, j]
            for fs in range(max(j * block, 1), min((j + 1) * block, n_fs - 1)):
                if weighted[ss, fs] < cut or photons[ss, fs] < 0 or not _is_top(weighted, ss, fs):
                    continue
                near, pixels = _square(photons, ss - 1, fs - 1, 3)
                if near < LEAST_PHOTONS:
                    continue
                level = _level(blocks, ss, fs, block)
                own, wide, four = _deviance(photons[ss, fs], level), 0.0, 0.0
                wide = _deviance(near, level * pixels)
                for a in range(ss - 1, ss + 1):
                    for b in range(fs - 1, fs + 1):
                        part, pixels = _square(photons, a, b, 2)
                        four = max(four, _deviance(part, level * pixels))
                if max(own, wide, four) >= LEAST_DEVIANCE:
                    found.append((float(ss), float(fs), level, own, four, wide))
    rows = np.empty((len(found), 6))
    for row in range(len(found)):
        for column in range(6):
            rows[row, column] = found[row][column]
    return rows


@njit(cache=True)
def _is_top(weighted: Any, ss: int, fs: int) -> bool:
    """Return whether no pixel within two has a larger sum; of equal ones the first counts."""
    own = weighted[ss, fs]
    # Most places fail here.
    beside = max(weighted[ss, fs - 1], weighted[ss, fs + 1])
    if max(beside, weighted[ss - 1, fs], weighted[ss + 1, fs]) > own:
        return False
    for a in range(max(ss - 2, 0), min(ss + 3, weighted.shape[0])):
        for b in range(max(fs - 2, 0), min(fs + 3, weighted.shape[1])):
            other = weighted[a, b]
            if other > own or (other == own and (a < ss or (a == ss and b < fs))):
                return False
    return True


@njit(cache=True)
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
