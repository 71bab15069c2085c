"""DnCNN, which the paper tried on the peaks: what it leaves of a frame is the map of the spots.

Zhang, Zuo, Chen, Meng & Zhang, IEEE Trans. Image Process. 26, 3142 (2017): the network gives
what is to be taken off its input. There that is Gaussian noise, so photons come in with a
variance that does not depend on their number (Anscombe, Biometrika 35, 246, 1948); here what
remains is the logit of a spot, pixel by pixel, and is trained as one.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.heat_maps import CropSettings, HeatMap
from spotmill.learning.models.dimensions import Dimensions

# What is taken off everywhere where training starts: nearly all pixels hold no spot.
NO_SPOT = 6.0


class Settings(CropSettings):
    """Of the layers, and of the crops."""

    layers: int = Field(17, ge=3, le=64, description="convolutions")
    channels: int = Field(64, ge=1, le=1024, description="of each convolution")
    crop: int = Field(64, ge=32, le=4096, description="pixels; edge of a training crop")
    tile: int = Field(
        512, ge=64, le=65536, description="pixels; edge of the crops in which a frame is read"
    )


class Network(HeatMap):
    """1 to 64 (3 x 3), ReLU; 15 times 64 to 64, batch normalisation, ReLU; 64 to 1."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        # Every layer sees one pixel further.
        super().__init__(settings, settings.tile, settings.layers)
        width = settings.channels
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(settings.layers - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        last = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.constant_(last.get_parameter("bias"), NO_SPOT)
        self.noise = nn.Sequential(*layers, last)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, ss, fs] of frames [batch, 1, ss, fs]."""
        stable = 2 * torch.sqrt(frames + 0.375)
        logits: Tensor = (stable - self.noise(stable)).squeeze(1)
        return logits
