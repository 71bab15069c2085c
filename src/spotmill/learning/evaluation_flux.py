"""Evaluation of hits at several fluxes: the model, baselines, bounds and controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import nn

from spotmill.learning.controls import (
    FAIL_LEVEL,
    equal_expectation,
    run_control,
    shuffled_labels,
)
from spotmill.learning.dimmed import DimmedFiles, DimmedFrames, without_signal
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.evaluation import WORST
from spotmill.learning.flux_bounds import Bounds
from spotmill.learning.metrics import choose_threshold, confusion_matrix, share, wilson
from spotmill.learning.setup import Setup
from spotmill.learning.training import predict
from spotmill.physics.detection import auroc, auroc_interval, stratified_auroc, stratified_interval
from spotmill.splits import SIDES

BASELINES = {
    "largest_pixel": "photons in the brightest pixel",
    "bright_pixels": "pixels of 2 photons and more",
    "total_photons": "photons of the whole frame",
}
BOUNDS = {
    "blind": "knows background, flux, and how often which signal occurs in a pixel, not where",
    "oracle": "knows background, flux and the expected signal of every pixel of the frame",
}
# Bins of the table of calibration.
BINS = 10


def evaluate_flux(
    setup: Setup,
    network: nn.Module,
    water: Sequence[Path],
    reflections: Sequence[Path],
    source: str,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network at all fluxes of its task.

    Parameters
    ----------
    water
        Shards of expected water: the first is that of the control of equal expectation; the
        bounds need one of each dataset.
    reflections
        Of all crystals; without any there are no bounds.
    source
        Names the task in messages.

    Returns
    -------
    evaluation
        What `evaluation.json` holds.
    predictions
        Columns of `predictions.parquet`.
    """
    task, frames = setup.task, setup.frames
    assert isinstance(frames, DimmedFrames) and frames.flux is not None
    bounds = None
    if reflections:
        bounds = Bounds(frames, water, reflections, task.flux, task.seed)
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
    measured = np.zeros((len(BASELINES), len(frames)))
    bound = {name: np.full((len(frames), len(task.flux)), np.nan) for name in BOUNDS}
    for row, image, mask in encoded.scan():
        live = image[mask]
        measured[:, row] = live.max(), np.count_nonzero(live >= 2), live.sum(dtype=np.int64)
        if bounds is not None and frames.side[row] == "test":
            for name, told in bounds.score(row, image).items():
                bound[name][row] = told
    logit = np.full(len(frames), np.nan)
    for side in ("validation", "test"):
        rows = frames.rows(side)
        logit[rows] = logits(predict(network, encoded, rows, task.batch_size))
    known = frames.rows("validation")
    slope, offset = calibrate(logit[known], frames.truth[known])
    probability = expit(slope * logit + offset)
    threshold = choose_threshold(probability[known], frames.truth[known], preferred=0.5)
    scores = {task.model: probability} | dict(zip(BASELINES, measured, strict=True))
    results = []
    for name, score in scores.items():
        ours = name == task.model
        least = threshold if ours else choose_threshold(score[known], frames.truth[known])
        result: dict[str, Any] = {
            "name": name,
            "what": "model" if ours else "baseline",
            "explained": "" if ours else BASELINES[name],
            "threshold": least,
            "flux": [at_flux(frames, share, score, least) for share in task.flux],
        }
        if ours:
            result["calibration"] = calibration(frames, probability, (slope, offset))
        results.append(result)
    test = frames.rows("test")
    evaluation = {
        "kind": "flux",
        "target": task.target,
        "model": task.model,
        "classes": list(frames.classes),
        "flux": list(task.flux),
        "n": {side: distinct(frames, frames.rows(side)) for side in SIDES},
        "threshold": threshold,
        "results": results,
        "bounds": [
            {
                "name": name,
                "explained": BOUNDS[name],
                "flux": [
                    at_flux(frames, share, bound[name][:, column], None)
                    for column, share in enumerate(task.flux)
                ],
            }
            for name in (BOUNDS if bounds is not None else ())
        ],
        "controls": controls(setup, network, encoded, water[0], threshold, (slope, offset), source),
        "worst": worst(frames, probability, threshold),
        "notes": list(task.notes),
    }
    names = np.array(frames.classes)
    said = (probability[test] >= threshold).astype(np.int64)
    predictions = {
        "dataset": frames.dataset[test],
        "index": frames.index[test],
        "flux": frames.flux[test],
        "truth": names[frames.truth[test]],
        "said": names[said],
        "score_0": 1.0 - probability[test],
        "score_1": probability[test],
    }
    return evaluation, predictions


def logits(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits [n] of probabilities [n, 2]."""
    return np.asarray(np.log(probability[:, 1] + 1e-300) - np.log(probability[:, 0] + 1e-300))


def distinct(frames: DimmedFrames, rows: NDArray[np.int64]) -> int:
    """Return how many frames rows are of, whatever their flux."""
    return len(set(zip(frames.dataset[rows].tolist(), frames.index[rows].tolist(), strict=True)))


def at_flux(
    frames: DimmedFrames, flux: float, score: NDArray[np.float64], threshold: float | None
) -> dict[str, Any]:
    """Return what a score tells of the test frames at one flux; recall only with a threshold."""
    rows = np.flatnonzero((frames.side == "test") & frames.at(flux) & np.isfinite(score))
    hit, other = (rows[frames.truth[rows] == truth] for truth in (1, 0))
    said: dict[str, Any] = {"flux": flux, "n_hit": len(hit), "n_no_hit": len(other)}
    parts = {
        str(name): (
            score[hit[frames.dataset[hit] == name]],
            score[other[frames.dataset[other] == name]],
        )
        for name in np.unique(frames.dataset[rows])
    }
    said |= compare(list(parts.values()))
    said["per_dataset"] = {
        name: {"n_hit": len(part[0]), "n_no_hit": len(part[1]), **compare([part])}
        for name, part in parts.items()
    }
    if threshold is not None:
        said["recall"] = share(int((score[hit] >= threshold).sum()), len(hit))
        said["specificity"] = share(int((score[other] < threshold).sum()), len(other))
    return said


Part = tuple[NDArray[np.float64], NDArray[np.float64]]


def compare(parts: Sequence[Part], level: float = 0.95) -> dict[str, Any]:
    """Return the AUROC over pairs of a hit and another frame of one dataset, and its interval.

    Pairs across datasets say which dataset has more hits, not what a frame shows. Datasets
    are weighted by their hits; those with fewer than two frames of a class are left out.
    """
    known = [part for part in parts if min(map(len, part)) >= 2]
    if not known:
        return {"auroc": None, "interval": None}
    if len(known) == 1:
        return {"auroc": auroc(*known[0]), "interval": list(auroc_interval(*known[0], level))}
    return {
        "auroc": stratified_auroc(known),
        "interval": list(stratified_interval(known, level)),
    }


def calibrate(logit: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope and offset that turn logits into probabilities of best likelihood.

    Platt, Advances in Large Margin Classifiers, 61 (1999), with its prior of one frame more
    in each class, which keeps the slope finite where the classes do not overlap.
    """
    hits, others = int(truth.sum()), int(len(truth) - truth.sum())
    wanted = np.where(truth == 1, (hits + 1) / (hits + 2), 1 / (others + 2))
    spread = max(float(np.median(np.abs(logit - np.median(logit)))), 1e-9)
    x = np.clip((logit - np.median(logit)) / spread, -1e3, 1e3)

    def loss(line: NDArray[np.float64]) -> float:
        z = np.exp(line[0]) * x + line[1]
        return float((np.logaddexp(0, z) - wanted * z).sum())

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6}).x
    slope = float(np.exp(found[0]) / spread)
    return slope, float(found[1] - slope * np.median(logit))


def calibration(
    frames: DimmedFrames, probability: NDArray[np.float64], line: tuple[float, float]
) -> dict[str, Any]:
    """Return how often frames of like probability are hits, all fluxes together."""
    test = frames.rows("test")
    said, truth = probability[test], frames.truth[test]
    place = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    table, error = [], 0.0
    for number in np.unique(place).tolist():
        own = place == number
        n, hits = int(own.sum()), int(truth[own].sum())
        mean = float(said[own].mean())
        error += n / len(test) * abs(mean - hits / n)
        table.append({"said": mean, "n": n, "hits": hits, "interval": wilson(hits, n)})
    return {"slope": line[0], "offset": line[1], "error": error, "table": table}


def controls(
    setup: Setup,
    network: nn.Module,
    encoded: EncodedFrames,
    water: Path,
    threshold: float,
    line: tuple[float, float],
    source: str,
) -> list[dict[str, Any]]:
    """Run the controls of hits, and one more: the same frames without the crystals' photons."""
    task, frames = setup.task, setup.frames
    assert isinstance(frames, DimmedFrames)
    removed = signal_removed(setup, network, threshold, line)
    shuffled = shuffled_labels(task, frames, encoded, setup.condition, setup.dimensions)
    first = run_control(
        "shuffled_labels",
        "the same frames under permuted labels: above chance, test labels leak into training",
        task,
        shuffled,
        source,
    )
    encoded.forget()
    shuffled.frames.forget()
    second = run_control(
        "equal_expectation",
        "fresh photons of one expected water image under random labels: above chance, "
        "noise is learnt by heart",
        task,
        equal_expectation(task, frames, setup.encoder, setup.dimensions, water),
        source,
    )
    return [first, second, removed]


def signal_removed(
    setup: Setup, network: nn.Module, threshold: float, line: tuple[float, float]
) -> dict[str, Any]:
    """Show the network the test frames without any photon of a crystal."""
    frames = setup.frames
    assert isinstance(frames, DimmedFrames)
    dark = without_signal(frames)
    # Every frame once.
    rows = dark.rows("test")
    rows = rows[
        np.unique(
            list(zip(dark.dataset[rows], dark.index[rows], strict=True)), axis=0, return_index=True
        )[1]
    ]
    files = DimmedFiles(dark)
    encoded = EncodedFrames(files, setup.encoder, dark.truth)
    logit = logits(predict(network, encoded, rows, setup.task.batch_size))
    files.close()
    score, truth = expit(line[0] * logit + line[1]), dark.truth[rows]
    said = (score >= threshold).astype(np.int64)
    matrix = confusion_matrix(truth, said, 2)
    n, correct = len(rows), int(np.trace(matrix))
    names = dark.dataset[rows]
    parts = [
        (score[(truth == 1) & (names == name)], score[(truth == 0) & (names == name)])
        for name in np.unique(names)
    ]
    told = compare(parts)
    low, high = compare(parts, FAIL_LEVEL)["interval"] or (0.0, 1.0)
    return {
        "name": "signal_removed",
        "what": "the test frames without a photon of their crystals: above chance, something "
        "else than the crystal gives hits away",
        "n": n,
        "n_train": 0,
        "epochs": 0,
        "correct": correct,
        "accuracy": correct / n,
        "interval": wilson(correct, n),
        "chance": float((matrix.sum(0) * matrix.sum(1)).sum() / n**2),
        "confusion": matrix.tolist(),
        "auroc": told["auroc"],
        "auroc_interval": told["interval"],
        "at_chance": low <= 0.5 <= high,
    }


def worst(
    frames: DimmedFrames, probability: NDArray[np.float64], threshold: float
) -> list[dict[str, Any]]:
    """Return the errors that gave the truth the least probability, the brightest flux first."""
    assert frames.flux is not None
    test = frames.rows("test")
    truth, score = frames.truth[test], probability[test]
    given = np.where(truth == 1, score, 1 - score)
    said = (score >= threshold).astype(np.int64)
    wrong = np.flatnonzero(said != truth)
    order = wrong[np.lexsort([given[wrong], -frames.flux[test][wrong]])][:WORST]
    return [
        {
            "dataset": str(frames.dataset[test[row]]),
            "index": int(frames.index[test[row]]),
            "flux": float(frames.flux[test[row]]),
            "truth": frames.classes[truth[row]],
            "said": frames.classes[said[row]],
            "score": float(given[row]),
        }
        for row in order.tolist()
    ]
