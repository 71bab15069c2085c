"""CXI files (format 1.6): many frames a file, with their true peaks, for CrystFEL and others.

Places and conventions are those of `inference.peak_file`, so that one geometry fits both::

    /cxi_version                                            160
    /entry_1/data_1/data            [frame, ss, fs] photons (data_2, ... for further kinds)
    /entry_1/data_1/mask            [ss, fs] 0: live, 1: not (also in detector_1)
    /entry_1/experiment_identifier  [frame] DATASET/INDEX
    /entry_1/instrument_1/source_1/energy, photon_energy    [frame] J (as the format asks), eV
    /entry_1/instrument_1/detector_1/distance               [frame] m
    /entry_1/instrument_1/detector_1/{x,y}_pixel_size       m
    /entry_1/result_1/nPeaks, peakXPosRaw, ...              true peaks
    /entry_1/frames/...             [frame] what is known of each frame
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.export.choice import Choice, Row
from spotmill.export.cxi_beside import FRAMES, SHIFTS, Beside, file_name, place_of_frame
from spotmill.export.folder import Step, Unit
from spotmill.export.reader import CRYSTAL, Reader
from spotmill.export.tables import frame_columns
from spotmill.formats.frames import Shard
from spotmill.formats.hdf5_output import Output
from spotmill.inference.peak_file import (
    BAD,
    CHUNK,
    COLUMNS,
    COMPRESSED,
    DATA,
    DISTANCE,
    HALF,
    MASK,
    PHOTON_ENERGY,
    RESULT,
)
from spotmill.physics.units import ELEMENTARY_CHARGE

FURTHER = "entry_1/data_{number}/data"
DETECTOR = "entry_1/instrument_1/detector_1"
ENERGY = "entry_1/instrument_1/source_1/energy"
GUIDE = """\
# CXI files

`DATASET_00000.cxi`, ...: images `/entry_1/data_1/data` [frame, ss, fs] in photons, true peaks
`/entry_1/result_1` (pixel centres are whole numbers), conditions of each frame
`/entry_1/frames`. `DATASET.geom` is their geometry for CrystFEL; `DATASET_train.lst` and so on
list the frames of one side of the split, `DATASET_hits.lst` the hits, as `FILE //EVENT`. Paths
in the lists are relative to this folder:

    indexamajig -i 01_test.lst -g 01.geom --peaks=cxi --indexing=asdf -p CELL -o 01.stream

`frames.csv` lists all frames, `spots.parquet` all true spots with their indices.
"""


class Cxi:
    """Lays frames out as CXI files, each of one dataset.

    Parameters
    ----------
    kinds
        Of overlay, peaks, labels and water; the first gives `data_1`.
    """

    def __init__(
        self, choice: Choice, reader: Reader, kinds: Sequence[str], size: int, compress: bool
    ) -> None:
        self.choice, self.reader = choice, reader
        self.kinds, self._size, self.compress = tuple(kinds), size, compress
        self._parts = {name: choice.of_dataset(name) for name in choice.datasets}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on besides the frames."""
        return {"frames_per_file": self._size, "compression": "gzip" if self.compress else "none"}

    def units(self) -> Sequence[Unit]:
        """Return one unit a file, and one for geometry and lists of a dataset."""
        units: list[Unit] = []
        for name, part in self._parts.items():
            starts = range(0, len(part), self._size)
            units += [
                File(self, part, file_name(name, number), first, min(self._size, len(part) - first))
                for number, first in enumerate(starts)
            ]
            units.append(Beside(part, self.reader, self._size))
        return units

    def bytes_of(self, row: Row) -> int:
        """Return the bytes of the images of one frame."""
        return sum(
            packed(self.reader.image(row, kind), self.compress)
            for kind in self.kinds
            if kind != "water"
        )

    def bytes_beside(self) -> int:
        """Return the bytes of what is not of single frames."""
        if "water" not in self.kinds:
            return 0
        total = 0
        for unit in self.units():
            if isinstance(unit, File):
                with Shard(self.choice.water(unit.dataset)) as water:
                    total += len(water) * packed(water.read(0), self.compress)
        return total

    def listed(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Yield every frame with its file and event."""
        for part in self._parts.values():
            for number, row in enumerate(part.rows()):
                file, event = place_of_frame(row.dataset, number, self._size)
                yield row, {"file": file, "event": event}

    def guide(self) -> str:
        """Return what readers must know."""
        return GUIDE

    def create(
        self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any
    ) -> h5py.Dataset:
        """Create a stack of images, a chunk each."""
        chunks = (1,) * (len(shape) - 2) + shape[-2:]
        how = COMPRESSED if self.compress else {}
        return above(file, name).create_dataset(name, shape, dtype, chunks=chunks, **how)


def above(file: h5py.File, name: str) -> h5py.File:
    """Return the file with the groups above a place made.

    Those that HDF5 makes itself keep the time of it, and two runs would write different bytes.
    """
    file.require_group(name.rpartition("/")[0])
    return file


def place_of(number: int) -> str:
    """Return where the images of a kind are, by its number from 0."""
    return FURTHER.format(number=number + 1) if number else DATA


def packed(image: NDArray[Any], compress: bool) -> int:
    """Return the bytes that an image takes in a file."""
    if not compress:
        return int(image.nbytes)
    with h5py.File("sample", "w", driver="core", backing_store=False) as file:
        sample = file.create_dataset("data", data=image, chunks=image.shape, **COMPRESSED)
        return int(sample.id.get_storage_size())


@dataclass(frozen=True)
class File:
    """One CXI file."""

    layout: Cxi
    part: Choice
    name: str
    first: int
    frames: int

    @property
    def dataset(self) -> str:
        """The dataset of all its frames."""
        return str(self.part.table["dataset"][0].as_py())

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write frame after frame."""
        path = folder / self.name
        with Output(path) as output:
            with h5py.File(output, "w", libver=("v110", "v110")) as file:
                file["cxi_version"] = 160
                self._fill(file, output, step)
            output.check()
        return [path]

    def _rows(self) -> Iterator[tuple[int, Row]]:
        return enumerate(self.part.rows(self.first, self.frames))

    def _fill(self, file: h5py.File, output: Output, step: Step) -> None:
        layout, reader = self.layout, self.layout.reader
        peaks = Result(file, [row.n_spots for _, row in self._rows()])
        stacks: dict[str, h5py.Dataset] = {}
        known: list[dict[str, Any]] = []
        crystals = []
        for number, row in self._rows():
            for kind in layout.kinds:
                if kind == "water":
                    continue
                image = reader.image(row, kind)
                if kind not in stacks:
                    stacks[kind] = self._stack(file, kind, (self.frames, *image.shape), image.dtype)
                stacks[kind][number] = image
            peaks.put(number, true_peaks(row, reader))
            known.append(frame_columns(row, reader))
            crystals.append(reader.crystals(row))
            output.check()
            step()
        if "water" in layout.kinds:
            self._water(file)
        self._instrument(file, known)
        self._frames(file, known, crystals)

    def _stack(
        self, file: h5py.File, kind: str, shape: tuple[int, ...], dtype: Any
    ) -> h5py.Dataset:
        place = place_of(self.layout.kinds.index(kind))
        stack = self.layout.create(file, place, shape, dtype)
        stack.attrs["content"] = kind
        if kind != "labels":
            stack.attrs["units"] = "photons"
        return stack

    def _water(self, file: h5py.File) -> None:
        with Shard(self.layout.choice.water(self.dataset)) as water:
            stack = self._stack(file, "water", water.shape, water.dtype)
            for position in range(len(water)):
                stack[position] = water.read(position)

    def _instrument(self, file: h5py.File, known: list[dict[str, Any]]) -> None:
        row = next(self.part.rows(self.first, 1))
        header, live = self.layout.reader.base(row).header, self.layout.reader.mask(row)
        photon_energy = np.array([own["photon_energy"] for own in known])
        for name, values, units in (
            (ENERGY, photon_energy * ELEMENTARY_CHARGE, "J"),
            (PHOTON_ENERGY, photon_energy, "eV"),
            (DISTANCE, np.array([own["clen"] for own in known]), "m"),
            (f"{DETECTOR}/x_pixel_size", header.pixel_size, "m"),
            (f"{DETECTOR}/y_pixel_size", header.pixel_size, "m"),
        ):
            above(file, name)[name] = values
            file[name].attrs["units"] = units
        mask = self.layout.create(file, MASK, live.shape, np.uint32)
        mask[:] = np.where(live, 0, BAD)
        if header.saturation is not None:
            file[f"{DETECTOR}/saturation_value"] = header.saturation
        file[f"{DETECTOR}/data"] = file[DATA]
        file[f"{DETECTOR}/mask"] = mask

    def _frames(
        self, file: h5py.File, known: list[dict[str, Any]], crystals: list[NDArray[np.float64]]
    ) -> None:
        file.require_group(FRAMES)
        names = [f"{own['dataset']}/{own['index']}" for own in known]
        file["/entry_1/experiment_identifier"] = np.array(names, "S")
        for name in known[0]:
            values = [own[name] for own in known]
            file[f"{FRAMES}/{name}"] = np.array(values, "S" if isinstance(values[0], str) else None)
        for name, beam in SHIFTS.items():
            file[f"{FRAMES}/{name}"] = 0.0 - file[f"{FRAMES}/{beam}"][:]
            file[f"{FRAMES}/{name}"].attrs["units"] = "m"
        most = max(part.shape[1] for part in crystals)
        first = 0
        for name, width in CRYSTAL.items():
            table = np.full((len(crystals), most, width), np.nan)
            for number, part in enumerate(crystals):
                table[number, : part.shape[1]] = part[first : first + width].T
            first += width
            if most:
                file[f"{FRAMES}/{name}"] = table


class Result:
    """The true peaks of a file's frames."""

    def __init__(self, file: h5py.File, counts: Sequence[int]) -> None:
        shape = (len(counts), max(1, *counts))
        chunks = tuple(np.minimum(CHUNK, shape).tolist())
        file.require_group(RESULT)
        self._columns = [
            file.create_dataset(f"{RESULT}/{name}", shape, np.float32, chunks=chunks, **COMPRESSED)
            for name in COLUMNS
        ]
        file[f"{RESULT}/nPeaks"] = np.array(counts, np.int64)
        file[RESULT].attrs["description"] = "true spots of at least min_photons drawn photons"

    def put(self, number: int, peaks: NDArray[np.float64]) -> None:
        """Write the peaks of a frame, [peak, column]."""
        for dataset, column in zip(self._columns, peaks.T, strict=True):
            dataset[number, : len(peaks)] = column.astype(np.float32)


def true_peaks(row: Row, reader: Reader) -> NDArray[np.float64]:
    """Return the spots that count towards `n_spots`, the strongest first.

    As [peak, column] with the columns of `inference.peak_file`: positions count from the centre
    of the first pixel, and the probability is 1.

    Raises
    ------
    SpotmillError
        When there are others than the manifest says.
    """
    spots = reader.spots(row)
    photons = spots["photons"].astype(np.float64)
    order = np.argsort(-photons, kind="stable")
    order = order[photons[order] >= reader.least(row)]
    if len(order) != row.n_spots:
        raise SpotmillError(
            f"{row.truth}: has {len(order)} spots of frame {row.index} of dataset {row.dataset}, "
            f"the manifest {row.n_spots}; remake the manifest"
        )
    columns = (spots["fs"] - HALF, spots["ss"] - HALF, photons, np.ones(len(photons)))
    return np.stack(columns, axis=1)[order]
