"""Real frames of any common format: the one entry to reading them.

A place to read from is a file, a folder (its files in the order of their names) or a list in
CrystFEL's form (``.lst``, one ``file`` or ``file //event`` a line). Nothing is read before it
is asked for, and one frame is in memory at a time.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import PLACEHOLDER, EventId
from spotmill.formats.geom_layout import Layout
from spotmill.formats.images_fabio import FabioFile
from spotmill.formats.images_hdf5 import Hdf5File, linked_files
from spotmill.formats.images_model import FrameFile, FrameMetadata, RawFrame
from spotmill.formats.images_panels import PanelFile
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
COMMENTS = ("#", ";")
# What prediction writes beside its tables, and the mark that it bears.
PRODUCTS, CREATOR = {"peaks.cxi", "hits.cxi"}, b"spotmill predict"


@dataclass(frozen=True)
class Source:
    """One file of frames, and which of them are asked for (None: all).

    Events are numbers from 0, or names (`FrameFile.number` finds theirs).
    """

    path: Path
    events: tuple[int | EventId, ...] | None = None


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
            numbers = range(len(file)) if events is None else map(file.number, events)
            for number in numbers:
                yield file.read(number)


def open_file(
    path: str | Path,
    data: str | None = None,
    layout: Layout | None = None,
    likely: str | None = None,
    growing: bool = False,
) -> FrameFile:
    """Open one file of frames; `len` is their number, `read(event)` returns one.

    Parameters
    ----------
    data
        Place of the frames in HDF5 files; placeholders (%) in it stand for names of events.
    layout
        How frames are put together of several arrays in HDF5 files.
    likely
        Place that is tried first.
    growing
        Whether a master may lack data files that are still to come.

    Raises SpotmillError as `open_frames` does.
    """
    path = Path(path)
    check_plain(path)
    if not os.access(path, os.R_OK):
        raise SpotmillError(f"{path}: cannot be read; check its permissions")
    if h5py.is_hdf5(path):
        if layout is not None or (data is not None and PLACEHOLDER in data):
            return PanelFile(path, layout, data)
        return Hdf5File(path, data, likely, growing)
    if path.suffix.lower() in HDF5_SUFFIXES:
        raise SpotmillError(f"{path}: is not a whole HDF5 file; copy it again")
    return FabioFile(path)


def sources(
    path: str | Path,
    refused: Callable[[SpotmillError], None] | None = None,
    passed_over: Callable[[Path], None] | None = None,
) -> Iterator[Source]:
    """Yield the files behind a file, a folder or a list, in order.

    Of a folder, files that end as no image does, hidden ones, data files that a master in the
    same folder links to, and what `spotmill predict` wrote there are passed over.

    Parameters
    ----------
    refused
        Told of every bad line of a list, in place of an error; the other lines are read.
    passed_over
        Told of what a folder holds that is not hidden and whose name is no image's.

    Raises
    ------
    SpotmillError
        When the path is absent, or the folder or list is empty or unreadable.
    """
    path = Path(path)
    # What lies in a locked folder cannot even be looked at.
    if os.path.isdir(path):  # noqa: PTH112
        yield from _folder(path, passed_over)
    elif path.suffix == LIST_SUFFIX:
        yield from _list(path, refused)
    elif os.path.isfile(path):  # noqa: PTH113
        yield Source(path)
    else:
        check_plain(path)


def _is_image_name(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return last in IMAGE_SUFFIXES or bool(MAR345_SUFFIX.fullmatch(last))


def is_product(path: Path) -> bool:
    """Return whether a file is what `spotmill predict` wrote: no frames, but copies of some."""
    if path.name not in PRODUCTS:
        return False
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("creator") == CREATOR)
    except OSError:
        return False


def _folder(path: Path, passed_over: Callable[[Path], None] | None = None) -> Iterator[Source]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SpotmillError(f"{path}: cannot be listed ({error.strerror})") from error
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    files = [
        entry
        for entry in entries
        if _is_image_name(entry) and os.path.isfile(entry)  # noqa: PTH113
    ]
    if passed_over is not None:
        images = set(files)
        for entry in entries:
            if entry not in images:
                passed_over(entry)
    files = [file for file in files if not is_product(file)]
    linked: set[Path] = set()
    for file in files:
        if file.suffix.lower() in HDF5_SUFFIXES:
            linked |= linked_files(file) - {file.resolve()}
    kept = [file for file in files if file.resolve() not in linked]
    if not kept:
        raise SpotmillError(
            f"{path}: holds no images; give a folder of frames (folders within are not read)"
        )
    yield from map(Source, kept)


def _list(path: Path, refused: Callable[[SpotmillError], None] | None) -> Iterator[Source]:
    """Yield the files of a list; events of one file on consecutive lines come together.

    Empty lines and comments (#, ;) are passed over, and what a list names again is read once.
    """
    waiting: Path | None = None
    events: list[int | EventId] = []
    found = False
    known: set[int] = set()
    targets: dict[str, Path] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(COMMENTS):
            continue
        found = True
        try:
            source = _entry(path, number, line.strip(), targets)
        except SpotmillError as error:
            if refused is None:
                raise
            refused(error)
            continue
        # A million lines as numbers take a tenth of the memory that they take as text.
        key = hash(source)
        if key in known:
            continue
        known.add(key)
        if waiting == source.path and events and source.events:
            events += source.events
            continue
        if waiting:
            yield Source(waiting, tuple(events) or None)
        waiting, events = source.path, list(source.events or ())
    if waiting:
        yield Source(waiting, tuple(events) or None)
    if not found:
        raise SpotmillError(f"{path}: names 0 frames; write one file a line")


def _entry(path: Path, number: int, line: str, targets: dict[str, Path]) -> Source:
    """Return what a line names; a name may itself hold spaces, or two strokes.

    `targets` keeps the files that were found, which many lines share.
    """
    head, _, last = line.rpartition(" ")
    name = head.strip()
    target = targets.get(name) if "//" in last else None
    if target is None:
        whole = _target(path, line)
        if whole is not None:
            return Source(whole)
        name = name if name and "//" in last else line
        target = _target(path, name)
        if target is None:
            raise SpotmillError(f"{path}: line {number}: {name[:200]} is no file; correct the list")
        targets[name] = target
    try:
        event = EventId.parse(last)
    except ValueError as error:
        raise SpotmillError(f"{path}: line {number}: {error}; correct the list") from error
    if event == EventId():
        # So CrystFEL names the only event of a file.
        return Source(target)
    if not event.parts and len(event.numbers) == 1:
        return Source(target, event.numbers)
    return Source(target, (event,))


def _target(path: Path, name: str) -> Path | None:
    """Return the file that a list names, or None where there is none."""
    # CrystFEL reads names relative to the current folder; a list also travels with its files.
    try:
        places = (Path(name), path.parent / name)
        return next((place for place in places if place.is_file()), None)
    except (OSError, ValueError):
        # An endless name cannot even be looked for.
        return None
