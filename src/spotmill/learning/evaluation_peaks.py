"""Evaluation of finders of peaks: the model, a classical finder, and the bound."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from spotmill.learning.peak_candidates import background_map
from spotmill.learning.peak_controls import controls
from spotmill.learning.peak_results import Finder, chosen, counted, result, threshold_of, width_of
from spotmill.learning.peaks import PeakSetup
from spotmill.physics.peak_bound import Zone, best_f1
from spotmill.physics.peak_finding import Criteria, find_peaks
from spotmill.physics.peak_scoring import MERGE, RADIUS, Spots, assign, f1_of
from spotmill.splits import SIDES

WORST = 6
ZONES = 4
EXAMPLE = 64  # pixels, edge of the part of a frame that is shown


def evaluate_peaks(
    setup: PeakSetup, network: Any, water: Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network that finds peaks.

    Parameters
    ----------
    water
        Shard with the expected water for the control of equal expectation.

    Returns
    -------
    evaluation
        What `evaluation.json` holds, but for the task's name.
    predictions
        Columns of `predictions.parquet`.
    """
    task, frames, radius = setup.task, setup.frames, setup.view.radius
    finders = [
        Finder(task.model, "model", "", network.find),
        Finder(
            "radial_background",
            "baseline",
            "pixels above the background at their radius, joined where they touch; ratio of signal "
            "to noise above a threshold",
            lambda image, mask: find_peaks(image, mask, radius, Criteria()),
        ),
    ]
    rows = {side: frames.rows(side).tolist() for side in SIDES}
    truth = {row: setup.strong(row) for side in ("validation", "test") for row in rows[side]}
    seen = Look(setup, finders, truth, rows)
    thresholds = [threshold_of(finder, truth, rows["validation"]) for finder in finders]
    test, dataset = rows["test"], frames.dataset[rows["test"]]
    results = [
        result(finder, threshold, truth, seen.widths, test, dataset)
        for finder, threshold in zip(finders, thresholds, strict=True)
    ]
    ours, threshold = finders[0], thresholds[0]
    scale = calibrate(ours, truth, rows["validation"])
    results[0]["calibration"] = calibration(ours, truth, test, scale)
    per_dataset = seen.bounds(setup, truth, test)
    evaluation = {
        "kind": "peaks",
        "target": task.target,
        "model": task.model,
        "min_photons": setup.least,
        "radius": RADIUS,
        "merge": MERGE,
        "n": {side: len(rows[side]) for side in SIDES},
        "results": results,
        "bounds": [pooled(per_dataset, results[0]["per_dataset"])],
        "controls": controls(setup, ours, threshold, truth, seen.bare, water),
        "worst": worst(setup, ours, threshold, truth, test),
        "example": seen.example(setup, ours, threshold, truth),
        "notes": list(task.notes),
    }
    return evaluation, predictions(setup, ours, threshold, truth, test, scale)


class Look:
    """Read the frames of validation and test once; keep what finders and bound need of them."""

    def __init__(
        self,
        setup: PeakSetup,
        finders: list[Finder],
        truth: dict[int, Spots],
        rows: dict[str, list[int]],
    ) -> None:
        self.widths: dict[int, NDArray[np.float64]] = {}
        self.bare: dict[int, Any] = {}
        self._levels: dict[str, tuple[NDArray[np.float64], int]] = {}
        self._mask: NDArray[np.bool_] | None = None
        for row in [*rows["validation"], *rows["test"]]:
            image, mask = setup.images.read(row)
            for finder in finders:
                finder.found[row] = finder.find(image, mask)
            if row in set(rows["test"]):
                self._keep(setup, finders[0], truth[row], row, image, mask)

    def _keep(
        self,
        setup: PeakSetup,
        finder: Finder,
        spots: Spots,
        row: int,
        image: NDArray[Any],
        mask: NDArray[np.bool_],
    ) -> None:
        signal = setup.signal(row)
        self._mask = mask
        if signal is None:
            self.widths[row] = np.full(len(spots.photons), np.nan)
        else:
            self.widths[row] = width_of(signal, spots)
            left = np.where(image > signal, image - np.minimum(signal, image), 0)
            self.bare[row] = finder.find(left, mask)
        name = str(setup.frames.dataset[row])
        total, count = self._levels.get(name, (np.zeros(image.shape), 0))
        self._levels[name] = (total + background_map(image, mask), count + 1)

    def bounds(
        self, setup: PeakSetup, truth: dict[int, Spots], test: list[int]
    ) -> dict[str, dict[str, float]]:
        """Return the best F1 of each dataset; those without spots of known width are left out."""
        found = {}
        for name, (total, count) in self._levels.items():
            own = [row for row in test if str(setup.frames.dataset[row]) == name]
            width = np.concatenate([self.widths[row] for row in own])
            if not np.isfinite(width).any() or self._mask is None:
                continue
            sigma = max(float(np.nanmedian(width)) ** 2 - 1 / 12, 0.0025) ** 0.5
            spots = [truth[row] for row in own]
            zones = zones_of(total / count, self._mask, spots)
            bound = best_f1(zones, len(own), sigma)
            if bound is not None:
                found[name] = {
                    "f1": bound.f1,
                    "precision": bound.precision,
                    "recall": bound.recall,
                    "sigma": sigma,
                    "background": float(np.mean([zone.background for zone in zones])),
                }
        return found

    def example(
        self, setup: PeakSetup, finder: Finder, threshold: float, truth: dict[int, Spots]
    ) -> dict[str, Any] | None:
        """Return the part of a test frame with the most true spots, and what was found there."""
        rows = [row for row in setup.frames.rows("test").tolist() if len(truth[row].photons)]
        if not rows:
            return None
        row = max(rows, key=lambda row: len(truth[row].photons))
        image, _ = setup.images.read(row)
        cells = np.floor(truth[row].place[:, ::-1] / EXAMPLE).astype(np.int64)
        cells = cells[((cells >= 0) & (cells < np.array(image.shape) // EXAMPLE)).all(1)]
        corner = np.zeros(2, np.int64)
        if len(cells):
            known, count = np.unique(cells, axis=0, return_counts=True)
            corner = known[np.argmax(count)] * EXAMPLE
        ss, fs = corner.tolist()
        peaks = chosen(finder.found[row], threshold)
        partner, _ = assign(peaks.place, truth[row].place)
        within = [
            ((place >= [fs, ss]) & (place < [fs + EXAMPLE, ss + EXAMPLE])).all(1)
            for place in (truth[row].place, peaks.place)
        ]
        return {
            "dataset": str(setup.frames.dataset[row]),
            "index": int(setup.frames.index[row]),
            "fs": fs,
            "ss": ss,
            "photons": image[ss : ss + EXAMPLE, fs : fs + EXAMPLE].astype(int).tolist(),
            "true": truth[row].place[within[0]].tolist(),
            "found": peaks.place[within[1]].tolist(),
            "matched": (partner[within[1]] >= 0).tolist(),
        }


def zones_of(
    background: NDArray[np.float64], mask: NDArray[np.bool_], spots: list[Spots]
) -> list[Zone]:
    """Return zones of equally many pixels by rising background, with the spots of all frames."""
    place = np.concatenate([own.place for own in spots])
    photons = np.concatenate([own.photons for own in spots])
    edges = np.quantile(background[mask], np.linspace(0, 1, ZONES + 1)[1:-1])
    at = np.floor(place[:, ::-1]).astype(np.int64)
    at = np.clip(at, 0, np.array(background.shape) - 1)
    of_spot = np.searchsorted(edges, background[at[:, 0], at[:, 1]], side="right")
    level = background[mask]
    of_pixel = np.searchsorted(edges, level, side="right")
    size = np.bincount(of_pixel, minlength=ZONES)
    total = np.bincount(of_pixel, level, minlength=ZONES)
    return [
        Zone(float(total[k] / size[k]), float(size[k]), photons[of_spot == k])
        for k in range(ZONES)
        if size[k]
    ]


def pooled(
    per_dataset: dict[str, dict[str, float]], ours: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the bound over all datasets that have one, each at its own best threshold."""
    matched = found = true = 0.0
    for name, bound in per_dataset.items():
        right = bound["recall"] * ours[name]["true"]
        matched += right
        found += right / max(bound["precision"], 1e-9)
        true += ours[name]["true"]
    return {
        "name": "matched_likelihood",
        "explained": "a finder that knows the shape and strengths of spots and the expected "
        "background, and orders all sites by the likelihood ratio",
        "f1": f1_of(matched, found, true) if true else None,
        "per_dataset": per_dataset,
    }


def worst(
    setup: PeakSetup, ours: Finder, threshold: float, truth: dict[int, Spots], test: list[int]
) -> list[dict[str, Any]]:
    """Return the test frames with the most false and missing peaks."""
    counts = counted(ours, threshold, truth, test)
    wrong = counts.found + counts.true - 2 * counts.matched
    order = [row for row in np.argsort(-wrong, kind="stable").tolist() if wrong[row]]
    return [
        {
            "dataset": str(setup.frames.dataset[test[row]]),
            "index": int(setup.frames.index[test[row]]),
            "true": int(counts.true[row]),
            "found": int(counts.found[row]),
            "matched": int(counts.matched[row]),
        }
        for row in order[:WORST]
    ]


def calibrate(finder: Finder, truth: dict[int, Spots], rows: list[int]) -> tuple[float, float]:
    """Return slope and shift of a logit that make it a probability (Platt, 1999).

    The targets are softened after Platt, so that few peaks do not make for certainty.
    """
    score, right = judged(finder, truth, rows)
    if not len(score):
        return 1.0, 0.0
    hits = right.sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

    def loss(scale: NDArray[np.float64]) -> float:
        logit = scale[0] * score + scale[1]
        return float((np.logaddexp(0, logit) - target * logit).sum())

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x.tolist()
    # A slope below 0 would turn the order round.
    return (slope, shift) if slope > 0 else (1.0, 0.0)


def probability(score: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.float64]:
    """Return the calibrated probability that a peak is a true spot."""
    return np.asarray(1 / (1 + np.exp(-np.clip(scale[0] * score + scale[1], -50, 50))))


def judged(
    finder: Finder, truth: dict[int, Spots], rows: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the score of all peaks of some frames, and which have a true spot for a partner."""
    right = [assign(finder.found[row].place, truth[row].place)[0] >= 0 for row in rows]
    score = [finder.found[row].score for row in rows]
    return np.concatenate(score), np.concatenate(right)


def calibration(
    finder: Finder, truth: dict[int, Spots], rows: list[int], scale: tuple[float, float]
) -> dict[str, Any]:
    """Return how far said probabilities are from what was true, by tenths of probability."""
    score, right = judged(finder, truth, rows)
    said = probability(score, scale)
    tenth = np.minimum((10 * said).astype(np.int64), 9)
    bins = [
        {"said": float(said[own].mean()), "true": float(right[own].mean()), "n": int(own.sum())}
        for own in (tenth == k for k in range(10))
        if own.any()
    ]
    error = sum(abs(one["said"] - one["true"]) * one["n"] for one in bins) / max(len(said), 1)
    return {"slope": scale[0], "shift": scale[1], "error": error, "bins": bins}


def predictions(
    setup: PeakSetup,
    ours: Finder,
    threshold: float,
    truth: dict[int, Spots],
    test: list[int],
    scale: tuple[float, float],
) -> dict[str, NDArray[Any]]:
    """Return the columns of `predictions.parquet`: one row a found peak."""
    peaks = [chosen(ours.found[row], threshold) for row in test]
    count = [len(own.score) for own in peaks]
    partner = [assign(own.place, truth[row].place)[0] for own, row in zip(peaks, test, strict=True)]
    place = np.concatenate([own.place for own in peaks])
    return {
        "dataset": np.repeat(setup.frames.dataset[test], count),
        "index": np.repeat(setup.frames.index[test], count),
        "fs": place[:, 0],
        "ss": place[:, 1],
        "intensity": np.concatenate([own.intensity for own in peaks]),
        "score": probability(np.concatenate([own.score for own in peaks]), scale),
        "matched": np.concatenate(partner) >= 0,
    }
