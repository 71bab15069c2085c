"""Ours for hits: find candidate spots at full resolution, judge each, count, decide.

A hit is a matter of how many true spots a frame has, so the network says for each
candidate how likely it is one (from photons, background and neighbourhood, the same
weights for all), adds these probabilities up to a soft count, and compares the count with
a learnt number. It never sees where a candidate lies or how large the detector is. All of it
learns from the classes of frames; with `candidate_truth` these teach the counting alone, and
candidates learn from what each of them is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.candidates import Candidates, candidates_of
from spotmill.learning.encoders import Encoded, Encoder, View, stack
from spotmill.learning.marked import Marked, mark
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.surroundings import COUNT, surroundings
from spotmill.model import Model
from spotmill.tasks import Input

if TYPE_CHECKING:
    from spotmill.learning.learner import Part

FEATURES = 7

# The settings that the encoder depends on.
ENCODED = ("candidates", "block", "surroundings", "sharing")

# Numbers that tell how the photons of a candidate are shared.
SHARING = 2


class Settings(Model):
    """Of the candidates and of the network that judges them."""

    candidates: int = Field(64, ge=4, le=4096, description="candidates a frame")
    block: int = Field(128, ge=8, description="pixels; edge of the blocks of the background")
    hidden: int = Field(16, ge=1, le=1024, description="width of the two hidden layers")
    surroundings: bool = Field(
        False,
        description="tell whether a candidate stands out of the pixels close by, and alone; for "
        "frames with stray light",
    )
    sharing: bool = Field(
        False,
        description="tell by what factor 3 x 3 pixels hold more than the brightest, and 5 x 5 more "
        "than these; for frames with hot pixels",
    )

    candidate_truth: bool = Field(
        False,
        description="teach candidates from the tables of true spots, and by the classes of frames "
        "only how many make a hit, told from a probability of 0.5 on; for few frames",
    )

    @property
    def features(self) -> int:
        """Numbers that are told of a candidate."""
        return FEATURES + COUNT * self.surroundings + SHARING * self.sharing


def encoder(settings: Settings, task_input: Input, view: View) -> Encoder:
    """Read the most significant local maxima."""
    return CandidateEncoder(settings)


class CandidateEncoder:
    """Turns a frame into the features of its candidates, [candidates, features]."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.block = settings.block
        self.shape = (settings.candidates, settings.features)

    def encode(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Encoded:
        """Return the features, rows beyond the last candidate 0, and places [n, 2] (fs, ss)."""
        return self.encode_marked(mark(image, mask, self.block))

    def encode_marked(self, frame: Marked) -> Encoded:
        """Return the features of a frame that is marked in blocks of this encoder's."""
        found = candidates_of(frame, self._settings.candidates)
        rows = np.zeros(self.shape, dtype=np.float32)
        told = features(found)
        if self._settings.surroundings:
            around = surroundings(frame.photons, found.ss, found.fs, found.background)
            told = np.concatenate([told, around], axis=1)
        if self._settings.sharing:
            # Differences of logarithms, which a few frames do not teach a network to take.
            told = np.concatenate([told, np.diff(told[:, 1:4], axis=1)], axis=1)
        rows[: len(found.peak)] = told
        return rows, np.stack([found.fs, found.ss], axis=1) + 0.5

    def batch(self, encoded: Sequence[Encoded]) -> Tensor:
        """Return features [n, candidates, features]."""
        return stack(encoded)


def features(found: Candidates) -> NDArray[np.float64]:
    """Return what the network is told of each candidate, [n, features]; the first is always 1."""
    near = found.near - found.background * found.near_live
    wide = found.wide - found.background * found.wide_live
    return np.stack(
        [
            np.ones(len(found.peak)),
            np.log1p(found.peak),
            np.log1p(np.maximum(near, 0)),
            np.log1p(np.maximum(wide, 0)),
            np.log(found.background),
            np.log1p(np.maximum(found.deviance, 0)),
            found.near_live / 9.0,
        ],
        axis=1,
    )


class Network(nn.Module):
    """A shared network judges candidates; their soft count decides."""

    mean: Tensor
    spread: Tensor

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        width = settings.hidden
        verdict = nn.Linear(width, 1)
        # Most candidates are noise: start from few spots, not from half of them.
        nn.init.constant_(verdict.bias, -2.0)
        self.judge = nn.Sequential(
            nn.Linear(settings.features - 1, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            verdict,
        )
        self.register_buffer("mean", torch.zeros(settings.features - 1))
        self.register_buffer("spread", torch.ones(settings.features - 1))
        # Spots wanted for a hit, and how sharply they are counted: where training starts.
        self.wanted = nn.Parameter(torch.tensor(2.5))
        self.log_sharpness = nn.Parameter(torch.tensor(1.0))
        # Log odds that a candidate needs to count as half a spot: many doubtful ones are noise.
        self.doubt = nn.Parameter(torch.tensor(0.0)) if settings.candidate_truth else None

    def prepare(self, inputs: Tensor, truth: Tensor, condition: Tensor) -> None:
        """Learn the mean and spread of the features from all training frames."""
        rows = inputs[inputs[..., 0] > 0][:, 1:]
        self.mean.copy_(rows.mean(0))
        self.spread.copy_(rows.std(0).clamp_min(1e-3))

    def verdicts(self, candidates: Tensor) -> Tensor:
        """Return the logits [batch, candidates] of each being a spot."""
        verdicts: Tensor = self.judge((candidates[..., 1:] - self.mean) / self.spread)
        return verdicts.squeeze(-1)

    def count(self, candidates: Tensor) -> Tensor:
        """Return the soft number of spots [batch] of frames [batch, candidates, features]."""
        return self._counted(self.verdicts(candidates), candidates)

    def forward(self, candidates: Tensor) -> Tensor:
        """Return logits [batch, 1]."""
        return self._decided(self.count(candidates))

    def taught(self, candidates: Tensor, truth: Tensor) -> tuple[Tensor, "Part"]:
        """Return logits [batch, 1] that teach the counting alone, and the candidates' own loss.

        Parameters
        ----------
        truth
            [batch, candidates], 0 noise, 1 a spot, -1 left out.
        """
        verdicts, known = self.verdicts(candidates), truth >= 0
        loss = nn.functional.binary_cross_entropy_with_logits(
            verdicts[known], truth[known].to(verdicts.dtype), reduction="sum"
        )
        n = known.sum()
        # Spots that drown are a hit's, too: its class would teach that noise is spots.
        count = self._counted(verdicts.detach(), candidates)
        return self._decided(count), (loss / n.clamp_min(1), n)

    def _counted(self, verdicts: Tensor, candidates: Tensor) -> Tensor:
        odds = verdicts if self.doubt is None else verdicts - self.doubt
        return (torch.sigmoid(odds) * candidates[..., 0]).sum(1)

    def _decided(self, count: Tensor) -> Tensor:
        return (torch.exp(self.log_sharpness) * (count - self.wanted)).unsqueeze(1)
