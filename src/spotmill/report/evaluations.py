"""What was trained and how it did: evaluation and model folders, read and checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.formats.digests import is_altered
from spotmill.model import read_text
from spotmill.report.quality import AtAlarmRate, Calibration, PrecisionRecall, Roc, Spots
from spotmill.report.stored import Interval, Share, Stored


class DatasetResult(Stored):
    """Right answers within one dataset."""

    n: int = Field(ge=0)
    correct: int = Field(ge=0)
    interval: Interval | None = None


class Result(Stored):
    """A model or a classical baseline on the test frames."""

    name: str
    what: str
    n: int = Field(ge=1)
    correct: int = Field(ge=0)
    accuracy: float
    interval: Interval
    confusion: list[list[int]]
    per_dataset: dict[str, DatasetResult]
    explained: str = ""
    recall: Share | None = None
    specificity: Share | None = None
    auroc: float | None = None
    auroc_interval: Interval | None = None
    average_precision: float | None = None
    roc: Roc | None = None
    precision_recall: PrecisionRecall | None = None
    per_spots: tuple[Spots, ...] = ()
    calibration: Calibration | None = None
    at_alarm_rate: AtAlarmRate | None = None

    @property
    def majority(self) -> float:
        """Accuracy of always naming the commonest class, or any, where the test has but one."""
        most = max(sum(row) for row in self.confusion)
        return most / self.n if most < self.n else 1 / len(self.confusion)


class Control(Stored):
    """A run that must come out at chance, because there is nothing to learn."""

    name: str
    what: str
    n: int = Field(ge=1)
    correct: int = Field(ge=0)
    accuracy: float
    interval: Interval
    chance: float
    at_chance: bool
    counts: str = "right"
    confusion: list[list[int]] = Field(default_factory=list)

    def chance_words(self, classes: Sequence[str]) -> str:
        """Return how chance comes about: how often each class was true, and how often said."""
        if self.counts != "right" or len(self.confusion) != len(classes):
            return ""
        true = [sum(row) for row in self.confusion]
        said = [sum(column) for column in zip(*self.confusion, strict=True)]
        counts = zip(classes, true, said, strict=True)
        return ", ".join(f"{name} true {a} and said {b} times" for name, a, b in counts)


class Worst(Stored):
    """One of the answers that were most wrong, or least sure."""

    dataset: str
    index: int
    truth: str
    said: str
    score: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether the answer differs from the truth."""
        return self.truth != self.said


class Evaluation(Stored):
    """The whole of `evaluation.json`; `results` holds the model, then the baselines."""

    task: str
    target: str
    model: str
    classes: list[str] = Field(min_length=2)
    n: dict[str, int]
    results: list[Result] = Field(min_length=1)
    controls: list[Control]
    worst: list[Worst]
    notes: list[str]
    held_out: tuple[str, ...] = ()
    threshold: float | None = None

    @property
    def ours(self) -> Result:
        """The trained model."""
        return self.results[0]

    @property
    def baselines(self) -> Sequence[Result]:
        """The classical methods on the same frames."""
        return self.results[1:]


@dataclass(frozen=True)
class Task:
    """An evaluation with the card and the history of the model it is of."""

    evaluation: Evaluation
    card: dict[str, Any]
    history: pd.DataFrame

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.evaluation.task


def read_tasks(evaluations: Sequence[Path], models: Sequence[Path]) -> list[Task]:
    """Read evaluation folders and the model folders that belong to them.

    Raises
    ------
    SpotmillError
        When a file is missing or wrong, or a task has not both folders.
    """
    cards = {}
    for folder in models:
        card = read_json(folder / "model.json")
        name = card.get("task")
        if not isinstance(name, str):
            raise SpotmillError(f"{folder / 'model.json'}: task: is required; train again")
        cards[name] = (card, folder)
    tasks = []
    for folder in evaluations:
        path = folder / "evaluation.json"
        evaluation = Evaluation.parse(read_json(path), path)
        _check_confusion(evaluation, path)
        if evaluation.task not in cards:
            raise SpotmillError(
                f"{path}: task {evaluation.task!r} has no model folder; name it with --model"
            )
        card, model_folder = cards.pop(evaluation.task)
        tasks.append(Task(evaluation, card, read_history(model_folder / "history.csv")))
    for name, (_, folder) in cards.items():
        raise SpotmillError(
            f"{folder}: task {name!r} has no evaluation folder; name it with --evaluation"
        )
    return tasks


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object."""
    try:
        text = read_text(path)
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpotmillError(f"{path}: line {error.lineno}: is not valid JSON; remake it") from error
    except (ValueError, RecursionError) as error:
        raise SpotmillError(
            f"{path}: nests too deep or holds too long a number; remake it"
        ) from error
    if not isinstance(values, dict):
        raise SpotmillError(f"{path}: does not hold one JSON object; remake it")
    if is_altered(text.encode()):
        raise SpotmillError(f"{path}: is not as it was written; remake it")
    return values


def read_history(path: Path) -> pd.DataFrame:
    """Read `history.csv`, one row an epoch."""
    if not path.is_file():
        raise SpotmillError(f"{path}: no such file; train the task again")
    try:
        history = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise SpotmillError(f"{path}: is not a CSV table; train the task again") from error
    for column in ("epoch", "train_loss", "validation_loss"):
        if column not in history.columns:
            raise SpotmillError(f"{path}: lacks the column {column!r}; train the task again")
        if not pd.api.types.is_numeric_dtype(history[column]):
            raise SpotmillError(f"{path}: {column}: is not all numbers; train the task again")
    return history


def _check_confusion(evaluation: Evaluation, path: Path) -> None:
    size = len(evaluation.classes)
    for result in evaluation.results:
        if len(result.confusion) != size or any(len(row) != size for row in result.confusion):
            raise SpotmillError(
                f"{path}: results: {result.name}: confusion is not {size} x {size}, as the "
                "classes; evaluate again"
            )
        if sum(map(sum, result.confusion)) != result.n:
            raise SpotmillError(
                f"{path}: results: {result.name}: confusion does not add up to n = {result.n}; "
                "evaluate again"
            )
        if sum(row[i] for i, row in enumerate(result.confusion)) != result.correct:
            raise SpotmillError(
                f"{path}: results: {result.name}: correct is not {result.correct} in its "
                "confusion; evaluate again"
            )
