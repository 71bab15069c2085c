"""The jobs that Snakemake would run now, and why: its own dry run, taken down as it is told."""

import ast
import io
import logging
import re
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from spotmill.errors import SpotmillError
from spotmill.nearest import instead


@dataclass(frozen=True)
class Change:
    """A parameter of a job that is not what it was; None where it was not there, or is not."""

    name: str
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Job:
    """One job of a dry run.

    `reason` is Snakemake's sentence; `missing`, `updated` and `remade` are the files that it
    names in it (absent outputs; inputs changed by hand; inputs that another job remakes).
    """

    rule: str
    wildcards: dict[str, str]
    outputs: tuple[str, ...]
    threads: int
    reason: str
    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    updated: tuple[str, ...]
    remade: tuple[str, ...]

    @property
    def other_inputs(self) -> bool:
        """Whether the job would read other files than it did."""
        return "Set of input files has changed" in self.reason

    @property
    def follows(self) -> bool:
        """Whether nothing about the job itself changed: it only follows from other jobs."""
        own = self.changes or self.updated or self.missing or self.other_inputs
        return not own and self.reason.startswith("Input files updated by another job")


def pending_jobs(words: Sequence[str]) -> list[Job]:
    """Return the jobs that `snakemake` with these words would run, in its order.

    Raises
    ------
    SpotmillError
        When Snakemake cannot plan the run; its own message has been printed.
    """
    # Costly, and nothing else of Spotmill needs it.
    from snakemake.cli import main
    from snakemake_interface_logger_plugins.common import LogEvent

    found: dict[int, Job] = {}

    class Listener(logging.Handler):
        """Takes the events that Snakemake announces to logger plugins."""

        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "event", None) == LogEvent.JOB_INFO:
                told = vars(record)
                found[told["jobid"]] = as_job(told)

    listener = Listener()
    above = logging.getLogger("snakemake")
    above.addHandler(listener)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            main([*words, "--dry-run", "--quiet", "all"])
        status: object = 0
    except SystemExit as end:
        status = end.code
    finally:
        above.removeHandler(listener)
    if status:
        why = cause(printed.getvalue())
        if unknown := NO_RULE.match(why):
            raise SpotmillError(
                f"{unknown[1]}: is neither a rule nor a file that this configuration makes"
                f"{instead(unknown[1], TARGETS)}"
            )
        raise SpotmillError(f"snakemake {shlex.join(words)}: {why}")
    return list(found.values())


NO_RULE = re.compile(r"No rule to produce (\S+)")
# What can be asked for by its name: rules that make one set of files.
TARGETS = (
    "all",
    "tuning",
    "manifest_all",
    "map",
    "check_all",
    "gallery",
    "report",
    "crate",
    "cost",
)


# After this line Snakemake names files that are missing, one a line.
AFFECTED = "affected files:"


def cause(printed: str) -> str:
    """Return the line of a message of Snakemake that says what is wrong, with files it names."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if "Exception" in line or "Error in" in line:
            rest = lines[number + 1 : number + 2]
            if AFFECTED in lines[number + 1 :]:
                files = lines[lines.index(AFFECTED, number + 1) + 1 :]
                return f"{rest[0]} {', '.join(files)}; bring them back, or name others"
            return rest[0] if rest else line
    return lines[-1] if lines else "failed; run it with --dry-run to see why"


def as_job(told: dict[str, Any]) -> Job:
    """Return a job from what Snakemake tells of it."""
    reason = str(told["reason"])
    return Job(
        rule=str(told["rule_name"]),
        wildcards={str(key): str(value) for key, value in dict(told["wildcards"]).items()},
        outputs=tuple(str(Path(name)) for name in told["output"]),
        threads=int(told["threads"]),
        reason=reason,
        changes=changes_in(reason),
        missing=files_in(reason, "Missing output files"),
        updated=files_in(reason, "Updated input files"),
        remade=files_in(reason, "Input files updated by another job"),
    )


def files_in(reason: str, heading: str) -> tuple[str, ...]:
    """Return the files under one heading of a reason."""
    for part in reason.split("; "):
        if part.startswith(f"{heading}: "):
            return tuple(part.removeprefix(f"{heading}: ").split(", "))
    return ()


# Parameters of the rules as Snakemake writes them: options with their values, a concept with
# a digest of what its file says, the recipe of a model, of a stage (the one bare number).
OPTIONS = re.compile(r"\['--[^\]]*\]")
DIGEST = re.compile(r"'(?P<name>\w+) (?P<value>[0-9a-f]{24}|none)'")
MODEL = re.compile(r"'model (?P<name>\w+) (?P<value>\d+)'")
RECIPE = re.compile(r"(?:^|,)(?P<value>\d+)(?=,|$)")


def changes_in(reason: str) -> tuple[Change, ...]:
    """Return the parameters that a reason names, those before beside those now."""
    told = re.search(r"across all output: before: (.*) now: (.*?) ?(?:;|$)", reason)
    if not told:
        return ()
    before, now = named(told[1]), named(told[2])
    return tuple(
        Change(name, before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def named(text: str) -> dict[str, str]:
    """Return the parameters in one list of a reason by name."""
    found: dict[str, str] = {}
    for match in OPTIONS.finditer(text):
        words = ast.literal_eval(match[0])
        for name, value in zip_longest(words[::2], words[1::2], fillvalue="yes"):
            found[str(name).removeprefix("--").replace("-", "_")] = str(value)
    for match in DIGEST.finditer(text):
        found[f"{match['name']} says"] = match["value"]
    for match in MODEL.finditer(text):
        found[f"recipe of model {match['name']}"] = match["value"]
    plain = MODEL.sub("", DIGEST.sub("", OPTIONS.sub("", text)))
    for match in RECIPE.finditer(plain):
        found["recipe"] = match["value"]
    return found
