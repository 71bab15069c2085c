"""Networks as tasks name them, built and asked; training them is elsewhere, and needs Lightning."""

import torch
from torch import Tensor, nn

from spotmill.errors import SpotmillError
from spotmill.learning.memory import require_room
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import model_module
from spotmill.tasks import Task


def use_threads(threads: int) -> None:
    """Let torch use this many processor cores; sums over pixels round differently for others."""
    if threads < 1:
        raise SpotmillError(f"--threads: {threads} is not at least 1")
    torch.set_num_threads(threads)


def build_network(
    task: Task, dimensions: Dimensions, source: str, training: bool = True
) -> nn.Module:
    """Return the task's network with seeded weights; `source` names the task in messages.

    Raises
    ------
    SpotmillError
        When it cannot read such frames, or its training (or its weights alone) exceed the memory.
    """
    module = model_module(task.model)
    settings = module.Settings.parse(task.settings, f"{source}: settings")
    try:
        require_room(task, dimensions, source, training)
        torch.manual_seed(task.seed)
        network: nn.Module = module.Network(settings, dimensions)
    except RuntimeError as error:
        raise SpotmillError(
            f"{source}: model {task.model} cannot read frames of {dimensions.shape}; "
            "lower input.sum_bin or choose another model"
        ) from error
    return network


def probabilities(logits: Tensor) -> Tensor:
    """Return probabilities [batch, classes] from logits [batch, outputs] in double precision."""
    logits = logits.to(torch.float64)
    if logits.shape[1] > 1:
        return torch.softmax(logits, dim=1)
    return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)
