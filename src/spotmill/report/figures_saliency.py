"""Figures of where a model looked: squares of a frame, rings around the beam, or pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spotmill.formats.frames import Shard
from spotmill.learning.dimmed import dimmed
from spotmill.physics.photons import stream
from spotmill.report import style
from spotmill.report.figures_frames import true_spots
from spotmill.report.inputs import Image, Inputs, read_frame
from spotmill.report.pictures import Window, show_frame, show_window
from spotmill.report.radial import Profile
from spotmill.report.saliency import Frame, Saliency
from spotmill.report.style import Drawing, new_figure, styled, to_picture
from spotmill.report.verdict import percent

# Purple lowers the answer, orange raises it: told apart by the colour-blind, and in grey by sign.
COLOURS = "PuOr_r"
# Where the scale of colours changes from even steps to powers, as a share of its end.
LINEAR = 0.02
# Of the figure, inches; and the squares of a frame that its table holds at most.
HEIGHT, SQUARES = 4.8, 1000
# Squares below this share of a frame's width are marked, larger than they are: else none is seen.
SMALL = 1 / 40
# From so many times the median on, photons a pixel stand on a logarithmic axis.
FAR_ABOVE = 20.0
# Water's own ring, 1/Å (its first maximum is near 2).
RING = (1.6, 2.6)
# Photons times Å: of an energy in eV.
HC = 12398.419843


def draw_saliency(inputs: Inputs, seen: Saliency, profiles: Mapping[str, Profile]) -> Drawing:
    """Draw where the model of a task looked in a few frames."""
    frames = seen.found.frames
    columns = max(len(frames), 1)
    # One scale for all, so that frames in which nothing stands out look so.
    norm = norm_of(seen.parts["change"])
    with styled():
        figure = new_figure(10 * columns / 3, HEIGHT)
        grid = figure.subplots(2, columns, squeeze=False)
        for place, frame in enumerate(frames):
            pair = grid[:, place]
            if seen.found.kind == "rings":
                _draw_rings(pair, inputs, seen, place, profiles)
            elif seen.found.kind == "peaks":
                _draw_pixels(pair, inputs, seen, place, norm)
            else:
                _draw_squares(pair, inputs, seen, place, norm)
            look: dict[str, Any] = {"fontsize": 7.5, "fontweight": "normal", "loc": "center"}
            pair[0].set_title(f"{frame.why}\n{frame.words}", **look)
            pair[1].set_title(f"{_answers(frame)}\n{_on_spots(frame)}", **look)
            for axes in pair:
                axes.tick_params(labelsize=7)
                axes.xaxis.label.set_fontsize(8)
                axes.yaxis.label.set_fontsize(8)
        if frames and seen.found.kind != "rings":
            _add_bar(figure, grid, norm)
        picture = to_picture(figure)
    return Drawing(
        f"{seen.name}_saliency",
        "Where did the network look?",
        f"{len(frames)} frames of {seen.name}, and below each what raises or lowers the answer. "
        + " ".join(
            f"{f.why}, {f.words}: {_answers(f)}; {' '.join(_on_spots(f).split())}." for f in frames
        ),
        _caption(seen),
        picture,
        strongest(seen),
    )


def strongest(seen: Saliency) -> pd.DataFrame:
    """Return all rings, or of every frame the squares that change the answer most."""
    if seen.found.kind == "rings":
        return seen.parts
    most = seen.parts["change"].abs().groupby(seen.parts["frame"]).rank("first", ascending=False)
    kept = seen.parts[most <= SQUARES]
    return kept.assign(change=[float(f"{value:.3g}") for value in kept["change"]])


def _caption(seen: Saliency) -> str:
    found = seen.found
    what = {
        "map": "Above: the frame, true spots circled. Below: by how much each square raises "
        "(orange) or lowers (purple) the answer; small squares are drawn larger than they are",
        "rings": "Above: photons a pixel by angle. Below: by how much each ring raises or lowers "
        "the answer; dotted: the ring of the water, where the detector reaches it",
        "peaks": "Above: the photons around a peak. Below: by how much each pixel raises "
        "(orange) or lowers (purple) the answer",
    }[found.kind]
    told = (
        f"{seen.verdict} {what}. Answer: {found.answer}; {found.method}, against {found.reference}."
    )
    if found.kind != "rings":
        told += (
            f" The colours are the same in all frames: even steps up to {percent(LINEAR)} of the "
            "largest change, equal factors beyond."
        )
    if found.kind != "rings" and seen.parts["frame"].value_counts().max() > SQUARES:
        told += f" The table has the {SQUARES} squares of a frame that change the answer most."
    return told


def _answers(frame: Frame) -> str:
    return signed(f"answer {frame.answer:.3g}, without all of it {frame.without:.3g}")


def signed(words: str) -> str:
    """Return numbers with a minus sign as long as the plus sign."""
    return words.replace(" -", " \N{MINUS SIGN}")


def _on_spots(frame: Frame) -> str:
    spots = frame.spots
    if spots is None or spots.share is None or spots.area is None:
        return f"against {frame.next}" if frame.next else " "
    word = "spot" if spots.n == 1 else "spots"
    return (
        f"{percent(spots.share)} of all change on {spots.n} true {word},\n"
        f"{100 * spots.area:.2g} % of the area"
    )


def shown(inputs: Inputs, row: pd.Series, flux: float) -> Image:
    """Return a frame as the model saw it, at a share of the flux on the crystal."""
    image = read_frame(row)
    if flux == 1 or not row["peaks"]:
        return image
    with Shard(row["peaks"]) as shard:
        drawn, seed = shard.read(int(row["position"])), shard.header.seed
    rng = stream(seed, str(row["dataset"]), int(row["index"]), f"flux {flux:g}")
    return Image(dimmed(image.photons, drawn, flux, rng), image.mask)


def norm_of(change: "pd.Series[float]") -> Normalize:
    """Return the scale of colours of changes: symmetric, in even steps near 0, then in powers."""
    most = float(change.abs().max()) if len(change) else 0.0
    return SymLogNorm(most * LINEAR, vmin=-most, vmax=most) if most > 0 else Normalize(-1, 1)


def _draw_squares(
    pair: np.ndarray, inputs: Inputs, seen: Saliency, place: int, norm: Normalize
) -> None:
    frame, parts = seen.found.frames[place], seen.of(place)
    row = inputs.frame(frame.dataset, frame.index)
    image = shown(inputs, row, frame.flux)
    spots = true_spots(inputs, row)
    show_frame(pair[0], image.photons, image.mask, 250, "")
    step = int(parts["edge"].min())
    size = -(-np.array(image.photons.shape) // step)
    values = np.zeros(size)
    squares = parts[["ss", "fs", "edge"]].to_numpy() // step
    for (ss, fs, edge), change in zip(squares.tolist(), parts["change"].tolist(), strict=True):
        values[ss : ss + edge, fs : fs + edge] = change
    extent = (0, float(size[1] * step), float(size[0] * step), 0)
    pair[1].imshow(values, cmap=COLOURS, norm=norm, extent=extent, interpolation="nearest")
    _mark_small(pair[1], parts, image.photons.shape[1], norm)
    for axes in pair:
        axes.scatter(
            spots["fs"], spots["ss"], s=30, facecolors="none", edgecolors=style.BLUE, linewidths=0.5
        )
        axes.set_xlim(0, image.photons.shape[1])
        axes.set_ylim(image.photons.shape[0], 0)
        axes.set_xticks([])
        axes.set_yticks([])


def _mark_small(axes: Axes, parts: pd.DataFrame, width: int, norm: Normalize) -> None:
    """Mark the small squares that change the answer beyond the even steps, the largest last."""
    least = LINEAR * (norm.vmax or 0.0)
    small = parts[(parts["edge"] < SMALL * width) & (parts["change"].abs() > least)]
    small = small.iloc[small["change"].abs().argsort(kind="stable")]
    fs, ss = (small[name] + small["edge"] / 2 for name in ("fs", "ss"))
    axes.scatter(fs, ss, s=9, c=small["change"], cmap=COLOURS, norm=norm, marker="s", linewidths=0)


def _draw_pixels(
    pair: np.ndarray, inputs: Inputs, seen: Saliency, place: int, norm: Normalize
) -> None:
    frame, parts = seen.found.frames[place], seen.of(place)
    image = read_frame(inputs.frame(frame.dataset, frame.index))
    ss, fs = (slice(int(parts[n].min()), int(parts[n].max()) + 1) for n in ("ss", "fs"))
    window = Window(ss, fs)
    show_window(pair[0], image.photons, image.mask, window, "")
    for at in parts[["ss", "fs"]].to_numpy().tolist():
        photons = int(image.photons[at[0], at[1]])
        if photons and image.mask[at[0], at[1]]:
            pair[0].annotate(
                str(photons),
                (at[1] + 0.5, at[0] + 0.5),
                ha="center",
                va="center",
                fontsize=4.5,
                color="white" if photons >= 5 else "black",
            )
    values = np.zeros((ss.stop - ss.start, fs.stop - fs.start))
    values[parts["ss"] - ss.start, parts["fs"] - fs.start] = parts["change"]
    pair[1].imshow(values, cmap=COLOURS, norm=norm, extent=window.extent, interpolation="nearest")
    for axes in pair:
        axes.plot(frame.fs, frame.ss, "o", mfc="none", mec=style.BLUE, mew=0.8, markersize=25)
        axes.set_xlabel("fs (pixel)")
        axes.set_ylabel("ss (pixel)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))


def _add_bar(figure: Figure, grid: np.ndarray, norm: Normalize) -> None:
    """Draw the scale of colours beside the lower pictures, all of them alike in size."""
    most = float(norm.vmax or 0.0)
    steps = (1, 0.1, LINEAR) if isinstance(norm, SymLogNorm) else (1,)
    ticks = [*(-most * step for step in steps), 0, *(most * step for step in reversed(steps))]
    where: dict[str, Any] = {"shrink": 0.4, "anchor": (0.0, 0.04), "aspect": 14, "pad": 0.01}
    bar = figure.colorbar(
        ScalarMappable(norm, COLOURS), ax=list(grid.ravel()), ticks=ticks, **where
    )
    words = [signed(f" {tick:.2g}").strip() for tick in ticks]
    bar.ax.set_yticklabels(words, fontsize=6.5)
    bar.ax.minorticks_off()
    bar.set_label("lowers \N{LEFTWARDS ARROW} the answer \N{RIGHTWARDS ARROW} raises", fontsize=7)


def _draw_rings(
    pair: np.ndarray,
    inputs: Inputs,
    seen: Saliency,
    place: int,
    profiles: Mapping[str, Profile],
) -> None:
    frame, rings = seen.found.frames[place], seen.of(place)
    lit = rings[rings["pixels"] > 0]
    other = "mean of validation frames" + (f", {frame.next}" if frame.next else "")
    pair[0].plot(lit["two_theta"], lit["photons"], color=style.BLUE, label="this frame")
    pair[0].plot(
        lit["two_theta"], lit["reference"], color=style.ORANGE, linestyle="--", label=other
    )
    pair[0].set_ylabel("photons a pixel")
    _make_room(pair[0], lit)
    width = np.gradient(rings["two_theta"]) * 0.9
    pair[1].bar(rings["two_theta"], rings["change"], width, color=style.BLUE)
    pair[1].axhline(0, color=style.GREY, linewidth=0.8)
    pair[1].set_ylabel("change of the answer")
    ring = water_ring(profiles.get(frame.dataset), inputs.datasets[frame.dataset].photon_energy)
    for axes in pair:
        axes.set_xlabel("2θ (°)")
        if ring is not None and ring <= rings["two_theta"].max():
            axes.axvline(ring, color=style.BLACK, linestyle=":", linewidth=1)


def _make_room(axes: Axes, lit: pd.DataFrame) -> None:
    """Choose the axis of photons a pixel, with room for a legend above all lines."""
    drawn = lit[["photons", "reference"]].to_numpy()
    above = drawn[drawn > 0]
    if len(above) and above.max() > FAR_ABOVE * np.median(above):
        style.plain_log(axes)
        low, high = above.min() / 1.5, above.max()
        axes.set_ylim(low, high * (high / low) ** 0.3)
    elif len(above):
        axes.set_ylim(0, 1.3 * above.max())
    axes.legend(loc="upper right", fontsize=6.5)


def water_ring(profile: Profile | None, photon_energy: float) -> float | None:
    """Return 2θ (degrees) of the maximum of the expected water, or None where none is seen."""
    if profile is None:
        return None
    inside = np.flatnonzero((profile.q >= RING[0]) & (profile.q <= RING[1]) & (profile.pixels > 0))
    if len(inside) < 3:
        return None
    best = int(inside[int(profile.expected[inside].argmax())])
    if best in (inside[0], inside[-1]):
        return None
    return float(np.degrees(2 * np.arcsin(profile.q[best] * HC / photon_energy / (4 * np.pi))))
