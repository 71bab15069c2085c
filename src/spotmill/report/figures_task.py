"""Figures of a task: training, confusion, datasets, errors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from spotmill.report import style
from spotmill.report.charts import Panel, chart
from spotmill.report.evaluations import Control, DatasetResult, Evaluation, Result, Task, Worst
from spotmill.report.figures_frames import draw_frames, spots
from spotmill.report.figures_losses import LOSSES, history_lines, losses_axis
from spotmill.report.figures_quality import Scored, draw_calibration, draw_curves, draw_spots
from spotmill.report.flux import FluxTask
from spotmill.report.inputs import Inputs
from spotmill.report.names import conditions, frame_name
from spotmill.report.style import (
    Drawing,
    Picture,
    legend_columns,
    new_figure,
    plain_log,
    styled,
    to_picture,
)
from spotmill.report.verdict import Group

ERRORS = 6
ERROR_COLUMNS = list(Worst.model_fields)
ROLES = {
    "model": ("our model", style.BLUE, "o"),
    "paper": ("the paper’s model, in our mill", style.PURPLE, "s"),
    "baseline": ("classical baseline", style.ORANGE, "D"),
    "control": ("control (must be at chance)", style.GREY, "x"),
}


def draw_verdict(groups: Sequence[Group]) -> Drawing:
    """Draw the accuracy of everything that was tried, with intervals and chance."""
    rows = [row for group in groups for row in group.rows]
    data = pd.DataFrame(
        {
            "target": [group.target for group in groups for _ in group.rows],
            "role": [row.role for row in rows],
            "name": [row.name for row in rows],
            "task": [row.task for row in rows],
            "n": [row.result.n for row in rows],
            "correct": [row.result.correct for row in rows],
            "accuracy": [row.result.accuracy for row in rows],
            "low": [row.result.interval[0] for row in rows],
            "high": [row.result.interval[1] for row in rows],
        }
    )
    with styled():
        figure = new_figure(9, 1.3 + 0.5 * len(groups) + 0.24 * len(rows))
        sizes = [len(group.rows) + 0.6 for group in groups]
        grid = figure.subplots(
            len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": sizes}
        )
        for axes, group in zip(grid[:, 0], groups, strict=True):
            _draw_group(axes, group)
        grid[-1, 0].set_xlabel("accuracy on the test frames, % (bars: 95 % interval)")
        handles = [axes_line(label, colour, marker) for label, colour, marker in ROLES.values()]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, columnspacing=1.2)
        picture = to_picture(figure)
    return Drawing(
        "verdict",
        "All results of class tasks side by side",
        "Accuracy with 95 % interval of every model, baseline and control, grouped by question.",
        "Dotted line: always naming the commonest class. Black tick: chance for a control. "
        "Controls have nothing to learn from. One in 20 misses its tick by luck; a control "
        "counts as failed when it is too far off for luck.",
        picture,
        data,
    )


def axes_line(label: str, colour: str, marker: str) -> Line2D:
    """Return a line to stand in a legend."""
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)


def _draw_group(axes: Axes, group: Group) -> None:
    for place, row in enumerate(group.rows):
        _, colour, marker = ROLES[row.role]
        low, high = row.result.interval
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6)
        axes.plot(100 * row.result.accuracy, place, marker, color=colour, markersize=6)
        if isinstance(row.result, Control):
            chance = 100 * row.result.chance
            axes.plot(chance, place, "|", color=style.BLACK, markersize=11, markeredgewidth=1.6)
    first = group.rows[0].result
    if isinstance(first, Result):
        axes.axvline(100 * first.majority, color=style.GREY, linestyle=":", linewidth=1)
    names = [f"{r.name} ({r.task})" if r.role == "control" else r.name for r in group.rows]
    axes.set_yticks(range(len(group.rows)), names)
    axes.set_ylim(len(group.rows) - 0.4, -0.6)
    axes.set_xlim(-1, 101)
    axes.set_title(group.title)


def draw_task(inputs: Inputs, task: Task) -> list[Drawing]:
    """Draw the figures of a task of classes, those that the workflow names."""
    evaluation = task.evaluation
    drawn = [
        draw_training(task),
        draw_confusion(evaluation),
        draw_per_dataset(inputs, evaluation),
        draw_spots(
            task.name,
            [(result.name, result.per_spots) for result in evaluation.results],
            "Of the model and its baselines.",
        ),
        draw_calibration(task.name, evaluation.ours.calibration),
    ]
    if evaluation.target == "hit":
        drawn.append(draw_curves(task.name, [scored(result) for result in evaluation.results], ""))
    return [*drawn, draw_errors(inputs, evaluation)]


def scored(result: Result) -> Scored:
    """Return the curves of a result."""
    return Scored(
        result.name,
        result.roc,
        result.precision_recall,
        result.auroc,
        result.auroc_interval,
        result.average_precision,
    )


def draw_training(task: Task | FluxTask) -> Drawing:
    """Draw loss (and what else was recorded) against epoch."""
    history = task.history
    extras = [
        column
        for column in history.columns
        if column not in ("epoch", "train_loss", "validation_loss", "learning_rate")
        and pd.api.types.is_numeric_dtype(history[column])
        and history[column].notna().any()
    ]
    of_extras = _measured(extras)
    with styled():
        figure = new_figure(10 if extras else 6, 3.2)
        panels = figure.subplots(1, 2 if extras else 1, squeeze=False)[0]
        _draw_curves(panels[0], history, LOSSES)
        panels[0].set(title="Loss", ylabel="loss")
        logarithmic = bool((history[list(LOSSES)].min() > 0).all())
        if logarithmic:
            plain_log(panels[0])
        if extras:
            _draw_curves(panels[1], history, extras)
            panels[1].set(title="Recorded besides", ylabel=of_extras)
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_training",
        "Training",
        "Curves of training and validation loss against epoch.",
        "Validation frames only choose the epoch and the threshold; test frames play no part.",
        picture,
        history,
        chart(
            [
                Panel(history_lines(history, LOSSES), "epoch", "loss", "Loss", {},
                      losses_axis(history, logarithmic)),
                *([Panel(history_lines(history, extras, 2), "epoch", of_extras,
                         "Recorded besides")]
                  if extras else []),
            ]
        ),
    )  # fmt: skip


def _measured(columns: Sequence[str]) -> str:
    """Return the name of an axis for what was recorded from epoch to epoch."""
    names = [column.replace("_", " ") for column in columns]
    return names[0] if len(names) == 1 else "value"


def _draw_curves(axes: Axes, history: pd.DataFrame, columns: Sequence[str]) -> None:
    for column, colour, marker in zip(columns, style.CYCLE, style.MARKERS, strict=False):
        known = history[history[column].notna()]
        axes.plot(
            known["epoch"],
            known[column],
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.3,
            label=column.replace("_", " "),
        )
    axes.set_xlabel("epoch")
    axes.legend()


def draw_confusion(evaluation: Evaluation) -> Drawing:
    """Draw the confusion matrices of the model and of its baselines, with counts."""
    results = evaluation.results
    columns = min(3, len(results))
    lines = -(-len(results) // columns)
    records = []
    with styled():
        figure = new_figure(3.4 * columns + 0.7, 3.5 * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, result in zip(grid.flat, results, strict=False):
            drawn = _draw_matrix(axes, result, evaluation.classes)
            records += [
                {"name": result.name, "truth": truth, "said": said, "frames": count, "of": sum(row)}
                for truth, row in zip(evaluation.classes, result.confusion, strict=True)
                for said, count in zip(evaluation.classes, row, strict=True)
            ]
        for axes in list(grid.flat)[len(results) :]:
            axes.set_visible(False)
        bar = figure.colorbar(drawn, ax=grid, location="right", shrink=0.6, aspect=25)
        bar.set_label("share of the frames of a row, %")
        picture = to_picture(figure)
    ours = evaluation.ours
    return Drawing(
        f"{evaluation.task}_confusion",
        "What was true and what was said",
        f"Confusion matrices; the model has {ours.correct} of {ours.n} right.",
        "Rows: truth, columns: answer. In each field the number of test frames, and their share of "
        "all frames of that truth, which the colour shows, too; the diagonal is right. First the "
        "model, then the classical baselines on the same frames.",
        picture,
        pd.DataFrame(records),
    )  # fmt: skip


def _draw_matrix(axes: Axes, result: Result, classes: Sequence[str]) -> AxesImage:
    matrix = np.array(result.confusion)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    # Of many classes the fields are small.
    size = 13 if len(classes) < 5 else max(5.0, 55 / len(classes))
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 60 else "black"
        words = f"{shares[row, column]:.0f} %" if matrix[row].any() else "–"
        for part, y, side, points in (
            (str(count), row, "bottom", size),
            (words, row + 0.06, "top", 0.7 * size),
        ):
            axes.text(column, y, part, ha="center", va=side, color=colour, fontsize=points)
    places = range(len(classes))
    axes.set_xticks(places, classes)
    axes.set_yticks(places, classes, rotation=90, va="center")
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.set_title(f"{result.name}\n{result.correct} of {result.n} right", pad=10)
    return drawn


def draw_per_dataset(inputs: Inputs, evaluation: Evaluation) -> Drawing:
    """Draw the accuracy within every dataset, of the model and of its baselines."""
    known = {name for result in evaluation.results for name in result.per_dataset}
    names = [name for name in inputs.datasets if name in known]
    records = [
        {"name": result.name, "dataset": name} | _numbers(result.per_dataset[name])
        for result in evaluation.results
        for name in names
        if name in result.per_dataset
    ]
    with styled():
        figure = new_figure(10, 3.6)
        axes = figure.subplots()
        for number, result in enumerate(evaluation.results):
            offset = (number - (len(evaluation.results) - 1) / 2) * 0.7 / len(evaluation.results)
            _draw_points(axes, result, names, offset, number)
        frames = {
            name: max(r.per_dataset[name].n for r in evaluation.results if name in r.per_dataset)
            for name in names
        }
        axes.set_xticks(
            range(len(names)),
            [
                f"{name}\n{conditions(inputs, name).replace(', ', chr(10))}\nn {frames[name]}"
                for name in names
            ],
        )
        axes.set_ylim(-3, 103)
        axes.set_ylabel("accuracy, %")
        columns = legend_columns([result.name for result in evaluation.results], 10)
        figure.legend(loc="outside upper center", ncols=columns)
        picture = to_picture(figure)
    return Drawing(
        f"{evaluation.task}_per_dataset",
        "Dataset by dataset",
        "Accuracy with 95 % interval for each dataset, model and baselines side by side.",
        "n: test frames. Few frames make wide intervals (bars: 95 %, Wilson).",
        picture,
        pd.DataFrame(records),
    )


def _numbers(part: DatasetResult) -> dict[str, float | None]:
    low, high = part.interval or (None, None)
    return {"n": part.n, "correct": part.correct, "low": low, "high": high}


def _draw_points(
    axes: Axes, result: Result, names: Sequence[str], offset: float, number: int
) -> None:
    colour = style.CYCLE[number % len(style.CYCLE)]
    marker = style.MARKERS[number % len(style.MARKERS)]
    label: str | None = result.name
    for place, name in enumerate(names):
        part = result.per_dataset.get(name)
        if part is None or part.n == 0:
            continue
        x = place + offset
        if part.interval:
            axes.plot([x, x], [100 * end for end in part.interval], color=colour, linewidth=1.4)
        axes.plot(x, 100 * part.correct / part.n, marker, color=colour, markersize=5.5, label=label)
        label = None


def draw_errors(inputs: Inputs, evaluation: Evaluation) -> Drawing:
    """Draw the frames on which the model was most wrong."""
    wrong = [worst for worst in evaluation.worst if worst.wrong]
    shown = (wrong or evaluation.worst)[:ERRORS]
    rows = [inputs.frame(worst.dataset, worst.index) for worst in shown]
    if rows:
        captions = [
            f"{worst.dataset}   {frame_name(worst.index)}: {spots(row)}\n"
            f"true: {worst.truth}   said: {worst.said}"
            for worst, row in zip(shown, rows, strict=True)
        ]
        picture = draw_frames(inputs, rows, captions)
    else:
        picture = _draw_words("No error on the test frames")
    return Drawing(
        f"{evaluation.task}_errors",
        _errors_title(evaluation),
        "; ".join(error_words(worst) for worst in shown) or "No error on the test frames.",
        "Each point is the largest pixel of a block; circles: true spots; blue bars: gaps."
        if rows
        else "",
        picture,
        pd.DataFrame([worst.model_dump() for worst in evaluation.worst], columns=ERROR_COLUMNS),
        said="" if rows else _no_errors(evaluation.ours),
    )


def _no_errors(ours: Result) -> str:
    if ours.correct == ours.n:
        return f"All {ours.n} test frames were answered rightly."
    return "This evaluation lists none."


def _errors_title(evaluation: Evaluation) -> str:
    if any(worst.wrong for worst in evaluation.worst):
        return "The worst errors"
    return "No error; the frames it was least sure of" if evaluation.worst else "Errors"


def error_words(worst: Worst) -> str:
    """Return an error in words."""
    return (
        f"dataset {worst.dataset}, {frame_name(worst.index)}: true {worst.truth}, said {worst.said}"
    )


def _draw_words(words: str) -> Picture:
    with styled():
        figure = new_figure(6, 1.2)
        figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=12)
        return to_picture(figure)
