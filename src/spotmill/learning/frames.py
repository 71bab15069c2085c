"""Frames by identity: where images come from, and who checks that they are the right ones."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.tables import SPLIT, read_table
from spotmill.overlays.opener import open_overlay
from spotmill.physics.photons import PhotonSampler, stream
from spotmill.splits import SIDES
from spotmill.tasks import TRUTH, Task

# Shards kept open at once; each costs a file handle, and those of one detector share a mask.
OPEN_SHARDS = 128
KEPT_MASKS = 8
# A variance needs them.
FEWEST_VALUES = 3


class Images(Protocol):
    """A numbered collection of images."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return image [ss, fs] in photons and mask [ss, fs], True where a pixel is live."""


@dataclass(frozen=True)
class Frames:
    """The frames of a task, one row each.

    Attributes
    ----------
    dataset : [n] str
    index : [n] int64
    side : [n] str, train, validation or test
    truth : [n] int64, number of the class; for a task of values 0
    overlay : [n] str, shard file
    position : [n] int64, number within the shard
    classes : names of the classes; none for a task of values
    values : [n, 2] own photon energy (eV) and camera length (m) of each frame, for such a task
    n_spots : [n] int64, true spots of each, where the split says
    """

    dataset: NDArray[np.str_]
    index: NDArray[np.int64]
    side: NDArray[np.str_]
    truth: NDArray[np.int64]
    overlay: NDArray[np.str_]
    position: NDArray[np.int64]
    classes: tuple[str, ...]
    values: NDArray[np.float64] | None = None
    n_spots: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.index)

    def rows(self, side: str) -> NDArray[np.int64]:
        """Return the rows of one side of the split."""
        return np.flatnonzero(self.side == side)

    @property
    def blank(self) -> NDArray[np.bool_]:
        """Whether a frame never had a crystal, [n]."""
        return np.asarray(self.index >= FIRST_EMPTY)


def class_names(target: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of classes from the sorted distinct values of a target."""
    if target == "hit":
        return ("no hit", "hit")
    unit = {"photon_energy": "eV", "camera_length": "m"}[target]
    return tuple(f"{value:.10g} {unit}" for value in values)


def read_split(path: str | Path, sides: tuple[str, ...] = SIDES) -> pa.Table:
    """Read the rows of a split that are of these sides, and no others."""
    table = read_table(path, SPLIT)
    if sides == SIDES:
        return table
    return table.filter(pa.array([side in sides for side in table["split"].to_pylist()]))


def read_frames(path: str | Path, task: Task, sides: tuple[str, ...] = SIDES) -> Frames:
    """Read the frames of a task from its split; of other sides than these nothing is read.

    Raises
    ------
    SpotmillError
        When the split is broken, a side is empty, or a class is missing from training.
    """
    table = read_split(path, sides)
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("dataset", "overlay")}
    if task.scale == "values":
        return read_values(path, table, columns, sides)
    values = table[TRUTH[task.target]].to_numpy()
    distinct = np.array([False, True]) if task.target == "hit" else np.unique(values)
    frames = Frames(
        dataset=columns["dataset"],
        index=table["index"].to_numpy(),
        side=np.asarray(table["split"].to_pylist()),
        truth=np.searchsorted(distinct, values).astype(np.int64),
        overlay=columns["overlay"],
        position=table["position"].to_numpy().astype(np.int64),
        classes=class_names(task.target, distinct.tolist()),
        n_spots=table["n_spots"].to_numpy().astype(np.int64),
    )
    for side in sides:
        if not len(frames.rows(side)):
            raise SpotmillError(
                f"{path}: has no frame for {side}; add patterns, or raise its share"
            )
    missing = set(range(len(frames.classes))) - set(frames.truth[frames.rows("train")].tolist())
    if missing or len(frames.classes) < 2:
        name = frames.classes[min(missing)] if missing else "second class"
        raise SpotmillError(
            f"{path}: has no training frame of {name!r}; add patterns, or choose other datasets"
        )
    check_classes(frames, task, table, path)
    return frames


def read_values(
    path: str | Path,
    table: pa.Table,
    columns: dict[str, NDArray[np.str_]],
    sides: tuple[str, ...],
) -> Frames:
    """Return the frames of a task of values, each with its own photon energy and camera length.

    The manifest has those of the dataset; a frame's own stand in the columns of its shard.
    """
    position = table["position"].to_numpy().astype(np.int64)
    values = own_values(columns["overlay"], position, table)
    frames = Frames(
        dataset=columns["dataset"],
        index=table["index"].to_numpy(),
        side=np.asarray(table["split"].to_pylist()),
        truth=np.zeros(len(position), dtype=np.int64),
        overlay=columns["overlay"],
        position=position,
        classes=(),
        values=values,
    )
    for side in sides:
        if len(frames.rows(side)) < FEWEST_VALUES:
            raise SpotmillError(
                f"{path}: has fewer than {FEWEST_VALUES} frames for {side}; "
                "add patterns, or raise its share"
            )
    return frames


def own_values(
    overlay: NDArray[np.str_], position: NDArray[np.int64], table: pa.Table
) -> NDArray[np.float64]:
    """Return photon energy and camera length [n, 2] of each frame, from its shard.

    Where a shard has no such columns, all its frames are as the dataset says.
    """
    names = ("photon_energy", "clen")
    values = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
    for shard_path in np.unique(overlay).tolist():
        rows = np.flatnonzero(overlay == shard_path)
        with open_overlay(shard_path) as shard:
            for column, name in enumerate(names):
                if name in shard.columns():
                    own = np.asarray(shard.column(name))
                    if position[rows].max() >= len(own):
                        raise SpotmillError(
                            f"{shard_path}: holds fewer frames than its manifest says; "
                            "remake the manifest"
                        )
                    values[rows, column] = own[position[rows]]
    return values


def check_classes(frames: Frames, task: Task, table: pa.Table, path: str | Path) -> None:
    """Raise SpotmillError where a frame's own value is nearer to another class than to its own.

    A class is the value of a dataset; `randomise` may move a frame's own across the border.
    """
    if task.target == "hit" or "photon_energy" not in table.column_names:
        return
    name = TRUTH[task.target]
    column = ("photon_energy", "clen").index(name)
    own = own_values(frames.overlay, frames.position, table)[:, column]
    classes = np.unique(table[name].to_numpy())
    nearest = np.abs(own[:, None] - classes).argmin(1)
    strays = np.flatnonzero(nearest != frames.truth)
    if len(strays):
        row = strays[0]
        raise SpotmillError(
            f"{path}: dataset {frames.dataset[row]}: frame {frames.index[row]} has {name} "
            f"{own[row]:.6g}, nearer to {classes[nearest[row]]:g} than to its dataset's "
            f"{classes[frames.truth[row]]:g}; leave the dataset out of the task's datasets, or "
            "say scale: values"
        )


class FrameFiles:
    """Reads frames from their shards, and checks that each is the frame its identity names.

    Another process that is given it opens the shards anew.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._masks: list[NDArray[np.bool_]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files out."""
        return {"_frames": self._frames, "_shards": OrderedDict(), "_masks": []}

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return image and mask of the frame in row `number`.

        Raises
        ------
        SpotmillError
            When the shard does not hold that frame at that position.
        """
        frames = self._frames
        shard = self._shard(str(frames.overlay[number]))
        dataset, index = str(frames.dataset[number]), int(frames.index[number])
        position = int(frames.position[number])
        header = shard.header
        if header.dataset != dataset or header.content != "overlay":
            raise SpotmillError(
                f"{shard.path}: holds {header.content} of dataset {header.dataset}, not overlays "
                f"of {dataset}; remake the manifest"
            )
        if not 0 <= position < len(shard) or shard.indices[position] != index:
            raise SpotmillError(
                f"{shard.path}: frame {index} of dataset {dataset} is not at position {position}; "
                "remake the manifest"
            )
        return shard.read(position), shard.mask

    def _shard(self, path: str) -> Shard:
        if path not in self._shards:
            shard = self._shards[path] = open_overlay(path)
            shard.mask = self._shared(shard.mask)
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)[1].close()
        self._shards.move_to_end(path)
        return self._shards[path]

    def _shared(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the same array for masks that are equal."""
        for known in self._masks:
            if np.array_equal(known, mask):
                return known
        self._masks = [mask, *self._masks[: KEPT_MASKS - 1]]
        return mask

    def close(self) -> None:
        """Close all shards."""
        while self._shards:
            self._shards.popitem()[1].close()


class WaterFrames:
    """Draws frames of one expected image: no two alike, and nothing but noise between them.

    Parameters
    ----------
    path
        Shard with expected water.
    count, seed
        Number of frames; with the frame's number, all that its photons depend on.
    """

    def __init__(self, path: str | Path, count: int, seed: int) -> None:
        with Shard(path) as shard:
            if shard.header.content != "water":
                raise SpotmillError(
                    f"{path}: holds {shard.header.content}, not expected water; give a water shard"
                )
            self.mask = shard.mask
            self._sampler = PhotonSampler(np.where(shard.mask, shard.read(0), 0))
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._count

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return a freshly drawn image, the same for the same number, and the mask."""
        rng = stream(self._seed, "equal expectation", number, "control")
        return self._sampler.draw(rng), self.mask
