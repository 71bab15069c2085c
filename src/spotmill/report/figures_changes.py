"""Figures of merit of an earlier report beside those of this one."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from spotmill.report.compare import Compared
from spotmill.report.style import BLUE, GREY, VERMILION, Drawing, new_figure, styled, to_picture

MOST = 40  # rows that one can still read


def draw_changes(compared: Sequence[Compared], earlier: str) -> Drawing | None:
    """Draw metrics before and now with their intervals; None where none differs."""
    different = [one for one in compared if not one.same]
    if not different:
        return None
    # The surest changes first where there are too many to draw.
    order = sorted(different, key=lambda one: one.verdict == "no change shown")[:MOST]
    units = list(dict.fromkeys(one.now.unit for one in order))
    groups = [[one for one in order if one.now.unit == unit] for unit in units]
    with styled():
        heights = [len(group) + 1.2 for group in groups]
        figure = new_figure(9.5, 0.9 + 0.36 * sum(heights))
        panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, group, unit in zip(panels, groups, units, strict=True):
            draw_group(axes, group, unit)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        picture = to_picture(figure)
    left_out = len(different) - len(order)
    return Drawing(
        "changes",
        "Before and now",
        f"{len(order)} figures of merit of {earlier} and of this report with their 95 % intervals; "
        "the list above has them in words",
        f"Open: {earlier}; filled: this report; bars are 95 % intervals of each. Bold names changed"
        " by more than luck allows."
        + (f" {left_out} more are in the table alone." if left_out else ""),
        picture,
        table(compared),
    )


def draw_group(axes: Axes, group: Sequence[Compared], unit: str) -> None:
    """Draw metrics of one unit."""
    for row, one in enumerate(group):
        values = [one.before.value, one.now.value]
        axes.plot(values, [row - 0.13, row + 0.13], color=GREY, linewidth=0.8, alpha=0.6)
        for metric, shift, colour, fill, name in (
            (one.before, -0.13, VERMILION, "white", "before"),
            (one.now, 0.13, BLUE, BLUE, "now"),
        ):
            axes.plot(metric.interval, [row + shift] * 2, color=colour, linewidth=1.4)
            axes.plot(
                metric.value,
                row + shift,
                "D" if fill == "white" else "o",
                color=colour,
                markerfacecolor=fill,
                markersize=6,
                linestyle="",
                label=name if not row else None,
            )
    for row in range(len(group) - 1):
        axes.axhline(row + 0.5, color=GREY, alpha=0.2, linewidth=0.6)
    axes.set_yticks(range(len(group)), [f"{one.task}: {one.name}" for one in group])
    for label, one in zip(axes.get_yticklabels(), group, strict=True):
        label.set_fontweight("normal" if one.verdict == "no change shown" else "bold")
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.set_xlabel(unit or "share, AUROC, F1 or calibration error")
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)


def table(compared: Sequence[Compared]) -> pd.DataFrame:
    """Return all metrics of both reports as a table."""
    return pd.DataFrame(
        [
            {
                "task": one.task,
                "metric": one.name,
                "unit": one.now.unit,
                "before": one.before.value,
                "before_low": one.before.interval[0],
                "before_high": one.before.interval[1],
                "before_n": one.before.n,
                "now": one.now.value,
                "now_low": one.now.interval[0],
                "now_high": one.now.interval[1],
                "now_n": one.now.n,
                "difference": one.now.value - one.before.value,
                "difference_low": one.interval[0],
                "difference_high": one.interval[1],
                "verdict": "the same" if one.same else one.verdict,
            }
            for one in compared
        ]
    )
