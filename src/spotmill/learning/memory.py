"""What training a network takes of memory, told before a byte of it is asked for."""

from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from spotmill.errors import SpotmillError
from spotmill.learning.heat_maps import HeatMap
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import MODELS, model_module
from spotmill.tasks import Task

# Copies of the weights in training: themselves, gradients, the best epoch's; Adam's two moments.
COPIES = {"adam": 5, "adamw": 5, "sgd": 3}
# And in use: themselves, and the file's while it is read.
READING = 2
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def require_room(task: Task, dimensions: Dimensions, source: str, training: bool = True) -> None:
    """Raise SpotmillError where a network's weights, or a training step, exceed the memory.

    Asked of models of whole frames and of heat maps; the others are small. What else is in use
    on the machine is left out: what is refused here can never fit.
    """
    network = sketch(task, dimensions, source)
    if network is None:
        return
    weights = bytes_of_weights(network)
    needed = weights * (COPIES[task.optimiser] if training else READING)
    if training:
        needed += bytes_kept(network, shape_read(task, network, dimensions))
    room = room_of_machine()
    if needed > room:
        remedy = (
            "lower settings.crop or batch_size"
            if isinstance(network, HeatMap)
            else "raise input.sum_bin, or lower batch_size"
        )
        what = "training" if training else "reading"
        raise SpotmillError(
            f"{source}: {what} {task.model} on frames of {dimensions.shape} takes about "
            f"{needed / 1e9:.1f} GB of memory, {weights / 1e9:.1f} GB of it for each copy of the "
            f"weights; here are {room / 1e9:.1f} GB: {remedy}"
        )


def sketch(task: Task, dimensions: Dimensions, source: str) -> nn.Module | None:
    """Return the task's network without any weights; None for a model that is always small."""
    whole = MODELS[task.model].whole_frames
    if not whole and task.target != "peaks":
        return None
    module = model_module(task.model)
    settings = module.Settings.parse(task.settings, f"{source}: settings")
    with torch.device("meta"):
        network: nn.Module = module.Network(settings, dimensions)
    return network if whole or isinstance(network, HeatMap) else None


def shape_read(task: Task, network: nn.Module, dimensions: Dimensions) -> tuple[int, ...]:
    """Return the shape of what a network reads at a step of training."""
    if isinstance(network, HeatMap):
        return (task.batch_size, 1, network.crop, network.crop)
    return (task.batch_size, *dimensions.shape)


def bytes_of_weights(network: nn.Module) -> int:
    """Return the size of a network's weights and buffers."""
    return sum(value.nbytes for value in network.state_dict().values())


def bytes_kept(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return what a forward pass keeps for its gradient, the input among it, weights left out.

    The network and its input are on torch's meta device: nothing is computed.
    """
    own = {value.untyped_storage()._cdata for value in network.state_dict().values()}
    kept: dict[int, Any] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        frames = torch.empty(shape, device="meta")
        network.train()
        network(frames)
    storage = frames.untyped_storage()
    kept[storage._cdata] = storage
    return sum(part.nbytes() for part in kept.values())


def room_of_machine() -> int:
    """Return the bytes of memory that a process here may use: the GPU's where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    room = int(psutil.virtual_memory().total)
    for name in LIMITS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            room = min(room, int(text))
    return room
