"""Virtual overlays: shards without images, which draw a frame when it is read.

Under the name of a stored shard they carry its header, indices, mask and the frame columns
that are known before a frame is drawn, and in the header's parameter `virtual` the files
that a frame is drawn from, relative to the shard, with their SHA-256. They have no
/entry/data: h5py and CrystFEL find no image there.
"""

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.formats.digests import file_digest
from spotmill.formats.frames import (
    DATA,
    FRAMES,
    MASK,
    PROVENANCE,
    Header,
    Shard,
    ShardWriter,
    read_header,
)
from spotmill.formats.hdf5_output import Output
from spotmill.model import Model, parse_yaml
from spotmill.overlays.drawing import Drawing
from spotmill.overlays.stored import DRAWN, UNITS, write_stored
from spotmill.randomise import Randomise
from spotmill.recipes import RECIPES

VIRTUAL = "virtual"
NOTE = (
    "holds no images: spotmill draws them when it reads this file; "
    "for other programs run spotmill materialise"
)
# Tables for drawing kept at once, one a background; each takes 70 MB of 4.2 million pixels.
DRAWINGS = 10


class Source(Model):
    """A file that frames are drawn from."""

    path: str = Field(min_length=1, description="relative to the shard")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file")


class Sources(Model):
    """What the frames of a virtual shard are drawn from."""

    water: Source = Field(description="expected background, or stack of blanks")
    peaks: Source | None = Field(None, description="none for empty frames")


def state_digest(path: Path) -> str:
    """Return the SHA-256 of a file, computed once while size and time stay as they are.

    Raises
    ------
    SpotmillError
        When it cannot be read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise SpotmillError(f"{path}: no such shard; remake it (name it to snakemake)") from error
    return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, *state: int) -> str:
    return file_digest(path)


def source_of(shard: Shard, folder: Path) -> Source:
    """Return where a shard lies, seen from a folder, and what it holds."""
    name = Path(os.path.relpath(shard.path, folder)).as_posix()
    return Source(path=name, sha256=state_digest(shard.path))


def write_virtual(
    path: str | Path,
    header: Header,
    indices: NDArray[np.int64],
    drawing: Drawing,
    peaks: Shard | None,
) -> None:
    """Write what draws the frames; the peaks hold the same frames in the same order."""
    water, folder = drawing.water, Path(path).parent
    sources = Sources(
        water=source_of(water, folder), peaks=source_of(peaks, folder) if peaks else None
    )
    parameters = {**header.parameters, VIRTUAL: sources.model_dump(exclude_none=True)}
    header = replace(header, parameters=parameters)
    shape, mask = (water.shape[1], water.shape[2]), water.mask
    with atomic(path) as temporary, Output(temporary) as output:
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            writer = ShardWriter(file, output, header, indices, shape, drawing.dtype, mask)
            del file[Path(DATA).parent.as_posix()]
            file["/entry"].attrs[VIRTUAL] = NOTE
            writer.set_columns(drawing.columns(indices, peaks), UNITS)
        output.check()


class VirtualShard(Shard):
    """A shard whose images are drawn when they are read, bit for bit as if they were stored.

    Frames may be read in any order, by one thread at a time.

    Raises
    ------
    SpotmillError
        When the file is broken, or a file that it draws from is absent or changed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise self._broken("is not a whole HDF5 file") from error
        try:
            self.header = read_header(self._file[PROVENANCE].attrs)
            self.indices = self._file[FRAMES]["index"][:]
            self.mask = self._file[MASK][:] == 0
            self.shape = (len(self.indices), *self.mask.shape)
            self.dtype = np.dtype(self.header.count_dtype)
            sources = Sources.model_validate(self.header.parameters[VIRTUAL])
        except (KeyError, TypeError, ValueError, OSError, RuntimeError, ValidationError) as error:
            self._file.close()
            raise self._broken("lacks parts of a virtual shard") from error
        if self.header.recipe != RECIPES["overlay"]:
            self._file.close()
            raise self._broken(
                f"is to be drawn by recipe {self.header.recipe}, this version of spotmill draws "
                f"by {RECIPES['overlay']}"
            )
        self._counted: dict[int, tuple[int, int]] = {}
        self._peaks: Shard | None = None
        try:
            self._water = self._unchanged(sources.water)
            if sources.peaks:
                self._peaks = Shard(self._unchanged(sources.peaks))
                if not np.array_equal(self._peaks.indices, self.indices):
                    raise self._broken(f"does not hold the frames of {self._peaks.path}")
        except SpotmillError:
            self.close()
            raise

    def _unchanged(self, source: Source) -> Path:
        """Return the path of a source; raise SpotmillError where it is not the one of then."""
        path = self.path.parent / source.path
        if state_digest(path) != source.sha256:
            raise self._broken(f"draws from {path}, which has changed since")
        return path

    @property
    def drawing(self) -> Drawing:
        """What draws the frames."""
        return _drawing(
            self._water,
            state_digest(self._water),
            self.header.parameters.get("randomise", "{}"),
            self.header.seed,
        )

    def read(self, position: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw frame number `position` of the shard (not its index) as [ss, fs].

        With `out`, an array of the frame's shape and type, that is filled and returned.
        """
        drawn = self.drawing.draw(int(self.indices[position]), self._peaks, position)
        self._counted[position] = drawn.background_photons, drawn.artefacts
        image: NDArray[Any] = np.empty(self.shape[1:], self.dtype) if out is None else out
        image[...] = drawn.image
        return image

    def column(self, name: str) -> NDArray[Any]:
        """Return a frame column as [frame, ...]; two of them draw every frame once."""
        if name not in DRAWN:
            return super().column(name)
        for position in range(len(self)):
            if position not in self._counted:
                self.read(position)
        place = DRAWN.index(name)
        counts = [self._counted[position][place] for position in range(len(self))]
        return np.array(counts, dtype=np.int64)

    def columns(self) -> tuple[str, ...]:
        """Return the names of all frame columns."""
        return tuple(sorted((*super().columns(), *DRAWN)))

    def materialise(self, path: str | Path) -> None:
        """Write the stored shard: the bytes that it would have had from the first."""
        parameters = {k: v for k, v in self.header.parameters.items() if k != VIRTUAL}
        header = replace(self.header, parameters=parameters)
        write_stored(path, header, self.indices, self.drawing, self._peaks)

    def close(self) -> None:
        """Close the file and its peaks."""
        super().close()
        if self._peaks is not None:
            self._peaks.close()


@lru_cache(maxsize=DRAWINGS)
def _drawing(water: Path, sha256: str, randomise: str, seed: int) -> Drawing:
    """Return what draws from a background; the shards of a dataset share its tables."""
    source = f"{water} (randomise of its overlays)"
    return Drawing(Shard(water), Randomise.parse(parse_yaml(randomise, source), source), seed)
