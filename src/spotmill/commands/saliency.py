r"""Show where a trained model looked: what parts of a few test frames its answers rest on.

Example::

    spotmill saliency --task config/tasks/hit.yaml --split results/splits/hit.parquet \
        --model results/models/hit --evaluation results/evaluation/hit \
        --detector config/detectors/eiger4m.geom --output results/saliency/hit

The frames are the most certain right one, the worst error and one in doubt. Writes saliency.json
and parts.parquet.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotmill.commands.train import add_task
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.digests import signed_json
from spotmill.recipes import RECIPES
from spotmill.tasks import Task, task_name

if TYPE_CHECKING:
    import pandas as pd

    from spotmill.learning.frames import Frames
    from spotmill.learning.saliency import Explained

# What every table of predictions names of a frame, and what of a peak besides.
NAMED, OF_PEAKS = ("dataset", "index"), ("fs", "ss", "score", "matched")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill saliency`."""
    add_task(parser)
    parser.add_argument("--model", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of its evaluation")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is found")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill saliency`."""
    # torch then asks for large pages, which the system clears faster: frames come and go.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from spotmill.learning.networks import use_threads
    from spotmill.learning.store import load_card, load_network

    task = Task.read(args.task)
    use_threads(args.threads)
    said = read_predictions(task, args.evaluation)
    facts = load_card(args.model)
    network = load_network(args.model, task, str(args.task))
    if task.target == "peaks":
        explained = of_peaks(task, network, facts, said, args)
    else:
        explained = of_frames(task, network, facts, said, args)
    keep(task, explained, args)


def of_frames(
    task: Task, network: Any, facts: dict[str, Any], said: "pd.DataFrame", args: argparse.Namespace
) -> "Explained":
    """Explain a model of classes or values."""
    from spotmill.learning.calibration import stored_calibration
    from spotmill.learning.saliency_hits import explain_hits
    from spotmill.learning.saliency_rings import explain_rings
    from spotmill.learning.setup import open_task

    setup = open_task(task, args.split, args.detector, str(args.task))
    check_frames(setup.frames, facts, said, args)
    if task.target != "hit":
        return explain_rings(setup, network, said)
    threshold = stored_calibration(facts, args.model / "model.json").threshold
    return explain_hits(setup, network, said, threshold)


def of_peaks(
    task: Task, network: Any, facts: dict[str, Any], said: "pd.DataFrame", args: argparse.Namespace
) -> "Explained":
    """Explain a model that finds peaks."""
    from spotmill.learning.peak_calibration import stored_peak_calibration
    from spotmill.learning.peaks import open_peaks
    from spotmill.learning.saliency_peaks import explain_peaks

    setup = open_peaks(task, args.split, args.detector, str(args.task))
    check_frames(setup.frames, facts, said, args)
    calibration = stored_peak_calibration(facts, args.model / "model.json")
    return explain_peaks(setup, network, calibration, said)


def read_predictions(task: Task, folder: Path) -> "pd.DataFrame":
    """Return the predictions of an evaluation; raise SpotmillError where they do not fit."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "predictions.parquet"
    if not path.is_file():
        raise SpotmillError(f"{path}: no such table; evaluate first (name it to snakemake)")
    try:
        said: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SpotmillError(f"{path}: is not a whole Parquet file; evaluate again") from error
    told = ("truth", "said", "sigma") if task.scale == "values" else ("truth", "said", "score_1")
    wanted = (*NAMED, *(OF_PEAKS if task.target == "peaks" else told))
    wanted += ("flux",) if task.dims else ()
    missing = [name for name in wanted if name not in said]
    if missing:
        raise SpotmillError(f"{path}: lacks the column {missing[0]!r}; evaluate again")
    return said


def check_frames(
    frames: "Frames", facts: dict[str, Any], said: "pd.DataFrame", args: argparse.Namespace
) -> None:
    """Raise SpotmillError where model, predictions and split are not of the same frames."""
    from spotmill.commands.evaluate import check_split

    check_split(frames, facts, args)
    rows = frames.rows("test")
    known = set(zip(frames.dataset[rows].tolist(), frames.index[rows].tolist(), strict=True))
    for dataset, index in zip(said["dataset"], said["index"], strict=True):
        if (dataset, index) not in known:
            raise SpotmillError(
                f"{args.evaluation / 'predictions.parquet'}: frame {index} of dataset {dataset} is "
                f"no test frame of {args.split}; evaluate again"
            )


def keep(task: Task, explained: "Explained", args: argparse.Namespace) -> None:
    """Write what was found."""
    from spotmill.formats.saliency import PARTS, RINGS
    from spotmill.formats.tables import write_table

    schema = RINGS if explained.kind == "rings" else PARTS
    columns = {name: explained.columns.get(name, []) for name in schema.names}
    name = task_name(args.task)
    facts = {
        "task": name,
        "target": task.target,
        "model": task.model,
        "kind": explained.kind,
        "method": explained.method,
        "answer": explained.answer,
        "reference": explained.reference,
        "frames": explained.frames,
        "recipe": RECIPES["saliency"],
    }
    provenance = {"task": name, "recipe": RECIPES["saliency"]}
    write_table(args.output / "parts.parquet", columns, schema, provenance)
    write_text(args.output / "saliency.json", signed_json(facts))
