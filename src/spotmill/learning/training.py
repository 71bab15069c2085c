"""Training with Lightning: seeded, repeatable, resumable, and only ever guided by validation."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MeanMetric

from spotmill.errors import SpotmillError
from spotmill.learning.batches import InOrder, Shuffled, loader
from spotmill.learning.callbacks import Checkpoints, Patience, Record, Schedule, resume_point
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import model_module
from spotmill.tasks import Task


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about.

    Attributes
    ----------
    network
        With the weights of the epoch of lowest validation loss.
    history
        One row an epoch: epoch, train_loss, validation_loss, validation_accuracy, learning_rate.
    best_epoch
        The epoch, from 0, whose weights these are.
    """

    network: nn.Module
    history: list[dict[str, float]]
    best_epoch: int


def use_threads(threads: int) -> None:
    """Let torch use this many processor cores; sums over pixels round differently for others."""
    if threads < 1:
        raise SpotmillError(f"--threads: {threads} is not at least 1")
    torch.set_num_threads(threads)


def build_network(task: Task, dimensions: Dimensions, source: str) -> nn.Module:
    """Return the task's network with seeded weights; `source` names the task in messages."""
    module = model_module(task.model)
    settings = module.Settings.parse(task.settings, f"{source}: settings")
    torch.manual_seed(task.seed)
    try:
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
    train, validation = sides
    network = build_network(task, dimensions, source)
    prepare: Callable[..., None] | None = getattr(network, "prepare", None)
    if prepare is not None:
        with torch.no_grad():
            prepare(
                frames.inputs(train),
                torch.from_numpy(truth[train]),
                torch.from_numpy(condition[train]),
            )
    module = Classifier(network, task, truth[train], max(dimensions.outputs, 2))
    record = Record(source)
    callbacks: list[Callback] = [record]
    if task.early_stopping:
        callbacks.append(Patience(task.early_stopping))
    if task.schedule:
        callbacks.append(Schedule(task.schedule))
    state = resume_point(checkpoints) if checkpoints else None
    if checkpoints:
        callbacks.append(Checkpoints(checkpoints))
    order = Shuffled(train, task.seed)
    loaders = (
        loader(frames, order, task.batch_size),
        loader(frames, InOrder(validation), task.batch_size),
    )
    with quiet():
        trainer = pl.Trainer(
            max_epochs=task.epochs,
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=1,
            # One process, also inside a cluster's job, whose variables mean nothing here.
            plugins=[LightningEnvironment()],
            callbacks=callbacks,
            deterministic=True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, *loaders, ckpt_path=state, weights_only=True)
    if not record.rows:
        raise SpotmillError(f"{source}: training stopped before its first epoch was over")
    network.load_state_dict(record.best)
    return Trained(network.cpu().eval(), record.rows, record.best_epoch)


@torch.no_grad()
def predict(
    network: nn.Module, frames: EncodedFrames, rows: NDArray[np.int64], batch_size: int
) -> NDArray[np.float64]:
    """Return the probabilities [n, classes] that a network gives to rows of frames."""
    network.eval()
    batches = [
        probabilities(network(inputs)) for inputs, _ in loader(frames, InOrder(rows), batch_size)
    ]
    return torch.cat(batches).numpy()


def probabilities(logits: Tensor) -> Tensor:
    """Return probabilities [batch, classes] from logits [batch, outputs] in double precision."""
    logits = logits.to(torch.float64)
    if logits.shape[1] > 1:
        return torch.softmax(logits, dim=1)
    return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)


class Classifier(pl.LightningModule):
    """A network with its loss and optimiser."""

    def __init__(
        self, network: nn.Module, task: Task, truth: NDArray[np.int64], classes: int
    ) -> None:
        super().__init__()
        self.network = network
        self._task = task
        self._weights = class_weights(truth, classes) if task.balance else None
        # Left to itself the metric drops what is not finite, and hides a diverging run.
        self._train_loss = MeanMetric(nan_strategy="disable")
        self._validation_loss = MeanMetric(nan_strategy="disable")
        self._right = MeanMetric()

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the cross-entropy of logits [batch, outputs] to classes [batch]."""
        weights = None if self._weights is None else self._weights.to(logits)
        if logits.shape[1] > 1:
            return nn.functional.cross_entropy(logits, truth, weight=weights)
        positive = None if weights is None else weights[1] / weights[0]
        return nn.functional.binary_cross_entropy_with_logits(
            logits.squeeze(1), truth.to(logits.dtype), pos_weight=positive
        )

    def _step(self, batch: tuple[Tensor, Tensor], side: str) -> tuple[Tensor, Tensor]:
        inputs, truth = batch
        logits = self.network(inputs)
        loss = self.loss(logits, truth)
        metric = self._train_loss if side == "train" else self._validation_loss
        metric.update(loss.detach(), len(truth))
        self.log(f"{side}_loss", metric, on_step=False, on_epoch=True, batch_size=len(truth))
        return loss, logits

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """Return the loss of a batch."""
        return self._step(batch, "train")[0]

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        """Log loss and accuracy of a batch."""
        _, logits = self._step(batch, "validation")
        self._right.update((probabilities(logits).argmax(1) == batch[1]).float())
        self.log("validation_accuracy", self._right, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        task = self._task
        kind = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}[task.optimiser]
        return kind(
            self.network.parameters(), lr=task.learning_rate, weight_decay=task.weight_decay
        )


def class_weights(truth: NDArray[np.int64], classes: int) -> Tensor:
    """Return weights inverse to the number of frames of each class; their mean over frames is 1."""
    counts = np.bincount(truth, minlength=classes)
    return torch.from_numpy(len(truth) / (len(counts) * np.maximum(counts, 1.0)))


class quiet(warnings.catch_warnings):
    """Silence what Lightning says of every small run, and nothing else."""

    def __enter__(self) -> Any:
        """Set the filters."""
        entered = super().__enter__()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        # Encoded frames lie in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # One process is meant, on a machine with SLURM too.
        warnings.filterwarnings("ignore", ".*`srun` command is available.*")
        # Lightning 2.6 asks torch for a name that torch 2.13 is about to drop.
        warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\).*")
        return entered
