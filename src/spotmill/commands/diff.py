r"""Say what a run would do now, why, and what it would cost; do nothing.

Example::

    spotmill diff                      # in the project's folder
    spotmill diff --profile slurm
    spotmill diff results/images/peaks_water_overlay/01/p00000.h5
    spotmill diff --json | jq .total.core_hours

Which jobs would run is Snakemake's own answer to `snakemake --dry-run`. Hours are those of
one core, from earlier runs in this folder where there are any, else typical figures.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spotmill.errors import SpotmillError
from spotmill.nearest import instead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill diff`."""
    parser.add_argument(
        "targets", nargs="*", help="files or rules to make (default: everything to the report)"
    )
    parser.add_argument(
        "--profile", default="profiles/local", help="Snakemake profile (default profiles/local)"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for machines")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill diff`."""
    if not Path("Snakefile").is_file():
        raise SpotmillError("Snakefile: is not in this folder; go to the project's folder")
    from spotmill.difference import difference, unrecorded
    from spotmill.foreseen import check_classes, check_files
    from spotmill.model import read_keys
    from spotmill.pending import pending_jobs
    from spotmill.plan import read_plan

    plan = read_plan(read_keys("config/config.yaml"))
    check_profile(args.profile)
    check_files(plan)
    # Targets may need no task.
    check_classes(plan, () if args.targets else plan.tasks)
    jobs = pending_jobs(["--profile", args.profile, *args.targets])
    check_classes(plan, {job.wildcards["task"] for job in jobs if "task" in job.wildcards})
    found = difference(plan, jobs)
    strangers = unrecorded(plan, jobs)
    if args.json:
        print(json.dumps(as_values(found, strangers), indent=1))
    else:
        print("\n".join(as_lines(found, strangers, args.profile)))


def check_profile(profile: str) -> None:
    """Raise SpotmillError where there is no such folder, here or where Snakemake looks for one."""
    known = sorted(str(path.parent) for path in Path("profiles").glob("*/config*.yaml"))
    # Snakemake knows further places for a plain name.
    if "/" in profile and not Path(profile).is_dir():
        raise SpotmillError(f"--profile: {profile}: no such folder{instead(profile, known)}")


def as_values(found: Any, strangers: list[str]) -> dict[str, Any]:
    """Return all that is to be said as plain values."""
    return {
        "datasets": [values(part) for part in found.datasets.values()],
        "crystals": [values(part) for part in found.crystals.values()],
        "models": [
            values(part) | {"trained": "train" in part.jobs} for part in found.tasks.values()
        ],
        "other": values(found.rest),
        "untouched_datasets": found.untouched,
        "unrecorded": strangers,
        "total": {
            "jobs": found.n_jobs,
            "frames": sum(part.frames for part in found.datasets.values()),
            **costs(found.cost),
        },
        "basis": found.basis,
    }


def values(part: Any) -> dict[str, Any]:
    """Return one part as plain values."""
    shown = asdict(part) | {"jobs": dict(part.jobs)}
    del shown["cost"]
    return shown | costs(part.cost)


def costs(cost: Any) -> dict[str, float]:
    """Return a cost as plain values."""
    return {
        "core_hours": round(cost.seconds / 3600, 6),
        "bytes": round(cost.bytes),
        "replaced_bytes": cost.replaced,
    }


def as_lines(found: Any, strangers: list[str], profile: str) -> list[str]:
    """Return all that is to be said as lines."""
    lines = [f"Beware: {line}" for line in strangers]
    if not found.n_jobs:
        return [*lines, "Nothing to do: everything is as the configuration asks."]
    parts = found.crystals.values()
    lines += section("Reflections", [(part, "computed anew") for part in parts])
    lines += section("Datasets", [(part, dataset_work(part)) for part in found.datasets.values()])
    if found.datasets and found.untouched:
        lines += [f"  untouched: {listed(found.untouched)}"]
    lines += section("Models", [(part, model_work(part)) for part in found.tasks.values()])
    if found.rest.jobs:
        made = ", ".join(SHARED.get(rule, rule) for rule in found.rest.jobs)
        because = f" ({'; '.join(found.rest.why)})" if found.rest.why else ""
        lines += ["", f"Also: {made}{because}"]
    frames = sum(part.frames for part in found.datasets.values())
    lines += [
        "",
        f"Total: {count(found.n_jobs, 'job')}, {count(frames, 'frame')}, {told(found.cost)},"
        f" {growth(found.cost)}.",
        f"Estimated from {found.basis}.",
        f"Do it: snakemake --profile {profile}",
    ]
    return lines if lines[0] else lines[1:]


def section(title: str, parts: list[tuple[Any, str]]) -> list[str]:
    """Return the lines of the parts of one kind; alike ones share theirs."""
    if not parts:
        return []
    alike: dict[tuple[str, ...], list[tuple[Any, str]]] = {}
    for part, work in parts:
        alike.setdefault((work, *part.why), []).append((part, work))
    lines = ["", title]
    for (work, *why), same in alike.items():
        cost = same[0][0].cost
        for part, _ in same[1:]:
            cost += part.cost
        lines.append(f"  {listed([part.name for part, _ in same])}: {'; '.join(why)}")
        each, together = ("each ", "together ") if len(same) > 1 else ("", "")
        lines += [f"    {each}{work}", f"    {together}{told(cost)}"]
    return lines


def listed(names: list[str]) -> str:
    """Return names in a line, the first and last of many."""
    if len(names) <= 12:
        return ", ".join(names)
    return f"{', '.join(names[:8])} … {names[-1]} ({len(names)} in all)"


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


# What all datasets and tasks share, by rule.
SHARED = {
    "manifest_all": "table of all frames",
    "map": "map of frames",
    "check_all": "digests of all files",
    "gallery": "gallery of frames",
    "report": "report",
    "crate": "record of the run",
    "cost": "what the run cost",
}

# The rules of a dataset, in the order of the work.
ORDER = ("water", "simulate", "overlay", "empty", "labels", "geometry", "manifest", "check", "card")


def dataset_work(part: Any) -> str:
    """Return what is made of a dataset."""
    rules = sorted(part.jobs, key=lambda rule: (ORDER.index(rule) if rule in ORDER else 99, rule))
    if not part.shards:
        return ", ".join(rules)
    spans = []
    for kind in "pe":
        own = [shard for shard in part.shards if shard[0] == kind]
        if own:
            spans.append(own[0] if len(own) == 1 else f"{own[0]} … {own[-1]}")
    shards = f"{count(len(part.shards), 'shard')} ({', '.join(spans)})"
    return f"{count(part.frames, 'frame')} in {shards}: {', '.join(rules)}"


def model_work(part: Any) -> str:
    """Return what is done with a model."""
    if "train" in part.jobs:
        return "trained and evaluated" if "evaluate" in part.jobs else "trained"
    if "evaluate" in part.jobs:
        return "evaluated, not trained"
    if "split" in part.jobs:
        return "frames assigned to training and test"
    return ", ".join(sorted(part.jobs)) + "; neither trained nor evaluated"


def told(cost: Any) -> str:
    """Return a cost in words."""
    return f"about {time(cost.seconds)}, {size(cost.bytes)} written"


def growth(cost: Any) -> str:
    """Return in words how the room taken on the disk will change."""
    more = cost.bytes - cost.replaced
    if abs(more) < 0.01 * cost.bytes:
        return "in place of files as large"
    return f"{size(abs(more))} {'more' if more > 0 else 'less'} than now on the disk"


def time(seconds: float) -> str:
    """Return time of a core in core-hours, and in smaller units where they are few."""
    hours = f"{seconds / 3600:.2g} core-hours"
    if seconds < 120:
        return f"{hours} ({seconds:.0f} s)"
    if seconds < 7200:
        return f"{hours} ({seconds / 60:.0f} min)"
    return f"{seconds / 3600:,.0f} core-hours".replace(",", " ")


def size(number: float) -> str:
    """Return bytes in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
