"""Counts as whole photons, and how many of them are saturated, in one pass over the pixels each."""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

LARGEST_COUNT = 2**31 - 1
# The largest below it that float32 has.
LARGEST_FLOAT = 2**31 - 128


def photons(
    image: NDArray[Any], live: NDArray[np.bool_], adu_per_photon: float
) -> NDArray[np.int32]:
    """Return counts [ss, fs] as whole photons, none negative, 0 where no pixel is live."""
    if adu_per_photon == 1 and image.dtype.kind in "iu" and image.dtype != np.uint64:
        return np.asarray(_within(native(image), live, LARGEST_COUNT))
    # Half precision ends at 65504.
    wide = image.astype(np.float32) if image.dtype == np.float16 else image
    values = np.where(live, wide, 0)
    if adu_per_photon != 1 or values.dtype.kind == "f":
        values = np.rint(values / adu_per_photon)
    most = LARGEST_FLOAT if values.dtype.kind == "f" else LARGEST_COUNT
    return np.clip(values, 0, most).astype(np.int32)


def saturated_pixels(image: NDArray[Any], live: NDArray[np.bool_], limit: float | None) -> int:
    """Return the number of live pixels of an image [ss, fs] at or above a limit (None: none is)."""
    if limit is None or limit == math.inf:
        return 0
    if image.dtype.kind not in "iu" or image.dtype == np.uint64:
        return int((live & (image >= limit)).sum())
    least = math.ceil(limit)
    if least > np.iinfo(image.dtype).max:
        return 0
    return int(_at_least(native(image), live, least))


def native(image: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's order of bytes."""
    return image if image.dtype.isnative else image.astype(image.dtype.newbyteorder("="))


@njit(cache=True, nogil=True)
def _within(image: Any, live: Any, most: int) -> Any:
    """Return live pixels from 0 to the most, 0 elsewhere."""
    found = np.empty(image.shape, np.int32)
    for ss in range(image.shape[0]):
        counts, alive, out = image[ss], live[ss], found[ss]
        for k in range(len(out)):
            out[k] = min(max(np.int64(counts[k]), 0), most) if alive[k] else 0
    return found


@njit(cache=True, nogil=True)
def _at_least(image: Any, live: Any, least: int) -> int:
    """Return the number of live pixels of at least so many counts."""
    found = 0
    for ss in range(image.shape[0]):
        counts, alive = image[ss], live[ss]
        row = np.int32(0)
        for k in range(len(counts)):
            row += np.int32(alive[k]) & np.int32(counts[k] >= least)
        found += int(row)
    return found
