"""Watch a folder: predict each new frame once, in batches that are in the ledger or not at all."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from spotmill.errors import SpotmillError
from spotmill.formats.images_hdf5 import Hdf5File
from spotmill.formats.images_model import FrameFile
from spotmill.inference.arrivals import Arrivals, Moving
from spotmill.inference.events import Event, Maker, known_place
from spotmill.inference.ledger import KnownFile, Ledger
from spotmill.inference.monitor import Monitor
from spotmill.inference.pace import Pace
from spotmill.inference.peak_parts import packed, place_text
from spotmill.inference.pipeline import Pipeline, Prediction
from spotmill.inference.published import HITS, LISTED, Published
from spotmill.inference.stated import Given, read_number
from spotmill.inference.tables import row_of
from spotmill.inference.watch_handover import Masks, setting_text
from spotmill.inference.watch_work import Asked, Plan, Work, digest

# A batch is written when it has so many frames, or is so old (s).
BATCH, BATCH_AGE = 256, 1.0
# s between writings of pages and parts; they take no more than this share of the time.
WRITE_EVERY, WRITE_SHARE = 5.0, 0.05
# s between pages where nothing is new: a page that gets old says so.
IDLE_WRITE = 30.0
# A look takes no more than this share of the time.
LOOK_SHARE = 0.1
# Newest first: events of a file that are read together, the last first.
TOGETHER = 64

Draw = Callable[[Event, Prediction, int], None]


class Watcher:
    """Watches a folder until it is told to stop.

    Parameters
    ----------
    tell
        Told in words of what a user should know.
    """

    def __init__(
        self,
        plan: Plan,
        pipeline: Pipeline,
        given: Given,
        ledger: Ledger,
        published: Published,
        monitor: Monitor,
        tell: Callable[[str], None],
        draw: Draw,
        stop: threading.Event,
    ) -> None:
        self._plan, self._pipeline, self._ledger, self._draw = plan, pipeline, ledger, draw
        self._published, self._monitor, self._tell = published, monitor, tell
        self._maker = Maker(given)
        self._files = ledger.files()
        self._failures = ledger.failures()
        self._arrivals = Arrivals(
            plan.folder,
            self._files,
            plan.every,
            plan.output,
            tell,
            plan.newest_first,
            patient=not plan.once,
        )
        self._work: Work | None = None
        # Events that are looked at, and files at their end, in order.
        self._asked: deque[Asked | Work] = deque()
        self._pool = ThreadPoolExecutor(plan.threads)
        self._batch: list[tuple[KnownFile, dict[str, Any]]] = []
        self._touched: dict[str, KnownFile] = {}
        self._replaced = False
        self._batch_since = 0.0
        self._frames, self._hits = monitor.frames, monitor.hits
        self._newest = monitor.newest
        self._pace = Pace()
        self._masks = Masks()
        # Frames on the page, and when it was written.
        self._shown, self._shown_at = -1, 0.0
        self._next_look = self._next_write = self._last_news = 0.0
        self.stop = stop

    def run(self) -> dict[str, Any]:
        """Watch; return the summary."""
        self._last_news = time.monotonic()
        try:
            while not self.stop.is_set():
                now = time.monotonic()
                if now >= self._next_look:
                    self._look()
                busy = self._step()
                self._take(self._plan.threads - 1 if busy else 0)
                if self._batch and (
                    not busy or len(self._batch) >= BATCH or now - self._batch_since > BATCH_AGE
                ):
                    self._commit()
                if now >= self._next_write:
                    self._write()
                if not busy:
                    if self._is_over():
                        break
                    self.stop.wait(max(self._next_look - time.monotonic(), 0.01))
        finally:
            self._pool.shutdown()
            if self._work is not None:
                self._work.file.close()
        self._take(0)
        self._commit()
        if self._plan.once:
            for path in self._arrivals.moving:
                self._tell(
                    f"{self._arrivals.full(path)}: is still being written; left for next time"
                )
        return self._write(final=True)

    def _look(self) -> None:
        began = time.monotonic()
        if self._arrivals.look() or self._arrivals.looks == 1:
            self._last_news = began
            self._forget_removed()
        now = time.monotonic()
        self._next_look = now + max(self._plan.every, (now - began) / LOOK_SHARE)

    def _forget_removed(self) -> None:
        """Forget why files that are gone could not be read."""
        gone = [path for path in self._failures if self._arrivals.is_gone(path)]
        if gone:
            with self._ledger.transaction():
                for path in gone:
                    del self._failures[path]
                    self._ledger.clear_failures(path)

    def _is_over(self) -> bool:
        if self._plan.once:
            return self._arrivals.looks > 1 and not self._arrivals.due
        if self._plan.until_idle is None or self._arrivals.waits:
            return False
        return time.monotonic() - self._last_news >= self._plan.until_idle

    def _step(self) -> bool:
        """Open the next file or do the next event; return whether there was one."""
        if self._work is None:
            due = self._arrivals.next()
            if due is None:
                return False
            self._work = self._open(*due)
            return True
        if not self._work.todo:
            self._work.file.close()
            self._asked.append(self._work)
            self._work = None
            return True
        self._do(self._work, self._work.todo.pop(0))
        return True

    def _open(self, path: str, moving: Moving) -> Work | None:
        known = self._files.get(path) or KnownFile(0, path)
        if path in self._arrivals.passed_over:
            known.passed_over, known.links = True, ()
            self._finish(known, moving, complete=True)
            return None
        full = self._arrivals.full(path)
        self._settle(known)
        # In the ledger with the first frame: a killed watch must know whose data files are whose.
        known.links = self._arrivals.links(path)
        # What is remembered of a file of this name may be of another content.
        read_number.cache_clear()
        try:
            file = self._maker.open(full, growing=True)
        except SpotmillError as error:
            self._fail(path, moving, known, {-1: str(error)})
            return None
        work = Work(path, moving, known, file, [])
        try:
            done = self._ledger.events(known) if known.id else set()
            if done and known.signature != moving.signature:
                done = self._checked(work, done)
            work.todo = self._ordered([event for event in range(len(file)) if event not in done])
        except SpotmillError as error:
            file.close()
            self._fail(path, moving, known, {-1: str(error)})
            return None
        return work

    def _settle(self, known: KnownFile) -> None:
        """Bring what is known of a file into the ledger before more is."""
        works = (one if isinstance(one, Work) else one.work for one in self._asked)
        if any(work.known is known for work in works):
            self._take(0)
        if any(one is known for one, _ in self._batch):
            self._commit()

    def _ordered(self, events: list[int]) -> list[int]:
        if not self._plan.newest_first:
            return events
        starts = range(len(events) - 1 - (len(events) - 1) % TOGETHER, -1, -TOGETHER)
        return [event for start in starts for event in events[start : start + TOGETHER]]

    def _checked(self, work: Work, done: set[int]) -> set[int]:
        """Return the events that are done of a file that changed; none where it was replaced."""
        for event in (min(done), max(done)):
            same = event < len(work.file) and (
                digest(work.file.read(event)) == self._ledger.digest(work.known, event)
            )
            if not same:
                self._tell(
                    f"{work.file.path}: was replaced; its {len(work.file)} frames are taken as "
                    f"version {work.known.version + 1}, and the former hits leave {HITS}"
                )
                self._commit()
                work.known.version += 1
                self._replaced = True
                self._touched[work.path] = work.known
                self._commit()
                return set()
        return done

    def _do(self, work: Work, event: int) -> None:
        """Predict an event of an open file."""
        full = work.file.path
        try:
            if not self._is_there(work.file, event):
                work.why[event] = f"{full}: event {event} is not written yet; it waits for that"
                return
            frame = work.file.read(event)
            made = self._maker.event(frame, len(work.file))
        except SpotmillError as error:
            words = str(error)
            work.why[event] = words if str(full) in words else f"{full}: {words}"
            return
        own = {
            "name": made.name,
            "digest": digest(frame),
            "place": place_text(known_place(work.file, event)),
            "version": work.known.version,
            "setting": setting_text(made),
        }
        coming = self._pool.submit(self._pipeline.predict, made)
        self._asked.append(Asked(work, made, own, coming))

    def _take(self, most: int) -> None:
        """Take the answers in the order of the frames until at most so many are out."""
        while self._asked and (len(self._asked) > most or isinstance(self._asked[0], Work)):
            first = self._asked.popleft()
            if isinstance(first, Work):
                self._end(first)
            else:
                self._take_one(first)

    def _take_one(self, asked: Asked) -> None:
        work, made = asked.work, asked.event
        try:
            said = asked.coming.result()
        except SpotmillError as error:
            work.why[made.event] = f"{made.path}: {error}"
            return
        row = row_of(made, said)
        row |= asked.own | {"peaks": packed(said.peaks), "late": self._is_late(row)}
        row |= {"mask": "", "live": b""}
        if said.is_hit:
            row["mask"], row["live"] = self._masks.packed(made.mask)
        if not self._batch:
            self._batch_since = time.monotonic()
        self._batch.append((work.known, row))
        if said.is_hit and self._hits < self._plan.pictures:
            self._draw(made, said, self._frames)
        self._frames, self._hits = self._frames + 1, self._hits + bool(said.is_hit)
        self._last_news = time.monotonic()
        self._pace.did(1, self._last_news)

    def _is_late(self, row: dict[str, Any]) -> bool:
        """Whether a newer frame was done before: by choice, and drift is told without it."""
        taken = row["time"].timestamp() if row["time"] else -np.inf
        is_late = self._plan.newest_first and taken < self._newest
        self._newest = max(self._newest, taken)
        return bool(is_late)

    def _is_there(self, file: FrameFile, event: int) -> bool:
        if not isinstance(file, Hdf5File):
            return True
        source = file.place(event)[0]
        if source != file.path and self._arrivals.is_moving(source):
            return False
        return file.is_written(event)

    def _end(self, work: Work) -> None:
        """Keep what a file's end says of it."""
        if work.why:
            self._fail(work.path, work.moving, work.known, work.why)
            return
        work.known.links = self._arrivals.links(work.path)
        self._arrivals.done(work.path)
        self._finish(work.known, work.moving, complete=True)

    def _finish(self, known: KnownFile, moving: Moving, complete: bool) -> None:
        known.signature, known.complete = moving.signature, complete
        self._files[known.path] = known
        self._touched[known.path] = known
        if not self._batch:
            self._batch_since = time.monotonic()
            self._commit()

    def _fail(self, path: str, moving: Moving, known: KnownFile, why: dict[int, str]) -> None:
        """Keep what could not be read for later, or tell of it."""
        if not self._arrivals.full(path).exists():
            # The next look says that it was removed.
            return
        known.links = self._arrivals.links(path)
        told = self._failures.get(path, {})
        if not self._arrivals.put_off(path, moving):
            if known.id or any(one is known for one, _ in self._batch):
                self._finish(known, moving, complete=False)
            return
        fresh = [words for event, words in why.items() if told.get(event) != words]
        for number, words in enumerate(dict.fromkeys(fresh)):
            if number == 3:
                self._tell(f"{self._arrivals.full(path)}: and {len(fresh) - 3} more events")
                break
            self._tell(words)
        self._failures[path] = why
        self._finish(known, moving, complete=False)
        with self._ledger.transaction():
            self._ledger.clear_failures(path)
            for event, words in why.items():
                self._ledger.put_failure(path, event, words)

    def _commit(self) -> None:
        """Bring the batch into the ledger, and then to the readers."""
        if not self._batch and not self._touched:
            return
        rows = [row for _, row in self._batch]
        alarms = self._monitor.add(rows)
        with self._ledger.transaction():
            for known in self._touched.values():
                self._ledger.put_file(known)
                if known.complete and self._failures.pop(known.path, {}):
                    self._ledger.clear_failures(known.path)
            for known, row in self._batch:
                if not known.id:
                    self._ledger.put_file(known)
                row["file_id"] = known.id
                if row["mask"]:
                    self._ledger.put_mask(row["mask"], row["live"])
                self._files[known.path] = known
            self._ledger.put_frames(rows)
            for alarm in alarms:
                self._ledger.put_alarm(alarm.fields())
            if self._replaced:
                for name in (HITS, LISTED):
                    self._ledger.put_written(name, 0, 0)
        self._batch, self._touched = [], {}
        self._published.follow()
        if self._replaced:
            self._published.remake_hits()
            self._replaced = False
        for alarm in alarms:
            self._tell(f"ALARM: {alarm.words}")

    def _write(self, final: bool = False) -> dict[str, Any]:
        """Write parts, page and summary."""
        began = time.monotonic()
        left = len(self._work.todo) if self._work else 0
        line = self._pace.line(
            began, self._frames, self._hits, left, self._arrivals.due, len(self._files)
        )
        if not final and self._frames == self._shown and began - self._shown_at < IDLE_WRITE:
            self._next_write = began + WRITE_EVERY
            return {}
        self._shown, self._shown_at = self._frames, began
        self._published.flush()
        summary = self._monitor.write(
            self._plan.output,
            "" if final else line,
            self._failures,
            self._arrivals.removed,
            {"crystfel": self._published.for_crystfel()},
        )
        for words in self._pace.news(began, self._monitor.last()) if not final else ():
            self._tell(words)
        now = time.monotonic()
        self._next_write = now + max(WRITE_EVERY, (now - began) / WRITE_SHARE)
        return summary
