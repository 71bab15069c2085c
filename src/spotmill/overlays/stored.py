"""Overlays whose images are drawn once and stored."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotmill.formats.frames import Header, Shard, write_shard
from spotmill.overlays.drawing import Drawing
from spotmill.progress import track

# Frame columns that are known once a frame is drawn.
DRAWN = ("background_photons", "artefacts")
UNITS = dict.fromkeys((*DRAWN, "photons"), "photons")


def write_stored(
    path: str | Path,
    header: Header,
    indices: NDArray[np.int64],
    drawing: Drawing,
    peaks: Shard | None,
) -> None:
    """Draw frames and write them; the peaks hold the same frames in the same order."""
    water = drawing.water
    counted = np.zeros((len(DRAWN), len(indices)), dtype=np.int64)
    with write_shard(path, header, indices, water.shape[1:], drawing.dtype, water.mask) as shard:
        for position, index in enumerate(track(indices.tolist(), header.dataset)):
            drawn = drawing.draw(index, peaks, position)
            counted[:, position] = drawn.background_photons, drawn.artefacts
            shard.put(index, drawn.image)
        columns = dict(zip(DRAWN, counted, strict=True)) | drawing.columns(indices, peaks)
        shard.set_columns(columns, UNITS)
