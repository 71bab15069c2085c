"""How well found peaks agree with true spots: matching, precision, recall, F1, localisation.

A found peak and a true spot go together when they are within a radius, each with one partner at
most. The number of pairs is the largest possible, at every threshold of the score: peaks are
taken in the order of their score, and each is admitted when that allows one pair more. As the
sets of peaks that can be paired at once form a matroid (Edmonds & Fulkerson, J. Res. NBS 69B,
147, 1965), what this keeps is the best for all thresholds at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

RADIUS = 3.0  # pixels between a found peak and a true spot of one pair, at most
MERGE = 2.0  # pixels between spots that count as one, at most
RESAMPLES = 1000

Positions = NDArray[np.float64]


class Spots(NamedTuple):
    """True spots of a frame.

    Attributes
    ----------
    place : [n, 2] fs, ss in pixels
    photons : [n] drawn on live pixels
    """

    place: Positions
    photons: NDArray[np.float64]

    def at_least(self, photons: float) -> "Spots":
        """Return the spots of so many photons and more."""
        strong = self.photons >= photons
        return Spots(self.place[strong], self.photons[strong])


def merge(spots: Spots, distance: float = MERGE) -> Spots:
    """Return spots with those that overlap put into one.

    Spots nearer than `distance` (also over others in between) become one: their photons
    add up, their place is the mean weighted by photons. Spots without photons are left out.
    """
    seen = spots.photons > 0
    place, photons = spots.place[seen], spots.photons[seen]
    if len(photons) < 2:
        return Spots(place, photons)
    pairs = cKDTree(place).query_pairs(distance, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(place), len(place)))
    count, group = connected_components(links, directed=False)
    total = np.bincount(group, photons, count).astype(np.float64)
    means = [np.bincount(group, photons * place[:, axis], count) / total for axis in range(2)]
    return Spots(np.stack(means, axis=1), total)


def pairs_within(
    found: Positions, true: Positions, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of a found peak and a true spot within a radius: rows and distance."""
    if not len(found) or not len(true):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    close = cKDTree(found).sparse_distance_matrix(cKDTree(true), radius, output_type="coo_matrix")
    return close.row.astype(np.int64), close.col.astype(np.int64), close.data


def gains(
    found: Positions, score: NDArray[np.floating], true: Positions, radius: float = RADIUS
) -> NDArray[np.bool_]:
    """Return for each found peak whether it allows one pair more than all of higher score.

    The number of pairs at a threshold is the sum of this over the peaks at or above it.
    Augmenting paths after Kuhn, Nav. Res. Logist. Q. 2, 83 (1955).
    """
    rows, columns, _ = pairs_within(found, true, radius)
    near: dict[int, list[int]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        near.setdefault(row, []).append(column)
    partner: dict[int, int] = {}
    gained = np.zeros(len(found), dtype=bool)
    for row in np.argsort(-score, kind="stable").tolist():
        if row in near:
            gained[row] = _augment(row, near, partner, set())
    return gained


def _augment(row: int, near: dict[int, list[int]], partner: dict[int, int], seen: set[int]) -> bool:
    """Find a partner for a peak, if need be by moving those of others."""
    for column in near[row]:
        if column in seen:
            continue
        seen.add(column)
        if column not in partner or _augment(partner[column], near, partner, seen):
            partner[column] = row
            return True
    return False


def assign(
    found: Positions, true: Positions, radius: float = RADIUS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the true spot of each found peak (-1 for none), and its distance (NaN for none).

    As many pairs as possible, and of these the least sum of distances.
    """
    partner = np.full(len(found), -1)
    distance = np.full(len(found), np.nan)
    rows, columns, lengths = pairs_within(found, true, radius)
    if not len(rows):
        return partner, distance
    # Only what has a neighbour enters: the matrix stays small.
    left, row = np.unique(rows, return_inverse=True)
    right, column = np.unique(columns, return_inverse=True)
    gain = np.zeros((len(left), len(right)))
    # Any pair is worth more than all distances together.
    gain[row, column] = (radius + 1) * (min(gain.shape) + 1) - lengths
    own = np.full(gain.shape, np.nan)
    own[row, column] = lengths
    # Slow to import, and those who find peaks assign none.
    from scipy.optimize import linear_sum_assignment

    first, second = linear_sum_assignment(gain, maximize=True)
    paired = np.isfinite(own[first, second])
    partner[left[first[paired]]] = right[second[paired]]
    distance[left[first[paired]]] = own[first[paired], second[paired]]
    return partner, distance


class Counts(NamedTuple):
    """Per frame: pairs, found peaks, true spots; each [frame]."""

    matched: NDArray[np.int64]
    found: NDArray[np.int64]
    true: NDArray[np.int64]

    def of(self, frames: NDArray[np.bool_]) -> "Counts":
        """Return the counts of some frames."""
        return Counts(self.matched[frames], self.found[frames], self.true[frames])


def f1_of(matched: float, found: float, true: float) -> float:
    """Return F1, the harmonic mean of precision and recall; 1 where there is nothing to find."""
    return 2 * matched / (found + true) if found + true else 1.0


def summarise(counts: Counts, seed: int = 1) -> dict[str, object]:
    """Return precision, recall and F1 with 95 % intervals: the bootstrap over frames.

    A share without a denominator is None. Efron, Ann. Stat. 7, 1 (1979), percentiles. Frames
    drawn anew from frames without an error (or without a match) never show one, so a share of 1
    (or 0) has Wilson's interval over spots instead (J. Am. Stat. Assoc. 22, 209, 1927).
    """
    # Slow to import, and those who find peaks sum nothing up.
    from scipy.stats import binomtest

    n = len(counts.true)
    rng = np.random.default_rng([seed, n])
    weights = rng.multinomial(n, np.full(n, 1 / max(n, 1)), RESAMPLES) if n else np.zeros((1, 0))
    sums = [weights @ column for column in counts]
    matched, found, true = (int(column.sum()) for column in counts)
    result: dict[str, object] = {"n": n, "true": true, "found": found, "matched": matched}
    for name, above, below, drawn_above, drawn_below in (
        ("precision", matched, found, sums[0], sums[1]),
        ("recall", matched, true, sums[0], sums[2]),
        ("f1", 2 * matched, found + true, 2 * sums[0], sums[1] + sums[2]),
    ):
        drawn = drawn_above[drawn_below > 0] / drawn_below[drawn_below > 0]
        known = below > 0 and len(drawn) > 0
        result[name] = above / below if known else None
        ends = np.percentile(drawn, [2.5, 97.5]).tolist() if known else None
        if known and above in (0, below):
            # Of two times the matches out of all found and all true (F1), half are spots.
            spots = -(-below // 2) if name == "f1" else below
            certain = binomtest(spots if above else 0, spots).proportion_ci(method="wilson")
            ends = [float(certain.low), float(certain.high)]
        result[f"{name}_interval"] = ends
    return result


class Curve(NamedTuple):
    """Precision and recall at every threshold, from high to low; each [threshold]."""

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def curve(score: NDArray[np.floating], gained: NDArray[np.bool_], true: float) -> Curve:
    """Return the curve of the peaks of all frames, given `gains` of each.

    Parameters
    ----------
    score, gained
        [peak].
    true
        Number of true spots.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order].astype(np.float64)
    matched = np.cumsum(gained[order])
    # A threshold takes all peaks of its score: only the last of equal ones stands.
    last = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.empty(0, bool)
    found = np.arange(1, len(ranked) + 1)[last]
    matched, ranked = matched[last], ranked[last]
    return Curve(
        ranked,
        matched / np.maximum(found, 1),
        matched / max(true, 1),
        2 * matched / np.maximum(found + true, 1),
    )


def best_threshold(drawn: Curve, otherwise: float) -> float:
    """Return the threshold of the best F1, half way to the next lower score."""
    if not len(drawn.f1) or drawn.f1.max() == 0:
        return otherwise
    best = int(np.argmax(drawn.f1))
    following = drawn.threshold[best + 1 : best + 2]
    return float(
        (drawn.threshold[best] + following[0]) / 2 if len(following) else drawn.threshold[best]
    )


def turned(place: Positions, centre: tuple[float, float], angle: float) -> Positions:
    """Return places turned about a centre (fs, ss): at random in azimuth, true in radius."""
    cos, sin = np.cos(angle), np.sin(angle)
    away = place - np.array(centre)
    return away @ np.array([[cos, sin], [-sin, cos]]) + np.array(centre)
