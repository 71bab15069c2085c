"""What many frames say of each pixel, as running sums: how often bright, how much, how even.

A frame's pixel is bright where it counts more than a Poisson law with the mean of the pixels around
it does in a hundredth of all cases, and a quarter more than that mean on top (pixels differ in
what they see). The mean is that of a square, spots and hot pixels cut off. Sums are all that is
kept: 18 bytes a pixel, whatever the number of frames.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import gamma, norm

# Chance by which a good pixel is bright, and how much more than those around it one may see.
BRIGHT, UNEVEN = 0.01, 1.25
TABLE = 256
# Half the edge of the square whose mean counts, and the edge of blocks whose spots are cut off.
REACH, BLOCK = 7, 32
MOST_FRAMES = 65535  # as 16 bits count


@dataclass(frozen=True)
class PixelSums:
    """Sums over frames, [ss, fs] each.

    Attributes
    ----------
    seen, bright, lit : uint16
        Frames in which the pixel was live, in which it was bright, and in which it counted any.
    light : float32
        Photons.
    shift, square : float32
        What it counted beyond the mean around it, and the square of that.
    """

    seen: NDArray[np.uint16]
    bright: NDArray[np.uint16]
    lit: NDArray[np.uint16]
    light: NDArray[np.float32]
    shift: NDArray[np.float32]
    square: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Self:
        """Return the sums over no frame."""
        seen, bright, lit = (np.zeros(shape, np.uint16) for _ in range(3))
        light, shift, square = (np.zeros(shape, np.float32) for _ in range(3))
        return cls(seen, bright, lit, light, shift, square)

    def add(
        self, image: NDArray[np.int32], live: NDArray[np.bool_], slabs: list[tuple[slice, slice]]
    ) -> None:
        """Add a frame [ss, fs] of photons.

        Parameters
        ----------
        live
            True where a pixel is live.
        slabs
            Of each panel: pixels of two panels are no neighbours.
        """
        for slab in slabs:
            parts = (
                one[slab]
                for one in (self.seen, self.bright, self.lit, self.light, self.shift, self.square)
            )
            _add(image[slab], live[slab], LIMITS, QUANTILE, *parts)

    def dispersion(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the variance over the mean of some pixels (flat numbers), 1 for photons.

        What the light around a pixel does from frame to frame is taken off.
        """
        frames = np.maximum(self.seen.ravel()[chosen].astype(np.float64), 1)
        variance = self.square.ravel()[chosen] / frames
        variance -= (self.shift.ravel()[chosen] / frames) ** 2
        mean = self.light.ravel()[chosen] / frames
        return np.asarray(variance / np.maximum(mean, 1 / frames))


# Means up to which 1, 2, ... photons are bright, and the quantile beyond the table.
LIMITS = gamma.ppf(BRIGHT, np.arange(1, TABLE + 1)) / UNEVEN
QUANTILE = float(norm.isf(BRIGHT))


@njit(cache=True, nogil=True)
def _caps(image: Any, live: Any) -> Any:
    """Return the most that a pixel of each block counts in the means, spots and the like cut."""
    n_ss, n_fs = image.shape
    caps = np.empty(((n_ss + BLOCK - 1) // BLOCK, (n_fs + BLOCK - 1) // BLOCK), np.int64)
    for i in range(caps.shape[0]):
        for j in range(caps.shape[1]):
            cap = np.int64(2**31)
            # One pixel of 2^31 sinks below all others in six rounds.
            for _ in range(6):
                total, count = np.int64(0), 0
                for a in range(i * BLOCK, min((i + 1) * BLOCK, n_ss)):
                    for b in range(j * BLOCK, min((j + 1) * BLOCK, n_fs)):
                        if live[a, b]:
                            total += min(np.int64(image[a, b]), cap)
                            count += 1
                mean = total / max(count, 1)
                before = cap
                cap = min(cap, np.int64(3 + 4 * mean + 6 * np.sqrt(mean)))
                if cap == before:
                    break
            caps[i, j] = cap
    return caps


@njit(cache=True, nogil=True)
def _add(
    image: Any,
    live: Any,
    limits: Any,
    quantile: float,
    seen: Any,
    bright: Any,
    lit: Any,
    light: Any,
    shift: Any,
    square: Any,
) -> None:
    n_ss, n_fs = image.shape
    caps = _caps(image, live)
    # Of each column the rows around the one at hand.
    sums, counts = np.zeros(n_fs, np.int64), np.zeros(n_fs, np.int64)
    for row in range(-REACH, n_ss):
        for edge, sign in ((row + REACH, 1), (row - REACH - 1, -1)):
            if 0 <= edge < n_ss:
                for k in range(n_fs):
                    if live[edge, k]:
                        value = min(np.int64(image[edge, k]), caps[edge // BLOCK, k // BLOCK])
                        sums[k] += sign * value
                        counts[k] += sign
        if row < 0:
            continue
        around, pixels = np.int64(0), np.int64(0)
        for k in range(min(REACH, n_fs)):
            around += sums[k]
            pixels += counts[k]
        for k in range(n_fs):
            if k + REACH < n_fs:
                around += sums[k + REACH]
                pixels += counts[k + REACH]
            if k - REACH - 1 >= 0:
                around -= sums[k - REACH - 1]
                pixels -= counts[k - REACH - 1]
            if not live[row, k]:
                continue
            mean, value = around / pixels, float(image[row, k])
            if value > mean:
                if mean < limits[-1]:
                    # limits[t - 1] is the largest mean at which t photons are bright.
                    least = float(np.searchsorted(limits, mean) + 1)
                else:
                    whole = UNEVEN * mean
                    least = np.ceil(whole + quantile * np.sqrt(whole) + 1)
                if value >= least:
                    bright[row, k] += 1
            seen[row, k] += 1
            lit[row, k] += value > 0
            light[row, k] += value
            shift[row, k] += value - mean
            square[row, k] += (value - mean) ** 2
