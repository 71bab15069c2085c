"""Peaks as a CXI file (`peaks.cxi`), in the layout that CrystFEL reads with `--peaks=cxi`.

Row n of `/entry_1/result_1` belongs to row n of predictions.csv. CrystFEL looks for peaks in the
file that holds the image, so that frames that all come from HDF5 and are alike are joined to it by
reference (a virtual dataset, `/entry_1/data_1/data`): then `peaks.cxi` alone is enough for it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic
from spotmill.formats.hdf5_output import Output
from spotmill.physics.peak_finding import Peaks

RESULT = "entry_1/result_1"
DATA = "entry_1/data_1/data"
COLUMNS = ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity", "peakProbability")
# CXI counts pixels from their centres, and CrystFEL adds half a pixel when it reads.
HALF = 0.5
CHUNK = (64, 128)
# Frames joined by reference at most: their places are kept in memory until the end.
MOST_JOINED = 1_000_000


class PeakFile:
    """Writes the peaks of one frame after the other."""

    def __init__(self, file: h5py.File, output: Output, folder: Path) -> None:
        self._file, self._output, self._folder = file, output, folder.resolve()
        file["cxi_version"] = 160
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
        self._places: list[tuple[str, str, int | None]] = []
        self._like: tuple[tuple[int, ...], Any] | None = None
        self._joined = True

    def __len__(self) -> int:
        """Return the number of frames so far."""
        return len(self._count)

    def add(self, peaks: Peaks, place: Any) -> None:
        """Append the peaks of a frame.

        Parameters
        ----------
        place
            Where an HDF5 file keeps the frame (see `Hdf5File.place`); None for other files.
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
        self._remember(place)
        self._output.check()

    def _remember(self, place: Any) -> None:
        if place is None or not self._joined or len(self._places) >= MOST_JOINED:
            self._joined = False
            self._places.clear()
            return
        source, name, number, dataset = place
        like = (dataset.shape[1:] if number is not None else dataset.shape, dataset.dtype)
        if self._like not in (None, like):
            self._joined = False
            self._places.clear()
            return
        self._like = like
        self._places.append((os.path.relpath(source.resolve(), self._folder), name, number))

    def join(self) -> bool:
        """Join the frames by reference; return whether that could be done."""
        if not self._joined or self._like is None:
            return False
        shape, dtype = self._like
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.VIRTUAL)
        # Two runs write the same bytes.
        layout.set_obj_track_times(False)
        rows = (len(self._places), *shape)
        for run in runs(self._places):
            path, name, number = self._places[run.start]
            space = h5py.h5s.create_simple(rows)
            space.select_hyperslab((run.start, 0, 0, 0)[: len(rows)], (len(run), *shape))
            source = h5py.h5s.create_simple(shape)
            if number is not None:
                # No more of the source need be known than that the frames lie within.
                source = h5py.h5s.create_simple((number + len(run), *shape))
                source.select_hyperslab((number, 0, 0, 0)[: len(rows)], (len(run), *shape))
            layout.set_virtual(space, path.encode(), name.encode(), source)
        group = self._file.create_group(DATA.rpartition("/")[0])
        kind = h5py.h5t.py_create(dtype, logical=True)
        h5py.h5d.create(group.id, b"data", kind, h5py.h5s.create_simple(rows), layout)
        return True


def runs(places: list[tuple[str, str, int | None]]) -> Iterator[range]:
    """Yield rows whose frames lie one after the other in one array."""
    first = 0
    for row in range(1, len(places) + 1):
        if row < len(places):
            path, name, number = places[row]
            if number is not None and (path, name, number - 1) == places[row - 1]:
                continue
        yield range(first, row)
        first = row


@contextmanager
def open_peak_file(path: Path) -> Iterator[PeakFile]:
    """Yield a file of peaks that comes into being, whole, when the block ends."""
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            yield PeakFile(file, output, path.parent)
        output.check()


def read_peaks(path: Path, event: int) -> NDArray[np.float64]:
    """Return fs, ss (pixels; pixel n covers n to n + 1) and photons [n, 3] of an event."""
    with h5py.File(path, "r") as file:
        group = file[RESULT]
        count = int(group["nPeaks"][event])
        columns = [np.asarray(group[name][event, :count], dtype=float) for name in COLUMNS[:3]]
    return np.column_stack([columns[0] + HALF, columns[1] + HALF, columns[2]])
