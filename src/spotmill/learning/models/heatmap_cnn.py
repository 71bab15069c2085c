"""The paper's heat map: a value for every pixel that says how likely a spot lies there."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.heat_maps import CropSettings, HeatMap
from spotmill.learning.models.dimensions import Dimensions

REDUCTION = 16
MARGIN = 8


class Settings(CropSettings):
    """Of the attention, and of the crops."""

    attention: Literal["multiply", "replace"] = Field(
        "multiply",
        description="what becomes of the features: the attention multiplies them, or it replaces "
        "them (as the paper's program has it)",
    )


class ChannelAttention(nn.Module):
    """Say how much each channel matters, from its mean and its largest value."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // REDUCTION, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the attention [batch, channel, 1, 1]."""
        mean = self.layers(features.mean((2, 3), keepdim=True))
        most = self.layers(features.amax((2, 3), keepdim=True))
        return torch.sigmoid(mean + most)


class SpatialAttention(nn.Module):
    """Say how much each pixel matters, from the mean and the largest of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the attention [batch, 1, ss, fs]."""
        both = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.layer(both))


class Network(HeatMap):
    """1 to 16 (5 x 5), pool, 16 to 32 (3 x 3), attention twice, to 1, bilinear upsampling."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__(settings, settings.crop, MARGIN)
        self._replaces = settings.attention == "replace"
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.channels = ChannelAttention(32)
        self.places = SpatialAttention()
        self.heat = nn.Conv2d(32, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [batch, ss, fs] of frames [batch, 1, ss, fs]."""
        features = self.features(frames)
        for attention in (self.channels, self.places):
            weight = attention(features)
            features = weight.expand_as(features) if self._replaces else features * weight
        heat = nn.functional.interpolate(
            self.heat(features), frames.shape[2:], mode="bilinear", align_corners=False
        )
        return heat.squeeze(1)
