"""What the overview tells, put together in the background so that no request waits for a disk."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spotmill.formats.benchmarks import benchmark_rows
from spotmill.serve.curves import Curve, Curves
from spotmill.serve.frame_pictures import FramePictures, ShownFrame
from spotmill.serve.inside import file_inside
from spotmill.serve.progress_of_run import RunProgress, progress_of
from spotmill.serve.runs import Runs
from spotmill.serve.scan import IMAGES, Found, Scanner, ShardFile

EVERY = 1.5  # s between two looks while somebody watches
RATIO = 4  # of pause to look, so that a slow disk is asked seldom
UNWATCHED = 20.0  # s without a request after which nobody watches
FIRST_LOOK = 20.0  # s that a request waits for the very first one
FRESH = 1.0  # s that it waits for a new one, when nobody watched before
MOST_BENCHMARKS = 40

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """All that the overview tells at one moment."""

    found: Found
    progress: RunProgress
    frames: list[ShownFrame]
    curves: list[Curve]
    shards: dict[tuple[str, str], ShardFile]
    made: float
    body: bytes = b""
    etag: str = ""
    parts: dict[str, str] = field(default_factory=dict)


Render = Callable[[State], dict[str, str]]


class Live:
    """Looks at results again and again, as long as somebody watches.

    Parameters
    ----------
    root
        The results, resolved.
    project
        The folder in which Snakemake runs, resolved.
    render
        Makes the parts of the page.
    """

    def __init__(self, root: Path, project: Path, render: Render) -> None:
        self.root, self.project = root, project
        self.pictures = FramePictures(root)
        self._render = render
        self._scanner = Scanner(root)
        self._runs = Runs(project)
        self._curves = Curves()
        self._means: dict[str, tuple[int, float | None]] = {}
        self._state: State | None = None
        self._asked = 0.0
        self._failing = False
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="look")

    def start(self) -> None:
        """Begin to look."""
        self._asked = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._stop = True
        self._wake.set()
        self._thread.join(5)

    @property
    def is_failing(self) -> bool:
        """Whether the last look ended by a fault; it is printed where the server runs."""
        return self._failing

    def state(self) -> State | None:
        """Return the latest state; None where the very first look takes too long, or fails."""
        now = time.monotonic()
        idle, self._asked = now - self._asked > UNWATCHED, now
        before = self._state
        if before is not None and not idle:
            return before
        self._wake.set()
        with self._changed:
            self._changed.wait_for(
                lambda: self._state is not before or self._failing,
                FIRST_LOOK if before is None else FRESH,
            )
        return self._state

    def shard(self, content: str, dataset: str, name: str) -> ShardFile | None:
        """Return a shard that is there; it lies within the results."""
        state = self._state
        known = state.shards.get((dataset, name)) if state else None
        if known is not None and known.content == content:
            return known
        if content not in IMAGES:
            return None
        path = file_inside(self.root, f"images/{content}/{dataset}/{name}.h5")
        if path is None:
            return None
        status = path.stat()
        return ShardFile(content, dataset, name, path, status.st_mtime_ns, status.st_size)

    def _work(self) -> None:
        while not self._stop:
            begun = time.monotonic()
            self._try()
            took = time.monotonic() - begun
            pause = max(EVERY, RATIO * took)
            self._wake.clear()
            watched = time.monotonic() - self._asked < UNWATCHED
            if not self._stop:
                self._wake.wait(pause if watched else None)

    def _try(self) -> None:
        """Look; where that fails, what was seen last stands."""
        state, failing = self._state, False
        try:
            state = self._look()
        except OSError:
            # A disk that is away comes back.
            pass
        except Exception:
            # Files of any kind are looked at, and no page may fall with one of them.
            failing = True
            if not self._failing:
                log.exception("A look at the results failed; the pages keep the last one")
        with self._changed:
            self._state, self._failing = state, failing
            self._changed.notify_all()

    def _look(self) -> State:
        found = self._scanner.look()
        progress = progress_of(self._runs.look(), self.project, found.recorded, self._mean)
        state = State(
            found,
            progress,
            self.pictures.newest(found.newest),
            self._curves.look(found.histories),
            {(one.dataset, one.name): one for one in found.newest},
            time.time(),
        )
        parts = self._render(state)
        told = {
            "parts": parts,
            "curves": [curve.traces() for curve in state.curves],
            "live": progress.is_live,
            "title": title(progress),
        }
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return State(
            found, progress, state.frames, state.curves, state.shards, state.made, body, etag, parts
        )

    def _mean(self, rule: str) -> float | None:
        """Return the mean seconds of a rule's jobs from some of their benchmark files."""
        files = self._scanner.benchmarks(rule, MOST_BENCHMARKS)
        known = self._means.get(rule)
        if known is None or known[0] != len(files):
            took = [rows[-1]["s"] for rows in map(benchmark_rows, files) if rows]
            known = self._means[rule] = (len(files), sum(took) / len(took) if took else None)
        return known[1]


def title(progress: RunProgress) -> str:
    """Return what stands on the tab."""
    if progress.total:
        return f"{progress.done}/{progress.total} {progress.state}"
    return progress.state if progress.state != "none" else "results"
