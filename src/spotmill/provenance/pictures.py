"""Pictures of a dataset for its card."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from spotmill.provenance.facts import Facts
from spotmill.report import style
from spotmill.report.figures_frames import DETAIL, richest_window, typical
from spotmill.report.inputs import read_frame, read_spots
from spotmill.report.names import frame_name
from spotmill.report.pictures import (
    Window,
    add_scale,
    max_pool,
    pool_factor,
    show_frame,
    show_window,
    window_around,
)
from spotmill.report.style import new_figure, styled, to_png

WHOLE = 420  # points across the picture of a whole frame
SHOWN = ((0.5, "typical"), (0.95, "rich in spots"))


def chosen(facts: Facts) -> list[tuple[str, pd.Series]]:
    """Return the frames to show, and what to call them."""
    frames = []
    if len(facts.patterns):
        frames += [(word, typical(facts.patterns, quantile)) for quantile, word in SHOWN]
    if len(facts.empties):
        frames.append(("empty", facts.empties.iloc[0]))
    return frames


def draw_frames(facts: Facts, least: int) -> bytes:
    """Draw whole frames above, and a square of each pixel by pixel below; return the PNG.

    Parameters
    ----------
    least
        Photons of a spot that counts.
    """
    frames = chosen(facts)
    with styled():
        figure = new_figure(3.6 * len(frames) + 0.6, 8.0)
        grid = figure.subplots(2, len(frames), squeeze=False)
        window = None
        for (word, row), whole, close in zip(frames, grid[0], grid[1], strict=True):
            image = read_frame(row)
            found = pd.DataFrame(columns=["fs", "ss", "photons"])
            if row["truth"]:
                found = read_spots(row)
                found = found[found["photons"] >= least]
            if window is None or len(found):
                window = square(found, image.photons.shape)
            crystal = row["kind"] == "crystal"
            told = f", {word}: {row['n_spots']} spots" if crystal else ": no crystal"
            title = f"{frame_name(row['index'])}{told}"
            picture = show_frame(whole, image.photons, image.mask, WHOLE, title)
            _circle(whole, found)
            size = window.fs.stop - window.fs.start
            corner = (window.fs.start, window.ss.start)
            whole.add_patch(
                Rectangle(
                    corner,
                    size,
                    window.ss.stop - window.ss.start,
                    fill=False,
                    edgecolor=style.BLACK,
                )
            )
            show_window(close, image.photons, image.mask, window, "the square, pixel by pixel")
            close.set_xlabel("fs (pixel)")
        for axes in grid[:, 0]:
            axes.set_ylabel("ss (pixel)")
        add_scale(figure, picture, grid, location="bottom", shrink=0.8, aspect=45, pad=0.01)
        return to_png(figure)


def square(found: pd.DataFrame, shape: tuple[int, ...]) -> Window:
    """Return the square around most spots, at most a third of the frame across."""
    near = richest_window(found, shape)
    middle = (near.ss.start + near.ss.stop) / 2, (near.fs.start + near.fs.stop) / 2
    return window_around(*middle, min(DETAIL, max(shape) // 3), shape)


def _circle(axes: Axes, spots: pd.DataFrame) -> None:
    axes.scatter(
        spots["fs"], spots["ss"], s=40, facecolors="none", edgecolors=style.BLUE, linewidths=0.9
    )


def draw_water(facts: Facts) -> bytes:
    """Draw the expected background and the empties against it; return the PNG."""
    factor = pool_factor(facts.water.shape, WHOLE)
    small, live = max_pool(facts.water, facts.mask, factor)
    shown = np.ma.MaskedArray(small, mask=~live | (small <= 0))
    profile = facts.profile
    with styled():
        figure = new_figure(10, 4.4)
        left, right = figure.subplots(1, 2)
        extent = (0, small.shape[1] * factor, small.shape[0] * factor, 0)
        norm = LogNorm() if shown.count() and shown.max() > shown.min() else None
        picture = left.imshow(shown, norm=norm, cmap="viridis", extent=extent)
        left.set(title="Expected photons in a pixel", xlabel="fs (pixel)", ylabel="ss (pixel)")
        bar = figure.colorbar(picture, ax=left, shrink=0.85, label="photons")
        bar.formatter = FuncFormatter(plainly)
        bar.ax.yaxis.set_minor_formatter(FuncFormatter(plainly))
        ring = profile.pixels > 0
        right.plot(profile.q[ring], profile.expected[ring], color=style.VERMILION, label="expected")
        if profile.frames:
            right.errorbar(
                profile.q[ring],
                profile.measured[ring],
                profile.sigma[ring],
                fmt="o",
                markersize=3,
                color=style.BLUE,
                label=f"mean of {profile.frames} empties",
            )
        right.set(
            title="Around the beam",
            xlabel="q = 4π sin θ / λ   (1/Å)",
            ylabel="photons per pixel and frame",
        )
        right.legend()
        return to_png(figure)


def draw_spots(facts: Facts, min_spots: int) -> bytes:
    """Draw how many spots frames have, how bright and how far out they are; return the PNG."""
    with styled():
        figure = new_figure(10, 3.4)
        count, photons, resolution = figure.subplots(1, 3)
        numbers = facts.patterns["n_spots"].to_numpy()
        _histogram(count, numbers, _whole_bins(numbers))
        count.axvline(min_spots - 0.5, color=style.VERMILION, linestyle="--", linewidth=1)
        count.set(
            title=f"Spots a pattern (a hit: {min_spots})",
            xlabel="spots that count",
            ylabel="patterns",
        )
        top = max(facts.photons.max(initial=10.0), 10.0)
        bright = np.geomspace(max(facts.photons.min(initial=5.0), 1.0), 1.01 * top, 30)
        _histogram(photons, facts.photons, bright)
        photons.set(title="Photons of a spot", xlabel="drawn photons", ylabel="spots", xscale="log")
        photons.xaxis.set_major_formatter(FuncFormatter(plainly))
        photons.xaxis.set_minor_formatter(NullFormatter())
        _histogram(resolution, 1 / facts.resolution, np.linspace(0, 1 / facts.d_edge, 30))
        resolution.set(title="Resolution of spots", xlabel="1/d (1/Å)", ylabel="spots")
        return to_png(figure)


def plainly(value: float, position: int | None = None) -> str:
    """Return a number of an axis as it is said, with one figure at 1, 2 and 5 alone."""
    text = f"{value:.3g}"
    return text if position is None or text.strip("0.")[:1] in ("1", "2", "5") else ""


def _whole_bins(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    top = int(max(numbers, default=0))
    step = max(1, -(-top // 30))
    return np.arange(-0.5, top + step + 0.5, step)


def _histogram(axes: Axes, values: np.ndarray, bins: np.ndarray) -> None:
    axes.hist(values, bins=list(bins), color=style.SKY, edgecolor="white", linewidth=0.4)
