"""What an HDF5 file leads to, checked before anything follows it, and damage put in one line.

HDF5 opens whatever a link names: a pipe makes it wait for ever, a device never ends, and a
text file taken for raw data becomes an image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from spotmill.errors import SpotmillError

# What h5py raises on damaged files, by what it was doing.
DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
)
MOST_LINKS = 200_000
DEEPEST = 8  # files that lead to files


@contextmanager
def damage(path: Path, what: str = "") -> Iterator[None]:
    """Turn what h5py raises on a damaged file into a SpotmillError of one line."""
    try:
        yield
    except DAMAGE as error:
        words = " ".join(str(error).split())[:160]
        raise SpotmillError(
            f"{path}: {what}cannot be read ({words}); check that it is whole"
        ) from error


def check_links(path: Path, file: h5py.File, above: tuple[Path, ...] = ()) -> None:
    """Check all that an open HDF5 file leads to, and what that leads to.

    Raises
    ------
    SpotmillError
        When a link or virtual array names a file that is no HDF5 file, or an array keeps
        its numbers in a file of another kind. What is absent stays for whoever needs it.
    """
    seen = (*above, path.resolve())
    if len(seen) > DEEPEST:
        raise SpotmillError(f"{path}: is at the end of {DEEPEST} links; name the file itself")
    for target in sorted(all_targets(path, file)):
        for place in candidates(path, target):
            _check_target(path, place, target, seen)


def all_targets(path: Path, file: h5py.File) -> set[str]:
    """Return the names of all files that links and virtual arrays of a file lead to."""
    targets: set[str] = set()
    waiting: list[h5py.Group] = [file]
    met = {h5py.h5o.get_info(file.id).addr}
    count = 0
    while waiting:
        group = waiting.pop()
        for name in group:
            count += 1
            if count > MOST_LINKS:
                raise SpotmillError(
                    f"{path}: holds more than {MOST_LINKS} arrays and groups; give a file of frames"
                )
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                targets.add(link.filename)
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                targets |= sources(path, item)
            elif isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in met:
                    met.add(address)
                    waiting.append(item)
    return targets


def sources(path: Path, dataset: h5py.Dataset) -> set[str]:
    """Return the files that a virtual array is made of; refuse numbers kept outside of HDF5."""
    if dataset.is_virtual:
        return {source.file_name for source in dataset.virtual_sources()} - {"."}
    if dataset.external:
        raise SpotmillError(
            f"{path}: {dataset.name} keeps its numbers in a file of another kind; "
            "copy them into HDF5"
        )
    return set()


def candidates(path: Path, target: str) -> list[Path]:
    """Return the places where HDF5 looks for a linked file, those that exist."""
    name = target.replace("%b", "0")
    if "\0" in name:
        return []
    places = (Path(name), path.parent / name, path.parent / Path(name).name)
    return [place for place in dict.fromkeys(places) if _exists(place)]


def _exists(place: Path) -> bool:
    try:
        place.stat()
    except OSError:
        return False
    return True


def _check_target(path: Path, place: Path, target: str, seen: tuple[Path, ...]) -> None:
    if place.resolve() in seen or place.is_dir():
        return
    if not place.is_file() or not h5py.is_hdf5(place):
        raise SpotmillError(
            f"{path}: leads to {target}, which is no HDF5 file; copy the frames without links"
        )
    try:
        other = h5py.File(place, "r")
    except OSError:
        # Damaged; whoever needs it gets the message.
        return
    with other:
        check_links(place, other, seen)
