"""What a report comes to, in numbers: to be kept and compared with the next one's."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field

from spotmill import __version__
from spotmill.changes import geometry_values
from spotmill.errors import SpotmillError
from spotmill.model import parse_yaml
from spotmill.report.evaluations import Task
from spotmill.report.flux import FluxTask, judge_flux
from spotmill.report.inputs import Inputs
from spotmill.report.peaks import PeakTask, judge_peaks
from spotmill.report.stored import Interval, Share, Stored
from spotmill.report.values import ValueTask, judge_values
from spotmill.report.verdict import Verdict, judge

# Stages that change no number of frames and models.
SILENT = ("check", "report", "saliency", "gallery", "card", "crate", "cost", "tune")


class Metric(Stored):
    """A figure of merit with its 95 % interval, of `n` frames (of peaks: see `of`)."""

    value: float
    interval: Interval
    n: int = Field(ge=0)
    of: str = "frames"
    unit: str = ""
    more_is_better: bool = True


class TaskSummary(Stored):
    """A task: which model, whether its verdict was good, its thresholds and metrics by name."""

    model: str
    good: bool
    n: dict[str, int]
    threshold: float | None = None
    metrics: dict[str, Metric]


class DatasetSummary(Stored):
    """Frames of a dataset."""

    patterns: int = Field(ge=0)
    empties: int = Field(ge=0)
    hits: int = Field(ge=0)


class Summary(Stored):
    """A report in numbers; configuration is the values of every file by its name, if known."""

    version: str
    recipes: dict[str, str] | None
    datasets: dict[str, DatasetSummary]
    tasks: dict[str, TaskSummary]
    configuration: dict[str, dict[str, Any]] | None = None

    @property
    def digest(self) -> str:
        """A name made of the content."""
        return digest(self.model_dump(mode="json"))


def digest(values: Any) -> str:
    """Return a short name of plain values, the same for the same content."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def summarise(inputs: Inputs, recipes: Mapping[str, str]) -> Summary:
    """Return what a report comes to; `recipes` are those that its provenance names."""
    return Summary(
        version=__version__,
        recipes={name: value for name, value in recipes.items() if name not in SILENT},
        datasets=count_datasets(inputs.manifest, list(inputs.datasets)),
        tasks=summarise_tasks([*inputs.tasks, *inputs.values, *inputs.peaks, *inputs.flux]),
        configuration={name: values_of(name, text) for name, text in inputs.texts.items()},
    )


def count_datasets(manifest: pd.DataFrame, names: Sequence[str]) -> dict[str, DatasetSummary]:
    """Return the numbers of frames of datasets."""
    found = {}
    for name in names:
        rows = manifest[manifest["dataset"] == name]
        patterns = rows["kind"] == "crystal"
        found[name] = DatasetSummary(
            patterns=int(patterns.sum()),
            empties=int((~patterns).sum()),
            hits=int(rows["is_hit"].sum()),
        )
    return found


def values_of(name: str, text: str) -> dict[str, Any]:
    """Return what a file of the configuration says, comments and layout left out."""
    if name.endswith(".geom"):
        return geometry_values(text)
    if name.endswith(".tsv"):
        return sheet_values(text)
    try:
        values = parse_yaml(text, name)
    except SpotmillError:
        values = None
    if not isinstance(values, dict):
        return {"text": digest(text)}
    # How a report is made is no part of what it says.
    plain = json.loads(json.dumps(values, default=str))
    return {key: value for key, value in plain.items() if key != "report"}


def sheet_values(text: str) -> dict[str, Any]:
    """Return the rows of a sheet of datasets by name, empty cells left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return {}
    header, *rows = [[cell.strip() for cell in line.split("\t")] for line in lines]
    found = {}
    for row in rows:
        cells = {key: cell for key, cell in zip(header, row, strict=False) if cell}
        found[cells.pop("dataset", "")] = cells
    return found


AnyTask = Task | ValueTask | PeakTask | FluxTask


def summarise_tasks(tasks: Sequence[AnyTask]) -> dict[str, TaskSummary]:
    """Return the figures of merit of tasks."""
    return {task.name: summarise_task(task) for task in tasks}


def summarise_task(task: AnyTask) -> TaskSummary:
    """Return the figures of merit of a task, of whichever kind."""
    verdict, metrics = of_kind(task)
    calibration = task.card.get("calibration")
    threshold = calibration.get("threshold") if isinstance(calibration, dict) else None
    if isinstance(task, Task) and task.evaluation.threshold is not None:
        threshold = task.evaluation.threshold
    return TaskSummary(
        model=task.evaluation.model,
        good=verdict.good,
        n=dict(task.evaluation.n),
        threshold=threshold if isinstance(threshold, int | float) else None,
        metrics={name: metric for name, metric in metrics.items() if metric is not None},
    )


def of_kind(task: AnyTask) -> tuple[Verdict, dict[str, Metric | None]]:
    """Return the verdict on a task, and its metrics."""
    if isinstance(task, ValueTask):
        return judge_values(task.evaluation), of_values(task)
    if isinstance(task, PeakTask):
        return judge_peaks(task.evaluation), of_peaks(task)
    if isinstance(task, FluxTask):
        return judge_flux(task.evaluation), of_flux(task)
    return judge(task), of_classes(task)


def of_classes(task: Task) -> dict[str, Metric | None]:
    """Return the metrics of a task of classes."""
    ours = task.evaluation.ours
    alarm = ours.at_alarm_rate
    found = {
        "accuracy": Metric(value=ours.accuracy, interval=ours.interval, n=ours.n),
        "recall": of_share(ours.recall),
        "specificity": of_share(ours.specificity),
        "AUROC": estimate(ours.auroc, ours.auroc_interval, ours.n),
        "recall at few false alarms": of_share(alarm.recall) if alarm else None,
    }
    if ours.calibration is not None:
        after = ours.calibration.after
        found["calibration error"] = Metric(
            value=after.error, interval=after.interval, n=after.n, more_is_better=False
        )
    return found


def of_values(task: ValueTask) -> dict[str, Metric | None]:
    """Return the metrics of a task of values."""
    ours = task.evaluation.ours
    return {
        "error": Metric(
            value=ours.rmse,
            interval=ours.interval,
            n=ours.n,
            unit=task.evaluation.unit,
            more_is_better=False,
        ),
        "error over limit": Metric(
            value=ours.over_limit.value,
            interval=ours.over_limit.interval,
            n=ours.n,
            unit="times the limit",
            more_is_better=False,
        ),
        "nearest": of_share(ours.nearest),
    }


def of_peaks(task: PeakTask) -> dict[str, Metric | None]:
    """Return the metrics of a task of peaks; their intervals are over frames."""
    ours = task.evaluation.ours
    return {
        "F1": estimate(ours.f1, ours.f1_interval, ours.n),
        "precision": estimate(ours.precision, ours.precision_interval, ours.n),
        "recall": estimate(ours.recall, ours.recall_interval, ours.n),
    }


def of_flux(task: FluxTask) -> dict[str, Metric | None]:
    """Return the metrics of a task at several fluxes."""
    found: dict[str, Metric | None] = {}
    for point in task.evaluation.ours.flux:
        where = f"at flux {point.flux:g}"
        n = point.n_hit + point.n_no_hit
        found[f"AUROC {where}"] = estimate(point.auroc, point.interval, n)
        found[f"recall {where}"] = of_share(point.recall)
        found[f"specificity {where}"] = of_share(point.specificity)
    return found


def estimate(value: float | None, interval: Interval | None, n: int) -> Metric | None:
    """Return a metric; None where it or its interval is unknown."""
    if value is None or interval is None:
        return None
    return Metric(value=value, interval=interval, n=n)


def of_share(share: Share | None) -> Metric | None:
    """Return a share of frames as a metric."""
    return None if share is None else estimate(share.value, share.interval, share.n)
