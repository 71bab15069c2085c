"""Controls: the same training where there is nothing to learn, which must end at chance.

`shuffled_labels` permutes the labels within each side of the split, the test side too:
then a label says nothing of its frame, and whoever is right more often than by chance has
seen the test labels on the way (Ojala & Garriga, J. Mach. Learn. Res. 11, 1833, 2010,
test 1). Test labels left in place would not do: frames come in few conditions, and a
model of permuted labels is right or wrong on a whole condition at a time, by luck.

`equal_expectation` draws all frames from one expected image of water and gives them
labels at random: whoever is right has learnt a noise image by heart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.encoders import EncodedFrames, Encoder
from spotmill.learning.frames import Frames, WaterFrames
from spotmill.learning.metrics import choose_threshold, confusion_matrix, wilson
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.training import fit, predict
from spotmill.splits import SIDES
from spotmill.tasks import Task

# A control fails where chance lies outside this interval: of 14 controls, one in 70 runs.
FAIL_LEVEL = 0.999


@dataclass(frozen=True)
class Setting:
    """Frames with labels that mean nothing.

    Attributes
    ----------
    rows
        Of training, validation and test.
    condition : [n] int64
    """

    frames: EncodedFrames
    rows: dict[str, NDArray[np.int64]]
    truth: NDArray[np.int64]
    condition: NDArray[np.int64]
    dimensions: Dimensions


def shuffled_labels(
    task: Task,
    frames: Frames,
    encoded: EncodedFrames,
    condition: NDArray[np.int64],
    dimensions: Dimensions,
) -> Setting:
    """Return the task's own frames under permuted labels, as many as the task allows."""
    rng = np.random.default_rng([task.seed, 1])
    share = min(1.0, (task.controls.frames or len(frames)) / len(frames))
    truth = frames.truth.copy()
    rows = {}
    for side in SIDES:
        own = frames.rows(side)
        chosen = rng.permutation(own)[: max(2, round(share * len(own)))]
        rows[side] = np.sort(chosen)
        truth[rows[side]] = rng.permutation(truth[rows[side]])
    return Setting(encoded.relabel(truth), rows, truth, condition, dimensions)


def equal_expectation(
    task: Task, frames: Frames, encoder: Encoder, dimensions: Dimensions, water: Path
) -> Setting:
    """Return freshly drawn frames of one expected image under balanced random labels."""
    share = min(1.0, (task.controls.frames or len(frames)) / len(frames))
    rows, start = {}, 0
    for side in SIDES:
        count = max(2, round(share * len(frames.rows(side))))
        rows[side] = np.arange(start, start + count)
        start += count
    rng = np.random.default_rng([task.seed, 2])
    truth = rng.permutation(np.arange(start) % len(frames.classes)).astype(np.int64)
    encoded = EncodedFrames(WaterFrames(water, start, task.seed), encoder, truth)
    # Each class stands for the condition that it would be: a model may keep one for each.
    own = Dimensions(dimensions.shape, dimensions.outputs, len(frames.classes))
    return Setting(encoded, rows, truth, truth, own)


def run_control(name: str, what: str, task: Task, setting: Setting, source: str) -> dict[str, Any]:
    """Train and test in a setting; return what `evaluation.json` says of it.

    Chance is the share of right answers expected of the model's own answers if they came
    without regard to the labels: the sum over classes of share in truth x share said.
    """
    epochs = min(task.epochs, task.controls.epochs or task.epochs)
    task = task.model_copy(update={"epochs": epochs})
    trained = fit(
        task,
        setting.frames,
        (setting.rows["train"], setting.rows["validation"]),
        setting.truth,
        setting.condition,
        setting.dimensions,
        f"{source}: control {name}",
    )
    said = judge(
        lambda side: predict(trained.network, setting.frames, setting.rows[side], task.batch_size),
        setting.truth[setting.rows["validation"]],
        task,
    )
    truth = setting.truth[setting.rows["test"]]
    matrix = confusion_matrix(truth, said, max(setting.dimensions.outputs, 2))
    n, correct = len(truth), int(np.trace(matrix))
    chance = float((matrix.sum(0) * matrix.sum(1)).sum() / n**2)
    low, high = wilson(correct, n, FAIL_LEVEL)
    return {
        "name": name,
        "what": what,
        "n": n,
        "n_train": len(setting.rows["train"]),
        "epochs": len(trained.history),
        "correct": correct,
        "accuracy": correct / n,
        "interval": wilson(correct, n),
        "chance": chance,
        "confusion": matrix.tolist(),
        "at_chance": low <= chance <= high,
    }


def judge(
    predicted: Callable[[str], NDArray[np.float64]], validation: NDArray[np.int64], task: Task
) -> NDArray[np.int64]:
    """Return the classes that are said of the test frames.

    Hits from a threshold that validation chooses, else the likeliest class.

    Parameters
    ----------
    predicted
        From a side of the split to probabilities [n, classes].
    validation
        Classes of the validation frames.
    """
    test = predicted("test")
    if task.target != "hit":
        return test.argmax(1)
    threshold = choose_threshold(predicted("validation")[:, 1], validation, preferred=0.5)
    return (test[:, 1] >= threshold).astype(np.int64)
