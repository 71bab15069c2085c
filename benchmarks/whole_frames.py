"""Measure whole frames on disk, and the memory of the jobs that make them.

    python benchmarks/whole_frames.py [--sizes 50 450] [--repeats 3] [--memory-size 2000]

A frame costs what simulate, overlay and labels spend on it as processes of their own on one
core: signal, noise, label, truth, compressed files. Two sizes of shard tell the cost of a
frame from that of starting. The peer draws a Poisson number for every pixel with NumPy and
writes the image with h5py, bitshuffle and LZ4: neither truth nor label.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

# isort: off
from measuring import Spent, command, machine, spent
from measuring import labels_words, overlay_words, simulate_words, water_words

# isort: on
import h5py
import hdf5plugin
import numpy as np

from spotmill.formats.frames import Shard

STAGES = ("simulate", "overlay", "labels")


def shard(folder: Path, water: Path, count: int) -> dict[str, Spent]:
    """Make one shard; return what each command spent."""
    peaks, overlay, labels = (folder / f"{name}.h5" for name in STAGES)
    made = {
        "simulate": command(*simulate_words(peaks, 0, count)),
        "overlay": command(*overlay_words(water, overlay, peaks)),
        "labels": command(*labels_words(peaks, labels)),
    }
    size = sum(path.stat().st_size for path in (peaks, overlay, labels)) / count
    print(f"<!-- {count} frames: {size / 1e3:.0f} kB a frame on disk -->", flush=True)
    return made


def peer(folder: Path, water: Path) -> Spent:
    """Return what NumPy's Poisson and h5py spend on one image."""
    with Shard(water) as opened:
        mean = np.where(opened.mask, opened.read(0), 0).astype(np.float64)
    generator = np.random.default_rng(1)
    with h5py.File(folder / "peer.h5", "w", libver=("v110", "v110")) as file:
        images = file.create_dataset(
            "data",
            (20, *mean.shape),
            np.uint16,
            chunks=(1, *mean.shape),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
        )

        def write(number: int) -> None:
            images[number] = generator.poisson(mean).astype(np.uint16)

        return spent(write, repeats=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=[50, 450], help="frames a shard")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-size", type=int, default=2000, help="frames; 0: leave it out")
    args = parser.parse_args()
    small, large = args.sizes
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        water = folder / "water.h5"
        command(*water_words(water))
        runs = {n: [shard(folder, water, n) for _ in range(args.repeats)] for n in args.sizes}
        numpy = peer(folder, water)
        memory = {small: runs[small][0], large: runs[large][0]}
        if args.memory_size:
            memory[args.memory_size] = shard(folder, water, args.memory_size)
    print(f"{machine()}; one core; dataset 02; medians of {args.repeats}\n")
    print(f"| stage | CPU, ms a frame | wall, ms a frame | {large} frames, CPU-s | peak MiB |")
    print("|---|---|---|---|---|")
    total = np.zeros(3)
    for stage in STAGES:

        def middle(count: int, field: str, stage: str = stage) -> float:
            return statistics.median(getattr(run[stage], field) for run in runs[count])

        cpu, wall = (
            (middle(large, field) - middle(small, field)) / (large - small)
            for field in ("cpu", "wall")
        )
        total += (cpu, wall, middle(large, "cpu"))
        peak = ", ".join(f"{made[stage].memory:.0f} ({n})" for n, made in memory.items())
        row = f"{1e3 * cpu:.1f} | {1e3 * wall:.1f} | {middle(large, 'cpu'):.1f} | {peak}"
        print(f"| {stage} | {row} |")
    cpu, wall, whole = total
    print(f"| together | {1e3 * cpu:.1f} | {1e3 * wall:.1f} | {whole:.1f} | |")
    print(f"| NumPy Poisson + h5py | {1e3 * numpy.cpu:.1f} | {1e3 * numpy.wall:.1f} | | |")
    print(
        f"\nframes a second of CPU: {1 / cpu:.1f}; with start-up of {large} frames: "
        f"{large / whole:.1f}; peer: {1 / numpy.cpu:.1f}"
    )


if __name__ == "__main__":
    main()
