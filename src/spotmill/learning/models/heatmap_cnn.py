"""The paper's heat map: a value for every pixel that says how likely a spot lies there.

It is trained and run on square crops: a batch of whole frames of 4.5 megapixels takes more
memory than the machines that this is meant for have.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import maximum_filter, uniform_filter
from torch import Tensor, nn

from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import Spots

REDUCTION = 16
# Pixels at the edge of a crop whose surroundings are not all within it: another crop has them.
MARGIN = 8


class Settings(Model):
    """Of the attention, and of the crops."""

    frames: int | None = Field(
        None, ge=1, description="training frames, and validation frames, at most; null is all"
    )
    attention: Literal["multiply", "replace"] = Field(
        "multiply",
        description="what becomes of the features: the attention multiplies them, or it replaces "
        "them (as the paper's program has it)",
    )
    crop: int = Field(256, ge=32, le=4096, description="pixels; edge of a crop")
    crops: int = Field(4, ge=1, le=1000, description="crops of a training frame")
    spot_weight: float = Field(100.0, gt=0, description="of a spot's pixel in the loss")
    candidates: int = Field(1024, ge=16, le=65536, description="peaks a frame, at most")


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


class Network(nn.Module):
    """1 to 16 (5 x 5), pool, 16 to 32 (3 x 3), attention twice, to 1, bilinear upsampling."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self._settings = settings
        self.frames = settings.frames
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
            replaces = self._settings.attention == "replace"
            features = weight.expand_as(features) if replaces else features * weight
        heat = nn.functional.interpolate(
            self.heat(features), frames.shape[2:], mode="bilinear", align_corners=False
        )
        return heat.squeeze(1)

    def samples(
        self, image: NDArray[Any], mask: NDArray[np.bool_], true: Spots, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Return crops of a frame, every other one around a spot, with a 1 where a spot lies."""
        edge = self._settings.crop
        clean = padded(np.where(mask, image, 0), edge)
        label = np.zeros(clean.shape, dtype=np.bool_)
        at = np.floor(true.place[:, ::-1]).astype(np.int64)
        at = at[((at >= 0) & (at < clean.shape)).all(1)]
        label[at[:, 0], at[:, 1]] = True
        crops, labels = [], []
        for number in range(self._settings.crops):
            first = rng.integers(0, np.array(clean.shape) - edge + 1)
            if number % 2 == 0 and len(at):
                around = at[rng.integers(len(at))] - rng.integers(0, edge, 2)
                first = np.clip(around, 0, np.array(clean.shape) - edge)
            part = np.s_[first[0] : first[0] + edge, first[1] : first[1] + edge]
            crops.append(np.minimum(clean[part], 65504).astype(np.float16))
            labels.append(label[part])
        return {
            "frame": torch.from_numpy(np.stack(crops)),
            "label": torch.from_numpy(np.stack(labels)),
        }

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy of the pixels."""
        heat = self(batch["frame"].float().unsqueeze(1))
        return nn.functional.binary_cross_entropy_with_logits(
            heat, batch["label"].float(), pos_weight=torch.tensor(self._settings.spot_weight)
        )

    @torch.no_grad()
    def find(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
        """Return the maxima of the heat map, the highest first; their score is the logit."""
        clean = np.where(mask, image, 0).astype(np.float32)
        heat = self.heat_map(clean)
        # A heat map without any feature has no maximum.
        top = (heat == maximum_filter(heat, 5)) & mask & (heat > np.median(heat))
        ss, fs = np.nonzero(top)
        best = np.argsort(-heat[ss, fs], kind="stable")[: self._settings.candidates]
        ss, fs = ss[best], fs[best]
        photons = 25 * uniform_filter(clean, 5, mode="constant")[ss, fs]
        return Peaks(
            np.stack([fs, ss], axis=1).astype(np.float64) + 0.5,
            photons.astype(np.float64),
            heat[ss, fs].astype(np.float64),
        )

    def heat_map(self, clean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the heat map [ss, fs] of a frame, put together of crops."""
        edge = self._settings.crop
        frame = padded(clean, edge)
        heat = np.empty(frame.shape, dtype=np.float32)
        steps = [starts(size, edge) for size in frame.shape]
        for ss in steps[0]:
            rows = np.stack([frame[ss : ss + edge, fs : fs + edge] for fs in steps[1]])
            said = self(torch.from_numpy(rows).unsqueeze(1)).numpy()
            for fs, crop in zip(steps[1], said, strict=True):
                # The first and last crops keep the edge of the frame, the others leave theirs.
                top, left = (MARGIN if at else 0 for at in (ss, fs))
                heat[ss + top : ss + edge, fs + left : fs + edge] = crop[top:, left:]
        return heat[: clean.shape[0], : clean.shape[1]]


def padded(image: NDArray[Any], edge: int) -> NDArray[Any]:
    """Return an image filled up with zeros to at least `edge` pixels each way."""
    missing = [(0, max(edge - size, 0)) for size in image.shape]
    return np.pad(image, missing)


def starts(size: int, edge: int) -> list[int]:
    """Return where crops begin that cover a length, each over 2 x MARGIN pixels of the last."""
    step = max(edge - 2 * MARGIN, 1)
    return [*range(0, size - edge, step), size - edge]
