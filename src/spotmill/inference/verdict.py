"""Whether a frame is a hit, of what the models and tests said of it, and why: all rules in order.

The model of hits is asked first. What follows are the frames on which it is known to fail: unlike
its training, full of false peaks, without any peak though it saw some, with many though it saw
none, with all peaks in one heap; and those whose peaks lie on the lattice of a known cell.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

# Twice as far from the middle as any training frame: what is said of such a frame is a guess.
STRANGE = 2.0
# Peaks that make a hit, where it is told by them; as `hit.min_spots` is shipped.
MIN_SPOTS = 3
# Of the peaks on rings and edges such a share is taken for spots at most; the chance that no more
# of them are.
LEAK, LEAK_CHANCE = 0.01, 0.95
# Peaks that make a hit, though the model of hits says none, and the probability of so many.
PLAIN_HIT, PLAIN_CHANCE = 9, 0.99
# A hit without a single peak is one from this probability on.
SURE_HIT = 0.9


@dataclass(frozen=True)
class Unlike:
    """By what a frame is least like the training frames of a model, and how far off it is."""

    what: str = ""
    far: float = 0.0

    def remark(self, target: str) -> list[str]:
        """Return what to say of it: nothing where it is like them."""
        if self.far <= STRANGE:
            return []
        return [
            f"{self.what} unlike the training frames of {target} ({self.far:.1f} times as far off)"
        ]


@dataclass(frozen=True)
class FoundPeaks:
    """What was found of peaks.

    Attributes
    ----------
    every : [n]
        Probabilities of all peaks of the model.
    refused : int
        Of them on rings and edges.
    sound : int
        The others of which nothing is doubtful.
    kept : int
        Those that are written: the others without certain single pixels and tracks.
    sure : [m]
        Probabilities of sound ones that lie apart from one another.
    heap, outside : int
        Of all peaks in one small square, and kept ones outside it.
    unlike
        How far the frame is from those that the model of peaks was trained on.
    """

    every: NDArray[np.float64]
    refused: int
    sound: int
    kept: int
    sure: NDArray[np.float64]
    heap: int = 0
    outside: int = 0
    unlike: Unlike = Unlike()


@dataclass(frozen=True)
class Verdict:
    """Whether a frame is a hit: see `pipeline.Prediction`."""

    probability: float
    is_hit: bool
    by: str
    remarks: tuple[str, ...] = ()


def verdict(
    probability: float, threshold: float, unlike: Unlike, found: FoundPeaks | None = None
) -> Verdict:
    """Return whether a frame is a hit.

    Parameters
    ----------
    probability, threshold
        Of a hit by the model of hits, and from which on it is one.
    unlike
        How far the frame is from those that this model was trained on.
    found
        None without a model of peaks.
    """
    if found is None:
        return Verdict(probability, probability >= threshold, "hit", tuple(unlike.remark("hits")))
    first = by_hits_and_peaks(probability, probability >= threshold, unlike, found)
    remarks = [*unlike.remark("hits"), *first.remarks, *found.unlike.remark("peaks")]
    if first.is_hit and found.heap and found.outside < MIN_SPOTS:
        remarks.append(
            f"{found.heap} of {len(found.every)} peaks lie in one small square, as of stray light "
            "or a cosmic ray, not of a crystal"
        )
        return Verdict(first.probability, False, "heap", tuple(remarks))
    return Verdict(first.probability, first.is_hit, first.by, tuple(remarks))


def by_hits_and_peaks(
    probability: float, is_hit: bool, unlike: Unlike, found: FoundPeaks
) -> Verdict:
    """Return what model of hits and peaks say together; the first rule that holds decides."""
    false, peaks = len(found.every) - found.sound, len(found.sure)
    enough = MIN_SPOTS + leaked(found.refused)
    if unlike.far > STRANGE:
        chance = at_least(found.sure, enough)
        return Verdict(chance, chance >= 0.5, "peaks")
    if is_hit and false >= MIN_SPOTS and false > found.sound:
        # What the model of hits took for spots is likely the same.
        chance = at_least(found.sure, enough)
        why = (
            f"{false} of {len(found.every)} peaks are single pixels, tracks, or on rings and "
            "edges, not of a crystal"
        )
        return Verdict(chance, chance >= 0.5, "peaks", (why,))
    if is_hit and not found.kept and probability < SURE_HIT:
        why = "has no peaks, though the model of hits holds it for one"
        return Verdict(at_least(found.every, MIN_SPOTS), False, "peaks", (why,))
    if not is_hit and peaks >= PLAIN_HIT:
        chance = at_least(found.sure, PLAIN_HIT)
        if chance >= PLAIN_CHANCE:
            why = f"has {peaks} peaks, though not to the model of hits"
            return Verdict(chance, True, "peaks", (why,))
    return Verdict(probability, is_hit, "hit")


def on_lattice(before: Verdict, log_odds: float | None, remark: str) -> Verdict:
    """Return the verdict where peaks lie on the lattice of a known cell (None: they do not)."""
    remarks = (*before.remarks, remark) if remark else before.remarks
    if log_odds is None or before.is_hit:
        return Verdict(before.probability, before.is_hit, before.by, remarks)
    return Verdict(1 / (1 + math.exp(-log_odds)), True, "lattice", remarks)


def leaked(refused: int) -> int:
    """Return how many peaks may be left of those on rings and edges, where so many were refused."""
    return int(poisson.ppf(LEAK_CHANCE, LEAK * refused)) if refused else 0


def at_least(probability: NDArray[np.float64], count: int) -> float:
    """Return the probability that at least so many of independent events come true."""
    law = np.zeros(count)
    law[0] = 1.0
    for one in probability.tolist():
        law[1:] = law[1:] * (1 - one) + law[:-1] * one
        law[0] *= 1 - one
    return float(min(max(1.0 - law.sum(), 0.0), 1.0))
