"""How often a model is right, with counts and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

LEVEL = 0.95
# Frames are counted by their true spots from these numbers on, each up to the next.
SPOTS = (0, 1, 3, 6, 11, 21, 51)


def wilson(correct: int, n: int, level: float = LEVEL) -> list[float]:
    """Return Wilson's score interval of a share; [0, 1] for n = 0.

    E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    if n == 0:
        return [0.0, 1.0]
    # Slow to import, and those who apply a model ask for no interval.
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(confidence_level=level, method="wilson")
    return [float(interval.low), float(interval.high)]


def share(correct: int, n: int) -> dict[str, Any]:
    """Return a share with its count and interval; null for n = 0."""
    return {"value": correct / n if n else None, "n": n, "interval": wilson(correct, n)}


def confusion_matrix(
    truth: NDArray[np.int64], said: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Return counts [truth, said]."""
    # Slow to import, and those who apply a model count nothing.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    matrix = multiclass_confusion_matrix(
        torch.from_numpy(said), torch.from_numpy(truth), num_classes=classes
    )
    return np.asarray(matrix.numpy(), dtype=np.int64)


@dataclass(frozen=True)
class Outcome:
    """What one method said of the test frames.

    Attributes
    ----------
    name, what
        Of the method; `model` or `baseline`.
    said : [n] int64, number of the class
    score : [n] or None
        For hits, the larger the likelier a hit.
    threshold
        For hits, the score from which a frame is called a hit.
    explained
        One sentence on the method.
    """

    name: str
    what: str
    said: NDArray[np.int64]
    score: NDArray[np.float64] | None = None
    threshold: float | None = None
    explained: str = ""


def summary(
    outcome: Outcome,
    truth: NDArray[np.int64],
    dataset: NDArray[np.str_],
    classes: Sequence[str],
    n_spots: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return what `evaluation.json` says of one method.

    Parameters
    ----------
    truth, dataset, n_spots : [n] of the test frames
    """
    right = outcome.said == truth
    n, correct = len(truth), int(right.sum())
    matrix = confusion_matrix(truth, outcome.said, len(classes))
    result: dict[str, Any] = {
        "name": outcome.name,
        "what": outcome.what,
        "explained": outcome.explained,
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "interval": wilson(correct, n),
        "confusion": matrix.tolist(),
        "per_dataset": {str(name): counted(right[dataset == name]) for name in np.unique(dataset)},
        "per_spots": per_spots(right, n_spots),
    }
    if outcome.score is not None:
        from spotmill.learning.curves import curves

        result |= recalled(right, truth)
        result["threshold"] = outcome.threshold
        result |= curves(outcome.score, truth)
        for name, part in result["per_dataset"].items():
            part |= recalled(right[dataset == name], truth[dataset == name])
    return result


def counted(right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return count, right answers and interval of some frames."""
    n, correct = len(right), int(right.sum())
    return {"n": n, "correct": correct, "interval": wilson(correct, n)}


def recalled(right: NDArray[np.bool_], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Return recall and specificity of some frames [n], each with its count and interval."""
    return {
        name: share(int(right[truth == kind].sum()), int((truth == kind).sum()))
        for name, kind in (("recall", 1), ("specificity", 0))
    }


def per_spots(right: NDArray[np.bool_], n_spots: NDArray[np.int64] | None) -> list[dict[str, Any]]:
    """Return right answers by the number of true spots; bins without a frame are left out."""
    if n_spots is None:
        return []
    place = np.searchsorted(SPOTS, n_spots, side="right") - 1
    last = [*(first - 1 for first in SPOTS[1:]), None]
    return [
        {"from": SPOTS[number], "to": last[number], **counted(right[place == number])}
        for number in np.unique(place).tolist()
    ]


def choose_threshold(
    score: NDArray[np.float64], truth: NDArray[np.int64], preferred: float | None = None
) -> float:
    """Return the threshold of best balanced accuracy; a score at or above it is class 1.

    Candidates lie half way between neighbouring scores, and below and above all. Of equal
    ones the nearest to `preferred` is taken, `preferred` itself where it is as good, and
    without it the middle one.
    """
    values = np.unique(score)
    candidates = [(values[0] - 1.0), *((values[1:] + values[:-1]) / 2), values[-1] + 1.0]
    if preferred is not None:
        candidates = sorted([*candidates, preferred])
    grid = np.asarray(candidates, dtype=np.float64)
    hits, others = np.sort(score[truth == 1]), np.sort(score[truth == 0])
    recall = 1.0 - np.searchsorted(hits, grid) / max(len(hits), 1)
    specificity = np.searchsorted(others, grid) / max(len(others), 1)
    balanced = recall + specificity
    best = grid[balanced >= balanced.max() - 1e-12]
    if preferred is None:
        return float(best[len(best) // 2])
    return float(best[np.argmin(np.abs(best - preferred))])
