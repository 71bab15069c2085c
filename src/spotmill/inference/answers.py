"""Frames and what the models say of them, in order, several looked at side by side.

One thread reads and decompresses, others put the models to the frames that were read. What takes
the time (loops over pixels, networks) leaves the interpreter to the others meanwhile. Whatever the
number of threads, the answers are the same and come in the order of the frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotmill.errors import SpotmillError
from spotmill.inference.events import Event, events, known_place
from spotmill.inference.stated import Given

if TYPE_CHECKING:
    from spotmill.inference.pipeline import Pipeline, Prediction


@dataclass(frozen=True)
class Answer:
    """A frame, where its file keeps it (see `known_place`), and what the models say of it."""

    event: Event
    place: Any
    said: Prediction


@dataclass(frozen=True)
class Refusal:
    """A file, or an event of it, that could not be read, and why."""

    path: Path
    event: int | None
    why: str


Waiting = tuple[Event, Any, Future["Prediction"]]


def answers(
    paths: Sequence[Path],
    given: Given,
    load: Callable[[], Pipeline],
    threads: int = 1,
    passed_over: Callable[[Path], None] | None = None,
) -> Iterator[Answer | Refusal]:
    """Yield what the models say of the frames of files, folders and lists.

    Parameters
    ----------
    load
        Opens the models. Called when the first frame was read: where none can be, that is told
        without waiting for them.
    threads
        Frames that are looked at side by side; two more are in memory at most.
    passed_over
        Told of what folders hold besides images.
    """
    waiting: deque[Waiting | Refusal] = deque()

    def refused(path: Path, event: int | None, why: str) -> None:
        waiting.append(Refusal(path, event, why))

    pipeline: Pipeline | None = None
    with ThreadPoolExecutor(threads) as pool:
        try:
            for event, file in events(paths, given, refused, passed_over):
                pipeline = pipeline or load()
                place = known_place(file, event.event)
                if threads == 1:
                    yield from done(waiting, 0)
                    yield answer(event, place, pipeline)
                    continue
                waiting.append((event, place, pool.submit(pipeline.predict, event)))
                yield from done(waiting, threads)
            yield from done(waiting, 0)
        finally:
            pool.shutdown(cancel_futures=True)


def answer(event: Event, place: Any, pipeline: Pipeline) -> Answer | Refusal:
    """Return what the models say of a frame, or why they cannot."""
    try:
        return Answer(event, place, pipeline.predict(event))
    except SpotmillError as error:
        return Refusal(event.path, event.event, f"{event.path}: {error}")


def done(waiting: deque[Waiting | Refusal], most: int) -> Iterator[Answer | Refusal]:
    """Yield the first of those that wait, until at most so many are left."""
    while len(waiting) > most:
        first = waiting.popleft()
        if isinstance(first, Refusal):
            yield first
            continue
        event, place, coming = first
        try:
            yield Answer(event, place, coming.result())
        except SpotmillError as error:
            yield Refusal(event.path, event.event, f"{event.path}: {error}")
