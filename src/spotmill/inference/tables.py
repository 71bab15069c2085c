"""What `spotmill predict` writes row by row: the table of frames, and lists of hits."""

import csv
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.formats.atomic import atomic
from spotmill.inference.events import Event
from spotmill.inference.pipeline import Prediction

ROWS_AT_ONCE = 4096


def _field(name: str, kind: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"units": unit, "meaning": meaning})


SIGMA = "standard deviation; of a model of classes: of values nearest to that class"
AGREES = "told and stated, within 3 sigma or by the nearest class; empty without either"

SCHEMA = pa.schema(
    [
        _field("file", pa.string(), "", "as it was named"),
        _field("event", pa.int64(), "", "number of the frame within its file, from 0"),
        _field("event_id", pa.string(), "", "its name in CrystFEL's form, //3 or tag-3//"),
        _field("probability", pa.float64(), "", "of a hit; before the heap was seen, if any"),
        _field("is_hit", pa.bool_(), "", "whether the frame is said to be a hit"),
        _field("hit_by", pa.string(), "", "hit: its model; peaks: three; heap: none; lattice"),
        _field("n_peaks", pa.int32(), "", "peaks; empty where nothing looked for any"),
        _field("photon_energy", pa.float64(), "eV", "as the frame tells; NaN where it cannot"),
        _field("photon_energy_sigma", pa.float64(), "eV", SIGMA),
        _field("clen", pa.float64(), "m", "as the frame tells; NaN where it cannot"),
        _field("clen_sigma", pa.float64(), "m", SIGMA),
        _field("stated_photon_energy", pa.float64(), "eV", "by hand, geometry or header"),
        _field("stated_clen", pa.float64(), "m", "by hand, geometry or header"),
        _field("photon_energy_agrees", pa.bool_(), "", AGREES),
        _field("clen_agrees", pa.bool_(), "", AGREES),
        _field("background", pa.float64(), "photons", "a live pixel, spots left out"),
        _field("saturated", pa.int64(), "pixel", "live pixels at or above saturation"),
        _field("out_of_distribution", pa.float64(), "", "1: as far off as any training frame"),
        _field("flaws", pa.int32(), "", "bright maxima that are single pixels or tracks"),
        _field("time", pa.timestamp("ms", "UTC"), "", "of the frame, or when its file was written"),
        _field("time_by", pa.string(), "", "frame: its file says so; file: when that was written"),
        _field("remark", pa.string(), "", "what to know of the frame"),
    ]
)


def row_of(event: Event, said: Prediction) -> dict[str, Any]:
    """Return the row of a frame."""
    stated = event.stated
    return {
        "file": str(event.path),
        "event": event.event,
        "event_id": event.event_id or f"//{event.event}",
        "probability": said.probability,
        "is_hit": said.is_hit,
        "hit_by": said.hit_by,
        "n_peaks": said.n_peaks,
        "photon_energy": said.photon_energy.value,
        "photon_energy_sigma": said.photon_energy.sigma,
        "clen": said.clen.value,
        "clen_sigma": said.clen.sigma,
        "stated_photon_energy": math.nan if stated.photon_energy is None else stated.photon_energy,
        "stated_clen": math.nan if stated.clen is None else stated.clen,
        "photon_energy_agrees": said.photon_energy.agrees,
        "clen_agrees": said.clen.agrees,
        "background": said.background,
        "saturated": event.saturated,
        "out_of_distribution": said.out_of_distribution,
        "flaws": said.flaws,
        **time_of(event),
        "remark": "; ".join(said.remarks),
    }


def time_of(event: Event) -> dict[str, Any]:
    """Return when a frame was taken, as its file declares it, or when that was last written."""
    seconds, by = event.time, "frame"
    if seconds is None:
        with suppress(OSError):
            seconds, by = event.path.stat().st_mtime, "file"
    if seconds is None:
        return {"time": None, "time_by": ""}
    return {"time": datetime.fromtimestamp(round(seconds, 3), UTC), "time_by": by}


class Tables:
    """The open files of a run's tables."""

    def __init__(self, parquet: pq.ParquetWriter, text: Any, hits: Any) -> None:
        self._parquet, self._hits = parquet, hits
        self._csv = csv.writer(text, lineterminator="\n")
        self._csv.writerow(SCHEMA.names)
        self._waiting: list[dict[str, Any]] = []

    def add(self, event: Event, said: Prediction) -> None:
        """Write the row of a frame, and name it among the hits if it is one."""
        row = row_of(event, said)
        self._waiting.append(row)
        self._csv.writerow([shown(row[name]) for name in SCHEMA.names])
        if said.is_hit:
            self._hits.write(f"{event.name}\n")
        if len(self._waiting) >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._parquet.write_table(pa.Table.from_pylist(self._waiting, SCHEMA))
            self._waiting = []


@contextmanager
def open_tables(folder: Path, hits_name: str = "hits.lst") -> Iterator[Tables]:
    """Yield tables that come into being, whole, when the block ends."""
    with ExitStack() as stack:
        parquet, text, hits = (
            stack.enter_context(atomic(folder / name))
            for name in ("predictions.parquet", "predictions.csv", hits_name)
        )
        tables = Tables(
            stack.enter_context(pq.ParquetWriter(parquet, SCHEMA, write_page_checksum=True)),
            stack.enter_context(text.open("w", encoding="utf-8", newline="")),
            stack.enter_context(hits.open("w", encoding="utf-8")),
        )
        yield tables
        tables.flush()


def shown(value: Any) -> str:
    """Return a value as the CSV has it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
