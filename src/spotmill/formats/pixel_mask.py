"""Masks of pixels as HDF5, bits as NXmx has them: 0 is good.

    /entry/instrument/detector/pixel_mask   [ss, fs] uint32, as NXmx names it
    /data/data                              the same, where any reader finds it

The attributes of the mask say which bit means what, and how many pixels have it.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.atomic import atomic
from spotmill.formats.hdf5_output import Output

PLACE, BARE = "entry/instrument/detector/pixel_mask", "data/data"
# NXmx (NXdetector, pixel_mask): dead, over-responding, noisy, undefined.
BITS = {"dead": 1, "hot": 3, "noisy": 4, "known": 5}
CREATOR = "spotmill mask"


def combined(kinds: dict[str, NDArray[np.bool_]]) -> NDArray[np.uint32]:
    """Return the mask [ss, fs] of pixels by kind (`BITS`)."""
    shape = next(iter(kinds.values())).shape
    mask = np.zeros(shape, np.uint32)
    for kind, pixels in kinds.items():
        mask |= np.where(pixels, np.uint32(1 << BITS[kind]), np.uint32(0))
    return mask


def write_mask(path: Path, mask: NDArray[np.uint32], said: dict[str, Any]) -> None:
    """Write a mask [ss, fs], the same bytes for the same mask.

    Parameters
    ----------
    said
        How it came about, as attributes.

    Raises SpotmillError where it cannot be written.
    """
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w") as file:
            dataset = file.create_dataset(
                PLACE,
                data=mask,
                chunks=(min(mask.shape[0], 256), min(mask.shape[1], 256)),
                compression="gzip",
                compression_opts=4,
                shuffle=True,
                track_times=False,
            )
            file[BARE] = dataset
            file.attrs["creator"] = CREATOR
            for name, bit in BITS.items():
                dataset.attrs[f"bit_{bit}"] = name
            for name, value in said.items():
                dataset.attrs[name] = value
        output.check()
