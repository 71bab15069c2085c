"""Figures of frames: what the detector sees, and where the true spots are."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from spotmill.formats.tables import SPOTS
from spotmill.report import style
from spotmill.report.inputs import Image, Inputs, read_frame, read_spots
from spotmill.report.names import conditions, frame_name
from spotmill.report.pictures import Window, add_scale, show_frame, show_window, window_around
from spotmill.report.style import Drawing, Picture, new_figure, styled, to_picture

GALLERY = 12
DETAIL = 160  # pixels across the window shown at full resolution, of small frames half a side


def typical(rows: pd.DataFrame, quantile: float) -> pd.Series:
    """Return the frame at a quantile of the number of spots, of the hits where there are any."""
    rows = rows[rows["is_hit"]] if rows["is_hit"].any() else rows
    ordered = rows.sort_values(["n_spots", "dataset", "index"])
    return ordered.iloc[round(quantile * (len(ordered) - 1))]


def draw_gallery(inputs: Inputs) -> Drawing:
    """Draw one typical frame of every dataset."""
    shown = [n for n in inputs.datasets if len(inputs.frames(n, "crystal"))][:GALLERY]
    if not shown:
        shown = list(inputs.datasets)[:GALLERY]
    rows = [typical(inputs.frames(name), 0.5) for name in shown]
    captions = [
        f"{name}   {conditions(inputs, name)}\n{describe(row)}"
        for name, row in zip(shown, rows, strict=True)
    ]
    return Drawing(
        "frames",
        "One typical frame of each dataset",
        "Whole frames, one a dataset: Bragg spots as circled dark dots over scattered single "
        "photons of water; blue bars are the gaps between detector modules.",
        "The hit with the median number of spots, with its water. Each point of the picture is "
        "the largest pixel of a block, so that single photons show. Circles: true spots; blue "
        "bars: gaps between modules.",
        draw_frames(inputs, rows, captions),
        pd.DataFrame(rows)[["dataset", "index", "kind", "n_spots", "photons", "is_hit"]],
    )


def describe(row: pd.Series) -> str:
    """Return what is true of a frame in a few words."""
    return f"{frame_name(row['index'])}: {spots(row)}, {row['photons']} Bragg photons"


def spots(row: pd.Series) -> str:
    """Return the number of true spots of a frame."""
    return f"{row['n_spots']} {'spot' if row['n_spots'] == 1 else 'spots'}"


def draw_frames(inputs: Inputs, rows: Sequence[pd.Series], captions: Sequence[str]) -> Picture:
    """Draw whole frames three in a row, their true spots circled."""
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    images = [read_frame(row) for row in rows]
    # Wide frames take less height than square ones.
    tall = max(image.photons.shape[0] / image.photons.shape[1] for image in images)
    with styled():
        figure = new_figure(10 * columns / 3 + 0.4, 0.9 + (0.45 + 3.3 * min(tall, 1.05)) * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, row, image, caption in zip(grid.flat, rows, images, captions, strict=False):
            picture = show_frame(axes, image.photons, image.mask, 380, "")
            axes.set_title(caption, fontsize=8.5, fontweight="normal")
            _circle(axes, true_spots(inputs, row), 45)
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in list(grid.flat)[len(rows) :]:
            axes.set_visible(False)
        # Beneath a single frame the scale's names need all of the width.
        shrink = 0.8 if columns > 1 else 1.0
        bar = add_scale(
            figure, picture, grid, location="bottom", shrink=shrink, aspect=45, pad=0.01
        )
        bar.ax.tick_params(labelsize=8.5 if columns > 1 else 6.5)
        return to_picture(figure)


@dataclass(frozen=True)
class Detail:
    """A frame to look at closely: its row, image, true spots, and an empty beside it."""

    row: pd.Series
    image: Image
    spots: pd.DataFrame
    empty: Image | None


def choose_detail(inputs: Inputs) -> Detail | None:
    """Choose a frame rich in spots and an empty of the same dataset; None without crystals."""
    crystals = inputs.manifest[inputs.manifest["kind"] == "crystal"]
    if crystals.empty:
        return None
    row = typical(crystals, 0.9)
    empties = inputs.frames(row["dataset"], "empty").sort_values("index")
    empty = read_frame(empties.iloc[0]) if len(empties) else None
    return Detail(row, read_frame(row), true_spots(inputs, row), empty)


def true_spots(inputs: Inputs, row: pd.Series) -> pd.DataFrame:
    """Return the true spots that count, the strongest first; none for an empty."""
    if not row["truth"]:
        return pd.DataFrame(columns=SPOTS.names)
    found = read_spots(row)
    found = found[found["photons"] >= inputs.hit.min_photons]
    return found.sort_values(["photons", "ss", "fs"], ascending=False)


def richest_window(found: pd.DataFrame, shape: tuple[int, ...]) -> Window:
    """Return the window around that spot which has most other spots nearby."""
    size = min(DETAIL, max(min(shape) // 2, 1))
    if found.empty:
        return window_around(shape[0] / 2, shape[1] / 2, size, shape)
    ss, fs = found["ss"].to_numpy(), found["fs"].to_numpy()
    near = (abs(ss - ss[:, None]) < size / 2) & (abs(fs - fs[:, None]) < size / 2)
    best = int(near.sum(axis=1).argmax())
    return window_around(ss[best], fs[best], size, shape)


def draw_detail(inputs: Inputs, detail: Detail) -> Drawing:
    """Draw a frame with its true spots, and a part of it at full resolution."""
    photons, mask = detail.image.photons, detail.image.mask
    window = richest_window(detail.spots, photons.shape)
    with styled():
        figure = new_figure(10, 9)
        (whole, close), (marked, empty) = figure.subplots(2, 2)
        picture = show_frame(whole, photons, mask, 560, "Whole frame, true spots circled")
        _circle(whole, detail.spots, 38)
        corner = (window.fs.start, window.ss.start)
        sides = window.fs.stop - window.fs.start, window.ss.stop - window.ss.start
        whole.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=style.BLACK, linewidth=1.2))
        show_window(close, photons, mask, window, "The square, pixel by pixel")
        show_window(marked, photons, mask, window, "The same, true spots with h k l")
        _name_spots(marked, detail.spots, window)
        if detail.empty is None:
            empty.set_visible(False)
        else:
            show_window(empty, detail.empty.photons, mask, window, "The same place in an empty")
        for axes in (whole, close, marked, empty):
            axes.set_xlabel("fs (pixel)")
            axes.set_ylabel("ss (pixel)")
        add_scale(figure, picture, [close, empty], location="right", shrink=0.6, aspect=30)
        drawn = to_picture(figure)
    name = detail.row["dataset"]
    return Drawing(
        "frame_detail",
        "A frame, looked at closely",
        "Four pictures: a whole frame with circles around its true spots; a square of it at "
        "full resolution without and with circles; the same square of a frame without crystal.",
        f"Dataset {name} ({conditions(inputs, name)}), {describe(detail.row)}. Circles: spots of "
        f"at least {inputs.hit.min_photons} drawn photons, from the truth table that is kept "
        "beside every frame; the rest is water and weaker spots.",
        drawn,
        detail.spots,
    )


def _name_spots(axes: Axes, found: pd.DataFrame, window: Window) -> None:
    inside = found[
        found["fs"].between(window.fs.start, window.fs.stop)
        & found["ss"].between(window.ss.start, window.ss.stop)
    ]
    _circle(axes, inside, 150)
    for spot in inside.itertuples():
        axes.annotate(
            f"{spot.h} {spot.k} {spot.l}",
            (spot.fs, spot.ss),
            xytext=(0, 11),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=style.BLUE,
            annotation_clip=True,
        )


def _circle(axes: Axes, spots: pd.DataFrame, area: float) -> None:
    axes.scatter(
        spots["fs"], spots["ss"], s=area, facecolors="none", edgecolors=style.BLUE, linewidths=1
    )
