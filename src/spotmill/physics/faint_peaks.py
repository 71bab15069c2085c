"""How likely a faint maximum is a spot, told by the frame's own noise.

The likelihood ratio of a fitted spot says how much a maximum stands out. How many maxima of noise
stand out as much is read off the frame: their number falls exponentially with the logarithm of the
ratio, and where it is small nearly all maxima are noise. What lies above that line are spots.
"""

import numpy as np
from numpy.typing import NDArray

# Logarithms of likelihood ratios between which nearly all maxima are noise, and how steeply their
# number falls, at least and at most.
LOW, HIGH = 7.0, 10.0
SLOPES = (0.8, 1.2)
# Below this nothing is told from noise.
LEAST = 5.0
# Spots spread evenly over the logarithm of this ratio of strengths.
SPREAD = 80.0
ROUNDS = 40


def spot_probability(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability that each maximum of a frame is a spot.

    Noise has density A exp(-slope x) of log ratios x, its slope and A from the maxima between
    `LOW` and `HIGH` (greatest likelihood of a truncated exponential law); spots have density 1/x,
    their number the one that explains the frame best (expectation and maximisation).

    Parameters
    ----------
    ratio
        [n] logarithm of the likelihood ratio of the best spot at each maximum of the frame.
    """
    slope, level = _noise(ratio)
    told = np.maximum(ratio, LEAST)
    noise = level * np.exp(-slope * told)
    spots = 1 / told / np.log(SPREAD)
    count = max(float((ratio > 2 * HIGH).sum()), 1.0)
    probability = np.zeros(len(ratio))
    for _ in range(ROUNDS):
        probability = np.where(ratio < LEAST, 0.0, count * spots / (count * spots + noise))
        count = max(float(probability.sum()), 0.1)
    return probability


def _noise(ratio: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and level of the density of noise."""
    own = ratio[(ratio >= LOW) & (ratio < HIGH)]
    width = HIGH - LOW
    slope = 1.0
    if len(own) > 1:
        # Newton on the mean of the truncated law: 1/s - width / (exp(s width) - 1).
        mean = float(own.mean()) - LOW
        for _ in range(20):
            grown = np.expm1(slope * width)
            off = 1 / slope - width / grown - mean
            steep = -1 / slope**2 + width**2 * (grown + 1) / grown**2
            slope = float(np.clip(slope - off / steep, *SLOPES))
    share = np.exp(-slope * LOW) - np.exp(-slope * HIGH)
    return slope, max(len(own), 0.5) * slope / share
