"""Parquet tables: the spots and frames of a shard, and the manifest.

Layouts are stated once, as schemas; units stand in the metadata of each column.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic


def _field(name: str, kind: pa.DataType, unit: str = "", meaning: str = "") -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"units": unit, "meaning": meaning})


_vectors = pa.list_(pa.float64())

SPOTS = pa.schema(
    [
        _field("index", pa.int64(), "", "frame"),
        _field("crystal", pa.int32(), "", "number of the crystal in the frame, from 0"),
        _field("h", pa.int32()),
        _field("k", pa.int32()),
        _field("l", pa.int32()),
        _field("panel", pa.string(), "", "panel that holds most of the spot"),
        _field("fs", pa.float64(), "pixel", "position; pixel n covers n to n+1"),
        _field("ss", pa.float64(), "pixel", "position; pixel n covers n to n+1"),
        _field("expected_photons", pa.float64(), "photons", "of the whole spot"),
        _field("live_fraction", pa.float64(), "", "share of the spot on live pixels"),
        _field("photons", pa.float64(), "photons", "drawn, on live pixels (expected: no noise)"),
        _field("d", pa.float64(), "angstrom", "resolution"),
        _field("photon_energy", pa.float64(), "eV", "at which the spot is excited"),
    ]
)

# What belongs to a crystal is a list, one crystal after the other.
FRAMES = pa.schema(
    [
        _field("index", pa.int64(), "", "frame"),
        _field("n_crystals", pa.int32()),
        _field("quaternion", _vectors, "", "w, x, y, z of each crystal"),
        _field("astar", _vectors, "1/angstrom", "of each crystal, as turned, no 2 pi"),
        _field("bstar", _vectors, "1/angstrom", "of each crystal, as turned, no 2 pi"),
        _field("cstar", _vectors, "1/angstrom", "of each crystal, as turned, no 2 pi"),
        _field("size", _vectors, "m", "of each crystal"),
        _field("mosaicity", _vectors, "degree", "of each crystal"),
        _field("n_spots", pa.int32(), "", "spots of at least min_photons photons"),
        _field("photons", pa.float64(), "photons", "Bragg photons on live pixels"),
        _field("n_saturated", pa.int32(), "pixel", "pixels clipped at max_adu"),
        _field("is_hit", pa.bool_(), "", "n_spots >= min_spots"),
        _field("photon_energy", pa.float64(), "eV"),
        _field("clen", pa.float64(), "m"),
        _field("beam_x", pa.float64(), "m", "shift of the beam on the detector"),
        _field("beam_y", pa.float64(), "m", "shift of the beam on the detector"),
        _field("tilt_x", pa.float64(), "degree", "turn of the detector"),
        _field("tilt_y", pa.float64(), "degree", "turn of the detector"),
        _field("flux", pa.float64(), "", "factor on all photons"),
        _field("signal", pa.float64(), "", "factor on the Bragg photons"),
        _field("background", pa.float64(), "", "factor on the background"),
        _field("dead_panels", pa.list_(pa.string()), "", "panels that counted nothing"),
    ]
)

MANIFEST = pa.schema(
    [
        _field("dataset", pa.string()),
        _field("index", pa.int64()),
        _field("kind", pa.string(), "", "crystal or empty"),
        _field("photon_energy", pa.float64(), "eV"),
        _field("clen", pa.float64(), "m"),
        _field("n_spots", pa.int32()),
        _field("photons", pa.int64(), "photons", "Bragg photons on live pixels"),
        _field("is_hit", pa.bool_()),
        _field("shard", pa.string()),
        _field("position", pa.int32(), "", "number of the frame within its shard"),
        _field("overlay", pa.string(), "", "file"),
        _field("peaks", pa.string(), "", "file, empty where there is none"),
        _field("labels", pa.string(), "", "file, empty where there is none"),
        _field("truth", pa.string(), "", "file, empty where there is none"),
        _field("recipe", pa.string(), "", "recipes of the stages, JSON"),
    ]
)

SPLIT = MANIFEST.append(_field("split", pa.string(), "", "train, validation or test"))


def write_table(
    path: str | Path,
    columns: Mapping[str, Any],
    schema: pa.Schema,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write columns as Parquet, whole or not at all, with provenance as JSON in its metadata."""
    with open_table(path, schema, provenance) as append:
        append(columns)


@contextmanager
def open_table(
    path: str | Path, schema: pa.Schema, provenance: Mapping[str, Any] | None = None
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that appends rows to a Parquet table; the table appears when all are in."""
    stored = schema.with_metadata({"spotmill": json.dumps(provenance or {}, sort_keys=True)})
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, stored, compression="zstd", write_page_checksum=True) as file,
    ):

        def append(columns: Mapping[str, Any]) -> None:
            file.write_table(pa.table(dict(columns), schema=stored))

        yield append


def unit(schema: pa.Schema, name: str) -> str:
    """Return the unit of a column, empty where it has none."""
    return str(schema.field(name).metadata[b"units"].decode())


def provenance(table: pa.Table | pa.Schema) -> dict[str, Any]:
    """Return what a table, or its schema as stored, says of its making."""
    schema = table.schema if isinstance(table, pa.Table) else table
    return dict(json.loads((schema.metadata or {}).get(b"spotmill", b"{}")))


def read_table(path: str | Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet table and check its columns.

    Raises
    ------
    SpotmillError
        When the file is missing, broken, or has not the columns of the schema.
    """
    if not Path(path).is_file():
        raise SpotmillError(f"{path}: no such table; remake it (name it to snakemake)")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SpotmillError(
            f"{path}: is not a whole Parquet file; delete it and run snakemake again"
        ) from error
    missing = [name for name in schema.names if name not in names]
    if missing:
        raise SpotmillError(f"{path}: lacks the column {missing[0]!r}; remake it")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise SpotmillError(f"{path}: has a column of the wrong type; remake it") from error
