"""Evaluations of tasks of peaks: found peaks beside true spots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.report.evaluations import read_history, read_json
from spotmill.report.quality import Calibration
from spotmill.report.stored import Interval, Stored
from spotmill.report.verdict import Verdict


class Scores(Stored):
    """Found peaks of some frames beside their true spots; no value without a denominator."""

    n: int = Field(ge=0)
    true: int = Field(ge=0)
    found: int = Field(ge=0)
    matched: int = Field(ge=0)
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f1: float | None
    f1_interval: Interval | None


class Point(Stored):
    """A point of the curve of precision and recall."""

    threshold: float
    precision: float
    recall: float


class Strength(Stored):
    """How many spots of at least so many photons were found."""

    low: float = Field(alias="from")
    n: int
    found: int
    interval: Interval | None = None


class Localisation(Stored):
    """Errors of place of found spots, pixels."""

    n: int
    median: float | None
    close: float | None = Field(alias="within_0.3")


class PeakResult(Scores):
    """A model or a classical finder on the test frames."""

    name: str
    what: str
    explained: str = ""
    per_dataset: dict[str, Scores]
    per_photons: list[Strength]
    localisation: Localisation
    curve: list[Point]
    calibration: Calibration | None = None


class PeakBound(Stored):
    """The best that counting statistics allow."""

    name: str
    explained: str
    f1: float | None
    per_dataset: dict[str, dict[str, float]]


class PeakControl(Stored):
    """A run in which no peak can be right but by luck."""

    name: str
    what: str
    n: int
    matched: int
    found: int
    true: int
    f1: float | None = None
    chance: float
    false_per_frame: float | None = None
    at_chance: bool


class Example(Stored):
    """A part of a test frame."""

    dataset: str
    index: int
    fs: int
    ss: int
    photons: list[list[int]]
    true: list[tuple[float, float]]
    found: list[tuple[float, float]]
    matched: list[bool]


class PeakEvaluation(Stored):
    """The whole of `evaluation.json` of kind `peaks`; the first result is the model's."""

    kind: Literal["peaks"]
    task: str
    target: str
    model: str
    min_photons: float
    radius: float
    n: dict[str, int]
    results: list[PeakResult] = Field(min_length=1)
    bounds: list[PeakBound]
    controls: list[PeakControl]
    example: Example | None
    notes: list[str]
    held_out: tuple[str, ...] = ()

    @property
    def ours(self) -> PeakResult:
        """The trained model."""
        return self.results[0]

    @property
    def bound(self) -> float | None:
        """The bound on F1 over all datasets."""
        return self.bounds[0].f1 if self.bounds else None


@dataclass(frozen=True)
class PeakTask:
    """An evaluation with the card and the history of the model it is of."""

    evaluation: PeakEvaluation
    card: dict[str, Any]
    history: pd.DataFrame

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.evaluation.task


def is_of_peaks(folder: Path) -> bool:
    """Return whether an evaluation folder is of peaks."""
    return read_json(folder / "evaluation.json").get("kind") == "peaks"


def read_peaks(evaluations: Sequence[Path], models: Sequence[Path]) -> list[PeakTask]:
    """Read evaluation folders of peaks and the model folders that belong to them.

    Raises
    ------
    SpotmillError
        When a file is missing or wrong, or a task has no model folder.
    """
    folders = {read_json(folder / "model.json").get("task"): folder for folder in models}
    tasks = []
    for folder in evaluations:
        path = folder / "evaluation.json"
        evaluation = PeakEvaluation.parse(read_json(path), path)
        model = folders.get(evaluation.task)
        if model is None:
            raise SpotmillError(
                f"{path}: task {evaluation.task!r} has no model folder; name it with --model"
            )
        tasks.append(
            PeakTask(
                evaluation, read_json(model / "model.json"), read_history(model / "history.csv")
            )
        )
    return tasks


def judge_peaks(evaluation: PeakEvaluation) -> Verdict:
    """Judge a finder: controls at chance, and not below the classical finder."""
    ours = evaluation.ours
    problems = [
        f"the control “{control.name}” finds {control.matched} of {control.true} spots, more than "
        "by chance"
        if control.true
        else f"the control “{control.name}” finds {control.found} peaks where there are none"
        for control in evaluation.controls
        if not control.at_chance
    ]
    best = max(evaluation.results[1:], key=lambda result: result.f1 or 0.0, default=None)
    if not ours.matched:
        problems.append("no peak was found")
    if best and best.f1_interval and ours.f1_interval and ours.f1_interval[1] < best.f1_interval[0]:
        problems.append(
            f"below the classical finder “{best.name}” (F1 {best.f1:.3f}) by more than the "
            "intervals"
        )
    if ours.calibration is not None and not ours.calibration.holds:
        problems.append(ours.calibration.words)
    if problems:
        return Verdict(False, tuple(problems))
    reasons = ["controls at chance"]
    if best and best.f1 is not None:
        reasons.append(f"not below “{best.name}” (F1 {best.f1:.3f})")
    if evaluation.bound is not None:
        reasons.append(f"counting statistics allow F1 {evaluation.bound:.3f} (an estimate)")
    return Verdict(True, tuple(reasons))
