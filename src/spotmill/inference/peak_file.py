"""Peaks and images as CXI files, in the layout that CrystFEL reads with `--peaks=cxi`.

CrystFEL looks for peaks in the file that holds the image, in the row that the event's number
names (docs/crystfel.md). `peaks.cxi` has a row for every frame: those that come from HDF5 and are
alike are joined to it by reference (a virtual dataset), so that nothing is copied. `hits.cxi`
has a row for every hit, with a copy of its image. The places are the same in both.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic
from spotmill.formats.hdf5_output import Output
from spotmill.formats.images import CREATOR
from spotmill.formats.images_hdf5 import Place
from spotmill.inference.counts import LARGEST_COUNT
from spotmill.inference.events import Event
from spotmill.physics.peak_finding import Peaks

RESULT = "entry_1/result_1"
DATA = "entry_1/data_1/data"
MASK = "entry_1/data_1/mask"
PHOTON_ENERGY = "entry_1/instrument_1/source_1/photon_energy"
DISTANCE = "entry_1/instrument_1/detector_1/distance"
UNITS = {PHOTON_ENERGY: "eV", DISTANCE: "m"}
COLUMNS = ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity", "peakProbability")
# CXI counts pixels from their centres, and CrystFEL adds half a pixel when it reads.
HALF = 0.5
CHUNK = (64, 128)
# Filters of HDF5 with higher numbers come as plugins.
LAST_BUILT_IN = 255
# In masks: CXI's bit for an invalid pixel.
BAD = 1
# Every HDF5 library reads it.
COMPRESSED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class References:
    """Images that stay in their files, joined by a virtual dataset at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._files: dict[tuple[str, str], int] = {}
        self._rows, self._sources, self._numbers = array("q"), array("q"), array("q")
        self._shapes: list[tuple[int, ...]] = []
        self._dtype: np.dtype[Any] | None = None
        self.needs_plugin = False

    def add(self, row: int, event: Event, place: Place | None) -> bool:
        """Remember where the image of a row lies; return whether it can be joined."""
        if place is None or event.raw is None:
            return False
        path, name, number, dataset = place
        shape = dataset.shape if number is None else dataset.shape[1:]
        if math.prod(shape) != event.raw.size:
            return False
        key = os.path.relpath(path.resolve(), self.folder), name
        if key not in self._files:
            self._files[key] = len(self._files)
            self._shapes.append(tuple(dataset.shape))
            self.needs_plugin |= any(code > LAST_BUILT_IN for code in dataset.filters)
            known = dataset.dtype if self._dtype is None else self._dtype
            self._dtype = np.result_type(known, dataset.dtype)
        self._rows.append(row)
        self._sources.append(self._files[key])
        self._numbers.append(-1 if number is None else number)
        return True

    def finish(self, file: h5py.File, count: int, shape: tuple[int, int]) -> None:
        """Write the virtual dataset; rows without an image are 0 there."""
        if self._dtype is None:
            return
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.VIRTUAL)
        # Two runs write the same bytes.
        layout.set_obj_track_times(False)
        names = list(self._files)
        for run in runs(self._rows, self._sources, self._numbers):
            first, source, number = (
                values[run.start] for values in (self._rows, self._sources, self._numbers)
            )
            here = h5py.h5s.create_simple((count, *shape))
            here.select_hyperslab((first, 0, 0), (len(run), *shape))
            whole = self._shapes[source]
            there = h5py.h5s.create_simple(whole)
            if number >= 0:
                # No more of the source need be known than that the frames lie within.
                there = h5py.h5s.create_simple((number + len(run), *whole[1:]))
                there.select_hyperslab((number, *(0 for _ in whole[1:])), (len(run), *whole[1:]))
            path, name = names[source]
            layout.set_virtual(here, path.encode(), name.encode(), there)
        group = file.require_group(DATA.rpartition("/")[0])
        kind = h5py.h5t.py_create(self._dtype, logical=True)
        h5py.h5d.create(group.id, b"data", kind, h5py.h5s.create_simple((count, *shape)), layout)


class Copies:
    """Images that are written into the file themselves."""

    needs_plugin = False

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._data: h5py.Dataset | None = None

    def add(self, row: int, event: Event, place: Place | None) -> bool:
        """Write the image of a row, as it was read."""
        image = event.raw
        if image is None:
            return False
        if image.dtype.kind == "f":
            image = image.astype(np.float32)
        else:
            image = np.clip(image, -LARGEST_COUNT, LARGEST_COUNT).astype(np.int32)
        if self._data is None:
            self._data = stack_of(self._file, DATA, image.shape, image.dtype)
        if self._data.dtype.kind != image.dtype.kind:
            return False
        self._data.resize(row + 1, axis=0)
        self._data[row] = image
        return True

    def finish(self, file: h5py.File, count: int, shape: tuple[int, int]) -> None:
        """Do nothing: all is written."""


class Masks:
    """The live pixels of rows: one array for all, or one a row where they differ."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._first: NDArray[np.bool_] | None = None
        self._rows = array("q")
        self._stack: h5py.Dataset | None = None

    def add(self, row: int, live: NDArray[np.bool_]) -> None:
        """Write the live pixels [ss, fs] of a row."""
        if self._first is None:
            self._first = live.copy()
        if self._stack is None:
            if np.array_equal(live, self._first):
                self._rows.append(row)
                return
            self._stack = stack_of(self._file, MASK, live.shape, np.dtype(np.uint8), BAD)
            for known in self._rows:
                self._put(known, self._first)
        self._put(row, live)

    def _put(self, row: int, live: NDArray[np.bool_]) -> None:
        assert self._stack is not None
        self._stack.resize(max(row + 1, len(self._stack)), axis=0)
        self._stack[row] = np.where(live, 0, BAD)

    def finish(self, count: int) -> None:
        """Write what waits; rows without a mask of their own are bad throughout."""
        if self._stack is not None:
            self._stack.resize(count, axis=0)
        elif self._first is not None:
            bad = np.where(self._first, 0, BAD).astype(np.uint8)
            self._file.create_dataset(MASK, data=bad, chunks=bad.shape, **COMPRESSED)


class PeakFile:
    """Writes the peaks of one frame after the other, with its image, mask and beam."""

    def __init__(self, file: h5py.File, output: Output, images: References | Copies) -> None:
        self._file, self._output, self._images = file, output, images
        file["cxi_version"] = 160
        file.attrs["creator"] = np.bytes_(CREATOR)
        group = file.create_group(RESULT)
        self._columns = {
            name: group.create_dataset(
                name, (0, 1), np.float32, maxshape=(None, None), chunks=CHUNK, compression="gzip"
            )
            for name in COLUMNS
        }
        self._count = group.create_dataset(
            "nPeaks", (0,), np.int64, maxshape=(None,), chunks=CHUNK[:1]
        )
        self._values = {
            place: file.create_dataset(
                place, (0,), np.float64, maxshape=(None,), chunks=CHUNK[:1], fillvalue=math.nan
            )
            for place in UNITS
        }
        for place, unit in UNITS.items():
            self._values[place].attrs["units"] = np.bytes_(unit)
        self._masks = Masks(file)
        self._shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Return the number of frames so far."""
        return len(self._count)

    @property
    def needs_plugin(self) -> bool:
        """Whether its images can be read with a plugin of HDF5 alone."""
        return self._images.needs_plugin

    def add(
        self, event: Event, peaks: Peaks, place: Place | None = None, with_image: bool = True
    ) -> bool:
        """Append a frame; return whether its image is there.

        Parameters
        ----------
        place
            Where an HDF5 file keeps the frame (see `Hdf5File.place`); None for other files.
        with_image
            Whether the image is wanted, and like that of the other rows.
        """
        row, found = len(self), len(peaks.score)
        values = (
            peaks.place[:, 0] - HALF,
            peaks.place[:, 1] - HALF,
            peaks.intensity,
            peaks.score,
        )
        for dataset, column in zip(self._columns.values(), values, strict=True):
            dataset.resize((row + 1, max(dataset.shape[1], found)))
            if found:
                dataset[row, :found] = column.astype(np.float32)
        self._count.resize((row + 1,))
        self._count[row] = found
        stated = event.stated
        for name, known in ((PHOTON_ENERGY, stated.photon_energy), (DISTANCE, stated.clen)):
            self._values[name].resize((row + 1,))
            self._values[name][row] = math.nan if known is None else known
        has_image = with_image and self._images.add(row, event, place)
        if has_image:
            self._shape = (event.mask.shape[0], event.mask.shape[1])
        self._output.check()
        return has_image

    def forget(self) -> None:
        """Forget the images that were referred to so far."""
        if isinstance(self._images, References):
            self._images = References(self._images.folder)

    def add_mask(self, live: NDArray[np.bool_]) -> None:
        """Write the live pixels [ss, fs] of the last frame."""
        self._masks.add(len(self) - 1, live)
        self._output.check()

    def finish(self) -> None:
        """Write what is known at the end alone."""
        if self._shape is not None:
            self._images.finish(self._file, len(self), self._shape)
        self._masks.finish(len(self))
        self._output.check()


def stack_of(
    file: h5py.File,
    place: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    fill: int = 0,
) -> h5py.Dataset:
    """Return a new dataset [0, ss, fs] that grows by frames, a chunk each."""
    return file.create_dataset(
        place,
        (0, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(1, *shape),
        fillvalue=fill,
        **COMPRESSED,
    )


def runs(rows: array[int], sources: array[int], numbers: array[int]) -> Iterator[range]:
    """Yield positions whose rows, and whose frames in one array, follow one another."""
    first = 0
    for at in range(1, len(rows) + 1):
        if (
            at < len(rows)
            and rows[at] == rows[at - 1] + 1
            and sources[at] == sources[at - 1]
            and numbers[at - 1] >= 0
            and numbers[at] == numbers[at - 1] + 1
        ):
            continue
        if at > first:
            yield range(first, at)
        first = at


@contextmanager
def open_peak_file(path: Path, copy: bool = False) -> Iterator[PeakFile]:
    """Yield a file of peaks that comes into being, whole, when the block ends.

    With `copy`, images are copied into it; else they are joined by reference.
    """
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            yield PeakFile(file, output, Copies(file) if copy else References(path.parent))
        output.check()


def read_peaks(path: Path, event: int) -> NDArray[np.float64]:
    """Return fs, ss (pixels; pixel n covers n to n + 1) and photons [n, 3] of an event."""
    with h5py.File(path, "r") as file:
        group = file[RESULT]
        count = int(group["nPeaks"][event])
        columns = [np.asarray(group[name][event, :count], dtype=float) for name in COLUMNS[:3]]
    return np.column_stack([columns[0] + HALF, columns[1] + HALF, columns[2]])
