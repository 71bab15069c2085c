"""What readers of a watch look at, all of it made from its ledger.

Lines are appended to predictions.csv, hits.lst and alarms.csv after the transaction that they
belong to; a crash between the two is mended at the next start. Parquet and CXI cannot be appended
to: they come in parts of a fixed number of rows, of which the last is written anew, whole, as it
grows.
"""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, make_folder, write_text
from spotmill.formats.geom import format_geometry
from spotmill.inference.drift import ALARM_COLUMNS
from spotmill.inference.events import Maker
from spotmill.inference.handover import OURS
from spotmill.inference.ledger import Ledger, restored
from spotmill.inference.peak_file import DISTANCE, PHOTON_ENERGY
from spotmill.inference.peak_parts import read_place, unpacked, write_part
from spotmill.inference.tables import SCHEMA, shown
from spotmill.inference.watch_handover import geometry_of, setting_of
from spotmill.physics.units import wavelength_from_photon_energy

TABLE, HITS, ALARMS = "predictions.csv", "hits.lst", "alarms.csv"
# For CrystFEL: hits by the parts that hold their peaks and show their images, and the geometry.
LISTED, GEOMETRY = "hits_in_peaks.lst", "predicted.geom"
PARTS = ("predictions.parquet", "peaks")
ROWS_A_PART = 1000
AT_ONCE = 2000
VERSION = pa.field(
    "version", pa.int32(), metadata={"units": "", "meaning": "of the file's content, from 1"}
)
FULL_SCHEMA = SCHEMA.append(VERSION)

Lines = Callable[[int], Iterator[tuple[int, bytes]]]


class Appended:
    """A text file that follows the ledger.

    Parameters
    ----------
    header
        Its first bytes.
    lines
        Yields, from a row on, how many rows come and their bytes.
    """

    def __init__(self, path: Path, header: bytes, lines: Lines) -> None:
        self.path, self._header, self._lines = path, header, lines
        self._file: BinaryIO | None = None
        self.rows = self.size = 0

    def open(self, rows: int, size: int) -> None:
        """Open it, and mend it from the last place that is known to be whole."""
        with written(self.path):
            if not self.path.is_file() or self.path.stat().st_size < size:
                rows = size = 0
            make_folder(self.path)
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", 0)
            self._file.seek(size)
            self.rows, self.size = rows, size
            same = True
            for count, expected in self._all(rows, size):
                if same:
                    found = self._file.read(len(expected))
                    same = found == expected
                    if not same:
                        # What a reader has seen of it, and is right, stays.
                        agreed = common(found, expected)
                        self._file.truncate(self.size + agreed)
                        self._file.seek(self.size + agreed)
                        _write(self._file, expected[agreed:])
                else:
                    _write(self._file, expected)
                self.rows, self.size = self.rows + count, self.size + len(expected)
            self._file.truncate(self.size)
            self._file.seek(self.size)

    def _all(self, rows: int, size: int) -> Iterator[tuple[int, bytes]]:
        if not size:
            yield 0, self._header
        yield from self._lines(rows)

    def follow(self) -> None:
        """Append what the ledger has and the file has not."""
        assert self._file is not None
        with written(self.path):
            for count, more in self._lines(self.rows):
                _write(self._file, more)
                self.rows, self.size = self.rows + count, self.size + len(more)

    def remake(self) -> None:
        """Write it anew, whole."""
        with atomic(self.path) as temporary, temporary.open("wb") as file:
            self.rows = self.size = 0
            for count, more in self._all(0, 0):
                file.write(more)
                self.rows, self.size = self.rows + count, self.size + len(more)
        self.close()
        self.open(self.rows, self.size)

    def flush(self) -> tuple[int, int]:
        """Bring it to the disk; return its rows and bytes."""
        assert self._file is not None
        with written(self.path):
            os.fsync(self._file.fileno())
        return self.rows, self.size

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            self._file.close()


class Published:
    """All outputs of a ledger."""

    def __init__(
        self, folder: Path, ledger: Ledger, maker: Maker, knows_peaks: bool = True
    ) -> None:
        self._folder, self._ledger, self._maker = folder, ledger, maker
        self._knows_peaks = knows_peaks
        header = ",".join(FULL_SCHEMA.names).encode() + b"\n"
        self._appended = {
            TABLE: Appended(folder / TABLE, header, self._table_lines),
            HITS: Appended(folder / HITS, b"", self._hit_lines),
            LISTED: Appended(folder / LISTED, b"", self._listed_lines),
            ALARMS: Appended(
                folder / ALARMS, ",".join(ALARM_COLUMNS).encode() + b"\n", self._alarms
            ),
        }
        self._in_parts = 0
        # Of the first hit, which others must share.
        self._setting = ""

    def open(self) -> None:
        """Open all outputs, and mend what a crash left behind."""
        known = self._ledger.written()
        self._in_parts, _ = known.get(PARTS[0], (0, 0))
        for number in range(self._in_parts // ROWS_A_PART):
            if not all(path.is_file() for path in self._part_paths(number)):
                self._in_parts = number * ROWS_A_PART
                break
        self._settle()
        for name, output in self._appended.items():
            output.open(*known.get(name, (0, 0)))

    def follow(self) -> None:
        """Append what is new."""
        for output in self._appended.values():
            output.follow()

    def remake_hits(self) -> None:
        """Write the lists of hits anew: a file was replaced, and its former hits are gone."""
        for name in (HITS, LISTED):
            self._appended[name].remake()

    def flush(self) -> None:
        """Write the parts that grew, and record in the ledger what is on the disk."""
        frames = self._ledger.count()
        if frames == self._in_parts:
            return
        for number in range(self._in_parts // ROWS_A_PART, -(-frames // ROWS_A_PART)):
            self._write_part(number)
        self._in_parts = frames
        # Not before its peaks are there is a hit listed.
        self._settle()
        self._appended[LISTED].follow()
        sizes = {name: output.flush() for name, output in self._appended.items()}
        with self._ledger.transaction():
            for name, (rows, size) in sizes.items():
                self._ledger.put_written(name, rows, size)
            self._ledger.put_written(PARTS[0], frames, 0)

    def close(self) -> None:
        """Close all."""
        for output in self._appended.values():
            output.close()

    def _part_paths(self, number: int) -> tuple[Path, Path]:
        table, peaks = (self._folder / name for name in PARTS)
        return table / f"part-{number:06d}.parquet", peaks / f"part-{number:06d}.cxi"

    def _settle(self) -> None:
        """Write the geometry, once a hit says which."""
        self._setting = self._setting or self._ledger.first_setting()
        if not self._setting:
            return
        made = geometry_of(setting_of(self._setting, self._maker))
        if made is None:
            return
        path, text = self._folder / GEOMETRY, format_geometry(made)
        with written(path):
            known = path.is_file() and path.read_text(encoding="utf-8") == text
        if not known:
            write_text(path, text)

    def for_crystfel(self) -> list[str]:
        """Return the words of the command that goes on; none where there is nothing to go on."""
        energy, clen = self._ledger.first_beam(self._setting)
        if not (self._folder / GEOMETRY).is_file() or not (energy and clen):
            return []
        wavelength = wavelength_from_photon_energy(energy) * 1e-10
        finder: tuple[str, ...] = OURS
        if not self._knows_peaks:
            finder = setting_of(self._setting, self._maker).finder(energy)
        return [
            *("indexamajig", "-g", str(self._folder / GEOMETRY), "-i", str(self._folder / LISTED)),
            *(*finder, f"--wavelength-estimate={wavelength:.4g}"),
            f"--camera-length-estimate={clen:.4g}",
        ]

    def _write_part(self, number: int) -> None:
        table, peaks = self._part_paths(number)
        columns = [*SCHEMA.names, "version", "setting", "mask", "peaks", "place"]
        rows = self._ledger.frames(number * ROWS_A_PART, columns, ROWS_A_PART)
        found = [restored(row[:-5]) | {"version": row[-5]} for row in rows]
        with atomic(table) as temporary:
            pq.write_table(pa.Table.from_pylist(found, FULL_SCHEMA), temporary)
        setting = self._setting or self._ledger.first_setting()
        # Frames of another detector than the first hit's are in no list.
        fits = [row[-4] == setting or not setting for row in rows]
        write_part(
            peaks,
            [unpacked(row[-2]) for row in rows],
            [read_place(row[-1]) if own else None for row, own in zip(rows, fits, strict=True)],
            [row[-3] if own else "" for row, own in zip(rows, fits, strict=True)],
            {
                PHOTON_ENERGY: [row["stated_photon_energy"] for row in found],
                DISTANCE: [row["stated_clen"] for row in found],
            },
            self._ledger.mask,
        )

    def _table_lines(self, first: int) -> Iterator[tuple[int, bytes]]:
        for rows in self._chunks(first, [*SCHEMA.names, "version"]):
            yield len(rows), _csv([*restored(row[:-1]).values(), row[-1]] for row in rows)

    def _hit_lines(self, first: int) -> Iterator[tuple[int, bytes]]:
        while rows := self._ledger.hits(first, AT_ONCE):
            yield len(rows), "".join(f"{name}\n" for name, is_hit in rows if is_hit).encode()
            first += len(rows)

    def _listed_lines(self, first: int) -> Iterator[tuple[int, bytes]]:
        while first < self._in_parts:
            last = min(first + AT_ONCE, self._in_parts)
            lines = []
            usable = bool(self._setting) and (self._folder / GEOMETRY).is_file()
            for number, is_listed in self._ledger.listed(first, last, self._setting):
                part, row = divmod(number - 1, ROWS_A_PART)
                if usable and is_listed:
                    lines.append(f"{self._part_paths(part)[1]} //{row}\n")
            yield last - first, "".join(lines).encode()
            first = last

    def _alarms(self, first: int) -> Iterator[tuple[int, bytes]]:
        alarms = self._ledger.alarms(first)
        if alarms:
            yield len(alarms), _csv([alarm[name] for name in ALARM_COLUMNS] for alarm in alarms)

    def _chunks(self, first: int, columns: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
        while rows := self._ledger.frames(first, columns, AT_ONCE):
            yield rows
            first += len(rows)


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([shown(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _write(file: BinaryIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) or 0 :]


def common(one: bytes, other: bytes) -> int:
    """Return how many bytes from the first on are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn an OSError of an output into a SpotmillError of one line."""
    try:
        yield
    except OSError as error:
        raise SpotmillError(
            f"{path}: cannot be written ({error.strerror or error}); nothing is lost: make space, "
            "or mend the folder, and start the watch again"
        ) from error
