"""Training and answers of models that tell classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill.errors import SpotmillError
from spotmill.learning.batches import Batches, InOrder, Shuffled, loader
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.learner import Learner, Part
from spotmill.learning.memory import require_room
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import model_module
from spotmill.learning.trainer import ALONE, Machine, Trained, train
from spotmill.progress import Progress
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


def fit(
    task: Task,
    frames: EncodedFrames,
    sides: tuple[NDArray[np.int64], NDArray[np.int64]],
    truth: NDArray[np.int64],
    condition: NDArray[np.int64],
    dimensions: Dimensions,
    source: str,
    checkpoints: Path | None = None,
    machine: Machine = ALONE,
) -> Trained:
    """Train the task's model.

    Parameters
    ----------
    sides
        Rows of the training and of the validation frames.
    truth, condition
        [n] class and condition (dataset) of every row.
    checkpoints
        Folder to keep the state in after every epoch and to resume from; None keeps none.

    Raises
    ------
    SpotmillError
        When the loss stops being finite.
    """
    own, held_out = sides
    network = build_network(task, dimensions, source)
    prepare: Callable[..., None] | None = getattr(network, "prepare", None)
    if prepare is not None:
        with torch.no_grad():
            prepare(
                frames.inputs(own),
                torch.from_numpy(truth[own]),
                torch.from_numpy(condition[own]),
            )
    batches = (
        Batches(Shuffled(own, task.seed), task.batch_size, expect=frames.expect),
        Batches(InOrder(held_out), task.batch_size, expect=frames.expect),
    )
    learner = Classifier(network, task, batches, truth[own], max(dimensions.outputs, 2))
    return train(learner, (frames, frames), batches, task, source, checkpoints, machine)


@torch.no_grad()
def predict(
    network: nn.Module, frames: EncodedFrames, rows: NDArray[np.int64], batch_size: int
) -> NDArray[np.float64]:
    """Return the probabilities [n, classes] that a network gives to rows of frames."""
    network.eval()
    batches = []
    with Progress("answers", len(rows)) as step:
        for inputs, _ in loader(frames, InOrder(rows), batch_size):
            batches.append(probabilities(network(inputs)))
            step(len(inputs))
    return torch.cat(batches).numpy()


def probabilities(logits: Tensor) -> Tensor:
    """Return probabilities [batch, classes] from logits [batch, outputs] in double precision."""
    logits = logits.to(torch.float64)
    if logits.shape[1] > 1:
        return torch.softmax(logits, dim=1)
    return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)


class Classifier(Learner):
    """A network of classes: the cross-entropy of its logits, and how often it is right."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        batches: tuple[Batches, Batches],
        truth: NDArray[np.int64],
        classes: int,
    ) -> None:
        super().__init__(network, task, batches)
        self._weights = class_weights(truth, classes) if task.balance else None

    def judge(self, batch: tuple[Tensor, Tensor]) -> tuple[list[Part], Tensor]:
        """Return the cross-entropy of a batch of inputs and classes [batch], and the logits."""
        inputs, truth = batch
        logits = self.network(inputs)
        # In mixed precision the logits alone are coarse, not what is made of them.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = None if self._weights is None else self._weights.to(logits)
        if logits.shape[1] > 1:
            loss = nn.functional.cross_entropy(logits, truth, weight=weights)
            return [(loss, len(truth) if weights is None else weights[truth].sum())], logits
        positive = None if weights is None else weights[1] / weights[0]
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits.squeeze(1), truth.to(logits.dtype), pos_weight=positive
        )
        return [(loss, len(truth))], logits

    def look(self, batch: tuple[Tensor, Tensor], said: Tensor) -> dict[str, Tensor]:
        """Return which answers are right."""
        return {"validation_accuracy": probabilities(said).argmax(1) == batch[1]}


def class_weights(truth: NDArray[np.int64], classes: int) -> Tensor:
    """Return weights inverse to the number of frames of each class; their mean over frames is 1."""
    counts = np.bincount(truth, minlength=classes)
    return torch.from_numpy(len(truth) / (len(counts) * np.maximum(counts, 1.0)))
