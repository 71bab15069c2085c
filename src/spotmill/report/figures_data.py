"""Figures of the data: what was made, and whether it is physical."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator

from spotmill.config import FIRST_EMPTY
from spotmill.formats.tables import SPOTS
from spotmill.physics.geometry import scattering_magnitude
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.report import style
from spotmill.report.inputs import Image, Inputs, read_frame, read_frames, read_spots
from spotmill.report.pictures import Window, add_scale, show_frame, show_window, window_around
from spotmill.report.radial import Profile, radial_profile
from spotmill.report.style import Drawing, new_figure, styled, to_png

GALLERY = 12
EMPTIES_READ = 20
DETAIL = 160  # pixels across the window shown at full resolution


def frame_name(index: int) -> str:
    """Return what to call a frame: empties are counted from 0 like patterns."""
    return f"empty {index - FIRST_EMPTY}" if index >= FIRST_EMPTY else f"frame {index}"


def conditions(inputs: Inputs, dataset: str) -> str:
    """Return photon energy and camera length of a dataset in a few characters."""
    row = inputs.datasets[dataset]
    return f"{row.photon_energy / 1000:g} keV, {row.clen:g} m"


def dataset_table(inputs: Inputs, profiles: Mapping[str, Profile]) -> pd.DataFrame:
    """Return one row a dataset: conditions, counts, spots and photons."""
    rows = []
    for name, dataset in inputs.datasets.items():
        crystals, profile = inputs.frames(name, "crystal"), profiles[name]
        hits = int(crystals["is_hit"].sum())
        ratio, sigma = profile.ratio
        rows.append(
            {
                "dataset": name,
                "photon_energy": dataset.photon_energy,
                "clen": dataset.clen,
                "patterns": len(crystals),
                "empties": len(inputs.frames(name, "empty")),
                "hits": hits,
                "hit_fraction": hits / len(crystals) if len(crystals) else np.nan,
                "median_spots": crystals["n_spots"].median(),
                "mean_bragg_photons": crystals["photons"].mean(),
                "expected_water_photons": profile.expected_total,
                "measured_water_photons": profile.total if profile.frames else np.nan,
                "empties_measured": profile.frames,
                "water_ratio": ratio,
                "water_ratio_sigma": sigma,
            }
        )
    return pd.DataFrame(rows)


def measure_water(inputs: Inputs) -> dict[str, Profile]:
    """Return the radial profile of the first empties of every dataset."""
    profiles = {}
    for name, dataset in inputs.datasets.items():
        water = inputs.water(name)
        wavelength = wavelength_from_photon_energy(dataset.photon_energy)
        s = scattering_magnitude(inputs.detector(name), wavelength)
        rows = inputs.frames(name, "empty").sort_values("index").head(EMPTIES_READ)
        profiles[name] = radial_profile(read_frames(rows), water.photons, water.mask, s)
    return profiles


def draw_datasets(inputs: Inputs, table: pd.DataFrame) -> Drawing:
    """Draw counts, spots and photons of every dataset."""
    names = list(inputs.datasets)
    with styled():
        figure = new_figure(10, 1.6 + 0.34 * len(names))
        counts, spots, photons = figure.subplots(1, 3, sharey=True)
        _draw_counts(counts, table)
        crystals = [inputs.frames(name, "crystal") for name in names]
        _draw_spread(spots, [rows["n_spots"] for rows in crystals], "true spots per pattern")
        _draw_spread(photons, [rows["photons"] for rows in crystals], "Bragg photons per pattern")
        spots.axvline(inputs.hit.min_spots, color=style.VERMILION, linestyle="--", linewidth=1)
        spots.set_title(f"Spots (dashed: {inputs.hit.min_spots} make a hit)")
        photons.set_title("Photons in spots")
        labels = [f"{name}  ({conditions(inputs, name)})" for name in names]
        counts.set_yticks(range(len(names)), labels)
        counts.invert_yaxis()
        png = to_png(figure)
    return Drawing(
        "datasets",
        "The datasets at a glance",
        "Bars: hits, patterns that are no hits, and empties of each dataset. Beside them the "
        "spread of true spots and of Bragg photons per pattern.",
        f"A spot counts from {inputs.hit.min_photons} drawn photons. Boxes span the middle half "
        "of the patterns, the line is the median, whiskers reach the 5th and 95th percentile.",
        png,
        table,
    )


def _draw_counts(axes: Axes, table: pd.DataFrame) -> None:
    y, left = np.arange(len(table)), np.zeros(len(table))
    misses = table["patterns"] - table["hits"]
    for label, values, colour, hatch in (
        ("hits", table["hits"], style.BLUE, ""),
        ("patterns, no hit", misses, style.SKY, "///"),
        ("empties", table["empties"], "#dddddd", ""),
    ):
        axes.barh(y, values, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
        left = left + values.to_numpy()
    axes.set_xlabel("frames")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_title("Frames", pad=22)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=3, handlelength=1, columnspacing=1
    )


def _draw_spread(axes: Axes, values: Sequence["pd.Series[float]"], label: str) -> None:
    shown = [(place, v.to_numpy()) for place, v in enumerate(values) if len(v)]
    axes.boxplot(
        [v for _, v in shown],
        positions=[place for place, _ in shown],
        orientation="horizontal",
        whis=(5, 95),
        widths=0.55,
        manage_ticks=False,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": style.GREY},
        medianprops={"color": style.VERMILION, "linewidth": 1.8},
        boxprops={"color": style.BLUE},
        whiskerprops={"color": style.BLUE},
        capprops={"color": style.BLUE},
    )
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=10))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(label)


def draw_radial(inputs: Inputs, profiles: Mapping[str, Profile]) -> Drawing:
    """Draw measured and expected water of every dataset against q."""
    names = list(inputs.datasets)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    data = []
    with styled():
        figure = new_figure(10, 0.9 + 2.4 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes, name in zip(grid.flat, names, strict=False):
            profile = profiles[name]
            _draw_profile(axes, profile)
            axes.set_title(f"{name}   {conditions(inputs, name)}")
            data.append(_profile_table(name, profile))
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("q = 4π sin θ / λ   (1/Å)", fontsize=9.5)
        figure.supylabel("photons per pixel and frame", fontsize=9.5)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        png = to_png(figure)
    return Drawing(
        "radial_profiles",
        "Frames without a crystal against the expected water",
        "One panel a dataset: photons per pixel against q; measured dots on the expected line.",
        f"Dots: mean of the first {EMPTIES_READ} empties (or as many as there are) with the "
        "Poisson uncertainty to expect; line: the expected water image. Water scatters most "
        "strongly at about q = 2/Å (d ≈ 3 Å); where the detector reaches that far, the ring must show.",
        png,
        pd.concat(data, ignore_index=True),
    )


def _draw_profile(axes: Axes, profile: Profile) -> None:
    ring = profile.pixels > 0
    axes.plot(
        profile.q[ring], profile.expected[ring], color=style.VERMILION, label="expected", zorder=3
    )
    if profile.frames:
        axes.errorbar(
            profile.q[ring],
            profile.measured[ring],
            profile.sigma[ring],
            fmt="o",
            markersize=2.6,
            linewidth=0.8,
            color=style.BLUE,
            label="measured in empties",
        )
    else:
        axes.annotate("no empties", (0.5, 0.5), xycoords="axes fraction", ha="center")
    axes.set_ylim(bottom=0)


def _profile_table(name: str, profile: Profile) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": name,
            "q_per_angstrom": profile.q,
            "pixels": profile.pixels,
            "measured_photons_per_pixel": profile.measured,
            "sigma": profile.sigma,
            "expected_photons_per_pixel": profile.expected,
            "frames": profile.frames,
        }
    )


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


def draw_frames(inputs: Inputs, rows: Sequence[pd.Series], captions: Sequence[str]) -> bytes:
    """Draw whole frames three in a row, their true spots circled, and return the PNG."""
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    with styled():
        figure = new_figure(10 * columns / 3 + 0.4, 0.9 + 3.9 * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, row, caption in zip(grid.flat, rows, captions, strict=False):
            image = read_frame(row)
            picture = show_frame(axes, image.photons, image.mask, 380, "")
            axes.set_title(caption, fontsize=8.5, fontweight="normal")
            _circle(axes, true_spots(inputs, row), 45)
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in list(grid.flat)[len(rows) :]:
            axes.set_visible(False)
        add_scale(figure, picture, grid, location="bottom", shrink=0.8, aspect=45, pad=0.01)
        return to_png(figure)


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
    if found.empty:
        return window_around(shape[0] / 2, shape[1] / 2, DETAIL, shape)
    ss, fs = found["ss"].to_numpy(), found["fs"].to_numpy()
    near = (abs(ss - ss[:, None]) < DETAIL / 2) & (abs(fs - fs[:, None]) < DETAIL / 2)
    best = int(near.sum(axis=1).argmax())
    return window_around(ss[best], fs[best], DETAIL, shape)


def draw_detail(inputs: Inputs, detail: Detail) -> Drawing:
    """Draw a frame with its true spots, and a part of it at full resolution."""
    photons, mask = detail.image.photons, detail.image.mask
    window = richest_window(detail.spots, photons.shape)
    with styled():
        figure = new_figure(10, 9)
        (whole, close), (marked, empty) = figure.subplots(2, 2)
        picture = show_frame(whole, photons, mask, 560, "Whole frame, true spots circled")
        _circle(whole, detail.spots, 38)
        corner, size = (window.fs.start, window.ss.start), (window.fs.stop - window.fs.start)
        whole.add_patch(
            Rectangle(corner, size, size, fill=False, edgecolor=style.BLACK, linewidth=1.2)
        )
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
        png = to_png(figure)
    name = detail.row["dataset"]
    return Drawing(
        "frame_detail",
        "A frame, looked at closely",
        "Four pictures: a whole frame with circles around its true spots; a square of it at "
        "full resolution without and with circles; the same square of a frame without crystal.",
        f"Dataset {name} ({conditions(inputs, name)}), {describe(detail.row)}. Circles: spots of "
        f"at least {inputs.hit.min_photons} drawn photons, from the truth table that is kept "
        "beside every frame; everything else is water.",
        png,
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
            xytext=(0, 9),
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
