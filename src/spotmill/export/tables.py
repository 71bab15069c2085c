"""What lies beside exported images: the list of frames, their true spots, a guide."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spotmill.export.choice import Choice, Row
from spotmill.export.folder import Layout, Step
from spotmill.export.reader import NUMBERS, Reader
from spotmill.formats.atomic import write_text
from spotmill.formats.tables import SPOTS, open_table

# Frames whose spots are written at once.
BATCH = 256
OWN = ("photon_energy", "clen")


@dataclass(frozen=True)
class Tables:
    """`frames.csv`, `spots.parquet` and `README.md`."""

    layout: Layout
    reader: Reader
    spots: bool
    name: str = "tables"
    frames: int = 0

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write the tables."""
        files = [folder / "frames.csv", folder / "README.md"]
        with listing(files[0]) as add:
            for row, place in self.layout.listed():
                add(frame_columns(row, self.reader) | place)
        write_text(files[1], self.layout.guide())
        if self.spots:
            files.append(folder / "spots.parquet")
            write_spots(files[-1], self.layout.choice, self.reader)
        step(0)
        return files


def frame_columns(row: Row, reader: Reader) -> dict[str, Any]:
    """Return what is told of a frame, in plain values; photon energy and clen are its own."""
    own = reader.conditions(row)
    told = {name: getattr(row, name) for name in ("dataset", "index", "kind", "split")}
    told |= {"is_hit": row.is_hit, "n_spots": row.n_spots, "photons": row.photons}
    told |= {name: own.pop(name) for name in OWN}
    return told | {name: own[name] for name in sorted(own)}


@contextmanager
def listing(path: Path) -> Iterator[Any]:
    """Yield a function that adds a row to a CSV table; columns that a row lacks are empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None

        def add(columns: dict[str, Any]) -> None:
            nonlocal writer
            if writer is None:
                writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
                writer.writeheader()
            plain = {k: int(v) if isinstance(v, bool) else v for k, v in columns.items()}
            known = {key: plain[key] for key in writer.fieldnames if key in plain}
            writer.writerow(known)

        yield add


def write_spots(path: Path, choice: Choice, reader: Reader) -> None:
    """Write the true spots of all frames, a batch of frames at a time."""
    fields = [pa.field("dataset", pa.string(), nullable=False), SPOTS.field("index")]
    schema = pa.schema([*fields, *(SPOTS.field(name) for name in NUMBERS)])
    with open_table(path, schema) as append:
        for batch in batches(choice.rows()):
            found = [reader.spots(row) for row in batch]
            counts = [len(spots[NUMBERS[0]]) for spots in found]
            columns: dict[str, Any] = {
                "dataset": np.repeat([row.dataset for row in batch], counts).tolist(),
                "index": np.repeat(np.array([row.index for row in batch], np.int64), counts),
            }
            for name in NUMBERS:
                kind = SPOTS.field(name).type.to_pandas_dtype()
                columns[name] = np.concatenate([spots[name] for spots in found]).astype(kind)
            append(columns)


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows some at a time."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def fingerprint(choice: Choice, kinds: Iterable[str]) -> str:
    """Return a digest of the frames and of the state (size, time) of the files they come from."""
    digest = hashlib.sha256()
    columns = ["dataset", "index", "position", "split", "n_spots", *sorted(FILES)]
    for batch in choice.table.select(columns).to_batches():
        for column in batch.columns:
            digest.update(repr(column.to_pylist()).encode())
    names = {name for column in sorted(FILES) for name in choice.table[column].unique().to_pylist()}
    paths = [choice.path(name) for name in sorted(names) if name]
    if "water" in kinds:
        paths += [choice.water(name) for name in choice.datasets]
    for path in paths:
        state = path.stat() if path.exists() else None
        told = (str(path), state.st_size, state.st_mtime_ns) if state else (str(path),)
        digest.update(repr(told).encode())
    return digest.hexdigest()


FILES = ("overlay", "peaks", "labels", "truth")
