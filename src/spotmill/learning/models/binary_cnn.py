"""The paper's binary CNN: two convolutions with group normalisation, and a linear layer."""

import torch
from torch import Tensor, nn

from spotmill.learning.encoders import Encoder, View, WholeFrame
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.tasks import Input

GROUPS = 4

# The settings that the encoder depends on.
ENCODED: tuple[str, ...] = ()


class Settings(Model):
    """It has none: the layers are those of the paper."""


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read whole frames of photons."""
    return WholeFrame(task_input, view)


class Network(nn.Module):
    """1 to 8 (10 x 10), GroupNorm, ReLU, max-pool 2, 8 to 16 (3 x 3), GroupNorm, ReLU, linear."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 10, padding=1),
            nn.GroupNorm(GROUPS, 8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.GroupNorm(GROUPS, 16),
            nn.ReLU(),
        )
        with torch.no_grad():
            flat = self.features(torch.zeros(1, *dimensions.shape)).numel()
        self.layer = nn.Linear(flat, dimensions.outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, outputs] of frames [batch, 1, ss, fs]."""
        # The same numbers up to rounding, in half the time on processors.
        frames = frames.to(memory_format=torch.channels_last)
        logits: Tensor = self.layer(self.features(frames).flatten(1))
        return logits
