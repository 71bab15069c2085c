"""How far a long command is: a bar on a terminal, now and then a plain line in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

# A line at every tenth, but not more often than this.
TENTHS = 10
SECONDS = 5.0


class Progress:
    """Tells on stderr how many of a number of frames are done."""

    def __init__(self, label: str, total: int, done: int = 0, quiet: bool = False) -> None:
        self._label, self._total, self._done, self._first = label, total, done, done
        self._quiet = quiet
        self._begun = self._told = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(
                desc=label, total=total, initial=done, unit="frame", leave=False, file=sys.stderr
            )

    def __call__(self, frames: int = 1) -> None:
        """Go on by so many frames."""
        before, self._done = self._done, self._done + frames
        if self._bar is not None:
            self._bar.update(frames)
            return
        now = time.monotonic()
        passed = self._done * TENTHS // self._total > before * TENTHS // self._total
        if passed and not self._quiet and now - self._told >= SECONDS and self._done < self._total:
            self._told = now
            left = (now - self._begun) * (self._total - self._done) / (self._done - self._first)
            print(
                f"{self._label}: {self._done} of {self._total} frames, "
                f"about {tqdm.format_interval(left)} left",
                file=sys.stderr,
                flush=True,
            )

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
