"""Which files of a watched folder can be read now: those that stand still, masters before data.

A file is due once two looks find the same size and time, or while it is written in HDF5's mode
for readers (SWMR). The data files of a master are never taken by themselves, whichever comes first.
"""

import heapq
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spotmill.formats.images import HDF5_SUFFIXES
from spotmill.formats.images_hdf5 import linked_files
from spotmill.formats.images_hdf5_growing import is_streamed
from spotmill.inference.folder_scan import FolderScan
from spotmill.inference.ledger import KnownFile

# Data files by DECTRIS's names wait so long for their master, s.
MASTER_WAIT = 60.0
DATA_NAME = re.compile(r".*_data_\d+\.(h5|hdf5|nxs)")
# A file that cannot be read is tried again for so long, s; then it is told, and waits for a change.
PATIENCE = 30.0

Tell = Callable[[str], None]


@dataclass
class Moving:
    """A file on its way to be read.

    Attributes
    ----------
    signature, modified
        As `folder_scan.Seen` has them.
    since
        When this signature was first seen, by the monotonic clock.
    order
        Number of the look at which it came.
    """

    signature: int
    modified: float
    since: float
    order: int


@dataclass
class Trouble:
    """Since when a file cannot be read, and how long to wait for the next try."""

    since: float
    wait: float


class Arrivals:
    """The files of a folder, and which of them are due.

    A file that is not done moves, is held until some time, or is due.

    Parameters
    ----------
    files
        What is in the ledger, by path; shared with whoever reads the files.
    every
        Seconds for which a file must stand still.
    patient
        Whether to wait for masters, and to try again what cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, KnownFile],
        every: float,
        output: Path,
        tell: Tell,
        newest_first: bool = False,
        patient: bool = True,
    ) -> None:
        self.folder, self._files, self._every, self._tell = folder, files, every, tell
        known = {path: file.signature for path, file in files.items() if file.complete}
        self._scan = FolderScan(folder, known, output)
        self._newest_first = newest_first
        self._patience = PATIENCE if patient else 0.0
        self._master_wait = MASTER_WAIT if patient else 0.0
        self._moving: dict[str, Moving] = {}
        self._held: dict[str, tuple[float, Moving]] = {}
        self._due: dict[str, Moving] = {}
        self._order: list[tuple[float, float, str]] = []
        self._troubles: dict[str, Trouble] = {}
        # Data files and the masters that they belong to.
        self._masters: dict[str, str] = {}
        self._links: dict[str, list[str]] = {}
        self._unreadable: dict[str, str] = {}
        self.passed_over = {path for path, file in files.items() if file.passed_over}
        for file in files.values():
            if not file.passed_over:
                self._own(file.path, file.links)
        self.removed = self.looks = 0

    @property
    def due(self) -> int:
        """How many files can be read now."""
        return len(self._due)

    @property
    def moving(self) -> list[str]:
        """Files that may still change."""
        return sorted(self._moving)

    @property
    def waits(self) -> bool:
        """Whether anything may still become due without a change."""
        return bool(self._moving or self._held or self._due)

    def __len__(self) -> int:
        """Return the number of files in the folder."""
        return len(self._scan)

    def look(self) -> bool:
        """Look at the folder; return whether anything changed."""
        changes = self._scan.look()
        now = time.monotonic()
        self.looks += 1
        self._tell_unreadable(changes.unreadable)
        for path in changes.removed:
            self._remove(path)
        news = set()
        for seen in changes.changed:
            was_due = self._due.get(seen.path)
            self._forget(seen.path)
            order = self.looks if was_due is None else was_due.order
            self._moving[seen.path] = Moving(seen.signature, seen.modified, now, order)
            news.add(seen.path)
        still = [
            path
            for path, one in self._moving.items()
            if path not in news and now - one.since >= 0.9 * self._every
        ]
        streamed = [path for path in news if is_hdf5(path) and is_streamed(self.full(path))]
        # Masters first: they say which files are not to be taken by themselves.
        for path in (*still, *streamed):
            if is_hdf5(path) and not DATA_NAME.fullmatch(path):
                self._examine(path)
        for path in still:
            self._settle(path, self._moving.pop(path), now)
        for path in streamed:
            if not DATA_NAME.fullmatch(path) or path in self._masters:
                self._make_due(path, self._moving[path])
        for path, (until, one) in list(self._held.items()):
            if now >= until:
                del self._held[path]
                self._make_due(path, one)
        return bool(changes.changed or changes.removed)

    def full(self, path: str) -> Path:
        """Return the whole path of a file."""
        return self.folder / path

    def next(self) -> tuple[str, Moving] | None:
        """Return the next file that is due, in the order of arrival or the newest."""
        while self._order:
            _, _, path = heapq.heappop(self._order)
            found = self._due.pop(path, None)
            if found is not None:
                return path, found
        return None

    def is_moving(self, full: Path) -> bool:
        """Whether a file may still change; of files elsewhere nothing is known."""
        path = self._inside(full.resolve())
        return path in self._moving and not is_streamed(full)

    def is_gone(self, path: str) -> bool:
        """Whether a file is no longer there; of folders that cannot be read nothing is known."""
        return not self._unreadable and self._scan.signature(path) is None

    def links(self, path: str) -> tuple[str, ...]:
        """Return the data files of a master."""
        return tuple(self._links.get(path, ()))

    def put_off(self, path: str, file: Moving) -> bool:
        """Try a file again later; return True where it was tried for long enough.

        After that it is tried when it changes.
        """
        now = time.monotonic()
        trouble = self._troubles.setdefault(path, Trouble(now, self._every))
        left = trouble.since + self._patience - now
        if left <= 0:
            return True
        self._held[path] = (now + min(trouble.wait, left), file)
        trouble.wait *= 2
        return False

    def done(self, path: str) -> None:
        """Forget that a file could not be read."""
        self._troubles.pop(path, None)

    def _forget(self, path: str) -> None:
        for known in (self._due, self._held, self._moving, self._troubles):
            known.pop(path, None)

    def _remove(self, path: str) -> None:
        known = self._files.get(path)
        is_lost = path in self._due or path in self._held or path in self._moving
        self._forget(path)
        if is_lost and path not in self._masters and not (known and known.complete):
            self.removed += 1
            self._tell(f"{self.full(path)}: was removed before all of it was read")

    def _tell_unreadable(self, unreadable: dict[str, str]) -> None:
        for place, why in unreadable.items():
            if place not in self._unreadable:
                self._tell(f"{place}: cannot be listed ({why}); looking again")
        for place in self._unreadable:
            if place not in unreadable:
                self._tell(f"{place}: can be listed again")
        self._unreadable = unreadable

    def _settle(self, path: str, one: Moving, now: float) -> None:
        """Hold a data file whose master has not come; else it is due."""
        known = path in self._masters or path in self._files
        if DATA_NAME.fullmatch(path) and not known and self._master_wait:
            self._held[path] = (now + self._master_wait, one)
        else:
            self._make_due(path, one)

    def _examine(self, path: str) -> None:
        """Learn which data files a master has; none where one was taken by itself before."""
        found = (self._inside(link) for link in linked_files(self.full(path)))
        names = sorted(name for name in found if name is not None and name != path)
        known = self._files.get(path)
        taken = [name for name in names if name in self._files]
        if taken and not (known and known.links):
            if path not in self.passed_over:
                self.passed_over.add(path)
                self._tell(
                    f"{self.full(path)}: came after its data file {taken[0]} was taken by itself, "
                    "and is passed over; its data files are taken as they come"
                )
        elif path not in self.passed_over:
            self._own(path, names)

    def _own(self, master: str, names: Iterable[str]) -> None:
        for name in names:
            self._held.pop(name, None)
            if name not in self._masters:
                self._masters[name] = master
                self._links.setdefault(master, []).append(name)

    def _inside(self, full: Path) -> str | None:
        try:
            return str(full.relative_to(self.folder))
        except ValueError:
            return None

    def _make_due(self, path: str, one: Moving) -> None:
        master = self._masters.get(path)
        if master is not None:
            # What came is news of the master.
            self._troubles.pop(master, None)
            self._held.pop(master, None)
            signature = self._scan.signature(master)
            if master in self._moving or signature is None:
                return
            path, one = master, Moving(signature, one.modified, one.since, one.order)
        first = one.modified if self._newest_first else float(one.order)
        if path not in self._due:
            order = (-first, -one.modified) if self._newest_first else (first, one.modified)
            heapq.heappush(self._order, (*order, path))
        self._due[path] = one


def is_hdf5(path: str) -> bool:
    """Whether a name ends as an HDF5 file's does."""
    return f".{path.rpartition('.')[2].lower()}" in HDF5_SUFFIXES
