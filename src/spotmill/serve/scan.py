"""What lies in results, looked for again and again at little cost."""

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spotmill.serve.inside import hidden

# A folder that changed this lately could change again within the tick of its file system's clock.
TICK = 2 * 10**9  # ns
MOST_NEW = 12  # shards whose frames are shown
MOST_UNFINISHED = 10  # trainings of one model
DEEP = 4  # folders below benchmarks/
WATCH = "watch.html"
IMAGES = ("peaks_water_overlay", "peaks")
KNOWN = (
    "benchmarks",
    "cards",
    "evaluation",
    "images",
    "manifest",
    "map",
    "models",
    "reflections",
    "report",
    "splits",
    "truth",
    "tuning",
)


@dataclass(frozen=True)
class Entry:
    """A file or folder, as its folder's list says it."""

    name: str
    is_folder: bool
    changed: int  # ns
    size: int


@dataclass(frozen=True)
class ShardFile:
    """A shard of images."""

    content: str
    dataset: str
    name: str
    path: Path
    changed: int
    size: int


@dataclass(frozen=True)
class Found:
    """What a look at results found.

    Attributes
    ----------
    shards
        By content and dataset, the number.
    newest
        The latest shards of what models see.
    recorded
        By rule, the number of benchmark files.
    histories
        By task or search, the history of its training and whether it still goes on.
    models, evaluations, cards
        Names of tasks and datasets with a card or an evaluation.
    watches
        Pages of a watch, relative.
    """

    shards: dict[tuple[str, str], int] = field(default_factory=dict)
    newest: tuple[ShardFile, ...] = ()
    recorded: dict[str, int] = field(default_factory=dict)
    histories: dict[str, tuple[Entry, Path, bool]] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    evaluations: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
    took: float = 0.0


class Scanner:
    """Lists the folders of results; of those that did not change it keeps the list.

    Files come into place by being renamed (formats/atomic.py), which changes their folder's time.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lists: dict[Path, tuple[int, tuple[Entry, ...]]] = {}
        self._used: set[Path] = set()

    def look(self) -> Found:
        """Return what is there now."""
        begun = time.monotonic()
        self._used = set()
        root = self._root
        shards: Counter[tuple[str, str]] = Counter()
        newest: list[ShardFile] = []
        for content in IMAGES:
            for folder in self._folders(root / "images" / content):
                place = root / "images" / content / folder.name
                files = [one for one in self.entries_of(place) if one.name.endswith(".h5")]
                shards[content, folder.name] = len(files)
                newest += [
                    ShardFile(
                        content, folder.name, one.name[:-3], place / one.name, one.changed, one.size
                    )
                    for one in sorted(files, key=lambda one: -one.changed)[:MOST_NEW]
                    if not one.is_folder
                ]
        # What models see, where there is any; else the spots alone.
        drawn = [one for one in newest if one.content == IMAGES[0]] or newest
        drawn.sort(key=lambda one: (-one.changed, one.dataset, one.name))
        found = Found(
            dict(shards),
            tuple(drawn[:MOST_NEW]),
            self._recorded(),
            self._histories(),
            self._with("models", "model.json"),
            self._with("evaluation", "evaluation.json"),
            self._with("cards", "README.md"),
            tuple(self._watches()),
            tuple(
                one
                for one in ("index.html", "gallery", "cost")
                if any(entry.name == one for entry in self.entries_of(root / "report"))
            ),
            time.monotonic() - begun,
        )
        self._lists = {path: kept for path, kept in self._lists.items() if path in self._used}
        return found

    def entries_of(self, folder: Path) -> tuple[Entry, ...]:
        """Return what a folder holds that is not hidden; nothing where there is no folder."""
        self._used.add(folder)
        try:
            changed = folder.stat().st_mtime_ns
            kept = self._lists.get(folder)
            if kept is not None and kept[0] == changed:
                return kept[1]
            entries = tuple(sorted(self._entries(folder), key=lambda one: one.name))
        except OSError:
            return ()
        if time.time_ns() - changed > TICK:
            self._lists[folder] = (changed, entries)
        return entries

    def _entries(self, folder: Path) -> Iterator[Entry]:
        with os.scandir(folder) as items:
            for item in items:
                if hidden(item.name):
                    continue
                try:
                    status = item.stat()
                    # A link may lead outside.
                    if item.is_symlink() and not Path(item.path).resolve().is_relative_to(
                        self._root
                    ):
                        continue
                    yield Entry(item.name, item.is_dir(), status.st_mtime_ns, status.st_size)
                except (OSError, RuntimeError):
                    continue

    def _folders(self, folder: Path) -> list[Entry]:
        return [one for one in self.entries_of(folder) if one.is_folder]

    def _with(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the folders of a kind that hold a file of this name."""
        folder = self._root / kind
        return tuple(
            one.name
            for one in self._folders(folder)
            if any(entry.name == name for entry in self.entries_of(folder / one.name))
        )

    def _recorded(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        folder = self._root / "benchmarks"
        for entry in self.entries_of(folder):
            rule = entry.name.removesuffix(".tsv")
            count = self._count(folder / rule, DEEP) if entry.is_folder else 1
            counts[rule] = counts.get(rule, 0) + count
        return counts

    def _count(self, folder: Path, depth: int) -> int:
        entries = self.entries_of(folder)
        count = sum(one.name.endswith(".tsv") and not one.is_folder for one in entries)
        if depth:
            count += sum(
                self._count(folder / one.name, depth - 1) for one in entries if one.is_folder
            )
        return count

    def benchmarks(self, rule: str, most: int) -> list[Path]:
        """Return some benchmark files of a rule."""
        folder = self._root / "benchmarks"
        single = folder / f"{rule}.tsv"
        found = [single] if any(one.name == single.name for one in self.entries_of(folder)) else []
        places = [folder / rule]
        while places and len(found) < most:
            place = places.pop()
            for one in self.entries_of(place):
                if one.is_folder:
                    places.append(place / one.name)
                elif one.name.endswith(".tsv"):
                    found.append(place / one.name)
        return found[:most]

    def _histories(self) -> dict[str, tuple[Entry, Path, bool]]:
        """Return the latest history of every training: of the model, or of one that goes on."""
        found: dict[str, tuple[Entry, Path, bool]] = {}
        for task in self._folders(self._root / "models"):
            folder = self._root / "models" / task.name
            candidates = [
                *self._history(folder, goes_on=False),
                *(one for place in self._unfinished(folder) for one in self._history(place, True)),
            ]
            if candidates:
                found[task.name] = max(candidates, key=lambda one: one[0].changed)
        return found

    def _history(self, folder: Path, goes_on: bool) -> Iterator[tuple[Entry, Path, bool]]:
        """Yield the history in a folder, if there is one; looked at itself, as it may be edited."""
        path = folder / "history.csv"
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and path.resolve().is_relative_to(self._root):
                yield Entry(path.name, False, status.st_mtime_ns, status.st_size), path, goes_on
        except (OSError, RuntimeError):
            return

    def _unfinished(self, folder: Path) -> list[Path]:
        """Return the folders of trainings that go on; they are hidden ones."""
        try:
            places = [path for path in folder.iterdir() if path.name.startswith(".checkpoints-")]
        except OSError:
            return []
        return places[:MOST_UNFINISHED]

    def _watches(self) -> Iterator[str]:
        for entry in self.entries_of(self._root):
            folder = self._root / entry.name
            if entry.name == WATCH:
                yield entry.name
            elif (
                entry.is_folder
                and entry.name not in KNOWN
                and any(one.name == WATCH for one in self.entries_of(folder))
            ):
                yield f"{entry.name}/{WATCH}"
