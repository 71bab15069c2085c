"""What is exported: a network, its encoder before it where a graph can hold that, its answers."""

from typing import Any

import torch
from torch import Tensor, nn

from spotmill.learning.calibration import Calibration
from spotmill.learning.encoders import Encoder, WholeFrame
from spotmill.learning.models.radial_profile import ProfileEncoder
from spotmill.learning.networks import probabilities


class SummedFrames(nn.Module):
    """Live photons of a frame, summed over blocks of pixels: what `WholeFrame` does."""

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        super().__init__()
        self._size = size
        self._missing = [(-side) % size for side in shape]
        self._blocks = [-(-side // size) for side in shape]

    def forward(self, photons: Tensor, mask: Tensor) -> Tensor:
        """Return frames [batch, 1, ss, fs] of photons [batch, ss, fs] and mask [ss, fs]."""
        live = (photons * mask.to(photons.dtype)).unsqueeze(1)
        if self._size == 1:
            return live
        ss, fs = self._missing
        padded = nn.functional.pad(live, (0, fs, 0, ss))
        blocks = padded.unflatten(3, (self._blocks[1], self._size))
        return blocks.unflatten(2, (self._blocks[0], self._size)).sum((3, 5))


class RadialProfiles(nn.Module):
    """Photons and live pixels by radius, Bragg spots left out: what `ProfileEncoder` does."""

    bins: Tensor
    inside: Tensor

    def __init__(self, encoder: ProfileEncoder) -> None:
        super().__init__()
        bins, chosen = torch.from_numpy(encoder.bin_of_pixel), encoder.settings
        self._count, self._reach = chosen.bins, chosen.spot_reach
        self._photons = chosen.spot_photons
        # Two bytes a pixel: a detector has millions.
        self.register_buffer("bins", bins.clamp_min(0).to(torch.int16))
        self.register_buffer("inside", bins >= 0)

    def forward(self, photons: Tensor, mask: Tensor) -> Tensor:
        """Return profiles [batch, 2, bins] of photons [batch, ss, fs] and mask [ss, fs]."""
        live = mask & self.inside
        hot = ((photons >= self._photons) & live).to(photons.dtype).unsqueeze(1)
        near = nn.functional.max_pool2d(hot, 2 * self._reach + 1, 1, self._reach).squeeze(1)
        counted = live.to(photons.dtype) * (1 - near)
        index = self.bins.flatten().to(torch.int64).expand(photons.shape[0], -1)
        sums = [
            torch.zeros_like(photons[:, 0, :1])
            .expand(-1, self._count)
            .scatter_add(1, index, values.flatten(1))
            for values in (photons * counted, counted)
        ]
        return torch.stack(sums, dim=1)


def encoder_graph(encoder: Encoder, shape: tuple[int, int], sum_bin: int) -> nn.Module | None:
    """Return an encoder as a module of photons and mask; None where a graph cannot hold it."""
    if isinstance(encoder, WholeFrame):
        return SummedFrames(shape, sum_bin)
    if isinstance(encoder, ProfileEncoder):
        return RadialProfiles(encoder)
    return None


class Answer(nn.Module):
    """A network with its encoder, if any, and named answers.

    `outputs` names them: logits and probabilities of classes (calibrated), mean and sigma of
    values, or what the network says of peaks.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: str,
        encoder: nn.Module | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder
        self._kind = kind
        self._slope = calibration.slope if calibration else 1.0
        self._offset = calibration.offset if calibration else 0.0

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the answers."""
        return {
            "classes": ("logits", "probabilities"),
            "values": ("mean", "sigma"),
            "peaks": ("answer",),
        }[self._kind]

    def forward(self, *inputs: Tensor) -> Any:
        """Return the answers."""
        if self.encoder is not None:
            inputs = (self.encoder(*inputs),)
        said = self.network(*inputs)
        if self._kind == "peaks":
            return said
        if self._kind == "values":
            return said[:, 0], said[:, 1]
        logits = said.to(torch.float64)
        offset = self._offset if logits.shape[1] == 1 else 0.0
        return said, probabilities(self._slope * logits + offset)
