"""What a pending run will do: for each dataset and model what is made anew, why and at what cost.

Which jobs run is Snakemake's own word (`spotmill.pending`); here they are put together.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
from pyarrow import parquet

from spotmill.changes import in_words, read_card, text_in_words
from spotmill.costs import SHARD_RULES, Cost, Costs
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.pending import Job
from spotmill.plan import Plan
from spotmill.recipes import RECIPES

# What a shard's index and number of frames say is said of the whole dataset.
OF_SHARD = ("first", "count")


@dataclass
class Part:
    """What will be done to one dataset, crystal or task, or to what all of them share."""

    name: str
    why: list[str] = field(default_factory=list)
    jobs: Counter[str] = field(default_factory=Counter)
    shards: list[str] = field(default_factory=list)
    frames: int = 0
    cost: Cost = field(default_factory=Cost)


@dataclass
class Difference:
    """All that a pending run will do."""

    datasets: dict[str, Part]
    crystals: dict[str, Part]
    tasks: dict[str, Part]
    rest: Part
    untouched: list[str]
    basis: str

    @property
    def parts(self) -> list[Part]:
        """All parts."""
        return [
            *self.crystals.values(),
            *self.datasets.values(),
            *self.tasks.values(),
            self.rest,
        ]

    @property
    def n_jobs(self) -> int:
        """Number of jobs."""
        return sum(part.jobs.total() for part in self.parts)

    @property
    def cost(self) -> Cost:
        """Cost of all jobs."""
        return sum((part.cost for part in self.parts), Cost())


def difference(plan: Plan, jobs: list[Job]) -> Difference:
    """Put the jobs of a pending run together by what they belong to."""
    before = {name: frames_held(name) for name in plan.datasets}
    other_engine = frozenset(
        job.wildcards["dataset"]
        for job in jobs
        if any(change.name == "engine" for change in job.changes)
    )
    costs = Costs(plan, before, other_engine)
    groups: dict[str, dict[str, list[Job]]] = {"dataset": {}, "crystal": {}, "task": {}}
    rest: list[Job] = []
    for job in jobs:
        kind = next((kind for kind in groups if kind in job.wildcards), None)
        if kind:
            groups[kind].setdefault(job.wildcards[kind], []).append(job)
        elif job.rule != "all":
            rest.append(job)
    crystals = {
        name: part(name, own, plan, costs, own_reasons(own, plan))
        for name, own in groups["crystal"].items()
    }
    datasets = {
        name: part(name, own, plan, costs, dataset_reasons(name, own, plan, before[name]))
        for name, own in in_order(groups["dataset"], plan.datasets)
    }
    tasks = {
        name: part(name, own, plan, costs, task_reasons(name, own, plan, groups["dataset"]))
        for name, own in in_order(groups["task"], plan.tasks)
    }
    untouched = [name for name in plan.datasets if name not in datasets]
    shared = part("", rest, plan, costs, own_reasons(rest, plan))
    return Difference(datasets, crystals, tasks, shared, untouched, costs.basis)


def in_order(groups: dict[str, list[Job]], names: Iterable[str]) -> Iterable[tuple[str, list[Job]]]:
    """Return groups of jobs in the order of the configuration."""
    return [(name, groups[name]) for name in names if name in groups]


def part(name: str, jobs: list[Job], plan: Plan, costs: Costs, why: list[str]) -> Part:
    """Return what jobs do to one dataset, crystal or task."""
    shards = {job.wildcards["shard"] for job in jobs if job.rule in SHARD_RULES}
    return Part(
        name,
        why,
        Counter(job.rule for job in jobs),
        sorted(shards, key=lambda shard: (shard[0] != "p", shard)),
        sum(plan.count(name, shard) for shard in shards),
        sum((costs.of(job) for job in jobs), Cost()),
    )


def frames_held(dataset: str) -> dict[str, int]:
    """Return how many frames each shard of a dataset holds now, by its manifest."""
    try:
        table = parquet.read_table(f"results/manifest/{dataset}.parquet", columns=["shard"])
        return dict(Counter(table.column("shard").to_pylist()))
    except (OSError, KeyError, ValueError, pyarrow.ArrowException):
        return {}


def own_reasons(jobs: list[Job], plan: Plan, but: Iterable[str] = ()) -> list[str]:
    """Return why jobs run that do not just follow from others, each reason once."""
    found: list[str] = []
    for job in jobs:
        found += [in_words(change, job, plan) for change in job.changes if change.name not in but]
        if "Params have changed" in job.reason and not job.changes:
            whole = job.rule in ("report", "crate")
            what = "the configuration says" if whole else f"{job.rule} has"
            found.append(f"{what} something else")
        found += [f"{name} changed" for name in job.updated]
        if job.rule in ("reflections", "report", "crate") and job.missing:
            found.append("new")
        if "Incomplete output files" in job.reason:
            found.append(f"{job.rule} was interrupted")
        if "Software environment" in job.reason:
            found.append("the software environment changed")
        if "Code has changed" in job.reason:
            found.append(f"the rule {job.rule} changed")
        if "Forced execution" in job.reason:
            found.append("forced")
    return list(dict.fromkeys(found))


def dataset_reasons(name: str, jobs: list[Job], plan: Plan, held: dict[str, int]) -> list[str]:
    """Return why parts of a dataset are made."""
    if not held and not any(Path(path).exists() for job in jobs for path in job.outputs):
        return ["new"]
    found = own_reasons(jobs, plan, OF_SHARD)
    grown = False
    for kind, what in (("p", "n_patterns"), ("e", "frames without a crystal")):
        had = sum(count for shard, count in held.items() if shard[0] == kind)
        now = plan.n_frames(name, kind)
        if held and had != now:
            grown = True
            found.append(f"{what} {had} → {now}")
    if not grown and any(change.name in OF_SHARD for job in jobs for change in job.changes):
        found.append("shard_size is another: shards are cut anew")
    missing = [path for job in jobs for path in job.missing]
    lost = [path for path in missing if Path(path).name.split(".")[0] in held or not held]
    lost += [path for path in missing if Path(path).stem == name]
    if lost:
        lost = list(dict.fromkeys(lost))
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        found.append(f"missing: {', '.join(lost[:3])}{more}")
    if not found and {"simulate"} & {job.rule for job in jobs}:
        found.append(f"the reflections of {plan.crystal(name)} are made anew")
    return found or ["what it is made from is made anew"]


def task_reasons(
    name: str, jobs: list[Job], plan: Plan, datasets: dict[str, list[Job]]
) -> list[str]:
    """Return why a model is trained or put to the proof again."""
    card = read_card(name)
    rules = {job.rule for job in jobs}
    if card is None and "train" in rules:
        return ["new"]
    found = own_reasons(jobs, plan)
    selected, trained_on = plan.task_datasets(name), plan.training_datasets(name)
    had = (card or {}).get("training_datasets", trained_on)
    gone = [dataset for dataset in had if dataset not in trained_on]
    come = [dataset for dataset in trained_on if dataset not in had]
    if gone:
        found.append(f"without the frames of {', '.join(gone)}")
    if come:
        found.append(f"with the frames of {', '.join(come)}")
    changed = [
        dataset
        for dataset in selected
        if dataset not in come
        and any(job.rule in ("manifest", "check") for job in datasets.get(dataset, ()))
    ]
    if changed:
        found.append(f"frames of {', '.join(changed)} change")
    found += [f"missing: {path}" for job in jobs for path in job.missing]
    return found or ["what it is made from is made anew"]


def unrecorded(plan: Plan, jobs: list[Job]) -> list[str]:
    """Return files that say of themselves that they are not what is asked, yet stay.

    Snakemake compares parameters with its record in `.snakemake`; without a record (the
    folder was copied without it, a job was ended by force) it takes a file as it is.
    """
    made = {name for job in jobs for name in job.outputs}
    found = []
    for dataset in plan.datasets:
        shards = [name for name in plan.shards(dataset) if name[0] == "p"]
        files = [f"results/images/peaks/{dataset}/{name}.h5" for name in (shards[0], shards[-1])]
        files.append(f"results/images/water/{dataset}.h5")
        there = [name for name in files if name not in made and Path(name).is_file()]
        otherwise = [word for name in there for word in mismatches(name, dataset, plan)]
        if otherwise:
            found.append(
                f"dataset {dataset} was made otherwise ({'; '.join(dict.fromkeys(otherwise))}), "
                "and Snakemake has no record of it; to have it made anew, remove "
                f"results/images/water/{dataset}.h5 and results/images/peaks/{dataset}"
            )
    return found


def mismatches(name: str, dataset: str, plan: Plan) -> list[str]:
    """Return in words what a shard says of itself that is not as asked."""
    try:
        with Shard(name) as shard:
            header = shard.header
    except SpotmillError:
        return []
    row, rule = plan.datasets[dataset], "water" if header.content == "water" else "simulate"
    found = []
    if header.photon_energy != row.photon_energy:
        found.append(f"photon_energy {header.photon_energy:g} → {row.photon_energy:g} eV")
    if header.clen != row.clen:
        found.append(f"clen {header.clen:g} → {row.clen:g} m")
    if header.recipe != RECIPES[rule]:
        found.append(f"recipe of {rule} raised from {header.recipe} to {RECIPES[rule]}")
    for concept in ("detector", "beam", "crystal", "solvent", "response"):
        if concept in header.parameters:
            text, path = str(header.parameters[concept]), plan.concept(dataset, concept)
            found.append(text_in_words(concept, text, path))
    return [word for word in found if word]
