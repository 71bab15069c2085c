"""Which pixels a geometry file leaves live: by values that are flags, and by masks in files."""

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import PLACEHOLDER, EventId
from spotmill.formats.geom import Geometry, GeomPanel
from spotmill.formats.images import RawFrame
from spotmill.formats.images_hdf5_links import damage

# Masks that all events of a run share, kept: a detector may have one a module.
MOST_KEPT = 256


def unflagged(geometry: Geometry, image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] whose value a geometry does not flag as bad."""
    live = np.ones(image.shape, dtype=bool)
    for panel in geometry.panels:
        slab = slab_of(panel)
        for flag in panel.flags:
            bad = {"lessthan": np.less, "morethan": np.greater, "equal": np.equal}[flag.kind]
            live[slab] &= ~bad(image[slab], flag.value)
    return live


def slab_of(panel: GeomPanel) -> tuple[slice, slice]:
    """Return the rows and columns of a panel."""
    return np.s_[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]


@dataclass(frozen=True)
class Values:
    """A mask without axes of events.

    Attributes
    ----------
    is_frame
        Whether it is laid out as the frame is; else as the geometry's arrays are.
    is_shared
        Whether all events have the same.
    """

    array: NDArray[Any]
    is_frame: bool
    is_shared: bool


class FileMasks:
    """The masks that a geometry names in data files.

    Parameters
    ----------
    geometry
        As its file has it: with the arrays of the data files.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._shared: dict[tuple[Path, str], Values] = {}
        self._own: dict[tuple[Path, str, EventId], Values] = {}
        # The pixels of the last event, and the geometry and the masks that they come from.
        self._for: list[Geometry | Values] = []
        self._live: NDArray[np.bool_] = np.empty(0, dtype=bool)

    def live(self, laid: Geometry, frame: RawFrame) -> list[NDArray[np.bool_]]:
        """Return the pixels [ss, fs] that the masks leave live; nothing where there are none.

        As long as events share their masks, it is the same array.

        Parameters
        ----------
        laid
            The geometry with its panels where they lie in the frame.

        Raises
        ------
        SpotmillError
            When a mask is absent, no mask, or of another shape.
        """
        masks = [
            (panel, there, mask, Path(mask.file) if mask.file else frame.path)
            for panel, there in zip(self._geometry.panels, laid.panels, strict=True)
            for mask in panel.masks
            if mask.file or h5py.is_hdf5(frame.path)
        ]
        if not masks:
            return []
        known = [self._values(path, mask.data, panel, frame) for panel, _, mask, path in masks]
        now: list[Geometry | Values] = [laid, *known]
        if len(now) == len(self._for) and all(map(operator.is_, now, self._for)):
            return [self._live]
        live = np.ones(frame.image.shape, dtype=bool)
        for (panel, there, mask, path), values in zip(masks, known, strict=True):
            index = slab_of(there) if values.is_frame else selection(panel)
            part = self._part(path, mask.data, values.array, index, frame).astype(np.int64)
            good = (part & mask.goodbits) == mask.goodbits
            live[slab_of(there)] &= good & ((part & mask.badbits) == 0)
        self._for, self._live = now, live
        return [live]

    def _part(
        self, path: Path, place: str, array: NDArray[Any], index: tuple[Any, ...], frame: RawFrame
    ) -> NDArray[Any]:
        ends = [one.stop if isinstance(one, slice) else one + 1 for one in index]
        if len(ends) != array.ndim or any(map(int.__gt__, ends, array.shape)):
            raise refused(path, place, array.shape, frame)
        return np.asarray(array[index])

    def _values(self, path: Path, pattern: str, panel: GeomPanel, frame: RawFrame) -> Values:
        name = frame.event_id
        try:
            place = name.place(pattern)
        except ValueError as error:
            raise SpotmillError(f"{frame.path}: {error}; correct mask_data") from error
        known = self._shared.get((path, place)) or self._own.get((path, place, name))
        if known is not None:
            return known
        with damage(path, f"{place} "), h5py.File(path, "r") as file:
            values = read_values(path, mask_at(path, file, place), panel, frame)
        if values.is_shared:
            if len(self._shared) >= MOST_KEPT:
                self._shared.clear()
            self._shared[path, place] = values
            return values
        if any(event != name for _, _, event in self._own):
            self._own.clear()
        self._own[path, place, name] = values
        return values


def read_values(path: Path, item: h5py.Dataset, panel: GeomPanel, frame: RawFrame) -> Values:
    """Return a mask of an event."""
    shape, numbers = frame.image.shape, frame.event_id.numbers
    events = [axis == PLACEHOLDER for axis in panel.dims]
    if item.ndim == len(events) - sum(events):
        if item.ndim == 2 or item.size != shape[0] * shape[1]:
            return Values(np.asarray(item[()]), item.shape == shape, is_shared=True)
    elif item.ndim == len(events) and len(numbers) == sum(events):
        left = iter(numbers)
        index = tuple(next(left) if one else slice(None) for one in events)
        if all(not isinstance(i, int) or i < n for i, n in zip(index, item.shape, strict=True)):
            array = np.asarray(item[index])
            return Values(array, array.shape == shape, is_shared=False)
    if item.size == shape[0] * shape[1]:
        return Values(np.asarray(item[()]).reshape(shape), is_frame=True, is_shared=True)
    # Of a geometry without dim lines, for files that have many events all the same.
    if item.ndim > 2 and item.size == shape[0] * shape[1] * item.shape[0] > frame.event:
        array = np.asarray(item[frame.event]).reshape(shape)
        return Values(array, is_frame=True, is_shared=False)
    raise refused(path, str(item.name), item.shape, frame)


def refused(path: Path, place: str, shape: tuple[int, ...], frame: RawFrame) -> SpotmillError:
    """Return the error of a mask of another shape."""
    return SpotmillError(
        f"{path}: its mask {place} is of {shape}, the frames of {frame.image.shape}; "
        "correct the geometry"
    )


def mask_at(path: Path, file: h5py.File, place: str) -> h5py.Dataset:
    """Return the array of a mask, or raise SpotmillError where there is none."""
    item = file.get(place)
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf":
        raise SpotmillError(f"{path}: has no mask at {place}; correct mask_data in the geometry")
    return item


def selection(panel: GeomPanel) -> tuple[int | slice, ...]:
    """Return what selects a panel from an array with the axes of its data, but those of events."""
    rows, columns = slab_of(panel)
    known = {"ss": rows, "fs": columns}
    axes = (axis for axis in panel.dims if axis != PLACEHOLDER)
    return tuple(axis if isinstance(axis, int) else known[axis] for axis in axes)
