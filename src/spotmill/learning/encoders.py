"""What is made of a frame before it enters a network, kept small enough to stay in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spotmill.errors import SpotmillError
from spotmill.formats.geom import read_geometry
from spotmill.learning.frames import Images
from spotmill.learning.streams import Encoded, Stream
from spotmill.physics.geometry import Detector, pixel_positions
from spotmill.progress import track
from spotmill.tasks import Input

# Encoded frames kept in memory by one data set; further ones are read anew in every epoch.
KEPT_BYTES = 1_000_000_000


class Encoder(Protocol):
    """Turns a frame into what a network reads, in two steps."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what a network reads of one frame."""

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return the compact form of an image [ss, fs], computed once a frame."""

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return the tensor [n, ...] of n compact forms, made at every step."""


@dataclass(frozen=True)
class View:
    """The detector as encoders see it."""

    detector: Detector

    @property
    def shape(self) -> tuple[int, int]:
        """(ss, fs) of one frame."""
        return self.detector.shape

    @cached_property
    def radius(self) -> NDArray[np.float32]:
        """Distance of every pixel's centre from the beam across it, [ss, fs] in pixels.

        It depends on neither the camera length nor the photon energy, so it can tell a
        model neither. NaN where there is no panel.
        """
        radius = np.full(self.shape, np.nan, dtype=np.float32)
        for panel in self.detector.panels:
            place = pixel_positions(panel)
            radius[panel.slab] = np.hypot(place[..., 0], place[..., 1]) / self.detector.pixel_size
        return radius


def read_view(path: str | Path, shape: tuple[int, ...], clen: float, photon_energy: float) -> View:
    """Read the view of a detector from its geometry file and check it against frames' shape.

    Raises
    ------
    SpotmillError
        When the geometry describes frames of another shape.
    """
    detector = read_geometry(path).detector(clen=clen, photon_energy=photon_energy)
    if detector.shape != tuple(shape):
        raise SpotmillError(
            f"{path}: describes frames of {detector.shape} pixels, the shards hold {tuple(shape)}; "
            "give the geometry that made them"
        )
    return View(detector)


class WholeFrame:
    """A whole frame of photons [1, ss, fs], kept as the list of its pixels that are not 0.

    At these fluxes 1 to 8 % of the pixels hold photons, so 540 frames of 4.5 megapixels take
    0.2 GB instead of 10.
    """

    def __init__(self, task_input: Input, view: View) -> None:
        self._bin = task_input.sum_bin
        self._size = tuple(-(-side // self._bin) for side in view.shape)
        self.shape = (1, *self._size)

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return pixel numbers and photons of the (binned) pixels that are not 0."""
        flat = np.flatnonzero((image != 0) & mask)
        photons = image.ravel()[flat]
        if self._bin > 1:
            ss, fs = np.divmod(flat, image.shape[1])
            binned = (ss // self._bin) * self._size[1] + fs // self._bin
            flat, photons = sum_equal(binned, photons)
        return flat.astype(np.int32), photons.astype(np.float32)

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return dense frames [n, 1, ss, fs]."""
        # One array for all: stacking frame by frame would write every pixel twice.
        frames = np.zeros((len(encoded), self._size[0] * self._size[1]), dtype=np.float32)
        for frame, (pixels, photons) in zip(frames, encoded, strict=True):
            frame[pixels] = photons
        return torch.from_numpy(frames).view(len(encoded), *self.shape)


def stack(encoded: Sequence[Encoded]) -> Tensor:
    """Return arrays that are already what a network reads, stacked."""
    return torch.from_numpy(np.stack([arrays[0] for arrays in encoded]))


def sum_equal(
    keys: NDArray[np.int64], values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the distinct keys and the sums of the values under each."""
    distinct, where = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(where, weights=values.astype(np.float64))


class EncodedFrames(Dataset[tuple[Tensor, Tensor]]):
    """Encoded images with their classes, as torch's loaders want them.

    Parameters
    ----------
    images
        Where frames come from.
    truth
        [n] int64, number of the class of each; or float64, its value.
    workers
        Processes that read ahead; 0 reads each frame when it is asked for. The tensors are
        the same.
    room
        Bytes of encoded frames to keep at most.
    """

    def __init__(
        self,
        images: Images,
        encoder: Encoder,
        truth: NDArray[np.int64] | NDArray[np.float64],
        workers: int = 0,
        room: int = KEPT_BYTES,
    ) -> None:
        self._images, self._encoder, self._truth = images, encoder, truth
        self._kept: dict[int, Encoded] = {}
        self._room = self._most = room
        self._stream = Stream(images, encoder, workers) if workers else None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._truth)

    def scan(self) -> Iterator[tuple[int, NDArray[Any], NDArray[np.bool_]]]:
        """Read every image once, in order, keep its encoded form, and yield it."""
        for number in track(range(len(self)), "reading"):
            image, mask = self._images.read(number)
            self._keep(number, self._encoder.encode(image, mask))
            yield number, image, mask

    def relabel(self, truth: NDArray[np.int64] | NDArray[np.float64]) -> "EncodedFrames":
        """Return the same encoded frames under other classes or values."""
        other = EncodedFrames(self._images, self._encoder, truth, room=self._most)
        other._kept, other._room, other._stream = dict(self._kept), self._room, self._stream
        return other

    def inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the tensors of some frames, stacked."""
        self.expect(rows.tolist())
        return self._encoder.batch([self._encoded(row) for row in track(rows.tolist(), "reading")])

    def compact(self, row: int) -> Encoded:
        """Return the compact form of a frame."""
        return self._encoded(row)

    def forget(self) -> None:
        """Give the memory of the encoded frames back."""
        self._kept.clear()
        self._room = self._most

    def expect(self, rows: Sequence[int]) -> None:
        """Let the workers read ahead the frames that will be asked for in this order."""
        if self._stream is not None:
            self._stream.start([row for row in rows if row not in self._kept])

    def _keep(self, number: int, encoded: Encoded) -> None:
        size = sum(array.nbytes for array in encoded)
        if number not in self._kept and size <= self._room:
            self._kept[number] = encoded
            self._room -= size

    def _encoded(self, number: int) -> Encoded:
        encoded = self._kept.get(number)
        if encoded is None:
            encoded = self._stream.take(number) if self._stream is not None else None
            if encoded is None:
                encoded = self._encoder.encode(*self._images.read(number))
            self._keep(number, encoded)
        return encoded

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return tensor and class of one frame."""
        inputs, truth = self.__getitems__([number])
        return inputs[0], truth[0]

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        """Return tensors [n, ...] and truth [n] of a batch; torch's loaders prefer it."""
        encoded = [self._encoded(number) for number in numbers]
        return self._encoder.batch(encoded), torch.from_numpy(self._truth[numbers])
