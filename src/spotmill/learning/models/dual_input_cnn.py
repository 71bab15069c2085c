"""The paper's dual-input CNN, told nothing that an experiment does not have.

Its second input was the noise-free image of the signal: the answer. Here it is what the frame
itself says of its signal: at every local maximum that stands out of the local background, the
photons of its 3 x 3 pixels above that background. Both inputs come from the frame and its mask.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.candidates import find_candidates
from spotmill.learning.encoders import Encoded, Encoder, View, WholeFrame
from spotmill.learning.models.dimensions import Dimensions
from spotmill.model import Model
from spotmill.tasks import Input

# The settings that the encoder depends on.
ENCODED = ("candidates", "block")


class Settings(Model):
    """Of the second input; the layers are those of the paper."""

    candidates: int = Field(
        256, ge=1, le=65536, description="local maxima of the second input, the most significant"
    )
    block: int = Field(128, ge=8, description="pixels; edge of the blocks of the background")


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read whole frames of photons, and what stands out of them."""
    return FrameAndSignal(settings, task_input, view)


class FrameAndSignal:
    """Turns a frame into its photons and its own estimate of the signal, [2, ss, fs]."""

    def __init__(self, settings: Settings, task_input: Input, view: View) -> None:
        self._settings = settings
        self._frame = WholeFrame(task_input, view)
        self.shape = (2, *self._frame.shape[1:])

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return pixel numbers and photons of frame and signal."""
        signal = estimated_signal(image, mask, self._settings.candidates, self._settings.block)
        return (*self._frame.encode(image, mask), *self._frame.encode(signal, mask))

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return frames and signals [n, 2, ss, fs]."""
        parts = [self._frame.batch([arrays[at : at + 2] for arrays in encoded]) for at in (0, 2)]
        return torch.cat(parts, dim=1)


def estimated_signal(
    image: NDArray[Any], mask: NDArray[np.bool_], count: int, block: int
) -> NDArray[np.float64]:
    """Return the photons above the background of the most significant maxima, [ss, fs].

    Those of 3 x 3 pixels stand at the maximum; elsewhere, and below the background, it is 0.
    """
    found = find_candidates(image, mask, count, block)
    signal = np.zeros(image.shape)
    signal[found.ss, found.fs] = np.maximum(found.near - found.background * found.near_live, 0)
    return signal


class Branch(nn.Sequential):
    """1 to 32 (5 x 5, stride 2, padding 1), ReLU, max-pool 2."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 32, 5, 2, padding=1), nn.ReLU(), nn.MaxPool2d(2))


class Network(nn.Module):
    """A branch for each input, joined; linear to 128, ReLU, linear."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self.frame, self.signal = Branch(), Branch()
        with torch.no_grad():
            flat = self.frame(torch.zeros(1, 1, *dimensions.shape[1:])).numel()
        self.layers = nn.Sequential(
            nn.Linear(2 * flat, 128), nn.ReLU(), nn.Linear(128, dimensions.outputs)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [batch, outputs] of frames and signals [batch, 2, ss, fs]."""
        features = [self.frame(inputs[:, :1]).flatten(1), self.signal(inputs[:, 1:]).flatten(1)]
        logits: Tensor = self.layers(torch.cat(features, dim=1))
        return logits
