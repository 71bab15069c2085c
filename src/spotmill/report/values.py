"""Evaluations of tasks of values: photon energy and camera length with standard deviations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.report.evaluations import read_history, read_json
from spotmill.report.stored import Interval, Share, Stored
from spotmill.report.verdict import Verdict


class Ratio(Stored):
    """A ratio with its 95 % interval."""

    value: float
    interval: Interval


class Part(Stored):
    """Errors and limits in a part of the range of photon energy or camera length."""

    of: str
    low: float
    high: float
    n: int
    rmse: float
    bias: float
    limit: float
    cramer_rao: float


class ValueResult(Stored):
    """A model or a baseline on the test frames."""

    name: str
    what: str
    explained: str = ""
    n: int = Field(ge=1)
    rmse: float
    interval: Interval
    bias: float
    bias_interval: Interval
    nearest: Share
    over_limit: Ratio
    over_cramer_rao: Ratio
    coverage: dict[str, Share] = Field(default_factory=dict)
    per_part: list[Part] = Field(default_factory=list)


class ValueControl(Stored):
    """A training where there is nothing to learn."""

    name: str
    what: str
    n: int
    correlation: float
    interval: Interval
    at_chance: bool


class Runs(Stored):
    """Runs of frames of one truth."""

    frames: int
    source: str
    n: int
    rmse: float
    nearest: Share
    nearest_at_bound: float


class ValueEvaluation(Stored):
    """The whole of `evaluation.json` of kind `values`; the first result is the model's."""

    kind: Literal["values"]
    task: str
    target: str
    model: str
    unit: str
    step: float
    range: dict[str, tuple[float, float]]
    n: dict[str, int]
    results: list[ValueResult] = Field(min_length=1)
    bounds: dict[str, float]
    runs: Runs
    controls: list[ValueControl]
    notes: list[str]
    held_out: tuple[str, ...] = ()

    @property
    def ours(self) -> ValueResult:
        """The trained model."""
        return self.results[0]


@dataclass(frozen=True)
class ValueTask:
    """An evaluation with card, history and predictions."""

    evaluation: ValueEvaluation
    card: dict[str, Any]
    history: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.evaluation.task


def is_of_values(folder: Path) -> bool:
    """Return whether an evaluation folder is of kind `values`."""
    return read_json(folder / "evaluation.json").get("kind") == "values"


def read_values(evaluations: Sequence[Path], models: Sequence[Path]) -> list[ValueTask]:
    """Read evaluation folders of kind `values`, with their model folders among `models`.

    Raises
    ------
    SpotmillError
        When a file is missing or wrong.
    """
    cards = {read_json(folder / "model.json").get("task"): folder for folder in models}
    tasks = []
    for folder in evaluations:
        path = folder / "evaluation.json"
        evaluation = ValueEvaluation.parse(read_json(path), path)
        model = cards.get(evaluation.task)
        if model is None:
            raise SpotmillError(
                f"{path}: task {evaluation.task!r} has no model folder; name it with --model"
            )
        predictions = read_predictions(folder / "predictions.parquet")
        card = read_json(model / "model.json")
        tasks.append(ValueTask(evaluation, card, read_history(model / "history.csv"), predictions))
    return tasks


def read_predictions(path: Path) -> pd.DataFrame:
    """Read truth, answer and standard deviation of the test frames."""
    if not path.is_file():
        raise SpotmillError(f"{path}: no such file; evaluate again")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SpotmillError(f"{path}: is not a Parquet table; evaluate again") from error
    for column in ("dataset", "index", "truth", "said", "sigma"):
        if column not in table.columns:
            raise SpotmillError(f"{path}: lacks the column {column!r}; evaluate again")
    return table


def judge_values(evaluation: ValueEvaluation) -> Verdict:
    """Judge a model of values: controls at chance, better than the mean, near its limit."""
    ours = evaluation.ours
    problems = [
        f"the control “{control.name}” follows what was drawn at random "
        f"(correlation {control.correlation:.2f})"
        for control in evaluation.controls
        if not control.at_chance
    ]
    if not evaluation.controls:
        problems.append("no control was run, so nothing shows that the result is honest")
    guesses = [result for result in evaluation.results if result.name == "mean_value"]
    if guesses and ours.interval[1] >= guesses[0].interval[0]:
        problems.append("no better than always saying the mean of the training frames")
    over = ours.over_limit
    words = (
        f"error {over.value:.3f} times what photons allow "
        f"({over.interval[0]:.3f} to {over.interval[1]:.3f})"
    )
    if over.interval[0] > 1.02:
        problems.append(f"{words}: more than 2 % above")
    if problems:
        return Verdict(False, tuple(problems))
    return Verdict(True, ("controls at chance", "better than the mean", words))
