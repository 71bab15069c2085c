"""Make the whole report: every figure, its data, and the page."""

from pathlib import Path

from spotmill.formats.atomic import atomic, write_text
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
from spotmill.report.figures_task import draw_task, draw_verdict
from spotmill.report.figures_values import draw_values
from spotmill.report.inputs import Inputs
from spotmill.report.page import (
    Contents,
    FluxSection,
    PeakSection,
    TaskSection,
    ValueSection,
    render,
)
from spotmill.report.style import Drawing
from spotmill.report.verdict import group_tasks


def build(inputs: Inputs) -> Contents:
    """Draw all figures."""
    profiles = measure_water(inputs)
    table = dataset_table(inputs, profiles)
    groups = group_tasks(inputs.tasks)
    data = [draw_datasets(inputs, table), draw_gallery(inputs)]
    detail = choose_detail(inputs)
    if detail is not None:
        data.append(draw_detail(inputs, detail))
    data.append(draw_radial(inputs, profiles))
    if inputs.frame_map is not None:
        data.append(draw_map(inputs, inputs.frame_map))
    by_name = {task.name: task for task in inputs.tasks}
    sections = [
        TaskSection(by_name[row.task], group, draw_task(inputs, by_name[row.task]))
        for group in groups
        for row in group.rows
        if row.verdict is not None
    ]
    verdict = draw_verdict(groups) if groups else None
    values = [ValueSection(task, draw_values(task)) for task in inputs.values]
    peaks = [PeakSection(task, draw_peaks(task)) for task in inputs.peaks]
    flux = [FluxSection(task, draw_flux(task)) for task in inputs.flux]
    return Contents(inputs, table, groups, verdict, data, sections, values, peaks, flux)


def write(contents: Contents, output: Path, figures: Path) -> None:
    """Write the figures with their data, then the page; nothing before all is drawn."""
    page = render(contents)
    with atomic(output) as temporary:
        for drawing in contents.drawings:
            write_drawing(drawing, figures)
        temporary.write_text(page, encoding="utf-8")


def write_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a figure as `NAME.png` and its data as `NAME.csv`."""
    with atomic(folder / f"{drawing.name}.png") as temporary:
        temporary.write_bytes(drawing.png)
    write_text(folder / f"{drawing.name}.csv", drawing.data.to_csv(index=False))
