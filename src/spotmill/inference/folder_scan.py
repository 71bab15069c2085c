"""Which image files a folder and its sub-folders hold, looked at again and again.

Beam lines keep their data on network file systems (NFS, GPFS), which tell a machine nothing of
what another one writes: inotify stays silent there, and only looking helps. A look is cheap: a
folder is listed where its own time has changed, files that changed lately are asked for their
size and time at every look, all others in turn.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from spotmill.formats.images import IMAGE_SUFFIXES, MAR345_SUFFIX, PACKED_SUFFIXES

# s between listings of a folder whose time stands still: some file systems are lazy with it.
LIST_AGAIN = 60.0
# s for which a changed file is asked for at every look.
YOUNG = 30.0
# Other files that are asked for at one look, in turn.
IN_TURN = 2000


@dataclass(frozen=True)
class Seen:
    """A file as a look found it.

    Attributes
    ----------
    path
        Relative to the folder.
    signature
        Of its size, time and number: another one means that it changed.
    modified
        When it was last written, s since 1970.
    """

    path: str
    signature: int
    modified: float


@dataclass
class Changes:
    """What a look found.

    Attributes
    ----------
    changed
        Files that are new, or differ from the last time.
    removed
        Paths that are gone.
    unreadable
        Folders that cannot be listed, with the reason.
    """

    changed: list[Seen] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass
class _Folder:
    modified: int = -1
    listed: float = -1e9
    again: bool = True
    files: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


class FolderScan:
    """Looks at a folder.

    Parameters
    ----------
    known
        Signature by path of files that are not news.
    passed_over
        A folder within that is not looked at.
    """

    def __init__(
        self, folder: Path, known: dict[str, int] | None = None, passed_over: Path | None = None
    ) -> None:
        self.folder = str(folder)
        self._passed_over = "" if passed_over is None else os.path.realpath(passed_over)
        self._folders: dict[str, _Folder] = {}
        self._young: dict[str, float] = {}
        self._turn: Iterator[tuple[str, str]] = self._all()
        self._looked = False
        for path, signature in (known or {}).items():
            above, _, name = path.rpartition("/")
            self._folders.setdefault(above, _Folder()).files[name] = signature

    def __len__(self) -> int:
        """Return the number of files."""
        return sum(len(folder.files) for folder in self._folders.values())

    def signature(self, path: str) -> int | None:
        """Return the signature of a file; None where there is none of that name."""
        place, _, name = path.rpartition("/")
        return self._folders.get(place, _Folder()).files.get(name)

    def look(self) -> Changes:
        """Return what changed since the last look."""
        changes = Changes()
        now = time.monotonic()
        asked: set[str] = set()
        waiting = [""]
        met: set[str] = set()
        while waiting:
            place = waiting.pop()
            met.add(place)
            known = self._folders.setdefault(place, _Folder())
            try:
                self._look_into(place, known, now, changes, asked)
            except OSError as error:
                known.again = True
                changes.unreadable[self._full(place)] = error.strerror or str(error)
                continue
            waiting += [f"{place}/{name}" if place else name for name in known.folders]
        for place in [one for one in self._folders if one not in met]:
            if not any(_within(place, self._relative(bad)) for bad in changes.unreadable):
                gone = self._folders.pop(place)
                changes.removed += [_joined(place, name) for name in gone.files]
        if not changes.unreadable:
            # What cannot be reached is not gone.
            self._ask_again(now, changes, asked)
            self._looked = True
        return changes

    def _full(self, place: str) -> str:
        return f"{self.folder}/{place}" if place else self.folder

    def _relative(self, full: str) -> str:
        return full[len(self.folder) :].lstrip("/")

    def _look_into(
        self, place: str, known: _Folder, now: float, changes: Changes, asked: set[str]
    ) -> None:
        """List a folder where it may have changed; OSError where that cannot be done."""
        modified = os.stat(self._full(place)).st_mtime_ns  # noqa: PTH116 (names alone)
        moved = modified != known.modified
        if not moved and not known.again and now - known.listed < LIST_AGAIN:
            return
        files: set[str] = set()
        folders: list[str] = []
        with os.scandir(self._full(place)) as entries:
            for entry in entries:
                name = entry.name
                if name in known.files:
                    files.add(name)
                elif not name.startswith("."):
                    if entry.is_dir(follow_symlinks=False):
                        if not self._is_passed_over(entry.path):
                            folders.append(name)
                    elif is_image_name(name):
                        files.add(name)
        # Times are coarse: what came within the same tick is seen by listing once more.
        known.again, known.modified, known.listed = moved, modified, now
        known.folders = sorted(folders)
        for name in [one for one in known.files if one not in files]:
            del known.files[name]
            changes.removed.append(_joined(place, name))
        for name in files - known.files.keys():
            self._ask(place, name, now, changes)
            asked.add(_joined(place, name))

    def _is_passed_over(self, path: str) -> bool:
        return bool(self._passed_over) and os.path.realpath(path) == self._passed_over

    def _ask(self, place: str, name: str, now: float, changes: Changes) -> None:
        """Ask for a file's size and time."""
        path = _joined(place, name)
        files = self._folders[place].files
        try:
            found = os.stat(self._full(path))  # noqa: PTH116 (as above)
        except OSError:
            # Gone, a broken link, or not ours to see: whoever lists it next time decides.
            if files.pop(name, None) is not None:
                changes.removed.append(path)
            self._young.pop(path, None)
            self._folders[place].again = True
            return
        if not stat.S_ISREG(found.st_mode):
            return
        signature = hash((found.st_size, found.st_mtime_ns, found.st_ino))
        if files.get(name) != signature:
            files[name] = signature
            self._young[path] = now
            changes.changed.append(Seen(path, signature, found.st_mtime))

    def _ask_again(self, now: float, changes: Changes, asked: set[str]) -> None:
        """Ask for the files that changed lately, and for some of the others in turn."""
        for path, since in list(self._young.items()):
            if now - since > YOUNG:
                del self._young[path]
            elif path not in asked:
                place, _, name = path.rpartition("/")
                if place in self._folders and name in self._folders[place].files:
                    self._ask(place, name, now, changes)
                else:
                    del self._young[path]
        # What changed while nobody looked is found at the first look.
        for _ in range(IN_TURN if self._looked else len(self)):
            place, name = next(self._turn, ("", ""))
            if not name:
                self._turn = self._all()
                break
            if place in self._folders and name in self._folders[place].files:
                self._ask(place, name, now, changes)

    def _all(self) -> Iterator[tuple[str, str]]:
        for place in list(self._folders):
            for name in list(self._folders[place].files if place in self._folders else ()):
                yield place, name


def _joined(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _within(place: str, above: str) -> bool:
    return place == above or place.startswith(f"{above}/") or not above


def is_image_name(name: str) -> bool:
    """Whether a name ends as an image's does."""
    name = name.lower()
    stem, dot, last = name.rpartition(".")
    if dot and f".{last}" in PACKED_SUFFIXES:
        last = stem.rpartition(".")[2] if "." in stem else ""
    return bool(dot) and _is_image_suffix(last)


@lru_cache(maxsize=4096)
def _is_image_suffix(last: str) -> bool:
    return f".{last}" in IMAGE_SUFFIXES or bool(MAR345_SUFFIX.fullmatch(f".{last}"))
