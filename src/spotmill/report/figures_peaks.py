"""Figures of a task of peaks: training, precision and recall, datasets, an example."""

import numpy as np
import pandas as pd

from spotmill.report import style
from spotmill.report.charts import Line, Panel, chart, log_axis
from spotmill.report.figures_losses import LOSSES, draw_losses
from spotmill.report.figures_quality import draw_calibration
from spotmill.report.names import frame_name
from spotmill.report.peaks import PeakEvaluation, PeakTask
from spotmill.report.pictures import Window, add_scale, show_window
from spotmill.report.style import Drawing, new_figure, styled, to_picture

# Of the curve, then of its spots from so many photons.
CURVE_COLUMNS = ["name", "threshold", "precision", "recall", "photons_from", "true", "found",
                 "low", "high"]  # fmt: skip


def draw_peaks(task: PeakTask) -> list[Drawing]:
    """Draw all figures of a task of peaks."""
    calibration = draw_calibration(task.name, task.evaluation.ours.calibration, "peak")
    return [
        draw_losses(
            task.name,
            task.history,
            "loss",
            "Validation frames only choose the epoch and the threshold; test frames play no part.",
            logarithmic=bool((task.history[list(LOSSES)].min() > 0).all()),
        ),
        draw_curve(task),
        draw_datasets(task),
        calibration,
        draw_example(task),
    ]


def draw_curve(task: PeakTask) -> Drawing:
    """Draw precision against recall over the thresholds, and recall against photons."""
    evaluation = task.evaluation
    rows = []
    with styled():
        figure = new_figure(9.4, 3.9)
        left, right = figure.subplots(1, 2)
        for result, colour, marker in zip(
            evaluation.results, style.CYCLE, style.MARKERS, strict=False
        ):
            recall = [point.recall for point in result.curve]
            precision = [point.precision for point in result.curve]
            left.plot(recall, precision, color=colour, label=result.name)
            if result.precision is not None and result.recall is not None:
                left.plot(result.recall, result.precision, marker, color=colour, markersize=7)
            photons = [one.low for one in result.per_photons]
            share = [one.found / one.n for one in result.per_photons]
            right.plot(photons, share, color=colour, marker=marker, label=result.name)
            for one in result.per_photons:
                if one.interval:
                    right.plot([one.low, one.low], one.interval, color=colour, linewidth=1.2)
            rows += [{"name": result.name, **point.model_dump()} for point in result.curve]
            rows += [
                {"name": result.name, "photons_from": one.low, "recall": one.found / one.n}
                | {"true": one.n, "found": one.found}
                | dict(zip(("low", "high"), one.interval or (None, None), strict=True))
                for one in result.per_photons
            ]
        left.set_xlabel("recall: true spots that are found")
        left.set_ylabel("precision: found peaks that are true")
        low = corner(evaluation)
        left.set_ylim(low, 1 + 0.03 * (1 - low))
        left.set_xlim(low, 1 + 0.03 * (1 - low))
        left.legend(loc="lower left")
        right.set_xscale("log")
        ticks = sorted({one.low for result in evaluation.results for one in result.per_photons})
        right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        right.minorticks_off()
        right.set_xlabel("drawn photons of the spot, from")
        right.set_ylabel("recall")
        right.set_ylim(-0.02, 1.02)
        right.legend(loc="lower right")
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_confusion",
        "Precision and recall",
        "Precision against recall over all thresholds; recall against photons of the spot.",
        "Marks: the threshold chosen on validation frames. A found peak is right within "
        f"{evaluation.radius:g} pixels of a true spot of at least {evaluation.min_photons:g} "
        "photons, one to one. Bars: 95 % interval of the recall.",
        picture,
        pd.DataFrame(rows, columns=CURVE_COLUMNS).astype({"true": "Int64", "found": "Int64"}),
        chart(_curve_panels(evaluation), height=460),
    )


def _curve_panels(evaluation: PeakEvaluation) -> list[Panel]:
    """Return precision against recall, and recall against photons."""
    curves, strengths = [], []
    for result, colour, marker in zip(evaluation.results, style.CYCLE, style.MARKERS, strict=False):
        points = result.curve
        at = [point.recall for point in points], [point.precision for point in points]
        words = [f"{result.name}: recall {point.recall:.4f}, precision {point.precision:.4f}, "
                 f"threshold {point.threshold:.4g}" for point in points]  # fmt: skip
        curves.append(Line(result.name, *at, colour, mode="lines", points=words))
        if result.precision is not None and result.recall is not None:
            words = [f"{result.name}, threshold chosen: recall {result.recall:.4f}, precision "
                     f"{result.precision:.4f}"]  # fmt: skip
            curves.append(
                Line(result.name, [result.recall], [result.precision], colour, marker,
                     mode="markers", points=words, size=11)
            )  # fmt: skip
        photons = [one.low for one in result.per_photons]
        share = [one.found / one.n for one in result.per_photons]
        spans = [one.interval or (None, None) for one in result.per_photons]
        strengths.append(
            Line(result.name, photons, share, colour, marker,
                 low=[low for low, _ in spans], high=[high for _, high in spans])
        )  # fmt: skip
    low = corner(evaluation)
    ends = {"range": [low, 1 + 0.03 * (1 - low)]}
    ticks = sorted({one.low for result in evaluation.results for one in result.per_photons})
    return [
        Panel(curves, "recall: true spots that are found", "precision: found peaks that are true",
              "Precision and recall", ends, ends),
        Panel(strengths, "drawn photons of the spot, from", "recall", "Recall by strength",
              log_axis(ticks), {"range": [-0.02, 1.02]}),
    ]  # fmt: skip


def corner(evaluation: PeakEvaluation) -> float:
    """Return where the axes of precision and recall begin, so that all marks are seen."""
    marks = [x for r in evaluation.results for x in (r.precision, r.recall) if x is not None]
    return max(0.0, 1 - 3 * (1 - min(marks, default=0.0)) - 0.05)


def draw_datasets(task: PeakTask) -> Drawing:
    """Draw F1 with its interval in every dataset, beside the bound."""
    evaluation = task.evaluation
    names = list(evaluation.ours.per_dataset)
    rows = []
    with styled():
        figure = new_figure(1.8 + 0.75 * len(names), 3.6)
        axes = figure.subplots()
        count = len(evaluation.results)
        for number, (result, colour, marker) in enumerate(
            zip(evaluation.results, style.CYCLE, style.MARKERS, strict=False)
        ):
            for place, name in enumerate(names):
                scores = result.per_dataset[name]
                at = place + 0.24 * (number - (count - 1) / 2)
                label = result.name if place == 0 else None
                if scores.f1 is not None and scores.f1_interval is not None:
                    axes.plot([at, at], scores.f1_interval, color=colour)
                    axes.plot(at, scores.f1, marker, color=colour, label=label)
                rows.append({"name": result.name, "dataset": name, **scores.model_dump()})
        bounds = evaluation.bounds[0].per_dataset if evaluation.bounds else {}
        for place, name in enumerate(names):
            if name in bounds:
                ends = [place - 0.4, place + 0.4]
                label = None if place else "bound (an estimate)"
                f1 = bounds[name]["f1"]
                axes.plot(ends, [f1, f1], color=style.BLACK, linewidth=1, label=label)
        frames = [evaluation.ours.per_dataset[name].n for name in names]
        axes.set_xticks(
            range(len(names)), [f"{name}\nn {n}" for name, n in zip(names, frames, strict=True)]
        )
        axes.set_xlabel("dataset")
        axes.set_ylabel("F1")
        axes.legend()
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_per_dataset",
        "F1 by dataset",
        "F1 with 95 % interval (frames drawn anew) in every dataset.",
        "n: test frames. Black lines: the bound, what counting statistics allow a finder that "
        "knows shape, strengths and background of spots; it is estimated from spots drawn anew, so "
        "a score may lie a little above it by luck.",
        picture,
        pd.DataFrame(rows),
    )


def draw_example(task: PeakTask) -> Drawing:
    """Draw a part of a test frame with its true spots and found peaks."""
    example = task.evaluation.example
    rows = []
    with styled():
        figure = new_figure(5.6, 4.8)
        axes = figure.subplots()
        if example is None:
            axes.text(0.5, 0.5, "no test frame has a spot", ha="center", va="center")
            axes.set_axis_off()
        else:
            photons = np.array(example.photons)
            size = photons.shape
            live = np.ones(size, dtype=bool)
            window = Window(slice(0, size[0]), slice(0, size[1]))
            title = f"{example.dataset}, {frame_name(example.index)}"
            add_scale(figure, show_window(axes, photons, live, window, title), axes)
            right = [p for p, good in zip(example.found, example.matched, strict=True) if good]
            wrong = [p for p, good in zip(example.found, example.matched, strict=True) if not good]
            for label, places, marker, large, colour in (
                ("true spot", example.true, "o", 13.0, style.BLUE),
                ("found", right, "+", 7.0, style.GREEN),
                ("found, none there", wrong, "x", 7.0, style.VERMILION),
            ):
                axes.plot(
                    [fs - example.fs for fs, _ in places],
                    [ss - example.ss for _, ss in places],
                    marker,
                    markersize=large,
                    color=colour,
                    fillstyle="none",
                    linestyle="none",
                    label=label,
                )
                rows += [{"what": label, "fs": fs, "ss": ss} for fs, ss in places]
            axes.set_xlabel(f"fs from {example.fs}, pixels")
            axes.set_ylabel(f"ss from {example.ss}, pixels")
            figure.legend(loc="outside lower center", ncols=3)
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_errors",
        "An example",
        "A part of a test frame with its true spots and the peaks that were found.",
        "The part of a test frame with the most true spots.",
        picture,
        pd.DataFrame(rows, columns=["what", "fs", "ss"]),
    )
