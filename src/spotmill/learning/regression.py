"""Training of models that tell a value: mean and standard deviation, by their own likelihood.

Small, so it has no checkpoints: a run that is killed begins anew.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill.errors import SpotmillError
from spotmill.learning.batches import Shuffled
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.models.profile_likelihood import Network
from spotmill.learning.training import Trained, build_network
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

    Raises
    ------
    SpotmillError
        When the loss stops being finite.
    """
    train, validation = sides
    network = build_network(task, dimensions, source)
    if not isinstance(network, Network):
        raise TypeError(f"{task.model} tells no value")
    profiles = frames.inputs(train)
    with torch.no_grad():
        network.start(family, column, profiles.numpy().astype(np.float64), values[train])
    truth = torch.from_numpy(np.ascontiguousarray(values[:, column]))
    optimiser = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}[task.optimiser](
        network.parameters(), lr=task.learning_rate, weight_decay=task.weight_decay
    )
    place = {row: number for number, row in enumerate(train.tolist())}
    order = Shuffled(train, task.seed)
    history: list[dict[str, float]] = []
    best: tuple[float, int, dict[str, Tensor]] = (math.inf, -1, {})
    for epoch in range(task.epochs):
        order.set_epoch(epoch)
        rows, losses = list(order), []
        for start in range(0, len(rows), task.batch_size):
            batch = rows[start : start + task.batch_size]
            loss = normal_loss(network(profiles[[place[row] for row in batch]]), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()) * len(batch))
        said = torch.from_numpy(predict_values(network, frames, validation, task.batch_size))
        held_out = float(normal_loss(said, truth[validation]))
        history.append(
            {
                "epoch": epoch,
                "train_loss": sum(losses) / len(rows),
                "validation_loss": held_out,
                "validation_rmse": float((said[:, 0] - truth[validation]).square().mean().sqrt()),
                "learning_rate": task.learning_rate,
            }
        )
        if not all(math.isfinite(value) for value in history[-1].values()):
            raise SpotmillError(
                f"{source}: learning_rate: the loss is not finite after epoch {epoch}; "
                "lower the rate"
            )
        if held_out < best[0]:
            state = network.state_dict()
            best = (held_out, epoch, {key: value.clone() for key, value in state.items()})
        patience = task.early_stopping
        if patience and epoch - best[1] >= patience.patience:
            break
    network.load_state_dict(best[2])
    return Trained(network.eval(), history, best[1])
