"""Pictures of frames with what the models say of them."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic
from spotmill.inference.events import Event
from spotmill.inference.gain import in_photons
from spotmill.inference.pipeline import Prediction
from spotmill.report import style
from spotmill.report.pictures import GAP, add_scale, max_pool, pool_factor, show_frame
from spotmill.report.style import new_figure, styled, to_png

WHOLE = 900  # points across the picture of a frame
# Photons in the middle point from which on the steps of single photons say nothing any more.
BRIGHT = 10
# Percentiles of the points between which a bright frame's scale lies: above are the spots. It
# reaches so many times as far above the middle as below it, or an even background would be dark.
DARKEST, BRIGHTEST, ABOVE = 1.0, 99.5, 4.0


def draw(path: Path, event: Event, said: Prediction) -> None:
    """Write the picture of a frame (PNG), its peaks circled."""
    with styled():
        figure = new_figure(9.0, 9.2)
        axes = figure.subplots()
        show(figure, axes, in_photons(event), title_of(event, said))
        circle(axes, said)
        axes.set_xlabel("fs (pixel)")
        axes.set_ylabel("ss (pixel)")
        raw = to_png(figure)
    with atomic(path) as temporary:
        temporary.write_bytes(raw)


def show(figure: Figure, axes: Axes, event: Event, title: str) -> None:
    """Draw a frame and its scale: steps of single photons, or of a bright frame's background."""
    where: dict[str, Any] = {"location": "bottom", "shrink": 0.8, "aspect": 45, "pad": 0.01}
    factor = pool_factor(event.image.shape, WHOLE)
    small, live = max_pool(event.image, event.mask, factor)
    if np.median(small[live]) < BRIGHT:
        picture = show_frame(axes, event.image, event.mask, WHOLE, title)
        add_scale(figure, picture, axes, **where)
        return
    low, high = limits(small[live])
    picture = axes.imshow(
        np.ma.MaskedArray(small, mask=~live),
        cmap=matplotlib.colormaps["magma_r"].with_extremes(bad=GAP),
        norm=PowerNorm(0.5, low, high),
        interpolation="nearest",
        extent=(0, small.shape[1] * factor, small.shape[0] * factor, 0),
    )
    axes.set_title(title)
    bar = figure.colorbar(picture, ax=axes, extend="both", **where)
    bar.set_label("photons in the pixel, from the background on")


def limits(points: NDArray[Any]) -> tuple[float, float]:
    """Return the photons where the scale of a bright frame begins and ends."""
    low, middle, high = np.percentile(points, [DARKEST, 50.0, BRIGHTEST])
    return float(low), float(max(high, middle + ABOVE * (middle - low), low + 1))


def title_of(event: Event, said: Prediction) -> str:
    """Return what stands above the picture."""
    words = f"{'hit' if said.is_hit else 'no hit'} ({said.probability:.3f})"
    peaks = "" if said.n_peaks is None else f", {said.n_peaks} peaks"
    return f"{event.path.name} //{event.event}: {words}{peaks}"


def circle(axes: Axes, said: Prediction) -> None:
    """Circle the peaks."""
    place = said.peaks.place
    axes.scatter(
        place[:, 0], place[:, 1], s=90, facecolors="none", edgecolors=style.GREEN, linewidths=0.9
    )
