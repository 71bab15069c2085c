"""Training of models that find peaks: samples of every frame, and a plain loop over them.

A run takes minutes and keeps no checkpoints: one that is killed begins again.
"""

import logging
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spotmill.errors import SpotmillError
from spotmill.learning.peaks import PeakSetup
from spotmill.learning.training import Trained, build_network
from spotmill.physics.photons import stream

log = logging.getLogger(__name__)


def fit_peaks(setup: PeakSetup, source: str) -> Trained:
    """Train the task's model on training frames, and keep the epoch of least validation loss.

    Raises
    ------
    SpotmillError
        When the loss stops being finite, or no training frame has a spot.
    """
    task = setup.task
    network: Any = build_network(task, setup.dimensions, source)
    rows = {
        side: thinned(setup.frames.rows(side), network.frames) for side in ("train", "validation")
    }
    data = {side: gather(setup, network, own) for side, own in rows.items()}
    if not any(len(setup.strong(row).photons) for row in rows["train"].tolist()):
        raise SpotmillError(f"{source}: no training frame has a spot; add patterns")
    rng = np.random.default_rng([task.seed, 3])
    kind = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}[task.optimiser]
    optimiser = kind(network.parameters(), lr=task.learning_rate, weight_decay=task.weight_decay)
    count = len(next(iter(data["train"].values())))
    steps = task.epochs * math.ceil(count / task.batch_size)
    # The rate falls to nothing along half a cosine (Loshchilov & Hutter, ICLR 2017).
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    best_epoch, waited = 0, 0
    for epoch in range(task.epochs):
        rate = optimiser.param_groups[0]["lr"]
        network.train()
        total = 0.0
        for batch in np.array_split(rng.permutation(count), math.ceil(count / task.batch_size)):
            loss = network.loss({key: data["train"][key][batch] for key in data["train"]})
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        row = {
            "epoch": epoch,
            "train_loss": total / count,
            "validation_loss": mean_loss(network, data["validation"], task.batch_size),
            "learning_rate": rate,
        }
        if not all(math.isfinite(value) for value in row.values()):
            raise SpotmillError(
                f"{source}: learning_rate: the loss is not finite after epoch {epoch}; lower it"
            )
        history.append(row)
        log.info(
            "epoch %d of at most %d: loss %.4g, validation %.4g",
            epoch + 1,
            task.epochs,
            row["train_loss"],
            row["validation_loss"],
        )
        waited += 1
        if row["validation_loss"] <= min(past["validation_loss"] for past in history):
            best = {key: value.detach().clone() for key, value in network.state_dict().items()}
            best_epoch, waited = epoch, 0
        if task.early_stopping and waited >= task.early_stopping.patience:
            break
    network.load_state_dict(best)
    return Trained(network.eval(), history, best_epoch)


def thinned(rows: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    """Return some of the rows, spread evenly over all, so that every dataset has its share."""
    if most is None or most >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def gather(setup: PeakSetup, network: Any, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """Return the samples of some frames, joined."""
    parts = []
    for row in rows.tolist():
        image, mask = setup.images.read(row)
        dataset, index = str(setup.frames.dataset[row]), int(setup.frames.index[row])
        rng = stream(setup.task.seed, dataset, index, "peaks")
        parts.append(network.samples(image, mask, setup.strong(row), rng))
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


@torch.no_grad()
def mean_loss(network: Any, data: dict[str, Tensor], batch_size: int) -> float:
    """Return the mean loss over samples."""
    network.eval()
    count = len(next(iter(data.values())))
    total = 0.0
    for at in range(0, count, batch_size):
        batch = {key: values[at : at + batch_size] for key, values in data.items()}
        total += float(network.loss(batch)) * len(next(iter(batch.values())))
    return total / max(count, 1)
