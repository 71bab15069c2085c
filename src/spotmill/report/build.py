"""Make the whole report: every figure, its data, and the page."""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from spotmill.formats.atomic import atomic, write_text
from spotmill.report.changes import Changes
from spotmill.report.figures_data import (
    dataset_table,
    draw_datasets,
    draw_radial,
    measure_water,
)
from spotmill.report.figures_flux import draw_flux
from spotmill.report.figures_frames import choose_detail, draw_detail, draw_gallery
from spotmill.report.figures_map import draw_map
from spotmill.report.figures_peaks import draw_peaks
from spotmill.report.figures_saliency import draw_saliency
from spotmill.report.figures_spread import draw_spread
from spotmill.report.figures_task import draw_task, draw_verdict
from spotmill.report.figures_values import draw_values
from spotmill.report.inputs import Inputs
from spotmill.report.page import (
    Contents,
    FluxSection,
    Looked,
    PeakSection,
    TaskSection,
    ValueSection,
    render,
)
from spotmill.report.saliency import Saliency
from spotmill.report.standings import standings, table
from spotmill.report.style import Drawing
from spotmill.report.verdict import group_tasks

# Significant digits of numbers in the tables of figures.
DIGITS = 6


def build(
    inputs: Inputs, changes: Changes | None = None, saliency: Sequence[Saliency] = ()
) -> Contents:
    """Draw all figures; `changes` says what differs from an earlier report."""
    profiles = measure_water(inputs)
    sets = dataset_table(inputs, profiles)
    groups = group_tasks(inputs.tasks)
    data = [draw_datasets(inputs, sets), draw_gallery(inputs)]
    detail = choose_detail(inputs)
    if detail is not None:
        data.append(draw_detail(inputs, detail))
    data += [draw_radial(inputs, profiles), draw_spread(inputs)]
    if inputs.frame_map is not None:
        data.append(draw_map(inputs, inputs.frame_map))
    by_name = {task.name: task for task in inputs.tasks}
    looked = {one.name: Looked(one, draw_saliency(inputs, one, profiles)) for one in saliency}
    sections = [
        TaskSection(
            by_name[row.task],
            group,
            draw_task(inputs, by_name[row.task]),
            looked.get(row.task),
        )
        for group in groups
        for row in group.rows
        if row.verdict is not None
    ]
    verdict = draw_verdict(groups) if groups else None
    values = [
        ValueSection(task, draw_values(task), looked.get(task.name)) for task in inputs.values
    ]
    peaks = [PeakSection(task, draw_peaks(task), looked.get(task.name)) for task in inputs.peaks]
    flux = [FluxSection(task, draw_flux(task), looked.get(task.name)) for task in inputs.flux]
    return Contents(inputs, sets, groups, verdict, data, sections, values, peaks, flux, changes)


def write(contents: Contents, output: Path, figures: Path) -> None:
    """Write figures, tables and scripts, then the page; nothing before all is drawn."""
    place = Path(os.path.relpath(figures.resolve(), output.parent.resolve())).as_posix()
    page = render(contents, quote(place))
    with atomic(output) as temporary:
        for drawing in contents.drawings:
            write_drawing(drawing, figures)
        rows = standings(contents.inputs)
        write_text(figures / "tasks.csv", table(rows).to_csv(index=False))
        write_scripts(output.parent / "scripts")
        temporary.write_text(page, encoding="utf-8")


def write_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a figure as `NAME.png` and `NAME.svg`, and its data as `NAME.csv`."""
    for ending, content in (("png", drawing.picture.png), ("svg", drawing.picture.svg)):
        with atomic(folder / f"{drawing.name}.{ending}") as temporary:
            temporary.write_bytes(content)
    told = drawing.data.to_csv(index=False, float_format=f"%.{DIGITS}g")
    write_text(folder / f"{drawing.name}.csv", told)


def write_scripts(folder: Path) -> None:
    """Copy the script of the charts and the library that it draws with, as Plotly ships it."""
    for package, name in (
        ("plotly", "package_data/plotly.min.js"),
        ("spotmill.report", "templates/charts.js"),
    ):
        source = files(package).joinpath(name)
        with atomic(folder / Path(name).name) as temporary:
            temporary.write_bytes(source.read_bytes())
