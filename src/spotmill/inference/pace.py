"""How fast frames come and are done, in words."""

import time
from collections import deque

# s over which rates are taken, and between two lines.
SPAN, TOLD_EVERY = 60.0, 10.0
# Seconds of work that may wait before it is said, and below which it is caught up.
BEHIND, CAUGHT_UP = 15.0, 3.0
# Frames before a rate is believed.
FEWEST = 20


class Pace:
    """Counts frames that are done and that wait."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._done = 0
        # Time, frames done so far, frames that wait.
        self._past: deque[tuple[float, int, float]] = deque()
        self._behind = False
        self._told = self._begin
        self._told_done = -1
        self._line = ""

    def did(self, frames: int, now: float) -> None:
        """Count frames as done."""
        self._done += frames

    def line(self, now: float, frames: int, hits: int, left: int, due: int, files: int) -> str:
        """Return how it stands in words.

        Parameters
        ----------
        left
            Frames of the open file that wait.
        due
            Files that wait.
        files
            That are known, for a guess at the frames in those that wait.
        """
        waiting = left + due * max(frames / max(files, 1), 1.0)
        self._past.append((now, self._done, waiting))
        while len(self._past) > 2 and now - self._past[0][0] > SPAN:
            self._past.popleft()
        works, comes = self.rates()
        line = f"frames {frames}, hits {hits}"
        if self._done:
            line += f", {works:.3g} frames/s done, {comes:.3g} coming"
        if left or due:
            line += f", about {waiting:.0f} frames wait in {due + bool(left)} files"
        self._line = line
        return line

    def rates(self) -> tuple[float, float]:
        """Return frames a second that are done, and that come."""
        (first, done, waiting), (last, done_now, waiting_now) = self._past[0], self._past[-1]
        span = max(last - first, 1e-9) if len(self._past) > 1 else float("inf")
        works = (done_now - done) / span
        return works, max(works + (waiting_now - waiting) / span, 0.0)

    def news(self, now: float, last: str) -> list[str]:
        """Return what the terminal should say now."""
        words = []
        works, comes = self.rates()
        wait = self._past[-1][2] / works if works else 0.0
        # The first frames are slow: code is compiled for them.
        known = self._past[-1][0] - self._past[0][0] >= BEHIND and self._done >= FEWEST
        if not self._behind and known and wait > BEHIND and comes > 1.05 * works:
            self._behind = True
            words.append(
                f"falls behind: {comes:.3g} frames/s come, {works:.3g} are done, {wait:.0f} s of "
                "work wait; all will be done (--newest-first shows the present first)"
            )
        elif self._behind and wait < CAUGHT_UP:
            self._behind = False
            words.append("has caught up")
        if now - self._told >= TOLD_EVERY and self._done != self._told_done:
            self._told, self._told_done = now, self._done
            words.append(self._line + last)
        return words
