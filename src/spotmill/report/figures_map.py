"""The map of frames: where they lie by their physical features, and which are odd."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spotmill.errors import SpotmillError
from spotmill.report import style
from spotmill.report.inputs import FrameMap, Inputs
from spotmill.report.names import frame_name
from spotmill.report.style import Drawing, new_figure, styled, to_png

LISTED = 12
SHAPES = {True: ("o", "hit"), False: ("^", "no hit")}


def oddest(placed: FrameMap) -> pd.DataFrame:
    """Return the odd frames, the oddest first, as many as the report lists."""
    odd = placed.frames[placed.frames["odd"]]
    return odd.sort_values(["oddness", "dataset", "index"], ascending=[False, True, True]).head(
        LISTED
    )


def draw_map(inputs: Inputs, placed: FrameMap) -> Drawing:
    """Draw frames by their principal components and by UMAP; ring the odd ones."""
    frames, odd = placed.frames, oddest(placed)
    names = [name for name in inputs.datasets if (frames["dataset"] == name).any()]
    stray = set(frames["dataset"]) - set(names)
    if stray:
        raise SpotmillError(f"--map: dataset {min(stray)!r} is not in the sheet; remake the map")
    with styled():
        figure = new_figure(10, 4.9)
        left, right = figure.subplots(1, 2)
        for axes, way in ((left, "pca"), (right, "umap")):
            _draw_points(axes, frames, odd, names, way)
        shares = [f"{100 * share:.0f} % of the variance" for share in placed.explained_variance]
        left.set(xlabel=f"component 1 ({shares[0]})", ylabel=f"component 2 ({shares[1]})")
        left.set_title("Principal components")
        right.set(xlabel="coordinate 1", ylabel="coordinate 2", xticks=[], yticks=[])
        right.set_title("UMAP: near ones are alike")
        figure.legend(handles=_legend(names, len(odd)), loc="outside lower center", ncols=6)
        png = to_png(figure)
    clusters = frames.loc[frames["cluster"] >= 0, "cluster"].nunique()
    return Drawing(
        "map",
        "The frames by their features",
        "Two scatter plots of all frames, coloured by dataset; circles are hits, triangles are "
        f"not; {len(odd)} odd frames are ringed and numbered.",
        f"{len(frames)} of {placed.n_manifest} frames, each by {placed.n_features} physical "
        "features of image and mask. A frame is odd where it differs from the others of its "
        f"dataset (local outlier factor of {placed.odd_from:g} or more). HDBSCAN finds "
        f"{clusters} {'cluster' if clusters == 1 else 'clusters'}, in the table with all features.",
        png,
        frames,
    )


def _draw_points(
    axes: Axes, frames: pd.DataFrame, odd: pd.DataFrame, names: list[str], way: str
) -> None:
    x, y = f"{way}_1", f"{way}_2"
    for number, name in enumerate(names):
        for is_hit, (marker, _) in SHAPES.items():
            own = frames[(frames["dataset"] == name) & (frames["is_hit"] == is_hit)]
            colour = _colour(number, len(names))
            axes.scatter(own[x], own[y], s=13, marker=marker, color=colour, alpha=0.75, lw=0)
    axes.scatter(odd[x], odd[y], s=95, facecolors="none", edgecolors=style.BLACK, linewidths=1.1)
    for place, (_, row) in enumerate(odd.iterrows(), 1):
        axes.annotate(
            str(place), (row[x], row[y]), xytext=(6, 4), textcoords="offset points", fontsize=8
        )


def _colour(number: int, count: int) -> str:
    if count <= len(style.CYCLE):
        return style.CYCLE[number]
    return style.many_colours(number, count)


def _legend(names: list[str], odd: int) -> list[Line2D]:
    handles = [
        Line2D([], [], color=_colour(number, len(names)), marker="s", linestyle="none", label=name)
        for number, name in enumerate(names)
    ]
    handles += [
        Line2D([], [], color=style.GREY, marker=marker, linestyle="none", label=label)
        for marker, label in SHAPES.values()
    ]
    if odd:
        ring = Line2D([], [], marker="o", linestyle="none", markersize=9, label="odd")
        ring.set(color=style.BLACK, markerfacecolor="none")
        handles.append(ring)
    return handles


def odd_rows(placed: FrameMap) -> list[dict[str, object]]:
    """Return the odd frames for the page: number, name, oddness and why."""
    return [
        {
            "number": number,
            "dataset": row["dataset"],
            "frame": frame_name(int(row["index"])),
            "oddness": float(row["oddness"]),
            "reason": str(row["reason"]).replace("_", " "),
            "kind": SHAPES[bool(row["is_hit"])][1],
        }
        for number, (_, row) in enumerate(oddest(placed).iterrows(), 1)
    ]
