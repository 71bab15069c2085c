"""The figure of a search for settings: what every trial came to, and under which values."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from spotmill.report import style
from spotmill.report.style import new_figure, styled, to_png
from spotmill.tuning import Search, Span

COLUMNS = 4
MARKS = {
    "complete": ("trained to its end", style.BLUE, "o"),
    "pruned": ("ended early", style.ORANGE, "x"),
    "diverged": ("loss not finite", style.VERMILION, "^"),
}


def draw_search(
    name: str, search: Search, rows: list[dict[str, Any]], facts: dict[str, Any]
) -> bytes:
    """Return the figure as PNG."""
    columns = min(len(search.space), COLUMNS)
    lines = -(-len(search.space) // columns)
    value = f"{facts['objective']}, validation"
    with styled():
        figure = new_figure(9, 3.2 + 2.4 * lines)
        grid = figure.add_gridspec(1 + lines, columns, height_ratios=[1.3, *[1] * lines])
        whole = figure.add_subplot(grid[0, :])
        place = heights(rows, facts["as_it_stands"])
        draw_history(whole, rows, facts, place)
        whole.set_title(
            f"Search {name}: {len(rows)} trials of the task {facts['task']} "
            "(far worse ones at the upper edge)"
        )
        figure.legend(loc="outside upper center", ncols=5, columnspacing=1.2)
        whole.set_xlabel("trial")
        whole.set_ylabel(value)
        for number, (key, span) in enumerate(search.space.items()):
            axes = figure.add_subplot(grid[1 + number // columns, number % columns], sharey=whole)
            draw_key(axes, key, span, rows, facts, place)
            if number % columns == 0:
                axes.set_ylabel(value)
        return to_png(figure)


def heights(rows: list[dict[str, Any]], stands: float | None) -> list[float]:
    """Return where each trial is drawn; what did far worse than most stands at the upper edge."""
    ends = np.array([row["value"] for row in rows if row["state"] == "complete"])
    low, high = float(ends.min()), float(np.quantile(ends, 0.9))
    high = high if stands is None else max(high, stands)
    edge = high + 0.15 * (high - low or abs(high) or 1.0)
    return [edge if row["value"] is None else min(row["value"], edge) for row in rows]


def draw_history(
    axes: Axes, rows: list[dict[str, Any]], facts: dict[str, Any], place: list[float]
) -> None:
    """Draw the trials in their order, the best so far, and the task as it stands."""
    for state, (label, colour, marker) in MARKS.items():
        own = [number for number, row in enumerate(rows, start=1) if row["state"] == state]
        if own:
            axes.plot(
                own,
                [place[number - 1] for number in own],
                marker,
                color=colour,
                label=label,
                markersize=5,
            )
    done = [row["state"] == "complete" for row in rows]
    best = np.minimum.accumulate(np.where(done, place, np.inf))
    shown = np.isfinite(best)
    axes.step(
        np.flatnonzero(shown) + 1,
        best[shown],
        where="post",
        color=style.BLACK,
        linewidth=1,
        label="best so far",
    )
    if facts["as_it_stands"] is not None:
        axes.axhline(
            facts["as_it_stands"],
            color=style.GREY,
            linestyle="--",
            linewidth=1,
            label="the task as it stands",
        )


def draw_key(
    axes: Axes,
    key: str,
    span: Span,
    rows: list[dict[str, Any]],
    facts: dict[str, Any],
    place: list[float],
) -> None:
    """Draw the trials over the values of one key."""
    names = [] if span.categorical is None else [str(value) for value in span.categorical]
    for number, row in enumerate(rows):
        value = row["values"][key]
        _, colour, marker = MARKS[row["state"]]
        at = names.index(str(value)) if names else value
        axes.plot([at], [place[number]], marker, color=colour, markersize=4)
        if number + 1 == facts["best"]["trial"]:
            axes.plot([at], [place[number]], "o", color="none", mec=style.BLACK, markersize=10)
    if names:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    if span.log is not None:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(key)
