"""Hot, noisy and dead pixels by what many frames say of each: `PixelSums`.

A pixel is judged by the pixels on short lines through it, in eight directions: along one of them
runs whatever is no flaw, a ring, the edge of a shadow, a row of larger pixels between two chips.

* Hot: bright in more frames than by chance those of any line. Spots of crystals make all pixels of
  a region bright now and then, frames being independent; that is in the lines' own number of
  bright frames. What another pixel like them does has, when k bright frames were seen in
  m pixels, the negative binomial distribution (a Poisson law whose mean has the posterior of
  Jeffreys' prior: Gelman et al., Bayesian Data Analysis, 2013, section 2.6).
* Noisy: such a pixel whose own counts scatter far more than photons do.
* Dead: it counts anything in a tenth of the frames in which those of any line do, or less, and by
  the same law not by chance.

The chance is divided by the number of pixels (Bonferroni), so that `false_alarms` is the number of
good pixels that are called bad in a detector without a bad one, at most: the line that doubts most
is asked, of it the four pixels that doubt most but two, which may be flawed themselves.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import betainc
from scipy.stats import chi2

from spotmill.physics.pixel_sums import BRIGHT, PixelSums

REACH, DIRECTIONS = 6, 8
# The most different pixels of a line, which are left out, and pixels of it at least.
CUT, FEWEST = 2, 5
# Of the others so many count: corners of shadows leave six of a line dark.
KEPT = 4
# A hot pixel is bright so many times as often as a line; a dead one counts such a share of it.
MORE_OFTEN, DEAD = 1.5, 0.1
# Variance over mean of a noisy pixel at least, and the chance that photons scatter so.
NOISY, BY_CHANCE = 3.0, 1e-6
# A noisy pixel that is bright in such a share of the frames should be told.
SELDOM = 0.1
# Flawed pixels are no measure for others: then more may show.
ROUNDS = 4


class Flaws(NamedTuple):
    """Pixels [ss, fs] of each kind, none of two.

    `needed`: frames in which others must count for a dead one among them to be told.
    `frames`: that tell a hot or noisy one that is bright in a share `SELDOM` of them.
    """

    hot: NDArray[np.bool_]
    noisy: NDArray[np.bool_]
    dead: NDArray[np.bool_]
    needed: float
    frames: int


def _lines() -> NDArray[np.int64]:
    """Return steps (ss, fs) from a pixel, [direction, step, 2]."""
    angle = np.pi * np.arange(DIRECTIONS)[:, None] / DIRECTIONS
    step = np.array([s for s in range(-REACH, REACH + 1) if s])
    return np.rint(np.stack([np.sin(angle) * step, np.cos(angle) * step], -1)).astype(np.int64)


LINES = _lines()


def find_flaws(
    sums: PixelSums, slabs: list[tuple[slice, slice]], false_alarms: float = 1.0
) -> Flaws:
    """Return the flawed pixels of a detector.

    Parameters
    ----------
    slabs
        Of each panel: pixels of two panels are no neighbours.
    false_alarms
        Good pixels that may be called bad, expected in all.
    """
    shape = sums.seen.shape
    loud, dead = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    pixels = max(int((sums.seen > 0).sum()), 1)
    # Half of the false ones hot, some dead.
    chance = min(false_alarms / (2 * pixels), 0.01)
    for _ in range(ROUNDS):
        before = loud | dead
        for slab in slabs:
            seen, bright, lit = sums.seen[slab], sums.bright[slab], sums.lit[slab]
            bad = before[slab]
            at, known, lines = _brighter(seen, bright, bad, LINES, _fewest(chance, seen))
            own = bright.ravel()[at]
            often = own * lines >= MORE_OFTEN * known
            loud[slab].flat[at] |= often & (betainc(own, known + 0.5, 1 / (1 + lines)) < chance)
            at, known, lines = _darker(seen, lit, bad, LINES, DEAD, light_needed(chance))
            own = lit.ravel()[at].astype(np.float64)
            dead[slab].flat[at] |= betainc(known + 0.5, own + 1, lines / (1 + lines)) < chance
        if (before == (loud | dead)).all():
            break
    dead &= ~loud
    chosen = np.flatnonzero(loud)
    freedom = np.maximum(sums.seen.ravel()[chosen].astype(np.float64) - 1, 1)
    spread = sums.dispersion(chosen)
    noisy = np.zeros(shape, dtype=bool)
    noisy.flat[chosen] = (spread >= NOISY) & (spread * freedom > chi2.isf(BY_CHANCE, freedom))
    return Flaws(loud & ~noisy, noisy, dead, light_needed(chance), frames_needed(chance))


def light_needed(chance: float) -> float:
    """Return the frames in which good pixels must count for a dead one among them to be told."""
    return -math.log(chance) / (KEPT * math.log1p(1 / KEPT))


def frames_needed(chance: float) -> int:
    """Return the frames that tell a pixel that is bright in a share `SELDOM` of them.

    Where others are bright as often as `pixel_sums` lets a good one be, at most.
    """
    frames = np.arange(2, 65536)
    own, known = np.floor(SELDOM * frames), BRIGHT * KEPT * frames
    told = betainc(np.maximum(own, 0.5), known + 0.5, 1 / (1 + KEPT)) < chance
    told &= NOISY * (frames - 1) > chi2.isf(BY_CHANCE, frames - 1)
    return int(frames[~told][-1]) + 1


def _fewest(chance: float, seen: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return, by the frames of a pixel, how many of them must be bright for it to be hot.

    At least, where no other is ever bright. Of files with masks of their own a pixel may have
    fewer frames than those on its lines, which weigh the more.
    """
    number = np.flatnonzero(np.bincount(seen.ravel()))
    weight = KEPT * number.max() / np.maximum(number, 1)
    counts = np.arange(1, 200)
    enough = betainc(counts, 0.5, 1 / (1 + weight[:, None])) < chance
    fewest = np.full(number.max() + 1, len(counts), np.int64)
    fewest[number] = counts[enough.argmax(1)]
    return fewest


@njit(cache=True, nogil=True)
def _line(values: Any, seen: Any, bad: Any, row: int, k: int, steps: Any, most: bool) -> Any:
    """Return the sum of some pixels of a line, and their frames over those of the pixel itself.

    Those with the most (else the least), the outer two left out: rings are narrow and bent.
    """
    found, size, frames = np.empty(len(steps)), 0, 0.0
    first = CUT
    for n in range(len(steps)):
        i, j = row + steps[n, 0], k + steps[n, 1]
        inside = 0 <= i < values.shape[0] and 0 <= j < values.shape[1]
        if inside and seen[i, j] and not bad[i, j]:
            found[size] = values[i, j]
            frames += seen[i, j]
            size += 1
    if size < FEWEST:
        return 0.0, 0.0
    part = np.sort(found[:size])
    some = min(KEPT, size - CUT)
    if most:
        first = size - CUT - some
    return part[first : first + some].sum(), frames / size * some / seen[row, k]


@njit(cache=True, nogil=True)
def _brighter(seen: Any, bright: Any, bad: Any, lines: Any, fewest: Any) -> Any:
    """Return flat numbers of candidates, and of the brightest line of each what `_line` does."""
    at, known, weights = [0 for _ in range(0)], [0.0 for _ in range(0)], [0.0 for _ in range(0)]
    for row in range(seen.shape[0]):
        for k in range(seen.shape[1]):
            if bright[row, k] < fewest[seen[row, k]] or bad[row, k]:
                continue
            best, sum_, weight = -1.0, 0.0, 0.0
            for d in range(len(lines)):
                one, m = _line(bright, seen, bad, row, k, lines[d], True)
                if m > 0 and (one + 0.5) / m > best:
                    best, sum_, weight = (one + 0.5) / m, one, m
            if weight > 0:
                at.append(row * seen.shape[1] + k)
                known.append(sum_)
                weights.append(weight)
    return np.array(at, dtype=np.int64), np.array(known), np.array(weights)


@njit(cache=True, nogil=True)
def _darker(seen: Any, lit: Any, bad: Any, lines: Any, share: float, needed: float) -> Any:
    """Return flat numbers of candidates, and of the darkest line of each what `_line` does."""
    at, known, weights = [0 for _ in range(0)], [0.0 for _ in range(0)], [0.0 for _ in range(0)]
    for row in range(seen.shape[0]):
        for k in range(seen.shape[1]):
            if not seen[row, k] or bad[row, k]:
                continue
            # Most pixels count as much as the others, or lie in the dark.
            most = 0.0
            for n in range(lines.shape[1]):
                i, j = row + lines[0, n, 0], k + lines[0, n, 1]
                if 0 <= i < seen.shape[0] and 0 <= j < seen.shape[1]:
                    most = max(most, lit[i, j])
            if most < needed / 2 or lit[row, k] > 2 * share * most:
                continue
            least, sum_, weight = np.inf, 0.0, 0.0
            for d in range(len(lines)):
                one, m = _line(lit, seen, bad, row, k, lines[d], False)
                if m == 0:
                    continue
                if lit[row, k] * m > share * one or one == 0:
                    weight = 0.0
                    break
                if one / m < least:
                    least, sum_, weight = one / m, one, m
            if weight > 0:
                at.append(row * seen.shape[1] + k)
                known.append(sum_)
                weights.append(weight)
    return np.array(at, dtype=np.int64), np.array(known), np.array(weights)
