"""Pictures of frames with what the models say of them."""

from pathlib import Path

from matplotlib.axes import Axes

from spotmill.formats.atomic import atomic
from spotmill.inference.events import Event
from spotmill.inference.pipeline import Prediction
from spotmill.report import style
from spotmill.report.pictures import add_scale, show_frame
from spotmill.report.style import new_figure, styled, to_png

WHOLE = 900  # points across the picture of a frame


def draw(path: Path, event: Event, said: Prediction) -> None:
    """Write the picture of a frame (PNG), its peaks circled."""
    with styled():
        figure = new_figure(9.0, 9.2)
        axes = figure.subplots()
        picture = show_frame(axes, event.image, event.mask, WHOLE, title_of(event, said))
        circle(axes, said)
        axes.set_xlabel("fs (pixel)")
        axes.set_ylabel("ss (pixel)")
        add_scale(figure, picture, axes, location="bottom", shrink=0.8, aspect=45, pad=0.01)
        raw = to_png(figure)
    with atomic(path) as temporary:
        temporary.write_bytes(raw)


def title_of(event: Event, said: Prediction) -> str:
    """Return what stands above the picture."""
    words = f"{'hit' if said.is_hit else 'no hit'} ({said.probability:.3f})"
    return f"{event.path.name} //{event.event}: {words}, {len(said.peaks.score)} peaks"


def circle(axes: Axes, said: Prediction) -> None:
    """Circle the peaks."""
    place = said.peaks.place
    axes.scatter(
        place[:, 0], place[:, 1], s=90, facecolors="none", edgecolors=style.GREEN, linewidths=0.9
    )
