r"""Train the model of a task.

Example::

    spotmill train --task config/tasks/hit.yaml --split results/splits/hit.parquet \
        --detector config/detectors/eiger4m.geom --output results/models/hit

A run that was killed goes on from its last whole epoch, with the same result.
"""

import argparse
import hashlib
import json
import logging
import shutil
from pathlib import Path

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError
from spotmill.recipes import MODEL_RECIPES, RECIPES
from spotmill.splits import SIDES
from spotmill.tasks import Task, task_name


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
    from spotmill.learning.encoders import EncodedFrames
    from spotmill.learning.setup import open_task
    from spotmill.learning.store import card, save_model
    from spotmill.learning.training import fit, use_threads

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = Task.read(args.task)
    name = task_name(args.task)
    use_threads(args.threads)
    if task.target == "peaks":
        return train_peaks(task, name, args)
    if task.scale == "values":
        return train_values(task, name, args)
    setup = open_task(task, args.split, args.detector, str(args.task))
    frames = setup.frames
    checkpoints = args.output / f".checkpoints-{fingerprint(task, args)}"
    trained = fit(
        task,
        EncodedFrames(setup.images, setup.encoder, frames.truth, args.workers),
        (frames.rows("train"), frames.rows("validation")),
        frames.truth,
        setup.condition,
        setup.dimensions,
        str(args.task),
        checkpoints,
    )
    counts = {side: len(frames.rows(side)) for side in SIDES}
    datasets = sorted(set(frames.dataset.tolist()))
    facts = card(task, name, frames.classes, datasets, counts, setup.dimensions, trained)
    save_model(args.output, facts, trained)
    for left in args.output.glob(".checkpoints-*"):
        shutil.rmtree(left)


def train_peaks(task: Task, name: str, args: argparse.Namespace) -> None:
    """Train a model that finds peaks."""
    from spotmill.learning.peak_training import fit_peaks
    from spotmill.learning.peaks import open_peaks
    from spotmill.learning.store import card, save_model

    setup = open_peaks(task, args.split, args.detector, str(args.task))
    trained = fit_peaks(setup, str(args.task))
    frames = setup.frames
    counts = {side: len(frames.rows(side)) for side in SIDES}
    datasets = sorted(set(frames.dataset.tolist()))
    facts = card(task, name, frames.classes, datasets, counts, setup.dimensions, trained)
    save_model(args.output, facts, trained)


def train_values(task: Task, name: str, args: argparse.Namespace) -> None:
    """Train a model that tells a value."""
    from spotmill.learning.encoders import EncodedFrames
    from spotmill.learning.regression import fit_values
    from spotmill.learning.setup import open_task
    from spotmill.learning.store import card, save_model
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
    )
    counts = {side: len(frames.rows(side)) for side in SIDES}
    datasets = sorted(set(frames.dataset.tolist()))
    facts = card(task, name, frames.classes, datasets, counts, setup.dimensions, trained)
    save_model(args.output, facts, trained)


def fingerprint(task: Task, args: argparse.Namespace) -> str:
    """Return a hash of all that a checkpoint depends on, so that none of another run is used."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps(task.model_dump(mode="json"), sort_keys=True).encode())
    for path in (args.split, args.detector):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise SpotmillError(f"{path}: cannot be read; check the name") from error
    recipes = f"{RECIPES['train']} {MODEL_RECIPES[task.model]}"
    digest.update(f"{recipes} {args.threads}".encode())
    return digest.hexdigest()
