"""State jobs, core-hours and bytes of the paper's production, from frames measured here.

    python benchmarks/production_plan.py [--frames 40] [--datasets 01 02 ... 09]

Each dataset gets one shard of patterns and one of half as many empties, made by the commands
that the workflow runs, each stage with a start-up measured apart (a shard of one frame). CPU
seconds and bytes a frame are scaled to 10 000 patterns and 5000 empties in each of the nine
datasets; datasets left out count as the mean of those measured. Shards are deleted once made.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from measuring import (
    Spent,
    command,
    empty_words,
    labels_words,
    machine,
    overlay_words,
    simulate_words,
    water_words,
)
from production import DATASETS, EMPTIES, PATTERNS

from spotmill.config import FIRST_EMPTY

STAGES = ("simulate", "overlay", "empty", "labels", "virtual", "virtual empty", "materialise")
JOBS = ("simulate", "overlay", "empty", "labels")


class Measured:
    """Of one dataset: CPU seconds and bytes a frame by stage, start-up apart; and the water."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, float] = {}
        self.start: dict[str, float] = {}
        self.water = Spent(0.0, 0.0, 0.0)
        self.water_bytes = 0


def sizes(*paths: Path) -> int:
    return sum(path.stat().st_size for path in paths)


def make(folder: Path, water: Path, where: tuple[str, float, float], n: int) -> tuple[dict, dict]:
    """Make n patterns and as many empties; return CPU seconds and bytes of the stages."""
    names = ("peaks", "overlay", "labels", "empty", "virtual", "virtual_empty", "whole")
    file = {name: folder / f"{name}.h5" for name in names}
    spent = {
        "simulate": command(*simulate_words(file["peaks"], 0, n, *where)),
        "overlay": command(*overlay_words(water, file["overlay"], file["peaks"])),
        "labels": command(*labels_words(file["peaks"], file["labels"])),
        "empty": command(*empty_words(water, file["empty"], FIRST_EMPTY, n)),
        "virtual": command(*overlay_words(water, file["virtual"], file["peaks"]), "--virtual"),
        "virtual empty": command(
            *empty_words(water, file["virtual_empty"], FIRST_EMPTY, n), "--virtual"
        ),
        "materialise": command("materialise", file["virtual"], "--output", file["whole"]),
    }
    made = {stage: sizes(file[stage]) for stage in ("overlay", "labels", "empty", "virtual")}
    made["virtual empty"] = sizes(file["virtual_empty"])
    made["simulate"] = sizes(file["peaks"])
    made["truth"] = sizes(*folder.glob("peaks*.parquet"))
    for path in [*file.values(), *folder.glob("peaks*.parquet")]:
        path.unlink()
    return {stage: one.cpu for stage, one in spent.items()}, made


def measure(dataset: str, frames: int) -> Measured:
    measured = Measured()
    where = (dataset, *DATASETS[dataset])
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        water = folder / "water.h5"
        measured.water = command(*water_words(water, *where))
        measured.water_bytes = sizes(water)
        first, least = make(folder, water, where, 1)
        whole, made = make(folder, water, where, frames)
    for stage in STAGES:
        # A shard of one frame is start-up but for that frame.
        rate = max(0.0, (whole[stage] - first[stage]) / (frames - 1))
        measured.seconds[stage] = rate
        measured.start[stage] = first[stage] - rate
    for stage, size in made.items():
        measured.bytes[stage] = (size - least[stage]) / (frames - 1)
    return measured


def mean(measured: dict[str, Measured], of: str, stage: str) -> float:
    return statistics.fmean(getattr(one, of)[stage] for one in measured.values())


def report(measured: dict[str, Measured], frames: int) -> None:
    print(f"{machine()}; {frames} patterns and {frames} empties of {', '.join(measured)}\n")
    print("Milliseconds of one core and kB a frame, by dataset\n")
    kinds = ("simulate", "overlay", "empty", "labels")
    print("| dataset | " + " | ".join(f"{kind}, ms" for kind in kinds), end=" | ")
    print("peaks | overlay | empty | labels | truth, kB |")
    print("|" + "---|" * 10)
    for dataset, one in measured.items():
        times = " | ".join(f"{1e3 * one.seconds[kind]:.1f}" for kind in kinds)
        kept = ("simulate", "overlay", "empty", "labels", "truth")
        print(
            f"| {dataset} | {times} | " + " | ".join(f"{one.bytes[k] / 1e3:.1f}" for k in kept),
            end="",
        )
        print(" |")
    count = dict.fromkeys(STAGES, PATTERNS) | {"empty": EMPTIES, "virtual empty": EMPTIES}
    hours = {stage: mean(measured, "seconds", stage) * count[stage] / 3600 for stage in STAGES}
    gb = {
        stage: mean(measured, "bytes", stage) * count.get(stage, PATTERNS) / 1e9
        for stage in (*kinds, "truth", "virtual", "virtual empty")
    }
    print(f"\nAll {PATTERNS} patterns and {EMPTIES} empties, start-up left out\n")
    print("| stage | core-hours | GB | start-up of a job, s |\n|---|---|---|---|")
    for stage in STAGES:
        start = mean(measured, "start", stage)
        kept = f"{gb[stage]:.2f}" if stage in gb else "as overlay"
        print(f"| {stage} | {hours[stage]:.2f} | {kept} | {start:.1f} |")
    print(f"| truth (tables of simulate) | – | {gb['truth']:.2f} | – |")
    water = statistics.fmean(one.water.cpu for one in measured.values())
    size = statistics.fmean(one.water_bytes for one in measured.values())
    print(f"| water, nine | {9 * water / 3600:.3f} | {9 * size / 1e9:.3f} | – |")
    alternatives(hours, gb)
    shards(measured)


def alternatives(hours: dict[str, float], gb: dict[str, float]) -> None:
    """Print what each way of keeping frames costs; drawing a frame again costs a materialise."""
    peaks, labels, truth = gb["simulate"], gb["labels"], gb["truth"]
    stored, virtual = gb["overlay"] + gb["empty"], gb["virtual"] + gb["virtual empty"]
    base = hours["simulate"] + hours["labels"]
    drawn = hours["overlay"] + hours["empty"]
    light = hours["virtual"] + hours["virtual empty"]
    # An empty is drawn again as fast as it was drawn; its file is written by neither.
    again = hours["materialise"] + hours["empty"]
    rows = [
        ("all stored (as shipped)", peaks + stored + labels + truth, base + drawn, 0.0),
        (
            "labels temporary: made again from peaks",
            peaks + stored + truth,
            base + drawn,
            hours["labels"],
        ),
        (
            "peaks and labels temporary: overlays and tables kept",
            stored + truth,
            base + drawn,
            hours["simulate"] + hours["labels"],
        ),
        ("overlays: virtual", peaks + virtual + labels + truth, base + light, again),
        (
            "overlays: virtual, labels temporary",
            peaks + virtual + truth,
            base + light,
            again + hours["labels"],
        ),
        (
            "tables alone: everything made again",
            truth,
            hours["simulate"],
            hours["simulate"] + drawn + hours["labels"],
        ),
    ]
    print("\n| kept | GB | core-hours to make | core-hours to have all images again |")
    print("|---|---|---|---|")
    for name, size, make_hours, again_hours in rows:
        print(f"| {name} | {size:.1f} | {make_hours:.2f} | {again_hours:.2f} |")


def shards(measured: dict[str, Measured]) -> None:
    """Print jobs and minutes of a job for sizes of shards."""
    print(
        "\n| shard_size | jobs of shards | minutes of a job: simulate | overlay | labels | "
        "start-up, core-hours |\n|---|---|---|---|---|---|"
    )
    for size in (50, 1000, 5000, 10_000, 50_000):
        n = {"p": -(-10_000 // size) * 9, "e": -(-5_000 // size) * 9}
        jobs = 3 * n["p"] + n["e"]
        start = sum(
            mean(measured, "start", stage) * (n["e"] if stage == "empty" else n["p"])
            for stage in JOBS
        )
        frames = min(size, 10_000)
        minutes = [
            (mean(measured, "start", stage) + frames * mean(measured, "seconds", stage)) / 60
            for stage in ("simulate", "overlay", "labels")
        ]
        print(f"| {size} | {jobs} | " + " | ".join(f"{m:.1f}" for m in minutes), end="")
        print(f" | {start / 3600:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40, help="patterns a dataset, 2 or more")
    parser.add_argument("--datasets", nargs="+", choices=list(DATASETS), default=list(DATASETS))
    args = parser.parse_args()
    if args.frames < 2:
        parser.error("--frames: start-up and frames cannot be told apart with fewer than 2")
    measured = {}
    for dataset in args.datasets:
        measured[dataset] = measure(dataset, args.frames)
        one = measured[dataset]
        for stage, size in one.bytes.items():
            seconds = 1e3 * one.seconds.get(stage, 0.0)
            print(f"{dataset} {stage}: {seconds:.1f} ms, {size / 1e3:.2f} kB a frame", flush=True)
    report(measured, args.frames)


if __name__ == "__main__":
    main()
