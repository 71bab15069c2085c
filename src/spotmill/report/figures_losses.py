"""The loss in training and validation, of tasks that record nothing else from epoch to epoch."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from spotmill.report import style
from spotmill.report.charts import Line, Panel, chart, decades
from spotmill.report.style import Drawing, new_figure, plain_log, styled, to_picture

LOSSES = ("train_loss", "validation_loss")


def draw_losses(
    name: str, history: pd.DataFrame, label: str, caption: str, *, logarithmic: bool
) -> Drawing:
    """Draw the loss of a task in training and validation; `label` says what the loss is."""
    with styled():
        figure = new_figure(6, 3.2)
        axes = figure.subplots()
        for column, colour, marker in zip(LOSSES, style.CYCLE, style.MARKERS, strict=False):
            axes.plot(
                history["epoch"],
                history[column],
                color=colour,
                marker=marker,
                label=column.replace("_", " "),
            )
        if logarithmic:
            plain_log(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.legend()
        picture = to_picture(figure)
    return Drawing(
        f"{name}_training",
        "Training",
        "Curves of training and validation loss against epoch.",
        caption,
        picture,
        history,
        chart(
            [
                Panel(
                    history_lines(history, LOSSES),
                    "epoch",
                    label,
                    "",
                    {},
                    losses_axis(history, logarithmic),
                )
            ]
        ),
    )


def history_lines(history: pd.DataFrame, columns: Sequence[str], first: int = 0) -> list[Line]:
    """Return lines of what was recorded from epoch to epoch; `first` is the first one's look."""
    return [
        Line(column.replace("_", " "), rows["epoch"], rows[column], colour, marker)
        for column, colour, marker in zip(
            columns, style.CYCLE[first:], style.MARKERS[first:], strict=False
        )
        for rows in [history[history[column].notna()]]
    ]


def losses_axis(history: pd.DataFrame, logarithmic: bool) -> dict[str, Any]:
    """Return the ordinate of the losses in a chart."""
    return decades(history[list(LOSSES)].to_numpy().ravel()) if logarithmic else {}
