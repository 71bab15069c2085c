"""Measure training against plain PyTorch loops, and how fast every model answers on one core.

    python benchmarks/training.py [--frames 40] [--seconds 6] [--repeats 3] [--models NAME ...]
        [--peakfinder8 PATH] [--answers 5]

Frames of the shipped detector are made at two photon energies and camera lengths, and each model
is trained on them with its first task of config/tasks: by our trainer, as `spotmill train` runs
it, and by a plain loop (shuffle, index, forward, backward, step) over the same tensors, which
lie in memory whole. An epoch is all training frames and a look at validation. The ways take
turns, each in a process of its own on one thread, whose largest memory is stated; times are CPU
time, medians of epochs (the first left out), figures medians of turns. Where a model does not read
whole frames, each frame stands twelve times in an epoch, so that epochs are as long as in use. A
checkpoint is what our trainer writes after an epoch besides; what it adds is stated apart, by wall.

Answers are from a frame in memory to what the task asks for, one frame at a time, on one core.
PATH is the compiled `_crystallography` of OM (see benchmarks/peaks.py): peakfinder8 on the same
frames.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# isort: off
from measuring import CONFIG, command, empty_words, labels_words, machine, overlay_words
from measuring import simulate_words, water_words

# isort: on
import numpy as np
import torch

from spotmill.learning.callbacks import watched
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.networks import build_network, use_threads
from spotmill.learning.peak_training import fit_peaks, gather, thinned
from spotmill.learning.peaks import PeakSetup, open_peaks
from spotmill.learning.registry import MODELS
from spotmill.learning.regression import fit_values, normal_loss
from spotmill.learning.setup import Setup, open_task
from spotmill.learning.training import class_weights, fit
from spotmill.learning.values import Quantity, family_of, values_of
from spotmill.tasks import Task

DATASETS = {"a": (6000.0, 0.15), "b": (8000.0, 0.25)}
GEOMETRY = CONFIG / "detectors/eiger4m.geom"
FIRST_EMPTY = 10_000_000
# Each frame stands so often in an epoch where it is small, for epochs of a usual length.
TIMES = 12
# Minutes a frame on a core: asked for by name only.
SLOW = ("dncnn", "resnet50")


class Enough(Exception):
    """The time is over."""


@dataclass
class Clock:
    """Notes when epochs end, by wall and by CPU, until there are enough."""

    seconds: float
    ends: list[tuple[float, float]]

    def tick(self, row: Any = None) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))
        if len(self.ends) > 2 and self.ends[-1][0] - self.ends[0][0] > self.seconds:
            raise Enough

    def epoch(self) -> tuple[float, float]:
        wall, cpu = np.median(np.diff(self.ends, axis=0), axis=0).tolist()
        return wall, cpu


def make(folder: Path, frames: int) -> None:
    """Make the manifests of two datasets, half as many empties as patterns."""
    for name, (energy, clen) in DATASETS.items():
        where, light = folder / name, (name, energy, clen)
        water, peaks = where / "water.h5", where / "peaks/p00000.h5"
        overlays = [where / f"overlay/{shard}00000.h5" for shard in "pe"]
        command(*water_words(water, *light))
        command(*simulate_words(peaks, 0, frames, *light))
        command(*overlay_words(water, overlays[0], peaks))
        command(*empty_words(water, overlays[1], FIRST_EMPTY, frames // 2))
        command(*labels_words(peaks, where / "labels/p00000.h5"))
        words: list[object] = ["manifest", "--overlay", *overlays, "--peaks", peaks]
        words += ["--labels", where / "labels/p00000.h5", "--truth", peaks.with_suffix(".parquet")]
        command(*words, "--output", folder / f"{name}.parquet")


def task_of(model: str) -> Path:
    """Return the first task file that has a model."""
    paths = sorted((CONFIG / "tasks").glob("*.yaml"), key=lambda path: (len(path.stem), path.stem))
    return next(path for path in paths if Task.read(path).model == model)


def opened(task: Task, path: Path, folder: Path) -> Any:
    split = folder / f"{path.stem}.split.parquet"
    if not split.exists():
        manifests = [folder / f"{name}.parquet" for name in DATASETS]
        command("split", "--task", path, "--manifest", *manifests, "--output", split)
    return (open_peaks if task.target == "peaks" else open_task)(task, split, GEOMETRY, str(path))


def ours(task: Task, setup: Any, source: str, clock: Clock, kept: Path | None) -> None:
    """Train by our trainer until the clock says enough."""
    with watched(clock.tick):
        if isinstance(setup, PeakSetup):
            fit_peaks(setup, source, kept)
            return
        frames = setup.frames
        encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
        sides = sides_of(task, setup)
        if task.scale == "values":
            column, family = Quantity(task.target).column, family_of(setup, sides[0], source)
            of_frames = values_of(frames)
            fit_values(
                task, encoded, sides, of_frames, column, family, setup.dimensions, source, kept
            )
        else:
            rest = (frames.truth, setup.condition, setup.dimensions, source, kept)
            fit(task, encoded, sides, *rest)


def sides_of(task: Task, setup: Any) -> tuple[Any, Any]:
    """Return rows of training and validation; small inputs stand for more frames than were made."""
    times = 1 if task.target == "peaks" or MODELS[task.model].whole_frames else TIMES
    return tuple(np.tile(setup.frames.rows(side), times) for side in ("train", "validation"))


Loss = Callable[[Any], torch.Tensor]


def plain(task: Task, setup: Any, source: str, clock: Clock) -> None:
    """Train by a plain loop until the clock says enough."""
    network, loss, own, held_out = tensors(task, setup, source)
    kind = torch.optim.SGD if task.optimiser == "sgd" else torch.optim.AdamW
    optimiser = kind(network.parameters(), lr=task.learning_rate, weight_decay=task.weight_decay)
    count, size = len(own[0]), task.batch_size
    while True:
        network.train()
        order = torch.randperm(count)
        total = 0.0
        for at in range(0, count, size):
            rows = order[at : at + size]
            value = loss([part[rows] for part in own])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            total += float(value.detach()) * len(rows)
        network.eval()
        with torch.no_grad():
            for at in range(0, len(held_out[0]), size):
                total += float(loss([part[at : at + size] for part in held_out]))
        clock.tick()


def tensors(task: Task, setup: Any, source: str) -> tuple[Any, Loss, list[Any], list[Any]]:
    """Return the network, its loss, and the tensors of training and validation."""
    network: Any = build_network(task, setup.dimensions, source)
    frames = setup.frames
    sides = sides_of(task, setup)
    if isinstance(setup, PeakSetup):
        parts = [gather(setup, network, thinned(rows, network.frames)) for rows in sides]
        names = list(parts[0])
        own, held_out = ([part[name] for name in names] for part in parts)
        return network, lambda b: network.loss(dict(zip(names, b, strict=True))), own, held_out
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
    inputs = [encoded.inputs(rows) for rows in sides]
    encoded.forget()
    if task.scale == "values":
        column, values = Quantity(task.target).column, values_of(frames)
        profiles = inputs[0].numpy().astype(np.float64)
        with torch.no_grad():
            family = family_of(setup, sides[0], source)
            network.start(family, column, profiles, values[sides[0]])
        truth = [torch.from_numpy(np.ascontiguousarray(values[rows, column])) for rows in sides]
        own, held_out = map(list, zip(inputs, truth, strict=True))
        return network, lambda b: normal_loss(network(b[0]), b[1]), own, held_out
    truth = [torch.from_numpy(frames.truth[rows]) for rows in sides]
    if hasattr(network, "prepare"):
        with torch.no_grad():
            network.prepare(inputs[0], truth[0], torch.from_numpy(setup.condition[sides[0]]))
    weights = class_weights(frames.truth[sides[0]], max(setup.dimensions.outputs, 2))

    def loss(batch: Any) -> torch.Tensor:
        logits = network(batch[0])
        given = weights.to(logits) if task.balance else None
        if logits.shape[1] > 1:
            return torch.nn.functional.cross_entropy(logits, batch[1], weight=given)
        positive = None if given is None else given[1] / given[0]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], batch[1].to(logits.dtype), pos_weight=positive
        )

    return network, loss, *map(list, zip(inputs, truth, strict=True))


def answers(task: Task, setup: Setup | PeakSetup, source: str, count: int) -> float:
    """Return the median seconds of CPU from a frame in memory to its answer."""
    network: Any = build_network(task, setup.dimensions, source, training=False).eval()
    frames = setup.frames
    if task.scale == "values":
        assert isinstance(setup, Setup)
        own = frames.rows("train")
        profiles = EncodedFrames(setup.images, setup.encoder, frames.truth).inputs(own)
        family = family_of(setup, own, source)
        with torch.no_grad():
            column = Quantity(task.target).column
            profiles = profiles.numpy().astype(np.float64)
            network.start(family, column, profiles, values_of(frames)[own])

    def answer(image: Any, mask: Any) -> None:
        if isinstance(setup, PeakSetup):
            network.find(image, mask)
        else:
            network(setup.encoder.batch([setup.encoder.encode(image, mask)]))

    spent = []
    rows = frames.rows("test")
    with torch.no_grad():
        for number in range(count + 1):
            image, mask = setup.images.read(int(rows[number % len(rows)]))
            begun = time.process_time()
            answer(image, mask)
            spent.append(time.process_time() - begun)
    return statistics.median(spent[1:])


def child(args: argparse.Namespace) -> None:
    """Measure one way of one model; print it as JSON."""
    use_threads(1)
    path = task_of(args.models[0])
    says = {"epochs": 100_000, "early_stopping": None, "schedule": None}
    task = Task.read(path).model_copy(update=says)
    setup = opened(task, path, args.folder)
    clock = Clock(args.seconds, [])
    if args.child == "answers":
        print(json.dumps({"seconds": answers(task, setup, str(path), args.answers)}))
        return
    try:
        if args.child == "plain":
            plain(task, setup, str(path), clock)
        else:
            kept = args.folder / f"kept/{path.stem}" if args.child == "checkpoints" else None
            ours(task, setup, str(path), clock, kept)
    except Enough:
        pass
    wall, cpu = clock.epoch()
    spent = {"wall": wall, "cpu": cpu, "memory": peak_memory(), "n": frames_of(task, setup)}
    print(json.dumps(spent))


def peak_memory() -> float:
    """Return the largest memory of this process so far, MiB."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def frames_of(task: Task, setup: Any) -> int:
    """Return how many training frames an epoch takes."""
    own = sides_of(task, setup)[0]
    return min(len(own), task.settings.get("frames") or len(own))


def run(model: str, way: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one way of one model in a process of its own."""
    words = [__file__, "--child", way, "--folder", folder, "--models", model]
    words += ["--seconds", args.seconds, "--answers", args.answers]
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{model}, {way}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peer(folder: Path, path: Path, count: int) -> float:
    """Return the median seconds of CPU that peakfinder8 takes for a frame."""
    from peaks import peakfinder8

    task = Task.read(task_of("peak_net"))
    setup = opened(task, task_of("peak_net"), folder)
    find = peakfinder8(path, setup)
    spent = []
    for row in setup.frames.rows("test").tolist()[: count + 1]:
        image, mask = setup.images.read(row)
        begun = time.process_time()
        find(image, mask, 4.0, 0.5, 2)
        spent.append(time.process_time() - begun)
    return statistics.median(spent[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40, help="patterns of each dataset")
    parser.add_argument("--seconds", type=float, default=6.0, help="of epochs in a turn, at least")
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    parser.add_argument("--models", nargs="+", choices=MODELS, help="default: all but the slow")
    parser.add_argument("--answers", type=int, default=5, help="frames to answer")
    parser.add_argument("--peakfinder8", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    models = args.models or [name for name in MODELS if name not in SLOW]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, args.frames)
        print(f"{machine()}; {args.frames} patterns of each of {len(DATASETS)} datasets")
        head = "| model | task | frames | plain, frames/s | ours, frames/s | of plain |"
        head += " checkpoint, s | plain, MiB | ours, MiB |"
        print(f"{head}\n{'|---' * 9}|", flush=True)
        for model in models:
            turns = [
                {way: run(model, way, folder, args) for way in ("plain", "ours", "checkpoints")}
                for _ in range(args.repeats)
            ]
            show(model, turns)
        print("\n| model | s of CPU a frame | frames/s of a core |\n|---|---|---|")
        for model in models:
            spent = run(model, "answers", folder, args)["seconds"]
            print(f"| {model} | {spent:.3f} | {1 / spent:.1f} |", flush=True)
        if args.peakfinder8:
            spent = peer(folder, args.peakfinder8, args.answers)
            print(f"| peakfinder8 | {spent:.3f} | {1 / spent:.1f} |")


def show(model: str, turns: list[dict[str, dict[str, Any]]]) -> None:
    """Print the row of a model."""

    def median(way: str, key: str) -> float:
        return statistics.median(turn[way][key] for turn in turns)

    n = turns[0]["ours"]["n"]
    ratio = statistics.median(turn["plain"]["cpu"] / turn["ours"]["cpu"] for turn in turns)
    kept = max(median("checkpoints", "wall") - median("ours", "wall"), 0.0)
    print(
        f"| {model} | {task_of(model).stem} | {n} | {n / median('plain', 'cpu'):.1f} | "
        f"{n / median('ours', 'cpu'):.1f} | {ratio:.2f} | {kept:.3f} | "
        f"{median('plain', 'memory'):.0f} | {median('ours', 'memory'):.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
