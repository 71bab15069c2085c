"""Training of models that tell a value: mean and standard deviation, by their own likelihood."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill.learning.batches import Batches, InOrder, Shuffled
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.learner import Learner, Part
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.models.profile_likelihood import Network
from spotmill.learning.networks import build_network
from spotmill.learning.trainer import ALONE, Machine, Trained, train
from spotmill.physics.profile_family import ProfileFamily
from spotmill.tasks import Task


def normal_loss(said: Tensor, truth: Tensor) -> Tensor:
    """Return half the mean of ((t - mean)/sigma)² + log sigma² over [batch, 2]."""
    mean, sigma = said[:, 0], said[:, 1]
    return (0.5 * ((truth - mean) / sigma) ** 2 + torch.log(sigma)).mean()


def predict_values(
    network: nn.Module, frames: EncodedFrames, rows: NDArray[np.int64], batch_size: int
) -> NDArray[np.float64]:
    """Return mean and standard deviation [n, 2] of rows of frames."""
    return predict_profiles(network, frames.inputs(rows), batch_size)


@torch.no_grad()
def predict_profiles(network: nn.Module, profiles: Tensor, batch_size: int) -> NDArray[np.float64]:
    """Return mean and standard deviation [n, 2] of profiles [n, 2, bins]."""
    network.eval()
    return torch.cat([network(part) for part in profiles.split(batch_size)]).numpy()


def fit_values(
    task: Task,
    frames: EncodedFrames,
    sides: tuple[NDArray[np.int64], NDArray[np.int64]],
    values: NDArray[np.float64],
    column: int,
    family: ProfileFamily,
    dimensions: Dimensions,
    source: str,
    checkpoints: Path | None = None,
    machine: Machine = ALONE,
) -> Trained:
    """Train the task's model of a value.

    Parameters
    ----------
    sides
        Rows of the training and of the validation frames.
    values
        [n, 2] photon energy (eV) and camera length (m) of every row.
    column
        Which of the two is asked for.
    family
        Where the model starts from.
    checkpoints
        Folder to keep the state in after every epoch and to resume from; None keeps none.

    Raises
    ------
    SpotmillError
        When the loss stops being finite.
    """
    own, held_out = sides
    network = build_network(task, dimensions, source)
    if not isinstance(network, Network):
        raise TypeError(f"{task.model} tells no value")
    with torch.no_grad():
        network.start(family, column, frames.inputs(own).numpy().astype(np.float64), values[own])
    frames = frames.relabel(np.ascontiguousarray(values[:, column]))
    batches = (
        Batches(Shuffled(own, task.seed), task.batch_size, expect=frames.expect),
        Batches(InOrder(held_out), task.batch_size, expect=frames.expect),
    )
    learner = ValueLearner(network, task, batches)
    # Doubles by the thousand at most: a GPU would be slower.
    return train(learner, (frames, frames), batches, task, source, checkpoints, machine, gpu=False)


class ValueLearner(Learner):
    """A network that tells a value with its standard deviation."""

    def judge(self, batch: tuple[Tensor, Tensor]) -> tuple[list[Part], Tensor]:
        """Return the loss of a batch of profiles and values [batch], and what was said."""
        profiles, truth = batch
        said = self.network(profiles)
        return [(normal_loss(said, truth), len(truth))], said

    def look(self, batch: tuple[Tensor, Tensor], said: Tensor) -> dict[str, Tensor]:
        """Return the square errors."""
        return {"square": (said[:, 0] - batch[1]).square()}

    def figures(self, means: dict[str, float]) -> dict[str, float]:
        """Return the losses and the error."""
        return means | {"validation_rmse": math.sqrt(means.pop("square"))}
