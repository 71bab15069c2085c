"""Evaluations of kind `flux`, hits at several fluxes, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.report.evaluations import Control, read_history, read_json
from spotmill.report.quality import AtAlarmRate, Calibration, PrecisionRecall, Roc, Spots
from spotmill.report.stored import Interval, Share, Stored
from spotmill.report.verdict import Verdict


class InDataset(Stored):
    """What a score tells at one flux within one dataset."""

    n_hit: int
    n_no_hit: int
    auroc: float | None
    interval: Interval | None


class AtFlux(Stored):
    """What a score tells at one flux; recall and specificity where there is a threshold."""

    flux: float
    n_hit: int
    n_no_hit: int
    auroc: float | None
    interval: Interval | None
    per_dataset: dict[str, InDataset]
    recall: Share | None = None
    specificity: Share | None = None
    average_precision: float | None = None
    roc: Roc | None = None
    precision_recall: PrecisionRecall | None = None
    per_spots: tuple[Spots, ...] = ()
    at_alarm_rate: AtAlarmRate | None = None


class FluxResult(Stored):
    """The model, a baseline or a bound at all fluxes."""

    name: str
    explained: str = ""
    flux: list[AtFlux] = Field(min_length=1)
    calibration: Calibration | None = None


class FluxEvaluation(Stored):
    """The whole of `evaluation.json` of kind `flux`; the first result is the model's."""

    kind: Literal["flux"]
    task: str
    target: str
    model: str
    classes: list[str] = Field(default_factory=list)
    flux: list[float]
    n: dict[str, int]
    results: list[FluxResult] = Field(min_length=1)
    bounds: list[FluxResult]
    controls: list[Control]
    notes: list[str]
    held_out: tuple[str, ...] = ()

    @property
    def ours(self) -> FluxResult:
        """The trained model."""
        return self.results[0]


@dataclass(frozen=True)
class FluxTask:
    """An evaluation with card and history."""

    evaluation: FluxEvaluation
    card: dict[str, Any]
    history: pd.DataFrame

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.evaluation.task


def is_of_flux(folder: Path) -> bool:
    """Return whether an evaluation folder is of kind `flux`."""
    return read_json(folder / "evaluation.json").get("kind") == "flux"


def read_flux(evaluations: Sequence[Path], models: Sequence[Path]) -> list[FluxTask]:
    """Read evaluation folders of kind `flux`, with their model folders among `models`.

    Raises
    ------
    SpotmillError
        When a file is missing or wrong.
    """
    folders = {read_json(folder / "model.json").get("task"): folder for folder in models}
    tasks = []
    for folder in evaluations:
        path = folder / "evaluation.json"
        evaluation = FluxEvaluation.parse(read_json(path), path)
        model = folders.get(evaluation.task)
        if model is None:
            raise SpotmillError(
                f"{path}: task {evaluation.task!r} has no model folder; name it with --model"
            )
        card, history = read_json(model / "model.json"), read_history(model / "history.csv")
        tasks.append(FluxTask(evaluation, card, history))
    return tasks


def judge_flux(evaluation: FluxEvaluation) -> Verdict:
    """Judge a model of hits at low flux: controls at chance, nowhere below the blind bound."""
    problems = [
        f"the control “{control.name}” is off chance"
        for control in evaluation.controls
        if not control.at_chance
    ]
    if not evaluation.controls:
        problems.append("no control was run, so nothing shows that the result is honest")
    blind = [bound for bound in evaluation.bounds if bound.name == "blind"]
    for ours, bound in zip(evaluation.ours.flux, blind[0].flux if blind else [], strict=False):
        if ours.interval and bound.auroc is not None and ours.interval[1] < bound.auroc:
            problems.append(f"below the blind bound at flux {ours.flux:g}")
    calibration = evaluation.ours.calibration
    if calibration is not None and not calibration.holds:
        problems.append(calibration.words)
    if problems:
        return Verdict(False, tuple(problems))
    words = "at no flux below the blind bound by more than the interval"
    if not blind:
        words = "no bound was computed"
    return Verdict(True, ("controls at chance", words))
