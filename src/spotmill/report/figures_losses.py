"""The loss in training and validation, of tasks that record nothing else from epoch to epoch."""

import pandas as pd

from spotmill.report import style
from spotmill.report.style import Drawing, new_figure, plain_log, styled, to_png

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
        png = to_png(figure)
    return Drawing(
        f"{name}_training",
        "Training",
        "Curves of training and validation loss against epoch.",
        caption,
        png,
        history,
    )
