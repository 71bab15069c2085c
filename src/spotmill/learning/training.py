"""Training and answers of models that tell classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from spotmill.learning.batches import Batches, InOrder, Shuffled, loader
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.learner import Learner, Part
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.networks import build_network, probabilities
from spotmill.learning.trainer import ALONE, Machine, Trained, train
from spotmill.progress import Progress
from spotmill.tasks import Task


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
    candidates: NDArray[np.int8] | None = None,
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
    candidates
        What the candidates of every row are (see `candidate_truth`); None teaches classes alone.

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
    shown = frames if candidates is None else Taught(frames, candidates)
    return train(learner, (shown, shown), batches, task, source, checkpoints, machine)


class Taught(Dataset[tuple[Tensor, ...]]):
    """Encoded frames with their classes, and what each of their candidates is."""

    def __init__(self, frames: EncodedFrames, candidates: NDArray[np.int8]) -> None:
        self._frames, self._candidates = frames, candidates

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, ...]:
        """Return tensors, classes [n] and truth of candidates [n, candidates] of a batch."""
        batch = self._frames.__getitems__(numbers)
        return *batch, torch.from_numpy(self._candidates[numbers])


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


class Classifier(Learner):
    """A network of classes: the cross-entropy of its logits, and how often it is right.

    Where candidates are taught, too, the network knows its loss for these.
    """

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

    def judge(self, batch: tuple[Tensor, ...]) -> tuple[list[Part], Tensor]:
        """Return the parts of the loss of a batch of inputs and classes [batch], and the logits."""
        inputs, truth, *candidates = batch
        if not candidates:
            part, logits = self._classes(self.network(inputs), truth)
            return [part], logits
        network: Any = self.network
        logits, own = network.taught(inputs, *candidates)
        part, logits = self._classes(logits, truth)
        return [part, own], logits

    def _classes(self, logits: Tensor, truth: Tensor) -> tuple[Part, Tensor]:
        """Return the cross-entropy of logits, and them as they entered it."""
        # In mixed precision the logits alone are coarse, not what is made of them.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = None if self._weights is None else self._weights.to(logits)
        if logits.shape[1] > 1:
            loss = nn.functional.cross_entropy(logits, truth, weight=weights)
            return (loss, len(truth) if weights is None else weights[truth].sum()), logits
        positive = None if weights is None else weights[1] / weights[0]
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits.squeeze(1), truth.to(logits.dtype), pos_weight=positive
        )
        return (loss, len(truth)), logits

    def look(self, batch: tuple[Tensor, ...], said: Tensor) -> dict[str, Tensor]:
        """Return which answers are right."""
        return {"validation_accuracy": probabilities(said).argmax(1) == batch[1]}


def class_weights(truth: NDArray[np.int64], classes: int) -> Tensor:
    """Return weights inverse to the number of frames of each class; their mean over frames is 1."""
    counts = np.bincount(truth, minlength=classes)
    return torch.from_numpy(len(truth) / (len(counts) * np.maximum(counts, 1.0)))
