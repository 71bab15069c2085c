"""Frames as pictures on which single photons show."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

# Steps of the scale, in photons: a step begins where it says and ends before the next.
STEPS = (0, 1, 2, 3, 5, 10, 30, 100)
STEP_NAMES = ("0", "1", "2", "3-4", "5-9", "10-29", "30-99", "100 +")
GAP = "#bcd7ea"


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels within a frame."""

    ss: slice
    fs: slice

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top in pixels, for pictures with ss downwards."""
        return (self.fs.start, self.fs.stop, self.ss.stop, self.ss.start)


def scale() -> ListedColormap:
    """Return the stepped scale: white for nothing, darker for more."""
    magma = matplotlib.colormaps["magma_r"]
    colours = ["#ffffff"] + [magma(x) for x in np.linspace(0.22, 1.0, len(STEPS) - 1)]
    return ListedColormap(colours, bad=GAP)


def levels(image: NDArray[Any], mask: NDArray[np.bool_]) -> np.ma.MaskedArray[Any, Any]:
    """Return the step of every pixel [ss, fs], masked where no pixel is live."""
    steps = np.digitize(np.where(mask, image, 0), STEPS) - 1
    return np.ma.MaskedArray(steps, mask=~mask)


def max_pool(
    image: NDArray[Any], mask: NDArray[np.bool_], factor: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Reduce a frame by the largest live pixel of every factor x factor block.

    A mean would hide single photons among millions of empty pixels. A block is live
    where any of its pixels is; pixels beyond the frame's edge count as dead.
    """
    padding = [(0, -size % factor) for size in image.shape]
    live = np.pad(mask, padding)
    values = np.pad(np.where(mask, image, 0), padding)
    blocks = (live.shape[0] // factor, factor, live.shape[1] // factor, factor)
    # A block that is mostly gap is drawn as gap, so that gaps stay visible.
    share = live.reshape(blocks).mean(axis=(1, 3))
    return values.reshape(blocks).max(axis=(1, 3)), share > 0.5


def pool_factor(shape: tuple[int, ...], pixels: int) -> int:
    """Return the smallest reduction that brings a frame down to `pixels` across."""
    return max(1, -(-max(shape) // pixels))


def window_around(ss: float, fs: float, size: int, shape: tuple[int, ...]) -> Window:
    """Return a window of size x size around a position, moved to lie within the frame."""
    parts = []
    for centre, length in ((ss, shape[0]), (fs, shape[1])):
        width = min(size, length)
        start = min(max(int(centre) - width // 2, 0), length - width)
        parts.append(slice(start, start + width))
    return Window(*parts)


def show_frame(
    axes: Axes, image: NDArray[Any], mask: NDArray[np.bool_], pixels: int, title: str
) -> AxesImage:
    """Draw a whole frame [ss, fs], reduced by maximum to at most `pixels` across."""
    factor = pool_factor(image.shape, pixels)
    small, live = max_pool(image, mask, factor)
    extent = (0, small.shape[1] * factor, small.shape[0] * factor, 0)
    return _show(axes, small, live, extent, title)


def show_window(
    axes: Axes, image: NDArray[Any], mask: NDArray[np.bool_], window: Window, title: str
) -> AxesImage:
    """Draw a part of a frame, every pixel of it."""
    part = (window.ss, window.fs)
    return _show(axes, image[part], mask[part], window.extent, title)


def _show(
    axes: Axes,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    extent: tuple[float, float, float, float],
    title: str,
) -> AxesImage:
    picture = axes.imshow(
        levels(image, mask),
        cmap=scale(),
        vmin=-0.5,
        vmax=len(STEPS) - 0.5,
        interpolation="nearest",
        extent=extent,
    )
    # What is drawn over it must not stretch the axes.
    axes.autoscale(False)
    axes.set_title(title)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    return picture


def add_scale(figure: Figure, picture: AxesImage, axes: Any, **where: Any) -> Colorbar:
    """Draw the legend of the stepped scale beside some axes, and return it."""
    bar = figure.colorbar(picture, ax=axes, ticks=range(len(STEPS)), **where)
    bar.set_label("photons in the pixel")
    along = bar.ax.set_xticklabels if bar.orientation == "horizontal" else bar.ax.set_yticklabels
    along(STEP_NAMES)
    bar.ax.tick_params(length=0)
    return bar
