"""Figures of hits at several fluxes: AUROC with its bounds, recall at one threshold, training."""

import math

import pandas as pd
from matplotlib.axes import Axes

from spotmill.report import style
from spotmill.report.charts import Line, Panel, chart, log_axis
from spotmill.report.figures_quality import Scored, draw_calibration, draw_curves, draw_spots
from spotmill.report.figures_task import draw_training
from spotmill.report.flux import FluxResult, FluxTask, InDataset
from spotmill.report.style import Drawing, new_figure, styled, to_picture
from spotmill.report.verdict import percent


def draw_flux(task: FluxTask) -> list[Drawing]:
    """Draw the figures of a task at several fluxes, those that the workflow names."""
    ours = task.evaluation.ours
    return [
        draw_training(task),
        draw_auroc(task),
        draw_per_dataset(task),
        draw_recall(task),
        draw_curves(
            task.name,
            [
                Scored(
                    f"flux {point.flux:g}",
                    point.roc,
                    point.precision_recall,
                    point.auroc,
                    point.interval,
                    point.average_precision,
                )
                for point in ours.flux
            ],
            "The curves pool all datasets; the areas named are those within datasets.",
        ),
        draw_spots(
            task.name,
            [(f"flux {point.flux:g}", point.per_spots) for point in ours.flux],
            "Of the model at its one threshold; spots are counted at full flux.",
        ),
        draw_calibration(task.name, ours.calibration),
    ]


def _draw_line(axes: Axes, result: FluxResult, colour: str, marker: str, dashes: str) -> None:
    known = [point for point in result.flux if point.auroc is not None and point.interval]
    flux = [point.flux for point in known]
    axes.plot(flux, [point.auroc or 0.0 for point in known], dashes, color=colour, marker=marker,
              markersize=5, label=result.name)  # fmt: skip
    axes.fill_between(
        flux,
        [point.interval[0] for point in known if point.interval],
        [point.interval[1] for point in known if point.interval],
        color=colour,
        alpha=0.13,
        linewidth=0,
    )


def _name_fluxes(axes: Axes, task: FluxTask) -> None:
    """Write the fluxes along the axis, the full one first."""
    axes.set_xticks(task.evaluation.flux, [f"{flux:g}" for flux in task.evaluation.flux])
    axes.minorticks_off()
    axes.invert_xaxis()


def draw_auroc(task: FluxTask) -> Drawing:
    """Draw the AUROC of model, baselines and bounds against the flux."""
    evaluation = task.evaluation
    looks = [(result, style.CYCLE[n % len(style.CYCLE)], style.MARKERS[n % len(style.MARKERS)],
              "-") for n, result in enumerate(evaluation.results)]  # fmt: skip
    looks += [
        (bound, colour, "", dashes)
        for bound, colour, dashes in zip(
            evaluation.bounds, (style.GREY, style.BLACK), ("--", ":"), strict=False
        )
    ]
    lows = [point.interval[0] for result, *_ in looks for point in result.flux if point.interval]
    low = min(0.4, math.floor(10 * min(lows, default=0.4)) / 10)
    with styled():
        figure = new_figure(8, 4.2)
        axes = figure.subplots()
        for result, colour, marker, dashes in looks:
            _draw_line(axes, result, colour, marker, dashes)
        axes.axhline(0.5, color=style.GREY, linewidth=0.7)
        axes.set_xscale("log")
        _name_fluxes(axes, task)
        axes.set_ylim(low, 1.02)
        axes.set_xlabel("share of the full flux on the crystal")
        axes.set_ylabel("AUROC")
        axes.legend(loc="lower left")
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_confusion",
        "Hits told from other frames, by flux",
        "AUROC of the model, of baselines and of two bounds against the flux.",
        "Bands (bars in the chart): 95 % interval. Dashed: the blind bound, which knows how often "
        "which signal occurs in a pixel, not where; dotted: the oracle, which knows the frame's "
        "own spots.",
        picture,
        _table([*evaluation.results, *evaluation.bounds]),
        chart(
            [
                Panel(
                    [_chart_line(*look) for look in looks],
                    "share of the full flux on the crystal",
                    "AUROC",
                    "",
                    log_axis(evaluation.flux) | {"autorange": "reversed"},
                    {"range": [low, 1.02]},
                )
            ],
            height=480,
        ),
    )


def _chart_line(result: FluxResult, colour: str, marker: str, dashes: str) -> Line:
    known = [point for point in result.flux if point.auroc is not None and point.interval]
    ends = [point.interval or (0.0, 0.0) for point in known]
    return Line(
        result.name,
        [point.flux for point in known],
        [point.auroc for point in known],
        colour,
        marker or "o",
        dashes,
        "lines+markers" if marker else "lines",
        [low for low, _ in ends] if marker else None,
        [high for _, high in ends] if marker else None,
    )


def _table(results: list[FluxResult]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "name": result.name,
                "flux": point.flux,
                "n_hit": point.n_hit,
                "n_no_hit": point.n_no_hit,
                "auroc": point.auroc,
                "low": point.interval[0] if point.interval else None,
                "high": point.interval[1] if point.interval else None,
            }
            for result in results
            for point in result.flux
        ]
    )


def draw_per_dataset(task: FluxTask) -> Drawing:
    """Draw the AUROC of the model within every dataset against the flux, a panel a dataset."""
    points = task.evaluation.ours.flux
    records = [
        {"dataset": name, "flux": point.flux, "n_hit": part.n_hit, "n_no_hit": part.n_no_hit,
         "auroc": part.auroc, "low": part.interval[0] if part.interval else None,
         "high": part.interval[1] if part.interval else None}
        for point in points
        for name, part in point.per_dataset.items()
    ]  # fmt: skip
    table = pd.DataFrame(records)
    names = list(points[0].per_dataset)
    columns = min(3, max(len(names), 1))
    lines = -(-len(names) // columns) or 1
    with styled():
        figure = new_figure(10, 0.6 + 1.9 * lines)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_dataset(
                axes,
                [(point.flux, point.per_dataset[name]) for point in points
                 if name in point.per_dataset],
                name,
            )  # fmt: skip
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
        grid[0, 0].set_xscale("log")
        ticks = [flux for flux in task.evaluation.flux if _is_decade(flux)]
        grid[0, 0].set_xticks(ticks, [f"{flux:g}" for flux in ticks])
        grid[0, 0].minorticks_off()
        grid[0, 0].invert_xaxis()
        grid[0, 0].set_ylim(-0.03, 1.03)
        figure.supxlabel("share of the full flux on the crystal", fontsize=9.5)
        figure.supylabel("AUROC", fontsize=9.5)
        picture = to_picture(figure)
    return Drawing(
        f"{task.name}_per_dataset",
        "Dataset by dataset",
        "AUROC of the model within each dataset against the flux, one panel a dataset.",
        "Bars: 95 % interval; few frames make it wide. Line: 0.5, chance. A dataset with a single "
        "hit, or a single frame without one, tells no AUROC.",
        picture,
        table,
    )


def _is_decade(flux: float) -> bool:
    return math.isclose(math.log10(flux), round(math.log10(flux)), abs_tol=1e-6)


def _draw_dataset(axes: Axes, points: list[tuple[float, InDataset]], name: str) -> None:
    known = [(flux, part) for flux, part in points if part.auroc is not None]
    axes.axhline(0.5, color=style.GREY, linewidth=0.7)
    axes.plot([flux for flux, _ in known], [part.auroc or 0.0 for _, part in known],
              color=style.BLUE, marker="o", markersize=4, linewidth=1.2)  # fmt: skip
    for flux, part in known:
        if part.interval:
            axes.plot([flux, flux], part.interval, color=style.BLUE, linewidth=1.2)
    if not known:
        axes.annotate("no AUROC", (0.5, 0.6), xycoords="axes fraction", ha="center")
    first = points[0][1]
    hits = f"{first.n_hit} {'hit' if first.n_hit == 1 else 'hits'}"
    axes.set_title(f"{name}   {hits}, {first.n_no_hit} others", fontsize=9, fontweight="normal")


def draw_recall(task: FluxTask) -> Drawing:
    """Draw recall and specificity of the model at its one threshold against the flux."""
    ours = task.evaluation.ours
    at_rate = [point.at_alarm_rate for point in ours.flux if point.at_alarm_rate]
    lines = [
        ("recall", style.BLUE, "o", "-", [point.recall for point in ours.flux]),
        ("specificity", style.ORANGE, "s", "-", [point.specificity for point in ours.flux]),
    ]
    if len(at_rate) == len(ours.flux):
        name = f"recall, threshold for {percent(at_rate[0].rate)} false alarms"
        lines.append((name, style.GREEN, "^", "--", [one.recall for one in at_rate]))
    records = []
    with styled():
        figure = new_figure(8, 3.8)
        axes = figure.subplots()
        for name, colour, marker, dashes, shares in lines:
            points = [
                (point.flux, share)
                for point, share in zip(ours.flux, shares, strict=True)
                if share is not None and share.value is not None
            ]
            flux = [each for each, _ in points]
            values = [share.value or 0.0 for _, share in points]
            axes.plot(flux, values, dashes, marker=marker, color=colour, label=name)
            for place, share in points:
                if share.interval:
                    axes.plot([place, place], share.interval, color=colour, linewidth=1.2)
            records += [
                {"name": name, "flux": place, "value": share.value, "n": share.n,
                 "low": share.interval[0] if share.interval else None,
                 "high": share.interval[1] if share.interval else None}
                for place, share in points
            ]  # fmt: skip
        axes.set_xscale("log")
        _name_fluxes(axes, task)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("share of the full flux on the crystal")
        axes.set_ylabel("share of frames")
        figure.legend(loc="outside upper center", ncols=3)
        picture = to_picture(figure)
    words = ""
    if at_rate:
        first = at_rate[0]
        alarms = first.false_alarms
        words = (
            f" The second threshold lets at most {percent(first.rate)} of the {first.n_validation} "
            "validation blanks through"
        )
        if alarms.value is not None and alarms.interval is not None:
            words += (
                f"; {percent(alarms.value)} of {alarms.n} test blanks pass it (95 % interval "
                f"{percent(alarms.interval[0])} to {percent(alarms.interval[1])})"
            )
        words += "."
    return Drawing(
        f"{task.name}_errors",
        "At one threshold",
        "Recall and specificity of the model against the flux.",
        "The thresholds are chosen on validation frames of all fluxes together; bars: 95 % "
        f"interval.{words}",
        picture,
        pd.DataFrame(records),
    )
