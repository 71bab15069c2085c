"""Evaluation: the model, classical baselines and controls on the frames nobody trained on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spotmill.learning.baselines import baseline
from spotmill.learning.calibration import Calibration
from spotmill.learning.controls import equal_expectation, run_control, shuffled_labels
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.metrics import Outcome, share, summary
from spotmill.learning.reliability import before_and_after
from spotmill.learning.setup import Setup
from spotmill.learning.signal_removed import NO_PEAKS, signal_removed
from spotmill.learning.training import predict
from spotmill.splits import SIDES

# Errors named in the evaluation, the most confident first.
WORST = 6


def evaluate(
    setup: Setup, network: nn.Module, calibration: Calibration, water: Path, source: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network.

    Parameters
    ----------
    calibration
        From the model's card; nothing is fitted or chosen here.
    water
        Shard with the expected water for the control of equal expectation.
    source
        Names the task in messages.

    Returns
    -------
    evaluation
        What `evaluation.json` holds, but for times.
    predictions
        Columns of `predictions.parquet`.
    """
    task, frames = setup.task, setup.frames
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
    classical = baseline(task.target)
    measured = np.stack(
        [classical.measure(image, mask, setup.views.of(row)) for row, image, mask in encoded.scan()]
    )
    test = frames.rows("test")
    raw, truth = predict(network, encoded, test, task.batch_size), frames.truth[test]
    probability = calibration.apply(raw)
    said = calibration.said(probability)
    score = probability[:, 1] if task.target == "hit" else None
    ours = Outcome(task.model, "model", said, score, calibration.threshold)
    results = [
        summary(
            outcome,
            truth,
            frames.dataset[test],
            frames.classes,
            None if frames.n_spots is None else frames.n_spots[test],
        )
        for outcome in (ours, *classical.judge(measured, frames))
    ]
    results[0]["calibration"] = before_and_after(calibration, raw, truth, task.seed)
    if calibration.alarm is not None:
        results[0]["at_alarm_rate"] = at_alarm_rate(
            calibration, probability[:, 1], truth, frames.blank[test]
        )
    tried, notes = controls(setup, network, calibration, encoded, water, source)
    evaluation = {
        "target": task.target,
        "model": task.model,
        "classes": list(frames.classes),
        "n": {side: len(frames.rows(side)) for side in SIDES},
        "threshold": calibration.threshold,
        "results": results,
        "controls": tried,
        "worst": worst(setup, said, probability),
        "notes": [*task.notes, *notes],
    }
    names = np.array(frames.classes)
    predictions = {
        "dataset": frames.dataset[test],
        "index": frames.index[test],
        "truth": names[frames.truth[test]],
        "said": names[said],
        **{f"score_{number}": probability[:, number] for number in range(len(names))},
    }
    return evaluation, predictions


def at_alarm_rate(
    calibration: Calibration,
    score: NDArray[np.float64],
    truth: NDArray[np.int64],
    blank: NDArray[np.bool_],
) -> dict[str, Any]:
    """Return recall at the threshold of a fixed rate of false alarms, and that rate as it is.

    Parameters
    ----------
    score, truth, blank : [n] of the test frames
    """
    alarm = calibration.alarm
    assert alarm is not None
    said = score >= alarm.threshold
    return {
        "rate": alarm.rate,
        "threshold": alarm.threshold,
        "n_validation": alarm.n,
        "false_alarms": share(int(said[blank].sum()), int(blank.sum())),
        "recall": share(int(said[truth == 1].sum()), int((truth == 1).sum())),
    }


def controls(
    setup: Setup,
    network: nn.Module,
    calibration: Calibration,
    encoded: EncodedFrames,
    water: Path,
    source: str,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the controls; return what they say, and what a reader should know of them."""
    task, frames = setup.task, setup.frames
    removed = signal_removed(setup, network, calibration) if task.target == "hit" else None
    notes = [NO_PEAKS] if task.target == "hit" and removed is None else []
    shuffled = shuffled_labels(task, frames, encoded, setup.condition, setup.dimensions)
    first = run_control(
        "shuffled_labels",
        "the same frames under permuted labels: above chance, test labels leak into training",
        task,
        shuffled,
        source,
    )
    # The frames of the first control are needed no more, those of the second come now.
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
    return [first, second, *([removed] if removed else [])], notes


def worst(
    setup: Setup, said: NDArray[np.int64], probability: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the errors that gave the truth the least probability."""
    frames, test = setup.frames, setup.frames.rows("test")
    truth = frames.truth[test]
    given = probability[np.arange(len(test)), truth]
    wrong = np.flatnonzero(said != truth)
    order = wrong[np.argsort(given[wrong], kind="stable")][:WORST]
    return [
        {
            "dataset": str(frames.dataset[test[row]]),
            "index": int(frames.index[test[row]]),
            "truth": frames.classes[truth[row]],
            "said": frames.classes[said[row]],
            "score": float(given[row]),
        }
        for row in order.tolist()
    ]


def complaint(evaluation: dict[str, Any]) -> str | None:
    """Return one sentence on the first control that is clearly off chance, or None."""
    for control in evaluation["controls"]:
        if not control["at_chance"]:
            return (
                f"control {control['name']}: {control['correct']} of {control['n']} "
                f"{control.get('counts', 'right')} where chance is {control['chance']:.2f}; "
                f"{control['what'].partition(': ')[2]}"
            )
    return None
