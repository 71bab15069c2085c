"""Which run of Snakemake stands behind results, and whether it still runs."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from spotmill.serve.snakemake_log import RunLog

SILENT = 180.0  # s after which a run whose process is not on this host is no longer called running
MOST_LOGS = 50  # of runs, the newest, that are looked at
QUARTER = 900.0  # s; clocks of zones differ by whole numbers of these

LIVE = ("planning", "running", "elsewhere", "silent")
WORDS = {
    "none": "No run has been recorded here",
    "planning": "Snakemake plans the run",
    "running": "Running",
    "elsewhere": "Running on another host",
    "silent": "Silent",
    "finished": "Finished",
    "failed": "Ended with failures",
    "stopped": "Stopped by its user",
    "killed": "Killed, or lost with its machine",
    "idle": "Finished before: nothing was to be done",
    "broken": "Could not begin",
}


@dataclass(frozen=True)
class Run:
    """A run and how it stands; `offset` takes times of its log to seconds since 1970."""

    log: RunLog | None
    state: str
    words: str
    offset: float = 0.0
    note: str = ""

    @property
    def is_live(self) -> bool:
        """Whether more may come."""
        return self.state in LIVE


class Runs:
    """Follows the logs of a project's runs, each read once, as it grows."""

    def __init__(self, project: Path) -> None:
        self._folder = project / ".snakemake"
        self.project = project
        self._logs: dict[Path, RunLog] = {}
        self._holder: tuple[Path, psutil.Process] | None = None
        self._was_here: set[Path] = set()

    def look(self) -> Run:
        """Return the latest run that planned jobs, or what there is instead."""
        try:
            paths = sorted((self._folder / "log").glob("*.snakemake.log"), reverse=True)
        except OSError:
            paths = []
        note = ""
        for number, path in enumerate(paths[:MOST_LOGS]):
            log = self._read(path)
            if log is None or log.unlocked:
                continue
            if log.locked:
                note = note or "A later run found the folder locked, and did nothing."
                continue
            run = self._judge(log, newest=number == 0, note=note)
            if run is not None:
                self._forget(paths)
                return run
        return Run(None, "none", WORDS["none"], note=note)

    def _read(self, path: Path) -> RunLog | None:
        log = self._logs.setdefault(path, RunLog(path))
        try:
            if not log.grow():
                log = self._logs[path] = RunLog(path)
                log.grow()
        except OSError:
            self._logs.pop(path, None)
            return None
        return log

    def _forget(self, paths: list[Path]) -> None:
        """Forget logs that are no longer there."""
        kept = set(paths[:MOST_LOGS])
        self._logs = {path: log for path, log in self._logs.items() if path in kept}

    def _judge(self, log: RunLog, newest: bool, note: str) -> Run | None:
        offset = clock_offset(log)
        if log.ended or log.idle or log.broken:
            state = ended_state(log)
            if state == "idle" and not newest:
                return None
            return Run(log, state, WORDS[state], offset, note)
        held = self._is_held(log.path)
        if not log.has_plan:
            if newest and held:
                return Run(log, "planning", f"{WORDS['planning']}.", offset, note)
            return None
        if held:
            return Run(log, "running", WORDS["running"], offset, note)
        locked = any((self._folder / "locks").glob("*.lock"))
        if log.path in self._was_here or not locked:
            return Run(log, "killed", WORDS["killed"], offset, note)
        quiet = time.time() - self._freshest(log)
        if quiet < SILENT:
            words = f"{WORDS['elsewhere']}, as it seems: no process of it is on this one."
            return Run(log, "elsewhere", words, offset, note)
        words = (
            "No word for a while, and no process of it on this host: it waits or runs on another, "
            "or it was killed."
        )
        return Run(log, "silent", words, offset, note)

    def _freshest(self, log: RunLog) -> float:
        """Return when the run last wrote, itself or through its jobs."""
        names = [name for job in list(log.going.values())[:100] for name in job.logs]
        times = [log.path.stat().st_mtime]
        for name in names:
            try:
                times.append((self.project / name).stat().st_mtime)
            except (OSError, ValueError):
                continue
        return max(times)

    def _is_held(self, path: Path) -> bool:
        """Return whether a Snakemake of this host has the log open."""
        if self._holder is not None and self._holder[0] == path and self._holder[1].is_running():
            return True
        self._holder = None
        real = str(path.resolve())
        for process in psutil.process_iter():
            try:
                # Others' processes cannot be looked into, and most are something else.
                if not any("snakemake" in word for word in process.cmdline()):
                    continue
                if any(file.path == real for file in process.open_files()):
                    self._holder = (path, process)
                    self._was_here.add(path)
                    return True
            except (psutil.Error, OSError):
                continue
        return False


def ended_state(log: RunLog) -> str:
    """Return how a run ended that told of its end."""
    if log.stopped:
        return "stopped"
    if log.failed:
        return "failed"
    if log.idle and not log.has_plan:
        return "idle"
    if log.broken and not log.done and not log.going:
        return "broken"
    short = log.steps is not None and log.steps[0] < log.steps[1]
    return "failed" if log.broken or short else "finished"


def clock_offset(log: RunLog) -> float:
    """Return what takes times of a log to seconds since 1970.

    The log tells no zone. Its file was written about when its last line says: where that is
    another zone's time, whole quarters of an hour lie between.
    """
    if log.last is None:
        return 0.0
    local = time.mktime((*time.gmtime(log.last)[:8], -1)) - log.last
    try:
        apart = log.path.stat().st_mtime - log.last
    except OSError:
        return local
    zone = QUARTER * round(apart / QUARTER)
    if abs(apart - local) < QUARTER or abs(apart - zone) > 60 or abs(zone) > 14 * 3600:
        return local
    return zone
