"""Snakemake's own log of a run, read as it grows.

Snakemake 9 writes `.snakemake/log/<begin>.snakemake.log`: a table of jobs by rule, then an entry
for each job that begins, ends or fails, headed by a time on the clock of its host::

    [Sat Nov 21 21:18:15 2026]
    localrule water:
        output: results/images/water/06.h5
        log: logs/water/06.log
        jobid: 51
        wildcards: dataset=06

The forms are those of snakemake/logging.py of Snakemake 9.27; what is in none of them is passed
over. A job's number is used anew by the next run, so each log is read for itself.
"""

import calendar
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

STAMP = re.compile(
    r"\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>[A-Z][a-z]{2}) +(?P<day>\d+) "
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<year>\d{4})\]"
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
BEGIN = re.compile(r"(?:local)?(?:rule|checkpoint) (?P<rule>\S+):")
ERROR = re.compile(r"Error in rule (?P<rule>\S+?):")
FINISHED = re.compile(r"Finished job(?:id)?:? (?P<id>\d+)(?: \(Rule: (?P<rule>\S+)\))?\.?")
STEPS = re.compile(r"(?P<done>\d+) of (?P<total>\d+) steps \(.*\) done")
SENT = re.compile(
    r"Job (?P<id>\d+) has been submitted with SLURM jobid (?P<slurm>\S+) \(log: (?P<log>.+)\)\."
)
AGAIN = re.compile(r"Trying to restart job (?P<id>\d+)\.")
COUNT = re.compile(r"(?P<rule>\S+) +(?P<count>\d+)")
BROKEN = re.compile(r"(?:\w*(?:Error|Exception))\b.*")

CHUNK = 4 << 20  # bytes read at once
LONGEST = 1 << 20  # bytes of a line that are kept
MOST_FILES = 8  # of a job, that are kept
MOST_WORDS = 6  # lines of a message


@dataclass
class LoggedJob:
    """A job that has begun; times in seconds on the clock of the log."""

    rule: str
    begun: float
    number: int = -1
    wildcards: str = ""
    outputs: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    message: str = ""
    failed: float | None = None
    tries: int = 1
    slurm: str = ""
    slurm_log: str = ""

    def tell(self, key: str, value: str) -> None:
        """Take over a line of the job's entry."""
        if key == "jobid" and value.isdecimal():
            self.number = int(value)
        elif key == "wildcards":
            self.wildcards = value
        elif key == "message" and value != "None":
            self.message = value
        elif key == "output":
            self.outputs = tuple(value.split(", ", MOST_FILES)[:MOST_FILES])
        elif key == "log":
            names = value.removesuffix(" (check log file(s) for error details)")
            self.logs = tuple(names.split(", ", MOST_FILES)[:MOST_FILES])


@dataclass
class RunLog:
    """What one run has told so far.

    Attributes
    ----------
    totals, done
        Jobs by rule: planned, finished; `totals` is empty where the log does not tell (quiet).
    seconds
        By rule, the sum over finished jobs.
    going, failed
        Jobs by number: begun and not ended; failed, and not begun again.
    ends
        When the latest finished.
    steps
        The last `n of m steps`.
    """

    path: Path
    totals: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    going: dict[int, LoggedJob] = field(default_factory=dict)
    failed: dict[int, LoggedJob] = field(default_factory=dict)
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    steps: tuple[int, int] | None = None
    first: float | None = None
    last: float | None = None
    ended: bool = False
    stopped: bool = False
    idle: bool = False  # nothing was to be done
    locked: bool = False  # another run, or what one left, held the folder
    unlocked: bool = False  # `snakemake --unlock`
    broken: list[str] = field(default_factory=list)
    offset: int = 0
    _rest: bytes = b""
    _again: Counter[int] = field(default_factory=Counter)
    _entry: LoggedJob | None = None
    _is_error: bool = False
    _indent: int = 0
    _stamped: bool = False
    _in_table: bool = False
    _fence: str = ""
    _fence_next: bool = False
    _told_broken: bool = False

    def grow(self) -> bool:
        """Read what was added since; return whether the file is still the one that was read."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            if size < self.offset:
                return False
            file.seek(self.offset)
            while self.offset < size:
                chunk = file.read(CHUNK)
                if not chunk:
                    break
                self.offset += len(chunk)
                *lines, rest = (self._rest + chunk).split(b"\n")
                self._rest = rest[:LONGEST]
                for line in lines:
                    self._take(line[:LONGEST].decode("utf-8", "replace").rstrip("\r"))
        # An entry has no last line of its own, and the next may be hours away.
        self._note()
        return True

    def settle(self, number: int) -> None:
        """Take a job for done of whose end the log does not tell."""
        job = self.going.pop(number)
        self.done[job.rule] += 1
        if self._entry is job:
            self._entry = None

    @property
    def has_plan(self) -> bool:
        """Whether jobs were planned or begun."""
        return bool(self.totals or self.done or self.going or self.failed)

    def _take(self, line: str) -> None:
        if self._fence_next:
            self._fence_next = False
            if line.strip() and not line.strip().strip("="):
                # What a job wrote stands between two such lines, and could say anything.
                self._fence = line
                return
        if self._fence:
            self._fence = "" if line == self._fence else self._fence
            return
        words = line.strip()
        if self._in_table:
            self._in_table = self._take_count(words)
            return
        stamp = STAMP.fullmatch(words)
        if stamp:
            self._close()
            self._stamped, self.last = True, seconds(stamp)
            self.first = self.last if self.first is None else self.first
            return
        if self._stamped:
            self._stamped = False
            if self._begin(line, words):
                return
        if self._entry is not None and (not words or line.startswith(" " * (self._indent + 1))):
            self._detail(line, words)
            return
        self._close()
        self._remark(line, words)

    def _take_count(self, words: str) -> bool:
        """Take a line of the table of jobs; return whether it goes on."""
        match = COUNT.fullmatch(words)
        if match and match["rule"] != "total":
            self.totals[match["rule"]] += int(match["count"])
        return bool(words) and not words.startswith("total ")

    def _begin(self, line: str, words: str) -> bool:
        """Take the line after a time; return whether it begins or ends a job."""
        assert self.last is not None
        finished = FINISHED.fullmatch(words)
        if finished:
            self._finish(int(finished["id"]), finished["rule"])
            return True
        begun, error = BEGIN.fullmatch(words), ERROR.match(words)
        match = begun or error
        if match:
            self._entry = LoggedJob(match["rule"], self.last)
            self._is_error, self._indent = error is not None, len(line) - len(line.lstrip())
        return match is not None

    def _detail(self, line: str, words: str) -> None:
        assert self._entry is not None
        key, colon, value = words.partition(": ")
        # The lines of its command stand further to the right.
        if colon and len(line) - len(line.lstrip()) == self._indent + 4:
            self._entry.tell(key, value)

    def _close(self) -> None:
        """End the entry of a job."""
        self._note()
        self._entry = None

    def _note(self) -> None:
        """Take down the job of an entry; lines that are still to come add to it."""
        job = self._entry
        if job is None or job.number < 0:
            return
        if not self._is_error:
            job.tries = 1 + self._again[job.number]
            self.going[job.number] = job
            self.failed.pop(job.number, None)
            return
        before = self.going.pop(job.number, None) or self.failed.get(job.number)
        job.failed = job.begun if job.failed is None else job.failed
        if before is not None:
            job.wildcards, job.tries, job.slurm = before.wildcards, before.tries, before.slurm
            job.begun = before.begun
        self.failed[job.number] = job

    def _finish(self, number: int, rule: str | None) -> None:
        assert self.last is not None
        job = self.going.pop(number, None)
        self.failed.pop(number, None)
        name = rule or (job.rule if job else "?")
        self.done[name] += 1
        if job is not None:
            # `Counter` is typed for whole numbers; times of the log are.
            self.seconds[name] += int(self.last - job.begun)
        self.ends.append(self.last)

    def _remark(self, line: str, words: str) -> None:
        """Take a line that belongs to no job."""
        if self._told_broken and len(self.broken) < MOST_WORDS and words:
            self.broken.append(words)
        steps, sent, again = (form.fullmatch(words) for form in (STEPS, SENT, AGAIN))
        if steps:
            self.steps = (int(steps["done"]), int(steps["total"]))
        elif sent and int(sent["id"]) in self.going:
            job = self.going[int(sent["id"])]
            job.slurm, job.slurm_log = sent["slurm"], sent["log"]
        elif again:
            self._again[int(again["id"])] += 1
        elif words == "Job stats:":
            self._in_table, self.totals = True, Counter()
        elif words.startswith("Logfile ") and words.endswith(":"):
            self._fence_next = True
        elif words.startswith("Complete log(s): "):
            self.ended = True
        elif words.startswith(("Terminating processes on user request", "Shutting down, this")):
            self.stopped = True
        elif words.startswith("Nothing to be done"):
            self.idle = True
        elif words.startswith("Unlocked working directory"):
            self.unlocked = True
        elif not line.startswith(" ") and BROKEN.fullmatch(words) and not self._told_broken:
            self.locked |= words.startswith("LockException")
            self.broken, self._told_broken = [words], True


def seconds(stamp: re.Match[str]) -> float:
    """Return a time of the log in seconds, as if its clock were UTC."""
    month = MONTHS.index(stamp["month"]) + 1 if stamp["month"] in MONTHS else 1
    numbers = (int(stamp[name]) for name in ("day", "hour", "minute", "second"))
    return float(calendar.timegm((int(stamp["year"]), month, *numbers, 0, 0, 0)))
