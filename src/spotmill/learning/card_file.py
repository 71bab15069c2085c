"""The card of a trained model as it is read: without torch, so that it is told at once."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from spotmill.errors import SpotmillError
from spotmill.formats.digests import is_altered
from spotmill.model import Model, read_text
from spotmill.problems import first_problem

WEIGHTS, CARD = "model.safetensors", "model.json"

# A task and the model made for it must agree on these; the rest may differ (controls, notes).
SHARED = ("target", "scale", "model", "settings", "input", "datasets", "hold_out", "flux")


class Sizes(Model):
    """Dimensions of a network, as the card has them."""

    shape: tuple[Annotated[int, Field(ge=1, le=2**20)], ...] = Field(min_length=1, max_length=8)
    outputs: int = Field(ge=1, le=2**20)
    conditions: int = Field(ge=1, le=2**20)


class Figures(Model):
    """What evaluation takes from a card besides the task."""

    dimensions: Sizes


def load_card(folder: Path) -> dict[str, Any]:
    """Read the card of a model.

    Raises
    ------
    SpotmillError
        When it is missing or broken.
    """
    path = folder / CARD
    try:
        facts = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise SpotmillError(f"{path}: is not valid JSON; train the model again") from error
    if not isinstance(facts, dict) or not {"classes", *SHARED} <= facts.keys():
        raise SpotmillError(f"{path}: is no model card; train the model again")
    try:
        Figures.model_validate({key: facts.get(key) for key in Figures.model_fields})
    except ValidationError as error:
        problem = first_problem(error, Figures)
        raise SpotmillError(f"{path}: {problem}; train the model again") from error
    if is_altered(path.read_bytes()):
        raise SpotmillError(f"{path}: is not as training wrote it; train the model again")
    return facts
