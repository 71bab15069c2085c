"""Tables and models of a run, held against the configuration."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.audit.expected import OVERLAY, Expected
from spotmill.errors import SpotmillError
from spotmill.formats import tables
from spotmill.formats.digests import is_altered
from spotmill.formats.tables import provenance, read_table
from spotmill.plan import Plan
from spotmill.recipes import RECIPES

AGAIN = "delete it and run snakemake again"


def truth_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where a table of spots or frames is not of its shard."""
    is_frames = file.path.endswith(".frames.parquet")
    table = read_table(file.path, tables.FRAMES if is_frames else tables.SPOTS)
    first = plan.first(file.shard)
    wanted = list(range(first, first + plan.count(file.name, file.shard)))
    indices = table["index"].to_pylist()
    if (is_frames and indices != wanted) or not set(indices) <= set(wanted):
        yield "holds other frames than its shard"
    said = provenance(pq.read_schema(file.path))
    now = {"dataset": file.name, "seed": plan.config.seed, "recipe": RECIPES["simulate"]}
    for name, value in now.items():
        if said.get(name) != value:
            yield f"{name} is {said.get(name)!r}, the configuration asks for {value!r}"


def manifest_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where a manifest does not list the shards of the plan."""
    rows = read_table(file.path, tables.MANIFEST).to_pandas()
    names = [file.name] if file.name else list(plan.datasets)
    wanted = {
        (name, shard): plan.count(name, shard) for name in names for shard in plan.shards(name)
    }
    if rows.groupby(["dataset", "shard"]).size().to_dict() != wanted:
        yield "lists other shards than the configuration asks for"
    elif file.name:
        paths = {OVERLAY.format(dataset=name, shard=shard) for name, shard in wanted}
        if set(rows["overlay"]) != paths:
            yield "names other files than a run makes"


def split_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where a split is not of its task and shares."""
    rows = read_table(file.path, tables.SPLIT).to_pandas()
    if set(rows["dataset"]) != set(plan.task_datasets(file.name)):
        yield "holds other datasets than its task"
    hold_out = plan.tasks[file.name].hold_out
    if hold_out and set(rows["dataset"][rows["split"] == "test"]) != set(hold_out):
        yield "tests on other datasets than those held out"
    elif (rows["dataset"].isin(hold_out) & (rows["split"] != "test")).any():
        yield "has training or validation frames of a dataset that is held out"
    said = provenance(pq.read_schema(file.path))
    for name, value in plan.config.split.model_dump().items():
        if said.get(name) != value:
            yield f"the share of {name} was {said.get(name)}, the configuration asks for {value}"


def model_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where a part of a model folder is broken or of another task."""
    path = Path(file.path)
    if path.suffix == ".csv":
        try:
            rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        except (ValueError, csv.Error):
            rows = []
        known = {"epoch", "train_loss", "validation_loss", "learning_rate"}
        if not rows or any(not known <= row.keys() or None in row.values() for row in rows):
            yield "is no history of a training"
    elif path.suffix == ".json":
        yield from card_findings(plan, file)
    elif path.suffix == ".md":
        from spotmill.learning.model_card import readme
        from spotmill.learning.store import load_card

        if path.read_bytes() != readme(load_card(path.parent)).encode():
            yield "does not say what model.json says"
    else:
        # The network is built as training built it, so this needs torch.
        from spotmill.learning.store import load_network

        load_network(path.parent, plan.tasks[file.name], plan.task_files[file.name])


def card_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where the card of a model or its evaluation is not of the task as it is now."""
    path = Path(file.path)
    raw = path.read_bytes()
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SpotmillError(f"{path}: is not valid JSON; {AGAIN}") from error
    if not isinstance(said, dict) or is_altered(raw):
        raise SpotmillError(f"{path}: is not as it was written; {AGAIN}")
    if said.get("task") != file.name:
        yield f"is of task {said.get('task')!r}"
    if said.get("recipe") != RECIPES[file.stage]:
        yield f"recipe is {said.get('recipe')!r}, that of now {RECIPES[file.stage]}"
    if file.stage == "train":
        now = plan.tasks[file.name].model_dump(mode="json", exclude={"notes", "controls"})
        for name, value in now.items():
            if said.get(name) != value:
                yield f"{name} was {said.get(name)!r}, the task says {value!r}"


def prediction_findings(plan: Plan, file: Expected) -> Iterator[str]:
    """Yield where predictions lack a column."""
    try:
        rows: pd.DataFrame = pq.read_table(file.path, page_checksum_verification=True).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SpotmillError(f"{file.path}: is not a whole Parquet file; {AGAIN}") from error
    task = plan.tasks[file.name]
    said = "score_0" if task.scale == "classes" else "sigma"
    own = ("fs", "ss", "score") if task.target == "peaks" else ("truth", "said", said)
    for name in ("dataset", "index", *own):
        if name not in rows:
            yield f"lacks the column {name!r}"
