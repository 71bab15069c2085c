"""What a run cost, in plain sentences."""

from collections.abc import Sequence
from itertools import groupby

from spotmill.commands.diff import count, listed
from spotmill.commands.diff import size as bytes_in_words
from spotmill.report.cost import OFF, RunCost, day


def duration(seconds: float) -> str:
    """Return a time in words of a length that one reads."""
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def sentences(run: RunCost) -> list[str]:
    """Return what there is to say of a run's cost, the sum first."""
    timed = int(run.total("timed"))
    n_jobs = int(run.total("jobs"))
    if not timed:
        return [f"None of the {count(n_jobs, 'job')} of this run has a benchmark file."]
    cores = run.total("core_seconds")
    said = [
        f"{count(timed, 'job')} took {duration(cores)} of core time"
        f" ({duration(run.total('seconds'))} as clocks count, one after the other) and wrote"
        f" {bytes_in_words(run.total('bytes'))}.",
        f"The longest chain of jobs that wait for each other takes {duration(run.chain_seconds)}:"
        f" {short(run.chain)}. With any number of cores a run takes at least that long.",
        most(run),
    ]
    return said + honest(run, timed, n_jobs)


def most(run: RunCost) -> str:
    """Say which rules took most."""
    cores = run.total("core_seconds") or 1.0
    rows = sorted(run.rules, key=lambda row: -row.core_seconds)
    parts = [f"{row.rule} ({100 * row.core_seconds / cores:.0f}\u00a0%)" for row in rows[:3]]
    largest = max(run.rules, key=lambda row: row.bytes)
    hungry = max(run.rules, key=lambda row: row.memory or 0.0)
    words = (
        f"Most core time went into {', '.join(parts)}; most bytes were written by {largest.rule}"
    )
    if hungry.memory:
        return f"{words}; most memory was used by {hungry.rule} ({hungry.memory:.0f} MB)."
    return f"{words}."


def honest(run: RunCost, timed: int, n_jobs: int) -> list[str]:
    """Say what the figures do not hold."""
    said = []
    if run.missing:
        has, are = ("has", "is") if len(run.missing) == 1 else ("have", "are")
        said.append(
            f"{count(len(run.missing), 'job')} of {n_jobs} {has} no benchmark file and {are} not"
            f" in these times: {by_rule(run.missing)}."
        )
    earlier = int(run.total("earlier"))
    if earlier:
        said.append(
            f"{earlier} of the {timed} times were taken in earlier runs, of jobs that this run"
            " did not have to do again."
        )
    if run.first is not None and run.last is not None:
        first, last = day(run.first), day(run.last)
        when = f"at {first}" if first == last else f"between {first} and {last}"
        said.append(f"The benchmark files were written {when} UTC.")
    if run.strays:
        are = "is of a job" if run.strays == 1 else "are of jobs"
        said.append(
            f"{count(run.strays, 'benchmark file')} {are} that the configuration no longer asks"
            " for, and left out."
        )
    if run.apart:
        took = ", ".join(f"{rule} {duration(s)}" for rule, s in run.apart.items())
        said.append(f"Besides, asked for apart and not in the sums: {took}.")
    return said


def off_plan(run: RunCost) -> list[str]:
    """Say where the plan was off by more than twice, one sentence for each of its figures."""
    said = []
    for what, plan in (("time", "typical times of a laptop"), ("bytes", "typical sizes")):
        wrong = run.off(what)
        if wrong:
            parts = ", ".join(f"{rule} {times(ratio)}" for rule, ratio in wrong)
            said.append(f"{what.capitalize()}, beside {plan}: {parts}.")
    memory = run.off("memory")
    over = [f"{rule} {times(ratio)}" for rule, ratio in memory if ratio > 1]
    under = [rule for rule, ratio in memory if ratio < 1]
    if over:
        said.append(f"Memory, beside what the rules ask for: {', '.join(over)}.")
    if under:
        said.append(f"Memory: {listed(under)} asked for more than twice what they took.")
    return said or [f"Nowhere by more than {OFF:g} times."]


def times(ratio: float) -> str:
    """Return fact to plan as a factor."""
    return f"{ratio:.2g} times" if ratio < 99.5 else f"{ratio:.0f} times"


def short(chain: Sequence[str]) -> str:
    """Return a chain of jobs in a line."""
    return " → ".join(chain)


def by_rule(names: Sequence[str]) -> str:
    """Return jobs in a line: how many of each rule, or their names where they are few."""
    if len(names) <= 6:
        return ", ".join(names)
    rules = sorted(name.split(" ")[0] for name in names)
    return listed([f"{rule} ({len(list(same))})" for rule, same in groupby(rules)])
