"""Frames by identity: where images come from, and who checks that they are the right ones."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
    truth : [n] int64, number of the class
    overlay : [n] str, shard file
    position : [n] int64, number within the shard
    classes : names of the classes
    """

    dataset: NDArray[np.str_]
    index: NDArray[np.int64]
    side: NDArray[np.str_]
    truth: NDArray[np.int64]
    overlay: NDArray[np.str_]
    position: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.index)

    def rows(self, side: str) -> NDArray[np.int64]:
        """Return the rows of one side of the split."""
        return np.flatnonzero(self.side == side)


def class_names(target: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of classes from the sorted distinct values of a target."""
    if target == "hit":
        return ("no hit", "hit")
    unit = {"photon_energy": "eV", "camera_length": "m"}[target]
    return tuple(f"{value:.10g} {unit}" for value in values)


def read_frames(path: str | Path, task: Task) -> Frames:
    """Read the frames of a task from its split.

    Raises
    ------
    SpotmillError
        When the split is broken, a side is empty, or a class is missing from training.
    """
    table = read_table(path, SPLIT)
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("dataset", "overlay")}
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
    )
    for side in SIDES:
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
    return frames


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
