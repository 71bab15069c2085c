"""What every task said of every test frame, as its evaluation folder has it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.formats.tables import SPLIT, read_table
from spotmill.report.evaluations import read_json
from spotmill.report.stored import Stored

# Dataset, index, share of the full flux on the crystal.
Key = tuple[str, int, float]

_IDENTITY = [pa.field("dataset", pa.string()), pa.field("index", pa.int64())]


class Wrong(Stored):
    """One of the answers that were most wrong, or least sure."""

    dataset: str
    index: int
    flux: float = 1.0
    truth: str | float | None = None
    said: str | float | None = None


class Summary(Stored):
    """What is read of `evaluation.json` of any kind."""

    task: str
    target: str
    kind: Literal["classes", "values", "peaks", "flux"] = "classes"
    classes: tuple[str, ...] = ()
    flux: tuple[float, ...] = (1.0,)
    unit: str = ""
    step: float = Field(0.0, ge=0)
    min_photons: float = 0.0
    worst: tuple[Wrong, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What a task said.

    Attributes
    ----------
    worst
        Frames of the answers that were most wrong, the worst first.
    said
        By frame what the task said of it, as plain values for the page; of a task of peaks
        without the number of true ones, which the frame's truth tells.
    peaks
        By frame the found peaks, for such a task: columns fs, ss, intensity, score, matched.
    sides
        Side of the split of every frame that the task uses.
    """

    task: str
    flux: tuple[float, ...]
    min_photons: float | None
    worst: Sequence[Key]
    said: Mapping[Key, dict[str, Any]]
    peaks: Mapping[tuple[str, int], pd.DataFrame] = field(default_factory=dict)
    sides: Mapping[tuple[str, int], str] = field(default_factory=dict)


def read_answers(evaluations: Sequence[Path], splits: Sequence[Path]) -> list[Answers]:
    """Read evaluation folders and the splits of their tasks, each named after its task.

    Raises
    ------
    SpotmillError
        When a file is missing or broken, or a task has no split.
    """
    files = {path.stem: path for path in splits}
    found = []
    for folder in evaluations:
        path = folder / "evaluation.json"
        summary = Summary.parse(read_json(path), path)
        if summary.task not in files:
            raise SpotmillError(
                f"{path}: task {summary.task!r} has no split; name {summary.task}.parquet "
                "with --split"
            )
        found.append(_answers(summary, folder / "predictions.parquet", files[summary.task]))
    return found


def _answers(summary: Summary, predictions: Path, split: Path) -> Answers:
    names = ["dataset", "index", "split"]
    side = read_table(split, SPLIT).select(names).to_pandas()
    sides = {
        (dataset, index): own
        for dataset, index, own in zip(*(side[name].tolist() for name in names), strict=True)
    }
    worst = [
        (own.dataset, own.index, own.flux)
        for own in summary.worst
        if own.truth is None or own.truth != own.said
    ]
    if summary.kind == "peaks":
        tested = [key for key, own in sides.items() if own == "test"]
        found = _peaks(predictions)
        said = {(*key, 1.0): _found(summary.task, found.get(key)) for key in tested}
        return Answers(summary.task, summary.flux, summary.min_photons, worst, said, found, sides)
    kinds = {"classes": _classes, "flux": _classes, "values": _values}
    said = dict(kinds[summary.kind](summary, predictions))
    return Answers(summary.task, summary.flux, None, worst, said, sides=sides)


def _read(path: Path, fields: Sequence[pa.Field]) -> pd.DataFrame:
    return read_table(path, pa.schema([*_IDENTITY, *fields])).to_pandas()


def _classes(summary: Summary, path: Path) -> Iterable[tuple[Key, dict[str, Any]]]:
    scores = [f"score_{number}" for number in range(len(summary.classes))]
    fields = [pa.field(name, pa.string()) for name in ("truth", "said")]
    fields += [pa.field(name, pa.float64()) for name in scores]
    if summary.kind == "flux":
        fields.append(pa.field("flux", pa.float64()))
    for row in _read(path, fields).to_dict("records"):
        said = row["said"]
        if said not in summary.classes:
            raise SpotmillError(f"{path}: said: {said!r} is no class of its task; evaluate again")
        yield (
            (row["dataset"], row["index"], row.get("flux", 1.0)),
            {
                "task": summary.task,
                "said": said,
                "truth": row["truth"],
                "right": said == row["truth"],
                "score": round(row[scores[summary.classes.index(said)]], 4),
            },
        )


def _values(summary: Summary, path: Path) -> Iterable[tuple[Key, dict[str, Any]]]:
    fields = [pa.field(name, pa.float64()) for name in ("truth", "said", "sigma")]
    for row in _read(path, fields).to_dict("records"):
        off = abs(row["said"] - row["truth"])
        digits = {name: float(f"{row[name]:.5g}") for name in ("said", "truth", "sigma")}
        yield (
            (row["dataset"], row["index"], 1.0),
            {
                "task": summary.task,
                "unit": summary.unit,
                **digits,
                "right": bool(2 * off <= summary.step),
            },
        )


def _peaks(path: Path) -> dict[tuple[str, int], pd.DataFrame]:
    fields = [pa.field(name, pa.float64()) for name in ("fs", "ss", "intensity", "score")]
    table = _read(path, [*fields, pa.field("matched", pa.bool_())])
    return {
        (str(rows["dataset"].iloc[0]), int(rows["index"].iloc[0])): rows
        for _, rows in table.groupby(["dataset", "index"])
    }


def _found(task: str, rows: pd.DataFrame | None) -> dict[str, Any]:
    found = 0 if rows is None else len(rows)
    matched = 0 if rows is None else int(rows["matched"].sum())
    return {"task": task, "found": found, "matched": matched}
