"""Draw the picture of the README: a test frame, whole, nearer, and photon by photon.

    make run
    python docs/figures/make_frames_figure.py

Reads a frame of the shipped configuration, its true spots and the peaks that a trained model found,
in results/ or in the folder of results that is given; writes docs/figures/frames.png. The
frame is one of the test frames: no model saw it in training.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.patches import ConnectionPatch, Rectangle
from PIL import Image

from spotmill.formats.atomic import atomic
from spotmill.overlays.opener import open_overlay
from spotmill.report.style import new_figure, styled

ROOT = Path(__file__).resolve().parents[2]
DATASET, INDEX = "03", 11
BLOCK = 3  # pixels whose largest is a point of the whole frame
NEAR, NEAREST = 240, 22  # pixels across the two windows
FEWEST, MOST = 8, 30  # photons of the spot in the middle of the nearest
TRUE, FOUND, PAPER, INK = "#56B4E9", "#E69F00", "#0d1117", "#e6edf3"
COLOURS = 128


def read(results: Path):
    """Return photons, true spots of 5 photons or more, and found peaks."""
    manifest = pd.read_parquet(results / "manifest/all.parquet")
    row = manifest[(manifest["dataset"] == DATASET) & (manifest["index"] == INDEX)].iloc[0]
    with open_overlay(results.parent / row["overlay"]) as shard:
        image = np.where(shard.mask, shard.read(int(row["position"])), 0)
        gaps = ~shard.mask
    truth = pd.read_parquet(results.parent / row["truth"])
    truth = truth[(truth["index"] == INDEX) & (truth["photons"] >= 5)]
    found = pd.read_parquet(results / "evaluation/peaks/predictions.parquet")
    found = found[(found["dataset"] == DATASET) & (found["index"] == INDEX)]
    return image, gaps, truth, found


def largest(image, size: int):
    """Return the largest pixel of each block."""
    high, wide = (side // size * size for side in image.shape)
    blocks = image[:high, :wide].reshape(high // size, size, wide // size, size)
    return blocks.max(axis=(1, 3))


def window(spots: pd.DataFrame, ss: float, fs: float, size: int) -> pd.DataFrame:
    """Return the spots in a square around a place."""
    near = (spots["ss"] - ss).abs().lt(size / 2) & (spots["fs"] - fs).abs().lt(size / 2)
    return spots[near]


def busiest(truth: pd.DataFrame, shape: tuple[int, int]):
    """Return a weak spot in whose neighbourhood the most spots lie."""
    inside = truth["ss"].between(NEAR, shape[0] - NEAR) & truth["fs"].between(NEAR, shape[1] - NEAR)
    weak = truth[inside & truth["photons"].between(FEWEST, MOST)]
    counts = [len(window(truth, spot.ss, spot.fs, NEAR)) for spot in weak.itertuples()]
    return weak.iloc[int(np.argmax(counts))]


def draw(results: Path) -> bytes:
    """Return the picture as PNG of few colours."""
    image, gaps, truth, found = read(results)
    middle = busiest(truth, image.shape)
    ss, fs = round(middle["ss"]), round(middle["fs"])
    with styled():
        figure = new_figure(9.6, 6.4)
        figure.set_facecolor(PAPER)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.02)
        grid = figure.add_gridspec(2, 2, width_ratios=(2.03, 1))
        whole, near, nearest = (
            figure.add_subplot(grid[place]) for place in ((slice(None), 0), (0, 1), (1, 1))
        )
        colours = {"cmap": "magma", "norm": LogNorm(0.12, 60), "interpolation": "nearest"}
        values = np.ma.masked_where(largest(gaps, BLOCK), largest(image, BLOCK))
        high, wide = (side * BLOCK for side in values.shape)
        whole.imshow(values.clip(0.12), extent=(0, wide, high, 0), **colours)
        # A pixel reaches from its number to the next, as CrystFEL has it.
        nearer = np.ma.masked_where(gaps, image).clip(0.12)
        for axes, half in ((near, NEAR / 2), (nearest, NEAREST / 2)):
            axes.imshow(nearer, extent=(0, image.shape[1], image.shape[0], 0), **colours)
            axes.set(xlim=(fs - half, fs + half), ylim=(ss + half, ss - half))
        for axes, size in ((whole, 55), (near, 150), (nearest, 2600)):
            thick = 0.8 if axes is whole else 1.4
            for spots, marker, colour, larger in (
                (truth, "o", TRUE, 1.0),
                (found, "s", FOUND, 1.7),
            ):
                axes.scatter(
                    spots["fs"],
                    spots["ss"],
                    s=size * larger,
                    marker=marker,
                    facecolors="none",
                    edgecolors=colour,
                    linewidths=thick,
                )
        for row, column in np.ndindex(NEAREST + 1, NEAREST + 1):
            place = (ss - NEAREST // 2 + row, fs - NEAREST // 2 + column)
            if count := image[place]:
                ink = "black" if count > 3 else INK
                middle_of = {"ha": "center", "va": "center", "fontsize": 5.5, "clip_on": True}
                nearest.text(place[1] + 0.5, place[0] + 0.5, str(count), color=ink, **middle_of)
        for outer, inner, size in ((whole, near, NEAR), (near, nearest, NEAREST)):
            corner = (fs - size / 2, ss - size / 2)
            outer.add_patch(Rectangle(corner, size, size, fill=False, ec=INK, lw=1.2))
            for end in (0, 1):
                down = outer is near
                start = (corner[0] + size * (end if down else 1), corner[1] + size * (down or end))
                stop = (end, 1) if down else (0, 1 - end)
                ends = {"axesA": outer, "axesB": inner}
                line = ConnectionPatch(
                    start, stop, "data", "axes fraction", **ends, color=INK, lw=0.6, alpha=0.5
                )
                figure.add_artist(line)
        true = int(found["matched"].sum())
        told = f"{len(truth)} true spots (○), {len(found)} found (□), {len(found) - true} false"
        whole.set(xlim=(0, wide), ylim=(high, 0))
        titles = (
            f"An exposure of proteinase K: {told}",
            f"{NEAR} pixels across, single photons",
            f"{NEAREST} pixels: a spot of {middle['photons']:.0f} photons",
        )
        for axes, title in zip((whole, near, nearest), titles, strict=True):
            axes.set_title(title, color=INK, fontsize=9.5)
        for axes in (whole, near, nearest):
            axes.set(facecolor="#30363d", xticks=[], yticks=[])
            for side in axes.spines.values():
                side.set_visible(False)
        print(told)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", facecolor=PAPER, dpi=170)
    few = Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    few.save(packed, format="png", optimize=True)
    return packed.getvalue()


def main() -> None:
    """Write the picture."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "results").resolve()
    with atomic(ROOT / "docs/figures/frames.png") as part:
        part.write_bytes(draw(results))


if __name__ == "__main__":
    main()
