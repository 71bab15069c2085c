"""Evaluation of hits at several fluxes: the model, baselines, bounds and controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spotmill.learning.calibration import Calibration
from spotmill.learning.curves import curves
from spotmill.learning.dimmed import DimmedFrames
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.evaluation import WORST, at_alarm_rate, controls
from spotmill.learning.flux_bounds import Bounds
from spotmill.learning.metrics import choose_threshold, confusion_matrix, per_spots, share
from spotmill.learning.reliability import before_and_after
from spotmill.learning.setup import Setup
from spotmill.learning.signal_removed import compare
from spotmill.learning.training import predict
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


def evaluate_flux(
    setup: Setup,
    network: nn.Module,
    calibration: Calibration,
    water: Sequence[Path],
    reflections: Sequence[Path],
    source: str,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network at all fluxes of its task.

    Parameters
    ----------
    calibration
        From the model's card, one for all fluxes; nothing is fitted or chosen here.
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
    test, known = frames.rows("test"), frames.rows("validation")
    raw = predict(network, encoded, test, task.batch_size)
    probability, threshold = np.full(len(frames), np.nan), calibration.threshold
    probability[test] = calibration.apply(raw)[:, 1]
    assert threshold is not None
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
        results.append(result)
    truth = frames.truth[test]
    results[0]["calibration"] = before_and_after(
        calibration, raw, truth, task.seed, frame_number(frames, test)
    )
    for point in results[0]["flux"]:
        point |= in_full(frames, point["flux"], probability, calibration)
    tried, notes = controls(setup, network, calibration, encoded, water[0], source)
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
        "controls": tried,
        "worst": worst(frames, probability, threshold),
        "notes": [*task.notes, *notes],
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


def distinct(frames: DimmedFrames, rows: NDArray[np.int64]) -> int:
    """Return how many frames rows are of, whatever their flux."""
    return len(set(zip(frames.dataset[rows].tolist(), frames.index[rows].tolist(), strict=True)))


def frame_number(frames: DimmedFrames, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the frame that each row shows; one frame's rows share it."""
    identity = list(zip(frames.dataset[rows], frames.index[rows], strict=True))
    return np.unique(identity, axis=0, return_inverse=True)[1].ravel()


def in_full(
    frames: DimmedFrames, flux: float, score: NDArray[np.float64], calibration: Calibration
) -> dict[str, Any]:
    """Return what is said of the model alone at one flux: counts, curves, spots, false alarms.

    Curves pool all datasets; the AUROC beside them stays that within datasets.
    """
    assert calibration.threshold is not None
    rows = np.flatnonzero((frames.side == "test") & frames.at(flux))
    truth, own = frames.truth[rows], score[rows]
    said = (own >= calibration.threshold).astype(np.int64)
    drawn = curves(own, truth)
    told: dict[str, Any] = {
        "confusion": confusion_matrix(truth, said, 2).tolist(),
        "per_spots": per_spots(
            said == truth, None if frames.n_spots is None else frames.n_spots[rows]
        ),
        **{key: drawn[key] for key in ("average_precision", "roc", "precision_recall")},
    }
    if calibration.alarm is not None:
        told["at_alarm_rate"] = at_alarm_rate(calibration, own, truth, frames.blank[rows])
    return told


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
