"""Model folders: weights as safetensors, card as JSON and for people, history; no pickles."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
from torch import nn

from spotmill import __version__
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic, write_text
from spotmill.formats.digests import file_digest, signed_json
from spotmill.learning.card_file import CARD, SHARED, WEIGHTS, Sizes, load_card
from spotmill.learning.history import HISTORY, history_text
from spotmill.learning.model_card import README, readme
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.networks import build_network
from spotmill.recipes import MODEL_RECIPES, RECIPES
from spotmill.tasks import Task

if TYPE_CHECKING:
    from spotmill.learning.trainer import Trained

__all__ = ["CARD", "WEIGHTS", "card", "load_card", "load_network", "save_model"]


def card(
    task: Task,
    name: str,
    classes: tuple[str, ...],
    datasets: list[str],
    counts: dict[str, int],
    dimensions: Dimensions,
    trained: "Trained",
) -> dict[str, Any]:
    """Return what is to be known of a trained model."""
    return {
        "task": name,
        **{key: value for key, value in task.model_dump(mode="json").items() if key != "notes"},
        "classes": list(classes),
        "training_datasets": datasets,
        "n": counts,
        "dimensions": asdict(dimensions),
        "parameters": sum(weight.numel() for weight in trained.network.parameters()),
        "epochs_run": len(trained.history),
        "best_epoch": trained.best_epoch,
        "validation": {
            key.removeprefix("validation_"): value
            for key, value in trained.history[trained.best_epoch].items()
            if key.startswith("validation_")
        },
        "recipe": RECIPES["train"],
        "model_recipe": MODEL_RECIPES[task.model],
        "version": __version__,
    }


def save_model(folder: Path, facts: dict[str, Any], trained: "Trained") -> None:
    """Write a model folder; the card comes last, so a folder with a card is whole."""
    state = {key: value.contiguous() for key, value in trained.network.state_dict().items()}
    try:
        weights = safetensors.torch.save(state)
        with atomic(folder / WEIGHTS) as temporary:
            temporary.write_bytes(weights)
        write_text(folder / HISTORY, history_text(trained.history))
        facts = facts | {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        write_text(folder / README, readme(facts))
        write_text(folder / CARD, signed_json(facts))
    except BaseException:
        for name in (WEIGHTS, HISTORY, README, CARD):
            (folder / name).unlink(missing_ok=True)
        raise


def load_network(folder: Path, task: Task, source: str) -> nn.Module:
    """Load the network of a model folder, for the task that it was trained for.

    Raises
    ------
    SpotmillError
        When the folder is not whole, or was trained for another task.
    """
    facts = load_card(folder)
    wanted = task.model_dump(mode="json")
    for key in SHARED:
        if facts[key] != wanted[key]:
            raise SpotmillError(
                f"{folder / CARD}: {key} is {facts[key]!r}, the task {source} says "
                f"{wanted[key]!r}; train the model again"
            )
    dimensions = Dimensions(**Sizes.model_validate(facts["dimensions"]).model_dump())
    network = build_network(task, dimensions, source, training=False)
    path = folder / WEIGHTS
    try:
        weights = safetensors.torch.load_file(path)
        network.load_state_dict(weights)
    except FileNotFoundError as error:
        raise SpotmillError(f"{path}: no such file; train the model again") from error
    except (safetensors.SafetensorError, RuntimeError, OSError) as error:
        raise SpotmillError(f"{path}: does not hold this model; train it again") from error
    if facts.get("weights_sha256") not in (None, file_digest(path)):
        raise SpotmillError(f"{path}: is not the file that training wrote; train the model again")
    if not all(value.isfinite().all() for value in weights.values()):
        raise SpotmillError(f"{path}: holds weights that are not finite; train the model again")
    return network.eval()
