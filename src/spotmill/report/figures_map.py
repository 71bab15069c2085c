"""The map of frames: where they lie by their physical features, and which are odd."""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spotmill.errors import SpotmillError
from spotmill.physics.frame_features import FEATURES
from spotmill.report import style
from spotmill.report.charts import MOST, Line, Panel, chart, evenly
from spotmill.report.inputs import FrameMap, Inputs
from spotmill.report.names import frame_name
from spotmill.report.style import Drawing, new_figure, styled, to_picture

LISTED = 12
# Shapes of clusters in the chart, by Plotly's names.
CLUSTERS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "hexagram")
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
        picture = to_picture(figure)
    words = ""
    if len(frames) > MOST:
        words = f" The chart draws {MOST} of them, evenly taken, and all odd ones."
    clusters = frames.loc[frames["cluster"] >= 0, "cluster"].nunique()
    return Drawing(
        "map",
        "The frames by their features",
        "Two scatter plots of all frames, coloured by dataset; circles are hits, triangles are "
        f"not; {len(odd)} odd frames are ringed and numbered.",
        f"{len(frames)} of {placed.n_manifest} frames, each by {placed.n_features} physical "
        "features of image and mask. A frame is odd where it differs from the others of its "
        f"dataset (local outlier factor of {placed.odd_from:g} or more). HDBSCAN finds "
        f"{clusters} {'cluster' if clusters == 1 else 'clusters'}; its number is in the table with "
        "all features. In the chart the shape of a point is its cluster (a star of lines: none), "
        "open points are no hits, and a click or Enter opens a frame that the gallery holds."
        f"{words}",
        picture,
        frames,
        _chart(placed, odd, names, shares),
    )


def _draw_points(
    axes: Axes, frames: pd.DataFrame, odd: pd.DataFrame, names: list[str], way: str
) -> None:
    """Draw all frames; a cloud of very many is pixels in the SVG, too."""
    x, y = f"{way}_1", f"{way}_2"
    for number, name in enumerate(names):
        for is_hit, (marker, _) in SHAPES.items():
            own = frames[(frames["dataset"] == name) & (frames["is_hit"] == is_hit)]
            colour = style.one_of(number, len(names))
            axes.scatter(
                own[x],
                own[y],
                s=13,
                marker=marker,
                color=colour,
                alpha=0.75,
                lw=0,
                rasterized=len(frames) > MOST,
            )
    axes.scatter(odd[x], odd[y], s=95, facecolors="none", edgecolors=style.BLACK, linewidths=1.1)
    for place, (_, row) in enumerate(odd.iterrows(), 1):
        axes.annotate(
            str(place), (row[x], row[y]), xytext=(6, 4), textcoords="offset points", fontsize=8
        )


def _chart(placed: FrameMap, odd: pd.DataFrame, names: list[str], shares: list[str]) -> str:
    """Return the map to look at closely: a point opens its frame, a cluster has a shape."""
    frames = placed.frames.sort_values(["dataset", "index"]).reset_index(drop=True)
    frames = frames.loc[evenly(len(frames))]
    panels = []
    for way, title, labels in (
        (
            "pca",
            "Principal components",
            [
                f"component {n} ({s.removesuffix(' of the variance')})"
                for n, s in enumerate(shares, 1)
            ],
        ),
        ("umap", "UMAP: near ones are alike", ["coordinate 1", "coordinate 2"]),
    ):
        lines = []
        for number, name in enumerate(names):
            own = frames[frames["dataset"] == name]
            colour = style.one_of(number, len(names))
            lines.append(_points(own, way, name, colour, [_shape(row) for row in _each(own)]))
        if len(odd):
            rings = ["circle-open"] * len(odd)
            ringed = _points(odd, way, "odd", style.BLACK, rings)
            numbers = [str(number) for number in range(1, len(odd) + 1)]
            lines.append(replace(ringed, mode="markers+text", size=15, labels=numbers))
        panels.append(Panel(lines, labels[0], labels[1], title))
    return chart(panels, height=520)


def _points(rows: pd.DataFrame, way: str, name: str, colour: str, symbols: list[str]) -> Line:
    return Line(
        name,
        rows[f"{way}_1"],
        rows[f"{way}_2"],
        colour,
        mode="markers",
        points=[_words(row) for row in _each(rows)],
        frames=[(str(row["dataset"]), int(row["index"])) for row in _each(rows)],
        symbols=symbols,
    )


def _each(rows: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in rows.iterrows()]


def _shape(row: pd.Series) -> str:
    """Return the shape of a point: of its cluster; open where the frame is no hit."""
    cluster = int(row["cluster"])
    shape = CLUSTERS[cluster % len(CLUSTERS)] if cluster >= 0 else "asterisk"
    return shape if row["is_hit"] and cluster >= 0 else f"{shape}-open"


def _words(row: pd.Series) -> str:
    """Return what a pointer reads of a frame."""
    cluster = f"cluster {row['cluster']}" if row["cluster"] >= 0 else "in no cluster"
    odd = f"<br>odd ({row['oddness']:.2f}): {str(row['reason']).replace('_', ' ')}"
    return (
        f"dataset {row['dataset']}, {frame_name(int(row['index']))}: "
        f"{SHAPES[bool(row['is_hit'])][1]}, {cluster}{odd if row['odd'] else ''}"
    )


def _legend(names: list[str], odd: int) -> list[Line2D]:
    handles = [
        Line2D(
            [], [], color=style.one_of(number, len(names)), marker="s", linestyle="none", label=name
        )
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
    """Return the odd frames for the page: number, name, oddness, and why with its meaning."""
    meanings = {feature.name: feature.meaning for feature in FEATURES}
    return [
        {
            "number": number,
            "dataset": row["dataset"],
            "index": int(row["index"]),
            "oddness": float(row["oddness"]),
            "reason": str(row["reason"]).replace("_", " "),
            "meaning": meanings.get(str(row["reason"]), ""),
            "kind": SHAPES[bool(row["is_hit"])][1],
        }
        for number, (_, row) in enumerate(oddest(placed).iterrows(), 1)
    ]
