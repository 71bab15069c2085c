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
from spotmill.overlays.opener import open_overlay
from spotmill.tasks import Task, task_name


@dataclass(frozen=True)
class Setup:
    """A task with its frames opened.

    Attributes
    ----------
    condition : [n] int64
        Number of the dataset of each frame.
    """

    task: Task
    frames: Frames
    images: FrameFiles
    view: View
    encoder: Encoder
    condition: NDArray[np.int64]
    dimensions: Dimensions


def check_split(split: Path, name: str) -> None:
    """Raise SpotmillError where a split says that it was made for another task."""
    made_for = provenance(pq.read_schema(split)).get("task", name)
    if made_for != name:
        raise SpotmillError(f"{split}: is of task {made_for}, not {name}; give the split of {name}")


def open_task(task: Task, split: Path, geometry: Path, source: str) -> Setup:
    """Open the frames of a task; `source` names the task in messages.

    Raises
    ------
    SpotmillError
        When split, shards, geometry and task do not go together.
    """
    frames = read_frames(split, task)
    check_split(split, task_name(source))
    images = FrameFiles(frames)
    if task.dims:
        frames, images = dim(frames, split, task.flux)
    with open_overlay(str(frames.overlay[0])) as shard:
        view = read_view(geometry, shard.shape[1:], shard.header.clen, shard.header.photon_energy)
    module = model_module(task.model)
    settings = module.Settings.parse(task.settings, f"{source}: settings")
    encoder = module.encoder(settings, task.input, view)
    names, condition = np.unique(frames.dataset, return_inverse=True)
    classes = len(frames.classes)
    outputs = 2 if task.scale == "values" else 1 if classes == 2 else classes
    dimensions = Dimensions(encoder.shape, outputs, len(names))
    return Setup(task, frames, images, view, encoder, condition, dimensions)
