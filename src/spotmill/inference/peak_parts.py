"""Peaks of a part of a watch as CXI, made from its ledger.

The layout is that of `peak_file`; images of HDF5 files are joined by reference.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic
from spotmill.formats.hdf5_output import Output
from spotmill.inference.peak_file import (
    BAD,
    COLUMNS,
    COMPRESSED,
    DATA,
    HALF,
    MASK,
    RESULT,
    UNITS,
    stack_of,
)
from spotmill.inference.watch_handover import unpacked_mask
from spotmill.physics.peak_finding import Peaks


@dataclass(frozen=True)
class Place:
    """Where an HDF5 file keeps a frame.

    Attributes
    ----------
    number
        Along the first axis of the array `name`; None where the array is the frame.
    shape
        Of the frame [ss, fs].
    """

    file: str
    name: str
    number: int | None
    shape: tuple[int, int]
    dtype: str


def packed(peaks: Peaks) -> bytes:
    """Return peaks as bytes: fs, ss, photons, probability, float32."""
    columns = (peaks.place[:, 0], peaks.place[:, 1], peaks.intensity, peaks.score)
    return np.column_stack(columns).astype("<f4").tobytes()


def unpacked(raw: bytes) -> NDArray[np.float32]:
    """Return peaks [n, 4] from bytes."""
    return np.frombuffer(raw, dtype="<f4").reshape(-1, 4)


def place_text(place: Any) -> str:
    """Return where a frame is kept (see `Hdf5File.place`) as text; empty where nobody knows."""
    if place is None:
        return ""
    path, name, number, dataset = place
    shape = dataset.shape if number is None else dataset.shape[1:]
    if len(shape) != 2:
        return ""
    return json.dumps([str(path.resolve()), name, number, list(shape), dataset.dtype.str])


def read_place(text: str) -> Place | None:
    """Return a place from its text."""
    if not text:
        return None
    file, name, number, shape, dtype = json.loads(text)
    return Place(file, name, number, (shape[0], shape[1]), dtype)


def write_part(
    path: Path,
    peaks: Sequence[NDArray[np.float32]],
    places: Sequence[Place | None],
    masks: Sequence[str],
    beam: Mapping[str, Sequence[float]],
    mask_of: Callable[[str], bytes],
) -> None:
    """Write the peaks [n, 4] of rows, and their images by reference where they are alike.

    Parameters
    ----------
    masks
        Digest of the live pixels of each row; empty where they are not wanted.
    beam
        Values of each row by their place in the file, NaN where nobody knows.
    mask_of
        Returns packed live pixels by their digest.
    """
    counts = np.array([len(one) for one in peaks], dtype=np.int64)
    columns = np.zeros((len(COLUMNS), len(peaks), max(int(counts.max(initial=0)), 1)), np.float32)
    for row, one in enumerate(peaks):
        columns[:, row, : len(one)] = one.T
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            file["cxi_version"] = 160
            group = file.create_group(RESULT)
            group["nPeaks"] = counts
            inside = np.arange(columns.shape[2]) < counts[:, None]
            for name, values in zip(COLUMNS, columns, strict=True):
                # CXI counts pixels from their centres.
                moved = values - HALF if name.startswith(("peakX", "peakY")) else values
                group.create_dataset(name, data=np.where(inside, moved, 0), compression="gzip")
            for name, known in beam.items():
                file[name] = np.asarray(known, dtype=np.float64)
                file[name].attrs["units"] = np.bytes_(UNITS[name])
            _join(file, path.parent.resolve(), places)
            _mask(file, places, masks, mask_of)
        output.check()


def _join(file: h5py.File, folder: Path, places: Sequence[Place | None]) -> None:
    """Join images of one shape; rows of others are 0."""
    known = [place for place in places if place is not None]
    shapes = {place.shape for place in known}
    if len(shapes) != 1:
        return
    shape = shapes.pop()
    dtype = np.result_type(*(np.dtype(place.dtype) for place in known))
    layout = h5py.VirtualLayout((len(places), *shape), dtype)
    first = 0
    for row in range(1, len(places) + 1):
        if row < len(places) and _follows(places[row - 1], places[row]):
            continue
        place, count = places[first], row - first
        if place is not None:
            name = os.path.relpath(place.file, folder)
            if place.number is None:
                layout[first] = h5py.VirtualSource(name, place.name, shape)
            else:
                end = place.number + count
                source = h5py.VirtualSource(name, place.name, (end, *shape))
                layout[first:row] = source[place.number : end]
        first = row
    file.create_virtual_dataset(DATA, layout)


def _mask(
    file: h5py.File,
    places: Sequence[Place | None],
    masks: Sequence[str],
    mask_of: Callable[[str], bytes],
) -> None:
    """Write the live pixels of all rows once, or of each row where they differ."""
    shape = next((place.shape for place in places if place is not None), None)
    wanted = sorted({mask for mask in masks if mask})
    if shape is None or not wanted:
        return
    if len(wanted) == 1:
        bad = np.where(unpacked_mask(mask_of(wanted[0]), shape), 0, BAD).astype(np.uint8)
        file.create_dataset(MASK, data=bad, chunks=bad.shape, **COMPRESSED)
        return
    stack = stack_of(file, MASK, shape, np.dtype(np.uint8), BAD)
    stack.resize(len(masks), axis=0)
    for row, mask in enumerate(masks):
        if mask:
            stack[row] = np.where(unpacked_mask(mask_of(mask), shape), 0, BAD)


def _follows(before: Place | None, after: Place | None) -> bool:
    if before is None or after is None or before.number is None or after.number is None:
        return False
    same = (before.file, before.name) == (after.file, after.name)
    return same and after.number == before.number + 1
