"""Shards: many frames in one HDF5 file, in a NeXus layout that explains itself.

Layout (one place; every reader and writer of shards goes through this module)::

    /entry                          NXentry
        data/data                   [frame, ss, fs], chunked by frame, bitshuffle + LZ4
        frames/index                [frame] int64, the frame's identity within its dataset
        frames/...                  further columns, one value (or vector) a frame
        instrument/beam/photon_energy, incident_wavelength       (eV, angstrom)
        instrument/detector/distance, x_pixel_size, y_pixel_size (m), pixel_mask [ss, fs]
        instrument/detector/module_...                           a panel each (formats/nxmx.py)
        sample                                                   NXsample
    /entry/spotmill                 attributes: everything that made the file

Pixel (ss, fs) covers [fs, fs+1) x [ss, ss+1): CrystFEL's convention, centres at +0.5.

Every part carries a checksum that readers verify: chunks of data that of HDF5's fletcher32
filter, metadata those of HDF5's own later layout, the attributes of /entry/spotmill the
SHA-256 `header_sha256`. A byte that changes on disk is an error, never another image.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from spotmill import __version__
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.formats.hdf5_output import Output
from spotmill.formats.nxmx import describe_detector
from spotmill.physics.units import wavelength_from_photon_energy

DATA = "/entry/data/data"
FRAMES = "/entry/frames"
PROVENANCE = "/entry/spotmill"
MASK = "/entry/instrument/detector/pixel_mask"
DIGEST = "header_sha256"


@dataclass(frozen=True)
class Header:
    """What a shard holds and what made it.

    `parameters` maps the name of each concept (beam, crystal, detector, ...) to the text
    of its file or to its plain value; with `recipe`, `seed` and the identity of the
    frames they are all that the content depends on.
    """

    dataset: str
    content: str  # peaks, water, overlay, labels or blank
    kind: str  # crystal or empty
    photon_energy: float  # eV
    clen: float  # m
    pixel_size: float  # m
    recipe: int
    seed: int
    parameters: Mapping[str, Any]
    saturation: int | None = None  # photons; None where the detector states none
    version: str = __version__

    @property
    def count_dtype(self) -> Any:
        """Return the integer type that holds every count this detector can give."""
        small = self.saturation is not None and self.saturation <= np.iinfo(np.uint16).max
        return np.uint16 if small else np.uint32


@contextmanager
def write_shard(
    path: str | Path,
    header: Header,
    indices: NDArray[np.int64],
    shape: tuple[int, int],
    dtype: Any,
    mask: NDArray[np.bool_],
    columns: Mapping[str, NDArray[Any]] | None = None,
    units: Mapping[str, str] | None = None,
) -> Iterator["ShardWriter"]:
    """Open a shard for writing; it appears under `path` when the block ends without error.

    Parameters
    ----------
    indices
        [frame] identities, in the order in which frames will be put.
    shape
        (ss, fs) of one frame.
    mask
        [ss, fs], True where a pixel is live.
    columns
        Frame columns, each [frame, ...], stored under /entry/frames; set others with
        `ShardWriter.set_columns` before the block ends.
    """
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            writer = ShardWriter(file, output, header, indices, shape, dtype, mask)
            writer.set_columns(columns or {}, units or {})
            yield writer
            writer.finish()
        output.check()


def text(value: str) -> NDArray[np.bytes_]:
    """Return a text of fixed length, which HDF5 keeps where its checksums reach.

    Texts of variable length lie in a heap without one, where a byte that changes can make the
    library search without end.
    """
    raw = value.encode()
    return np.array(raw, dtype=h5py.string_dtype("utf-8", max(len(raw), 1)))


def put_scalar(group: h5py.Group, name: str, value: Any) -> h5py.Dataset:
    """Store a scalar within its object's header, whose checksum covers it."""
    array = np.asarray(value)
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    layout.set_obj_track_times(False)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, layout))
    dataset[()] = array
    return dataset


def header_digest(attributes: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the attributes of a shard's header, as hexadecimal digits."""
    plain = {key: attributes[key] for key in sorted(attributes) if key not in (DIGEST, "NX_class")}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


class ShardWriter:
    """Writes the frames of one shard, one by one, in the order of their indices."""

    def __init__(
        self,
        file: h5py.File,
        output: Output,
        header: Header,
        indices: NDArray[np.int64],
        shape: tuple[int, int],
        dtype: Any,
        mask: NDArray[np.bool_],
    ) -> None:
        self._file = file
        self._output = output
        self._indices = np.asarray(indices, dtype=np.int64)
        self._count = len(indices)
        self._done = 0
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = text("NXentry")
        put_scalar(entry, "definition", text("NXmx"))
        group = entry.create_group("data")
        group.attrs["NX_class"] = text("NXdata")
        group.attrs["signal"] = text("data")
        self._data = group.create_dataset(
            "data",
            shape=(self._count, *shape),
            dtype=dtype,
            chunks=(1, *shape),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
            fletcher32=True,
        )
        self._data.attrs["units"] = text("photons")
        frames = entry.create_group("frames")
        frames.attrs["NX_class"] = text("NXcollection")
        frames.create_dataset("index", data=self._indices, chunks=True, fletcher32=True)
        self._write_instrument(entry, header, mask)
        provenance = entry.create_group("spotmill")
        provenance.attrs["NX_class"] = text("NXcollection")
        values = {key: value for key, value in asdict(header).items() if value is not None}
        values["parameters"] = json.dumps(values["parameters"], sort_keys=True)
        values[DIGEST] = header_digest(values)
        for key, value in values.items():
            provenance.attrs[key] = text(value) if isinstance(value, str) else value

    def _write_instrument(self, entry: h5py.Group, header: Header, mask: NDArray[np.bool_]) -> None:
        sample = entry.create_group("sample")
        sample.attrs["NX_class"] = text("NXsample")
        put_scalar(sample, "name", text(header.dataset))
        put_scalar(sample, "depends_on", text("."))
        instrument = entry.create_group("instrument")
        instrument.attrs["NX_class"] = text("NXinstrument")
        beam = instrument.create_group("beam")
        beam.attrs["NX_class"] = text("NXbeam")
        energy = put_scalar(beam, "photon_energy", header.photon_energy)
        energy.attrs["units"] = text("eV")
        wavelength = put_scalar(
            beam, "incident_wavelength", wavelength_from_photon_energy(header.photon_energy)
        )
        wavelength.attrs["units"] = text("angstrom")
        detector = instrument.create_group("detector")
        detector.attrs["NX_class"] = text("NXdetector")
        for name, value in {
            "distance": header.clen,
            "x_pixel_size": header.pixel_size,
            "y_pixel_size": header.pixel_size,
        }.items():
            put_scalar(detector, name, value).attrs["units"] = text("m")
        if header.saturation is not None:
            put_scalar(detector, "saturation_value", header.saturation)
        describe_detector(entry, header.parameters, header.clen, header.photon_energy)
        # NXmx: 0 is a good pixel, bit 0 a gap.
        detector.create_dataset(
            "pixel_mask",
            data=np.where(mask, 0, 1).astype(np.uint32),
            chunks=mask.shape,
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
            fletcher32=True,
        )

    def put(self, index: int, image: NDArray[Any]) -> None:
        """Append the image [ss, fs] of one frame; frames come in the order of the indices."""
        if self._done >= self._count or self._indices[self._done] != index:
            raise ValueError(f"frame {index} is not the next frame of this shard")
        self._data[self._done] = image
        self._output.check()
        self._done += 1

    def set_columns(
        self, columns: Mapping[str, NDArray[Any]], units: Mapping[str, str] | None = None
    ) -> None:
        """Store frame columns, each [frame, ...], with their units."""
        for name, values in columns.items():
            if len(values) != self._count:
                raise ValueError(f"column {name} has {len(values)} values for {self._count} frames")
            dataset = self._file[FRAMES].create_dataset(
                name, data=values, chunks=True, fletcher32=True
            )
            if units and name in units:
                dataset.attrs["units"] = text(units[name])

    def finish(self) -> None:
        """Check that every frame was put."""
        if self._done != self._count:
            raise ValueError(f"only {self._done} of {self._count} frames were put")


def read_header(attributes: Mapping[str, Any]) -> Header:
    """Return the header that attributes hold.

    Raises
    ------
    KeyError, TypeError, ValueError
        When they are no header, or not as they were written.
    """
    values: dict[str, Any] = {
        key: value.decode() if isinstance(value, bytes) else value
        for key, value in attributes.items()
        if key != "NX_class"
    }
    for key in {"recipe", "seed", "saturation"} & values.keys():
        values[key] = int(values[key])
    for key in ("photon_energy", "clen", "pixel_size"):
        values[key] = float(values[key])
    # Shards of other writers may have none.
    if values.pop(DIGEST, None) not in (None, header_digest(values)):
        raise ValueError("the header is not as it was written")
    values["parameters"] = dict(json.loads(values["parameters"]))
    return Header(**values)


class Shard:
    """A shard opened for reading.

    Attributes
    ----------
    path : Path
    header : Header
    indices : [frame] int64
    mask : [ss, fs] bool, True where a pixel is live
    shape, dtype
        Of the whole stack [frame, ss, fs].
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise SpotmillError(f"{path}: no such shard; remake it (name it to snakemake)")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise self._broken("is not a whole HDF5 file") from error
        try:
            self.header = read_header(self._file[PROVENANCE].attrs)
            self.indices: NDArray[np.int64] = self._file[FRAMES]["index"][:]
            self._data = self._file[DATA]
            self.mask: NDArray[np.bool_] = self._file[MASK][:] == 0
            self._refuse_strangers()
            self.shape: tuple[int, int, int] = self._data.shape
            self.dtype = self._data.dtype
        except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            self._file.close()
            raise self._broken("lacks parts of a shard") from error
        if self.shape[0] != len(self.indices) or self.shape[1:] != self.mask.shape:
            self._file.close()
            raise self._broken(
                f"holds frames of {self.shape} for {len(self.indices)} indices"
                f" and a mask of {self.mask.shape}"
            )

    def _refuse_strangers(self) -> None:
        """Raise TypeError where data are no stack of frames, or lie in another file."""
        if not isinstance(self._data, h5py.Dataset) or self._data.ndim != 3:
            raise TypeError("data are no stack of frames")
        for name in (DATA, MASK, f"{FRAMES}/index"):
            part = self._file[name]
            if part.file.filename != self._file.filename or part.is_virtual or part.external:
                raise TypeError(f"{name} lies in another file")

    def parameter(self, name: str) -> Any:
        """Return one of the parameters that made the shard."""
        if name not in self.header.parameters:
            raise self._broken(f"does not say its {name}")
        return self.header.parameters[name]

    def _broken(self, what: str) -> SpotmillError:
        return SpotmillError(f"{self.path}: {what}; delete it and run snakemake again to remake it")

    def read(self, position: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return frame number `position` of the shard (not its index) as [ss, fs].

        With `out`, an array of the frame's shape and type, that is filled and returned.
        """
        image: NDArray[Any] = np.empty(self.shape[1:], self.dtype) if out is None else out
        try:
            self._data.read_direct(image, np.s_[position])
            return image
        except (OSError, RuntimeError) as error:
            raise self._broken(f"frame {position} cannot be decompressed") from error

    def column(self, name: str) -> NDArray[Any]:
        """Return a frame column as [frame, ...]."""
        try:
            return np.asarray(self._file[FRAMES][name][:])
        except (KeyError, TypeError, OSError, RuntimeError) as error:
            raise self._broken(f"lacks the frame column {name!r}") from error

    def columns(self) -> Sequence[str]:
        """Return the names of all frame columns."""
        return tuple(self._file[FRAMES])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        """Return the number of frames."""
        return int(self.shape[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_paired(first: Shard, second: Shard) -> None:
    """Raise SpotmillError unless two shards hold the same frames of the same dataset."""
    for name in ("dataset", "kind", "photon_energy", "clen", "pixel_size"):
        left, right = getattr(first.header, name), getattr(second.header, name)
        if left != right:
            raise SpotmillError(
                f"{first.path} and {second.path}: are not a pair, {name} is {left!r} and {right!r};"
                " remake the older one"
            )
    if not np.array_equal(first.indices, second.indices):
        raise SpotmillError(
            f"{first.path} and {second.path}: are not a pair, they hold frames "
            f"{span(first.indices)} and {span(second.indices)}; remake the older one"
        )
    if first.shape != second.shape:
        raise SpotmillError(
            f"{first.path} and {second.path}: are not a pair, their frames are "
            f"{first.shape[1:]} and {second.shape[1:]} pixels; remake the older one"
        )


def span(indices: NDArray[np.int64]) -> str:
    """Return frame indices in a few characters, for messages."""
    if len(indices) == 0:
        return "none"
    return f"{indices[0]}..{indices[-1]} ({len(indices)})"
