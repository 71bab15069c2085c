"""ResNet50, which the paper tried; one channel in, no weights but its own.

He, Zhang, Ren & Sun, CVPR 2016, table 1, with the stride in the 3 x 3 convolution of a block as
in the implementations in use. It is written here since a frame has one channel, and torchvision's
wheels do not load beside a torch without CUDA.
"""

from torch import Tensor, nn

from spotmill.learning.encoders import Encoder, View, WholeFrame
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.tasks import Input

# Blocks, inner channels and stride of each stage; a block gives four times its inner channels.
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
WIDER = 4

# The settings that the encoder depends on.
ENCODED: tuple[str, ...] = ()


class Settings(Model):
    """It has none: the layers are those of ResNet50."""


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read whole frames of photons."""
    return WholeFrame(task_input, view)


def convolution(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size (at stride 1), and batch normalisation."""
    layer = nn.Conv2d(inner, outer, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(outer))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1, added to what came in."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        wide = WIDER * inner
        self.layers = nn.Sequential(
            convolution(channels, inner, 1),
            nn.ReLU(inplace=True),
            convolution(inner, inner, 3, stride),
            nn.ReLU(inplace=True),
            convolution(inner, wide, 1),
        )
        same = channels == wide and stride == 1
        self.shortcut = nn.Identity() if same else convolution(channels, wide, 1, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return features [batch, 4 x inner, ss / stride, fs / stride]."""
        total: Tensor = self.activation(self.layers(features) + self.shortcut(features))
        return total


class Network(nn.Module):
    """1 to 64 (7 x 7, stride 2), pool, 16 bottlenecks in four stages, mean, linear."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            convolution(1, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)
        )
        blocks: list[nn.Module] = []
        channels = 64
        for count, inner, stride in STAGES:
            for number in range(count):
                blocks.append(Bottleneck(channels, inner, stride if number == 0 else 1))
                channels = WIDER * inner
        self.stages = nn.Sequential(*blocks)
        self.layer = nn.Linear(channels, dimensions.outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, outputs] of frames [batch, 1, ss, fs]."""
        logits: Tensor = self.layer(self.stages(self.stem(frames)).mean((2, 3)))
        return logits
