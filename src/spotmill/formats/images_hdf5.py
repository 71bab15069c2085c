"""Frames in HDF5: our shards, NXmx and NeXus masters, CXI, bare arrays."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401  registers bitshuffle and its like with HDF5
import numpy as np

from spotmill.errors import SpotmillError
from spotmill.formats.frames import PROVENANCE
from spotmill.formats.images_hdf5_channels import channels_of
from spotmill.formats.images_hdf5_growing import is_streamed, is_written
from spotmill.formats.images_hdf5_links import check_links, damage
from spotmill.formats.images_hdf5_metadata import Instrument
from spotmill.formats.images_model import (
    LARGEST_AREA,
    FrameFile,
    RawFrame,
    both,
    check_image,
    unflagged,
)
from spotmill.formats.images_times import Hdf5Clock

SERIES = re.compile(r"data_\d+")
CXI_DATA = ("entry_1/data_1/data", "entry_1/instrument_1/detector_1/data")
BARE_DATA = ("entry/data/data", "data/data", "data")


class Stored(NamedTuple):
    """How an array is kept: its shape and type, and the filters that its chunks went through."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    filters: tuple[int, ...]


Place = tuple[Path, str, int | None, Stored]


class Hdf5File(FrameFile):
    """An HDF5 file, with the data files that it links to; frames are read when asked for.

    Parameters
    ----------
    data : str, optional
        Place of the frames in the file, where it is not one of the known ones.
    likely : str, optional
        Place that is tried first, as a geometry names it.
    growing : bool
        Whether a master may lack data files that are still to come: those frames are there that
        precede the first of these. Of virtual arrays nothing is checked
        (`images_hdf5_growing.is_written` does).
    """

    def __init__(
        self,
        path: Path,
        data: str | None = None,
        likely: str | None = None,
        growing: bool = False,
    ) -> None:
        super().__init__(path)
        self._file = open_hdf5(path)
        try:
            with damage(path):
                check_links(path, self._file)
                place, self._parts = find_frames(path, self._file, data, likely, growing)
                self._channels = channels_of(self._file, place, self._parts[0])
                self._shape = _common_shape(path, self._parts, bool(self._channels))
                self._starts = np.cumsum([0, *(_frames(part) for part in self._parts)])
                if not len(self):
                    raise SpotmillError(f"{path}: holds 0 frames; give a file with frames")
                self._instrument = Instrument(self._file, place, len(self), self._channels[:1])
                self._clock = Hdf5Clock(self._file, place, len(self))
                self._is_ours = PROVENANCE in self._file
                self._stored: dict[int, Stored] = {}
        except SpotmillError:
            self._file.close()
            raise

    def __len__(self) -> int:
        """Return the number of frames."""
        return int(self._starts[-1])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def place(self, event: int) -> Place:
        """Return the file and array of a frame, its number there (None: the whole), the array.

        What is said of the array holds when the file is closed, too.
        """
        part = int(np.searchsorted(self._starts, event, side="right")) - 1
        dataset = self._parts[part]
        number = event - int(self._starts[part]) if dataset.ndim > 2 else None
        if part not in self._stored:
            self._stored[part] = Stored(dataset.shape, dataset.dtype, filters(dataset))
        return Path(dataset.file.filename), str(dataset.name), number, self._stored[part]

    def is_written(self, event: int) -> bool:
        """Whether a frame is in the file, and not only room for it (`images_hdf5_growing`)."""
        part = int(np.searchsorted(self._starts, event, side="right")) - 1
        dataset = self._parts[part]
        number = event - int(self._starts[part]) if dataset.ndim > 2 else None
        with damage(self.path, f"event {event} "):
            return is_written(dataset, number)

    def _read(self, event: int) -> RawFrame:
        part = int(np.searchsorted(self._starts, event, side="right")) - 1
        dataset = self._parts[part]
        with damage(self.path, f"event {event} "):
            number = event - self._starts[part]
            number = (number, 0) if self._channels else number
            array = dataset[number] if dataset.ndim > 2 else dataset[()]
            metadata = self._instrument.metadata(event)
            metadata = replace(metadata, time=self._clock.time(event))
            declared = self._instrument.live(event, self._shape)
        image = check_image(self.path, np.asarray(array).reshape(self._shape))
        if self._channels:
            words = (
                f"has channels {', '.join(self._channels)}, of which {self._channels[0]} is read"
            )
            metadata = replace(metadata, remarks=(*metadata.remarks, words))
        largest = image.dtype.kind == "u" and not self._is_ours
        if largest and metadata.saturation == np.iinfo(image.dtype).max:
            largest = False
        flags = unflagged(image, largest, self._instrument.underload(event))
        return RawFrame(self.path, event, image, both(declared, flags), metadata)


def filters(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Return the numbers of the filters that a dataset's chunks went through.

    Of a virtual one those of its first source, as far as that can be opened.
    """
    if dataset.is_virtual:
        for source in dataset.virtual_sources()[:1]:
            path = Path(dataset.file.filename).parent / source.file_name
            with suppress(OSError, KeyError, AttributeError), h5py.File(path, "r") as file:
                return filters(file[source.dset_name])
        return ()
    made = dataset.id.get_create_plist()
    return tuple(made.get_filter(number)[0] for number in range(made.get_nfilters()))


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, or raise SpotmillError where it is damaged or still written."""
    try:
        file = h5py.File(path, "r", swmr=is_streamed(path))
        if not file.swmr_mode and any(map(is_streamed, links_in(path, file))):
            file.close()
            file = h5py.File(path, "r", swmr=True)
        return file
    except PermissionError as error:
        raise SpotmillError(f"{path}: cannot be read; check its permissions") from error
    except BlockingIOError as error:
        raise SpotmillError(
            f"{path}: is still being written by another program; wait until that closes it"
        ) from error
    except OSError as error:
        raise SpotmillError(f"{path}: is not a whole HDF5 file; copy it again") from error


def find_frames(
    path: Path,
    file: h5py.File,
    data: str | None,
    likely: str | None = None,
    growing: bool = False,
) -> tuple[str, list[h5py.Dataset]]:
    """Return the place of a file's frames and the arrays that hold them, in order.

    Parameters
    ----------
    data
        Place that must hold them.
    likely
        Place that is tried first.

    Raises
    ------
    SpotmillError
        When there are none, more than one candidate, or a linked data file is missing.
    """
    if data is not None:
        found = _at(path, file, data.strip("/"), growing)
        if not found:
            raise SpotmillError(f"{path}: has no array at {data}; correct the place of the data")
        return data, found
    places = (*CXI_DATA, *_nexus_places(file), *BARE_DATA)
    for place in (likely.strip("/"), *places) if likely else places:
        found = _at(path, file, place, growing)
        if found:
            return place, found
    array = _only_array(path, file)
    return str(array.name), [array]


def _nexus_places(file: h5py.File) -> list[str]:
    """Return the groups that may hold the frames of a NeXus file, the default ones first."""
    places = []
    entries = sorted(name for name in file if _is_class(file, name, "NXentry"))
    for entry in sorted(entries, key=lambda name: name != _text(file.attrs.get("default"))):
        default = _text(file[entry].attrs.get("default"))
        groups = sorted(name for name in file[entry] if _is_class(file[entry], name, "NXdata"))
        groups.sort(key=lambda name: name != default)
        for group in groups:
            signal = _text(file[entry][group].attrs.get("signal")) or "data"
            places += [f"{entry}/{group}/{signal}", f"{entry}/{group}"]
    return [*places, "entry/data"]


def _is_class(group: h5py.Group, name: str, nx_class: str) -> bool:
    child = group.get(name) if group.get(name, getlink=True) else None
    return isinstance(child, h5py.Group) and _text(child.attrs.get("NX_class")) == nx_class


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _at(path: Path, file: h5py.File, place: str, growing: bool = False) -> list[h5py.Dataset]:
    """Return the array at a place, or the numbered arrays of a group there, or nothing."""
    found = resolve(path, file, place, growing)
    if isinstance(found, h5py.Dataset):
        return [found] if found.ndim >= 2 and is_real(path, found) else []
    if isinstance(found, h5py.Group):
        names = sorted((name for name in found if SERIES.fullmatch(name)), key=_serial)
        parts = []
        for name in names:
            try:
                parts.append(resolve(path, file, f"{place}/{name}", growing))
            except SpotmillError:
                if not growing or not parts:
                    raise
                break
        return [part for part in parts if isinstance(part, h5py.Dataset)]
    return []


def is_real(path: Path, array: h5py.Dataset) -> bool:
    """Return whether an array holds real numbers; raise SpotmillError where they are complex."""
    if array.dtype.kind == "c":
        raise SpotmillError(
            f"{path}: {array.name} holds complex numbers ({array.dtype}); give detector frames"
        )
    return array.dtype.kind in "biuf"


def _serial(name: str) -> int:
    return int(name.removeprefix("data_"))


def resolve(
    path: Path, file: h5py.File, place: str, growing: bool = False
) -> h5py.Group | h5py.Dataset | None:
    """Return what lies at a place; None if nothing does; raise where a link leads nowhere."""
    group: Any = file
    for name in place.split("/"):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            _check_beside(path, group.file, link.filename)
        try:
            group = group[name]
        except (KeyError, OSError) as error:
            raise SpotmillError(
                f"{path}: {place} leads to what cannot be opened; check the files it links to"
            ) from error
    if isinstance(group, h5py.Dataset) and group.is_virtual and not growing:
        for source in group.virtual_sources():
            _check_source(path, group.file, source)
    return group


def _check_beside(path: Path, file: h5py.File, name: str) -> Path:
    """Return a linked file, or raise SpotmillError where it is missing."""
    target = Path(file.filename).parent / name
    if not target.is_file():
        raise SpotmillError(
            f"{path}: is a master without its data file {name}; put that file beside it"
        )
    return target


def _check_source(path: Path, file: h5py.File, source: Any) -> None:
    """Raise SpotmillError where a virtual array's source is absent: HDF5 would give zeros."""
    if source.file_name == ".":
        present = source.dset_name in file
    else:
        target = _check_beside(path, file, source.file_name.replace("%b", "0"))
        try:
            with h5py.File(target, "r", swmr=is_streamed(target)) as other:
                present = source.dset_name in other
        except OSError as error:
            raise SpotmillError(f"{target}: is not a whole HDF5 file; copy it again") from error
    if not present:
        raise SpotmillError(f"{path}: its data file {source.file_name} lacks {source.dset_name}")


def _only_array(path: Path, file: h5py.File) -> h5py.Dataset:
    """Return the one array of two or more dimensions in a file."""
    found: list[h5py.Dataset] = []

    def keep(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2 and is_real(path, item):
            found.append(item)

    file.visititems(keep)
    if not found:
        raise SpotmillError(f"{path}: holds no image; give a file with frames")
    # Beside the frames lie values of each, [frame, 1], and lists of peaks, [frame, peak].
    stacks = [item for item in found if item.ndim > 2]
    found = stacks if len(stacks) == 1 else found
    if len(found) > 1:
        names = ", ".join(item.name for item in found[:4])
        raise SpotmillError(
            f"{path}: holds several arrays ({names}); name the place of the data "
            "(--data), or give a geometry that does"
        )
    return found[0]


def _frames(part: h5py.Dataset) -> int:
    return 1 if part.ndim == 2 else int(part.shape[0])


def _common_shape(path: Path, parts: list[h5py.Dataset], channels: bool = False) -> tuple[int, int]:
    """Return (ss, fs) of a frame; panels, but not channels, of a fourth axis lie below another."""
    for part in parts:
        check_filters(path, part)
        if part.ndim > 4:
            raise SpotmillError(
                f"{path}: {part.name} has {part.ndim} axes; give frames as [frame, ss, fs] or "
                "[frame, module, ss, fs], or a geometry that says what they are (dim lines)"
            )
    shapes = {part.shape[-2:] if part.ndim < 4 or channels else part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise SpotmillError(f"{path}: holds arrays of different shapes, {sorted(shapes)}; split it")
    *panels, ss, fs = shapes.pop()
    rows = ss * (panels[0] if panels else 1)
    if not 0 < rows * fs <= LARGEST_AREA:
        raise SpotmillError(f"{path}: holds frames of {rows} x {fs} pixels; give detector frames")
    return int(rows), int(fs)


def check_filters(path: Path, array: h5py.Dataset) -> None:
    """Raise SpotmillError where an array is compressed by what is not installed here."""
    made = array.id.get_create_plist()
    for number in range(made.get_nfilters()):
        code, _, _, name = made.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            words = name.decode("ascii", "replace") or "unnamed"
            raise SpotmillError(
                f"{path}: {array.name} is compressed by HDF5 filter {code} ({words}), which is not "
                "installed here; install its plugin and name its folder in HDF5_PLUGIN_PATH"
            )


def linked_files(path: Path) -> set[Path]:
    """Return the files that a master takes its frames from (none for other files)."""
    try:
        with h5py.File(path, "r", swmr=is_streamed(path)) as file, damage(path):
            check_links(path, file)
            return links_in(path, file)
    except (OSError, SpotmillError):
        # A damaged file links to nothing; whoever reads its frames gets the message.
        return set()


def links_in(path: Path, file: h5py.File) -> set[Path]:
    """Return the files that an open file takes its frames from."""
    linked: set[Path] = set()
    with damage(path):
        for place in dict.fromkeys([*CXI_DATA, *_nexus_places(file), *BARE_DATA]):
            above = place.rpartition("/")[0] or "/"
            for name in (place, above):
                with suppress(KeyError, OSError):
                    linked |= _links_of(file.get(name))
    return {(path.parent / name).resolve() for name in linked if name != "."}


def _links_of(item: Any) -> set[Any]:
    """Return the names of the files that a group or array leads to."""
    if isinstance(item, h5py.Dataset):
        return {source.file_name for source in item.virtual_sources()} if item.is_virtual else set()
    if not isinstance(item, h5py.Group):
        return set()
    links = (item.get(name, getlink=True) for name in item)
    return {link.filename for link in links if isinstance(link, h5py.ExternalLink)}
