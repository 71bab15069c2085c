"""Peaks that no crystal makes: single pixels that count by themselves, and tracks of particles.

Light that a crystal scatters is rarely in one fine pixel alone: of some 200 simulated spots of 15
photons and more on pixels of 75 µm, none had less than three tenths beyond the brightest pixel. A
hot pixel has none there. A particle that flies along the sensor leaves a
line; spots are lines towards the beam alone, where the beam is of many colours.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import poisson

from spotmill.inference.plausible import background_around
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import pairs_within

# Share of a spot's photons beyond its brightest pixel, and beyond the brightest two, at least; and
# the chance by which so few may be there. Peaks are left out by the first, hits told by the second.
LONE = ((0.15, 0.06, 1e-3), (0.30, 0.12, 0.02))
# Pixels up to this size share their spots, m; of larger ones nearly all of many peaks are in one
# pixel each where none is a spot.
FINE, NEARLY_ALL, MANY = 100e-6, 0.9, 10
# Variances of a track across and along it, pixels squared, and degrees from the way to the beam.
THIN, LONG, TOWARDS_BEAM = 0.22, 1.0, 20.0
FEWEST_PIXELS = 4
REACH = 4
# Variance of a spot's photons in 3 x 3 pixels along its shorter axis, at least, pixels squared; and
# the standard errors by which it must be missed.
LEAST_VARIANCE, ERRORS = 0.15, 2.0
# Pixels between peaks that count as one where a hit is told: spots of a crystal lie apart.
APART = 8.0


class Doubts(NamedTuple):
    """Which peaks [n] are certainly no spots of a crystal, and which may be none."""

    certain: NDArray[np.bool_]
    likely: NDArray[np.bool_]


def doubts(
    peaks: Peaks,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    centre: tuple[float, float] | None = None,
    pixel_size: float | None = None,
) -> Doubts:
    """Return which peaks of a frame are single pixels or tracks.

    Parameters
    ----------
    centre
        (fs, ss) of the beam, pixels; where it is not known, no track is certain.
    pixel_size
        m. Where it is not known, or large, many true spots are single pixels: then these are
        doubted alone where nearly all peaks of the frame are.
    """
    at = np.floor(peaks.place).astype(np.int64)
    if not len(at):
        return Doubts(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    level = background_around(image, mask, peaks.place)
    rows = _shapes(image, mask, at[:, 1], at[:, 0], level)
    whole, brightest, pair, beyond_one, beyond_two, pixels, across, along, angle, least = rows.T
    lone = []
    for of_one, of_two, chance in LONE:
        one = _too_few(beyond_one, level * 8 + brightest * of_one / (1 - of_one), chance)
        two = _too_few(beyond_two, level * 7 + pair * of_two / (1 - of_two), chance)
        lone.append((whole == 1) & (one | two))
    photons = np.maximum(brightest + beyond_one - 8 * level, 1.0)
    thin = least < LEAST_VARIANCE * (1 - ERRORS * np.sqrt(2 / photons))
    track = (pixels >= FEWEST_PIXELS) & (across <= THIN) & (along >= LONG)
    certain, likely = lone[0], lone[1] | thin
    if pixel_size is None or pixel_size > FINE:
        certain = np.zeros_like(certain)
        if len(likely) < MANY or likely.mean() <= NEARLY_ALL:
            likely = certain
    if centre is None:
        return Doubts(certain, likely | track)
    way = np.degrees(np.arctan2(peaks.place[:, 1] - centre[1], peaks.place[:, 0] - centre[0]))
    off = np.abs((way - np.degrees(angle) + 90) % 180 - 90)
    track &= off > TOWARDS_BEAM
    return Doubts(certain | track, likely | track)


def apart(peaks: Peaks) -> Peaks:
    """Return the surest peak of each group whose members lie within `APART` pixels in turn."""
    if len(peaks.score) < 2:
        return peaks
    rows, columns, _ = pairs_within(peaks.place, peaks.place, APART)
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=2 * (len(peaks.score),))
    group = connected_components(links, directed=False)[1]
    order = np.lexsort((-peaks.score, group))
    first = order[np.unique(group[order], return_index=True)[1]]
    return peaks.rows(first)


def _too_few(seen: Any, expected: Any, chance: float) -> NDArray[np.bool_]:
    return np.asarray(poisson.cdf(np.maximum(seen, 0), np.maximum(expected, 0)) < chance)


@njit(cache=True, nogil=True)
def _shapes(image: Any, mask: Any, rows: Any, columns: Any, level: Any) -> Any:
    """Return what is around each place; 1 in the first column where 3 x 3 pixels are live.

    Then photons above the background of the brightest pixel of 3 x 3 and of it with its brightest
    neighbour, all photons of 3 x 3 beyond these, and of the bright pixels joined to it their
    number, their variance across and along, and their direction. At last the variance of the
    photons of 3 x 3 along their shorter axis.
    """
    found = np.zeros((len(rows), 10))
    n_ss, n_fs = image.shape
    edge = 2 * REACH + 1
    for k in range(len(rows)):
        top, left = -1, -1
        for i in range(max(rows[k] - 1, 0), min(rows[k] + 2, n_ss)):
            for j in range(max(columns[k] - 1, 0), min(columns[k] + 2, n_fs)):
                if mask[i, j] and (top < 0 or image[i, j] > image[top, left]):
                    top, left = i, j
        if top < 1 or left < 1 or top > n_ss - 2 or left > n_fs - 2:
            continue
        total, second, whole = 0.0, 0.0, True
        for i in range(top - 1, top + 2):
            for j in range(left - 1, left + 2):
                if not mask[i, j]:
                    whole = False
                    continue
                total += image[i, j]
                # Pixels that touch along an edge: two of them share a spot between them.
                if abs(i - top) + abs(j - left) == 1:
                    second = max(second, float(image[i, j]))
        brightest = image[top, left]
        found[k, 0] = 1.0 if whole else 0.0
        found[k, 1] = max(brightest - level[k], 0.0)
        found[k, 2] = max(brightest + second - 2 * level[k], 0.0)
        found[k, 3] = total - brightest
        found[k, 4] = total - brightest - second
        found[k, 9] = _shorter(image, top, left, level[k])
        # The pixels joined to the brightest.
        limit = level[k] + max(1.0, 3.0 * np.sqrt(level[k]))
        joined = np.zeros((edge, edge), np.bool_)
        joined[REACH, REACH] = True
        grown = True
        while grown:
            grown = False
            for a in range(edge):
                for b in range(edge):
                    i, j = top + a - REACH, left + b - REACH
                    if joined[a, b] or i < 0 or j < 0 or i >= n_ss or j >= n_fs:
                        continue
                    if not mask[i, j] or image[i, j] <= limit:
                        continue
                    near = joined[max(a - 1, 0) : a + 2, max(b - 1, 0) : b + 2]
                    if near.any():
                        joined[a, b] = grown = True
        weights = np.zeros((edge, edge))
        for a in range(edge):
            for b in range(edge):
                if joined[a, b]:
                    # Roots: one bright pixel must not hide how long the others reach.
                    excess = image[top + a - REACH, left + b - REACH] - level[k]
                    weights[a, b] = np.sqrt(max(excess, 0.0))
        weight, across, along, angle = _spread(weights)
        if weight > 0:
            found[k, 5] = joined.sum()
            found[k, 6], found[k, 7], found[k, 8] = across, along, angle
    return found


@njit(cache=True, nogil=True)
def _shorter(image: Any, top: int, left: int, level: float) -> float:
    """Return the variance of 3 x 3 pixels along their shorter axis, the background left out."""
    weights = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            # What lies below the background lessens it: the mean stays that of the spot alone.
            weights[a, b] = image[top + a - 1, left + b - 1] - level
    weight, across, _, _ = _spread(weights)
    return float(across) if weight > 0 else 1.0


@njit(cache=True, nogil=True)
def _spread(weights: Any) -> Any:
    """Return the sum of weights [ss, fs], their variances across and along, and their direction."""
    weight, x, y, xx, xy, yy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    # From the middle: numbers stay small.
    middle = len(weights) // 2
    for a in range(-middle, middle + 1):
        for b in range(-middle, middle + 1):
            w = weights[a + middle, b + middle]
            weight += w
            x += w * b
            y += w * a
            xx += w * b * b
            xy += w * a * b
            yy += w * a * a
    if weight <= 0:
        return 0.0, 0.0, 0.0, 0.0
    x, y = x / weight, y / weight
    xx, xy, yy = xx / weight - x * x, xy / weight - x * y, yy / weight - y * y
    mean, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
    return weight, mean - half, mean + half, 0.5 * np.arctan2(2 * xy, xx - yy)
