"""Frames read and encoded ahead of their use, by worker processes, in a given order."""

import multiprocessing
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from spotmill.errors import SpotmillError
from spotmill.learning.frames import Images

# Frames that a worker reads at a time, and how often it does so ahead: memory in flight is
# AT_A_TIME x (AHEAD + 1) encoded frames a worker.
AT_A_TIME, AHEAD = 4, 2

Encoded = tuple[NDArray[Any], ...]


class Encodes(Protocol):
    """The part of an encoder that a worker needs."""

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return the compact form of an image [ss, fs]."""


class Reading(Dataset[Any]):
    """What a worker does: read frames and encode them."""

    def __init__(self, images: Images, encoder: Encodes) -> None:
        self._images, self._encoder = images, encoder

    def __getitems__(self, numbers: list[int]) -> list[Encoded] | SpotmillError:
        """Return the encoded frames; an error goes to who asked, as one line."""
        try:
            return [self._encoder.encode(*self._images.read(number)) for number in numbers]
        except SpotmillError as error:
            return error


class Stream:
    """Worker processes that read and encode frames in the order in which they will be used.

    The order is given from without, so it does not depend on the number of workers. They
    start with the first order and end with this process.
    """

    def __init__(self, images: Images, encoder: Encodes, workers: int) -> None:
        self._pieces: list[list[int]] = []
        self._left: Iterator[tuple[int, Encoded]] = iter(())
        # A copy of a process with threads (torch's, HDF5's) may hang: workers are copies of one
        # that has only imported what they need.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["spotmill.learning.registry", "spotmill.learning.setup"])
        self._loader: DataLoader[Any] = DataLoader(
            Reading(images, encoder),
            batch_sampler=self._pieces,
            num_workers=workers,
            collate_fn=as_it_is,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            multiprocessing_context=context,
            # Its own, so that workers draw no number from the generator of the training.
            generator=torch.Generator(),
        )

    def start(self, numbers: Sequence[int]) -> None:
        """Begin to read frames in this order; what is left of an earlier one is dropped."""
        pieces = [list(numbers[at : at + AT_A_TIME]) for at in range(0, len(numbers), AT_A_TIME)]
        self._pieces[:] = pieces
        self._left = run(self._loader, pieces)

    def take(self, number: int) -> Encoded | None:
        """Return the next frame; None where another is due, and the stream is then over."""
        coming, encoded = next(self._left, (None, None))
        if coming == number:
            return encoded
        self._left = iter(())
        return None


def run(loader: DataLoader[Any], pieces: list[list[int]]) -> Iterator[tuple[int, Encoded]]:
    """Yield numbers and encoded frames of a loader of pieces; raise the error of a worker."""
    if not pieces:
        return
    for numbers, found in zip(pieces, loader, strict=True):
        if isinstance(found, SpotmillError):
            raise found
        yield from zip(numbers, found, strict=True)


def as_it_is(batch: Any) -> Any:
    """Return what it is given."""
    return batch
