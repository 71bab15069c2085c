"""Where the true spots of a task's frames are, joined to the frames by identity."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.tables import SPOTS, provenance, read_table
from spotmill.learning.encoders import View, read_view
from spotmill.learning.frames import FrameFiles, Frames, Images, read_split
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.setup import check_held_out, check_split, conditions
from spotmill.learning.views import Views, first_of
from spotmill.overlays.opener import open_overlay
from spotmill.physics.peak_scoring import Spots, merge
from spotmill.splits import SIDES
from spotmill.tasks import Task, task_name

CLASSES = ("spot",)
KEPT_TABLES = KEPT_SHARDS = 4


@dataclass(frozen=True)
class PeakSetup:
    """A task of finding peaks with its frames opened.

    Attributes
    ----------
    view, views
        Of the first pattern's detector, and of each frame's.
    truth, peaks : [n] str
        Tables of the spots and shards of the signal alone; empty for frames without a crystal.
    least
        Photons from which a spot counts (`hit.min_photons` of the configuration).
    """

    task: Task
    frames: Frames
    images: Images
    view: View
    views: Views
    truth: NDArray[np.str_]
    peaks: NDArray[np.str_]
    least: float
    dimensions: Dimensions

    @cached_property
    def _tables(self) -> OrderedDict[str, dict[int, Spots]]:
        return OrderedDict()

    @cached_property
    def _shards(self) -> OrderedDict[str, Shard]:
        return OrderedDict()

    def spots(self, row: int) -> Spots:
        """Return all true spots of a frame, overlapping ones merged (see `merge`).

        Raises
        ------
        SpotmillError
            When the table is of another dataset than the frame.
        """
        path, index = str(self.truth[row]), int(self.frames.index[row])
        if not path:
            return Spots(np.empty((0, 2)), np.empty(0))
        if path not in self._tables:
            self._tables[path] = read_spots(path, str(self.frames.dataset[row]))
            if len(self._tables) > KEPT_TABLES:
                self._tables.popitem(last=False)
        return self._tables[path].get(index, Spots(np.empty((0, 2)), np.empty(0)))

    def strong(self, row: int) -> Spots:
        """Return the true spots of a frame that are to be found."""
        return self.spots(row).at_least(self.least)

    def signal(self, row: int) -> NDArray[Any] | None:
        """Return the Bragg photons of a frame [ss, fs]; None where no shard holds them."""
        path = str(self.peaks[row])
        if not path:
            return None
        index, position = int(self.frames.index[row]), int(self.frames.position[row])
        shard = self._shard(path)
        fits = 0 <= position < len(shard) and shard.indices[position] == index
        if shard.header.dataset != str(self.frames.dataset[row]) or not fits:
            raise SpotmillError(
                f"{path}: does not hold frame {index} of dataset {self.frames.dataset[row]} "
                f"at position {position}; remake the manifest"
            )
        return shard.read(position)

    def _shard(self, path: str) -> Shard:
        if path not in self._shards:
            self._shards[path] = Shard(path)
            if len(self._shards) > KEPT_SHARDS:
                self._shards.popitem(last=False)[1].close()
        return self._shards[path]


def read_spots(path: str, dataset: str) -> dict[int, Spots]:
    """Return the true spots of each frame of a shard, overlapping ones merged."""
    table = read_table(path, SPOTS)
    made_for = provenance(pq.read_schema(path)).get("dataset", dataset)
    if made_for != dataset:
        raise SpotmillError(f"{path}: is of dataset {made_for}, not {dataset}; remake the manifest")
    index = table["index"].to_numpy()
    place = np.stack([table["fs"].to_numpy(), table["ss"].to_numpy()], axis=1)
    photons = table["photons"].to_numpy()
    order = np.argsort(index, kind="stable")
    known, first = np.unique(index[order], return_index=True)
    return {
        int(number): merge(Spots(place[rows], photons[rows]))
        for number, rows in zip(known, np.split(order, first[1:]), strict=True)
    }


def open_peaks(
    task: Task, split: Path, geometry: Path, source: str, sides: tuple[str, ...] = SIDES
) -> PeakSetup:
    """Open the frames of a task of finding peaks; `source` names the task in messages.

    Of other sides of the split than these nothing is read.

    Raises
    ------
    SpotmillError
        When split, shards, geometry and task do not go together, or a pattern has no truth.
    """
    table = read_split(split, sides)
    check_split(split, task_name(source))
    names = ("dataset", "overlay", "split", "truth", "peaks", "kind")
    columns = {name: np.asarray(table[name].to_pylist(), dtype=np.str_) for name in names}
    frames = Frames(
        dataset=columns["dataset"],
        index=table["index"].to_numpy(),
        side=columns["split"],
        truth=np.zeros(table.num_rows, dtype=np.int64),
        overlay=columns["overlay"],
        position=table["position"].to_numpy().astype(np.int64),
        classes=CLASSES,
    )
    check_held_out(split, frames, task)
    crystal = columns["kind"] == "crystal"
    for side in sides:
        if not (crystal & (frames.side == side)).any():
            raise SpotmillError(
                f"{split}: has no pattern for {side}; add patterns, or raise its share"
            )
    lost = crystal & (columns["truth"] == "")
    if lost.any():
        row = int(np.argmax(lost))
        raise SpotmillError(
            f"{split}: frame {frames.index[row]} of dataset {frames.dataset[row]} has no table of "
            "true spots; choose datasets that were simulated here"
        )
    first = first_of(frames, geometry, crystal)
    with open_overlay(str(frames.overlay[first])) as shard:
        view = read_view(geometry, shard.shape[1:], shard.header.clen, shard.header.photon_energy)
        least = float(shard.header.parameters.get("peaks", {}).get("min_photons", 5))
    dimensions = Dimensions((1, *view.shape), 1, len(conditions(frames)[0]))
    return PeakSetup(
        task,
        frames,
        FrameFiles(frames),
        view,
        Views(view, geometry, frames),
        columns["truth"],
        columns["peaks"],
        least,
        dimensions,
    )
