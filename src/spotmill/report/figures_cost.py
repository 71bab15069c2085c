"""Figures of what a run cost: fact and plan by rule, for print and for the page."""

import json

import pandas as pd

from spotmill.report.charts import Line, Panel, chart
from spotmill.report.style import BLUE, GREY, VERMILION, Picture, new_figure, styled, to_picture

# Column of the fact and of the plan, what to call them, and the unit that one reads.
PANELS = (
    ("seconds", "plan_seconds", "time", "s, all jobs", 1.0),
    ("memory_mb", "plan_memory_mb", "memory", "MB, largest job", 1.0),
    ("bytes", "plan_bytes", "written", "MB, all jobs", 1e6),
)


def draw_cost(table: pd.DataFrame) -> Picture:
    """Draw time, memory and bytes by rule; `table` is that of `cost.table`."""
    with styled():
        figure = new_figure(10.5, 1.6 + 0.27 * len(table))
        panels = figure.subplots(1, len(PANELS), sharey=True)
        rows = range(len(table))
        for axes, (fact, said, name, unit, scale) in zip(panels, PANELS, strict=True):
            facts = positive(table[fact], scale)
            plans = positive(table[said], scale)
            axes.hlines(rows, plans, facts, color=GREY, linewidth=1)
            axes.plot(plans, rows, "D", mfc="white", mec=VERMILION, ms=6, ls="", label="plan")
            axes.plot(facts, rows, "o", color=BLUE, ms=6, ls="", label="fact")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_title(name)
            axes.set_xlabel(unit)
            axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
        panels[0].set_yticks(list(rows), table["rule"])
        panels[0].invert_yaxis()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return to_picture(figure)


def positive(values: pd.Series, scale: float) -> pd.Series:
    """Return values in a unit; what is nothing or unknown has no place on a logarithmic axis."""
    numbers = pd.to_numeric(values) / scale
    return numbers.where(numbers > 0)


def cost_chart(table: pd.DataFrame) -> str:
    """Return the same as a Plotly figure (`report/charts.py`)."""
    rules = table["rule"].tolist()
    panels = []
    for fact, said, name, unit, scale in PANELS:
        lines = []
        for key, what, colour, symbol in (
            (said, "plan", VERMILION, "diamond-open"),
            (fact, "fact", BLUE, "circle"),
        ):
            values = positive(table[key], scale)
            lines.append(
                Line(
                    what,
                    values.tolist(),
                    rules,
                    colour,
                    mode="markers",
                    symbols=[symbol] * len(rules),
                    size=9,
                    points=[
                        f"{rule}: {value:.3g} {unit} ({what})"
                        for rule, value in zip(rules, values, strict=True)
                    ],
                )
            )
        y = {"autorange": "reversed", "dtick": 1, "tickfont": {"size": 11}}
        panels.append(Panel(lines, unit, title=name, x={"type": "log", "dtick": 1}, y=y))
    told = json.loads(chart(panels, columns=len(panels), height=180 + 24 * len(rules)))
    # Of a panel on a narrow screen, where they stand one above the other.
    told["layout"]["meta"] = {"panel": 130 + 22 * len(rules)}
    return json.dumps(told)
