"""Which test frames (or peaks) are asked why: the most certain, the worst, one in doubt."""

from typing import Any

import numpy as np
import pandas as pd

from spotmill.tasks import Task


def choose(
    task: Task, said: pd.DataFrame, threshold: float | None
) -> list[tuple[str, dict[str, Any]]]:
    """Return why, and what is predicted of a frame (a peak); the first of equals, none twice.

    Parameters
    ----------
    said
        `predictions.parquet` of the task's evaluation.
    threshold
        Of hits: the probability from which a frame is one.
    """
    if task.target == "peaks":
        asked = _peaks(said)
    elif task.scale == "values":
        asked = _values(said)
    else:
        asked = _classes(task, said, threshold)
    chosen: list[tuple[str, int]] = []
    for why, rank in asked:
        rank = rank[np.isfinite(rank)].drop([row for _, row in chosen], errors="ignore")
        if len(rank):
            chosen.append((why, int(rank.index[int(rank.to_numpy().argmin())])))
    rows = said.to_dict("index")
    return [(why, {str(k): v for k, v in rows[row].items()}) for why, row in chosen]


def _classes(
    task: Task, said: pd.DataFrame, threshold: float | None
) -> list[tuple[str, "pd.Series[float]"]]:
    score = said.filter(regex=r"^score_\d+$").to_numpy()
    right = said["said"] == said["truth"]
    if task.target == "hit":
        hit = said["truth"] == "hit"
        given = pd.Series(np.where(hit, score[:, 1], score[:, 0]), said.index)
        doubt = pd.Series(abs(score[:, 1] - (0.5 if threshold is None else threshold)), said.index)
        certain, sure = right & hit, "the most certain of the hits that are right"
    else:
        ordered = np.sort(score, axis=1)
        # Of the class that was said, the rest being what was not given to the truth.
        given = pd.Series(np.where(right, ordered[:, -1], 1 - ordered[:, -1]), said.index)
        doubt = pd.Series(ordered[:, -1] - ordered[:, -2], said.index)
        certain, sure = right, "the most certain of those that are right"
    return [
        (sure, (-given).where(certain)),
        _worst("the worst error", "the least certain of those that are right", given, right),
        (
            "the nearest to the threshold" if task.target == "hit" else "the one most in doubt",
            doubt,
        ),
    ]


def _worst(
    error: str, else_: str, given: "pd.Series[float]", right: "pd.Series[bool]"
) -> tuple[str, "pd.Series[float]"]:
    return (else_, given) if right.all() else (error, given.where(~right))


def _values(said: pd.DataFrame) -> list[tuple[str, "pd.Series[float]"]]:
    off = (said["said"] - said["truth"]).abs()
    return [
        ("the most certain of those that are right", said["sigma"].where(off <= said["sigma"])),
        ("the worst error", -off),
        ("the one most in doubt", -said["sigma"]),
    ]


def _peaks(said: pd.DataFrame) -> list[tuple[str, "pd.Series[float]"]]:
    right = said["matched"].astype(bool)
    return [
        ("the most certain of the peaks that are right", (-said["score"]).where(right)),
        ("the most certain of the false peaks", (-said["score"]).where(~right)),
        ("the least certain of the peaks", said["score"]),
    ]
