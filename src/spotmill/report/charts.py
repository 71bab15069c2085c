"""Plotly twins of figures: the same numbers, to look at closely.

A chart is JSON that the page holds as inert text; `templates/charts.js` draws it when it is
scrolled near and gives it the colours of the page.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spotmill.report import style

# Plotly's names of the shapes and dashes that matplotlib draws (`style.MARKERS`).
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "_": "line-ew-open",
    "x": "x-thin-open",
}
DASHES = {"-": "solid", "--": "dash", ":": "dot"}
# A chart draws so many points at most, and takes them evenly.
MOST = 2500


@dataclass(frozen=True)
class Line:
    """Points of one name; `low` and `high` are the ends of their intervals.

    `mode` is Plotly's: lines, markers, text, or some of them. `points` says of each point what a
    pointer reads, `frames` which frame (dataset, index) it is, and `labels` what is written beside
    it where the mode has text.
    """

    name: str
    x: Iterable[Any]
    y: Iterable[Any]
    colour: str = style.BLUE
    marker: str = "o"
    dash: str = "-"
    mode: str = "lines+markers"
    low: Iterable[Any] | None = None
    high: Iterable[Any] | None = None
    step: bool = False
    listed: bool = True
    points: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    frames: Sequence[tuple[str, int]] | None = None
    symbols: Sequence[str] | None = None
    size: float = 6


@dataclass(frozen=True)
class Panel:
    """Lines on one pair of axes; `x` and `y` are what Plotly is told of the axes."""

    lines: Sequence[Line]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    x: dict[str, Any] = field(default_factory=dict)
    y: dict[str, Any] = field(default_factory=dict)


def chart(panels: Sequence[Panel], columns: int = 2, height: int = 420) -> str:
    """Return panels, side by side and row by row, as the JSON of a Plotly figure.

    One entry of the legend stands for the lines of its name in all panels.
    """
    from plotly.graph_objects import Figure
    from plotly.subplots import make_subplots

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure: Figure = make_subplots(
        rows,
        columns,
        subplot_titles=[panel.title for panel in panels],
        horizontal_spacing=0.22 / columns if columns > 1 else 0,
        # Room for tick marks, the axis' name and the next title.
        vertical_spacing=100 / (height * rows) if rows > 1 else 0,
    )
    seen: set[str] = set()
    for place, panel in enumerate(panels):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        for line in panel.lines:
            figure.add_trace(_trace(line, line.listed and line.name not in seen), **at)
            seen.add(line.name)
        figure.update_xaxes(title_text=panel.x_label, **panel.x, **at)
        figure.update_yaxes(title_text=panel.y_label, **panel.y, **at)
    figure.update_layout(height=height * rows, showlegend=len(seen) > 1)
    told = figure.to_plotly_json()
    # The page gives the colours.
    told["layout"].pop("template", None)
    return json.dumps(
        {"data": told["data"], "layout": told["layout"]},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


def _trace(line: Line, listed: bool) -> dict[str, Any]:
    # Black becomes the page's colour of text, so that it shows on a dark ground, too (charts.js).
    colour = line.colour
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": line.name,
        "legendgroup": line.name,
        "showlegend": listed,
        "mode": line.mode,
        "x": numbers(line.x),
        "y": numbers(line.y),
        "line": {"color": colour, "dash": DASHES[line.dash], "width": 1.6},
        "marker": {
            "color": colour,
            "size": line.size,
            "symbol": list(line.symbols) if line.symbols else SYMBOLS[line.marker],
        },
    }
    if line.step:
        trace["line"]["shape"] = "hv"
    if line.low is not None and line.high is not None:
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": _distances(line.high, line.y),
            "arrayminus": _distances(line.y, line.low),
            "width": 2,
            "thickness": 1.2,
            "color": colour,
        }
    if line.points is not None:
        trace |= {"text": list(line.points), "hoverinfo": "text"}
    if line.labels is not None:
        trace |= {"text": list(line.labels), "textposition": "top right"}
        if line.points is not None:
            trace["hovertext"] = list(line.points)
    if line.frames is not None:
        trace["customdata"] = [list(frame) for frame in line.frames]
    return trace


def number(value: Any) -> Any:
    """Return a number with six digits, which is more than one reads; None where there is none."""
    if value is None or isinstance(value, str):
        return value
    value = float(value)
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def numbers(values: Iterable[Any]) -> list[Any]:
    """Return plain numbers with six digits."""
    return [number(value) for value in values]


def _distances(upper: Iterable[Any], lower: Iterable[Any]) -> list[Any]:
    return [
        None if a is None or b is None else number(max(float(a) - float(b), 0.0))
        for a, b in zip(upper, lower, strict=True)
    ]


def evenly(count: int, most: int = MOST) -> list[int]:
    """Return which of `count` points a chart draws: all, or `most` of them at even distances."""
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]


def decades(values: Iterable[float]) -> dict[str, Any]:
    """Return an axis for positive values: logarithmic with plain numbers at 1, 2 and 5.

    Within a factor of 3 it is linear, where an axis in decades would have a tick mark or two.
    """
    known = [float(value) for value in values if math.isfinite(value)]
    low, high = min(known, default=1.0), max(known, default=1.0)
    if high < 3 * low:
        return {}
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{first}e{power}") for power in powers for first in (1, 2, 5)]
    return log_axis([tick for tick in ticks if 0.8 * low <= tick <= 1.25 * high])


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis with the tick marks that stand at these values."""
    return {"type": "log", "tickvals": numbers(values), "ticktext": [f"{v:g}" for v in values]}
