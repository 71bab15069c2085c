"""Ours for peaks: candidates at full resolution, judged and placed from their neighbourhood.

Whatever stands out of the local background by three standard deviations is a candidate
(`learning.peak_candidates`); a small convolutional network sees the pixels around it, scaled by
the background, and says how likely it is a spot and where in the pixel its centre lies. It is
trained on frames as they are and with further background drawn on top, so that one network
works from a hundredth of a photon a pixel to twenty. Beside the pixels it is told the likelihood
ratio of a fitted spot of two widths: what it learns is by how much that is wrong.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from spotmill.learning.marked import Marked, mark
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.peak_candidates import Candidates, candidates_of
from spotmill.learning.peak_fit import fitted_spots
from spotmill.learning.peak_samples import Labelled, Piece, labelled, pieces
from spotmill.model import Model
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import Spots

CHANNELS = 4
NUMBERS = 10
# Widths of the spots that are fitted, pixels.
NARROW, WIDE = 0.4, 1.0
# Where the narrow one's likelihood ratio stands among the numbers, by tens; and the logarithm of
# the odds of a spot at a candidate, before its photons are seen.
RATIO, ODDS = 6, -9.0
# Above this a logarithm of a likelihood ratio says no more.
CERTAIN = 40.0
# Below this hardly a maximum of noise in a thousand is a spot, on any background.
LEAST_RATIO = 8.0
# Pixels by which a place is off at most, and from which errors count less and less.
FARTHEST, CLOSE = 2.0, 0.3
AT_ONCE = 512


class Settings(Model):
    """Of the candidates, of the network, and of the background drawn on top in training."""

    frames: int | None = Field(
        None, ge=1, description="training frames, and validation frames, at most; null is all"
    )
    candidates: int = Field(1024, ge=16, le=65536, description="candidates a frame")
    patch: int = Field(9, ge=7, le=31, description="pixels; edge of the neighbourhood, odd")
    width: int = Field(24, ge=1, le=512, description="channels of the two convolutions")
    hidden: int = Field(48, ge=1, le=4096, description="width of the hidden layer")
    copies: int = Field(
        1, ge=0, le=100, description="copies of a training frame with background drawn on top"
    )
    crop: int = Field(128, ge=32, le=65536, description="pixels; edge of a part of such a copy")
    crops: int = Field(
        32, ge=2, le=65536, description="parts of a copy, half of them with a spot where there are"
    )
    background: tuple[float, float] = Field(
        (0.01, 25.0), description="photons a pixel drawn on top, from and to (even in logarithm)"
    )


class Network(nn.Module):
    """Two convolutions (3 x 3) and a hidden layer; a logit and a shift of the place."""

    def __init__(self, settings: Settings, dimensions: Dimensions) -> None:
        super().__init__()
        self._settings = settings
        self.frames = settings.frames
        inner = settings.patch - 4
        self.features = nn.Sequential(
            nn.Conv2d(CHANNELS, settings.width, 3),
            nn.ReLU(),
            nn.Conv2d(settings.width, settings.width, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.verdict = nn.Sequential(
            nn.Linear(settings.width * inner**2 + NUMBERS, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, 3),
        )
        self.direct = nn.Linear(NUMBERS, 3)
        # Training starts from the likelihood ratio of a narrow spot and its odds beforehand.
        with torch.no_grad():
            for weights in (*self.direct.parameters(), *self.verdict[-1].parameters()):
                weights.zero_()
            self.direct.weight[0, RATIO] = 10.0
            self.direct.bias[0] = ODDS

    def forward(self, planes: Tensor, numbers: Tensor) -> Tensor:
        """Return logit and shift along fs and ss, [n, 3]."""
        judged: Tensor = self.verdict(torch.cat([self.features(planes), numbers], dim=1))
        judged = judged + self.direct(numbers)
        shift = FARTHEST * torch.tanh(judged[:, 1:] / FARTHEST)
        return torch.cat([judged[:, :1], shift], dim=1)

    def samples(
        self, image: NDArray[Any], mask: NDArray[np.bool_], true: Spots, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Return candidates of a frame, and of copies on more background, with their truth."""
        own = self._settings
        parts = [Piece(image, mask, true, 1.0)]
        for _ in range(own.copies):
            parts += pieces(image, mask, true, own.crop, own.crops, own.background, rng)
        found = [self._tensors(labelled(part, own.candidates, own.patch, rng)) for part in parts]
        return {key: torch.cat([one[key] for one in found]) for key in found[0]}

    def _tensors(self, known: Labelled) -> dict[str, Tensor]:
        planes, numbers, place = inputs(known.candidates)
        shift = np.where(known.truth[:, None], known.place - place, 0.0)
        return {
            "planes": planes.to(torch.float16),
            "numbers": numbers,
            "truth": torch.from_numpy(known.truth.astype(np.float32)),
            "shift": torch.from_numpy(shift.astype(np.float32)),
            "weight": torch.from_numpy(known.weight.astype(np.float32)),
        }

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return cross-entropy of the verdict, and the error of the place of spots.

        The error is counted by the logarithm of a Cauchy law: it has a slope however far off.
        """
        (verdict, _), (error, _) = self.parts(batch)
        return verdict + error

    def parts(self, batch: dict[str, Tensor]) -> list[tuple[Tensor, Tensor | float]]:
        """Return the parts of the loss, each with the number of samples that it is a mean of."""
        said = self(batch["planes"].float(), batch["numbers"])
        verdict = nn.functional.binary_cross_entropy_with_logits(
            said[:, 0], batch["truth"], batch["weight"]
        )
        error = torch.log1p(((said[:, 1:] - batch["shift"]) / CLOSE).square()).mean(1)
        spots = batch["truth"]
        count = spots.sum()
        place = 0.1 * (error * spots).sum() / count.clamp_min(1)
        return [(verdict, len(spots)), (place, count)]

    def find(self, image: NDArray[Any], mask: NDArray[np.bool_]) -> Peaks:
        """Return the candidates of a frame that may be spots; their score is the logit."""
        return self.find_marked(mark(image, mask))

    @torch.no_grad()
    def find_marked(self, frame: Marked) -> Peaks:
        """Return the candidates of a marked frame that may be spots, as `find` does."""
        candidates = candidates_of(frame, self._settings.candidates, self._settings.patch)
        fits = fits_of(candidates)
        taken = may_be_spots(fits)
        candidates = candidates.of(taken)
        planes, numbers, place = inputs(candidates, tuple(fit[:, taken] for fit in fits))
        device = self.direct.weight.device
        said = [
            self(planes[at : at + AT_ONCE].to(device), numbers[at : at + AT_ONCE].to(device))
            for at in range(0, len(place), AT_ONCE)
        ]
        answer = torch.cat(said).cpu().numpy().astype(np.float64) if said else np.zeros((0, 3))
        place = place + answer[:, 1:]
        wide = is_wide(candidates)
        place[wide] = centre_of_mass(candidates.of(wide))
        return Peaks(place, intensity(candidates), answer[:, 0])


Fits = tuple[NDArray[np.float64], ...]


def fits_of(candidates: Candidates) -> Fits:
    """Return log ratio and photons [2, n] of a narrow and of a wide spot at each candidate."""
    return tuple(np.stack(fitted_spots(candidates, sigma)) for sigma in (NARROW, WIDE))


def may_be_spots(fits: Fits) -> NDArray[np.bool_]:
    """Return which candidates are not plainly noise: most need not be shown to the network."""
    return np.asarray(np.maximum(fits[0][0], fits[1][0]) >= LEAST_RATIO)


def intensity(candidates: Candidates) -> NDArray[np.float64]:
    """Return the photons above the background in the 5 x 5 pixels around each candidate."""
    middle = candidates.patch.shape[1] // 2
    inner = np.s_[:, middle - 2 : middle + 3, middle - 2 : middle + 3]
    excess = candidates.patch[inner] - candidates.background[:, None, None]
    return np.asarray((excess * candidates.live[inner]).sum((1, 2)), dtype=np.float64)


def is_wide(candidates: Candidates) -> NDArray[np.bool_]:
    """Return which candidates clearly have photons beyond 3 x 3 pixels.

    More than a fifth of those within, and four standard deviations above the background.
    """
    middle = candidates.patch.shape[1] // 2
    excess = (candidates.patch - candidates.background[:, None, None]) * candidates.live
    near = excess[:, middle - 1 : middle + 2, middle - 1 : middle + 2].sum((1, 2))
    around = intensity(candidates) - near
    noise = np.sqrt(16 * candidates.background + np.maximum(around, 0))
    return np.asarray((around > 0.2 * near) & (around > 4 * noise))


def centre_of_mass(candidates: Candidates) -> NDArray[np.float64]:
    """Return the centre of mass (fs, ss) of the photons above the background, [n, 2].

    Pixels count by a Gaussian window of 1.5 pixels that moves to the centre it finds.
    """
    size = candidates.patch.shape[1]
    steps = np.arange(size) - size // 2
    excess = (candidates.patch - candidates.background[:, None, None]) * candidates.live
    shift = np.zeros((len(excess), 2))
    for _ in range(8):
        window = [np.exp(-0.5 * ((steps - shift[:, k, None]) / 1.5) ** 2) for k in range(2)]
        weight = excess * window[1][:, :, None] * window[0][:, None, :]
        total = np.maximum(weight.sum((1, 2)), 1.0)
        mean = np.stack([weight.sum(1) @ steps, weight.sum(2) @ steps], axis=1) / total[:, None]
        shift = np.clip(mean, -2, 2)
    return np.stack([candidates.fs, candidates.ss], axis=1) + 0.5 + shift


def inputs(
    candidates: Candidates, fits: Fits | None = None
) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """Return what the network reads of candidates, and their centres of mass.

    `fits` are those of `fits_of`, where they are known.

    Returns
    -------
    planes
        [n, 4, size, size]: photons on a scale where the noise is even (Anscombe, Biometrika 35,
        246, 1948), photons above the background, live pixels, background.
    numbers
        [n, 10]: background, deviance of one pixel, of 2 x 2 and of 3 x 3, photons of 3 x 3 and of
        5 x 5 pixels, likelihood ratio of a narrow and of a wide spot, their photons.
    place
        [n, 2] fs, ss.
    """
    level = candidates.background[:, None, None]
    patch = candidates.patch.astype(np.float64)
    excess = patch - level
    even = 2 * (np.sqrt(patch + 0.375) - np.sqrt(level + 0.375))
    planes = np.stack(
        [
            np.arcsinh(even / 2),
            np.arcsinh(excess),
            candidates.live.astype(np.float64),
            np.broadcast_to(np.log(level) / 4, patch.shape),
        ],
        axis=1,
    )
    middle = patch.shape[1] // 2
    inner = excess[:, middle - 1 : middle + 2, middle - 1 : middle + 2]
    near = inner.sum((1, 2))
    steps = np.array([-1.0, 0.0, 1.0])
    shift = np.stack([inner.sum(1) @ steps, inner.sum(2) @ steps], axis=1)
    shift = np.clip(shift / np.maximum(near, 1.0)[:, None], -1, 1)
    fits = fits_of(candidates) if fits is None else fits
    numbers = np.stack(
        [
            np.log(candidates.background) / 4,
            *np.log1p(candidates.deviance).T,
            np.log1p(np.maximum(near, 0)),
            np.log1p(np.maximum(intensity(candidates), 0)),
            *(np.minimum(ratio, CERTAIN) / 10 for ratio, _ in fits),
            *(np.log1p(strength) for _, strength in fits),
        ],
        axis=1,
    )
    place = np.stack([candidates.fs, candidates.ss], axis=1) + 0.5 + shift
    return (
        torch.from_numpy(planes.astype(np.float32)),
        torch.from_numpy(numbers.astype(np.float32)),
        place,
    )
