"""How figures look: colours that the colour-blind tell apart, and one way to make files."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

# Okabe & Ito (2008), "Color Universal Design", without the yellow, which print loses.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
GREY = "#777777"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

DPI = 130
# Of pictures within an SVG, whose lines are sharp at any size; and colours of a PNG at most.
SVG_DPI, COLOURS = 72, 256


def many_colours(number: int, count: int) -> str:
    """Return one of many colours, from dark to light, that the colour-blind tell apart."""
    # The last eighth of the scale is too light for a white ground.
    return to_hex(matplotlib.colormaps["viridis"](0.875 * number / max(count - 1, 1)))


def one_of(number: int, count: int) -> str:
    """Return the colour of one of `count` datasets."""
    return CYCLE[number] if count <= len(CYCLE) else many_colours(number, count)


# Any: matplotlib types this mapping by a literal of every key it knows.
_SETTINGS: Any = {
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "font.size": 9.5,
    "text.usetex": False,
    # Names come from users: a dollar sign is a dollar sign.
    "text.parse_math": False,
    # Names of the parts of an SVG, the same every time.
    "svg.hashsalt": "spotmill",
}


@dataclass(frozen=True)
class Picture:
    """A figure as files: in pixels and in lines."""

    png: bytes
    svg: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header of the PNG."""
        return int.from_bytes(self.png[16:20]), int.from_bytes(self.png[20:24])


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: a picture, its data, and words for those who cannot see it.

    `chart` is its Plotly twin as JSON (`report/charts.py`), for those where looking closer helps.
    `said` is a sentence that stands in its place on the page where there is nothing to draw.
    """

    name: str
    title: str
    alt: str
    caption: str
    picture: Picture
    data: pd.DataFrame
    chart: str = ""
    said: str = ""

    @property
    def png(self) -> bytes:
        """The figure in pixels."""
        return self.picture.png


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the report."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches; `styled` must be in force."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend_columns(names: Sequence[str], width: float) -> int:
    """Return in how many columns a legend of a width in inches stands, its rows of like length."""
    each = 0.55 + 0.075 * max(map(len, names), default=0)
    rows = -(-len(names) // max(1, int(width / each)))
    return -(-len(names) // max(rows, 1)) or 1


def plain_log(axes: Axes) -> None:
    """Make the ordinate logarithmic, with plain numbers: the style reads no formulae.

    Within one decade the ticks between powers of ten have numbers, too.
    """
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    def between(value: float, _: object) -> str:
        low, high = axes.get_ylim()
        return f"{value:.1g}" if high < 10 * low else ""

    axes.yaxis.set_minor_formatter(FuncFormatter(between))


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG of indexed colours, the same bytes every time."""
    # The canvas itself: `savefig` would lay the figure out and draw it twice.
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    indexed = drawn.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    # The highest level of zlib takes ten times as long, for a tenth of the size.
    indexed.save(buffer, "png", compress_level=6, dpi=(DPI, DPI))
    return buffer.getvalue()


def to_svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes every time; `styled` must be in force."""
    canvas, buffer = FigureCanvasSVG(figure), io.BytesIO()
    figure.set_dpi(SVG_DPI)
    # The canvas itself: `savefig` would draw twice.
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _PLACES.sub(_rounded, buffer.getvalue().decode()).encode()


# Places of lines and of what is drawn many times, but not factors of a transformation.
_PLACES = re.compile(r'(?<= )(?:d|x|y)="[^"]*"')


def _rounded(places: re.Match[str]) -> str:
    """Return places to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", places[0])


def to_picture(figure: Figure) -> Picture:
    """Return a figure as PNG and SVG; `styled` must be in force."""
    png = to_png(figure)
    # What was laid out for the one stands for the other, which would take as long again.
    figure.set_layout_engine("none")
    return Picture(png, to_svg(figure))
