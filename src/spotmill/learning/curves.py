"""ROC and precision-recall curves of a score, with as few points as show them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# In double precision and for any score, counts too; torchmetrics has neither.
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from spotmill.physics.detection import auroc_interval

# A point left out lies no further than this from the line between its neighbours.
TOLERANCE = 0.002


def curves(score: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Return both curves with their summaries; null where a class has no frame.

    Parameters
    ----------
    score, truth : [n] the larger the likelier class 1; 0 or 1
    """
    found: dict[str, Any] = dict.fromkeys(
        ("auroc", "auroc_interval", "average_precision", "roc", "precision_recall")
    )
    hit, other = score[truth == 1], score[truth == 0]
    if not len(hit) or not len(other):
        return found
    found["auroc"] = float(roc_auc_score(truth, score))
    found["average_precision"] = float(average_precision_score(truth, score))
    if min(len(hit), len(other)) >= 2:
        found["auroc_interval"] = list(auroc_interval(hit, other))
    alarm, recall, threshold = roc_curve(truth, score)
    keep = thinned(alarm, recall)
    found["roc"] = {
        "false_alarm": alarm[keep].tolist(),
        "recall": recall[keep].tolist(),
        "threshold": finite(threshold[keep]),
    }
    precision, recall, threshold = precision_recall_curve(truth, score)
    keep = thinned(recall, precision)
    found["precision_recall"] = {
        "recall": recall[keep].tolist(),
        "precision": precision[keep].tolist(),
        "threshold": finite(np.append(threshold, np.inf)[keep]),
    }
    return found


def finite(threshold: NDArray[np.float64]) -> list[float | None]:
    """Return thresholds; null for the point where nothing is called class 1."""
    return [float(value) if np.isfinite(value) else None for value in threshold]


def thinned(x: NDArray[np.floating], y: NDArray[np.floating]) -> list[int]:
    """Return the points that a curve needs to stay within the tolerance.

    Ramer, Comput. Graph. Image Process. 1, 244 (1972); Douglas & Peucker (1973).
    """
    points = np.column_stack([x, y]).astype(np.float64)
    keep = {0, len(points) - 1}
    open_parts = [(0, len(points) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        chord, inner = points[last] - points[first], points[first + 1 : last] - points[first]
        length = max(float(chord @ chord), 1e-300)
        along = np.clip(inner @ chord / length, 0, 1)
        off = np.hypot(*(inner - along[:, None] * chord).T)
        far = first + 1 + int(off.argmax())
        if off.max() > TOLERANCE:
            keep.add(far)
            open_parts += [(first, far), (far, last)]
    return sorted(keep)
