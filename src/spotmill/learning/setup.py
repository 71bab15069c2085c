"""What training and evaluation both start from: frames, detector, encoder and sizes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.tables import provenance
from spotmill.learning.dimmed import dim
from spotmill.learning.encoders import Encoder, View, read_view
from spotmill.learning.frames import FrameFiles, Frames, read_frames
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import model_module
from spotmill.learning.views import Views, first_of
from spotmill.overlays.opener import open_overlay
from spotmill.splits import SIDES
from spotmill.tasks import Task, task_name

# How far outside the training frames' range held-out values may lie, as a share of it.
EDGE = 0.02


@dataclass(frozen=True)
class Setup:
    """A task with its frames opened.

    Attributes
    ----------
    view, views
        Of the first frame's detector, and of each frame's.
    condition : [n] int64
        Number of the dataset of each frame, -1 for datasets that are not trained on.
    """

    task: Task
    frames: Frames
    images: FrameFiles
    view: View
    views: Views
    encoder: Encoder
    condition: NDArray[np.int64]
    dimensions: Dimensions
    split: Path


def check_split(split: Path, name: str) -> None:
    """Raise SpotmillError where a split says that it was made for another task."""
    made_for = provenance(pq.read_schema(split)).get("task", name)
    if made_for != name:
        raise SpotmillError(f"{split}: is of task {made_for}, not {name}; give the split of {name}")


def check_held_out(split: Path, frames: Frames, task: Task) -> None:
    """Check that nothing of a dataset that is held out is trained on, and nothing else is tested.

    Raises
    ------
    SpotmillError
        When the split was made with other datasets held out than the task names, has a frame
        on the wrong side, or held-out values lie where no training frame does.
    """
    made_for = provenance(pq.read_schema(split)).get("hold_out", list(task.hold_out))
    if sorted(made_for) != sorted(task.hold_out):
        raise SpotmillError(
            f"{split}: hold_out was {made_for}, the task says {list(task.hold_out)}; "
            "make the split again"
        )
    if not task.hold_out:
        return
    held = np.isin(frames.dataset, list(task.hold_out))
    strays = np.flatnonzero(held != (frames.side == "test"))
    if len(strays):
        row = strays[0]
        raise SpotmillError(
            f"{split}: frame {frames.index[row]} of dataset {frames.dataset[row]} is for "
            f"{frames.side[row]}, but hold_out is {list(task.hold_out)}; make the split again"
        )
    if frames.values is None or not held.any():
        return
    for column, name in enumerate(("photon_energy", "clen")):
        known, asked = frames.values[frames.rows("train"), column], frames.values[held, column]
        low, high = float(known.min()), float(known.max())
        # A few test frames lie just outside the training frames' range wherever values are drawn.
        slack = EDGE * (high - low) + 1e-9 * high
        if asked.min() < low - slack or asked.max() > high + slack:
            raise SpotmillError(
                f"{split}: hold_out: its frames have {name} {asked.min():g} to {asked.max():g}, "
                f"the training frames {low:g} to {high:g}; values are told within that alone: "
                "hold out datasets within it, or say scale: classes"
            )


def conditions(frames: Frames) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the datasets that are trained on, and the number of each frame's, or -1."""
    names = np.unique(frames.dataset[frames.rows("train")])
    number = np.minimum(np.searchsorted(names, frames.dataset), len(names) - 1)
    return names, np.where(names[number] == frames.dataset, number, -1)


def open_task(
    task: Task, split: Path, geometry: Path, source: str, sides: tuple[str, ...] = SIDES
) -> Setup:
    """Open the frames of a task, or of some sides of it; `source` names the task in messages.

    Raises
    ------
    SpotmillError
        When split, shards, geometry and task do not go together.
    """
    frames = read_frames(split, task, sides)
    check_split(split, task_name(source))
    check_held_out(split, frames, task)
    images = FrameFiles(frames)
    if task.dims:
        frames, images = dim(frames, split, task.flux, sides)
    with open_overlay(str(frames.overlay[first_of(frames, geometry)])) as shard:
        view = read_view(geometry, shard.shape[1:], shard.header.clen, shard.header.photon_energy)
    views = Views(view, geometry, frames)
    views.check(task, source)
    module = model_module(task.model)
    settings = module.Settings.parse(task.settings, f"{source}: settings")
    encoder = module.encoder(settings, task.input, view)
    names, condition = conditions(frames)
    classes = len(frames.classes)
    outputs = 2 if task.scale == "values" else 1 if classes == 2 else classes
    dimensions = Dimensions(encoder.shape, outputs, len(names))
    return Setup(task, frames, images, view, views, encoder, condition, dimensions, split)
