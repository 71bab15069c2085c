"""Frames without a crystal against the expected water."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 40


@dataclass(frozen=True)
class Profile:
    """Mean photons per live pixel against q, measured and expected.

    Attributes
    ----------
    q : [bin] 1/Å
        Middle of each bin, 4 pi sin(theta) / wavelength.
    pixels : [bin]
        Live pixels.
    measured, sigma, expected : [bin] photons per pixel and frame
        Mean over the frames, the Poisson uncertainty to expect of it, and the water image.
    frames : int
        Frames averaged.
    total, expected_total : float
        Photons per frame on all live pixels.
    """

    q: NDArray[np.float64]
    pixels: NDArray[np.int64]
    measured: NDArray[np.float64]
    sigma: NDArray[np.float64]
    expected: NDArray[np.float64]
    frames: int
    total: float
    expected_total: float

    @property
    def ratio(self) -> tuple[float, float]:
        """Measured over expected photons, and the Poisson uncertainty of that."""
        if self.frames == 0 or self.expected_total == 0:
            return float("nan"), float("nan")
        return (
            self.total / self.expected_total,
            float(np.sqrt(self.total / self.frames)) / self.expected_total,
        )

    @property
    def chi_square(self) -> tuple[float, int]:
        """Sum of squared distances from the expected, in Poisson deviations, and of how many."""
        told = self.sigma > 0
        if not self.frames:
            return float("nan"), 0
        distance = (self.measured[told] - self.expected[told]) / self.sigma[told]
        return float((distance**2).sum()), int(told.sum())


def radial_profile(
    images: Iterator[NDArray[Any]],
    expected: NDArray[np.floating],
    mask: NDArray[np.bool_],
    s: NDArray[np.float64],
    bins: int = BINS,
) -> Profile:
    """Average frames and the expected image over rings of equal q.

    Parameters
    ----------
    images
        Frames [ss, fs], photons.
    expected, mask : [ss, fs]
        Expected photons per pixel; True where a pixel is live.
    s : [ss, fs] 1/Å
        |s| at each pixel, nan where there is no panel.
    """
    live = mask & np.isfinite(s)
    q = 2 * np.pi * s[live]
    edges = np.linspace(q.min(), q.max(), bins + 1)
    ring = np.clip(np.searchsorted(edges, q, side="right") - 1, 0, bins - 1)
    whole, frames = np.zeros(mask.shape), 0
    for image in images:
        whole += image
        frames += 1
    total = whole[live]
    pixels = np.bincount(ring, minlength=bins)
    counts = np.bincount(ring, weights=total, minlength=bins)
    water = np.bincount(ring, weights=expected[live], minlength=bins)
    divisor = np.maximum(pixels, 1)
    exposures = max(frames, 1)
    return Profile(
        q=(edges[:-1] + edges[1:]) / 2,
        pixels=pixels,
        measured=counts / divisor / exposures,
        sigma=np.sqrt(water / exposures) / divisor,
        expected=water / divisor,
        frames=frames,
        total=float(counts.sum() / exposures),
        expected_total=float(water.sum()),
    )
