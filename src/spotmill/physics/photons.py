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

_TOO_MANY = (
    "a pixel of {} photons exceeds {}; "
    "state the detector's saturation (max_adu) in its geometry file"
)


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


# A cell of the alias table: a photon stays on its own pixel with probability `accept`.
_CELL = np.dtype([("accept", np.float64), ("own", np.int32), ("other", np.int32)])


@njit(cache=True)
def _scatter(image: Any, cells: Any, uniforms: Any, limit: Any) -> Any:
    """Put each photon on one of the two pixels of its cell; return how many the limit kept out."""
    n = cells.size
    struck = np.empty(uniforms.size, np.int32)
    # Look-ups apart from counts, as the processor then waits for many of them at once.
    for j in range(uniforms.size):
        scaled = uniforms[j] * n
        i = int(scaled)
        cell = cells[i]
        struck[j] = cell.other if scaled - i >= cell.accept else cell.own
    beyond = 0
    for pixel in struck:
        if image[pixel] < limit:
            image[pixel] += 1
        else:
            beyond += 1
    return beyond


@njit(cache=True)
def _add_at(image: Any, pixels: Any, counts: Any, limit: Any) -> Any:
    """Add counts to pixels; return how many photons the limit kept out."""
    beyond = 0
    for j in range(pixels.size):
        total = np.int64(image[pixels[j]]) + np.int64(counts[j])
        image[pixels[j]] = min(total, limit)
        beyond += max(total - limit, 0)
    return beyond


@njit(cache=True)
def _add_image(image: Any, counts: Any, words: Any, step: int, live: Any, limit: Any) -> Any:
    """Add counts on live pixels; return how many photons the limit kept out.

    `words` are the same counts, `step` at a time: most of a frame of peaks is empty.
    """
    beyond = 0
    for w in range(words.size + 1):
        # The last round is for what fills no word.
        whole = w < words.size
        if whole and words[w] == 0:
            continue
        for i in range(w * step, (w + 1) * step if whole else counts.size):
            if live[i] and counts[i] > 0:
                total = np.int64(image[i]) + np.int64(counts[i])
                image[i] = min(total, limit)
                beyond += max(total - limit, 0)
    return beyond


@njit(cache=True)
def _clip(counts: Any, limit: Any, image: Any) -> tuple[Any, Any]:
    """Set `image` to the counts, at most `limit`; return the largest, and how many were above."""
    largest, above = np.int64(0), 0
    for i in range(counts.size):
        count = np.int64(counts[i])
        largest = max(largest, count)
        above += count > limit
        image[i] = min(count, limit)
    return largest, above


class Exposure:
    """Counts the photons of one frame as a detector does: up to its saturation.

    The image has the type in which it is written, and the frames of a shard use it in turn,
    so that a frame costs no pass over more memory than it must. Counts never wrap: what one
    pixel is given beyond its saturation is left out.

    Parameters
    ----------
    live
        [ss, fs], True where a pixel counts.
    dtype
        Unsigned integer type of the image.
    saturation
        Photons at which a pixel clips, or None where none is known.

    Attributes
    ----------
    image : [ss, fs] of `dtype`
    """

    def __init__(self, live: NDArray[np.bool_], dtype: Any, saturation: int | None) -> None:
        self.image: NDArray[Any] = np.zeros(live.shape, dtype)
        self._live = np.ascontiguousarray(live).ravel()
        largest = int(np.iinfo(dtype).max)
        self._clips = saturation is not None and saturation <= largest
        self._limit = saturation if saturation is not None and self._clips else largest

    def clear(self) -> None:
        """Begin a new frame."""
        self.image.fill(0)

    def add(self, counts: NDArray[np.integer]) -> None:
        """Add an image [ss, fs] of photons, none negative, on live pixels.

        Raises
        ------
        SpotmillError
            When a pixel exceeds what the image's type holds and no saturation is known.
        """
        flat = np.ascontiguousarray(counts).ravel()
        step = 8 // flat.itemsize
        words = flat[: flat.size // step * step].view(np.uint64)
        self._check(_add_image(self.image.ravel(), flat, words, step, self._live, self._limit))

    def add_at(self, pixels: NDArray[np.integer], counts: NDArray[np.integer]) -> int:
        """Add photons to live ones of flat pixel numbers (repeats allowed); return how many.

        Raises
        ------
        SpotmillError
            As for `add`.
        """
        on = self._live[pixels]
        pixels, counts = pixels[on], counts[on]
        self._check(_add_at(self.image.ravel(), pixels, counts, self._limit))
        return int(counts.sum())

    def add_drawn(self, cells: NDArray[Any], uniforms: NDArray[np.float64]) -> None:
        """Add a photon for each uniform number, on the pixel that a sampler's table gives it."""
        self._check(_scatter(self.image.ravel(), cells, uniforms, self._limit))

    def _check(self, beyond: int) -> None:
        if beyond and not self._clips:
            raise SpotmillError(_TOO_MANY.format(self._limit + beyond, self.image.dtype.name))


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
            pixels = np.flatnonzero(means).astype(np.int32)
            accept, alias = _alias_table(means[pixels])
            self._cells = np.empty(len(pixels), _CELL)
            self._cells["accept"] = accept
            self._cells["own"], self._cells["other"] = pixels, pixels[alias]

    def draw(self, rng: np.random.Generator, factor: float = 1.0) -> NDArray[np.uint32]:
        """Return one frame of photons, [ss, fs] uint32, of `factor` times the expectation."""
        exposure = Exposure(np.ones(self.shape, dtype=bool), np.uint32, None)
        self.expose(exposure, rng, factor)
        return exposure.image

    def expose(self, exposure: Exposure, rng: np.random.Generator, factor: float = 1.0) -> int:
        """Add one frame of photons of `factor` times the expectation; return how many."""
        if self._means is not None:
            counts = rng.poisson(factor * self._means)
            exposure.add(counts.reshape(self.shape))
            return int(counts.sum())
        if self.total == 0:
            return 0
        uniforms = rng.random(rng.poisson(factor * self.total))
        exposure.add_drawn(self._cells, uniforms)
        return len(uniforms)


def fit_counts(
    counts: NDArray[np.integer], dtype: Any, saturation: int | None
) -> tuple[NDArray[Any], int]:
    """Clip photons at the detector's saturation; return them as `dtype`, and how many were.

    Raises
    ------
    SpotmillError
        When a count exceeds what `dtype` holds and no saturation is known.
    """
    most = int(np.iinfo(dtype).max)
    limit = most if saturation is None else min(saturation, most)
    image: NDArray[Any] = np.empty(counts.shape, dtype)
    largest, clipped = _clip(np.ascontiguousarray(counts).ravel(), limit, image.ravel())
    if largest > most and saturation != limit:
        raise SpotmillError(_TOO_MANY.format(largest, np.dtype(dtype).name))
    return image, int(clipped)
