r"""Train the model of a task.

Example::

    spotmill train --task config/tasks/hit.yaml --split results/splits/hit.parquet \
        --detector config/detectors/eiger4m.geom --output results/models/hit

A run that was killed goes on from its last whole epoch, with the same result. What it comes to
epoch by epoch is in history.csv, while it runs in .checkpoints-*/history.csv.
"""

import argparse
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError
from spotmill.recipes import MODEL_RECIPES, RECIPES
from spotmill.splits import SIDES
from spotmill.tasks import Task, task_name

if TYPE_CHECKING:
    from spotmill.learning.peaks import PeakSetup
    from spotmill.learning.setup import Setup
    from spotmill.learning.trainer import Machine, Trained

# What a card says besides, found by the process that writes it.
Further = Callable[[], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill train`."""
    add_task(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument(
        "--workers",
        type=whole("--workers", 0, 1024),
        default=0,
        help="further processes that read frames ahead; the model is the same (default 0)",
    )
    parser.add_argument(
        "--devices",
        type=whole("--devices", 1, 1024),
        default=1,
        help="GPUs of a node that train together, or where there are none processes of --threads "
        "each; batches are shared out, weights differ in their last digits (default 1)",
    )
    parser.add_argument(
        "--nodes",
        type=whole("--nodes", 1, 1024),
        default=1,
        help="nodes of a cluster, each with as many devices; srun starts one task for each "
        "(default 1)",
    )


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add what training and evaluation both read."""
    parser.add_argument("--task", type=Path, required=True, help="task file (.yaml)")
    parser.add_argument("--split", type=Path, required=True, help="frames of the task (.parquet)")
    parser.add_argument("--detector", type=Path, required=True, help="geometry file (.geom)")
    parser.add_argument(
        "--threads", type=whole("--threads", 1, 1024), default=1, help="processor cores (default 1)"
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill train`."""
    from spotmill.learning.networks import use_threads
    from spotmill.learning.origins import origins
    from spotmill.learning.store import card, save_model
    from spotmill.learning.trainer import Machine

    machine = Machine(args.devices, args.nodes)
    level = logging.INFO if machine.leads else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s")
    task = Task.read(args.task)
    use_threads(args.threads)
    checkpoints = args.output / f".checkpoints-{fingerprint(task, args)}"
    kind = "peaks" if task.target == "peaks" else task.scale
    setup, trained, further = KINDS[kind](task, args, machine, checkpoints)
    if not machine.leads:
        return
    frames = setup.frames
    counts = {side: len(frames.rows(side)) for side in SIDES}
    datasets = sorted(set(frames.dataset[frames.rows("train")].tolist()))
    name = task_name(args.task)
    facts = card(task, name, frames.classes, datasets, counts, setup.dimensions, trained)
    facts |= {"origins": origins(frames)}
    save_model(args.output, facts | training_frames(setup) | further(), trained)
    for left in args.output.glob(".checkpoints-*"):
        shutil.rmtree(left)


def train_classes(
    task: Task, args: argparse.Namespace, machine: "Machine", checkpoints: Path
) -> "tuple[Setup, Trained, Further]":
    """Train a model that tells classes."""
    from spotmill.learning.calibration import calibrate
    from spotmill.learning.candidate_truth import candidate_truth
    from spotmill.learning.encoders import EncodedFrames
    from spotmill.learning.setup import open_task
    from spotmill.learning.training import fit, predict

    setup = open_task(task, args.split, args.detector, str(args.task))
    frames = setup.frames
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth, args.workers)
    candidates = candidate_truth(task, setup, encoded, str(args.task))
    trained = fit(
        task,
        encoded,
        (frames.rows("train"), frames.rows("validation")),
        frames.truth,
        setup.condition,
        setup.dimensions,
        str(args.task),
        checkpoints,
        machine,
        candidates,
    )

    def further() -> dict[str, Any]:
        calibration = calibrate(
            lambda rows: predict(trained.network, encoded, rows, task.batch_size),
            frames,
            task.target,
            # The best of few frames chases hits whose spots all drown, at the cost of blanks.
            threshold=None if candidates is None else 0.5,
        )
        return {"calibration": calibration.model_dump(mode="json")}

    return setup, trained, further


def train_peaks(
    task: Task, args: argparse.Namespace, machine: "Machine", checkpoints: Path
) -> "tuple[PeakSetup, Trained, Further]":
    """Train a model that finds peaks."""
    from spotmill.learning.peak_calibration import calibrate_peaks
    from spotmill.learning.peak_training import fit_peaks
    from spotmill.learning.peaks import open_peaks

    setup = open_peaks(task, args.split, args.detector, str(args.task))
    trained = fit_peaks(setup, str(args.task), checkpoints, machine)

    def further() -> dict[str, Any]:
        return {"calibration": calibrate_peaks(setup, trained.network).model_dump(mode="json")}

    return setup, trained, further


def train_values(
    task: Task, args: argparse.Namespace, machine: "Machine", checkpoints: Path
) -> "tuple[Setup, Trained, Further]":
    """Train a model that tells a value."""
    from spotmill.learning.encoders import EncodedFrames
    from spotmill.learning.regression import fit_values
    from spotmill.learning.setup import open_task
    from spotmill.learning.values import Quantity, family_of, values_of

    setup = open_task(task, args.split, args.detector, str(args.task))
    frames = setup.frames
    train = frames.rows("train")
    trained = fit_values(
        task,
        EncodedFrames(setup.images, setup.encoder, frames.truth, args.workers),
        (train, frames.rows("validation")),
        values_of(frames),
        Quantity(task.target).column,
        family_of(setup, train, str(args.task)),
        setup.dimensions,
        str(args.task),
        checkpoints,
        machine,
    )
    return setup, trained, dict


KINDS: dict[str, Callable[..., "tuple[Setup | PeakSetup, Trained, Further]"]] = {
    "classes": train_classes,
    "values": train_values,
    "peaks": train_peaks,
}


def training_frames(setup: "Setup | PeakSetup") -> dict[str, Any]:
    """Return what a card says of the training frames themselves, for those who use the model."""
    from spotmill.learning.frame_summary import summarise
    from spotmill.learning.registry import model_module

    settings = model_module(setup.task.model).Settings.parse(setup.task.settings, "settings")
    # Models of peaks see copies of frames with further background drawn on top.
    added = settings.background[1] if getattr(settings, "copies", 0) else 0.0
    rows, view = setup.frames.rows("train"), setup.view
    size = view.detector.pixel_size
    said = summarise(setup.images, rows, view.radius, size, added)
    if kinds := setup.views.kinds(rows):
        said["detectors"] = kinds
    return {"training_frames": said}


def fingerprint(task: Task, args: argparse.Namespace) -> str:
    """Return a hash of all that a checkpoint depends on, so that none of another run is used."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps(task.model_dump(mode="json"), sort_keys=True).encode())
    if not args.split.is_file():
        raise SpotmillError(f"{args.split}: no such table; remake it (name it to snakemake)")
    for path in (args.split, args.detector):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise SpotmillError(f"{path}: cannot be read; check the name") from error
    recipes = f"{RECIPES['train']} {MODEL_RECIPES[task.model]}"
    digest.update(f"{recipes} {args.threads} {args.devices} {args.nodes}".encode())
    return digest.hexdigest()
