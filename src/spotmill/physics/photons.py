"""Random streams and Poisson photons.

Every draw comes from a counter-based generator keyed by what it is for, so a frame's
photons depend on (seed, dataset, index) alone: not on shards, cores, hosts or order.
"""

import hashlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.errors import SpotmillError

# Above this mean per pixel one Poisson draw a pixel costs less than one draw a photon.
DENSE_MEAN = 0.5


def stream(seed: int, dataset: str, index: int, name: str) -> np.random.Generator:
    """Return the generator of one frame and purpose.

    Parameters
    ----------
    seed, dataset, index
        Identity of the frame.
    name
        What is drawn: "orientation", "signal", "background" ...

    Notes
    -----
    Philox 4x64 (Salmon et al., SC11, doi:10.1145/2063384.2063405): the key is a hash of
    seed, dataset and name; the frame's index is the high word of the counter, which
    leaves 2^192 draws to each frame.
    """
    digest = hashlib.blake2b(f"{seed}\0{dataset}\0{name}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8")
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@njit(cache=True)
def _alias_table(weights: Any) -> tuple[Any, Any]:
    """Return acceptance and alias of Walker's method (Vose, IEEE TSE 17, 972, 1991)."""
    n = weights.size
    accept = weights * (n / weights.sum())
    alias = np.arange(n).astype(np.int32)
    stack = np.empty(n, np.int32)
    small, large = 0, n
    for i in range(n):
        if accept[i] < 1.0:
            stack[small] = i
            small += 1
        else:
            large -= 1
            stack[large] = i
    while small > 0 and large < n:
        small -= 1
        low, high = stack[small], stack[large]
        alias[low] = high
        accept[high] -= 1.0 - accept[low]
        if accept[high] < 1.0:
            large += 1
            stack[small] = high
            small += 1
    # What is left is 1 but for rounding.
    while small > 0:
        small -= 1
        accept[stack[small]] = 1.0
    while large < n:
        accept[stack[large]] = 1.0
        large += 1
    return accept, alias


@njit(cache=True)
def _scatter(image: Any, pixels: Any, accept: Any, alias: Any, uniforms: Any) -> None:
    n = accept.size
    for u in uniforms:
        scaled = u * n
        i = int(scaled)
        if scaled - i >= accept[i]:
            i = alias[i]
        image[pixels[i]] += 1


class PhotonSampler:
    """Draws Poisson frames from one expected image.

    The number of photons is drawn from the Poisson law of the image's sum and each photon
    falls on a pixel in proportion to its expectation; by the splitting property the
    pixels are then independent Poisson variables, exactly. The cost is one draw a photon,
    not one a pixel.

    Parameters
    ----------
    expected
        [ss, fs] expected photons, finite and not negative.

    Raises
    ------
    SpotmillError
        When the image holds NaN, infinite or negative values.
    """

    def __init__(self, expected: NDArray[np.floating]) -> None:
        means = np.asarray(expected, dtype=np.float64).ravel()
        if not np.isfinite(means).all() or (means < 0).any():
            raise SpotmillError("expected image: has negative or non-finite pixels; remake it")
        self.shape = expected.shape
        self.total = float(means.sum())
        self._dense = self.total > DENSE_MEAN * means.size
        self._means = means if self._dense else None
        if not self._dense and self.total > 0:
            self._pixels = np.flatnonzero(means).astype(np.int32)
            self._accept, self._alias = _alias_table(means[self._pixels])

    def draw(self, rng: np.random.Generator, factor: float = 1.0) -> NDArray[np.uint32]:
        """Return one frame of photons, [ss, fs] uint32, of `factor` times the expectation."""
        if self._means is not None:
            return rng.poisson(factor * self._means).astype(np.uint32).reshape(self.shape)
        image = np.zeros(self.shape, dtype=np.uint32)
        if self.total > 0:
            uniforms = rng.random(rng.poisson(factor * self.total))
            _scatter(image.ravel(), self._pixels, self._accept, self._alias, uniforms)
        return image


def fit_counts(
    counts: NDArray[np.integer], dtype: Any, saturation: int | None
) -> tuple[NDArray[Any], int]:
    """Clip photons at the detector's saturation; return them as `dtype`, and how many were.

    Raises
    ------
    SpotmillError
        When a count exceeds what `dtype` holds and no saturation is known.
    """
    largest = int(counts.max(initial=0))
    clipped = 0
    if saturation is not None and largest > saturation:
        clipped = int((counts > saturation).sum())
        counts = np.minimum(counts, saturation)
    elif largest > np.iinfo(dtype).max:
        raise SpotmillError(
            f"a pixel of {largest} photons exceeds {np.dtype(dtype).name}; "
            "state the detector's saturation (max_adu) in its geometry file"
        )
    return counts.astype(dtype), clipped
