"""Several images of one exposure side by side, as detectors with several thresholds write them.

NeXus keeps them along an axis of its own, [frame, channel, ss, fs], which the group of the data
names among its axes, with a group NAME_channel of the detector for each (NXdetector_channel).
They are no modules of one image.
"""

from typing import Any

import h5py
import numpy as np

AXIS, SUFFIX = "channel", "_channel"


def channels_of(file: h5py.File, place: str, array: h5py.Dataset) -> tuple[str, ...]:
    """Return the names of the channels of an array [frame, channel, ss, fs]; none of others."""
    if array.ndim != 4:
        return ()
    group = file.get(place)
    if isinstance(group, h5py.Dataset):
        group = file.get(place.rpartition("/")[0] or "/")
    if not isinstance(group, h5py.Group):
        return ()
    axes = _words(group.attrs.get("axes"))
    count = int(array.shape[1])
    entry = file.get(place.strip("/").split("/")[0])
    described = _described(entry)
    if axes[1:2] != [AXIS] and len(described) != count:
        return ()
    names = group.get(AXIS)
    known = _words(names[()]) if isinstance(names, h5py.Dataset) else []
    if len(known) != count:
        known = described if len(described) == count else [str(n + 1) for n in range(count)]
    return tuple(known)


def _described(entry: Any) -> list[str]:
    """Return the channels that the detector of an entry describes, in the order of their names."""
    detector = entry.get("instrument/detector") if isinstance(entry, h5py.Group) else None
    if not isinstance(detector, h5py.Group):
        return []
    return sorted(name.removesuffix(SUFFIX) for name in detector if name.endswith(SUFFIX))


def _words(values: Any) -> list[str]:
    if values is None:
        return []
    return [
        word.decode() if isinstance(word, bytes) else str(word)
        for word in np.ravel(values).tolist()
    ]
