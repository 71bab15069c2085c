"""What a run cost by rule: its benchmark files beside what was said of it before."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psutil

from spotmill.costs import Costs, held_bytes
from spotmill.formats.benchmarks import benchmark_rows
from spotmill.orphans import VARIABLE
from spotmill.pending import Job
from spotmill.plan import Plan
from spotmill.report.cost_jobs import APART, OWN, RULES, Work, jobs, memory_asked, waits_for

FOLDER = Path("results/benchmarks")
MEGABYTE = 2**20 / 1e6  # Snakemake's benchmarks count in 2^20 bytes, its resources in 10^6
OFF = 2.0  # an estimate that is off by more is told


@dataclass(frozen=True)
class Measured:
    """What a benchmark file says: seconds, seconds of cores, MB; None where not measured."""

    seconds: float
    core_seconds: float | None
    memory: float | None
    written: float  # when, as the file's time


@dataclass
class RuleCost:
    """All jobs of a rule: sums, the longest and the largest; memory in MB.

    The plan's seconds and bytes are of the jobs that were timed or wrote something, so that
    they can be compared.
    """

    rule: str
    jobs: int = 0
    timed: int = 0
    earlier: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    core_seconds: float = 0.0
    memory: float | None = None
    bytes: int = 0
    plan_seconds: float = 0.0
    plan_memory: float | None = None
    plan_bytes: float = 0.0

    @property
    def time_ratio(self) -> float | None:
        """Seconds taken to seconds said."""
        return ratio(self.seconds, self.plan_seconds) if self.timed else None

    @property
    def memory_ratio(self) -> float | None:
        """Largest memory taken to memory asked for."""
        return ratio(self.memory, self.plan_memory)

    @property
    def bytes_ratio(self) -> float | None:
        """Bytes written to bytes said."""
        return ratio(self.bytes, self.plan_bytes)


@dataclass
class RunCost:
    """What a whole run cost.

    `missing` are jobs of the configuration without a benchmark, `strays` benchmark files of
    other jobs, `apart` the seconds of rules that no run makes unasked, `chain` the jobs that
    waited for each other longest, and `chain_seconds` how long. `since` is when the run began,
    where that is known, `first` and `last` when the benchmarks were written.
    """

    rules: list[RuleCost] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strays: int = 0
    apart: dict[str, float] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)
    chain_seconds: float = 0.0
    since: float | None = None
    first: float | None = None
    last: float | None = None

    def total(self, what: str) -> float:
        """Return the sum of a column over all rules."""
        return float(sum(getattr(row, what) for row in self.rules))

    def off(self, what: str) -> list[tuple[str, float]]:
        """Return rules whose time, memory or bytes are off the plan by more than twice.

        Worst first. Time and bytes count where they are a hundredth of the run's, in fact or by
        the plan.
        """
        fact, said = {
            "time": ("seconds", "plan_seconds"),
            "bytes": ("bytes", "plan_bytes"),
            "memory": ("memory", "plan_memory"),
        }[what]
        least = (0.0, 0.0) if what == "memory" else (self.total(fact), self.total(said))
        found = []
        for row in self.rules:
            off = getattr(row, f"{what}_ratio")
            if off is None or 1 / OFF <= off <= OFF:
                continue
            if getattr(row, fact) >= least[0] / 100 or getattr(row, said) >= least[1] / 100:
                found.append((row.rule, off))
        return sorted(found, key=lambda pair: (-abs(math.log(pair[1])), pair[0]))


def ratio(fact: float | None, said: float | None) -> float | None:
    """Return fact to plan; None where either is unknown or nothing."""
    return fact / said if fact and said else None


def read_benchmark(path: Path) -> Measured | None:
    """Return what the last row of a benchmark file says; None without one."""
    rows = benchmark_rows(path)
    if not rows:
        return None
    row = rows[-1]
    # A job that ended before Snakemake looked at it has 0 seconds, and the memory of its shell.
    cores = row.get("cpu_time") or None
    memory = row.get("max_rss") if cores else None
    return Measured(
        row["s"], cores, None if memory is None else memory * MEGABYTE, path.stat().st_mtime
    )


def measure(plan: Plan) -> RunCost:
    """Put together what the jobs of a configuration cost; results are in the current folder."""
    run = RunCost(since=began())
    rows = {name: RuleCost(name, plan_memory=memory_asked(name, plan)) for name in RULES}
    costs = Costs(plan, {})
    known = {f"{FOLDER}/{OWN}.tsv"}
    # When the last job of a kind ended, counted along its chain, and which it was.
    ends: dict[tuple[str, ...], tuple[float, Work]] = {}
    before: dict[Work, Work] = {}
    for work in jobs(plan):
        row, files = rows[work.rule], work.files()
        measured = read_benchmark(Path(work.benchmark))
        known.add(work.benchmark)
        row.jobs += 1
        row.bytes += sum(held_bytes(path) for path in files)
        names = tuple(str(path) for path in files)
        said = costs.typical(Job(work.rule, dict(work.wildcards), names, 1, "", (), (), (), ()))
        row.plan_bytes += said.bytes
        waits = [ends[key] for key in waits_for(work, plan) if key in ends]
        start, previous = max(waits, key=lambda end: end[0], default=(0.0, None))
        if previous is not None:
            before[work] = previous
        end = start
        if measured is None:
            run.missing.append(work.name)
        else:
            end += measured.seconds
            add(row, measured, said.seconds, run)
        values = tuple(value for _, value in work.wildcards)
        for length in range(len(values) + 1):
            key = (work.rule, *values[:length])
            if key not in ends or end > ends[key][0]:
                ends[key] = (end, work)
    run.rules = [row for row in rows.values() if row.jobs]
    if ends:
        run.chain_seconds, last = max(ends.values(), key=lambda end: end[0])
        run.chain = chain(last, before)
    look_besides(run, known)
    return run


def add(row: RuleCost, measured: Measured, said: float, run: RunCost) -> None:
    """Count one job that was timed."""
    row.timed += 1
    row.seconds += measured.seconds
    row.longest = max(row.longest, measured.seconds)
    cores = measured.core_seconds
    row.core_seconds += measured.seconds if cores is None else cores
    if measured.memory is not None:
        row.memory = max(row.memory or 0.0, measured.memory)
    row.plan_seconds += said
    row.earlier += run.since is not None and measured.written < run.since
    run.first = min(run.first or measured.written, measured.written)
    run.last = max(run.last or measured.written, measured.written)


def chain(last: Work, before: Mapping[Work, Work]) -> list[str]:
    """Return the names of the jobs that led to one, in their order."""
    found: list[Work] = [last]
    while found[-1] in before:
        found.append(before[found[-1]])
    return [work.name for work in reversed(found)]


def look_besides(run: RunCost, known: set[str]) -> None:
    """Count benchmark files that are of no job of a run."""
    for path in sorted(FOLDER.rglob("*.tsv")):
        rule = path.relative_to(FOLDER).parts[0].removesuffix(".tsv")
        if rule in APART:
            measured = read_benchmark(path)
            run.apart[rule] = run.apart.get(rule, 0.0) + (measured.seconds if measured else 0.0)
        elif path.as_posix() not in known:
            run.strays += 1


def began() -> float | None:
    """Return when the workflow that this process works for was started; None by hand."""
    text = os.environ.get(VARIABLE, "")
    try:
        return psutil.Process(int(text)).create_time() if text.isdecimal() else None
    except psutil.Error:
        return None


def table(run: RunCost) -> pd.DataFrame:
    """Return the costs by rule as a table: seconds, MB, bytes, and fact to plan."""
    rows = [
        {
            "rule": row.rule,
            "jobs": row.jobs,
            "timed": row.timed,
            "timed_in_earlier_runs": row.earlier,
            "seconds": rounded(row.seconds if row.timed else None, 2),
            "longest_seconds": rounded(row.longest if row.timed else None, 2),
            "core_seconds": rounded(row.core_seconds if row.timed else None, 2),
            "memory_mb": rounded(row.memory, 1),
            "bytes": row.bytes,
            "plan_seconds": rounded(row.plan_seconds if row.timed else None, 2),
            "seconds_to_plan": rounded(row.time_ratio, 3),
            "plan_memory_mb": row.plan_memory,
            "memory_to_plan": rounded(row.memory_ratio, 3),
            "plan_bytes": round(row.plan_bytes),
            "bytes_to_plan": rounded(row.bytes_ratio, 3),
        }
        for row in run.rules
    ]
    return pd.DataFrame(rows)


def rounded(value: float | None, digits: int) -> float | None:
    """Return a number rounded, or None."""
    return None if value is None else round(value, digits)


def day(moment: float) -> str:
    """Return the date of a moment in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
