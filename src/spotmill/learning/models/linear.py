"""The paper's linear model: every pixel of the frame has a weight for every class."""

from torch import Tensor, nn

from spotmill.learning.encoders import Encoder, View, WholeFrame
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.tasks import Input

# The settings that the encoder depends on.
ENCODED: tuple[str, ...] = ()


class Settings(Model):
    """It has none."""


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read whole frames of photons."""
    return WholeFrame(task_input, view)


class Network(nn.Module):
    """Flatten and one linear layer."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        pixels = dimensions.shape[-2] * dimensions.shape[-1]
        self.layer = nn.Linear(pixels, dimensions.outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, outputs] of frames [batch, 1, ss, fs]."""
        logits: Tensor = self.layer(frames.flatten(1))
        return logits
