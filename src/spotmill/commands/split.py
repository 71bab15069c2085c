r"""Assign frames to training, validation and test.

Example::

    spotmill split --task config/tasks/hit.yaml --manifest results/manifest/*.parquet \
        --train 0.7 --validation 0.1 --test 0.2 --output results/splits/hit.parquet

The side depends on a hash of the frame's identity (dataset and index) alone: growing a
dataset or choosing others moves no frame, and a frame is on the same side in every task.
Of a task with `hold_out` the test frames are all frames of these datasets, and no others.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from spotmill.commands.arguments import add_output
from spotmill.config import Split
from spotmill.errors import SpotmillError
from spotmill.formats.tables import MANIFEST, SPLIT, read_table, write_table
from spotmill.recipes import RECIPES
from spotmill.splits import SIDES, side_in_task
from spotmill.tasks import TRUTH, Task, check_hold_out, task_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill split`."""
    parser.add_argument("--task", type=Path, required=True, help="task file (.yaml)")
    parser.add_argument(
        "--manifest", type=Path, nargs="+", required=True, help="manifests (.parquet)"
    )
    for name in SIDES:
        default = Split.model_fields[name].default
        parser.add_argument(f"--{name}", type=float, default=default, help="share of the frames")
    add_output(parser, "frames with their side (.parquet)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill split`."""
    task = Task.read(args.task)
    shares = Split.parse({name: getattr(args, name) for name in SIDES}, "--train/validation/test")
    table = select(
        pa.concat_tables([read_table(path, MANIFEST) for path in args.manifest]), task, args.task
    )
    check_frames(table, task, args.task)
    names, indices = table["dataset"].to_pylist(), table["index"].to_pylist()
    drawn = [
        side_in_task(name, index, shares, task.hold_out)
        for name, index in zip(names, indices, strict=True)
    ]
    table = table.filter(pa.array([side is not None for side in drawn], pa.bool_()))
    sides = [side for side in drawn if side is not None]
    for name in SIDES:
        if name not in sides:
            raise SpotmillError(
                f"{args.task}: no frame of {table.num_rows} falls to {name}; "
                "add patterns to its datasets or raise that share"
            )
    columns = {name: table[name] for name in MANIFEST.names} | {"split": pa.array(sides)}
    facts = {
        "task": task_name(args.task),
        "recipe": RECIPES["split"],
        "hold_out": list(task.hold_out),
    } | shares.model_dump()
    write_table(args.output, columns, SPLIT, facts)


def select(table: pa.Table, task: Task, source: Path) -> pa.Table:
    """Return the rows of the task's datasets, ordered by identity.

    Raises
    ------
    SpotmillError
        When the task names a dataset that no manifest holds.
    """
    if task.datasets is not None:
        known = set(table["dataset"].to_pylist())
        for name in task.datasets:
            if name not in known:
                raise SpotmillError(
                    f"{source}: datasets: {name!r} does not exist; "
                    f"there are {', '.join(sorted(known)) or 'none'}"
                )
        table = table.filter(pc.is_in(table["dataset"], pa.array(list(task.datasets))))
    return table.sort_by([("dataset", "ascending"), ("index", "ascending")])


def check_frames(table: pa.Table, task: Task, source: Path) -> None:
    """Check the frames of a task.

    Raises
    ------
    SpotmillError
        When a frame stands twice, the target takes fewer than two values, or the task cannot
        be trained without the datasets that it holds out.
    """
    identities = list(zip(table["dataset"].to_pylist(), table["index"].to_pylist(), strict=True))
    for first, second in pairwise(identities):
        if first == second:
            raise SpotmillError(
                f"--manifest: frame {first[1]} of dataset {first[0]} stands there twice; "
                "name each manifest once"
            )
    column = TRUTH[task.target]
    # Values differ from frame to frame; the manifest has the dataset's.
    if task.scale == "classes" and len(set(table[column].to_pylist())) < 2:
        raise SpotmillError(
            f"{source}: target {task.target}: its datasets have only one value of {column}; "
            "choose datasets that differ in it"
        )
    is_class = task.scale == "classes" and task.target in ("photon_energy", "camera_length")
    values = zip(table["dataset"].to_pylist(), table[column].to_pylist(), strict=True)
    check_hold_out(task, {name: value if is_class else None for name, value in values}, source)
