"""Classical methods on the same frames: no network, nothing trained by gradient."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.classic import Classic
from spotmill.learning.encoders import View
from spotmill.learning.frames import Frames
from spotmill.learning.metrics import Outcome, choose_threshold
from spotmill.learning.models.radial_profile import Settings
from spotmill.learning.profiles import radial_bins, radial_profile

# Photons in a pixel from which the second baseline for hits counts it.
BRIGHT = 2


class Baseline(Protocol):
    """Measures a frame in a few numbers, and judges frames by them."""

    def measure(
        self, image: NDArray[Any], mask: NDArray[np.bool_], view: View
    ) -> NDArray[np.float64]:
        """Return the numbers of one frame of a detector."""

    def judge(self, measured: NDArray[np.float64], frames: Frames) -> list[Outcome]:
        """Return what each method says of the test frames, given [frame, ...] numbers of all."""


def baseline(target: str) -> Baseline:
    """Return the baselines of a target."""
    own = PixelCounts() if target == "hit" else Profiles()
    return Together([own, Classic()])


class Part(Baseline, Protocol):
    """A baseline that says how many numbers it measures of a frame."""

    length: int


class Together:
    """Several baselines on the same reading of a frame."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def measure(
        self, image: NDArray[Any], mask: NDArray[np.bool_], view: View
    ) -> NDArray[np.float64]:
        """Return the numbers of all, one after the other."""
        return np.concatenate([part.measure(image, mask, view).ravel() for part in self._parts])

    def judge(self, measured: NDArray[np.float64], frames: Frames) -> list[Outcome]:
        """Let each judge by its own numbers."""
        ends = np.cumsum([part.length for part in self._parts])
        own = np.split(measured, ends[:-1], axis=1)
        return [
            outcome
            for part, numbers in zip(self._parts, own, strict=True)
            for outcome in part.judge(numbers, frames)
        ]


class PixelCounts:
    """For hits: the largest pixel, and the number of pixels with at least two photons."""

    length = 2

    def measure(
        self, image: NDArray[Any], mask: NDArray[np.bool_], view: View
    ) -> NDArray[np.float64]:
        """Return both numbers."""
        live = np.where(mask, image, 0)
        return np.array([live.max(), np.count_nonzero(live >= BRIGHT)], dtype=np.float64)

    def judge(self, measured: NDArray[np.float64], frames: Frames) -> list[Outcome]:
        """Threshold both numbers; the thresholds are chosen on training and validation."""
        known = frames.side != "test"
        test = frames.rows("test")
        outcomes = []
        for column, (name, explained) in enumerate(
            [
                ("largest_pixel", "photons in the brightest pixel, above a threshold"),
                ("bright_pixels", f"pixels of {BRIGHT} photons and more, above a number"),
            ]
        ):
            score = measured[:, column]
            threshold = choose_threshold(score[known], frames.truth[known])
            said = (score[test] >= threshold).astype(np.int64)
            outcomes.append(Outcome(name, "baseline", said, score[test], threshold, explained))
        return outcomes


class Profiles:
    """For photon energy and camera length: the mean radial profile of every dataset."""

    def __init__(self) -> None:
        self._settings = Settings()
        self.length = 2 * self._settings.bins
        self._bins: tuple[View, NDArray[np.int32]] | None = None

    def measure(
        self, image: NDArray[Any], mask: NDArray[np.bool_], view: View
    ) -> NDArray[np.float64]:
        """Return photons and live pixels by radius, [2, bins], Bragg spots left out."""
        chosen = self._settings
        if self._bins is None or self._bins[0] is not view:
            self._bins = view, radial_bins(view.radius, chosen.bins)
        profile = radial_profile(
            image,
            mask,
            self._bins[1],
            chosen.bins,
            chosen.spot_photons,
            chosen.spot_reach,
        )
        return np.stack(profile)

    def judge(self, measured: NDArray[np.float64], frames: Frames) -> list[Outcome]:
        """Compare each test frame with the mean profile of the training frames of a dataset."""
        measured = measured.reshape(len(measured), 2, self._settings.bins)
        train, test = frames.rows("train"), frames.rows("test")
        names = np.unique(frames.dataset[train])
        groups = [train[frames.dataset[train] == name] for name in names]
        of_group = np.array([frames.truth[rows[0]] for rows in groups])
        sums = np.stack([measured[rows].sum(0) for rows in groups])
        # Half a photon in each bin: what no training frame showed is rare, not impossible.
        rates = (sums[:, 0] + 0.5) / np.maximum(sums[:, 1], 1.0)
        photons, pixels = measured[test, 0], measured[test, 1]
        seen = pixels > 0
        own = np.where(seen, photons / np.maximum(pixels, 1.0), 0.0)
        distance = (((own[:, None] - rates[None]) * seen[:, None]) ** 2).sum(2)
        likelihood = photons @ np.log(rates).T - pixels @ rates.T
        return [
            Outcome(
                "nearest_profile",
                "baseline",
                of_group[distance.argmin(1)],
                explained="nearest mean radial profile of a dataset (Euclidean distance)",
            ),
            Outcome(
                "poisson_likelihood",
                "baseline",
                of_group[likelihood.argmax(1)],
                explained="largest Poisson likelihood under a dataset's mean radial profile",
            ),
        ]
