"""Training of models that find peaks, on samples of every frame that lie in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spotmill.errors import SpotmillError
from spotmill.learning.batches import Batches, InOrder, Samples, ShuffledOn
from spotmill.learning.learner import Learner, Part
from spotmill.learning.networks import build_network
from spotmill.learning.peaks import PeakSetup
from spotmill.learning.trainer import ALONE, Machine, Trained, train
from spotmill.physics.photons import stream


def fit_peaks(
    setup: PeakSetup, source: str, checkpoints: Path | None = None, machine: Machine = ALONE
) -> Trained:
    """Train the task's model on training frames, and keep the epoch of least validation loss.

    Parameters
    ----------
    checkpoints
        Folder to keep the state in after every epoch and to resume from; None keeps none.

    Raises
    ------
    SpotmillError
        When the loss stops being finite, or no training frame has a spot.
    """
    task = setup.task
    network: Any = build_network(task, setup.dimensions, source)
    rows = [thinned(setup.frames.rows(side), network.frames) for side in ("train", "validation")]
    own, held_out = (Samples(gather(setup, network, numbers)) for numbers in rows)
    if not any(len(setup.strong(row).photons) for row in rows[0].tolist()):
        raise SpotmillError(f"{source}: no training frame has a spot; add patterns")
    batches = (
        Batches(ShuffledOn(len(own), task.seed), task.batch_size, even=True),
        Batches(InOrder(np.arange(len(held_out))), task.batch_size),
    )
    learner = PeakLearner(network, task, batches)
    return train(learner, (own, held_out), batches, task, source, checkpoints, machine)


class PeakLearner(Learner):
    """A network that finds peaks; it knows its own loss."""

    def judge(self, batch: dict[str, Tensor]) -> tuple[list[Part], None]:
        """Return the parts of the loss of a batch of samples."""
        network: Any = self.network
        if hasattr(network, "parts"):
            return network.parts(batch), None
        return [(network.loss(batch), len(next(iter(batch.values()))))], None


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
