"""Bright pixels that no crystal lights: hot ones and the tracks of particles, over a whole frame.

They leave the background as it is, so that none of its features tells of them. Light of a crystal
is shared among fine pixels (`artefacts`): maxima that stand out plainly and are single pixels or
thin lines are counted, whether a model takes them for peaks or not.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.inference.artefacts import doubts
from spotmill.physics.peak_finding import Peaks

# A maximum stands out by so many photons, and standard deviations of its block's background.
LEAST_PHOTONS, LEAST_SIGMAS = 5.0, 6.0
# So rarely does the background itself reach that: once in a hundred frames of ten million pixels.
# Six standard deviations alone are passed by 8 of 100 000 pixels where one photon is expected.
CHANCE = 1e-9
# The brightest of them are looked at.
MOST = 4096
# Flaws in a million live pixels, and of a frame, that count as far as any training frame without
# flaws: the particles that cross a detector in a second (one a cm2 a minute on pixels of 75 µm).
USUAL, FEWEST = 1.0, 3


def flaws(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    levels: NDArray[np.float64],
    block: int,
    centre: tuple[float, float] | None = None,
    pixel_size: float | None = None,
) -> int:
    """Return how many bright maxima of a frame are single pixels or tracks.

    Parameters
    ----------
    levels, block
        Background of each block, photons a pixel, and the edge of a block.
    centre, pixel_size
        As `artefacts.doubts` takes them.
    """
    place = _maxima(image, mask, _limits(levels), block)
    if len(place) > MOST:
        bright = image[place[:, 1], place[:, 0]]
        place = place[np.argsort(-bright, kind="stable")[:MOST]]
    found = Peaks(place + 0.5, np.zeros(len(place)), np.ones(len(place)))
    return int(doubts(found, image, mask, centre, pixel_size).likely.sum())


def strangeness_of_flaws(count: int, live: int) -> float:
    """Return how far a frame with so many flaws lies from frames without any; 1 is the edge."""
    return count / max(USUAL * live / 1e6, FEWEST)


def _limits(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a pixel of each block must hold to stand out, photons.

    Chernoff's bound: n photons and more come by chance exp(n - b - n log(n / b)) at most, where b
    are expected (Mitzenmacher & Upfal, Probability and Computing, theorem 5.4).
    """
    expected = np.maximum(levels, 1e-6)
    limits = expected + np.maximum(LEAST_PHOTONS, LEAST_SIGMAS * np.sqrt(expected))
    while True:
        likely = limits - expected - limits * np.log(limits / expected) > np.log(CHANCE)
        if not likely.any():
            return np.asarray(limits)
        limits = np.where(likely, limits + 1, limits)


@njit(cache=True, nogil=True)
def _maxima(image: Any, mask: Any, limits: Any, block: int) -> NDArray[np.int64]:
    """Return (fs, ss) of live pixels that reach their block's limit and outshine all neighbours."""
    n_ss, n_fs = image.shape
    found = []
    for i in range(n_ss):
        row = i // block
        for first in range(0, n_fs, block):
            limit = limits[row, first // block]
            last = min(first + block, n_fs)
            # Most stretches have no bright pixel at all: seen many pixels at a time.
            brightest = image[i, first]
            for j in range(first, last):
                brightest = max(brightest, image[i, j])
            if brightest < limit:
                continue
            for j in range(first, last):
                if image[i, j] < limit or not mask[i, j]:
                    continue
                highest = True
                for a in range(max(i - 1, 0), min(i + 2, n_ss)):
                    for b in range(max(j - 1, 0), min(j + 2, n_fs)):
                        # Of equal ones the first is the maximum.
                        before = a < i or (a == i and b < j)
                        if mask[a, b] and (
                            image[a, b] > image[i, j] or (before and image[a, b] == image[i, j])
                        ):
                            highest = False
                if highest:
                    found.append((j, i))
    places = np.empty((len(found), 2), np.int64)
    for k in range(len(found)):
        places[k, 0], places[k, 1] = found[k]
    return places
