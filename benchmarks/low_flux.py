"""Hits at low flux: the search for a known lattice beside the blind and the oracle bound.

    python benchmarks/low_flux.py --peaks results/images/peaks/03/p00000.h5 \
        --water results/images/water/03.h5 --reflections results/reflections/NAME.mtz \
        --flux 0.003 0.001 --frames 100 --output low_flux.csv

Draws as many frames with a crystal (orientations anew) as without, scores them, and writes
one row a frame as it goes; then prints a line a flux. It takes seconds a frame.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from spotmill.formats.frames import Shard
from spotmill.formats.reflections import read_reflections
from spotmill.physics.conditions import draw_conditions
from spotmill.physics.detection import (
    auroc,
    auroc_interval,
    count_photons,
    gather_signals,
    oracle_score,
    zones_of,
)
from spotmill.physics.lattice_search import Effort, LatticeSearch
from spotmill.physics.pattern import make_pattern
from spotmill.physics.photons import PhotonSampler, stream
from spotmill.provenance.scene import scene_of

ZONES, MOST, SEED, LEARNT_FROM = 16, 12, 11, 100
TESTS = ("lattice_search", "blind", "oracle")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peaks", type=Path, required=True)
    parser.add_argument("--water", type=Path, required=True)
    parser.add_argument("--reflections", type=Path, required=True)
    parser.add_argument("--flux", type=float, nargs="+", default=[0.003, 0.001])
    parser.add_argument("--frames", type=int, default=100, help="of each class")
    for name, kind in Effort.__annotations__.items():
        parser.add_argument(f"--{name}", type=kind, default=getattr(Effort(), name))
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    effort = Effort(**{name: getattr(args, name) for name in Effort.__annotations__})
    with args.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["flux", "frame", "hit", *TESTS, "seconds"])
        for flux in args.flux:
            print(run(args, flux, effort, lambda row: (writer.writerow(row), file.flush())))


def run(args: argparse.Namespace, flux: float, effort: Effort, put) -> str:
    """Score frames at one flux and return a line on them."""
    with Shard(args.peaks) as peaks, Shard(args.water) as water:
        header = peaks.header
        found = read_reflections(args.reflections)
        scene, randomise = scene_of(peaks, found, str(args.reflections))
        background = np.where(water.mask, water.read(0), 0).astype(np.float64)
    conditions = draw_conditions(
        randomise, header.photon_energy, header.clen, SEED, header.dataset, 0
    )
    sampler = PhotonSampler(background)
    live = np.flatnonzero(background.ravel() > 0)
    number = np.full(background.size, -1)
    number[live] = np.arange(len(live))
    zone = zones_of(background.ravel()[live], ZONES)

    def signal(index: int) -> tuple[np.ndarray, np.ndarray]:
        image = make_pattern(scene, conditions, (SEED, "benchmark", index)).image.ravel()
        pixel = np.flatnonzero(image)
        return pixel, image[pixel].astype(np.float64)

    learnt = [signal(args.frames + i) for i in range(LEARNT_FROM)]
    signals = gather_signals(
        background.ravel()[live], zone, [(number[pixel], value) for pixel, value in learnt]
    )
    weights = signals.weights(flux, MOST)
    search = LatticeSearch(scene, conditions, background, flux, effort)
    scores: dict[int, list[list[float]]] = {0: [], 1: []}
    seconds = []
    for index in range(args.frames):
        pixel, value = signal(index)
        for hit in (1, 0):
            rng = stream(SEED, f"benchmark {hit}", index, f"flux {flux:g}")
            image = sampler.draw(rng)
            if hit:
                image.ravel()[pixel] += rng.poisson(flux * value).astype(image.dtype)
            before = time.perf_counter()
            best = search.search(image).score
            seconds.append(time.perf_counter() - before)
            flat = image.ravel()
            blind = float((count_photons(flat[live], zone, ZONES, MOST) * weights).sum())
            oracle = oracle_score(flat[pixel], flux * value, background.ravel()[pixel])
            scores[hit].append([best, blind, oracle])
            put([flux, index, hit, best, blind, oracle, round(seconds[-1], 3)])
    words = [f"flux {flux:g}, {args.frames} frames of each class"]
    for column, name in enumerate(TESTS):
        hits, others = (np.array(scores[hit])[:, column] for hit in (1, 0))
        low, high = auroc_interval(hits, others)
        words.append(f"{name} {auroc(hits, others):.3f} [{low:.3f}, {high:.3f}]")
    return "; ".join([*words, f"median {np.median(seconds):.2f} s a frame"])


if __name__ == "__main__":
    main()
