"""What frames are like apart from their spots, and how far a frame is from those of the training.

Four numbers tell of the background alone: its photons a pixel, how much it differs across the
frame, whether its counts scatter as photons do, and whether neighbours count alike (as on an
image plate). None depends on the shape of the detector. A model's card keeps the range of each
over training frames.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spotmill.learning.background_moments import background_moments
from spotmill.learning.marked import Marked, mark
from spotmill.model import Model

# Half the range that training frames count as at least, so that frames that are all alike do
# not make every other one strange: factors of 10, but for the correlation.
LEAST_REACH = {"background": 0.15, "contrast": 0.15, "dispersion": 0.05, "correlation": 0.05}
# What each is called where it is strange.
WORDS = {
    "background": "photons a pixel",
    "contrast": "unevenness of the background",
    "dispersion": "scatter of the counts",
    "correlation": "likeness of neighbouring pixels",
}
MOST_FRAMES = 48
# Pixels above the background by more do not belong to it.
CLIP_SIGMAS = 4.0
# Every so many pixels are enough for quantiles.
STRIDE = 7
DIGITS = 6


class Images(Protocol):
    """A numbered collection of images."""

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return image [ss, fs] in photons and mask [ss, fs], True where a pixel is live."""


class TrainingFrames(Model):
    """What a model's card says of the frames that it was trained on."""

    n: int = Field(ge=1, description="training frames looked at")
    shape: tuple[int, int] = Field(description="(ss, fs)")
    pixel_size: float = Field(gt=0, description="m")
    largest_radius: float = Field(gt=0, description="pixels from the beam to the farthest one")
    detectors: tuple[tuple[int, int, float], ...] = Field(
        (), description="(ss, fs, pixel size in m) of each kind, where there are several"
    )
    features: dict[str, tuple[float, float]] = Field(description="least and largest of each")


def summarise(
    images: Images,
    rows: NDArray[np.int64],
    radius: NDArray[np.floating],
    pixel_size: float,
    added: float = 0.0,
) -> dict[str, Any]:
    """Return what the card is to say of training frames, as `TrainingFrames` reads it.

    Parameters
    ----------
    rows
        Of the training frames; `MOST_FRAMES` of them, spread evenly, are looked at.
    radius
        [ss, fs] distance from the beam in pixels, NaN where there is no panel.
    pixel_size
        m.
    added
        Photons a pixel that training draws on top of frames, at most.
    """
    count = min(len(rows), MOST_FRAMES)
    chosen = rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
    seen = [features(*images.read(row)) for row in chosen.tolist()]
    limits = {
        name: [min(one[name] for one in seen), max(one[name] for one in seen)]
        for name in LEAST_REACH
    }
    if added:
        limits["background"][1] = float(np.log10(10 ** limits["background"][1] + added))
        # An even background on top of an uneven one is the more even of the two.
        limits["contrast"][0] = min(limits["contrast"][0], 0.0)
    return {
        "n": count,
        "shape": list(radius.shape),
        "pixel_size": pixel_size,
        "largest_radius": float(np.nanmax(radius)),
        "features": {
            name: [round(value, DIGITS) for value in pair] for name, pair in limits.items()
        },
    }


def features(
    image: NDArray[Any], mask: NDArray[np.bool_], marked: Marked | None = None
) -> dict[str, float]:
    """Return what a frame is like, by name.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    marked
        The same frame, where it is at hand, in blocks of `BLOCK`.

    Returns
    -------
    background
        log10 of the mean photons a live pixel, spots left out.
    contrast
        log10 of the 95th percentile of the local background over its median.
    dispersion
        log10 of the variance of the counts over their mean; 0 is the Poisson law.
    correlation
        Of pixels beside one another along fs, once the local background is taken off.
    """
    blocks = (marked or mark(image, mask)).levels
    total, square, beside, pixels, pairs, levels = background_moments(
        image, mask, blocks, CLIP_SIGMAS, STRIDE
    )
    middle, high = np.percentile(levels if len(levels) else np.ones(1), [50, 95])
    # Half a photon and one pixel more: a frame without either is of some kind, too.
    rate = (total + 0.5) / max(pixels, 1)
    variance = (square + 0.5) / max(pixels, 1)
    return {
        "background": float(np.log10(rate)),
        "contrast": float(np.log10(max(high, 1e-12) / max(middle, 1e-12))),
        "dispersion": float(np.log10(variance / rate)),
        "correlation": float(beside / max(pairs, 1) / variance),
    }


def strangeness(known: TrainingFrames, seen: Mapping[str, float]) -> dict[str, float]:
    """Return how far from the middle of the training frames a frame lies, by feature.

    1 is the farthest of the training frames, 2 twice as far.
    """
    found = {}
    for name, least in LEAST_REACH.items():
        low, high = known.features[name]
        reach = max((high - low) / 2, least)
        found[name] = abs(seen[name] - (low + high) / 2) / reach
    return found
