r"""Search for better settings of a task, judged by its validation frames.

Example::

    spotmill tune --search config/tuning/hit.yaml --task config/tasks/hit.yaml \
        --split results/splits/hit.parquet --detector config/detectors/eiger4m.geom \
        --output results/tuning/hit

Test frames are never read. A search that was killed goes on after its last whole trial, and one
that is given more trials goes on where it ended; both with the same result as in one go.
"""

import argparse
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from spotmill import __version__
from spotmill.commands.train import add_task
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, write_text
from spotmill.formats.digests import file_digest, signed_json
from spotmill.recipes import MODEL_RECIPES, RECIPES
from spotmill.tasks import Task, task_name
from spotmill.tuning import Search, check_search, with_values

TABLE, FIGURE, SUMMARY, JOURNAL = "trials.csv", "history.png", "tuning.json", "journal.log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill tune`."""
    parser.add_argument("--search", type=Path, required=True, help="search file (.yaml)")
    add_task(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the search")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill tune`."""
    from spotmill.learning.bench import Bench
    from spotmill.learning.networks import use_threads
    from spotmill.learning.study import run_search
    from spotmill.report.figures_tuning import draw_search

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # A line a trial, not a line an epoch.
    logging.getLogger("spotmill.learning.callbacks").setLevel(logging.WARNING)
    source, name = str(args.search), task_name(args.search)
    search, task = Search.read(args.search), Task.read(args.task)
    check_search(search, task_name(args.task), task, source)
    use_threads(args.threads)
    bench = Bench(task, args.split, args.detector, str(args.task))
    study = args.output / f".study-{fingerprint(search, task, args)}"
    rows = run_search(search, task, bench, study / JOURNAL, source)
    facts = summary(search, task, rows, bench.n, source)
    best = with_values(task, facts["best"]["values"], source)
    text = table(search, rows, facts)
    figure = draw_search(name, search, rows, facts)
    write_text(args.output / TABLE, text)
    with atomic(args.output / FIGURE) as temporary:
        temporary.write_bytes(figure)
    write_text(args.output / f"{name}_tuned.yaml", task_file(best, name, facts))
    write_text(args.output / SUMMARY, signed_json({"search": name, **facts}))
    for left in args.output.glob(".study-*"):
        if left != study:
            shutil.rmtree(left)


def fingerprint(search: Search, task: Task, args: argparse.Namespace) -> str:
    """Return a hash of all that a trial depends on, so that none of another search is used."""
    content = {
        "search": search.model_dump(mode="json", exclude={"trials"}),
        "task": task.model_dump(mode="json", exclude={"notes", "controls"}),
        "files": [file_digest(path) for path in (args.split, args.detector)],
        "recipes": [RECIPES["tune"], RECIPES["train"], MODEL_RECIPES[task.model]],
        "threads": args.threads,
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def summary(
    search: Search, task: Task, rows: list[dict[str, Any]], n: dict[str, int], source: str
) -> dict[str, Any]:
    """Return what a search came to.

    Raises
    ------
    SpotmillError
        When no trial came to its end.
    """
    from spotmill.learning.study import present

    whole = [number for number, row in enumerate(rows) if row["state"] == "complete"]
    if not whole:
        raise SpotmillError(
            f"{source}: space: no trial came to its end, all losses were not finite; lower the "
            "range of learning_rate"
        )
    best = min(whole, key=lambda number: rows[number]["value"])
    is_first = present(search, task, source) is not None
    stands = rows[0]["value"] if is_first and rows[0]["state"] == "complete" else None
    states = ("complete", "pruned", "diverged")
    return {
        "task": search.task,
        "target": task.target,
        "model": task.model,
        "objective": "1 - F1" if task.target == "peaks" else "loss",
        **search.model_dump(mode="json", exclude={"task"}, exclude_none=True),
        "n": n,
        "states": {state: sum(row["state"] == state for row in rows) for state in states},
        "as_it_stands": stands,
        "best": {"trial": best + 1, "value": rows[best]["value"], "values": rows[best]["values"]},
        "recipe": RECIPES["tune"],
        "model_recipe": MODEL_RECIPES[task.model],
        "version": __version__,
    }


def table(search: Search, rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Return the trials as CSV, one a line."""
    import pandas as pd

    lines = [
        {
            "trial": number + 1,
            "state": row["state"],
            "value": row["value"],
            "best_epoch": row["best_epoch"],
            "epochs": row["epochs"],
            **{key: row["values"][key] for key in search.space},
            "best": number + 1 == facts["best"]["trial"],
        }
        for number, row in enumerate(rows)
    ]
    # As objects: a whole number beside an absent one stays whole.
    return pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n")


def task_file(task: Task, name: str, facts: dict[str, Any]) -> str:
    """Return a task file with the best settings; what it leaves out is as by default."""
    import yaml

    best, stands = facts["best"], facts["as_it_stands"]
    before = "" if stands is None else f", {stands:.5g} before"
    note = (
        f"Settings found by the search {name}: the best of {facts['trials']} trials by "
        f"{facts['objective']} on {facts['n']['validation']} validation frames "
        f"({best['value']:.5g}{before})."
    )
    content = task.model_dump(mode="json", exclude_defaults=True)
    content["notes"] = [*task.notes, note]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return f"# {facts['task']} with the settings found by the search {name}.\n{text}"
