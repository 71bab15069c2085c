"""A folder that comes into being whole, and whose writing goes on after it was stopped.

Files are written to `.NAME.part` beside the folder. A journal in it says which units of work are
done; the same command goes on behind them. When all are, the folder gets its name. So NAME is
whole or not there.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from spotmill.errors import SpotmillError
from spotmill.export.choice import Choice, Row
from spotmill.formats.digests import file_digest
from spotmill.orphans import refuse_orphans

JOURNAL = ".journal"
# A file of this program that tells a folder of an export from others.
MARK = "export.json"
# Bytes that a disk is to keep free.
SPARE = 64 * 2**20


class Step(Protocol):
    """Told of every frame that is done."""

    def __call__(self, count: int = 1) -> None:
        """Go on by so many frames."""


class Unit(Protocol):
    """A part of an export that is written at once: a few files."""

    @property
    def name(self) -> str:
        """A name that is unique within the export, and the same in every run."""

    @property
    def frames(self) -> int:
        """Number of its frames."""

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write its files, replacing what is there; return them."""


class Layout(Protocol):
    """A layout in which frames are handed over."""

    @property
    def choice(self) -> Choice:
        """The frames."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on besides the frames; plain values."""

    def units(self) -> Sequence[Unit]:
        """Return the parts in the order in which they are written."""

    def bytes_of(self, row: Row) -> int:
        """Return the bytes that one frame takes on disk."""

    def listed(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Yield every frame and where it is, as columns of the list of frames."""

    def guide(self) -> str:
        """Return what readers must know, as Markdown."""


class Working:
    """The unfinished folder.

    Attributes
    ----------
    path : Path
    done : dict
        Digests of files by unit, of units that are done.
    """

    def __init__(self, path: Path, handle: int, done: dict[str, dict[str, str]]) -> None:
        self.path, self._handle, self.done = path, handle, done

    def add(self, unit: Unit, files: Sequence[Path]) -> None:
        """Record a unit whose files are written, once they are on the disk."""
        digests = {}
        for file in files:
            flush(file)
            digests[file.relative_to(self.path).as_posix()] = file_digest(file)
        for folder in {file.parent for file in files}:
            flush(folder)
        self.done[unit.name] = digests
        refuse_orphans(self.path)
        line = json.dumps({"unit": unit.name, "files": digests}) + "\n"
        os.write(self._handle, line.encode())
        os.fsync(self._handle)


@contextmanager
def open_folder(output: Path, settings: Mapping[str, Any]) -> Iterator[Working]:
    """Yield the unfinished folder; when the block ends without error it gets its name.

    Parameters
    ----------
    settings
        All that its files depend on: a folder left by other settings is not gone on with.

    Raises
    ------
    SpotmillError
        When the folder is there and not empty, cannot be written, or another process writes it.
    """
    refuse_filled(output)
    part = output.with_name(f".{output.name}.part")
    with told(output):
        part.mkdir(parents=True, exist_ok=True)
        refuse_foreign(part)
        handle = os.open(part / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        with told(output):
            lock(handle, output)
            done = read_journal(handle, part, dict(settings))
            yield Working(part, handle, done)
            (part / JOURNAL).unlink()
            flush(part)
            refuse_filled(output)
            part.replace(output)
            flush(output.parent)
    finally:
        os.close(handle)


def refuse_filled(output: Path) -> None:
    """Raise SpotmillError where a folder is not to be written to."""
    if output.is_dir():
        if (output / MARK).is_file():
            raise SpotmillError(
                f"{output}: holds an export already; delete it, or name another folder"
            )
        if any(output.iterdir()):
            raise SpotmillError(f"{output}: is not empty; name a new folder")
    elif output.exists() or output.is_symlink():
        raise SpotmillError(f"{output}: is a file; name a new folder")


def refuse_foreign(part: Path) -> None:
    """Raise SpotmillError where the name of the unfinished folder is taken."""
    if not (part / JOURNAL).is_file() and any(part.iterdir()):
        raise SpotmillError(f"{part}: is in the way and not of an export; move or delete it")


def lock(handle: int, output: Path) -> None:
    """Take the journal for this process until it ends."""
    busy = f"{output}: another process is writing it; wait for its end, or name another folder"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SpotmillError(busy) from error
    if not os.fstat(handle).st_nlink:
        # The other one ended between our opening the journal and our locking it.
        raise SpotmillError(busy)


def read_journal(handle: int, part: Path, settings: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the units that are done, after the settings were found to be the same."""
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        raw = file.read()
    whole = raw[: raw.rfind(b"\n") + 1]
    # The last line of a process that was killed may be torn.
    os.ftruncate(handle, len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        known = lines[0]["settings"] if lines else None
        done = {str(line["unit"]): dict(line["files"]) for line in lines[1:]}
    except (ValueError, KeyError, TypeError) as error:
        raise SpotmillError(f"{part}: has a broken journal; delete it to start anew") from error
    if known is None:
        os.write(handle, (json.dumps({"settings": settings}) + "\n").encode())
    elif known != json.loads(json.dumps(settings)):
        raise SpotmillError(
            f"{part}: holds an unfinished export of other settings, or of data that have changed "
            "since; delete it to start anew, or repeat the command that it was begun with"
        )
    return done


def flush(path: Path) -> None:
    """Bring a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(output: Path) -> Iterator[None]:
    """Turn what the system refuses into one line."""
    try:
        yield
    except OSError as error:
        raise SpotmillError(
            f"{output}: cannot be written ({error.strerror or error}); make space or check "
            "permissions, then repeat the command: it goes on where it stopped"
        ) from error


def check_room(output: Path, needed: int) -> None:
    """Raise SpotmillError where a disk has no room for so many bytes."""
    folder = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise SpotmillError(
            f"{output}: needs about {in_words(needed)}, and {in_words(free)} are free there; make "
            "space, choose fewer datasets, sides or kinds, or compress"
        )


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    if not folder.is_dir():
        return 0
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def in_words(size: float) -> str:
    """Return a number of bytes in few characters."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
