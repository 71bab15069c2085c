"""A background measured on real frames: their mean, without what is no background.

A cosmic ray or a zinger raises one pixel of one frame. Whether a count is one is asked of the
pixel's own counts in all frames, without a model of the background.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

# Fraction of a pixel's photons that the rejection may cost a Poisson background at most.
LARGEST_BIAS = 1e-6
# With fewer frames a pixel's counts say too little of one another.
FEWEST_FRAMES = 5
# A count below this multiple of what is expected is a fluctuation of the beam, not a zinger.
EXCESS = 2.0
# Pixels above this fraction of a frame's pixels do not add to its level.
LEVEL_QUANTILE = 0.999


def frame_level(photons: NDArray[np.floating], live: NDArray[np.bool_]) -> float:
    """Return how bright a frame [ss, fs] is, in photons, whatever its few brightest pixels.

    Counts above the 0.999 quantile of the live pixels (and above 1 photon) are lowered to it.
    """
    values = photons[live]
    if values.size == 0:
        return 0.0
    limit = max(float(np.quantile(values, LEVEL_QUANTILE, method="lower")), 1.0)
    return max(float(np.minimum(values, limit).sum()), 0.0)


class BackgroundMean:
    """The mean of a stack of frames, each seen twice, none kept.

    First `add` every frame, then `reject` every frame, in any order; then take `mean`.

    Notes
    -----
    Under a Poisson background that differs between frames by a factor only, the count x of a
    pixel in a frame, given the sum N of its counts, is binomial with the frame's share w of
    the light. x is rejected when P(Bin(N - 1, w) >= x - 1) < `LARGEST_BIAS`: this probability
    is, exactly, the share of the pixel's photons that such a limit costs a background without
    zingers. The mean of a Poisson background is therefore too low by at most 1e-6 of itself,
    however few photons it has, and never too high. In addition x must exceed twice its
    expectation N w, so that a beam that moves a little loses nothing.

    Pixels with fewer than 5 live frames reject nothing.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sum = np.zeros(shape)
        self._level = np.zeros(shape)
        self._count = np.zeros(shape, dtype=np.int64)
        self._lost = np.zeros(shape)
        self._lost_count = np.zeros(shape, dtype=np.int64)
        self.frames = 0

    def add(self, photons: NDArray[np.floating], live: NDArray[np.bool_]) -> None:
        """Add a frame [ss, fs] of photons and its live pixels."""
        level = frame_level(photons, live) + 1.0
        self._sum[live] += photons[live]
        self._level[live] += level
        self._count += live
        self.frames += 1

    def reject(self, photons: NDArray[np.floating], live: NDArray[np.bool_]) -> int:
        """Take a frame's zingers out again; return their number."""
        level = frame_level(photons, live) + 1.0
        share = np.divide(level, self._level, out=np.ones_like(self._level), where=self._level > 0)
        expected = self._sum * share
        suspects = live & (self._count >= FEWEST_FRAMES) & (photons > np.maximum(expected, 0.5))
        suspects &= photons > EXCESS * expected
        # Rounded, because electronic noise about zero is no photon.
        x = np.rint(photons[suspects])
        total = np.maximum(np.rint(self._sum[suspects]), x)
        unlikely = (x > 1) & (
            betainc(np.maximum(x - 1, 1), total - x + 1, share[suspects]) < LARGEST_BIAS
        )
        ss, fs = (axis[unlikely] for axis in np.nonzero(suspects))
        self._lost[ss, fs] += photons[ss, fs]
        self._lost_count[ss, fs] += 1
        return len(ss)

    def mean(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the mean [ss, fs] in photons a frame, and the pixels [ss, fs] that have one.

        A pixel has one where at least half of the frames have it live and a count is left. A
        mean below zero (electronic noise) is given as 0.
        """
        left = self._count - self._lost_count
        live = (2 * self._count >= max(self.frames, 1)) & (left > 0)
        mean = np.divide(self._sum - self._lost, left, out=np.zeros_like(self._sum), where=live)
        return np.maximum(mean, 0).astype(np.float32), live
