"""What changed, in words: the values behind a changed parameter, before and now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.model import parse_yaml, read_text
from spotmill.pending import Change, Job
from spotmill.plan import CONCEPTS, Plan

# Units, where a name does not say them.
UNITS = {"photon_energy": " eV", "clen": " m", "d_min": " Å"}

# Options of commands that have another name, or none, in the configuration.
NAMES = {
    "threshold": "label_threshold",
    "min_spots": "hit.min_spots",
    "min_photons": "hit.min_photons",
    "train": "split.train",
    "validation": "split.validation",
    "test": "split.test",
}

# Rules that have the recipe of another.
STAGES = {"empty": "overlay", "manifest_all": "manifest", "check_all": "check"}

MOST = 4  # changed values of a file that are named one by one


def in_words(change: Change, job: Job, plan: Plan) -> str:
    """Return one change of a job in words, values before and now where they can be known."""
    if change.name == "recipe":
        stage = STAGES.get(job.rule, job.rule)
        if change.before is None or change.now is None:
            return f"recipe of {stage} is another"
        return f"recipe of {stage} raised from {change.before} to {change.now}"
    if change.name.startswith("recipe of model"):
        return f"{change.name} raised from {change.before} to {change.now}"
    if change.name == "virtual":
        return "overlays virtual → stored" if change.before else "overlays stored → virtual"
    if change.name.endswith(" says"):
        return file_in_words(change.name.removesuffix(" says"), job, plan)
    name, unit = NAMES.get(change.name, change.name), UNITS.get(change.name, "")
    if change.before is None or change.now is None:
        value = change.now or change.before
        return f"{name} {value}{unit} {'is new' if change.now else 'is gone'}"
    return f"{name} {plain(change.before)} → {plain(change.now)}{unit}"


def plain(value: Any) -> str:
    """Return a value as one would write it."""
    try:
        return f"{float(value):g}" if not isinstance(value, (bool, dict, list)) else str(value)
    except (TypeError, ValueError):
        return str(value)


def file_in_words(concept: str, job: Job, plan: Plan) -> str:
    """Return what changed in the file of a concept or task, key by key."""
    dataset = job.wildcards.get("dataset")
    if concept == "task":
        return task_in_words(job.wildcards["task"], plan)
    if concept == "structure":
        files = ", ".join(plan.structure_files(job.wildcards["crystal"]))
        return f"the structure file {files} holds something else"
    if dataset is None:
        return f"the {concept} file says something else"
    if concept == "measured":
        return "the measured frames hold something else"
    before = text_before(concept, dataset, job)
    path = plan.concept(dataset, concept)
    if before is None:
        return f"{concept}: {path or 'no file'}"
    return text_in_words(concept, before, path) or f"{concept}: {path} says something else"


def text_in_words(concept: str, before: str, path: str) -> str:
    """Return what changed in a concept's file since it had this text; nothing if none did.

    An empty text or path stands for no file.
    """
    if not before or not path:
        return (
            f"{concept}: {path}, none before" if path else (before and f"{concept}: none any more")
        )
    try:
        if concept == "detector":
            changed = differences(geometry_values(before), geometry_values(read_text(path)))
        else:
            model = CONCEPTS[concept]
            old = model.parse(parse_yaml(before, path), path).model_dump(mode="json")
            changed = differences(old, model.read(path).model_dump(mode="json"))
    except SpotmillError:
        # Written when other keys were known.
        return f"{concept}: {path} says something else"
    return f"{concept} ({Path(path).name}): {several(changed)}" if changed else ""


def several(changed: list[str]) -> str:
    """Return changed values in one line, the first of them where there are many."""
    more = len(changed) - MOST
    return ", ".join(changed[:MOST]) + (f" and {more} more values" if more > 0 else "")


def text_before(concept: str, dataset: str, job: Job) -> str | None:
    """Return the text of a concept's file that the files of now were made with.

    None where it cannot be known, an empty text where there was no such file.
    """
    shards = [name for name in job.outputs if name.endswith(".h5")]
    for name in [*shards, f"results/images/water/{dataset}.h5"]:
        try:
            with Shard(name) as shard:
                parameters = shard.header.parameters
        except SpotmillError:
            continue
        text = parameters.get(concept)
        if text is not None or name in shards:
            return str(text or "")
    return None


def geometry_values(text: str) -> dict[str, Any]:
    """Return the values of a geometry file by key, comments left out."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        key, equals, value = line.split(";")[0].partition("=")
        if equals:
            found[key.strip()] = " ".join(value.split())
    return found


def task_in_words(task: str, plan: Plan) -> str:
    """Return what changed in a task file since its model was trained."""
    path = Path(plan.task_files[task])
    now = plan.tasks[task].model_dump(mode="json")
    card = read_card(task)
    if card is None:
        return f"{path.name} says something else"
    before = {key: card[key] for key in now if key in card}
    changed = differences(before, {key: now[key] for key in before})
    if not changed:
        # The card leaves out what does not make the model.
        return f"{path.name}: controls or notes"
    return f"{path.name}: {several(changed)}"


def read_card(task: str) -> dict[str, Any] | None:
    """Return the card of the model of now, or None where there is none that can be read."""
    try:
        card = json.loads(read_text(f"results/models/{task}/model.json"))
    except (SpotmillError, ValueError):
        return None
    return card if isinstance(card, dict) else None


def differences(before: Mapping[str, Any], now: Mapping[str, Any], inside: str = "") -> list[str]:
    """Return the values that differ, as `key before → now`; of keys within keys with a dot."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{inside}{key}.")
        else:
            found.append(f"{inside}{key} {shown(old)} → {shown(new)}")
    return found


def shown(value: Any) -> str:
    """Return a value of a file, short."""
    text = "none" if value is None else plain(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
