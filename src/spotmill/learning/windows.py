"""Photons in small windows, by local background: what is to be known of a frame of few photons.

A spot is wider than a pixel, so at few photons it shows as photons close together. Windows of
1 and 2 x 2 pixels are counted by how many photons they hold, in zones of like
background, and beside it how many the Poisson law of the background alone gives. The
background is the frame's own, so no model of it and no condition is needed.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import gammainc

# Edges of windows in pixels.
EDGES = (1, 2)


class Windows(NamedTuple):
    """Counts of windows.

    Attributes
    ----------
    counted, expected : [window, zone, photons]
        Windows of each edge by zone and photons; the last column stands for that and more.
    background : [zone] mean background of the zone's pixels, photons a pixel
    """

    counted: NDArray[np.float64]
    expected: NDArray[np.float64]
    background: NDArray[np.float64]


class Blocks(NamedTuple):
    """What a mask says of the blocks of a detector.

    Attributes
    ----------
    mask : [ss, fs]
    edge : pixels
    windows : [window, block_ss, block_fs] windows that are live as a whole, by first pixel
    weight : [block_ss, block_fs] live pixels that the smoothed background stands on
    """

    mask: NDArray[np.bool_]
    edge: int
    windows: NDArray[np.float64]
    weight: NDArray[np.float64]


def blocks_of(mask: NDArray[np.bool_], edge: int) -> Blocks:
    """Return the blocks of a mask [ss, fs] with this edge in pixels."""
    mask = np.ascontiguousarray(mask)
    pair = mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
    whole = np.stack([mask, np.pad(pair, ((0, 1), (0, 1)))])
    lines = (np.arange(0, side, edge) for side in mask.shape)
    windows: NDArray[Any] = whole.astype(np.float64)
    for axis, starts in enumerate(lines, 1):
        windows = np.add.reduceat(windows, starts, axis=axis)
    return Blocks(mask, edge, windows, gaussian_filter(windows[0], SMOOTHING, mode="constant"))


def count_windows(
    image: NDArray[np.integer], blocks: Blocks, edges: NDArray[np.float64], most: int
) -> Windows:
    """Count the photons of a frame's windows.

    Parameters
    ----------
    image
        [ss, fs] photons.
    edges
        Rising backgrounds, photons a pixel, that part the zones; there is one zone more.
    most
        Photons of the last column.
    """
    image = np.ascontiguousarray(image)
    lit = np.flatnonzero((image != 0) & blocks.mask)
    background = local_background(lit, blocks)
    zone = np.searchsorted(edges, background, side="right")
    zones = len(edges) + 1
    counted = _count(image, blocks.mask, lit, zone, blocks.edge, most, zones)

    def by_zone(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = [np.bincount(zone.ravel(), part.ravel(), minlength=zones) for part in values]
        return np.array(rows)

    windows = by_zone(blocks.windows)
    counted[..., 0] += windows - counted.sum(2)
    known = np.maximum(windows, 1)
    mean = by_zone(blocks.windows * background) / known
    spread = by_zone(blocks.windows * background**2) / known - mean**2
    # The estimate has its own error, of which the square of a background has too much.
    own = by_zone(blocks.windows * (background / np.maximum(blocks.weight, 1e-9) / AREA)) / known
    area = np.array(EDGES, dtype=np.float64)[:, None] ** 2
    variance = (spread - own) * area**2
    expected = windows[..., None] * poisson_columns(mean * area, variance, most)
    return Windows(counted, expected, mean[0])


def poisson_columns(
    mean: NDArray[np.float64], variance: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """Return probabilities of 0 .. most photons, [..., photons]; the last is for all beyond.

    Of a Poisson law whose mean itself varies a little, to second order in that: the mean of
    f(m) is f + f'' variance / 2, and the second derivative of a Poisson probability is
    p(n) - 2 p(n - 1) + p(n - 2).
    """
    n = np.arange(most + 1)
    log_factorial = np.cumsum(np.log(np.maximum(n, 1)))
    safe = np.maximum(mean, 1e-300)[..., None]
    p = np.exp(n * np.log(safe) - safe - log_factorial)
    once = np.concatenate([np.zeros_like(p[..., :1]), p[..., :-1]], axis=-1)
    twice = np.concatenate([np.zeros_like(p[..., :1]), once[..., :-1]], axis=-1)
    p = np.maximum(p + 0.5 * variance[..., None] * (p - 2 * once + twice), 0)
    # That of `most` and more, with digits where it is small: the incomplete gamma function.
    p[..., -1] = gammainc(most, np.maximum(mean, 0))
    return np.asarray(p)


def local_background(lit: NDArray[np.int64], blocks: Blocks) -> NDArray[np.float64]:
    """Return the background of each block, photons a pixel, given the numbers of lit pixels.

    From the share of dark pixels, -log(dark / live), so that a spot adds its pixels and not
    its photons; then averaged over neighbouring blocks, weighted by their live pixels.
    """
    ss, fs = np.divmod(lit, blocks.mask.shape[1])
    live = blocks.windows[0]
    block = (ss // blocks.edge) * live.shape[1] + fs // blocks.edge
    bright = np.bincount(block, minlength=live.size).reshape(live.shape)
    rate = -np.log1p(-bright / (live + 1.0))
    smooth = gaussian_filter(rate * live, SMOOTHING, mode="constant")
    return np.asarray(np.where(blocks.weight > 1e-9, smooth / np.maximum(blocks.weight, 1e-9), 0.0))


# Standard deviation of that average, in blocks, and the blocks that it is over.
SMOOTHING = 1.0
AREA = 4 * np.pi * SMOOTHING**2


@njit(cache=True)
def _count(image: Any, mask: Any, lit: Any, zone: Any, edge: int, most: int, zones: int) -> Any:
    """Return windows with photons, [window, zone, photons].

    A window belongs to the block of its first pixel and must be live as a whole.
    """
    n_ss, n_fs = image.shape
    counted: Any = np.zeros((2, zones, most + 1))
    for number in lit:
        ss, fs = number // n_fs, number % n_fs
        counted[0, zone[ss // edge, fs // edge], min(np.int64(image[ss, fs]), most)] += 1
        for a in range(max(ss - 1, 0), min(ss + 1, n_ss - 1)):
            for b in range(max(fs - 1, 0), min(fs + 1, n_fs - 1)):
                photons = np.int64(0)
                whole, first = True, -1
                for c in range(a, a + 2):
                    for d in range(b, b + 2):
                        whole = whole and mask[c, d]
                        photons += np.int64(image[c, d])
                        if first < 0 and image[c, d] > 0:
                            first = c * n_fs + d
                # Of the lit pixels of a window the first counts it.
                if whole and first == number:
                    counted[1, zone[a // edge, b // edge], min(photons, most)] += 1
    return counted
