r"""Evaluate a model beside baselines and controls.

Example::

    spotmill evaluate --task config/tasks/hit.yaml --split results/splits/hit.parquet \
        --model results/models/hit --water results/images/water/01.h5 \
        --detector config/detectors/eiger4m.geom --output results/evaluation/hit

Where a control comes out clearly off chance (its 99.9 % interval excludes it), the
evaluation is still written, so that it can be looked at, but the command fails.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from spotmill.commands.train import add_task
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, write_text
from spotmill.formats.digests import signed_json
from spotmill.recipes import RECIPES
from spotmill.tasks import Task, task_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill evaluate`."""
    add_task(parser)
    parser.add_argument("--model", type=Path, required=True, help="folder of the trained model")
    parser.add_argument(
        "--water",
        type=Path,
        nargs="+",
        required=True,
        help="expected water images (.h5); at several fluxes one of each dataset",
    )
    parser.add_argument(
        "--reflections",
        type=Path,
        nargs="*",
        default=[],
        help="reflections of the crystals (.mtz), for the bounds at several fluxes",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the evaluation")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill evaluate`."""
    import pandas as pd

    from spotmill.learning.evaluation import complaint, evaluate
    from spotmill.learning.setup import open_task
    from spotmill.learning.store import load_card, load_network
    from spotmill.learning.training import use_threads

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = Task.read(args.task)
    use_threads(args.threads)
    if task.target == "peaks":
        return run_peaks(task, args)
    setup = open_task(task, args.split, args.detector, str(args.task))
    facts = load_card(args.model)
    if facts["classes"] != list(setup.frames.classes):
        raise SpotmillError(
            f"{args.model}: was trained for {facts['classes']}, the split has "
            f"{list(setup.frames.classes)}; train the model again"
        )
    for key in ("shape", "outputs"):
        said, wanted = facts["dimensions"][key], getattr(setup.dimensions, key)
        if said != (list(wanted) if key == "shape" else wanted):
            raise SpotmillError(
                f"{args.model / 'model.json'}: dimensions: {key} is {said}, these frames give "
                f"{wanted}; train the model again"
            )
    network = load_network(args.model, task, str(args.task))
    if task.scale == "values":
        evaluate, complaint = values_kind()
    if task.dims:
        from spotmill.learning.evaluation_flux import evaluate_flux

        evaluation, predictions = evaluate_flux(
            setup, network, args.water, args.reflections, str(args.task)
        )
    else:
        evaluation, predictions = evaluate(setup, network, args.water[0], str(args.task))
    evaluation = {"task": task_name(args.task), **evaluation, "recipe": RECIPES["evaluate"]}
    with atomic(args.output / "predictions.parquet") as temporary:
        pd.DataFrame(predictions).to_parquet(temporary, index=False, write_page_checksum=True)
    write_text(args.output / "evaluation.json", signed_json(evaluation))
    problem = complaint(evaluation)
    if problem:
        raise SpotmillError(f"{args.output / 'evaluation.json'}: {problem}")


def values_kind() -> tuple[Any, Any]:
    """Return what evaluates and judges tasks of values."""
    from spotmill.learning.evaluation_values import complaint, evaluate

    return evaluate, complaint


def run_peaks(task: Task, args: argparse.Namespace) -> None:
    """Evaluate a model that finds peaks."""
    import pandas as pd

    from spotmill.learning.evaluation_peaks import evaluate_peaks
    from spotmill.learning.peak_controls import complaint
    from spotmill.learning.peaks import open_peaks
    from spotmill.learning.store import load_network

    setup = open_peaks(task, args.split, args.detector, str(args.task))
    network = load_network(args.model, task, str(args.task))
    evaluation, predictions = evaluate_peaks(setup, network, args.water[0])
    evaluation = {"task": task_name(args.task), **evaluation, "recipe": RECIPES["evaluate"]}
    with atomic(args.output / "predictions.parquet") as temporary:
        pd.DataFrame(predictions).to_parquet(temporary, index=False, write_page_checksum=True)
    write_text(args.output / "evaluation.json", signed_json(evaluation))
    problem = complaint(evaluation)
    if problem:
        raise SpotmillError(f"{args.output / 'evaluation.json'}: {problem}")
