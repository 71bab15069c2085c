"""Figures of a task of values: said against true, errors beside their limits, calibration."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import chi2

from spotmill.report import style
from spotmill.report.charts import MOST, evenly
from spotmill.report.figures_losses import draw_losses
from spotmill.report.style import Drawing, new_figure, plain_log, styled, to_picture
from spotmill.report.values import Part, ValueTask

# Shown in keV and mm.
SHOWN = {"eV": (1e-3, "keV"), "m": (1e3, "mm")}
LABELS = {"photon_energy": "photon energy, keV", "clen": "camera length, m"}
SCALES = {"photon_energy": 1e-3, "clen": 1.0}


def draw_values(task: ValueTask) -> list[Drawing]:
    """Draw all figures of a task of values."""
    losses = draw_losses(
        task.name,
        task.history,
        "negative log-likelihood",
        "Epoch by epoch; the weights of the lowest validation loss are kept.",
        logarithmic=False,
    )
    return [losses, draw_said(task), draw_parts(task), draw_calibration(task)]


def draw_said(task: ValueTask) -> Drawing:
    """Draw what was said against what was true, with standard deviations."""
    evaluation, table = task.evaluation, task.predictions
    factor, unit = SHOWN[evaluation.unit]
    drawn = table.iloc[evenly(len(table))]
    truth, said, sigma = (drawn[name] * factor for name in ("truth", "said", "sigma"))
    with styled():
        figure = new_figure(5.4, 4.6)
        axes = figure.subplots()
        axes.errorbar(
            truth, said, sigma, fmt="o", markersize=3, linewidth=0.6, color=style.BLUE, alpha=0.6
        )
        ends = [float(min(truth.min(), said.min())), float(max(truth.max(), said.max()))]
        axes.plot(ends, ends, color=style.GREY, linewidth=1)
        axes.set_xlabel(f"true, {unit}")
        axes.set_ylabel(f"said, {unit}")
        picture = to_picture(figure)
    ours = evaluation.ours
    return Drawing(
        f"{task.name}_confusion",
        "What was true and what was said",
        f"Answers against truth; root mean square error {ours.rmse * factor:.3g} {unit}.",
        "One point a test frame; bars: the standard deviation that the model states; line: equal."
        + (f" {MOST} of {len(table)} are drawn, evenly taken." if len(table) > MOST else ""),
        picture,
        table,
    )


def draw_parts(task: ValueTask) -> Drawing:
    """Draw the error in parts of both ranges, beside limit and Cramér-Rao bound."""
    evaluation = task.evaluation
    factor, unit = SHOWN[evaluation.unit]
    parts = evaluation.ours.per_part
    names = [name for name in LABELS if any(part.of == name for part in parts)] or ["clen"]
    with styled():
        figure = new_figure(4.6 * len(names), 3.6)
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            _draw_part(axes, [part for part in parts if part.of == name], SCALES[name], factor)
            axes.set_xlabel(LABELS[name])
        grid[0].set_ylabel(f"root mean square error, {unit}")
        grid[0].legend()
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_per_dataset",
        "Where on the range",
        "Error of the model beside limit and Cramér-Rao bound, by photon energy and camera length.",
        "Limit: the least error that any estimate can have on such photons and ranges. "
        "Cramér-Rao: of an unbiased estimate that knows no range. Bars: 95 % interval, of normal "
        "errors.",
        picture,
        pd.DataFrame([part.model_dump() for part in parts], columns=list(Part.model_fields)),
    )


def error_interval(rmse: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a root mean square error of `n` normal errors: of χ²."""
    low, high = chi2.ppf([0.025, 0.975], n)
    return float(rmse * np.sqrt(n / high)), float(rmse * np.sqrt(n / low))


def _draw_part(axes: Axes, parts: list[Part], scale: float, factor: float) -> None:
    middle = [scale * (part.low + part.high) / 2 for part in parts]
    for key, label, colour, marker in (
        ("rmse", "model", style.BLUE, "o"),
        ("limit", "limit", style.VERMILION, "_"),
        ("cramer_rao", "Cramér-Rao bound", style.GREY, "x"),
    ):
        values = [factor * getattr(part, key) for part in parts]
        axes.plot(middle, values, color=colour, marker=marker, linewidth=1, label=label)
        for place, part in zip(middle, parts if key == "rmse" else [], strict=False):
            ends = [factor * end for end in error_interval(part.rmse, part.n)]
            axes.plot([place, place], ends, color=colour, linewidth=1)
    if parts:
        plain_log(axes)


def draw_calibration(task: ValueTask) -> Drawing:
    """Draw the distribution of errors in units of the stated deviation beside the normal law."""
    table = task.predictions
    pull = (table["said"] - table["truth"]) / table["sigma"]
    edges = np.linspace(-4, 4, 25)
    counts = np.histogram(pull.clip(-4, 4), edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    normal = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi) * len(pull) * (edges[1] - edges[0])
    words = ", ".join(
        f"{level}: {share.value:.2f} ({share.interval[0]:.2f} to {share.interval[1]:.2f})"
        for level, share in task.evaluation.ours.coverage.items()
        if share.value is not None and share.interval is not None
    )
    with styled():
        figure = new_figure(5.4, 3.4)
        axes = figure.subplots()
        axes.bar(middle, counts, width=edges[1] - edges[0], color=style.SKY)
        axes.plot(middle, normal, color=style.BLACK, linewidth=1.2)
        axes.set_xlabel("error / stated standard deviation")
        axes.set_ylabel("test frames")
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_errors",
        "Are the stated deviations right?",
        f"Histogram of errors over stated deviations beside a normal law; coverage {words}.",
        f"Share of the {len(table)} test frames within the stated interval, by its level, with "
        f"95 % interval: {words}.",
        picture,
        pd.DataFrame({"pull": middle, "frames": counts, "normal": normal}),
    )
