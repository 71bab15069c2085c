"""Make a part of the paper's production with two workers, and extrapolate.

    python benchmarks/production.py [--frames 13500] [--workers 2] [--shard-size 1000]

90 000 patterns and 45 000 empties in nine datasets: three photon energies at three camera
lengths. The jobs are the commands that the workflow runs (water, simulate, overlay, labels),
each a process on one core. A shard is deleted once made. Of every three frames one is empty.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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

from spotmill.config import FIRST_EMPTY

PATTERNS, EMPTIES = 90_000, 45_000
DATASETS = {
    f"{number:02d}": (energy, clen)
    for number, (clen, energy) in enumerate(
        ((clen, energy) for clen in (0.15, 0.25, 0.35) for energy in (6000.0, 7000.0, 8000.0)), 1
    )
}


class Job(NamedTuple):
    """One shard: dataset, first index, frames."""

    dataset: str
    first: int
    count: int


class Made(NamedTuple):
    """What one shard took: frames, bytes written, what each process spent."""

    frames: int
    size: int
    spent: list[Spent]


def jobs(frames: int, shard_size: int) -> Iterator[Job]:
    """Yield the shards, patterns first."""
    for start, share in ((0, PATTERNS), (FIRST_EMPTY, EMPTIES)):
        count = round(frames * share / (PATTERNS + EMPTIES) / len(DATASETS))
        for dataset in DATASETS:
            for first in range(0, count, shard_size):
                yield Job(dataset, start + first, min(shard_size, count - first))


def make(job: Job, folder: Path) -> Made:
    """Make one shard and delete it."""
    water = folder / f"{job.dataset}.h5"
    stem = f"{job.dataset}_{job.first}"
    peaks, overlay, labels = (
        folder / f"{stem}_{name}.h5" for name in ("peaks", "overlay", "label")
    )
    if job.first >= FIRST_EMPTY:
        spent = [command(*empty_words(water, overlay, job.first, job.count))]
    else:
        where = (job.dataset, *DATASETS[job.dataset])
        spent = [
            command(*simulate_words(peaks, job.first, job.count, *where)),
            command(*overlay_words(water, overlay, peaks)),
            command(*labels_words(peaks, labels)),
        ]
    files = list(folder.glob(f"{stem}_*"))
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    print(f"{job.dataset} {job.first}: {job.count} frames, {size / 1e6:.0f} MB", flush=True)
    return Made(job.count, size, spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=13_500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=1000, help="frames")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as name,
        ThreadPoolExecutor(args.workers) as pool,
    ):
        folder = Path(name)
        begun = time.perf_counter()
        water = [
            pool.submit(command, *water_words(folder / f"{dataset}.h5", dataset, *where))
            for dataset, where in DATASETS.items()
        ]
        waters = [job.result() for job in water]
        prepared = time.perf_counter() - begun
        shards = list(pool.map(lambda job: make(job, folder), jobs(args.frames, args.shard_size)))
        wall = time.perf_counter() - begun
    report(args.workers, args.shard_size, prepared, wall, waters, shards)


def report(
    workers: int, size: int, prepared: float, wall: float, waters: list[Spent], shards: list[Made]
) -> None:
    frames = sum(shard.frames for shard in shards)
    processes = waters + [spent for shard in shards for spent in shard.spent]
    cpu = sum(spent.cpu for spent in processes)
    largest = max(spent.memory for spent in processes)
    # The water of a dataset is made once, however many frames it has.
    whole = prepared + (wall - prepared) * (PATTERNS + EMPTIES) / frames
    busy = sum(spent.cpu for shard in shards for spent in shard.spent) / frames
    written = sum(shard.size for shard in shards)
    print(f"\n{machine()}; {workers} workers; shards of {size}; {len(shards)} shards\n")
    print("| | |")
    print("|---|---|")
    print(f"| frames made | {frames} |")
    print(f"| wall, s (water: {prepared:.0f}) | {wall:.0f} |")
    print(f"| frames/s | {frames / wall:.1f} |")
    print(f"| CPU-s (share of {workers} cores) | {cpu:.0f} ({cpu / wall / workers:.0%}) |")
    print(f"| CPU, ms a frame, start-up included | {1e3 * busy:.1f} |")
    print(f"| written, GB | {written / 1e9:.1f} |")
    everything = written / frames * (PATTERNS + EMPTIES)
    print(f"| written for all, GB | {everything / 1e9:.0f} |")
    print(f"| largest process, MiB | {largest:.0f} |")
    print(f"| all {PATTERNS + EMPTIES} frames, h | {whole / 3600:.2f} |")
    alone = sum(spent.cpu for spent in waters) + busy * (PATTERNS + EMPTIES)
    print(f"| the same by CPU time, on {workers} idle cores, h | {alone / workers / 3600:.2f} |")


if __name__ == "__main__":
    main()
