"""Evaluation of finders of peaks: the model, a classical finder, and the bound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.peak_calibration import LEAST_SAID, PeakCalibration, peak_reliability
from spotmill.learning.peak_candidates import block_background, interpolated
from spotmill.learning.peak_controls import controls
from spotmill.learning.peak_results import Finder, chosen, counted, result, threshold_of, width_of
from spotmill.learning.peaks import PeakSetup
from spotmill.physics.peak_bound import Zone, best_f1
from spotmill.physics.peak_finding import Criteria, Peaks, find_peaks
from spotmill.physics.peak_scoring import MERGE, RADIUS, Spots, assign, f1_of
from spotmill.progress import track
from spotmill.splits import SIDES

WORST = 6
# Frames of which more is read than the peaks, at most; validation frames that choose the
# threshold of the classical finder, at most.
LOOKED = 400
KEPT = 4  # peaks of the classical finder in memory for each true spot
ZONES = 4
EXAMPLE = 64  # pixels, edge of the part of a frame that is shown


def evaluate_peaks(
    setup: PeakSetup, network: Any, calibration: PeakCalibration, water: Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network that finds peaks.

    Parameters
    ----------
    calibration
        From the model's card; for the network nothing is fitted or chosen here.
    water
        Shard with the expected water for the control of equal expectation.

    Returns
    -------
    evaluation
        What `evaluation.json` holds, but for the task's name.
    predictions
        Columns of `predictions.parquet`.
    """
    task, frames = setup.task, setup.frames

    def classically(row: int) -> Callable[[NDArray[Any], NDArray[np.bool_]], Peaks]:
        radius = setup.views.of(row).radius
        return lambda image, mask: find_peaks(image, mask, radius, Criteria())

    ours = Finder(task.model, "model", "", network.find)
    classical = Finder(
        "radial_background",
        "baseline",
        "pixels above the background at their radius, joined where they touch; ratio of signal "
        "to noise above a threshold",
        classically(0),
        of_row=classically,
    )
    finders = [ours, classical]
    rows = {side: frames.rows(side).tolist() for side in SIDES}
    truth = {row: setup.strong(row) for side in ("validation", "test") for row in rows[side]}
    threshold, floor = classical_thresholds(setup, classical, truth, spread(rows["validation"]))
    thresholds = [calibration.threshold, threshold]
    floors = [min(calibration.threshold, calibration.score(LEAST_SAID)), floor]
    seen = Look(setup, finders, floors, truth, rows["test"])
    test, dataset = rows["test"], frames.dataset[rows["test"]]
    results = [
        result(finder, threshold, truth, seen.widths, test, dataset)
        for finder, threshold in zip(finders, thresholds, strict=True)
    ]
    threshold = calibration.threshold
    results[0]["calibration"] = peak_reliability(calibration, ours, truth, test, task.seed)
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
    return evaluation, predictions(setup, ours, calibration, truth, test)


def spread(rows: list[int], most: int = LOOKED) -> list[int]:
    """Return some of the rows, evenly over all, so that every dataset has its share."""
    if len(rows) <= most:
        return rows
    return [rows[at] for at in np.linspace(0, len(rows) - 1, most).round().astype(int).tolist()]


def classical_thresholds(
    setup: PeakSetup, finder: Finder, truth: dict[int, Spots], rows: list[int]
) -> tuple[float, float]:
    """Return the threshold of the best F1 on some frames, and the score of the last peak kept.

    Kept are `KEPT` times as many peaks as there are true spots: more say nothing of a finder.
    """
    for row in track(rows, "validation frames"):
        finder.found[row] = finder.find_in(row, *setup.images.read(row))
    threshold = threshold_of(finder, truth, rows)
    score = np.sort(np.concatenate([finder.found[row].score for row in rows]))[::-1]
    last = KEPT * max(sum(len(truth[row].photons) for row in rows), 1)
    finder.found.clear()
    return threshold, min(threshold, float(score[:last].min(initial=threshold)))


class Look:
    """Read the test frames once; keep what results and bound need of them.

    Of a frame only peaks and widths stay in memory. Where there are many frames, `LOOKED` of
    them show what the Bragg photons alone and the background are like.
    """

    def __init__(
        self,
        setup: PeakSetup,
        finders: list[Finder],
        floors: list[float],
        truth: dict[int, Spots],
        test: list[int],
    ) -> None:
        self.widths: dict[int, NDArray[np.float64]] = {}
        self.bare: dict[int, Peaks] = {}
        self._levels: dict[str, tuple[NDArray[np.float64], int]] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}
        looked = set(spread(test))
        for row in track(test, "test frames"):
            image, mask = setup.images.read(row)
            for finder, floor in zip(finders, floors, strict=True):
                finder.found[row] = chosen(finder.find_in(row, image, mask), floor)
            self.widths[row] = np.full(len(truth[row].photons), np.nan)
            if row in looked:
                self._keep(setup, finders[0], floors[0], truth[row], row, image, mask)

    def _keep(
        self,
        setup: PeakSetup,
        finder: Finder,
        floor: float,
        spots: Spots,
        row: int,
        image: NDArray[Any],
        mask: NDArray[np.bool_],
    ) -> None:
        signal = setup.signal(row)
        if signal is not None:
            self.widths[row] = width_of(signal, spots)
            left = np.maximum(image, signal) - signal
            self.bare[row] = chosen(finder.find(left, mask), floor)
        name = str(setup.frames.dataset[row])
        self._masks[name] = mask
        total, count = self._levels.get(name, (0.0, 0))
        self._levels[name] = (total + block_background(image, mask), count + 1)

    def bounds(
        self, setup: PeakSetup, truth: dict[int, Spots], test: list[int]
    ) -> dict[str, dict[str, float]]:
        """Return the best F1 of each dataset; those without spots of known width are left out."""
        found = {}
        for name, (total, count) in self._levels.items():
            own = [row for row in test if str(setup.frames.dataset[row]) == name]
            width = np.concatenate([self.widths[row] for row in own])
            if not np.isfinite(width).any():
                continue
            mask = self._masks[name]
            sigma = max(float(np.nanmedian(width)) ** 2 - 1 / 12, 0.0025) ** 0.5
            spots = [truth[row] for row in own]
            level = interpolated(total / count, (mask.shape[0], mask.shape[1]))
            zones = zones_of(level, mask, spots)
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


def predictions(
    setup: PeakSetup,
    ours: Finder,
    calibration: PeakCalibration,
    truth: dict[int, Spots],
    test: list[int],
) -> dict[str, NDArray[Any]]:
    """Return the columns of `predictions.parquet`: one row a found peak."""
    peaks = [chosen(ours.found[row], calibration.threshold) for row in test]
    count = [len(own.score) for own in peaks]
    partner = [assign(own.place, truth[row].place)[0] for own, row in zip(peaks, test, strict=True)]
    place = np.concatenate([own.place for own in peaks])
    return {
        "dataset": np.repeat(setup.frames.dataset[test], count),
        "index": np.repeat(setup.frames.index[test], count),
        "fs": place[:, 0],
        "ss": place[:, 1],
        "intensity": np.concatenate([own.intensity for own in peaks]),
        "score": calibration.probability(np.concatenate([own.score for own in peaks])),
        "matched": np.concatenate(partner) >= 0,
    }
