"""Pictures of the newest frames, and what is known of them."""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.errors import SpotmillError
from spotmill.report.names import frame_name
from spotmill.serve.scan import ShardFile

SMALL, LARGE = 360, 1400  # pixels across
MOST_BYTES = 24 << 20  # of pictures kept
MOST_KNOWN = 400  # shards whose frames are remembered
MOST_FRAMES = 12


@dataclass(frozen=True)
class ShownFrame:
    """A frame; None where nobody knows."""

    dataset: str
    shard: str
    position: int
    count: int
    index: int
    kind: str
    photon_energy: float
    clen: float
    version: str
    n_spots: int | None = None
    bragg_photons: int | None = None
    is_hit: bool | None = None

    @property
    def name(self) -> str:
        """What to call the frame, as in the report."""
        return frame_name(self.index)

    @property
    def words(self) -> str:
        """What is true of the frame, in words."""
        if self.kind == "empty":
            return "no crystal"
        if self.n_spots is None:
            return "truth not there yet"
        hit = "hit" if self.is_hit else "no hit"
        spots = "spot" if self.n_spots == 1 else "spots"
        return f"{hit}, {self.n_spots} {spots}, {self.bragg_photons:,} Bragg photons"


class FramePictures:
    """Reads frames of shards one at a time, and keeps a bounded number of their pictures."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._reading = threading.Lock()
        self._pictures: OrderedDict[tuple[Any, ...], tuple[bytes, int]] = OrderedDict()
        self._bytes = 0
        self._known: OrderedDict[tuple[Path, int], list[ShownFrame]] = OrderedDict()

    def newest(self, shards: tuple[ShardFile, ...]) -> list[ShownFrame]:
        """Return frames of the newest shards, a few of each where the shards are few."""
        if not shards:
            return []
        every = [frames for frames in map(self.frames, shards) if frames]
        share = -(-MOST_FRAMES // max(len(every), 1))
        return [frame for frames in every for frame in frames[:share]][:MOST_FRAMES]

    def frames(self, shard: ShardFile) -> list[ShownFrame]:
        """Return all frames of a shard; none where it cannot be read (or no longer)."""
        key = (shard.path, shard.changed)
        with self._reading:
            known = self._known.get(key)
            if known is None or any(
                frame.kind == "crystal" and frame.n_spots is None for frame in known
            ):
                known = self._known[key] = self._read(shard)
                self._known.move_to_end(key)
                while len(self._known) > MOST_KNOWN:
                    self._known.popitem(last=False)
            return known

    def _read(self, shard: ShardFile) -> list[ShownFrame]:
        from spotmill.formats.frames import FRAMES, PROVENANCE, read_header
        from spotmill.overlays.opener import h5py

        try:
            # Its header alone: a virtual shard need not be drawn for that.
            with h5py.File(shard.path, "r") as file:
                header = read_header(file[PROVENANCE].attrs)
                indices = [int(index) for index in file[FRAMES]["index"][:]]
        except (OSError, KeyError, TypeError, ValueError, RuntimeError):
            return []
        truth = self._truth(shard)
        version = f"{shard.changed:x}"
        return [
            ShownFrame(
                shard.dataset,
                shard.name,
                position,
                len(indices),
                index,
                header.kind,
                header.photon_energy,
                header.clen,
                version,
                *truth.get(index, (None, None, None)),
            )
            for position, index in enumerate(indices)
        ]

    def _truth(self, shard: ShardFile) -> dict[int, tuple[int, int, bool]]:
        path = self._root / "truth" / shard.dataset / f"{shard.name}.frames.parquet"
        names = ["index", "n_spots", "photons", "is_hit"]
        try:
            table = pq.read_table(path, columns=names, use_threads=False, partitioning=None)
            rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
            return {int(at): (int(n), round(photons), bool(hit)) for at, n, photons, hit in rows}
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            return {}

    def picture(self, shard: ShardFile, position: int, pixels: int) -> tuple[bytes, int]:
        """Return a frame as PNG of at most so many pixels across, and the photons in it.

        Raises
        ------
        SpotmillError
            When the shard, or what it draws from, cannot be read.
        """
        key = (shard.path, shard.changed, position, pixels)
        with self._reading:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
            made = draw(shard.path, position, pixels)
            self._pictures[key] = made
            self._bytes += len(made[0])
            while self._bytes > MOST_BYTES:
                _, (old, _) = self._pictures.popitem(last=False)
                self._bytes -= len(old)
            return made


def draw(path: Path, position: int, pixels: int) -> tuple[bytes, int]:
    """Return a frame as PNG, reduced by maximum to at most so many pixels across, and its photons.

    Raises
    ------
    SpotmillError
        When the shard holds no such frame or cannot be read.
    """
    # Not before somebody looks at a frame.
    import numpy as np
    from matplotlib.image import imsave

    from spotmill.overlays.opener import open_overlay
    from spotmill.report.pictures import STEPS, levels, max_pool, pool_factor, scale

    with open_overlay(path) as shard:
        if position >= len(shard):
            raise SpotmillError(f"{path}: holds {len(shard)} frames; ask for another")
        image, mask = shard.read(position), shard.mask
    photons = int(image.sum(where=mask, dtype=np.int64))
    steps = levels(*max_pool(image, mask, pool_factor(image.shape, pixels)))
    colours = scale()
    codes = np.round(255 * colours(np.arange(len(STEPS)))).astype(np.uint8)
    table = np.vstack([codes, np.round(255 * np.asarray(colours.get_bad())).astype(np.uint8)])
    buffer = io.BytesIO()
    imsave(buffer, table[steps.filled(len(STEPS))], format="png")
    return buffer.getvalue(), photons


@cache
def legend() -> list[tuple[str, str]]:
    """Return the steps of the scale with their colours."""
    from matplotlib.colors import to_hex

    from spotmill.report.pictures import STEP_NAMES, scale

    return [(name, to_hex(scale()(number))) for number, name in enumerate(STEP_NAMES)]
