"""Which frames are handed over, and on which side of the split each is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.config import Split
from spotmill.errors import SpotmillError
from spotmill.formats.tables import MANIFEST, SPLIT, provenance, read_table
from spotmill.splits import SIDES, side

WATER = "images/water/{dataset}.h5"
GEOMETRY = "images/{dataset}.geom"


@dataclass(frozen=True, slots=True)
class Row:
    """A frame of the manifest (docs/contracts.md) and its side; files as the manifest has them."""

    dataset: str
    index: int
    kind: str
    photon_energy: float
    clen: float
    n_spots: int
    photons: int
    is_hit: bool
    shard: str
    position: int
    overlay: str
    peaks: str
    labels: str
    truth: str
    split: str

    @property
    def name(self) -> str:
        """The identity in one word."""
        return f"{self.dataset}/{self.index}"


@dataclass(frozen=True)
class Choice:
    """Frames to hand over, ordered by identity.

    Attributes
    ----------
    results
        Folder of results; files of the manifest are relative to the one above.
    table
        The manifest's columns and `split`, one row a frame.
    conditions
        (photon energy in eV, clen in m) of every dataset of the results, chosen or not.
    sides
        How the sides came about, for the record.
    """

    results: Path
    table: pa.Table
    conditions: dict[str, tuple[float, float]]
    sides: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of frames."""
        return int(self.table.num_rows)

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets that have frames here, sorted."""
        return sorted(set(self.table["dataset"].to_pylist()))

    def rows(self, first: int = 0, count: int | None = None) -> Iterator[Row]:
        """Yield frames in their order."""
        part = self.table.slice(first, count)
        for batch in part.to_batches(max_chunksize=4096):
            columns = [batch.column(field.name).to_pylist() for field in fields(Row)]
            yield from (Row(*values) for values in zip(*columns, strict=True))

    def of_dataset(self, dataset: str) -> "Choice":
        """Return the frames of one dataset."""
        return self.where([name == dataset for name in self.table["dataset"].to_pylist()])

    def where(self, chosen: Sequence[bool]) -> "Choice":
        """Return the frames marked True."""
        table = self.table.filter(pa.array(chosen, pa.bool_()))
        return Choice(self.results, table, self.conditions, self.sides)

    def path(self, name: str) -> Path:
        """Return where a file of the manifest lies."""
        return self.results.parent / name

    def water(self, dataset: str) -> Path:
        """Return the expected background of a dataset."""
        return self.results / WATER.format(dataset=dataset)

    def geometry(self, dataset: str) -> Path:
        """Return the geometry of a dataset's shards."""
        return self.results / GEOMETRY.format(dataset=dataset)


def choose(
    results: Path,
    datasets: Sequence[str] = (),
    sides: Sequence[str] = SIDES,
    split: Path | None = None,
) -> Choice:
    """Choose frames; without names all datasets, without a split the sides that all tasks share.

    Raises
    ------
    SpotmillError
        When there are no results, a name is wrong, or no frame is left.
    """
    there = list_datasets(results)
    unknown = [name for name in datasets if name not in there]
    if unknown:
        raise SpotmillError(
            f"--datasets: {unknown[0]!r} does not exist; there are {', '.join(there)}"
        )
    manifests = {name: read_table(results / f"manifest/{name}.parquet", MANIFEST) for name in there}
    known = {
        name: (float(table["photon_energy"][0].as_py()), float(table["clen"][0].as_py()))
        for name, table in manifests.items()
        if table.num_rows
    }
    wanted = list(datasets) or there
    table, how = (
        split_table(split)
        if split
        else drawn_sides(results, pa.concat_tables([manifests[name] for name in wanted]))
    )
    names, on = table["dataset"].to_pylist(), table["split"].to_pylist()
    keep = [a in wanted and b in sides for a, b in zip(names, on, strict=True)]
    table = table.filter(pa.array(keep, pa.bool_()))
    table = table.sort_by([("dataset", "ascending"), ("index", "ascending")])
    if not table.num_rows:
        raise SpotmillError(
            f"{split or results}: has no frame of these datasets ({', '.join(wanted)}) and sides "
            f"({', '.join(sides)}); choose others"
        )
    return Choice(results, table, known, how)


def list_datasets(results: Path) -> list[str]:
    """Return the datasets of a folder of results; raise SpotmillError where there are none."""
    found = sorted({path.stem for path in (results / "manifest").glob("*.parquet")} - {"all"})
    if not found:
        raise SpotmillError(
            f"{results}: has no datasets (manifest/*.parquet); run the workflow first, or name "
            "the folder with --results"
        )
    return found


def split_table(split: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the frames of a task's split; others are left out, as the task leaves them."""
    table = read_table(split, SPLIT)
    facts = provenance(pq.read_schema(split))
    told = {key: facts[key] for key in ("task", "hold_out", *SIDES) if key in facts}
    return table, {"by": "split of a task", **told}


def drawn_sides(results: Path, table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Return frames with the sides that they have in every task without `hold_out`."""
    shares = shares_of(results)
    names, indices = table["dataset"].to_pylist(), table["index"].to_pylist()
    drawn = [side(name, index, shares) for name, index in zip(names, indices, strict=True)]
    table = table.append_column(SPLIT.field("split"), pa.array(drawn, pa.string()))
    return table, {"by": "hash of dataset and index", **shares.model_dump()}


def shares_of(results: Path) -> Split:
    """Return the shares of the sides that the results' own splits were made with.

    Raises
    ------
    SpotmillError
        When they do not agree.
    """
    found: dict[tuple[float, ...], Path] = {}
    for path in sorted((results / "splits").glob("*.parquet")):
        try:
            facts = provenance(pq.read_schema(path))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SpotmillError(
                f"{path}: is not a whole Parquet file; delete it and run snakemake again"
            ) from error
        if all(isinstance(facts.get(name), float | int) for name in SIDES):
            found.setdefault(tuple(float(facts[name]) for name in SIDES), path)
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise SpotmillError(
            f"{first} and {second}: have different shares; name the split to follow with --split"
        )
    for values in found:
        return Split.parse(dict(zip(SIDES, values, strict=True)), "splits")
    return Split.parse({}, "splits")
