"""The jobs of a whole run: which there are, what each writes, times and waits for.

A test holds this table against the Snakefile's own rules and their graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spotmill.audit.expected import (
    CHECKED,
    EVALUATION,
    FRAMES,
    GEOMETRY,
    HISTORY,
    LABELS,
    MANIFEST,
    MAP,
    MODEL,
    OVERLAY,
    PEAKS,
    PREDICTIONS,
    README,
    REFLECTIONS,
    REPORT,
    SPLIT,
    SPOTS,
    WATER,
)
from spotmill.learning.registry import MODELS
from spotmill.plan import Plan


@dataclass(frozen=True)
class Rule:
    """What a rule makes: `of` names its wildcards, `after` the rules whose files it reads.

    `outputs` are patterns; a star stands for any name, a pattern that ends in `/` for a folder
    with all that is in it. `kinds` are the kinds of shards it has jobs for; `memory` is what it
    asks for at first, MB, 0 where the model decides.
    """

    of: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...] = ()
    kinds: str = ""
    memory: int = 1000


_SHARD, _DATASET, _TASK = ("dataset", "shard"), ("dataset",), ("task",)
_CARD = "results/cards/{dataset}/"

# In an order in which they can be worked off.
RULES: dict[str, Rule] = {
    "reflections": Rule(("crystal",), (REFLECTIONS,), memory=2000),
    "geometry": Rule(_DATASET, (GEOMETRY,)),
    "water": Rule(_DATASET, (WATER,), memory=1500),
    "simulate": Rule(_SHARD, (PEAKS, SPOTS, FRAMES), ("reflections",), "p"),
    "overlay": Rule(_SHARD, (OVERLAY,), ("simulate", "water"), "p"),
    "empty": Rule(_SHARD, (OVERLAY,), ("water",), "e"),
    "labels": Rule(_SHARD, (LABELS,), ("simulate",), "p"),
    "manifest": Rule(_DATASET, (MANIFEST,), ("simulate", "overlay", "empty", "labels")),
    "check": Rule(_DATASET, (CHECKED,), ("manifest", "geometry", "water", "reflections")),
    "manifest_all": Rule((), (MANIFEST.format(dataset="all"),), ("manifest", "check")),
    "map": Rule((), (MAP,), ("manifest_all", "geometry", "check"), memory=2000),
    "split": Rule(_TASK, (SPLIT,), ("manifest", "check")),
    "train": Rule(_TASK, (*MODEL, HISTORY, README), ("split",), memory=0),
    "evaluate": Rule(_TASK, (EVALUATION, PREDICTIONS), ("split", "train", "water"), memory=0),
    "saliency": Rule(
        _TASK,
        tuple(f"results/saliency/{{task}}/{name}" for name in ("saliency.json", "parts.parquet")),
        ("split", "train", "evaluate"),
        memory=0,
    ),
    "card": Rule(
        _DATASET,
        (f"{_CARD}README.md", f"{_CARD}croissant.json", f"{_CARD}*.png"),
        ("manifest", "check", "water", "geometry"),
        memory=2000,
    ),
    "gallery": Rule(
        (),
        ("results/report/gallery/",),
        ("manifest_all", "map", "geometry", "split", "evaluate"),
        memory=2000,
    ),
    "report": Rule(
        (),
        (REPORT, "results/report/figures/*", "results/report/scripts/*"),
        ("manifest_all", "map", "water", "train", "evaluate", "saliency"),
        memory=3000,
    ),
    "check_all": Rule(
        (),
        (CHECKED.format(dataset="all"),),
        ("manifest_all", "map", "split", "train", "evaluate", "saliency", "report"),
    ),
    "crate": Rule(
        (), ("results/ro-crate-metadata.json", "results/source/"), ("card", "gallery", "report")
    ),
}

# Rules whose jobs no run makes unless they are asked for, and the one that counts the others.
APART = ("tune",)
OWN = "cost"


@dataclass(frozen=True)
class Work:
    """One job of a run."""

    rule: str
    wildcards: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The rule with what the job is of."""
        return " ".join([self.rule, *(value for _, value in self.wildcards)])

    @property
    def benchmark(self) -> str:
        """The file in which Snakemake writes what it took."""
        return "/".join(["results/benchmarks", self.rule, *(v for _, v in self.wildcards)]) + ".tsv"

    def files(self) -> list[Path]:
        """Return what it wrote and is there: files, and folders that are outputs."""
        found: list[Path] = []
        for pattern in RULES[self.rule].outputs:
            path = Path(pattern.format(**dict(self.wildcards)))
            found += sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
        return [path for path in found if path.exists()]


def memory_asked(rule: str, plan: Plan) -> float | None:
    """Return the memory that a rule's jobs ask for at first, MB, the largest of them."""
    models = [MODELS[task.model].memory for task in plan.tasks.values()]
    return RULES[rule].memory or max(models, default=None)


def jobs(plan: Plan) -> Iterator[Work]:
    """Yield the jobs of a whole run, each after those that it waits for."""
    for name, rule in RULES.items():
        if rule.of == _SHARD:
            for dataset in plan.datasets:
                for shard in plan.shards(dataset, rule.kinds):
                    yield Work(name, (("dataset", dataset), ("shard", shard)))
        elif rule.of:
            places = {
                "crystal": list(plan.crystals),
                "dataset": list(plan.datasets),
                "task": list(plan.tasks),
            }
            for place in places[rule.of[0]]:
                yield Work(name, ((rule.of[0], place),))
        else:
            yield Work(name)


def waits_for(work: Work, plan: Plan) -> Iterator[tuple[str, ...]]:
    """Yield what a job waits for: a rule, and where it is not for all of its jobs, of what."""
    own = dict(work.wildcards)
    for name in RULES[work.rule].after:
        other = RULES[name].of
        if "shard" in other and "shard" in own:
            yield name, own["dataset"], own["shard"]
        elif other and other[0] in own:
            yield name, own[other[0]]
        elif other[:1] == _DATASET and "task" in own:
            for dataset in plan.task_datasets(own["task"]):
                yield name, dataset
        elif other == ("crystal",) and own:
            of = [own["dataset"]] if "dataset" in own else plan.task_datasets(own["task"])
            for crystal in dict.fromkeys(plan.crystal(dataset) for dataset in of):
                yield name, crystal
        else:
            yield (name,)
