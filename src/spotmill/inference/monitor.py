"""What a stream of frames is like over time, and whether it drifts."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic, write_text
from spotmill.inference.drift import BLOCK, FALSE_ALARMS, QUANTITIES, Alarm, Charts
from spotmill.inference.ledger import Ledger
from spotmill.inference.monitor_page import Page, render
from spotmill.inference.tables import shown
from spotmill.inference.time_bins import TimeBins

PAGE, BINS, SUMMARY = "watch.html", "monitor.csv", "watch.json"
NAMES = tuple(quantity.name for quantity in QUANTITIES)
# Frames that "now" means.
LATEST = 200
# Failures that the summary names.
MOST_FAILURES = 1000
REPLAYED_AT_ONCE = 50_000

Columns = Mapping[str, NDArray[np.float64]]


class Monitor:
    """Sums frames up by time and watches for drift; what it holds does not grow with the stream."""

    def __init__(
        self,
        title: str,
        block: int = BLOCK,
        false_alarms: float = FALSE_ALARMS,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._title, self._facts = title, dict(facts or {})
        self._block, self._false_alarms = block, false_alarms
        self._charts = Charts(block, false_alarms)
        self._bins = TimeBins()
        self._latest: deque[tuple[float, ...]] = deque(maxlen=LATEST)
        self._by: dict[str, int] = {}
        self.alarms: list[Alarm] = []
        self.newest = -np.inf
        self.frames = self.hits = 0

    def replay(self, ledger: Ledger) -> None:
        """Take all frames of a ledger, as if they had just been done."""
        columns = [*NAMES, "time", "time_by", "late"]
        while rows := ledger.frames(self.frames, columns, REPLAYED_AT_ONCE):
            found = list(zip(*rows, strict=True))
            values = {
                name: np.array(column, dtype=float)
                for name, column in zip(NAMES, found, strict=False)
            }
            times = _seconds(found[-3])
            self.take(values, times, np.array(found[-1], dtype=bool), found[-2])

    def add(self, rows: Sequence[Mapping[str, Any]]) -> list[Alarm]:
        """Take the next rows of the table; return the alarms."""
        if not rows:
            return []
        values = {name: np.array([float(row[name]) for row in rows]) for name in NAMES}
        times = np.array(
            [np.nan if row["time"] is None else row["time"].timestamp() for row in rows]
        )
        late = np.array([row["late"] for row in rows], dtype=bool)
        return self.take(values, times, late, [row["time_by"] for row in rows])

    def take(
        self,
        values: Columns,
        times: NDArray[np.float64],
        late: NDArray[np.bool_],
        by: Sequence[str],
    ) -> list[Alarm]:
        """Take frames in their order; return the alarms.

        Parameters
        ----------
        values
            By name of a quantity, [n].
        times
            s since 1970; NaN where nobody knows.
        late
            Frames that are older than others before them: they are no news of the stream.
        """
        rows = np.arange(self.frames, self.frames + len(times))
        self.frames += len(times)
        self.hits += int(values["is_hit"].sum())
        for one in set(by):
            self._by[one] = self._by.get(one, 0) + sum(other == one for other in by)
        known = np.isfinite(times)
        self._bins.add({name: column[known] for name, column in values.items()}, times[known])
        if known.any():
            self.newest = max(self.newest, float(times[known].max()))
        fresh = ~late
        here = {name: column[fresh] for name, column in values.items()}
        self._latest.extend(zip(*(here[name][-LATEST:] for name in NAMES), strict=True))
        alarms = self._charts.add(here, rows[fresh], times[fresh])
        self.alarms += alarms
        return alarms

    def last(self) -> str:
        """Return what the latest frames are like, in words."""
        return "".join(
            f", {quantity.words} {quantity.shown(value)}"
            for quantity, value in zip(QUANTITIES, self._means(), strict=True)
            if np.isfinite(value)
        )

    def _means(self) -> list[float]:
        if not self._latest:
            return [np.nan] * len(NAMES)
        latest = np.array(self._latest)
        return [
            float(np.mean(column[np.isfinite(column)])) if np.isfinite(column).any() else np.nan
            for column in latest.T
        ]

    def write(
        self,
        folder: Path,
        line: str,
        failures: Mapping[str, Mapping[int, str]],
        removed: int = 0,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write page, table and summary; return the summary.

        Parameters
        ----------
        line
            How the stream stands; empty where it has ended, and the page need not reload.
        failures
            Why files and events could not be read.
        more
            To be in the summary as well.
        """
        table = self._bins.table()
        flat: list[dict[str, Any]] = [
            {"file": path, "event": None if event < 0 else event, "why": why}
            for path, events in failures.items()
            for event, why in events.items()
        ]
        summary = {
            "frames": self.frames,
            "hits": self.hits,
            "failed": len(flat),
            "removed": removed,
            "alarms": len(self.alarms),
            "block": self._block,
            "false_alarms": self._false_alarms,
            "times_by": {name: self._by[name] for name in sorted(self._by) if name},
            "failures": flat[:MOST_FAILURES],
            **(more or {}),
            **self._facts,
        }
        with atomic(folder / BINS) as temporary:
            printed = table.assign(
                start=[shown(_date(start)) for start in table["start"]] if len(table) else []
            )
            printed.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
        page = Page(
            title=self._title,
            line=line or f"frames {self.frames}, hits {self.hits}",
            is_live=bool(line),
            table=table,
            alarms=self.alarms,
            latest=dict(zip(NAMES, self._means(), strict=True)),
            latest_frames=len(self._latest),
            times_by=summary["times_by"],
            failures=[one["why"] for one in flat],
            false_alarms=self._false_alarms,
            block=self._block,
        )
        write_text(folder / PAGE, render(page))
        write_text(folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
        return summary


def _seconds(texts: Sequence[str | None]) -> NDArray[np.float64]:
    known = np.array(["NaT" if text is None else text[:23] for text in texts], "datetime64[ms]")
    return np.where(np.isnat(known), np.nan, known.astype(np.int64) / 1000.0)


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
