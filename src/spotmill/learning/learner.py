"""A network with its loss and its optimiser, as Lightning trains it."""

from abc import ABC, abstractmethod
from collections import defaultdict
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from spotmill.learning.batches import Batches
from spotmill.tasks import Task

# A mean over samples, and how many they are (or their weights' sum).
Part = tuple[Tensor, Tensor | float]


class Mean:
    """A mean of samples in double precision, over batches and processes.

    Not `torchmetrics.MeanMetric`: told to hand on what is not finite, as a run that diverges
    must, it takes all weights for 1, and on its way to a device it falls back to single
    precision (torchmetrics 1.9).
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64)

    def update(self, mean: Tensor, weight: float) -> None:
        """Add the mean of some samples."""
        value = mean.detach().to(torch.float64)
        self._sums = self._sums.to(value.device) + torch.stack(
            [value * weight, torch.full_like(value, weight)]
        )

    def take(self, trainer: pl.Trainer) -> float:
        """Return the mean over all processes and begin anew."""
        sums = self._sums
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums, reduce_op="sum")
        self._sums = torch.zeros(2, dtype=torch.float64)
        return float(sums[0] / sums[1])


class Learner(pl.LightningModule, ABC):
    """What all kinds of tasks share; each says what the loss of a batch is.

    Parameters
    ----------
    batches
        Of training and of validation.
    """

    def __init__(self, network: nn.Module, task: Task, batches: tuple[Batches, Batches]) -> None:
        super().__init__()
        self.network = network
        self._task = task
        self._batches = dict(zip(("train", "validation"), batches, strict=True))
        self._means: dict[str, Mean] = defaultdict(Mean)

    @abstractmethod
    def judge(self, batch: Any) -> tuple[list[Part], Any]:
        """Return the parts of a batch's loss, and what the network said."""

    def look(self, batch: Any, said: Any) -> dict[str, Tensor]:
        """Return what else is to be known of a batch of validation, by name: [batch]."""
        return {}

    def figures(self, means: dict[str, float]) -> dict[str, float]:
        """Return what the history says of an epoch, from the means of losses and of `look`."""
        return means

    def training_step(self, batch: Any, number: int) -> Tensor:
        """Return the loss of a batch."""
        return self._loss("train", number, self.judge(batch)[0])

    def validation_step(self, batch: Any, number: int) -> None:
        """Note loss and figures of a batch."""
        parts, said = self.judge(batch)
        self._loss("validation", number, parts)
        if self._batches["validation"].counts(number):
            for name, values in self.look(batch, said).items():
                self._means[name].update(values.to(torch.float64).mean(), len(values))

    def _loss(self, side: str, number: int, parts: list[Part]) -> Tensor:
        """Return the sum of the parts, scaled so that its mean over processes is the batch's."""
        batches, processes = self._batches[side], self.trainer.world_size
        if processes > 1:
            parts = [self._scaled(*part, batches.counts(number)) for part in parts]
        loss = parts[0][0]
        for part, _ in parts[1:]:
            loss = loss + part
        self._means[f"{side}_loss"].update(loss, batches.whole(number) / processes)
        return loss

    def _scaled(self, mean: Tensor, weight: Tensor | float, counts: bool) -> Part:
        own = torch.as_tensor(weight, dtype=torch.float64, device=self.device) * counts
        usual = self.trainer.strategy.reduce(own.clone(), reduce_op="mean")
        # Where no process has any sample of this kind, the part is 0 anyway.
        return mean * (own / usual.clamp_min(1e-30)).to(mean.dtype), own

    def on_validation_epoch_end(self) -> None:
        """Log losses and figures of the epoch; validation is the last of it."""
        means = {name: mean.take(self.trainer) for name, mean in self._means.items()}
        for name, value in self.figures(means).items():
            self.log(name, torch.tensor(value, dtype=torch.float64))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        task, weights = self._task, self.network.parameters()
        if task.optimiser == "sgd":
            return torch.optim.SGD(
                weights,
                lr=task.learning_rate,
                momentum=task.momentum,
                weight_decay=task.weight_decay,
            )
        # Without weight decay the two are one (Loshchilov & Hutter, ICLR 2019).
        return torch.optim.AdamW(weights, lr=task.learning_rate, weight_decay=task.weight_decay)
