"""What `evaluation.json` says of one finder of peaks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.metrics import wilson
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import (
    Counts,
    Curve,
    Spots,
    assign,
    best_threshold,
    curve,
    gains,
    summarise,
)

# True spots are counted by drawn photons and by width from these on.
PHOTONS = (5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
# Frames by their number of true spots.
SPOTS = (0.0, 1.0, 3.0, 6.0, 11.0, 21.0, 51.0)
WIDTHS = (0.0, 0.4, 0.6, 1.0)
CURVE_POINTS = 80
CLOSE = 0.3  # pixels


@dataclass
class Finder:
    """A way to find peaks, and what it found in each frame (by row)."""

    name: str
    what: str
    explained: str
    find: Callable[[NDArray[Any], NDArray[np.bool_]], Peaks]
    found: dict[int, Peaks] = field(default_factory=dict)
    # Of a frame by its row, where the way depends on its detector.
    of_row: Callable[[int], Callable[[NDArray[Any], NDArray[np.bool_]], Peaks]] | None = None

    def find_in(self, row: int, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
        """Return the peaks of the frame in a row."""
        return (self.of_row(row) if self.of_row else self.find)(image, mask)


def curve_of(finder: Finder, truth: dict[int, Spots], rows: list[int]) -> Curve:
    """Return precision and recall over the thresholds, of some frames."""
    score = np.concatenate([finder.found[row].score for row in rows])
    gained = np.concatenate(
        [gains(finder.found[row].place, finder.found[row].score, truth[row].place) for row in rows]
    )
    return curve(score, gained, sum(len(truth[row].photons) for row in rows))


def threshold_of(finder: Finder, truth: dict[int, Spots], rows: list[int]) -> float:
    """Return the threshold of the best F1 on some frames."""
    drawn = curve_of(finder, truth, rows)
    return best_threshold(drawn, float(drawn.threshold.max()) if len(drawn.threshold) else 0.0)


def chosen(peaks: Peaks, threshold: float) -> Peaks:
    """Return the peaks at or above a threshold."""
    return peaks.rows(peaks.score >= threshold)


def counted(finder: Finder, threshold: float, truth: dict[int, Spots], rows: list[int]) -> Counts:
    """Return pairs, found peaks and true spots of some frames at a threshold."""
    lines = []
    for row in rows:
        place = chosen(finder.found[row], threshold).place
        partner, _ = assign(place, truth[row].place)
        lines.append(((partner >= 0).sum(), len(place), len(truth[row].photons)))
    columns = np.array(lines, dtype=np.int64).reshape(-1, 3).T
    return Counts(*columns)


def result(
    finder: Finder,
    threshold: float,
    truth: dict[int, Spots],
    widths: dict[int, NDArray[np.float64]],
    rows: list[int],
    dataset: NDArray[np.str_],
) -> dict[str, Any]:
    """Return what `evaluation.json` says of a finder on some frames; `dataset` is of these."""
    counts = counted(finder, threshold, truth, rows)
    said: dict[str, Any] = {
        "name": finder.name,
        "what": finder.what,
        "explained": finder.explained,
        "threshold": threshold,
        **summarise(counts),
        "per_dataset": {
            str(name): summarise(counts.of(dataset == name)) for name in np.unique(dataset)
        },
    }
    seen, photons, width, distance = [], [], [], []
    for row in rows:
        spots = truth[row]
        partner, away = assign(chosen(finder.found[row], threshold).place, spots.place)
        own = np.full(len(spots.photons), np.nan)
        own[partner[partner >= 0]] = away[partner >= 0]
        seen.append(np.isfinite(own))
        distance.append(own)
        photons.append(spots.photons)
        width.append(widths[row])
    joined = [np.concatenate(parts) for parts in (seen, distance, photons, width)]
    said["per_photons"] = [
        share(low, int(joined[0][within].sum()), int(within.sum()))
        for low, within in bins(joined[2], PHOTONS)
    ]
    upper = dict(zip(SPOTS, (*SPOTS[1:], None), strict=True))
    said["per_spots"] = [
        {"from": int(low), "to": int(end) - 1 if (end := upper[low]) else None}
        | summarise(counts.of(within))
        for low, within in bins(counts.true.astype(np.float64), SPOTS)
    ]
    said["localisation"] = localisation(joined[1]) | {
        "per_width": [
            {"from": low, **localisation(joined[1][within])}
            for low, within in bins(joined[3], WIDTHS)
        ]
    }
    said["curve"] = thin(curve_of(finder, truth, rows))
    return said


def share(low: float, found: int, n: int) -> dict[str, Any]:
    """Return how many spots from so many photons on were found, with the interval of recall."""
    return {"from": low, "n": n, "found": found, "recall": found / n, "interval": wilson(found, n)}


def bins(
    values: NDArray[np.float64], edges: tuple[float, ...]
) -> list[tuple[float, NDArray[np.bool_]]]:
    """Return the lower edge of each bin that holds any value, and which it holds."""
    upper = (*edges[1:], np.inf)
    found = [(low, (values >= low) & (values < up)) for low, up in zip(edges, upper, strict=True)]
    return [(low, within) for low, within in found if within.any()]


def localisation(distance: NDArray[np.float64]) -> dict[str, Any]:
    """Return number, median and share within `CLOSE` of the errors of place of found spots."""
    known = distance[np.isfinite(distance)]
    if not len(known):
        return {"n": 0, "median": None, "within_0.3": None}
    return {
        "n": len(known),
        "median": float(np.median(known)),
        "within_0.3": float((known <= CLOSE).mean()),
    }


def thin(drawn: Curve) -> list[dict[str, float]]:
    """Return points of a curve, spread along its recall, most of them where that is largest."""
    if not len(drawn.threshold):
        return []
    most = float(drawn.recall[-1])
    half = CURVE_POINTS // 2
    marks = np.concatenate([np.linspace(0, 0.9 * most, half), np.linspace(0.9 * most, most, half)])
    points = np.unique(np.searchsorted(drawn.recall, marks))
    return [
        {
            "threshold": float(drawn.threshold[point]),
            "precision": float(drawn.precision[point]),
            "recall": float(drawn.recall[point]),
        }
        for point in points.tolist()
    ]


def width_of(
    signal: NDArray[Any], spots: Spots, least: float = 20.0, reach: int = 6
) -> NDArray[np.float64]:
    """Return the width of each spot from its Bragg photons alone; NaN where they are few.

    The width is the root mean square distance along one axis, pixels, the geometric mean of
    both axes; a point has 0 to 0.5, for a pixel is as wide as it is.
    """
    width = np.full(len(spots.photons), np.nan)
    for row, (fs, ss) in enumerate(spots.place):
        a, b = int(ss) - reach, int(fs) - reach
        part = signal[max(a, 0) : int(ss) + reach + 1, max(b, 0) : int(fs) + reach + 1]
        total = float(part.sum(dtype=np.float64))
        if spots.photons[row] < least or total < least:
            continue
        along = [part.sum(axis, dtype=np.float64) / total for axis in (0, 1)]
        variance = [
            float(share @ np.arange(len(share)) ** 2 - (share @ np.arange(len(share))) ** 2)
            for share in along
        ]
        width[row] = (variance[0] * variance[1]) ** 0.25
    return width
