"""How far a long command is: a bar on a terminal, now and then a plain line in a log."""

import sys
import time
from collections.abc import Collection, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from tqdm import tqdm

# A line at every tenth, but not more often than this; where nobody knows the end, the latter.
TENTHS = 10
SECONDS = 5.0
SECONDS_WITHOUT_END = 30.0

Item = TypeVar("Item")


class Progress:
    """Tells on stderr how many of a number of frames, or of other things, are done.

    Parameters
    ----------
    label
        What is done, the first word of every line.
    total
        How many there are; None where nobody knows.
    done
        How many were done before.
    quiet
        Says nothing.
    unit
        One of the things, in the singular.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        done: int = 0,
        quiet: bool = False,
        unit: str = "frame",
    ) -> None:
        self._label, self._total, self._done, self._first = label, total, done, done
        self._quiet, self._unit = quiet, unit
        self._begun = self._told = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(
                desc=label, total=total, initial=done, unit=unit, leave=False, file=sys.stderr
            )

    def __call__(self, count: int = 1) -> None:
        """Go on by so many."""
        before, self._done = self._done, self._done + count
        if self._bar is not None:
            self._bar.update(count)
        elif not self._quiet:
            self._tell(before)

    def _tell(self, before: int) -> None:
        now = time.monotonic()
        if self._total is None:
            if now - self._told >= SECONDS_WITHOUT_END:
                self._told = now
                self._line(f"{self._done} {self._unit}s")
            return
        passed = self._done * TENTHS // self._total > before * TENTHS // self._total
        if passed and now - self._told >= SECONDS and self._done < self._total:
            self._told = now
            left = (now - self._begun) * (self._total - self._done) / (self._done - self._first)
            time_left = tqdm.format_interval(left)
            self._line(f"{self._done} of {self._total} {self._unit}s, about {time_left} left")

    def _line(self, words: str) -> None:
        print(f"{self._label}: {words}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def track(
    items: Iterable[Item], label: str, unit: str = "frame", total: int | None = None
) -> Iterator[Item]:
    """Yield the items and tell on stderr how many are done.

    Parameters
    ----------
    total
        How many there are; else what `len` says, and where that says nothing, nobody knows.
    """
    if total is None and isinstance(items, Collection):
        total = len(items)
    with Progress(label, total, unit=unit) as step:
        for item in items:
            yield item
            step()


def print_beside(words: str, error: bool = False) -> None:
    """Print a line on stdout, or stderr, without breaking a bar that stands on the terminal."""
    tqdm.write(words, file=sys.stderr if error else sys.stdout)
