"""Real frames of any common format: the one entry to reading them.

A place to read from is a file, a folder (its files in the order of their names) or a list in
CrystFEL's form (``.lst``, one ``file`` or ``file //event`` a line). Nothing is read before it
is asked for, and one frame is in memory at a time.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from spotmill.errors import SpotmillError
from spotmill.formats.images_fabio import FabioFile
from spotmill.formats.images_hdf5 import Hdf5File, linked_files
from spotmill.formats.images_model import FrameFile, FrameMetadata, RawFrame
from spotmill.model import read_text
from spotmill.plain_files import check_plain

__all__ = [
    "FrameFile",
    "FrameMetadata",
    "RawFrame",
    "Source",
    "open_file",
    "open_frames",
    "sources",
]

LIST_SUFFIX = ".lst"
HDF5_SUFFIXES = {".h5", ".hdf5", ".nxs", ".cxi", ".nx", ".nexus"}
IMAGE_SUFFIXES = HDF5_SUFFIXES | {
    ".cbf", ".tif", ".tiff", ".edf", ".img", ".mccd", ".osc", ".npy", ".sfrm", ".esperanto",
}  # fmt: skip
MAR345_SUFFIX = re.compile(r"\.mar(ccd|\d{3,4})")
PACKED_SUFFIXES = {".gz", ".bz2"}


@dataclass(frozen=True)
class Source:
    """One file of frames, and which of them are asked for (None: all)."""

    path: Path
    events: tuple[int, ...] | None = None


def open_frames(
    path: str | Path, event: int | None = None, data: str | None = None
) -> Iterator[RawFrame]:
    """Yield the frames of a file, a folder or a list, one at a time.

    Parameters
    ----------
    path
        File, folder or ``.lst``.
    event
        Number of the only frame wanted, from 0 (files only).
    data
        Place of the frames in HDF5 files that have them at an unknown place.

    Raises
    ------
    SpotmillError
        One line, when something is no image, of unknown format or damaged, a master lacks
        its data files, an event lies beyond the end, or there are 0 frames. What comes after
        it is not read: to go on, iterate over `sources` and open each alone.
    """
    if event is not None and not (Path(path).is_file() and Path(path).suffix != LIST_SUFFIX):
        raise SpotmillError(f"{path}: an event goes with a single file, not a folder or list")
    for source in sources(path):
        events = source.events if event is None else (event,)
        with open_file(source.path, data) as file:
            for number in range(len(file)) if events is None else events:
                yield file.read(number)


def open_file(path: str | Path, data: str | None = None) -> FrameFile:
    """Open one file of frames; `len` is their number, `read(event)` returns one.

    Raises SpotmillError as `open_frames` does.
    """
    path = Path(path)
    check_plain(path)
    if h5py.is_hdf5(path):
        return Hdf5File(path, data)
    if path.suffix.lower() in HDF5_SUFFIXES:
        raise SpotmillError(f"{path}: is not a whole HDF5 file; copy it again")
    return FabioFile(path)


def sources(
    path: str | Path, refused: Callable[[SpotmillError], None] | None = None
) -> Iterator[Source]:
    """Yield the files behind a file, a folder or a list, in order.

    Of a folder, files that end as no image does, hidden ones, and data files that a master in
    the same folder links to are passed over.

    Parameters
    ----------
    refused
        Told of every bad line of a list, in place of an error; the other lines are read.

    Raises
    ------
    SpotmillError
        When the path is absent, or the folder or list is empty or unreadable.
    """
    path = Path(path)
    if path.is_dir():
        yield from _folder(path)
    elif path.suffix == LIST_SUFFIX:
        yield from _list(path, refused)
    elif path.is_file():
        yield Source(path)
    else:
        check_plain(path)


def _is_image_name(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return last in IMAGE_SUFFIXES or bool(MAR345_SUFFIX.fullmatch(last))


def _folder(path: Path) -> Iterator[Source]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SpotmillError(f"{path}: cannot be listed ({error.strerror})") from error
    files = [
        entry
        for entry in entries
        if not entry.name.startswith(".") and entry.is_file() and _is_image_name(entry)
    ]
    linked: set[Path] = set()
    for file in files:
        if file.suffix.lower() in HDF5_SUFFIXES:
            linked |= linked_files(file) - {file.resolve()}
    kept = [file for file in files if file.resolve() not in linked]
    if not kept:
        raise SpotmillError(f"{path}: holds no images; give a folder of frames")
    yield from map(Source, kept)


def _list(path: Path, refused: Callable[[SpotmillError], None] | None) -> Iterator[Source]:
    """Yield the files of a list; events of one file on consecutive lines come together."""
    waiting: Source | None = None
    found = False
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        found = True
        try:
            source = _entry(path, number, line.strip())
        except SpotmillError as error:
            if refused is None:
                raise
            refused(error)
            continue
        if waiting and source.path == waiting.path and waiting.events and source.events:
            waiting = Source(waiting.path, waiting.events + source.events)
            continue
        if waiting:
            yield waiting
        waiting = source
    if waiting:
        yield waiting
    if not found:
        raise SpotmillError(f"{path}: names 0 frames; write one file a line")


def _entry(path: Path, number: int, line: str) -> Source:
    head, _, last = line.rpartition(" ")
    file, event = (Path(head.strip()), last) if head and "//" in last else (Path(line), None)
    # CrystFEL reads names relative to the current folder; a list also travels with its files.
    try:
        target = next((place for place in (file, path.parent / file) if place.is_file()), None)
    except OSError:
        # An endless name cannot even be looked for.
        target = None
    if target is None:
        raise SpotmillError(
            f"{path}: line {number}: {str(file)[:200]} is no file; correct the list"
        )
    if event is None:
        return Source(target)
    digits = event.removeprefix("//")
    if not digits.isdecimal():
        raise SpotmillError(
            f"{path}: line {number}: event {event!r} is not of the form //3, a frame's number; "
            "correct the list"
        )
    return Source(target, (int(digits),))
