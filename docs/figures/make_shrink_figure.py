"""Draw what becomes of spots where frames are made smaller: docs/full-resolution.md.

    make run
    python docs/figures/make_shrink_figure.py

Reads the frames at 0.15 m of the shipped configuration (datasets 01 to 03) in results/, or in the
folder of results that is given, and writes docs/figures/shrink.png and shrink.csv.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from spotmill.formats.atomic import atomic, write_text
from spotmill.overlays.opener import open_overlay
from spotmill.report.style import CYCLE, MARKERS, new_figure, styled, to_png

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ("01", "02", "03")
BLANKS = 3  # of each dataset
FACTORS = (1, 2, 3, 4, 6, 8, 10)
FALSE = 10.0  # blocks of a blank frame that may lie above the threshold
FEWEST, MOST = 5, 20  # photons of the spots that are counted: near the limit of a hit
WINDOW = 200  # pixels, of the pictures
STEP, TOP = 4, 4000  # values are told apart to a quarter of a photon, up to 1000


def blocks(image, s: int):
    """Return a frame cut to whole blocks, as [block_ss, ss, block_fs, fs]."""
    high, wide = (side // s for side in image.shape)
    return image[: high * s, : wide * s].reshape(high, s, wide, s)


def average(image, s: int):
    """Return the mean of each block."""
    return blocks(image, s).mean(axis=(1, 3))


def average_8_bit(image, s: int):
    """Return the mean of each block, in whole numbers as image files hold them."""
    return np.round(average(np.minimum(image, 255), s))


def bilinear(image, s: int):
    """Return the frame between its pixels at the centres of blocks, as resizing without a filter.

    The centre of an even block lies between four pixels, that of an odd one on a pixel.
    """
    part = blocks(image, s)
    middle = slice((s - 1) // 2, s // 2 + 1)
    return part[:, middle, :, middle].mean(axis=(1, 3))


def total(image, s: int):
    """Return the sum of each block."""
    return blocks(image, s).sum(axis=(1, 3))


def largest(image, s: int):
    """Return the largest pixel of each block."""
    return blocks(image, s).max(axis=(1, 3))


WAYS = {
    "largest pixel": largest,
    "sum (exact mean: the same)": total,
    "mean, rounded to 8 bits": average_8_bit,
    "bilinear, no filter": bilinear,
}


def read_truth(results: Path, dataset: str) -> pd.DataFrame:
    """Return the spots that are counted."""
    files = sorted((results / "truth" / dataset).glob("p?????.parquet"))
    truth = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return truth[truth["photons"].between(FEWEST, MOST)]


def read_frames(results: Path, dataset: str, kind: str, most: int | None = None):
    """Yield index and image of the frames of a kind, gaps empty."""
    folder = results / "images/peaks_water_overlay" / dataset
    for path in sorted(folder.glob(f"{kind}?????.h5")):
        with open_overlay(path) as shard:
            for position, index in enumerate(shard.indices.tolist()[:most]):
                yield index, np.where(shard.mask, shard.read(position), 0)
        if most:
            return


def quarters(values):
    """Return values in steps of a quarter."""
    return np.minimum(np.round(np.asarray(values) * STEP), TOP).astype(np.int64)


def at_spot(image, ss: float, fs: float, s: int, shrink) -> float:
    """Return the largest block at a spot: its own, or one beside it that it reaches into."""
    part = []
    for place, side in ((ss, image.shape[0]), (fs, image.shape[1])):
        # A spot is a pixel or two wide: half a pixel to each side.
        near = ((place + d) // s for d in (-0.5, 0.5))
        first, last = (int(np.clip(block, 0, side // s - 1)) for block in near)
        part.append(slice(first * s, (last + 1) * s))
    return shrink(image[tuple(part)], s).max()


def measure(results: Path) -> pd.DataFrame:
    """Return the share of spots that stand out of blanks, by way and factor.

    The threshold of a dataset lets exactly `FALSE` blocks of a blank through: of those that lie on
    it a share, as values are few.
    """
    kinds = [(way, s) for way in WAYS for s in FACTORS]
    found = dict.fromkeys(kinds, 0.0)
    total = 0
    for dataset in DATASETS:
        noise = {kind: np.zeros(TOP + 1) for kind in kinds}
        for _, blank in read_frames(results, dataset, "e", BLANKS):
            for way, s in kinds:
                values = quarters(WAYS[way](blank, s)).ravel()
                noise[way, s] += np.bincount(values, minlength=TOP + 1) / BLANKS
        # Chance of each value to be let through.
        passes = {}
        for kind, counts in noise.items():
            above = counts[::-1].cumsum()[::-1] - counts
            share = np.divide(FALSE - above, counts, out=np.ones(TOP + 1), where=counts > 0)
            passes[kind] = np.clip(share, 0, 1) * (above <= FALSE)
        truth = read_truth(results, dataset)
        total += len(truth)
        for index, image in read_frames(results, dataset, "p"):
            for ss, fs in truth.loc[truth["index"] == index, ["ss", "fs"]].to_numpy():
                for way, s in kinds:
                    value = quarters(at_spot(image, ss, fs, s, WAYS[way]))
                    found[way, s] += passes[way, s][value]
    return pd.DataFrame(
        [
            {"way": way, "factor": s, "spots": total, "share": round(found[way, s] / total, 4)}
            for way, s in kinds
        ]
    )


def richest(results: Path):
    """Return a frame, its spots and the corner of the window with most of those counted."""
    truth = read_truth(results, DATASETS[0])
    cell = [truth["index"], truth["ss"] // WINDOW, truth["fs"] // WINDOW]
    index, row, column = truth.groupby(cell).size().idxmax()
    image = next(i for number, i in read_frames(results, DATASETS[0], "p") if number == index)
    return image, truth[truth["index"] == index], (int(row) * WINDOW, int(column) * WINDOW)


def draw(results: Path, table: pd.DataFrame):
    """Draw a window at full resolution and made smaller, and the shares."""
    image, spots, (ss, fs) = richest(results)
    window = image[ss : ss + WINDOW, fs : fs + WINDOW]
    near = spots[spots["ss"].between(ss, ss + WINDOW) & spots["fs"].between(fs, fs + WINDOW)]
    figure = new_figure(10, 6.2)
    places = [["full", "mean4", "mean10"], ["share", "max4", "max10"]]
    axes = figure.subplot_mosaic(places)
    for name, title, picture in (
        ("full", "full resolution", window),
        ("mean4", "mean of 4 × 4", average(window, 4)),
        ("mean10", "mean of 10 × 10", average(window, 10)),
        ("max4", "largest pixel of 4 × 4", largest(window, 4)),
        ("max10", "largest pixel of 10 × 10", largest(window, 10)),
    ):
        extent = (fs, fs + WINDOW, ss + WINDOW, ss)
        # One scale for all: what a network sees that is given numbers.
        shown = axes[name].imshow(
            picture, extent=extent, vmin=0, vmax=8, cmap="magma_r", interpolation="nearest"
        )
        for _, spot in near.iterrows():
            corner = (spot["fs"] - 6, spot["ss"] - 6)
            axes[name].add_patch(Rectangle(corner, 12, 12, fill=False, ec=CYCLE[0], lw=0.9))
        axes[name].set_title(title)
        axes[name].set_xticks([])
        axes[name].set_yticks([])
    figure.colorbar(shown, ax=[axes["mean10"], axes["max10"]], shrink=0.6, label="photons")
    for (way, part), colour, marker in zip(
        table.groupby("way", sort=False), CYCLE, MARKERS, strict=False
    ):
        axes["share"].plot(
            part["factor"], 100 * part["share"], marker=marker, ms=4.5, color=colour, label=way
        )
    axes["share"].set(xlabel="pixels along a block", ylim=(-2, 102))
    axes["share"].set_ylabel(f"spots of {FEWEST} to {MOST} photons found, %")
    axes["share"].set_title(f"at {FALSE:g} false a frame")
    axes["share"].legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return figure


def main() -> None:
    """Measure and draw."""
    here = Path(__file__).resolve().parent
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results"
    table = measure(results)
    print(table.pivot(index="way", columns="factor", values="share").to_string())
    with styled(), atomic(here / "shrink.png") as path:
        path.write_bytes(to_png(draw(results, table)))
    write_text(here / "shrink.csv", table.to_csv(index=False))


if __name__ == "__main__":
    main()
