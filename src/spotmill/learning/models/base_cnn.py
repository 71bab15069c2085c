"""The paper's base CNN: one coarse convolution and a linear layer."""

import torch
from torch import Tensor, nn

from spotmill.learning.encoders import Encoder, View, WholeFrame
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.tasks import Input

# The settings that the encoder depends on.
ENCODED: tuple[str, ...] = ()


class Settings(Model):
    """Of the convolution, as the paper chose them."""

    channels: int = 2
    kernel: int = 25
    stride: int = 10


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read whole frames of photons."""
    return WholeFrame(task_input, view)


class Network(nn.Module):
    """Convolution 1 to 2, 25 x 25, stride 10, padding 1; ReLU; linear layer."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self.convolution = nn.Sequential(
            nn.Conv2d(1, settings.channels, settings.kernel, settings.stride, padding=1), nn.ReLU()
        )
        with torch.no_grad():
            flat = self.convolution(torch.zeros(1, *dimensions.shape)).numel()
        self.layer = nn.Linear(flat, dimensions.outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, outputs] of frames [batch, 1, ss, fs]."""
        logits: Tensor = self.layer(self.convolution(frames).flatten(1))
        return logits
