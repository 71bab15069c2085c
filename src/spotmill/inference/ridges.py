"""Narrow rows of light through a peak: rings of ice about any centre, streaks, edges.

Where a header places the beam wrongly, the rings about it are no rings of the frame. Close by,
a ring is a straight row whatever its centre is, and so are streaks and edges: where both sides of
a peak are bright along one line, the brightest pixels of that line are not spots.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.physics.peak_finding import deviance

# Directions of the lines, and pixels from the peak at which a side of one begins and ends; it is
# three pixels wide. Over so few a ring of 150 pixels' radius departs from its tangent by one.
DIRECTIONS, NEAREST, FARTHEST = 16, 4, 18
# Live pixels that a side must have, of 45.
FEWEST = 15
# Standard deviations by which each side exceeds the background around the peak, and both do.
SURE = (1.5, 4.0)
# The same in frames where so many places, and such a share of them, lie on rows beyond doubt: where
# there are rings, a place of which one cannot tell is likely on one.
LIKELY = (0.5, 2.0)
MANY, SHARE = 10, 1 / 3
# How far off the stated centre the true one is looked for and in what steps, one search about
# the other's best, and the width of rings; pixels.
SEARCHES, WIDTH = ((96.0, 6.0), (8.0, 2.0), (2.0, 0.5)), 3.0


def _sides() -> NDArray[np.int64]:
    """Return steps (ss, fs) from a place, [direction, side, far, across, 2]."""
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    along = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    far = np.arange(NEAREST, FARTHEST + 1)[:, None, None] * np.ones((1, 3, 1))
    wide = np.array([-1.0, 0.0, 1.0])[None, :, None] * np.ones((len(far), 1, 1))
    sides = [
        [far * one * sign + wide * other * sign for sign in (-1, 1)]
        for one, other in zip(along, across, strict=True)
    ]
    return np.rint(np.array(sides)).astype(np.int64)


SIDES = _sides()


def ridges(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    at: NDArray[np.int64],
    levels: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return by what factor a row of light through places (fs, ss) outshines their background.

    1 where there is no such row. `levels` are photons a pixel around each place. Where `abound`
    says so of the factors of a frame's places, likely rows count as well.
    """
    places = image, mask, at[:, 1], at[:, 0], levels, SIDES
    sure = np.asarray(_factors(*places, *SURE))
    return np.asarray(_factors(*places, *LIKELY)) if abound(sure) else sure


def abound(factors: NDArray[np.float64]) -> bool:
    """Return whether so many of a frame's places lie on rows of light that it has rings."""
    return bool((factors > 1).sum() >= max(MANY, SHARE * len(factors)))


def fitted_centre(place: NDArray[np.float64], centre: tuple[float, float]) -> tuple[float, float]:
    """Return the centre (fs, ss), near a stated one, about which places lie on the fewest rings.

    The one for which the squares of the numbers of places in rings sum up to most; `place` [n, 2]
    are false peaks of rings. Off by a pixel or so where they are some hundred.
    """
    best = np.asarray(centre, dtype=float)
    for reach, step in SEARCHES:
        offsets = np.arange(-reach, reach + step, step)
        tries = best + np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
        best = tries[int(np.argmax([_gathered(place, one) for one in tries]))]
    return float(best[0]), float(best[1])


def _gathered(place: NDArray[np.float64], centre: NDArray[np.float64]) -> float:
    """Return how much places gather in rings, two adjoining ones counted together."""
    radius = np.hypot(place[:, 0] - centre[0], place[:, 1] - centre[1])
    counts = np.bincount((radius / WIDTH).astype(np.int64))
    return float(((counts[1:] + counts[:-1]) ** 2).sum())


@njit(cache=True, nogil=True)
def _factors(
    image: Any,
    mask: Any,
    rows: Any,
    columns: Any,
    levels: Any,
    sides: Any,
    side_sigmas: float,
    both_sigmas: float,
) -> Any:
    """Return by what factor the brightest row through each place outshines its background."""
    factors = np.ones(len(rows))
    sums = np.empty(FARTHEST - NEAREST + 1)
    for k in range(len(rows)):
        level = max(levels[k], 1e-12)
        for direction in range(len(sides)):
            photons, pixels = 0.0, 0
            for side in range(2):
                total, count = _side(image, mask, rows[k], columns[k], sides[direction, side], sums)
                if count < FEWEST or deviance(total, level * count) < side_sigmas:
                    pixels = 0
                    break
                photons += total
                pixels += count
            if pixels and deviance(photons, level * pixels) >= both_sigmas:
                factors[k] = max(factors[k], photons / pixels / level)
    return factors


@njit(cache=True, nogil=True)
def _side(image: Any, mask: Any, row: int, column: int, steps: Any, sums: Any) -> Any:
    """Return photons and pixels of one side of a line, as its middle step has them.

    A step is three pixels across the line; a row is lit all along, spots in a row are not.
    `sums` is room to work in: sorted as they come.
    """
    n_ss, n_fs = image.shape
    count = 0
    for far in range(len(steps)):
        total, whole = 0.0, True
        for across in range(3):
            i, j = row + steps[far, across, 0], column + steps[far, across, 1]
            if 0 <= i < n_ss and 0 <= j < n_fs and mask[i, j]:
                total += image[i, j]
            else:
                whole = False
        if whole:
            place = count
            while place > 0 and sums[place - 1] > total:
                sums[place] = sums[place - 1]
                place -= 1
            sums[place] = total
            count += 1
    if count == 0:
        return 0.0, 0
    middle = (sums[(count - 1) // 2] + sums[count // 2]) / 2
    # The median of Poisson counts is the whole number at or below mean + 1/3 (Choi 1994): over
    # all means it lies a sixth below.
    middle += 1 / 6 if middle > 0 else 0.0
    return middle * count, 3 * count
