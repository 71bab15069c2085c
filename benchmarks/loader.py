"""Measure how fast frames are read for training, stored and virtual, and the memory it takes.

    python benchmarks/loader.py [--frames 60] [--repeats 5] [--memory 600 1200]

Whole frames of the shipped detector are read in one shuffled order: by plain h5py, which only
decompresses; by our reader; through the loader of a training that keeps nothing, with 0, 1 and
2 workers; and from virtual shards. The ways take turns, and the fractions are medians over
turns. For the memory the same shards stand under several names.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# isort: off
from measuring import CONFIG, command, machine, overlay_words, program
from measuring import simulate_words, water_words

# isort: on
import h5py
import hdf5plugin  # noqa: F401 (registers the filter)
import numpy as np

from spotmill.formats.frames import DATA
from spotmill.formats.geom import read_geometry
from spotmill.learning.batches import Shuffled, loader
from spotmill.learning.encoders import EncodedFrames, View, WholeFrame
from spotmill.learning.frames import FrameFiles, Frames
from spotmill.overlays.opener import open_overlay
from spotmill.tasks import Input

SHARDS = 2
BATCH = 8


def make(folder: Path, frames: int) -> None:
    """Make stored and virtual shards."""
    command(*water_words(folder / "water.h5"))
    for number in range(SHARDS):
        peaks = folder / f"peaks/{number}.h5"
        command(*simulate_words(peaks, number * frames, frames))
        for kind, words in (("stored", []), ("virtual", ["--virtual"])):
            output = folder / kind / f"{number}.h5"
            spent = command(*overlay_words(folder / "water.h5", output, peaks), *words)
            size = output.stat().st_size / 1e6
            print(f"<!-- {kind} {number}: {size:.2f} MB, {spent.cpu:.1f} s of CPU to make -->")


def rows(paths: Iterable[Path]) -> Frames:
    """Return the frames of shards as those of a task."""
    overlay, index, position = [], [], []
    for path in paths:
        with open_overlay(path) as shard:
            overlay += [str(path)] * len(shard)
            index += shard.indices.tolist()
            position += range(len(shard))
            dataset = shard.header.dataset
    n = len(index)
    return Frames(
        np.array([dataset] * n),
        np.array(index),
        np.array(["train"] * n),
        np.zeros(n, dtype=np.int64),
        np.array(overlay),
        np.array(position),
        ("no hit", "hit"),
    )


def whole_frames() -> WholeFrame:
    geometry = read_geometry(CONFIG / "detectors/eiger4m.geom")
    return WholeFrame(Input(), View(geometry.detector(clen=0.15, photon_energy=7000.0)))


def batches(frames: Frames, workers: int, room: int = 0) -> Callable[[], None]:
    """Return what reads an epoch through the loader; its workers have started."""
    encoded = EncodedFrames(FrameFiles(frames), whole_frames(), frames.truth, workers, room)
    order = Shuffled(np.arange(len(frames)), 1)
    loaded = loader(encoded, order, BATCH)

    def run() -> None:
        for _ in loaded:
            pass

    return run


def plain(frames: Frames, order: list[int]) -> Callable[[], None]:
    files = {path: h5py.File(path) for path in sorted(set(frames.overlay.tolist()))}

    def run() -> None:
        for row in order:
            files[str(frames.overlay[row])][DATA][frames.position[row]]

    return run


def reader(frames: Frames, order: list[int]) -> Callable[[], None]:
    files = FrameFiles(frames)

    def run() -> None:
        for row in order:
            files.read(row)

    return run


def memory(folder: Path, frames: int, workers: int) -> None:
    """Read an epoch of so many frames; the process that does so ends with it."""
    real = sorted((folder / "stored").glob("[0-9].h5"))
    listed = rows(real)
    copies = -(-frames // len(listed))
    names = []
    for copy in range(copies):
        for path in real:
            name = path.with_name(f"copy{copy}_{path.name}")
            if not name.exists():
                name.hardlink_to(path)
            names.append(name)
    run = batches(rows(names), workers, room=100_000_000)
    run()
    # Workers live as long as `run`. What wait4 says of a process counts its parent's memory
    # from before it began, so each is asked itself.
    own = [peak("self"), *(peak(worker.pid) for worker in multiprocessing.active_children())]
    print(f"| {frames} | {workers} | {' + '.join(f'{mebibytes:.0f}' for mebibytes in own)} MiB |")


def peak(process: object) -> float:
    """Return the largest resident memory of a running process in MiB (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60, help="frames a shard")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs=2, default=[600, 1200], help="frames")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        memory(Path(args.one[0]), int(args.one[1]), int(args.one[2]))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        make(folder, args.frames)
        measure(folder, args.repeats)
        print("| frames | workers | largest memory, each process |\n|---|---|---|", flush=True)
        for workers in (0, 2):
            for count in args.memory:
                program(__file__, "--one", folder, count, workers)


def measure(folder: Path, repeats: int) -> None:
    """Print the speed of every way, and as a fraction of plain h5py's in the same turn."""
    stored, virtual = (rows(sorted((folder / k).glob("*.h5"))) for k in ("stored", "virtual"))
    order = list(Shuffled(np.arange(len(stored)), 1))
    ways = {
        "h5py, decompression alone": plain(stored, order),
        "our reader, stored": reader(stored, order),
        "our reader, virtual": reader(virtual, order),
        **{f"loader, whole frames, {n} workers": batches(stored, n) for n in (0, 1, 2)},
        "loader, whole frames, virtual, 0 workers": batches(virtual, 0),
    }
    walls: dict[str, list[float]] = {way: [] for way in ways}
    cpus: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            # The first turn compiles and starts workers.
            if turn:
                walls[way].append((time.perf_counter() - wall) / len(stored))
                cpus[way].append((time.process_time() - cpu) / len(stored))
    print(f"{machine()}; {len(stored)} frames in {SHARDS} shards, {repeats} turns")
    print("| way | frames/s, wall | of h5py | ms of CPU, this process | h5py / it |")
    print("|---|---|---|---|---|")
    base = "h5py, decompression alone"
    for way in ways:
        rate = 1 / statistics.median(walls[way])
        share, lean = (
            statistics.median(b / o for b, o in zip(spent[base], spent[way], strict=True))
            for spent in (walls, cpus)
        )
        milliseconds = 1e3 * statistics.median(cpus[way])
        print(f"| {way} | {rate:.1f} | {share:.2f} | {milliseconds:.1f} | {lean:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
