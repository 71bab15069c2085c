"""What a watch is asked to do, and the pieces of work that it does."""

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spotmill.formats.images_model import FrameFile, RawFrame
from spotmill.inference.arrivals import Moving
from spotmill.inference.events import Event
from spotmill.inference.ledger import KnownFile
from spotmill.inference.pipeline import Prediction

# Rows of an image that tell whether a file was replaced: every so many.
DIGEST_ROWS = 16


@dataclass(frozen=True)
class Plan:
    """How to watch.

    Attributes
    ----------
    every
        Seconds between looks; a file must stand still for as long.
    until_idle
        Seconds without anything new after which to end; None: never.
    once
        Whether to end when all that is there is done.
    newest_first
        Whether the newest files go before those that wait.
    threads
        Frames that are looked at side by side.
    """

    folder: Path
    output: Path
    every: float
    until_idle: float | None = None
    once: bool = False
    newest_first: bool = False
    pictures: int = 0
    threads: int = 1


@dataclass
class Work:
    """An open file, and the events of it that are to be done.

    Attributes
    ----------
    why
        Of events that could not be read; -1 is the file.
    """

    path: str
    moving: Moving
    known: KnownFile
    file: FrameFile
    todo: list[int]
    why: dict[int, str] = field(default_factory=dict)


@dataclass
class Asked:
    """An event that the models look at.

    Attributes
    ----------
    own
        What the ledger keeps of it besides its row of the table.
    """

    work: Work
    event: Event
    own: dict[str, Any]
    coming: Future[Prediction]


def digest(frame: RawFrame) -> bytes:
    """Return a short digest of a frame's counts, to tell whether its file was replaced."""
    image = frame.image
    some = np.ascontiguousarray(image[::DIGEST_ROWS])
    with np.errstate(all="ignore"):
        total = image.sum(dtype=np.float64 if image.dtype.kind == "f" else np.int64)
    words = f"{image.shape} {image.dtype.str} {total!r}".encode()
    return hashlib.blake2b(words + some.tobytes(), digest_size=8).digest()
