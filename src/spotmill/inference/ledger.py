"""What a watch has done, in SQLite: the one truth, which every other output is made from.

Frames, the files they came from, what could not be read and the alarms of one batch are one
transaction, on the disk before anything else is written. Frame n of a file, in its version, is
there once or not at all.

The journal is SQLite's rollback journal, not its write-ahead log, which does not work on network
file systems (https://sqlite.org/wal.html).
"""

import fcntl
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import make_folder
from spotmill.inference.tables import SCHEMA

NAME = "watch.sqlite"
LAYOUT = "2"
PATIENCE = 60.0  # s to wait for a reader of the ledger

TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, version INTEGER NOT NULL,
    signature TEXT NOT NULL, complete INTEGER NOT NULL, passed_over INTEGER NOT NULL,
    links TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    path TEXT NOT NULL, event INTEGER NOT NULL, why TEXT NOT NULL, PRIMARY KEY (path, event));
CREATE TABLE IF NOT EXISTS alarms (number INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS masks (digest TEXT PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS written (name TEXT PRIMARY KEY, rows INTEGER, bytes INTEGER);
"""
# A frame's own columns come from the table that `predict` writes. `number` is its row there.
FRAMES = """
CREATE TABLE IF NOT EXISTS frames (
    number INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, version INTEGER NOT NULL,
    name TEXT NOT NULL, digest BLOB NOT NULL, late INTEGER NOT NULL, {columns},
    setting TEXT NOT NULL, mask TEXT NOT NULL, place TEXT NOT NULL, peaks BLOB NOT NULL,
    UNIQUE (file_id, version, event));
"""
KINDS = {"bool": "INTEGER", "int32": "INTEGER", "int64": "INTEGER", "double": "REAL"}
# Long values come last, so that others are read without them.
FIRST = ("file_id", "version", "name", "digest", "late")
LAST = ("setting", "mask", "place", "peaks")


@dataclass(slots=True)
class KnownFile:
    """A file of which something is in the ledger.

    Attributes
    ----------
    path
        Relative to the watched folder.
    version
        How often its content was replaced, from 1.
    signature
        As `folder_scan.Seen` has it, at the time of the last frame.
    complete
        Whether all of that was done.
    passed_over
        Whether it is a master whose data files are taken by themselves.
    links
        Files that it takes its frames from.
    """

    id: int
    path: str
    version: int = 1
    signature: int = 0
    complete: bool = False
    passed_over: bool = False
    links: tuple[str, ...] = ()


class Ledger:
    """The open ledger of an output folder; one process at a time writes it."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Any) -> None:
        self._path, self._database, self._lock = folder / NAME, connection, lock
        self.columns = [*FIRST, *SCHEMA.names, *LAST]

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, str]) -> Self:
        """Open or begin the ledger of a folder.

        Parameters
        ----------
        settings
            What all its frames share: models, geometry and the like.

        Raises
        ------
        SpotmillError
            When another process writes it, it was begun with other settings, or it is damaged.
        """
        make_folder(folder / NAME)
        with told(folder / NAME):
            lock = (folder / ".watch.lock").open("w")
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SpotmillError(
                    f"{folder}: another watch writes here; stop that one, or give another --output"
                ) from error
            connection = sqlite3.connect(folder / NAME, timeout=PATIENCE, isolation_level=None)
            # What is committed outlives the machine, too.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = DELETE")
            ledger = cls(folder, connection, lock)
            ledger._begin({"layout": LAYOUT, "columns": " ".join(SCHEMA.names), **settings})
        return ledger

    def close(self) -> None:
        """Close it."""
        self._database.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, settings: Mapping[str, str]) -> None:
        with self.transaction():
            for statement in TABLES.split(";")[:-1]:
                self._database.execute(statement)
            columns = ", ".join(f'"{field.name}" {_kind(field.type)}' for field in SCHEMA)
            self._database.execute(FRAMES.format(columns=columns))
            known = dict(self._database.execute("SELECT name, value FROM about"))
            if not known:
                self._database.executemany("INSERT INTO about VALUES (?, ?)", settings.items())
        for name, value in settings.items():
            if known and known.get(name) != value:
                raise SpotmillError(
                    f"{self._path.parent}: was begun with other {name} ({known.get(name, 'none')}, "
                    f"not {value}); give the same, or another --output"
                )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what the block writes one transaction."""
        with told(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def files(self) -> dict[str, KnownFile]:
        """Return all files by path."""
        with told(self._path):
            rows = self._database.execute(
                "SELECT id, path, version, signature, complete, passed_over, links FROM files"
            ).fetchall()
        return {
            row[1]: KnownFile(
                row[0],
                row[1],
                row[2],
                int(row[3]),
                bool(row[4]),
                bool(row[5]),
                tuple(json.loads(row[6])),
            )
            for row in rows
        }

    def put_file(self, file: KnownFile) -> None:
        """Write what is known of a file; give it a number where it has none."""
        values = (
            file.path,
            file.version,
            str(file.signature),
            file.complete,
            file.passed_over,
            json.dumps(file.links),
        )
        names = "path, version, signature, complete, passed_over, links"
        if not file.id:
            made = self._database.execute(
                f"INSERT INTO files ({names}) VALUES (?, ?, ?, ?, ?, ?)", values
            )
            file.id = int(made.lastrowid or 0)
        else:
            self._database.execute(
                f"INSERT OR REPLACE INTO files (id, {names}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.id, *values),
            )

    def events(self, file: KnownFile) -> set[int]:
        """Return the events of a file's present version that are done."""
        with told(self._path):
            found = self._database.execute(
                "SELECT event FROM frames WHERE file_id = ? AND version = ?",
                (file.id, file.version),
            ).fetchall()
        return {event for (event,) in found}

    def digest(self, file: KnownFile, event: int) -> bytes:
        """Return the digest of an event of a file's present version."""
        found = self._database.execute(
            "SELECT digest FROM frames WHERE file_id = ? AND version = ? AND event = ?",
            (file.id, file.version, event),
        ).fetchone()
        return bytes(found[0]) if found else b""

    def put_frames(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append frames; each has the columns of the table, and those of `FIRST` and `LAST`."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        holders = ", ".join("?" for _ in self.columns)
        self._database.executemany(
            f"INSERT INTO frames ({names}) VALUES ({holders})",
            ([_stored(row[name]) for name in self.columns] for row in rows),
        )

    def count(self) -> int:
        """Return how many frames there are."""
        with told(self._path):
            found = self._database.execute("SELECT max(number) FROM frames").fetchone()
        return int(found[0] or 0)

    def put_mask(self, digest: str, packed: bytes) -> None:
        """Write the live pixels of hits, once."""
        self._database.execute("INSERT OR IGNORE INTO masks VALUES (?, ?)", (digest, packed))

    def mask(self, digest: str) -> bytes:
        """Return live pixels by their digest."""
        with told(self._path):
            found = self._database.execute(
                "SELECT packed FROM masks WHERE digest = ?", (digest,)
            ).fetchone()
        return bytes(found[0])

    def first_setting(self) -> str:
        """Return the setting of the first hit whose image others can refer to; empty without."""
        with told(self._path):
            found = self._database.execute(
                "SELECT setting FROM frames WHERE is_hit AND place != '' ORDER BY number LIMIT 1"
            ).fetchone()
        return str(found[0]) if found else ""

    def first_beam(self, setting: str) -> tuple[float, float]:
        """Return photon energy (eV) and distance (m) of the first hit that states both, or 0."""
        with told(self._path):
            found = self._database.execute(
                "SELECT stated_photon_energy, stated_clen FROM frames WHERE is_hit AND setting = ? "
                "AND place != '' AND stated_photon_energy IS NOT NULL AND stated_clen IS NOT NULL "
                "ORDER BY number LIMIT 1",
                (setting,),
            ).fetchone()
        return (float(found[0]), float(found[1])) if found else (0.0, 0.0)

    def listed(self, first: int, last: int, setting: str) -> list[tuple[int, bool]]:
        """Return number, and whether CrystFEL can be given it, of frames from a row on to a last.

        That is a hit of a file as it is now, of the given setting, whose image lies in HDF5 and
        whose photon energy and distance are known.
        """
        with told(self._path):
            return self._database.execute(
                "SELECT number, is_hit AND frames.version = files.version AND setting = ? "
                "AND place != '' AND stated_photon_energy IS NOT NULL AND stated_clen IS NOT NULL "
                "FROM frames JOIN files ON files.id = file_id WHERE number > ? AND number <= ? "
                "ORDER BY number",
                (setting, first, last),
            ).fetchall()

    def hits(self, first: int, most: int) -> list[tuple[str, bool]]:
        """Return name, and whether it is a hit of a file as it is now, of frames from a row on."""
        with told(self._path):
            return self._database.execute(
                "SELECT name, is_hit AND frames.version = files.version FROM frames "
                "JOIN files ON files.id = file_id WHERE number > ? ORDER BY number LIMIT ?",
                (first, most),
            ).fetchall()

    def frames(self, first: int, columns: Sequence[str], most: int) -> list[tuple[Any, ...]]:
        """Return columns of frames from row `first` (0 is the first), in order."""
        names = ", ".join(f'"{name}"' for name in columns)
        with told(self._path):
            return self._database.execute(
                f"SELECT {names} FROM frames WHERE number > ? ORDER BY number LIMIT ?",
                (first, most),
            ).fetchall()

    def put_failure(self, path: str, event: int, why: str) -> None:
        """Write why an event (-1: the file) could not be read."""
        self._database.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (path, event, why)
        )

    def clear_failures(self, path: str) -> None:
        """Forget why a file could not be read."""
        self._database.execute("DELETE FROM failures WHERE path = ?", (path,))

    def failures(self) -> dict[str, dict[int, str]]:
        """Return why files (event -1) and events could not be read, by path."""
        found: dict[str, dict[int, str]] = {}
        with told(self._path):
            for path, event, why in self._database.execute("SELECT * FROM failures ORDER BY path"):
                found.setdefault(path, {})[event] = why
        return found

    def put_alarm(self, fields: Mapping[str, Any]) -> None:
        """Append an alarm."""
        self._database.execute("INSERT INTO alarms (fields) VALUES (?)", (json.dumps(fields),))

    def alarms(self, first: int = 0) -> list[dict[str, Any]]:
        """Return the alarms from number `first` (0 is the first)."""
        with told(self._path):
            rows = self._database.execute(
                "SELECT fields FROM alarms WHERE number > ? ORDER BY number", (first,)
            ).fetchall()
        return [json.loads(text) for (text,) in rows]

    def written(self) -> dict[str, tuple[int, int]]:
        """Return rows and bytes of the outputs that are known to be on the disk."""
        with told(self._path):
            rows = self._database.execute("SELECT name, rows, bytes FROM written").fetchall()
        return {name: (count, size) for name, count, size in rows}

    def put_written(self, name: str, rows: int, size: int) -> None:
        """Write how much of an output is on the disk."""
        self._database.execute(
            "INSERT OR REPLACE INTO written VALUES (?, ?, ?)", (name, rows, size)
        )


def _kind(kind: pa.DataType) -> str:
    return KINDS.get(str(kind), "TEXT")


def _stored(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    return value


def restored(row: Sequence[Any]) -> dict[str, Any]:
    """Return a frame's row of the table, as `tables.row_of` made it, from its stored values."""
    found: dict[str, Any] = {}
    for field, value in zip(SCHEMA, row, strict=True):
        kind = str(field.type)
        if kind == "double" and value is None:
            value = math.nan
        elif kind == "bool" and value is not None:
            value = bool(value)
        elif kind.startswith("timestamp") and value is not None:
            value = datetime.fromisoformat(value)
        found[field.name] = value
    return found


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a SpotmillError of one line."""
    try:
        yield
    except sqlite3.Error as error:
        remedy = "make space, or give another --output"
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        ):
            remedy = "it is damaged; give another --output"
        raise SpotmillError(f"{path}: cannot be read or written ({error}); {remedy}") from error
    except OSError as error:
        raise SpotmillError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder and its space"
        ) from error
