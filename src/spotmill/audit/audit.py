"""The audit: every file of a run, one line a finding."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from spotmill.audit import headers, tables
from spotmill.audit.expected import CHECKED, Expected, expected, left_over
from spotmill.errors import SpotmillError
from spotmill.formats.digests import file_digest, read_digests
from spotmill.model import read_yaml
from spotmill.plan import Plan, read_plan
from spotmill.progress import print_beside, track

RUN = "snakemake --profile profiles/local"

FINDINGS: dict[str, Callable[[Plan, Expected], Iterator[str]]] = {
    "reflections": headers.reflection_findings,
    "geometry": headers.geometry_findings,
    "water": headers.shard_findings,
    "labels": headers.shard_findings,
    "overlay": headers.shard_findings,
    "manifest": tables.manifest_findings,
    "manifest_all": tables.manifest_findings,
    "split": tables.split_findings,
    "train": tables.model_findings,
}


def audit(config: Path) -> None:
    """Hold the results against a configuration and print what is wrong.

    Raises
    ------
    SpotmillError
        When anything is; the message says what to type.
    """
    plan = read_plan(read_yaml(config), str(config))
    files = list(expected(plan))
    lists, wrong = read_lists(plan)
    listed = {
        name: (digest, path) for path, found in lists.items() for name, digest in found.items()
    }
    damaged: list[str] = []
    absent = 0
    for path, what in wrong:
        print(f"{path}: {what}")
        damaged.append(path)
    for file in track(files, "check", "file"):
        if not Path(file.path).is_file():
            print_beside(f"{file.path}: is not there")
            absent += 1
            continue
        for what in findings(plan, file, listed):
            print_beside(f"{file.path}: {what}")
            damaged.append(file.path)
    # Files that a list names besides, such as the figures of the report.
    known = {file.path for file in files}
    for name, (digest, path) in listed.items():
        if name in known:
            continue
        if not Path(name).is_file():
            print(f"{name}: is not there, {path} lists it")
            absent += 1
        elif file_digest(name) != digest:
            print(f"{name}: is not what {path} lists")
            damaged.append(name)
    for name, what in left_over(known | set(listed)):
        print(f"{name}: {what}; nothing reads it, delete it if you like")
    conclude(list(dict.fromkeys(damaged)), absent, len(files))


def read_lists(plan: Plan) -> tuple[dict[str, dict[str, str]], list[tuple[str, str]]]:
    """Return the lists of digests that are there, and what is wrong with others."""
    lists, wrong = {}, []
    for dataset in [*plan.datasets, "all"]:
        path = CHECKED.format(dataset=dataset)
        if Path(path).is_file():
            try:
                lists[path] = read_digests(path)
            except SpotmillError as error:
                wrong.append((path, without_path(error, path)))
    return lists, wrong


def findings(plan: Plan, file: Expected, listed: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Yield what is wrong with a file that is there."""
    digest, path = listed.get(file.path, ("", ""))
    try:
        # First, as libraries need not survive a file that has changed.
        if digest and file_digest(file.path) != digest:
            yield f"is not what {path} lists"
            return
        yield from look(plan, file)
    except SpotmillError as error:
        yield without_path(error, file.path)


def look(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield what a file says that the configuration does not."""
    if file.stage == "simulate":
        is_table = file.path.endswith(".parquet")
        find = tables.truth_findings if is_table else headers.shard_findings
        yield from find(plan, file)
    elif file.stage == "evaluate":
        is_table = file.path.endswith(".parquet")
        find = tables.prediction_findings if is_table else tables.card_findings
        yield from find(plan, file)
    elif file.stage in FINDINGS:
        yield from FINDINGS[file.stage](plan, file)


def without_path(error: SpotmillError, path: str) -> str:
    """Return a message without the path that it begins with."""
    return str(error).removeprefix(f"{path}: ")


def conclude(damaged: list[str], absent: int, n_files: int) -> None:
    """Print that all is well, or raise SpotmillError with what to type."""
    if not damaged and not absent:
        print(f"results: all {n_files} files are whole and as the configuration asks")
        return
    remove = f"rm {' '.join(shlex.quote(path) for path in damaged)} && " if damaged else ""
    raise SpotmillError(
        f"results: {len(damaged)} files wrong, {absent} missing; type: {remove}{RUN}"
    )
