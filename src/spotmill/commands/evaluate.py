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
from typing import TYPE_CHECKING, Any

from spotmill.commands.train import add_task
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, write_text
from spotmill.formats.digests import signed_json
from spotmill.recipes import RECIPES
from spotmill.splits import SIDES
from spotmill.tasks import Task, task_name

if TYPE_CHECKING:
    from spotmill.learning.frames import Frames


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
    from spotmill.learning.networks import use_threads
    from spotmill.learning.setup import open_task
    from spotmill.learning.store import load_card, load_network

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
    check_split(setup.frames, facts, args)
    evaluation, predictions, problem = evaluate_kind(setup, network, facts, args)
    keep(task, evaluation, predictions, problem, args)


def keep(
    task: Task,
    evaluation: dict[str, Any],
    predictions: dict[str, Any],
    problem: str | None,
    args: argparse.Namespace,
) -> None:
    """Write an evaluation; raise SpotmillError afterwards where there is a problem."""
    import pandas as pd

    evaluation = {
        "task": task_name(args.task),
        **held_out(task),
        **evaluation,
        "recipe": RECIPES["evaluate"],
    }
    with atomic(args.output / "predictions.parquet") as temporary:
        pd.DataFrame(predictions).to_parquet(temporary, index=False, write_page_checksum=True)
    write_text(args.output / "evaluation.json", signed_json(evaluation))
    if problem:
        raise SpotmillError(f"{args.output / 'evaluation.json'}: {problem}")


def check_split(frames: "Frames", facts: dict[str, Any], args: argparse.Namespace) -> None:
    """Raise SpotmillError where a model was trained on other frames than the split says.

    With other shares the split's test frames may be among those that the model has seen.
    """
    there = {side: len(frames.rows(side)) for side in SIDES}
    said = facts.get("n")
    if said != there:
        raise SpotmillError(
            f"{args.model / 'model.json'}: n is {said}, {args.split} has {there}; "
            "give the split that the model was trained with, or train the model again"
        )


def held_out(task: Task) -> dict[str, list[str]]:
    """Return what an evaluation says of held-out datasets; nothing where there are none."""
    return {"held_out": list(task.hold_out)} if task.hold_out else {}


def evaluate_kind(
    setup: Any, network: Any, facts: dict[str, Any], args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Return evaluation, predictions, and what is wrong, of a task of classes or of values."""
    from spotmill.learning import evaluation, evaluation_flux, evaluation_values
    from spotmill.learning.calibration import stored_calibration

    source = str(args.task)
    if setup.task.scale == "values":
        found, rows = evaluation_values.evaluate(setup, network, args.water[0], source)
        return found, rows, evaluation_values.complaint(found)
    calibration = stored_calibration(facts, args.model / "model.json")
    if setup.task.dims:
        found, rows = evaluation_flux.evaluate_flux(
            setup, network, calibration, args.water, args.reflections, source
        )
    else:
        found, rows = evaluation.evaluate(setup, network, calibration, args.water[0], source)
    return found, rows, evaluation.complaint(found)


def run_peaks(task: Task, args: argparse.Namespace) -> None:
    """Evaluate a model that finds peaks."""
    from spotmill.learning.evaluation_peaks import evaluate_peaks
    from spotmill.learning.peak_calibration import stored_peak_calibration
    from spotmill.learning.peak_controls import complaint
    from spotmill.learning.peaks import open_peaks
    from spotmill.learning.store import load_card, load_network

    setup = open_peaks(task, args.split, args.detector, str(args.task))
    network = load_network(args.model, task, str(args.task))
    facts = load_card(args.model)
    check_split(setup.frames, facts, args)
    calibration = stored_peak_calibration(facts, args.model / "model.json")
    evaluation, predictions = evaluate_peaks(setup, network, calibration, args.water[0])
    keep(task, evaluation, predictions, complaint(evaluation), args)
