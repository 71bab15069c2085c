"""What a job will cost: seconds of a core and bytes, from earlier runs or typical figures."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean

from spotmill.errors import SpotmillError
from spotmill.formats.benchmarks import benchmark_rows
from spotmill.formats.geom import read_geometry
from spotmill.pending import Job
from spotmill.plan import Plan

SHARD_RULES = ("simulate", "overlay", "empty", "labels")
DATASET_RULES = (*SHARD_RULES, "water", "geometry", "manifest", "check")
TASK_RULES = ("split", "train", "evaluate")

# Typical figures, of one core of a laptop and the shipped configuration: seconds to start,
# and seconds a unit (see `units`); of images, for a million pixels.
START = 0.7
STARTS = {
    **{"simulate": 2.0, "overlay": 2.0, "empty": 2.0, "check": 2.0, "map": 2.0, "gallery": 2.0},
    **{"train": 5.0, "evaluate": 5.0, "saliency": 3.0, "card": 5.0, "report": 6.0},
}
PER_MEGAPIXEL = {
    "simulate": 0.0014,
    "overlay": 0.004,
    "empty": 0.003,
    "labels": 0.0015,
    "water": 0.4,
    "check": 0.003,
}
ENGINES = {"integrated": 0.0014, "lattice": 0.6, "crystfel": 120.0}  # simulate, by engine
PER_UNIT = {
    "train": 0.0018,
    "evaluate": 0.07,
    "report": 0.05,
    "map": 0.03,
    "saliency": 3.0,
    "gallery": 0.04,
}

# Typical bytes of a frame, for a million pixels, and of the whole of other files.
FRAME_BYTES = {
    "peaks": 12_000,
    "peaks_water_overlay": 50_000,
    "labels": 9_000,
    "gallery": 20_000,
    "water": 2_400_000,
}
MAPPED = 2000  # frames of a map at most
TRUTH_BYTES = 3_000  # of each of the two tables of a frame
FILE_BYTES = 100_000
WEIGHT = 4  # bytes of a weight
WEIGHTS = {"binary_cnn": 1.1e6, "resnet50": 23.5e6}  # of models that have many


@dataclass(frozen=True)
class Cost:
    """What jobs cost: seconds of one core; bytes written, and those of files replaced."""

    seconds: float = 0.0
    bytes: float = 0.0
    replaced: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(
            self.seconds + other.seconds,
            self.bytes + other.bytes,
            self.replaced + other.replaced,
        )


@dataclass
class Costs:
    """Estimates the cost of jobs of a plan.

    `before` is how many frames each shard holds now, by dataset; `other_engine` names the
    datasets whose engine changes, so that its earlier times tell nothing; `measured` counts
    the jobs whose time comes from earlier runs, and those from typical figures.
    """

    plan: Plan
    before: dict[str, dict[str, int]]
    other_engine: frozenset[str] = frozenset()
    measured: Counter[bool] = field(default_factory=Counter)

    def of(self, job: Job) -> Cost:
        """Return the cost of a job."""
        if job.rule == "all":
            return Cost()
        seconds = self._measured_seconds(job)
        self.measured[seconds is not None] += 1
        if seconds is None:
            seconds = self._typical_seconds(job)
        return Cost(
            seconds * job.threads,
            sum(self._bytes(name, job) for name in job.outputs),
            sum(held_bytes(Path(name)) for name in job.outputs),
        )

    def typical(self, job: Job) -> Cost:
        """Return what is said of a job where nothing has run yet: its seconds and bytes."""
        return Cost(
            self._typical_seconds(job),
            sum(self._typical_bytes(name, job) for name in job.outputs),
        )

    def units(self, rule: str, wildcards: dict[str, str], now: bool = True) -> float:
        """Return the size of a job, now or when it last ran: frames; with epochs, in training."""
        dataset, task = wildcards.get("dataset"), wildcards.get("task")
        if rule in SHARD_RULES and dataset:
            shard = wildcards["shard"]
            return self.plan.count(dataset, shard) if now else self._held(dataset).get(shard, 0)
        if rule in ("manifest", "check") and dataset:
            return self._frames(dataset, now)
        if task and rule != "saliency":
            frames = sum(self._frames(name, now) for name in self.plan.task_datasets(task))
            return frames * (self.plan.tasks[task].epochs if rule in ("train", "tune") else 1)
        if rule in ("manifest_all", "report"):
            return sum(self._frames(name, now) for name in self.plan.datasets)
        if rule == "map":
            return min(MAPPED, sum(self._frames(name, now) for name in self.plan.datasets))
        if rule == "gallery":
            frames = sum(self._frames(name, now) for name in self.plan.datasets)
            return min(self.plan.config.report.gallery_frames, frames)
        return 1

    def _held(self, dataset: str) -> dict[str, int]:
        return self.before.get(dataset, {})

    def _frames(self, dataset: str, now: bool) -> int:
        if now:
            return sum(self.plan.n_frames(dataset, kind) for kind in "pe")
        return sum(self._held(dataset).values())

    def _measured_seconds(self, job: Job) -> float | None:
        """Return the time from benchmarks of the same dataset or task, else of its like."""
        own = next(iter(job.wildcards.values()), "")
        places = [own]
        if job.rule in DATASET_RULES:
            places += self.plan.datasets
        if job.rule == "simulate":
            engine = self.plan.concept(own, "engine")
            places = [
                name
                for name in places
                if name not in self.other_engine and self.plan.concept(name, "engine") == engine
            ]
        for place in dict.fromkeys(places):
            rate = self._rate(job.rule, place)
            if rate is not None:
                return rate * self.units(job.rule, job.wildcards)
        return None

    def _rate(self, rule: str, place: str) -> float | None:
        """Return seconds a unit from the benchmarks of a dataset or task."""
        seconds = units = 0.0
        for took, shard in benchmarks(rule, place):
            kind = "dataset" if rule in DATASET_RULES else "task" if rule in TASK_RULES else ""
            size = self.units(rule, {kind: place, "shard": shard}, now=False)
            if size:
                seconds += took
                units += size
        return seconds / units if units else None

    def _typical_seconds(self, job: Job) -> float:
        units = self.units(job.rule, job.wildcards)
        start = STARTS.get(job.rule, START)
        dataset = job.wildcards.get("dataset")
        if dataset is None or job.rule not in PER_MEGAPIXEL:
            return start + units * PER_UNIT.get(job.rule, 0.0)
        figure = PER_MEGAPIXEL[job.rule]
        if job.rule == "simulate":
            figure = ENGINES[self.plan.concept(dataset, "engine")]
        return start + units * figure * self._megapixels(dataset)

    def _megapixels(self, dataset: str) -> float:
        row = self.plan.datasets[dataset]
        return megapixels(self.plan.concept(dataset, "detector"), row.clen, row.photon_energy)

    def _bytes(self, name: str, job: Job) -> float:
        """Return the size that a file will have, from its like of this dataset or others."""
        path, dataset = Path(name), job.wildcards.get("dataset")
        if job.rule not in SHARD_RULES or dataset is None:
            return self._whole_bytes(name, job)
        shard = job.wildcards["shard"]
        frames = self.plan.count(dataset, shard)
        for place in dict.fromkeys([dataset, *self.plan.datasets]):
            files = path.parent.parent / place
            suffix = path.name.removeprefix(shard)
            rate = frame_bytes(files, suffix, shard[0], tuple(self._held(place).items()))
            if rate is not None:
                return rate * frames
        return self._typical_bytes(name, job)

    def _typical_bytes(self, name: str, job: Job) -> float:
        path, dataset = Path(name), job.wildcards.get("dataset")
        if job.rule in SHARD_RULES and dataset:
            frames = self.plan.count(dataset, job.wildcards["shard"])
            content = path.parent.parent.name
            if content == "truth":
                return TRUTH_BYTES * frames
            return FRAME_BYTES.get(content, 0) * self._megapixels(dataset) * frames
        if path.parent.name == "water" and dataset:
            return FRAME_BYTES["water"] * self._megapixels(dataset)
        if path.suffix == ".safetensors":
            return FILE_BYTES + WEIGHT * self._weights(job.wildcards["task"])
        if job.rule == "gallery":
            sizes = [self._frames(one, True) * self._megapixels(one) for one in self.plan.datasets]
            budget = self.plan.config.report.gallery_bytes
            return min(budget, FRAME_BYTES["gallery"] * sum(sizes))
        return FILE_BYTES

    def _weights(self, task: str) -> float:
        """Return how many weights a model has, where they are many.

        That of all pixels has one for each pixel and class.
        """
        kind = self.plan.tasks[task]
        if kind.model != "linear":
            return WEIGHTS.get(kind.model, 0.0)
        datasets = self.plan.task_datasets(task)
        column = {"photon_energy": "photon_energy", "camera_length": "clen"}.get(kind.target)
        rows = [self.plan.datasets[name] for name in datasets]
        classes = {getattr(row, column) for row in rows} if column else {0, 1}
        return len(classes) * 1e6 * max(map(self._megapixels, datasets), default=0.0)

    def _whole_bytes(self, name: str, job: Job) -> float:
        path = Path(name)
        if job.rule == "gallery":
            return held_bytes(path) or self._typical_bytes(name, job)
        if path.is_file():
            return path.stat().st_size
        like = [
            other.stat().st_size for other in path.parent.glob(f"*{path.suffix}") if other.is_file()
        ]
        return fmean(like) if like else self._typical_bytes(name, job)

    @property
    def basis(self) -> str:
        """Return where the times come from, in words."""
        earlier, typical = self.measured[True], self.measured[False]
        if not typical:
            return "earlier runs here (results/benchmarks)"
        if not earlier:
            return "typical times of a laptop: no such job has run here yet"
        return f"earlier runs here for {earlier} jobs, typical times of a laptop for {typical}"


def held_bytes(path: Path) -> int:
    """Return the size of a file, or of all files of a folder; 0 where there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@cache
def benchmarks(rule: str, place: str) -> list[tuple[float, str]]:
    """Return the seconds that earlier jobs took, with their shard ("" where there is none)."""
    folder = Path("results/benchmarks") / rule
    whole = folder.with_suffix(".tsv") if not place else folder / f"{place}.tsv"
    files = [whole] if whole.is_file() else sorted((folder / place).glob("*.tsv"))
    return [
        (row["s"], file.stem if file != whole else "")
        for file in files
        for row in benchmark_rows(file)
    ]


@cache
def frame_bytes(
    folder: Path, suffix: str, kind: str, held: tuple[tuple[str, int], ...]
) -> float | None:
    """Return the bytes a frame of the shards of a kind in a folder; None without any."""
    total = frames = 0
    for shard, count in held:
        path = folder / f"{shard}{suffix}"
        if shard[0] == kind and path.is_file():
            total += path.stat().st_size
            frames += count
    return total / frames if frames else None


@cache
def megapixels(detector: str, clen: float, photon_energy: float) -> float:
    """Return the number of pixels of a frame, in millions; of a usual detector if unknown."""
    try:
        geometry = read_geometry(detector).detector(clen=clen, photon_energy=photon_energy)
    except SpotmillError:
        return 4.0
    return geometry.shape[0] * geometry.shape[1] / 1e6
