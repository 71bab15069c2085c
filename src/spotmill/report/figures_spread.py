"""How spots, photons and resolutions are spread in every dataset."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from spotmill.report import style
from spotmill.report.charts import Line, Panel, chart, evenly
from spotmill.report.inputs import Inputs, read_all_spots
from spotmill.report.style import Drawing, new_figure, styled, to_picture

# Truth tables read of a dataset, and points of a curve: more would not be seen.
PATTERNS = 200
POINTS = 120
# Of 1 / d, about so many for all datasets, of a width that is 1, 2 or 5 times a power of ten.
BINS = 24
RESOLUTIONS = (20, 10, 6, 5, 4, 3, 2.5, 2, 1.7, 1.5, 1.3, 1.2, 1.1, 1)  # Å
PANELS = (
    ("spots", "true spots of the pattern, from", "share of patterns", "Spots"),
    ("photons", "drawn photons of the spot, from", "share of spots", "Photons"),
    ("resolution", "1 / d  (1/Å)", "spots per pattern in {width:g}/Å", "Resolution"),
)


def draw_spread(inputs: Inputs) -> Drawing:
    """Draw how many patterns have so many spots, spots so many photons, and at which resolution."""
    table, width = spread(inputs)
    names = list(dict.fromkeys(table["dataset"]))
    with styled():
        figure = new_figure(10, 3.7)
        for axes, (panel, x_label, y_label, title) in zip(
            figure.subplots(1, 3), PANELS, strict=True
        ):
            for number, name in enumerate(names):
                rows = _rows(table, panel, name)
                axes.plot(
                    rows["x"],
                    rows["y"],
                    color=style.one_of(number, len(names)),
                    linestyle=("-", "--", ":")[number % 3],
                    drawstyle="steps-mid" if panel == "resolution" else "default",
                    linewidth=1.3,
                    label=name,
                )
            axes.set(xlabel=x_label, ylabel=y_label.format(width=width))
            # A line above, so that the resolutions along the upper edge have room.
            axes.set_title(title, pad=16)
            axes.set_ylim(bottom=0)
        photons = figure.axes[1]
        photons.set_xscale("log")
        photons.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _name_resolutions(figure.axes[2])
        if names:
            handles = figure.axes[0].get_legend_handles_labels()
            figure.legend(*handles, loc="outside lower center", ncols=max(len(names), 1))
        picture = to_picture(figure)
    return Drawing(
        "distributions",
        "How spots, photons and resolutions are spread",
        "Three panels with a line a dataset: the share of patterns with at least so many true "
        "spots, the share of spots with at least so many photons, and spots per pattern "
        "against resolution.",
        f"True spots of at least {inputs.hit.min_photons} drawn photons. Numbers of spots are of "
        f"all patterns; photons and resolutions of {PATTERNS} patterns a dataset at most, evenly "
        f"taken. Spots are counted in bins of {width:g}/Å, the same ones for all datasets. A "
        "higher photon energy or a shorter camera length reaches larger 1 / d.",
        picture,
        table,
        _chart(table, names, width),
    )


def spread(inputs: Inputs) -> tuple[pd.DataFrame, float]:
    """Return the lines of all panels, one row a point, and the width of bins of 1 / d, 1/Å."""
    parts = []
    inverse: dict[str, tuple[NDArray[np.float64], int]] = {}
    for name in inputs.datasets:
        patterns = inputs.frames(name, "crystal").sort_values("index")
        if patterns.empty:
            continue
        chosen = patterns.iloc[evenly(len(patterns), PATTERNS)]
        spots = read_all_spots(chosen)
        spots = spots[spots["photons"] >= inputs.hit.min_photons]
        parts.append(_table(name, "spots", *at_least(patterns["n_spots"])))
        parts.append(_table(name, "photons", *at_least(spots["photons"])))
        inverse[name] = 1 / spots["d"].to_numpy(dtype=float), len(chosen)
    if not parts:
        return pd.DataFrame(columns=["dataset", "panel", "x", "y"]), 0.0
    width = bin_width(max((float(own.max()) for own, _ in inverse.values() if len(own)), default=1))
    for name, (own, count) in inverse.items():
        parts.append(_table(name, "resolution", *_per_pattern(own, count, width)))
    return pd.concat(parts, ignore_index=True), width


def bin_width(top: float) -> float:
    """Return the width of bins from 0 to `top`: 1, 2 or 5 times a power of ten."""
    power = math.floor(math.log10(top / BINS))
    widths = [float(f"{first}e{power}") for first in (1, 2, 5)] + [float(f"1e{power + 1}")]
    return min(widths, key=lambda width: abs(math.log(width * BINS / top)))


def at_least(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values in order, and the share of all that are as large or larger.

    Of many values those at even distances are returned, with the first and the last.
    """
    every = np.sort(np.asarray(values, dtype=float))
    if not len(every):
        return every, every
    ordered = np.unique(every)
    share = 1 - np.searchsorted(every, ordered, side="left") / len(every)
    kept = evenly(len(ordered), POINTS)
    return ordered[kept], share[kept]


def _per_pattern(
    inverse: NDArray[np.float64], patterns: int, width: float
) -> tuple[NDArray[np.float64], ...]:
    """Return middles of bins and spots per pattern within, to the bin after the last spot."""
    bins = (int(inverse.max() / width) if len(inverse) else 0) + 2
    counts, edges = np.histogram(inverse, bins, (0.0, bins * width))
    return (edges[:-1] + edges[1:]) / 2, counts / patterns


def _table(name: str, panel: str, x: ArrayLike, y: ArrayLike) -> pd.DataFrame:
    return pd.DataFrame({"dataset": name, "panel": panel, "x": x, "y": y})


def _rows(table: pd.DataFrame, panel: str, name: str) -> pd.DataFrame:
    return table[(table["panel"] == panel) & (table["dataset"] == name)]


def resolutions(top: float) -> list[float]:
    """Return which resolutions to name on an axis of 1 / d up to `top`, with room between."""
    shown: list[float] = []
    for d in RESOLUTIONS:
        if 1 / d <= top and (not shown or 1 / d - 1 / shown[-1] > 0.12 * top):
            shown.append(d)
    return shown


def _name_resolutions(axes: Axes) -> None:
    """Write d along the upper edge."""
    upper = axes.secondary_xaxis("top")
    shown = resolutions(axes.get_xlim()[1])
    upper.set_xticks([1 / d for d in shown], [f"{d:g} Å" for d in shown], fontsize=7.5)


def _chart(table: pd.DataFrame, names: Sequence[str], width: float) -> str:
    if table.empty:
        return ""
    panels = []
    for panel, x_label, y_label, title in PANELS:
        lines = []
        for number, name in enumerate(names):
            rows = _rows(table, panel, name)
            colour = style.one_of(number, len(names))
            dash = ("-", "--", ":")[number % 3]
            lines.append(Line(name, rows["x"], rows["y"], colour, dash=dash, mode="lines"))
        axis: dict[str, Any] = {"type": "log", "dtick": 1} if panel == "photons" else {}
        if panel == "resolution":
            top = float(max(max(line.x) for line in lines))
            shown = resolutions(top)
            axis = {"tickvals": [1 / d for d in shown], "ticktext": [f"{d:g} Å" for d in shown]}
            x_label = "resolution d, even in 1 / d"
        y_label = y_label.format(width=width)
        panels.append(Panel(lines, x_label, y_label, title, axis, {"rangemode": "tozero"}))
    return chart(panels, columns=3)
