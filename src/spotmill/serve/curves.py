"""Training curves as they grow."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotmill.serve.scan import Entry

MOST_BYTES = 1 << 20  # of a history
MOST_POINTS = 2000
EPOCH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Curve:
    """The history of one training; None where a value is missing."""

    task: str
    goes_on: bool
    changed: float
    epochs: list[int]
    values: dict[str, list[float | None]]

    @property
    def last(self) -> dict[str, float | None]:
        """The values of the last epoch."""
        return {name: values[-1] for name, values in self.values.items()}

    @property
    def best(self) -> float | None:
        """The least validation loss."""
        known = [value for value in self.values.get("validation_loss", []) if value is not None]
        return min(known, default=None)

    def traces(self) -> dict[str, Any]:
        """Return what the chart draws; its colours and axes stand in serve.js."""
        return {
            "task": self.task,
            "goes_on": self.goes_on,
            "epoch": self.epochs,
            "train": self.values.get("train_loss", []),
            "validation": self.values.get("validation_loss", []),
        }


class Curves:
    """Reads histories anew when they changed."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[Path, int, int], Curve | None]] = {}

    def look(self, histories: dict[str, tuple[Entry, Path, bool]]) -> list[Curve]:
        """Return the curves, those that grow first, then the newest."""
        kept = {}
        for task, (entry, path, goes_on) in histories.items():
            key = (path, entry.changed, entry.size)
            before = self._kept.get(task)
            same = before is not None and before[0] == key
            kept[task] = before if before and same else (key, read(task, entry, path, goes_on))
        self._kept = kept
        found = [curve for _, curve in kept.values() if curve is not None]
        return sorted(found, key=lambda one: (not one.goes_on, -one.changed, one.task))


def read(task: str, entry: Entry, path: Path, goes_on: bool) -> Curve | None:
    """Return the curve of a history, or None where there is none to be read."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
        rows = list(csv.DictReader(io.StringIO(text)))
    except (OSError, csv.Error):
        return None
    rows = [row for row in rows if EPOCH.fullmatch(row.get("epoch") or "")]
    if not rows:
        return None
    # Every so many-th epoch of a very long one, and the last.
    step = -(-len(rows) // MOST_POINTS)
    rows = [*rows[:-1:step], rows[-1]]
    names = [name for name in rows[0] if name and name != "epoch"]
    values = {name: [number(row.get(name)) for row in rows] for name in names}
    epochs = [int(row["epoch"]) for row in rows]
    return Curve(task, goes_on, entry.changed / 1e9, epochs, values)


def number(text: str | None) -> float | None:
    """Return a finite number, or None."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
