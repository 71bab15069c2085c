"""How far a run is: jobs by rule, what goes on, what failed, pace and expected end."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spotmill.serve.runs import LIVE, Run
from spotmill.serve.snakemake_log import LoggedJob, RunLog
from spotmill.serve.tails import tail

WINDOW = 600.0  # s over which the pace is told
MOST_SHOWN = 24  # jobs of each kind
FAILED_LINES = 15
# Asks for files, and makes none.
TARGET = "all"


@dataclass(frozen=True)
class Row:
    """A rule: jobs of this run, and files of earlier ones too."""

    rule: str
    total: int
    done: int
    going: int
    failed: int
    recorded: int
    mean: float | None

    @property
    def share(self) -> float:
        """How much of it is done."""
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True)
class ShownJob:
    """A job that goes on, failed, or was cut short; `begun` in seconds since 1970."""

    rule: str
    wildcards: str
    begun: float
    ended: float | None = None
    where: str = ""
    words: str = ""
    tries: int = 1
    logs: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class RunProgress:
    """What the page tells of a run; times in seconds since 1970."""

    state: str
    words: str
    note: str
    done: int
    total: int
    begun: float | None
    last: float | None
    per_minute: float | None
    end: float | None
    unknown: tuple[str, ...]
    rows: tuple[Row, ...]
    going: tuple[ShownJob, ...] = ()
    more_going: int = 0
    failed: tuple[ShownJob, ...] = ()
    more_failed: int = 0
    message: tuple[str, ...] = field(default=())

    @property
    def is_live(self) -> bool:
        """Whether more may come."""
        return self.state in LIVE

    @property
    def has_earlier(self) -> bool:
        """Whether earlier runs, too, left files."""
        return any(row.recorded > row.done for row in self.rows)


def progress_of(
    run: Run,
    project: Path,
    recorded: Mapping[str, int],
    earlier: Callable[[str], float | None],
) -> RunProgress:
    """Return how far a run is.

    Parameters
    ----------
    project
        Its folder, resolved.
    recorded
        Number of benchmark files by rule: jobs that ended in this run or an earlier one.
    earlier
        Returns the mean seconds of a rule's jobs from their benchmark files, where there are any.
    """
    log, shift = run.log, run.offset
    if log is None:
        rows = tuple(Row(rule, 0, 0, 0, 0, count, None) for rule, count in recorded.items())
        return RunProgress(run.state, run.words, run.note, 0, 0, None, None, None, None, (), rows)
    now = time.time() - shift
    if not log.totals:
        settle(log, project, shift)
    going = Counter(job.rule for job in log.going.values())
    failed = Counter(job.rule for job in log.failed.values())
    names = list(log.totals) or sorted({*log.done, *going, *failed})
    means = {
        name: log.seconds[name] / log.done[name] if log.done[name] else earlier(name)
        for name in names
    }
    rows = tuple(
        Row(
            name,
            log.totals[name],
            log.done[name],
            going[name],
            failed[name],
            recorded.get(name, 0),
            means[name],
        )
        for name in names
        if name != TARGET
    )
    left, unknown = expected(log, means, now) if run.is_live else (None, ())
    ongoing = sorted(log.going.values(), key=lambda job: job.begun)
    broken = sorted(log.failed.values(), key=lambda job: -(job.failed or 0))
    done, total = sum(log.done.values()), sum(log.totals.values())
    if log.steps is not None:
        done, total = max(done, log.steps[0]), max(total, log.steps[1])
    return RunProgress(
        run.state,
        run.words,
        run.note,
        done,
        total,
        None if log.first is None else log.first + shift,
        None if log.last is None else log.last + shift,
        pace(log, now) if run.is_live else None,
        None if left is None else now + left + shift,
        unknown,
        rows,
        tuple(going_job(job, project, shift, run) for job in ongoing[:MOST_SHOWN]),
        max(len(ongoing) - MOST_SHOWN, 0),
        tuple(failed_job(job, project, shift) for job in broken[:MOST_SHOWN]),
        max(len(broken) - MOST_SHOWN, 0),
        # Of jobs that failed it is told there.
        () if broken else tuple(log.broken),
    )


def settle(log: RunLog, project: Path, shift: float) -> None:
    """Take jobs for done whose files are there, where the log tells of no ends (quiet)."""
    for number, job in list(log.going.items())[:200]:
        if job.outputs and are_there(job, project, shift):
            log.settle(number)


def are_there(job: LoggedJob, project: Path, shift: float) -> bool:
    """Return whether the files that a job declares were made since it began."""
    try:
        times = [(project / name).stat().st_mtime for name in job.outputs]
    except (OSError, ValueError):
        return False
    return min(times) >= job.begun + shift - 2


def pace(log: RunLog, now: float) -> float | None:
    """Return the jobs that finish in a minute, of late."""
    if log.first is None or not log.ends:
        return None
    since = max(now - WINDOW, log.first)
    count = sum(end >= since for end in log.ends)
    # What is kept of a fast run may reach back less far.
    since = max(since, log.ends[0]) if len(log.ends) == log.ends.maxlen else since
    return 60 * count / max(now - since, 1.0)


def expected(
    log: RunLog, means: Mapping[str, float | None], now: float
) -> tuple[float | None, tuple[str, ...]]:
    """Return the seconds that are left, and the rules of which nobody knows how long they take.

    The seconds that the rest will take are shared among as many jobs as ran at once so far.
    """
    work, unknown = 0.0, []
    for rule, total in log.totals.items():
        rest = total - log.done[rule] - sum(job.rule == rule for job in log.failed.values())
        mean = means.get(rule)
        if rest <= 0 or rule == TARGET:
            continue
        if mean is None:
            unknown.append(rule)
        else:
            begun = [now - job.begun for job in log.going.values() if job.rule == rule]
            work += max(rest * mean - sum(min(spent, mean) for spent in begun), 0.0)
    busy = sum(log.seconds.values()) + sum(now - job.begun for job in log.going.values())
    if log.first is None or not log.totals or not log.done:
        return None, tuple(unknown)
    at_once = max(busy / max(now - log.first, 1.0), 0.5)
    return work / at_once, tuple(unknown)


def going_job(job: LoggedJob, project: Path, shift: float, run: Run) -> ShownJob:
    """Return a job that has begun and not ended, with the last line of its log."""
    where = ""
    if not run.is_live:
        there = job.outputs and are_there(job, project, shift)
        where = "cut short; its files are there" if there else "cut short"
    elif job.slurm:
        begun = tail(project, job.slurm_log, 1) is not None
        where = f"SLURM job {job.slurm}" + ("" if begun else ", waiting")
    lines = [line for name in job.logs[:1] for line in tail(project, name, 1) or ()]
    words = lines[0][:160] if lines else ""
    return ShownJob(job.rule, job.wildcards, job.begun + shift, None, where, words, job.tries)


def failed_job(job: LoggedJob, project: Path, shift: float) -> ShownJob:
    """Return a job that failed, with the last lines of its logs."""
    logs = []
    for name in job.logs:
        lines = tail(project, name, FAILED_LINES)
        if lines is not None:
            logs.append((shorter(name, project), tuple(line[:400] for line in lines)))
    ended = None if job.failed is None else job.failed + shift
    where = f"SLURM job {job.slurm}" if job.slurm else ""
    return ShownJob(
        job.rule,
        job.wildcards,
        job.begun + shift,
        ended,
        where,
        job.message[:400],
        job.tries,
        tuple(logs),
    )


def shorter(name: str, project: Path) -> str:
    """Return a log's name without the project's folder."""
    return name.removeprefix(f"{project}/")
