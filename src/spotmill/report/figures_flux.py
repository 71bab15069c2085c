"""Figures of hits at several fluxes: AUROC with its bounds, recall at one threshold, training."""

import pandas as pd
from matplotlib.axes import Axes

from spotmill.report import style
from spotmill.report.figures_task import draw_training
from spotmill.report.flux import FluxResult, FluxTask
from spotmill.report.style import Drawing, new_figure, styled, to_png


def draw_flux(task: FluxTask) -> list[Drawing]:
    """Draw all figures of a task at several fluxes; as many as any other task has."""
    return [draw_training(task), draw_auroc(task), draw_per_dataset(task), draw_recall(task)]


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
    with styled():
        figure = new_figure(8, 4.2)
        axes = figure.subplots()
        for result, colour, marker, dashes in looks:
            _draw_line(axes, result, colour, marker, dashes)
        axes.axhline(0.5, color=style.GREY, linewidth=0.7)
        axes.set_xscale("log")
        _name_fluxes(axes, task)
        axes.set_ylim(0.4, 1.02)
        axes.set_xlabel("share of the full flux on the crystal")
        axes.set_ylabel("AUROC")
        axes.legend(loc="lower left")
        png = to_png(figure)
    return Drawing(
        f"{task.name}_confusion",
        "Hits told from other frames, by flux",
        "AUROC of the model, of baselines and of two bounds against the flux.",
        "Bands: 95 % interval. Dashed: the blind bound, which knows how often which signal "
        "occurs in a pixel, not where; dotted: the oracle, which knows the frame's own spots.",
        png,
        _table([*evaluation.results, *evaluation.bounds]),
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
    """Draw the AUROC of the model within every dataset against the flux."""
    records = [
        {"dataset": name, "flux": point.flux, "n_hit": part.n_hit, "n_no_hit": part.n_no_hit,
         "auroc": part.auroc}
        for point in task.evaluation.ours.flux
        for name, part in point.per_dataset.items()
    ]  # fmt: skip
    table = pd.DataFrame(records)
    with styled():
        figure = new_figure(8, 3.8)
        axes = figure.subplots()
        for number, (name, rows) in enumerate(table.groupby("dataset")):
            axes.plot(
                rows["flux"],
                rows["auroc"].astype(float),
                color=style.CYCLE[number % len(style.CYCLE)],
                marker=style.MARKERS[number % len(style.MARKERS)],
                linestyle="-" if number < len(style.CYCLE) else "--",
                label=str(name),
            )
        axes.set_xscale("log")
        _name_fluxes(axes, task)
        axes.set_ylim(0.3, 1.02)
        axes.set_xlabel("share of the full flux on the crystal")
        axes.set_ylabel("AUROC")
        axes.legend(ncols=2)
        png = to_png(figure)
    return Drawing(
        f"{task.name}_per_dataset",
        "Dataset by dataset",
        "AUROC of the model within each dataset against the flux.",
        "Few frames make these uncertain; the data name the numbers.",
        png,
        table,
    )


def draw_recall(task: FluxTask) -> Drawing:
    """Draw recall and specificity of the model at its one threshold against the flux."""
    records = []
    with styled():
        figure = new_figure(6, 3.4)
        axes = figure.subplots()
        for name, colour, marker in (
            ("recall", style.BLUE, "o"),
            ("specificity", style.ORANGE, "s"),
        ):
            points = [
                (point.flux, getattr(point, name))
                for point in task.evaluation.ours.flux
                if getattr(point, name) and getattr(point, name).value is not None
            ]
            values = [share.value for _, share in points]
            axes.plot([flux for flux, _ in points], values, marker=marker, color=colour, label=name)
            records += [
                {"name": name, "flux": flux, "value": share.value, "n": share.n}
                for flux, share in points
            ]
        axes.set_xscale("log")
        _name_fluxes(axes, task)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("share of the full flux on the crystal")
        axes.legend()
        png = to_png(figure)
    return Drawing(
        f"{task.name}_errors",
        "At one threshold",
        "Recall and specificity of the model against the flux.",
        "The threshold is chosen on validation frames of all fluxes together.",
        png,
        pd.DataFrame(records),
    )
