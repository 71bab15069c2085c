"""Which files a whole run of a configuration leaves, and which it does not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spotmill.plan import Plan

PEAKS = "results/images/peaks/{dataset}/{shard}.h5"
LABELS = "results/images/labels/{dataset}/{shard}.h5"
OVERLAY = "results/images/peaks_water_overlay/{dataset}/{shard}.h5"
SPOTS = "results/truth/{dataset}/{shard}.parquet"
FRAMES = "results/truth/{dataset}/{shard}.frames.parquet"
WATER = "results/images/water/{dataset}.h5"
GEOMETRY = "results/images/{dataset}.geom"
REFLECTIONS = "results/reflections/{crystal}.mtz"
MANIFEST = "results/manifest/{dataset}.parquet"
CHECKED = "results/manifest/{dataset}.checked"
MAP = "results/map/frames.parquet"
SPLIT = "results/splits/{task}.parquet"
MODEL = tuple(f"results/models/{{task}}/model.{end}" for end in ("safetensors", "json"))
HISTORY = "results/models/{task}/history.csv"
README = "results/models/{task}/README.md"
EVALUATION = "results/evaluation/{task}/evaluation.json"
PREDICTIONS = "results/evaluation/{task}/predictions.parquet"
REPORT = "results/report/index.html"

# Folders that hold nothing but what is listed here; others are not looked into.
OWN = ("images", "truth", "manifest", "map", "reflections", "splits", "models", "evaluation")


@dataclass(frozen=True)
class Expected:
    """A file that a whole run leaves.

    `stage` is the rule that makes it; `name` the dataset, crystal or task that it is of.
    """

    path: str
    stage: str
    name: str = ""
    shard: str = ""


def expected(plan: Plan) -> Iterator[Expected]:
    """Yield the files of a whole run, in the order in which they are made."""
    for crystal in plan.crystals:
        yield Expected(REFLECTIONS.format(crystal=crystal), "reflections", crystal)
    for dataset in plan.datasets:
        yield from of_dataset(plan, dataset)
    yield Expected(MANIFEST.format(dataset="all"), "manifest_all")
    yield Expected(MAP, "map")
    for task in plan.tasks:
        for stage, patterns in (
            ("split", (SPLIT,)),
            ("train", (*MODEL, HISTORY, README)),
            ("evaluate", (EVALUATION, PREDICTIONS)),
        ):
            for pattern in patterns:
                yield Expected(pattern.format(task=task), stage, task)
    yield Expected(REPORT, "report")
    yield Expected(CHECKED.format(dataset="all"), "check_all")


def of_dataset(plan: Plan, dataset: str) -> Iterator[Expected]:
    """Yield the files of one dataset."""
    for stage, pattern in (("geometry", GEOMETRY), ("water", WATER)):
        yield Expected(pattern.format(dataset=dataset), stage, dataset)
    for shard in plan.shards(dataset):
        stages = {"simulate": (PEAKS, SPOTS, FRAMES), "labels": (LABELS,)}
        if shard[0] == "e":
            stages = {}
        for stage, patterns in (stages | {"overlay": (OVERLAY,)}).items():
            for pattern in patterns:
                yield Expected(pattern.format(dataset=dataset, shard=shard), stage, dataset, shard)
    for stage, pattern in (("manifest", MANIFEST), ("check", CHECKED)):
        yield Expected(pattern.format(dataset=dataset), stage, dataset)


def left_over(known: set[str], results: Path = Path("results")) -> Iterator[tuple[str, str]]:
    """Yield files that no run of this configuration makes, each with what it may be."""
    for folder in OWN:
        for path in sorted((results / folder).rglob("*")):
            name = path.as_posix()
            if not path.is_file() or name in known:
                continue
            if path.name.startswith(".") and ".part" in path.name:
                yield name, "is what a job that was killed left, unless one runs now"
            elif not any(part.startswith(".") for part in path.parts):
                yield name, "is of an earlier configuration"
