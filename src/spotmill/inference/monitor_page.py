"""The page of a watch: how the stream stands, as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from spotmill.html_templates import html_templates
from spotmill.inference.drift import QUANTITIES, Alarm, Quantity
from spotmill.report import style
from spotmill.report.style import new_figure, styled, to_png

RELOAD = 5  # s
# What is shown of a long list.
MOST_ALARMS, MOST_FAILURES = 30, 10
# From this age (s) on the page says that nobody writes it any more.
STALE = 90
WIDTH, ROW = 11.0, 1.75  # inches


@dataclass(frozen=True)
class Page:
    """What stands on the page.

    Attributes
    ----------
    table
        A row a bin of time (`TimeBins.table`).
    latest
        Means of the latest frames, by name of a quantity.
    """

    title: str
    line: str
    is_live: bool
    table: pd.DataFrame
    alarms: Sequence[Alarm]
    latest: Mapping[str, float]
    latest_frames: int
    times_by: Mapping[str, int]
    failures: Sequence[str]
    false_alarms: float
    block: int


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = html_templates("spotmill.report")
    now = datetime.now(UTC).astimezone()
    return environment.get_template("watch.html.j2").render(
        page=page,
        reload=RELOAD,
        stale=STALE,
        written=f"{now:%Y-%m-%d %H:%M:%S %Z}",
        written_seconds=int(now.timestamp()),
        picture=base64.b64encode(draw(page)).decode("ascii") if len(page.table) else "",
        rows=[_row(page, quantity) for quantity in QUANTITIES],
        alarms=[(local(alarm.time), alarm.words) for alarm in page.alarms[: -MOST_ALARMS - 1 : -1]],
        hidden=max(len(page.alarms) - MOST_ALARMS, 0),
        failures=page.failures[:MOST_FAILURES],
        more_failures=max(len(page.failures) - MOST_FAILURES, 0),
        bin_words=duration(float(page.table["seconds"].iloc[0])) if len(page.table) else "",
    )


def _row(page: Page, quantity: Quantity) -> dict[str, Any]:
    """Return a quantity's row: the latest frames beside all."""
    name = quantity.name
    mean = "hit_rate" if name == "is_hit" else name
    weights = page.table["frames"].to_numpy(dtype=float)
    values = page.table[mean].to_numpy(dtype=float)
    known = np.isfinite(values)
    whole = float(np.average(values[known], weights=weights[known])) if known.any() else np.nan
    alarm = next((one for one in reversed(page.alarms) if one.quantity == name), None)
    latest = page.latest[name]
    return {
        "name": quantity.words,
        "latest": quantity.shown(latest) if np.isfinite(latest) else "–",
        "whole": quantity.shown(whole) if np.isfinite(whole) else "–",
        "alarm": alarm.words if alarm else "",
    }


def draw(page: Page) -> bytes:
    """Draw the quantities against time, alarms marked; return a PNG."""
    table = page.table
    middle = table["start"] + table["seconds"] / 2
    times = mdates.date2num([datetime.fromtimestamp(one, UTC) for one in middle])
    gaps = np.flatnonzero(np.diff(table["start"]) > 1.5 * table["seconds"].iloc[0]) + 1
    with styled():
        figure = new_figure(WIDTH, ROW * len(QUANTITIES))
        every = figure.subplots(len(QUANTITIES), 1, sharex=True)
        for axes, quantity in zip(every, QUANTITIES, strict=True):
            _draw_one(axes, quantity, table, times, gaps)
            for alarm in page.alarms[-MOST_ALARMS:]:
                if alarm.quantity == quantity.name and np.isfinite(alarm.since_time):
                    at = mdates.date2num(datetime.fromtimestamp(alarm.since_time, UTC))
                    axes.axvline(at, color=style.VERMILION, linewidth=1.4, linestyle="--")
        zone = datetime.now().astimezone().tzinfo
        locator = mdates.AutoDateLocator(tz=zone, minticks=4, maxticks=9)
        every[-1].xaxis.set_major_locator(locator)
        every[-1].xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, tz=zone))
        every[-1].set_xlabel("local time of the frames")
        return to_png(figure)


def _draw_one(
    axes: Axes,
    quantity: Quantity,
    table: pd.DataFrame,
    times: np.ndarray,
    gaps: np.ndarray,
) -> None:
    frames = table["frames"].to_numpy(dtype=float)
    if quantity.name == "is_hit":
        mean = table["hit_rate"].to_numpy() * quantity.factor
        low, high = (end * quantity.factor for end in wilson(table["hits"].to_numpy(), frames))
    else:
        mean = table[quantity.name].to_numpy() * quantity.factor
        spread = table[f"{quantity.name}_sd"].fillna(0).to_numpy() * quantity.factor
        low, high = mean - spread, mean + spread
    parts = [np.split(values, gaps) for values in (times, mean, low, high)]
    for when, middle, bottom, top in zip(*parts, strict=True):
        axes.fill_between(when, bottom, top, color=style.SKY, alpha=0.35, linewidth=0)
        if len(when) == 1:
            axes.vlines(when, bottom, top, color=style.SKY, linewidth=3)
        dots = "o" if len(times) < 80 or len(when) == 1 else ""
        axes.plot(when, middle, color=style.BLUE, linewidth=1.3, marker=dots, markersize=3)
    if not np.isfinite(mean).any():
        axes.text(0.5, 0.5, "not told for any frame", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y", color="#e4e7ea", linewidth=0.7)
    unit = f", {quantity.unit}" if quantity.unit else ""
    axes.set_title(f"{quantity.words}{unit}")


def wilson(hits: np.ndarray, frames: np.ndarray, sigmas: float = 1.0) -> tuple[Any, Any]:
    """Return Wilson's interval of shares, one standard deviation to either side."""
    square = sigmas**2
    middle = (hits + square / 2) / (frames + square)
    half = (
        sigmas * np.sqrt(hits * (1 - hits / np.maximum(frames, 1)) + square / 4) / (frames + square)
    )
    return middle - half, middle + half


def local(seconds: float) -> str:
    """Return a time on the local clock."""
    if not np.isfinite(seconds):
        return "–"
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a span in words."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
