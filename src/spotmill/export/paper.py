"""The tree of Everett & Kurth (2024): one HDF5 file a frame and kind.

    images/{peaks,labels,peaks_water_overlay,water}/01/01_6keV_clen01_000001.h5

A file has one image, `/entry/data/data` [ss, fs] float32, and the attributes `clen` (m),
`photon_energy` (eV) and `peak` on its root, as their programs read and write them
(github.com/adamkurth/cxls_hitfinder, `cnn/src/pkg`). docs/export.md lists the differences.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.export.choice import Choice, Row
from spotmill.export.folder import Step, Unit
from spotmill.export.reader import Reader
from spotmill.formats.frames import Shard

FOLDERS = {
    "peaks": "peaks",
    "labels": "labels",
    "overlay": "peaks_water_overlay",
    "water": "water",
}
# Camera lengths of the paper (m) and their numbers in names.
PAPER_CLENS = {0.15: 1, 0.25: 2, 0.35: 3}
DATA = "entry/data/data"
# Integers up to here are exact in float32.
LARGEST = 2**24
GUIDE = """\
# One file a frame: `images/{peaks,labels,peaks_water_overlay,water}/DATASET/NAME.h5`

```python
import h5py
import numpy as np

with h5py.File(path, "r") as file:
    image = np.array(file["entry/data/data"])  # [ss, fs] float32, photons
    clen = file.attrs["clen"]  # m
    photon_energy = file.attrs["photon_energy"]  # eV
    peak = file.attrs["peak"]  # whether the frame is a hit
```

Files of one frame have the same name in every folder (`--names figure`): join them by name, never
by the order of a listing. `frames.csv` lists all frames with their side of the split,
`spots.parquet` the true spots.
"""


class Paper:
    """Lays frames out as the paper's tree.

    Parameters
    ----------
    kinds
        Of `FOLDERS`.
    names
        `figure`: as the paper's figure 6 has them, the same in every folder; `code`: as the
        paper's programs write and look for them (`overlay_img_6keV_clen01_00001.h5`).
    """

    def __init__(
        self, choice: Choice, reader: Reader, kinds: Sequence[str], names: str, compress: bool
    ) -> None:
        self.choice, self.reader = choice, reader
        self._kinds, self._names, self._compress = tuple(kinds), names, compress
        self.clens = clen_numbers({clen for _, clen in choice.conditions.values()})

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on besides the frames."""
        numbers = {f"clen{number:02d}": clen for clen, number in sorted(self.clens.items())}
        compression = "gzip" if self._compress else "none"
        return {"names": self._names, "compression": compression, "clens": numbers}

    def units(self) -> Sequence[Unit]:
        """Return one unit a shard, and one for the backgrounds of each dataset."""
        units: list[Unit] = []
        if "water" in self._kinds:
            units += [Water(self, name) for name in self.choice.datasets]
        frames = [kind for kind in self._kinds if kind != "water"]
        if not frames:
            return units
        table = self.choice.table.select(["dataset", "shard"]).to_pydict()
        shards = list(zip(table["dataset"], table["shard"], strict=True))
        first = 0
        for row in range(1, len(shards) + 1):
            if row == len(shards) or shards[row] != shards[first]:
                name = f"{'/'.join(shards[first])} from {first}"
                units.append(Frames(self, name, frames, first, row - first))
                first = row
        return units

    def bytes_of(self, row: Row) -> int:
        """Return the bytes of all files of one frame."""
        return sum(
            len(self.encoded(row, self.reader.image(row, kind)))
            for kind in self._kinds
            if kind != "water"
        )

    def bytes_beside(self) -> int:
        """Return the bytes of what is not of single frames."""
        if "water" not in self._kinds:
            return 0
        total = 0
        for name in self.choice.datasets:
            with Shard(self.choice.water(name)) as water:
                total += len(water) * len(self.file_of(exact(water.read(0), name), {}))
        return total

    def listed(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Yield every frame with the names of its files."""
        for row in self.choice.rows():
            files = {
                f"{kind}_file": self.file(row, kind) for kind in self._kinds if kind != "water"
            }
            yield row, files

    def guide(self) -> str:
        """Return what readers must know."""
        return GUIDE

    def file(self, row: Row, kind: str) -> str:
        """Return the file of a frame, below the exported folder."""
        return f"images/{FOLDERS[kind]}/{row.dataset}/{self._name(row, kind)}.h5"

    def condition(self, dataset: str) -> str:
        """Return the part of names that says photon energy and camera length of a dataset."""
        photon_energy, clen = self.choice.conditions[dataset]
        return f"{photon_energy / 1000:g}keV_clen{self.clens[clen]:02d}"

    def _name(self, row: Row, kind: str) -> str:
        empty = row.kind == "empty"
        number = row.index + 1 - (FIRST_EMPTY if empty else 0)
        if self._names == "figure":
            start = "empty_" if empty else ""
            return f"{start}{row.dataset}_{self.condition(row.dataset)}_{number:06d}"
        word = {"peaks": "peak", "labels": "label", "overlay": "overlay"}[kind]
        if empty:
            return f"empty_{word}_{row.dataset}_{number:05d}"
        start = "" if kind == "peaks" else f"{word}_"
        return f"{start}img_{self.condition(row.dataset)}_{number:05d}"

    def water_file(self, dataset: str, number: int) -> str:
        """Return the file of a background, below the exported folder."""
        name = f"{dataset}_{self.condition(dataset)}_{number:06d}"
        if self._names == "code":
            name = f"water_{self.condition(dataset)}_{number:05d}"
        return f"images/{FOLDERS['water']}/{dataset}/{name}.h5"

    def encoded(self, row: Row, image: NDArray[Any]) -> bytes:
        """Return the file of an image of a frame."""
        own = self.reader.conditions(row)
        attributes: dict[str, Any] = {
            "clen": np.float64(own["clen"]),
            "photon_energy": energy(own["photon_energy"]),
            "peak": np.bool_(row.is_hit),
            "dataset": row.dataset,
            "index": np.int64(row.index),
            "split": row.split,
        }
        return self.file_of(exact(image, row.name), attributes)

    def file_of(self, image: NDArray[np.float32], attributes: dict[str, Any]) -> bytes:
        """Return an HDF5 file with one image."""
        store = io.BytesIO()
        how = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": image.shape}
        with h5py.File(store, "w") as file:
            file.create_dataset(DATA, data=image, **(how if self._compress else {}))
            for name, value in attributes.items():
                file.attrs[name] = value
        return store.getvalue()


@dataclass(frozen=True)
class Frames:
    """The frames of one shard."""

    layout: Paper
    name: str
    kinds: Sequence[str]
    first: int
    frames: int

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write a file a frame and kind."""
        files = []
        for row in self.layout.choice.rows(self.first, self.frames):
            for kind in self.kinds:
                image = self.layout.reader.image(row, kind)
                files.append(folder / self.layout.file(row, kind))
                put(files[-1], self.layout.encoded(row, image))
            step()
        return files


@dataclass(frozen=True)
class Water:
    """The expected background of a dataset, or the blank frames that it was measured on."""

    layout: Paper
    dataset: str
    frames: int = 0

    @property
    def name(self) -> str:
        """A name that no shard has."""
        return f"{self.dataset}/water image"

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write a file an image."""
        files = []
        photon_energy, clen = self.layout.choice.conditions[self.dataset]
        attributes = {
            "clen": np.float64(clen),
            "photon_energy": energy(photon_energy),
            "peak": np.bool_(False),
            "dataset": self.dataset,
        }
        with Shard(self.layout.choice.water(self.dataset)) as water:
            for position in range(len(water)):
                files.append(folder / self.layout.water_file(self.dataset, position + 1))
                image = exact(water.read(position), f"{water.path}")
                put(files[-1], self.layout.file_of(image, attributes))
        step(0)
        return files


def put(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def clen_numbers(clens: set[float]) -> dict[float, int]:
    """Return the number of each camera length: those of the paper, else their rank."""
    if clens <= PAPER_CLENS.keys():
        return {clen: PAPER_CLENS[clen] for clen in clens}
    return {clen: number for number, clen in enumerate(sorted(clens), start=1)}


def energy(photon_energy: float) -> np.generic:
    """Return a photon energy in the type that the paper's files have, where it is whole."""
    whole = photon_energy == int(photon_energy) and photon_energy < 2**31
    return np.int32(photon_energy) if whole else np.float64(photon_energy)


def exact(image: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return an image as float32; raise SpotmillError where that would change a count."""
    if image.dtype.kind in "iu" and image.size and int(image.max()) > LARGEST:
        raise SpotmillError(
            f"{name}: has a pixel of {int(image.max())} photons, which float32 cannot hold; "
            "export it as cxi or webdataset"
        )
    return image.astype(np.float32)
