"""Frames in HDF5 whose modules or events lie in arrays of their own, as a geometry names them.

LCLS and EuXFEL give each module an array or a number, SACLA each event a group
(`/tag-123/data`). A frame is put together of them by a `geom_layout.Layout`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers bitshuffle and its like with HDF5
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import PLACEHOLDER, EventId
from spotmill.formats.geom_layout import PLAIN, Layout, Slab
from spotmill.formats.images_hdf5 import check_filters, is_real, open_hdf5, resolve
from spotmill.formats.images_hdf5_links import check_links, damage
from spotmill.formats.images_hdf5_metadata import Instrument
from spotmill.formats.images_model import (
    LARGEST_AREA,
    FrameFile,
    RawFrame,
    check_image,
    unflagged,
)
from spotmill.formats.images_times import Hdf5Clock

MOST_EVENTS = 10_000_000


@dataclass(frozen=True)
class Piece:
    """Where a part of a frame lies.

    Attributes
    ----------
    index
        Selects the part [ss, fs] of the array: whole numbers and slices, one an axis.
    first
        Its first row in the frame.
    """

    path: Path
    name: str
    index: tuple[int | slice, ...]
    first: int
    dataset: h5py.Dataset


class PanelFile(FrameFile):
    """An HDF5 file whose frames are put together of several arrays, or named by their groups.

    Parameters
    ----------
    layout : Layout, optional
        Of the frames.
    data : str, optional
        Place of the frames with a placeholder (%) for each event, where there is no geometry.
    """

    def __init__(self, path: Path, layout: Layout | None, data: str | None = None) -> None:
        super().__init__(path)
        self._file = open_hdf5(path)
        try:
            with damage(path):
                check_links(path, self._file)
                self._layout = layout or self._layout_of(str(data))
                self._names = list(self._events())
                if not self._names:
                    raise SpotmillError(
                        f"{path}: holds 0 frames at {self._layout.slabs[0].data}, which "
                        f"{self._layout.source} names; give files that have it, or correct that"
                    )
                self._numbers = {name: number for number, name in enumerate(self._names)}
                place = self._filled(self._layout.slabs[0], self._names[0])
                self._instrument = Instrument(self._file, place, len(self))
                self._clock = Hdf5Clock(self._file, place, len(self))
        except SpotmillError:
            self._file.close()
            raise

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._names)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def number(self, event: int | EventId) -> int:
        """Return the number of an event of a name, from 0 in the order of names."""
        name = EventId((), (event,)) if isinstance(event, int) else event
        if name not in self._numbers:
            raise SpotmillError(
                f"{self.path}: has no event {name}; it holds {len(self)} "
                f"({self._names[0]} to {self._names[-1]})"
            )
        return self._numbers[name]

    def pieces(self, event: int) -> list[Piece]:
        """Return where the parts of a frame lie."""
        return [self._piece(slab, self._names[event]) for slab in self._layout.slabs]

    def _layout_of(self, data: str) -> Layout:
        """Return the layout of events at one place that has placeholders."""
        for parts in self._matches(self._file, data):
            found = resolve(self.path, self._file, EventId(parts).place(data).strip("/"))
            if not isinstance(found, h5py.Dataset) or found.ndim not in (2, 3):
                continue
            rows, columns = (int(size) for size in found.shape[-2:])
            if not 0 < rows * columns <= LARGEST_AREA:
                break
            return Layout((Slab(data, PLAIN[found.ndim - 2], rows, columns, 0),), None, "--data")
        raise SpotmillError(f"{self.path}: has no array at {data}; correct the place of the data")

    def _events(self) -> Iterator[EventId]:
        slab = self._layout.slabs[0]
        count = slab.dims.count(PLACEHOLDER)
        for parts in self._matches(self._file, slab.data):
            if not count:
                yield EventId(parts)
                continue
            array = self._array(slab, EventId(parts))
            sizes = [
                int(size)
                for size, axis in zip(array.shape, slab.dims, strict=True)
                if axis == PLACEHOLDER
            ]
            if np.prod(sizes, dtype=float) > MOST_EVENTS:
                raise SpotmillError(
                    f"{self.path}: {array.name} would hold more than {MOST_EVENTS} events; "
                    "check the dim lines of the geometry"
                )
            for numbers in product(*map(range, sizes)):
                yield EventId(parts, numbers)

    def _matches(self, file: h5py.File, pattern: str) -> Iterator[tuple[str, ...]]:
        """Yield what placeholders stand for, in the order of names."""

        def descend(group: Any, steps: list[str], parts: tuple[str, ...]) -> Any:
            if not steps:
                if isinstance(group, h5py.Dataset):
                    yield parts
                return
            if not isinstance(group, h5py.Group):
                return
            if steps[0] != PLACEHOLDER:
                if steps[0] in group:
                    yield from descend(group[steps[0]], steps[1:], parts)
                return
            for name in sorted(group):
                if name in group:
                    yield from descend(group[name], steps[1:], (*parts, name))

        if PLACEHOLDER not in pattern:
            yield ()
            return
        yield from descend(file, pattern.strip("/").split("/"), ())

    def _filled(self, slab: Slab, name: EventId) -> str:
        return name.place(slab.data).strip("/")

    def _array(self, slab: Slab, name: EventId) -> h5py.Dataset:
        """Return the array of a slab, checked against what is said of it."""
        place = self._filled(slab, name)
        found = resolve(self.path, self._file, place)
        if not isinstance(found, h5py.Dataset):
            raise SpotmillError(
                f"{self.path}: has no array at /{place}, which {self._layout.source} names; "
                "give the geometry of these files"
            )
        check_filters(self.path, found)
        if not is_real(self.path, found):
            raise SpotmillError(
                f"{self.path}: /{place} holds {found.dtype}, no counts; correct data in "
                f"{self._layout.source}"
            )
        if found.ndim != len(slab.dims):
            raise SpotmillError(
                f"{self.path}: /{place} has {found.ndim} axes, {self._layout.source} describes "
                f"{len(slab.dims)} ({' '.join(map(str, slab.dims))}); correct its dim lines"
            )
        for axis, size in zip(slab.dims, found.shape, strict=True):
            needed = {"ss": slab.rows, "fs": slab.columns, PLACEHOLDER: 0}.get(str(axis))
            least = int(axis) + 1 if needed is None else needed
            if size < least:
                raise SpotmillError(
                    f"{self.path}: /{place} is of {found.shape}, {self._layout.source} describes "
                    f"{slab.rows} x {slab.columns} pixels [ss, fs] of it"
                    + (f" and number {axis}" if isinstance(axis, int) else "")
                    + "; give the geometry of these files"
                )
        return found

    def _piece(self, slab: Slab, name: EventId) -> Piece:
        array = self._array(slab, name)
        numbers = iter(name.numbers)
        known = {"ss": slice(0, slab.rows), "fs": slice(0, slab.columns)}
        index = tuple(
            axis if isinstance(axis, int) else known[axis] if axis in known else next(numbers)
            for axis in slab.dims
        )
        for number, size in zip(index, array.shape, strict=True):
            if isinstance(number, int) and number >= size:
                raise SpotmillError(
                    f"{self.path}: {array.name} has no event {name}, which other modules have; "
                    "leave that event out"
                )
        return Piece(Path(array.file.filename), str(array.name), index, slab.first, array)

    def _read(self, event: int) -> RawFrame:
        name = self._names[event]
        with damage(self.path, f"event {name} "):
            pieces = self.pieces(event)
            kind = np.result_type(*(piece.dataset.dtype for piece in pieces))
            whole = np.zeros(self._layout.shape, dtype=kind)
            parts = read_pieces(pieces)
            for piece, part in zip(pieces, parts, strict=True):
                rows, columns = part.shape
                whole[piece.first : piece.first + rows, :columns] = part
            metadata = self._instrument.metadata(event)
            metadata = replace(metadata, time=self._clock.time(event))
        image = check_image(self.path, whole)
        live = unflagged(image, image.dtype.kind == "u", self._instrument.underload(event))
        return RawFrame(self.path, event, image, live, metadata, name)


def read_pieces(pieces: list[Piece]) -> Iterator[NDArray[Any]]:
    """Yield the parts [ss, fs] of a frame; modules of one array are unpacked together.

    They often share a chunk, which would be unpacked anew for each of them.
    """
    key: tuple[Any, ...] = ()
    modules = np.empty(0)
    for piece in pieces:
        if len(piece.index) < 4 or not isinstance(piece.index[1], int):
            yield np.asarray(piece.dataset[piece.index])
            continue
        if key != (piece.path, piece.name, piece.index[0]):
            key = (piece.path, piece.name, piece.index[0])
            modules = np.asarray(piece.dataset[piece.index[0]])
        yield modules[piece.index[1:]]
