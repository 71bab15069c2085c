"""Shards in the WebDataset convention: tar files whose members of one name are one sample.

A sample `DATASET-INDEX` has `overlay.npy`, `peaks.npy`, `labels.npy` (images [ss, fs], those
asked for), `spots.npy` and `crystals.npy` (truth, [column, spot] and [column, crystal]),
`hit.cls` (1 or 0) and `json` (identity, side, conditions). A tar holds frames of one side
of the split alone, in an order that a hash of their identity draws. Tars are the same bytes
in every run: members have no times, owners or groups.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spotmill.export.choice import Choice, Row
from spotmill.export.folder import Step, Unit
from spotmill.export.paper import put
from spotmill.export.reader import CRYSTAL, NUMBERS, Reader
from spotmill.export.tables import frame_columns
from spotmill.formats.frames import Shard
from spotmill.splits import SIDES

BLOCK = tarfile.BLOCKSIZE
# Level of gzip: higher ones cost much time and gain little on photon counts.
LEVEL = 1
SPOT_COLUMNS = NUMBERS
CRYSTAL_COLUMNS = tuple(
    name if width == 1 else f"{name}_{axis}"
    for name, width in CRYSTAL.items()
    for axis in ("wxyz" if width == 4 else "xyz"[:width])
)
GUIDE = """\
# WebDataset shards

`train-000000.tar`, `validation-…`, `test-…`: a tar has frames of one side of the split alone.

```python
import webdataset as wds

frames = wds.WebDataset("train-{000000..LAST}.tar", shardshuffle=100)
frames = frames.shuffle(100).decode().to_tuple("overlay.npyGZ", "hit.cls", "spots.npy", "json")
for photons, hit, spots, facts in frames:  # photons [ss, fs], hit 0 or 1
    ...
```

`spots.npy` is [column, spot] float64 with the columns
SPOTS;
positions in pixels (pixel n covers n to n + 1). `crystals.npy` is [column, crystal] float64 with
CRYSTALS
(reciprocal axes in 1/Å without 2 pi, sizes in m, mosaicity in degrees).
`masks/DATASET.npy` has True where a pixel is live; `frames.csv` lists all frames.
"""


class WebDataset:
    """Lays frames out as tar files.

    Parameters
    ----------
    kinds
        Images of each sample, of overlay, peaks and labels; `water` is written beside.
    """

    def __init__(
        self, choice: Choice, reader: Reader, kinds: Sequence[str], size: int, compress: bool
    ) -> None:
        self.choice, self.reader = choice, reader
        self.kinds = tuple(kind for kind in kinds if kind != "water")
        self._water, self._size, self._compress = "water" in kinds, size, compress
        self._sides = {side: shuffled(choice, side) for side in SIDES}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on besides the frames."""
        return {
            "frames_per_file": self._size,
            "compression": "gzip" if self._compress else "none",
            "spots": list(SPOT_COLUMNS),
            "crystals": list(CRYSTAL_COLUMNS),
        }

    def units(self) -> Sequence[Unit]:
        """Return one unit a tar, and one for what lies beside them."""
        tars = [
            Tar(self, part, tar_name(side, number), first, min(self._size, len(part) - first))
            for side, part in self._sides.items()
            for number, first in enumerate(range(0, len(part), self._size))
        ]
        return [*tars, Beside(self, self._water)]

    def bytes_of(self, row: Row) -> int:
        """Return the bytes of a sample."""
        return sum(BLOCK + len(raw) + -len(raw) % BLOCK for _, raw in self.members(row))

    def bytes_beside(self) -> int:
        """Return the bytes of what is not of single frames."""
        total = 0
        for name in self.choice.datasets:
            row = next(self.choice.of_dataset(name).rows(0, 1))
            total += self.reader.mask(row).size
            if self._water:
                with Shard(self.choice.water(name)) as water:
                    total += len(water) * water.shape[1] * water.shape[2] * water.dtype.itemsize
        return total

    def listed(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Yield every frame with its tar and the key of its sample."""
        for side, part in self._sides.items():
            for number, row in enumerate(part.rows()):
                yield row, {"file": tar_name(side, number // self._size), "key": key(row)}

    def guide(self) -> str:
        """Return what readers must know."""
        lasts = [max(0, -(-len(part) // self._size) - 1) for part in self._sides.values()]
        text = GUIDE.replace("LAST", f"{lasts[0]:06d}").replace("npyGZ", f"npy{self._suffix}")
        first = self.kinds[0] if self.kinds else "overlay"
        text = text.replace('"overlay.npy', f'"{first}.npy')
        for word, columns in (("SPOTS", SPOT_COLUMNS), ("CRYSTALS", CRYSTAL_COLUMNS)):
            text = text.replace(word, ", ".join(columns))
        return text

    @property
    def _suffix(self) -> str:
        return ".gz" if self._compress else ""

    def members(self, row: Row) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each member of a sample."""
        reader = self.reader
        for kind in self.kinds:
            raw = npy(reader.image(row, kind))
            if self._compress:
                raw = gzip.compress(raw, LEVEL, mtime=0)
            yield f"{kind}.npy{self._suffix}", raw
        spots = reader.spots(row)
        columns = [np.asarray(spots[name], np.float64) for name in SPOT_COLUMNS]
        yield "spots.npy", npy(np.stack(columns))
        yield "crystals.npy", npy(reader.crystals(row))
        yield "hit.cls", b"1" if row.is_hit else b"0"
        header = reader.base(row).header
        facts = frame_columns(row, reader) | {"pixel_size": header.pixel_size}
        yield "json", json.dumps(facts, sort_keys=True).encode()


def key(row: Row) -> str:
    """Return the name of a sample; it has no dot, at which readers split names."""
    return f"{row.dataset}-{row.index:08d}"


def tar_name(side: str, number: int) -> str:
    """Return the name of a tar; programs know the side from its first word."""
    return f"{side}-{number:06d}.tar"


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as an NPY file."""
    store = io.BytesIO()
    np.lib.format.write_array(store, np.ascontiguousarray(array), allow_pickle=False)
    return store.getvalue()


def shuffled(choice: Choice, side: str) -> Choice:
    """Return the frames of a side in an order that depends on their identities alone."""
    part = choice.where([name == side for name in choice.table["split"].to_pylist()])
    names, indices = part.table["dataset"].to_pylist(), part.table["index"].to_pylist()
    draws = [
        hashlib.blake2b(f"order/{name}/{index}".encode(), digest_size=8).digest()
        for name, index in zip(names, indices, strict=True)
    ]
    order = sorted(range(len(draws)), key=draws.__getitem__)
    table = part.table.take(pa.array(order, pa.int64()))
    return Choice(choice.results, table, choice.conditions, choice.sides)


@dataclass(frozen=True)
class Tar:
    """One tar file."""

    layout: WebDataset
    part: Choice
    name: str
    first: int
    frames: int

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write sample after sample."""
        path = folder / self.name
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in self.part.rows(self.first, self.frames):
                for member, raw in self.layout.members(row):
                    # Without time, owner and group: the same bytes wherever it is made.
                    entry = tarfile.TarInfo(f"{key(row)}.{member}")
                    entry.size, entry.mode = len(raw), 0o644
                    tar.addfile(entry, io.BytesIO(raw))
                step()
        return [path]


@dataclass(frozen=True)
class Beside:
    """Masks of the datasets, their geometry where there is one, and expected backgrounds."""

    layout: WebDataset
    water: bool
    name: str = "beside"
    frames: int = 0

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write a file each."""
        files = []
        choice, reader = self.layout.choice, self.layout.reader
        for name in choice.datasets:
            row = next(choice.of_dataset(name).rows(0, 1))
            files.append(folder / f"masks/{name}.npy")
            put(files[-1], npy(reader.mask(row)))
            if self.water:
                files.append(folder / f"water/{name}.npy")
                with Shard(choice.water(name)) as shard:
                    put(files[-1], npy(np.stack([shard.read(n) for n in range(len(shard))])))
            if choice.geometry(name).is_file():
                files.append(folder / f"geometry/{name}.geom")
                put(files[-1], choice.geometry(name).read_bytes())
        step(0)
        return files
