"""Maps that say of every pixel how likely a spot lies there: crops, loss, map of a whole frame.

They are trained and run on square crops: a batch of whole frames of 4.5 megapixels takes more
memory than the machines that this is meant for have.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import maximum_filter, uniform_filter
from torch import Tensor, nn

from spotmill.model import Model
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import Spots


class CropSettings(Model):
    """Of the crops."""

    frames: int | None = Field(
        None, ge=1, description="training frames, and validation frames, at most; null is all"
    )
    crop: int = Field(256, ge=32, le=4096, description="pixels; edge of a crop")
    crops: int = Field(4, ge=1, le=1000, description="crops of a training frame")
    spot_weight: float = Field(100.0, gt=0, description="of a spot's pixel in the loss")
    candidates: int = Field(1024, ge=16, le=65536, description="peaks a frame, at most")


class HeatMap(nn.Module):
    """A network from frames [batch, 1, ss, fs] to logits [batch, ss, fs].

    Parameters
    ----------
    tile
        Edge of the crops in which whole frames are read, in pixels.
    margin
        Pixels at the edge of a crop whose surroundings are not all within it: another crop has
        them.
    """

    def __init__(self, settings: CropSettings, tile: int, margin: int) -> None:
        super().__init__()
        self._crops = settings
        self._tile, self._margin = tile, margin
        self.frames, self.crop = settings.frames, settings.crop

    def samples(
        self, image: NDArray[Any], mask: NDArray[np.bool_], true: Spots, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Return crops of a frame, every other one around a spot, with a 1 where a spot lies."""
        edge = self.crop
        clean = padded(np.where(mask, image, 0), edge)
        label = np.zeros(clean.shape, dtype=np.bool_)
        at = np.floor(true.place[:, ::-1]).astype(np.int64)
        at = at[((at >= 0) & (at < clean.shape)).all(1)]
        label[at[:, 0], at[:, 1]] = True
        crops, labels = [], []
        for number in range(self._crops.crops):
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
            heat, batch["label"].float(), pos_weight=heat.new_tensor(self._crops.spot_weight)
        )

    @torch.no_grad()
    def find(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
        """Return the maxima of the heat map, the highest first; their score is the logit."""
        clean = np.where(mask, image, 0).astype(np.float32)
        heat = self.heat_map(clean)
        # A heat map without any feature has no maximum.
        top = (heat == maximum_filter(heat, 5)) & mask & (heat > np.median(heat))
        ss, fs = np.nonzero(top)
        best = np.argsort(-heat[ss, fs], kind="stable")[: self._crops.candidates]
        ss, fs = ss[best], fs[best]
        photons = 25 * uniform_filter(clean, 5, mode="constant")[ss, fs]
        return Peaks(
            np.stack([fs, ss], axis=1).astype(np.float64) + 0.5,
            photons.astype(np.float64),
            heat[ss, fs].astype(np.float64),
        )

    @torch.no_grad()
    def heat_map(self, clean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the heat map [ss, fs] of a frame, put together of crops."""
        edge, device = self._tile, next(self.parameters()).device
        frame = padded(clean, edge)
        heat = np.empty(frame.shape, dtype=np.float32)
        steps = [starts(size, edge, self._margin) for size in frame.shape]
        for ss in steps[0]:
            rows = np.stack([frame[ss : ss + edge, fs : fs + edge] for fs in steps[1]])
            said = self(torch.from_numpy(rows).unsqueeze(1).to(device)).cpu().numpy()
            for fs, crop in zip(steps[1], said, strict=True):
                # The first and last crops keep the edge of the frame, the others leave theirs.
                top, left = (self._margin if at else 0 for at in (ss, fs))
                heat[ss + top : ss + edge, fs + left : fs + edge] = crop[top:, left:]
        return heat[: clean.shape[0], : clean.shape[1]]


def padded(image: NDArray[Any], edge: int) -> NDArray[Any]:
    """Return an image filled up with zeros to at least `edge` pixels each way."""
    missing = [(0, max(edge - size, 0)) for size in image.shape]
    return np.pad(image, missing)


def starts(size: int, edge: int, margin: int) -> list[int]:
    """Return where crops begin that cover a length, each over 2 x margin pixels of the last."""
    step = max(edge - 2 * margin, 1)
    return [*range(0, size - edge, step), size - edge]
