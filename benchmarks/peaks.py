"""Find peaks on five levels of background: our network, our classical finder, a peer, the bound.

    OMP_NUM_THREADS=1 python benchmarks/peaks.py --data FOLDER --model FOLDER/results/models/peaks \
        [--patterns 12] [--levels 0 0.1 1 5 20] [--peakfinder8 PATH] [--output peaks.json]

FOLDER holds results/ of a finished run with the task `peaks` (config/tasks/peaks.yaml). Frames are
its validation and test frames (`--patterns` of a dataset at most, half of them to choose thresholds
on), as they are, and their Bragg photons on freshly drawn water of 0.1, 1, 5 and 20 photons a pixel
on average. Every finder's threshold is chosen on the validation half, per level for all datasets
together; of the
classical ones also what makes a pixel bright, of the peer of how many such a peak consists.

PATH is the compiled `_crystallography` of OM (package `ondamonitor`, GPL; not a dependency, and no
part of it is used elsewhere): peakfinder8 runs on the same frames.
"""

import argparse
import importlib.machinery
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from matplotlib.figure import Figure

from spotmill.formats.frames import Shard
from spotmill.learning.evaluation_peaks import pooled, zones_of
from spotmill.learning.peak_results import Finder, result, threshold_of, width_of
from spotmill.learning.peaks import PeakSetup, open_peaks
from spotmill.learning.store import load_network
from spotmill.physics.peak_bound import best_f1
from spotmill.physics.peak_finding import Criteria, Peaks, find_peaks
from spotmill.physics.peak_scoring import curve, gains
from spotmill.physics.photons import PhotonSampler
from spotmill.tasks import Task

LEVELS = (0.0, 0.1, 1.0, 5.0, 20.0)  # photons a pixel; 0 is the frame as it is
GRID = (3.0, 4.0, 5.0, 7.0)  # signal to noise of a pixel
# Of the peer: signal to noise, photons of a pixel, pixels of a peak. Where the background has a
# photon a pixel, the second changes nothing.
PEER_GRID = [(snr, least, n) for snr in (4.0, 6.0) for least in (0.5, 1.5, 3.5) for n in (1, 2)]
PEER_BRIGHT = [(snr, 0.5, n) for snr in (4.0, 5.0, 6.0, 7.0, 8.0) for n in (1, 2)]
MOST_PEAKS = 300_000
KEPT = 3000  # peaks of a frame that are scored, the surest; a frame has some hundred spots at most


def compiled(path: Path) -> Any:
    """Return the peer's module."""
    name = "om.algorithms._crystallography"
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def called(
    module: Any, image: Any, live: Any, radius: Any, snr: float, least: float, pixels: int
) -> Any:
    """Return what the peer finds; arrays [ss, fs] are float32, int8 and float32."""
    n_ss, n_fs = image.shape
    none = np.zeros(1, np.int32)
    return module.peakfinder_8(
        MOST_PEAKS,
        image,
        live,
        radius,
        0,
        none,
        none,
        0,
        n_fs,
        n_ss,
        1,
        1,
        least,
        snr,
        pixels,
        200,
        5,
    )


def peakfinder8(path: Path, setup: PeakSetup) -> Callable[..., Peaks]:
    """Return the peer as a function of image, mask and signal-to-noise ratio."""
    module = compiled(path)
    radius = np.nan_to_num(setup.view.radius).astype(np.float32)

    def find(image: Any, mask: Any, snr: float, least: float, pixels: int) -> Peaks:
        live = (mask & np.isfinite(setup.view.radius)).astype(np.int8)
        found = called(module, image.astype(np.float32), live, radius, snr, least, pixels)
        place = np.stack([found[0], found[1]], axis=1) + 0.5 if len(found[0]) else np.empty((0, 2))
        return Peaks(place, np.array(found[2], dtype=float), np.array(found[6], dtype=float))

    return find


def chosen_rows(setup: PeakSetup, patterns: int) -> dict[str, list[int]]:
    """Return rows of patterns, half of them of either side as far as there are enough."""
    rows = {}
    for side, most in (("validation", patterns - patterns // 2), ("test", patterns // 2)):
        own = setup.frames.rows(side)
        own = own[setup.truth[own] != ""]
        names = setup.frames.dataset[own]
        rows[side] = [int(r) for name in np.unique(names) for r in own[names == name][:most]]
    return rows


def level_frames(setup: PeakSetup, data: Path, level: float | None, rows: list[int]) -> Any:
    """Yield row, image, mask and expected background of frames at a level."""
    samplers: dict[str, Any] = {}
    for row in rows:
        name = str(setup.frames.dataset[row])
        if name not in samplers:
            samplers.clear()
            with Shard(data / f"results/images/water/{name}.h5") as shard:
                mask, water = shard.mask, np.where(shard.mask, shard.read(0), 0).astype(float)
            if level is not None:
                water = water * (level / water[mask].mean())
            samplers[name] = (PhotonSampler(water), mask, water)
        sampler, mask, water = samplers[name]
        if level is None:
            image = setup.images.read(row)[0]
        else:
            rng = np.random.default_rng([int(1000 * level), row])
            image = setup.signal(row) + sampler.draw(rng)
        yield row, image.astype(np.uint32), mask, water


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--task", type=Path, default=measuring.CONFIG / "tasks/peaks.yaml")
    parser.add_argument("--patterns", type=int, default=12, help="of each dataset")
    parser.add_argument(
        "--levels",
        type=float,
        nargs="+",
        default=LEVELS,
        help="background, photons a pixel; 0 leaves the frame as it is",
    )
    parser.add_argument("--peakfinder8", type=Path)
    parser.add_argument("--output", type=Path, help="all figures, as JSON")
    parser.add_argument(
        "--drawn", type=Path, nargs=2, help="draw such a JSON as this PNG, and stop"
    )
    args = parser.parse_args()
    if args.drawn:
        draw(json.loads(args.drawn[0].read_text()), args.drawn[1])
        return
    task = Task.read(args.task)
    split = args.data / "results/splits/peaks.parquet"
    setup = open_peaks(task, split, measuring.CONFIG / "detectors/eiger4m.geom", "peaks.yaml")
    network: Any = load_network(args.model, task, "peaks.yaml")
    radius = setup.view.radius
    ways: dict[str, list[Callable[[Any, Any], Peaks]]] = {
        "peak_net": [network.find],
        "radial_background": [
            lambda image, mask, snr=snr: find_peaks(image, mask, radius, Criteria(pixel_snr=snr))
            for snr in GRID
        ],
    }
    peer = peakfinder8(args.peakfinder8, setup) if args.peakfinder8 else None
    rows = chosen_rows(setup, args.patterns)
    print(f"{measuring.machine()}; {len(rows['validation'])} + {len(rows['test'])} frames")
    head = "| photons a pixel | finder | F1 | 95 % | precision | recall | median error, pixels |"
    print(head + " within 0.3 | s a frame |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    kept = []
    for level in args.levels:
        if peer:
            ways["peakfinder8"] = [
                lambda image, mask, chosen=chosen: peer(image, mask, *chosen)
                for chosen in peer_grid(level)
            ]
        kept.append(measure(setup, args.data, level or None, rows, ways))
    if args.output:
        args.output.write_text(json.dumps(kept, indent=1))


def peer_grid(level: float) -> list[tuple[float, float, int]]:
    """Return the settings of the peer that are tried."""
    return PEER_BRIGHT if level >= 1 else PEER_GRID


def surest(peaks: Peaks) -> Peaks:
    """Return the peaks of highest score."""
    first = np.argsort(-peaks.score, kind="stable")[:KEPT]
    return Peaks(peaks.place[first], peaks.intensity[first], peaks.score[first])


def measure(
    setup: PeakSetup,
    data: Path,
    level: float | None,
    rows: dict[str, list[int]],
    ways: dict[str, list[Callable[[Any, Any], Peaks]]],
) -> dict[str, Any]:
    """Print the rows of a level; return all that is known of it."""
    finders = {name: [Finder(name, "", "", f) for f in finds] for name, finds in ways.items()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    truth, widths, water_of = {}, {}, {}
    for side in ("validation", "test"):
        for row, image, mask, water in level_frames(setup, data, level, rows[side]):
            truth[row] = setup.strong(row)
            signal = setup.signal(row)
            assert signal is not None
            widths[row] = width_of(signal, truth[row])
            water_of[str(setup.frames.dataset[row])] = (water, mask)
            for name, tried in finders.items():
                for finder in tried:
                    begun = time.process_time()
                    found = finder.find(image, mask)
                    spent[name].append(time.process_time() - begun)
                    finder.found[row] = surest(found)
        if side == "validation":
            # Only what does best there sees the test frames.
            for name, tried in finders.items():
                scores = [best_score(finder, truth, rows[side]) for finder in tried]
                finders[name] = [tried[int(np.argmax(scores))]]
                if name == "peakfinder8":
                    print(f"<!-- peakfinder8: {peer_grid(level or 0)[int(np.argmax(scores))]} -->")
    test, dataset = rows["test"], setup.frames.dataset[rows["test"]]
    found = []
    for name, tried in finders.items():
        best = tried[0]
        threshold = threshold_of(best, truth, rows["validation"])
        said = result(best, threshold, truth, widths, test, dataset)
        found.append(said)
        place = said["localisation"]
        low, high = said["f1_interval"]
        shown = "as it is" if level is None else f"{level:g}"
        print(
            f"| {shown} | {name} | {said['f1']:.3f} | {low:.3f} to {high:.3f} | "
            f"{said['precision']:.3f} | {said['recall']:.3f} | {place['median']:.3f} | "
            f"{place['within_0.3']:.2f} | {statistics.median(spent[name]):.2f} |",
            flush=True,
        )
    bounds = {}
    for name, (water, mask) in water_of.items():
        own = [row for row in test if str(setup.frames.dataset[row]) == name]
        width = np.concatenate([widths[row] for row in own])
        sigma = max(float(np.nanmedian(width)) ** 2 - 1 / 12, 0.0025) ** 0.5
        bound = best_f1(zones_of(water, mask, [truth[row] for row in own]), len(own), sigma)
        if bound is not None:
            bounds[name] = {"f1": bound.f1, "precision": bound.precision, "recall": bound.recall}
    best = pooled(bounds, found[0]["per_dataset"])
    print(f"| | bound | {best['f1']:.3f} | | | | | | |", flush=True)
    return {"level": level, "results": found, "bound": best}


def best_score(finder: Finder, truth: dict[int, Any], rows: list[int]) -> float:
    """Return the best F1 of a finder over its thresholds."""
    score = np.concatenate([finder.found[row].score for row in rows])
    gained = np.concatenate(
        [gains(finder.found[r].place, finder.found[r].score, truth[r].place) for r in rows]
    )
    drawn = curve(score, gained, sum(len(truth[row].photons) for row in rows))
    return float(drawn.f1.max()) if len(drawn.f1) else 0.0


def draw(levels: list[dict[str, Any]], path: Path) -> None:
    """Draw precision against recall at every level."""
    figure = Figure(figsize=(3.2 * len(levels), 3.4), dpi=110, layout="constrained")
    colours = ("#0072B2", "#D55E00", "#009E73")
    panels = figure.subplots(1, len(levels), sharey=True)
    for axes, level in zip(panels, levels, strict=True):
        for said, colour in zip(level["results"], colours, strict=False):
            curve = [(point["recall"], point["precision"]) for point in said["curve"]]
            label = f"{said['name']}  F1 {said['f1']:.3f}"
            axes.plot(*zip(*curve, strict=True), color=colour, label=label)
            axes.plot(said["recall"], said["precision"], "o", color=colour)
        name = "as it is" if level["level"] is None else f"{level['level']:g} photons a pixel"
        axes.set_title(f"background {name}\nbound F1 {level['bound']['f1']:.3f}", fontsize=10)
        axes.set_xlim(0.3, 1.01)
        axes.set_ylim(0.5, 1.01)
        axes.set_xlabel("recall")
        axes.legend(loc="lower left", frameon=False, fontsize=8)
    panels[0].set_ylabel("precision")
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
