"""HDF5 files that grow while they are read: written in SWMR mode, or masters of files to come.

A file of the newer formats says in its first bytes whether it is being written, and whether in
the mode that allows readers (HDF5 File Format Specification, "Disk Format: Level 0A").
"""

from pathlib import Path
from typing import Any

import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# From version 3 of the superblock on, its byte 11 has these flags.
FLAGGED, FLAGS = 3, 11
SWMR = 4


def is_streamed(path: Path) -> bool:
    """Whether an HDF5 file is being written in the mode that allows readers (SWMR).

    It stays so marked where the writer was killed.
    """
    # A pipe that a link names would be waited for.
    if not path.is_file():
        return False
    try:
        with path.open("rb") as handle:
            start = handle.read(FLAGS + 1)
    except OSError:
        return False
    is_flagged = start.startswith(SIGNATURE) and len(start) > FLAGS and start[8] == FLAGGED
    return is_flagged and bool(start[FLAGS] & SWMR)


def is_written(dataset: h5py.Dataset, number: int | None) -> bool:
    """Whether a frame of an array is in the file, and not only room for it.

    HDF5 gives zeros for what is not: of chunks that nobody wrote, and of virtual arrays whose
    source is absent or shorter.

    Parameters
    ----------
    number
        Of the frame along the first axis; None where the array is one frame.
    """
    if dataset.is_virtual:
        return all(
            _source_is_written(dataset, source, number) for source in dataset.virtual_sources()
        )
    if number is not None and number >= dataset.shape[0]:
        return False
    if dataset.chunks is None:
        return dataset.id.get_offset() is not None or not dataset.size
    first = [0] * dataset.ndim
    last = [size - 1 for size in dataset.shape]
    if number is not None:
        first[0] = last[0] = number
    return all(
        dataset.id.get_chunk_info_by_coord(_corner(dataset, place)).byte_offset is not None
        for place in (first, last)
    )


def _corner(dataset: h5py.Dataset, place: list[int]) -> tuple[int, ...]:
    return tuple(at - at % size for at, size in zip(place, dataset.chunks, strict=True))


def _source_is_written(dataset: h5py.Dataset, source: Any, number: int | None) -> bool:
    """Whether a virtual array's source has its part of a frame; True where it has none."""
    try:
        low, high = source.vspace.get_select_bounds()
        # Of a whole source the file keeps no bounds.
        is_whole = source.src_space.get_select_type() == h5py.h5s.SEL_ALL
        first = (0,) * len(low) if is_whole else source.src_space.get_select_bounds()[0]
    except (RuntimeError, ValueError):
        # Without an end, or by a pattern of names: nothing can be told.
        return True
    if number is not None and not low[0] <= number <= high[0]:
        return True
    there = None
    if number is not None and len(first) == len(low):
        there = int(first[0] + number - low[0])
    if source.file_name == ".":
        found = dataset.file.get(source.dset_name)
        return isinstance(found, h5py.Dataset) and _has(found, there)
    path = Path(dataset.file.filename).parent / source.file_name
    try:
        with h5py.File(path, "r", swmr=is_streamed(path)) as other:
            found = other.get(source.dset_name)
            return isinstance(found, h5py.Dataset) and _has(found, there)
    except (OSError, KeyError, RuntimeError):
        return False


def _has(dataset: h5py.Dataset, number: int | None) -> bool:
    return is_written(dataset, number if dataset.ndim > 2 else None)
