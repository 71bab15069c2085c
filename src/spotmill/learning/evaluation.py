"""Evaluation: the model, classical baselines and controls on the frames nobody trained on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spotmill.learning.baselines import baseline
from spotmill.learning.controls import equal_expectation, judge, run_control, shuffled_labels
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.metrics import Outcome, summary
from spotmill.learning.setup import Setup
from spotmill.learning.training import predict
from spotmill.splits import SIDES

# Errors named in the evaluation, the most confident first.
WORST = 6


def evaluate(
    setup: Setup, network: nn.Module, water: Path, source: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network.

    Parameters
    ----------
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
    classical = baseline(task.target, setup.view)
    measured = np.stack([classical.measure(image, mask) for _, image, mask in encoded.scan()])
    said, probability, threshold = judge(
        lambda side: predict(network, encoded, frames.rows(side), task.batch_size),
        frames.truth[frames.rows("validation")],
        task,
    )
    score = probability[:, 1] if task.target == "hit" else None
    ours = Outcome(task.model, "model", said, score, threshold)
    test = frames.rows("test")
    outcomes = [ours, *classical.judge(measured, frames)]
    evaluation = {
        "target": task.target,
        "model": task.model,
        "classes": list(frames.classes),
        "n": {side: len(frames.rows(side)) for side in SIDES},
        "threshold": threshold,
        "results": [
            summary(outcome, frames.truth[test], frames.dataset[test], frames.classes)
            for outcome in outcomes
        ],
        "controls": controls(setup, encoded, water, source),
        "worst": worst(setup, said, probability),
        "notes": list(task.notes),
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


def controls(
    setup: Setup, encoded: EncodedFrames, water: Path, source: str
) -> list[dict[str, Any]]:
    """Run both controls."""
    task, frames = setup.task, setup.frames
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
    return [first, second]


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
                f"control {control['name']}: {control['correct']} of {control['n']} right where "
                f"chance is {control['chance']:.2f}; {control['what'].partition(': ')[2]}"
            )
    return None
