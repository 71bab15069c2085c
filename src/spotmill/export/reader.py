"""Reads frames by identity: images, conditions and true spots."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.export.choice import Choice, Row
from spotmill.formats.frames import Shard
from spotmill.formats.tables import SPOTS, provenance, read_table
from spotmill.overlays.opener import open_overlay

KINDS = ("overlay", "peaks", "labels")
CONTENTS = {"overlay": "overlay", "peaks": "peaks", "labels": "labels"}
NUMBERS = tuple(name for name in SPOTS.names if name not in ("index", "panel"))
# Of the crystals of a frame, in this order; the columns of shards.
CRYSTAL = {"quaternion": 4, "astar": 3, "bstar": 3, "cstar": 3, "size": 1, "mosaicity": 1}
# Conditions of frames that are not randomised, where shards do not say them.
USUAL = {
    **dict.fromkeys(("beam_x", "beam_y", "tilt_x", "tilt_y"), 0.0),
    **dict.fromkeys(("flux", "signal", "background"), 1.0),
}
OPEN_SHARDS = 32
KEPT_TABLES = 16

Kept = TypeVar("Kept")


class Truth:
    """The true spots of a shard, by frame."""

    def __init__(self, path: Path, dataset: str) -> None:
        table = read_table(path, SPOTS)
        made_for = provenance(pq.read_schema(path)).get("dataset", dataset)
        if made_for != dataset:
            raise SpotmillError(
                f"{path}: is of dataset {made_for}, not {dataset}; remake the manifest"
            )
        table = table.sort_by("index")
        self._index = table["index"].to_numpy()
        self._columns = {name: table[name].to_numpy() for name in NUMBERS}

    def spots(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the columns of a frame's spots, each [spot]."""
        first, last = np.searchsorted(self._index, [index, index + 1])
        return {name: values[first:last] for name, values in self._columns.items()}


class Reader:
    """Reads chosen frames in any order; keeps a bounded number of files open.

    Raises
    ------
    SpotmillError
        When a file is absent or broken, or does not hold the frame at its place.
    """

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._columns: OrderedDict[str, dict[str, NDArray[Any]]] = OrderedDict()
        self._truths: OrderedDict[str, Truth] = OrderedDict()
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()

    def image(self, row: Row, kind: str) -> NDArray[Any]:
        """Return the image [ss, fs] of a kind; of peaks and labels of a blank frame zeros."""
        name = getattr(row, kind)
        if not name:
            blank = self.base(row)
            dtype = np.dtype(np.uint8) if kind == "labels" else blank.dtype
            return np.zeros(blank.shape[1:], dtype)
        return self._shard(row, kind).read(row.position)

    def base(self, row: Row) -> Shard:
        """Return a shard that knows the conditions of a frame."""
        return self._shard(row, "overlay" if row.kind == "empty" or not row.peaks else "peaks")

    def mask(self, row: Row) -> NDArray[np.bool_]:
        """Return the live pixels [ss, fs] of a dataset."""
        return kept(self._masks, row.dataset, lambda: self.base(row).mask, KEPT_TABLES)

    def conditions(self, row: Row) -> dict[str, float]:
        """Return a frame's own photon energy (eV), camera length (m) and what `USUAL` lists."""
        columns = self._frame_columns(row)
        own = {"photon_energy": row.photon_energy, "clen": row.clen, **USUAL}
        return {
            name: float(columns[name][row.position] if name in columns else usual)
            for name, usual in own.items()
        }

    def crystals(self, row: Row) -> NDArray[np.float64]:
        """Return what `CRYSTAL` lists, [column, crystal]; no crystal where nothing is known."""
        columns = self._frame_columns(row)
        height = sum(CRYSTAL.values())
        if row.kind == "empty" or any(name not in columns for name in CRYSTAL):
            return np.zeros((height, 0))
        many = columns.get("n_crystals")
        count = 1 if many is None else int(many[row.position])
        parts = [
            np.asarray(columns[name][row.position], np.float64).reshape(-1, width)[:count].T
            for name, width in CRYSTAL.items()
        ]
        return np.concatenate(parts)

    def spots(self, row: Row) -> dict[str, NDArray[Any]]:
        """Return the true spots of a frame: every column of `NUMBERS`, [spot]."""
        if not row.truth:
            if row.kind == "crystal":
                raise SpotmillError(
                    f"frame {row.index} of dataset {row.dataset}: has no table of true spots; "
                    "choose datasets that were simulated here"
                )
            return {name: np.zeros(0) for name in NUMBERS}
        path = self._choice.path(row.truth)
        truth = kept(self._truths, row.truth, lambda: Truth(path, row.dataset), KEPT_TABLES)
        return truth.spots(row.index)

    def least(self, row: Row) -> float:
        """Return the photons from which a spot counts (`hit.min_photons`)."""
        header = self.base(row).header
        own = header.parameters.get("peaks", header.parameters)
        return float(own.get("min_photons", 5))

    def _frame_columns(self, row: Row) -> dict[str, NDArray[Any]]:
        shard = self.base(row)

        def read() -> dict[str, NDArray[Any]]:
            # Of a virtual overlay only what is known before its frames are drawn.
            stored = Shard.columns(shard)
            return {name: Shard.column(shard, name) for name in stored}

        return kept(self._columns, str(shard.path), read, OPEN_SHARDS)

    def _shard(self, row: Row, kind: str) -> Shard:
        name = getattr(row, kind)
        path = self._choice.path(name)
        if name not in self._shards and len(self._shards) >= OPEN_SHARDS:
            self._shards.popitem(last=False)[1].close()
        shard = kept(
            self._shards,
            name,
            lambda: open_overlay(path) if kind == "overlay" else Shard(path),
            OPEN_SHARDS + 1,
        )
        header, position = shard.header, row.position
        if header.dataset != row.dataset or header.content != CONTENTS[kind]:
            raise SpotmillError(
                f"{path}: holds {header.content} of dataset {header.dataset}, not {kind} of "
                f"{row.dataset}; remake the manifest"
            )
        if not 0 <= position < len(shard) or shard.indices[position] != row.index:
            raise SpotmillError(
                f"{path}: frame {row.index} of dataset {row.dataset} is not at position "
                f"{position}; remake the manifest"
            )
        return shard

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._shards:
            self._shards.popitem()[1].close()


def kept(store: "OrderedDict[str, Kept]", key: str, make: Callable[[], Kept], most: int) -> Kept:
    """Return what a store holds, made when it is first asked for; the oldest goes."""
    if key not in store:
        store[key] = make()
        if len(store) > most:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]
