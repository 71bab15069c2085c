"""Figures that classes and hits at several fluxes share: reliability, curves, spots."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from spotmill.report import style
from spotmill.report.charts import Line, Panel, chart
from spotmill.report.quality import Calibration, PrecisionRecall, Reliability, Roc, Spots
from spotmill.report.stored import Interval
from spotmill.report.style import Drawing, legend_columns, new_figure, styled, to_picture


@dataclass(frozen=True)
class Scored:
    """One method, or one flux, with its curves."""

    name: str
    roc: Roc | None
    precision_recall: PrecisionRecall | None
    auroc: float | None
    interval: Interval | None
    average_precision: float | None

    @property
    def label(self) -> str:
        """Its name with the area under the ROC curve."""
        if self.auroc is None:
            return self.name
        if self.interval is None:
            return f"{self.name}: {self.auroc:.3f}"
        return f"{self.name}: {self.auroc:.4f} ({self.interval[0]:.4f} to {self.interval[1]:.4f})"


def draw_calibration(task: str, calibration: Calibration | None, one: str = "frame") -> Drawing:
    """Draw the reliability curve before and after calibration, and on how many it rests.

    `one` is what has a probability: a frame, or a peak.
    """
    sides = [] if calibration is None else [
        ("before", calibration.before, style.GREY, "s", -0.012),
        ("after calibration", calibration.after, style.BLUE, "o", 0.012),
    ]  # fmt: skip
    with styled():
        figure = new_figure(7.5, 4.6)
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1]})
        top.plot([0, 1], [0, 1], color=style.BLACK, linewidth=0.8, linestyle=":")
        for name, side, colour, marker, shift in sides:
            _draw_side(top, bottom, f"{name}: off by {_error(side)}", side, colour, marker, shift)
        top.set_ylabel("share that came true")
        top.set_ylim(-0.03, 1.03)
        bottom.set_yscale("log")
        most = max((one.n for _, side, *_ in sides for one in side.bins), default=1)
        ticks = [10**power for power in range(len(str(most)) + 1)]
        bottom.set_yticks(ticks, [f"{tick}" for tick in ticks])
        bottom.minorticks_off()
        bottom.set_ylim(0.5, 2 * most)
        bottom.set_ylabel(f"{one}s")
        bottom.set_xlabel(calibration.of if calibration else "probability")
        bottom.set_xlim(-0.03, 1.03)
        if sides:
            figure.legend(*top.get_legend_handles_labels(), loc="outside upper left")
        picture = to_picture(figure)
    after = calibration.after if calibration else None
    return Drawing(
        f"{task}_calibration",
        "Are its probabilities true?",
        f"Reliability diagram; after calibration {calibration.words}."
        if calibration and after
        else "No calibration in this evaluation.",
        f"On the dotted line, of {one}s said to have probability p a share p came true. Bars: 95 % "
        f"interval. {_method(calibration, one)} The number is the mean distance over ten bins, "
        "with its 95 % interval (bootstrap over frames).",
        picture,
        pd.DataFrame(
            [
                {"side": name, "said": one.said, "share": one.share, "n": one.n, "true": one.true,
                 "low": one.interval[0], "high": one.interval[1]}
                for name, side, *_ in sides
                for one in side.bins
            ],
            columns=["side", "said", "share", "n", "true", "low", "high"],
        ),
        said="" if sides else "This evaluation tells no calibration.",
    )  # fmt: skip


def _error(side: Reliability) -> str:
    low, high = side.interval
    return f"{side.error:.3f} ({low:.3f} to {high:.3f}), n {side.n}"


def _method(calibration: Calibration | None, one: str) -> str:
    if calibration is None:
        return ""
    words = {"platt": "a line in the logit (Platt)", "temperature": "one temperature"}
    return (
        f"Calibrated on {calibration.n_validation} validation {one}s by "
        f"{words.get(calibration.method, calibration.method)}."
    )


def _draw_side(
    top: Axes,
    bottom: Axes,
    label: str,
    side: Reliability,
    colour: str,
    marker: str,
    shift: float,
) -> None:
    said = [one.said for one in side.bins]
    top.plot(said, [one.share for one in side.bins], color=colour, linewidth=0.9, alpha=0.6)
    for one in side.bins:
        top.plot([one.said, one.said], one.interval, color=colour, linewidth=1.4)
    # The earlier one larger and open, so that both show where they agree.
    look = {"markersize": 9, "fillstyle": "none"} if marker == "s" else {"markersize": 5.5}
    top.plot(said, [one.share for one in side.bins], marker, color=colour, label=label, **look)
    bottom.bar(
        [(int(min(one.said, 0.9999) * 10) + 0.5) / 10 + 2 * shift for one in side.bins],
        [one.n for one in side.bins],
        width=0.045,
        color=colour,
    )


def draw_curves(task: str, scores: Sequence[Scored], caption: str) -> Drawing:
    """Draw ROC and precision-recall curves."""
    records: list[dict[str, object]] = []
    with styled():
        figure = new_figure(10, 4.5 + 0.2 * len(scores))
        left, right = figure.subplots(1, 2)
        # Many points: on this axis chance is no straight line.
        chance = np.linspace(0, 1, 500)
        left.plot(chance, chance, color=style.GREY, linewidth=0.7, linestyle=":")
        for number, score in enumerate(scores):
            if score.roc is None or score.precision_recall is None:
                continue
            look = {
                "color": style.CYCLE[number % len(style.CYCLE)],
                "linestyle": "-" if number < len(style.CYCLE) else "--",
                "linewidth": 1.5,
                # The first lies on top where curves run together.
                "zorder": 3 - number / 100,
            }
            x, y = score.roc.false_alarm, score.roc.recall
            left.plot(x, y, label=score.label, **look)
            records += _points(score.name, "roc", x, y)
            x, y = score.precision_recall.recall, score.precision_recall.precision
            area = score.average_precision
            right.plot(x, y, label=score.name if area is None else f"{score.name}: {area:.4f}",
                       **look)  # fmt: skip
            records += _points(score.name, "precision_recall", x, y)
        left.set_xscale("symlog", linthresh=0.01, linscale=0.6)
        left.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        left.minorticks_off()
        left.set_xlim(-0.0006, 1.05)
        left.set_xlabel("false alarms: share of frames without a hit")
        left.set_ylabel("recall: share of hits")
        left.set_title("ROC: area with 95 % interval")
        right.set_xlabel("recall: share of hits")
        right.set_ylabel("precision: share of the called that are hits")
        right.set_xlim(-0.03, 1.03)
        right.set_title("Precision and recall: average precision")
        for axes in (left, right):
            axes.set_ylim(-0.03, 1.03)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13))
        picture = to_picture(figure)
    known = [score.label for score in scores if score.roc is not None]
    return Drawing(
        f"{task}_curves",
        "At every threshold",
        f"ROC and precision-recall curves; area under the ROC curve: {'; '.join(known)}."
        if known
        else "No curve: the test frames are of one class.",
        f"{caption} In the picture (.png, .svg) alone, the axis of false alarms is linear left of "
        "0.01 and logarithmic right of it.",
        picture,
        pd.DataFrame(records, columns=["name", "curve", "x", "y"]),
        chart(_curve_panels(scores), height=520) if known else "",
        "" if known else "There is no curve: the test frames are of one class.",
    )


def _curve_panels(scores: Sequence[Scored]) -> list[Panel]:
    """Return ROC and precision-recall curves; one zooms into the corner that matters."""
    roc = [Line("chance", [0, 1], [0, 1], style.GREY, dash=":", mode="lines")]
    precision = []
    for n, score in enumerate(scores):
        if score.roc is None or score.precision_recall is None:
            continue
        # Dashes where colours come again.
        colour, dash = style.CYCLE[n % len(style.CYCLE)], "-" if n < len(style.CYCLE) else "--"
        at = score.roc.false_alarm, score.roc.recall
        roc.append(Line(score.label, *at, colour, dash=dash, mode="lines"))
        at = score.precision_recall.recall, score.precision_recall.precision
        precision.append(Line(score.label, *at, colour, dash=dash, mode="lines"))
    share = {"range": [-0.02, 1.02]}
    return [
        Panel(roc, "false alarms: share of frames without a hit", "recall: share of hits",
              "ROC", share, share),
        Panel(precision, "recall: share of hits", "precision: share of the called that are hits",
              "Precision and recall", share, share),
    ]  # fmt: skip


def _points(name: str, curve: str, x: list[float], y: list[float]) -> list[dict[str, object]]:
    return [{"name": name, "curve": curve, "x": a, "y": b} for a, b in zip(x, y, strict=True)]


def draw_spots(task: str, series: Sequence[tuple[str, Sequence[Spots]]], caption: str) -> Drawing:
    """Draw right answers against the number of true spots."""
    series = [(name, parts) for name, parts in series if parts]
    places = {part.first: part.words for _, parts in series for part in parts}
    order = {first: place for place, first in enumerate(sorted(places))}
    with styled():
        figure = new_figure(8, 3.9)
        axes = figure.subplots()
        for number, (name, parts) in enumerate(series):
            offset = (number - (len(series) - 1) / 2) * 0.7 / max(len(series), 1)
            colour = style.CYCLE[number % len(style.CYCLE)]
            x = [order[part.first] + offset for part in parts]
            for place, part in zip(x, parts, strict=True):
                low, high = part.interval
                axes.plot([place, place], [100 * low, 100 * high], color=colour, linewidth=1.4)
            axes.plot(
                x,
                [100 * part.correct / part.n for part in parts],
                style.MARKERS[number % len(style.MARKERS)],
                color=colour,
                markersize=5.5,
                label=name,
            )
        counts: dict[int, int] = {}
        for _, parts in series:
            for part in parts:
                counts[part.first] = max(counts.get(part.first, 0), part.n)
        axes.set_xticks(
            list(order.values()), [f"{places[first]}\nn {counts[first]}" for first in order]
        )
        axes.set_ylim(-3, 103)
        axes.set_xlabel("true spots of the frame")
        axes.set_ylabel("right answers, %")
        if series:
            columns = legend_columns([name for name, _ in series], 8)
            figure.legend(loc="outside upper center", ncols=columns)
        picture = to_picture(figure)
    return Drawing(
        f"{task}_spots",
        "By the number of true spots",
        "Share of right answers, with 95 % interval, against the number of true spots of a frame.",
        f"n: test frames with so many spots; bars: 95 % interval (Wilson). {caption}",
        picture,
        pd.DataFrame(
            [
                {"name": name, "spots": part.words, "n": part.n, "correct": part.correct,
                 "low": part.interval[0], "high": part.interval[1]}
                for name, parts in series
                for part in parts
            ],
            columns=["name", "spots", "n", "correct", "low", "high"],
        ),
        said="" if series else "This evaluation does not count spots.",
    )  # fmt: skip
