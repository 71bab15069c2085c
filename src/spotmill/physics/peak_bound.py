"""The best F1 that counting statistics allow a finder of peaks.

The finder of this bound knows what no finder knows of a frame: the shape of a spot, the expected
background of every pixel, and how often spots of which strength occur in each zone of like
background; only where they are it does not know. At every site it takes the likelihood ratio

    L = sum_k w_k exp(-s_k) prod_i (1 + s_k g_i / b)^{n_i}

of photons n_i under a spot of profile g_i and of strengths s_k, weighted w_k, to background b
alone, times the density of spots: by the lemma of Neyman and Pearson (Phil. Trans. R. Soc. A
231, 289, 1933) the order of this score gives the most true spots for any number of false ones.

The bound is generous where it has to simplify. A spot is scored at its exact place or at the
best of the nine pixels around it; noise at the centres of pixels alone, the largest in a square
of the matching radius. Spots below the photons that count are never held against it. Beyond the
noise that is drawn, the number of false peaks falls on exponentially, as in its last decade.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.special import ndtr

REACH = 2  # pixels around a site that are looked at
STRENGTHS = 6  # of the mixture
DRAWN = 640  # pixels, edge of the field of noise drawn for each zone, at most
TAIL = (15, 150)  # false peaks between which the tail is fitted
THRESHOLDS = 400
AT_ONCE = 2048  # spots that are drawn together

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Zone:
    """Pixels of like background.

    Attributes
    ----------
    background : photons a pixel
    pixels : live pixels a frame
    photons : [n] drawn photons of the true spots there, of all frames
    """

    background: float
    pixels: float
    photons: Array


@dataclass(frozen=True)
class Bound:
    """The best F1, at the score where it is reached."""

    f1: float
    precision: float
    recall: float


def profile(offset: tuple[float, float], sigma: float, reach: int = REACH) -> Array:
    """Return the shares of a Gaussian spot on the pixels around its own, [ss, fs].

    Parameters
    ----------
    offset
        (fs, ss) of the spot from the centre of the middle pixel, pixels.
    sigma
        Standard deviation before the pixels sum it up, pixels.
    """
    edges = np.arange(-reach, reach + 2) - 0.5
    along = [np.diff(ndtr((edges - shift) / sigma)) for shift in offset]
    return np.outer(along[1], along[0])


def strengths(photons: Array) -> tuple[Array, Array]:
    """Return the strengths of the mixture and their weights: quantiles of the drawn photons."""
    count = min(STRENGTHS, len(photons))
    values = np.quantile(photons, (np.arange(count) + 0.5) / count)
    return values, np.full(count, 1 / count)


def log_ratios(
    field: Array, background: float, shape: Array, mixture: tuple[Array, Array]
) -> Array:
    """Return the logarithm of the likelihood ratio at every site of a field [ss, fs]."""
    gain, offset = _terms(background, shape, mixture)
    return np.asarray(_log_ratios(field, gain, offset))


def _terms(background: float, shape: Array, mixture: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return for each strength what a photon adds [..., ss, fs], and what stands beside."""
    strength, weight = mixture
    share = strength[:, None, None] * shape[..., None, :, :]
    return np.log1p(share / background), np.log(weight) - share.sum((-2, -1))


@njit(cache=True)
def _log_ratios(field: Any, gain: Any, offset: Any) -> Any:
    """Return the logarithm of the sum over strengths; beyond the field there is no photon."""
    n_ss, n_fs = field.shape
    count, edge = gain.shape[0], gain.shape[1]
    reach = edge // 2
    ratio = np.empty(field.shape)
    term = np.empty(count)
    for ss in range(n_ss):
        for fs in range(n_fs):
            term[:] = offset
            for a in range(max(ss - reach, 0), min(ss + reach + 1, n_ss)):
                for b in range(max(fs - reach, 0), min(fs + reach + 1, n_fs)):
                    if field[a, b] > 0:
                        for k in range(count):
                            term[k] += field[a, b] * gain[k, a - ss + reach, b - fs + reach]
            most = term.max()
            ratio[ss, fs] = most + np.log(np.exp(term - most).sum())
    return ratio


def drawn_edge(zone: Zone) -> int:
    """Return the edge of the field that is drawn: 20 times the zone, if that is not too large."""
    return int(min(DRAWN, np.ceil(np.sqrt(20 * zone.pixels))))


def false_scores(
    zone: Zone, sigma: float, radius: float, mixture: tuple[Array, Array], rng: np.random.Generator
) -> Array:
    """Return the scores of the maxima of noise in a field of `drawn_edge` pixels squared."""
    edge = drawn_edge(zone)
    field = rng.poisson(zone.background, (edge, edge)).astype(np.float64)
    score = log_ratios(field, zone.background, profile((0.0, 0.0), sigma), mixture)
    # Without photons all sites are alike, and none is a maximum.
    top = (score == maximum_filter(score, int(2 * radius + 1))) & (score > score.min())
    return np.sort(score[top])[::-1]


def true_scores(
    zone: Zone, sigma: float, mixture: tuple[Array, Array], repeats: int, rng: np.random.Generator
) -> Array:
    """Return the scores of the zone's spots, drawn anew on its background."""
    photons = np.repeat(zone.photons, repeats)
    parts = [
        _true_scores(photons[at : at + AT_ONCE], zone.background, sigma, mixture, rng)
        for at in range(0, len(photons), AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _true_scores(
    photons: Array,
    background: float,
    sigma: float,
    mixture: tuple[Array, Array],
    rng: np.random.Generator,
) -> Array:
    """Return the best score of each spot: at its place, or in the nine pixels around it."""
    edge, count = 2 * REACH + 3, 2 * REACH + 1
    offset = rng.uniform(-0.5, 0.5, (len(photons), 2))
    wide = np.array([profile((fs, ss), sigma, REACH + 1) for fs, ss in offset])
    share = wide.reshape(len(photons), -1)
    drawn = rng.multinomial(np.rint(photons).astype(np.int64), share / share.sum(1, keepdims=True))
    field = rng.poisson(background, (len(photons), edge, edge)) + drawn.reshape(-1, edge, edge)
    centred, beside = _terms(background, profile((0.0, 0.0), sigma), mixture)
    scores = np.full(len(photons), -np.inf)
    for a in range(3):
        for b in range(3):
            part = field[:, a : a + count, b : b + count]
            term = np.tensordot(part, centred, ([1, 2], [1, 2])) + beside
            scores = np.maximum(scores, np.logaddexp.reduce(term, axis=1))
    inner = slice(1, 1 + count)
    exact, own = _terms(background, wide[:, inner, inner], mixture)
    term = np.einsum("nij,nkij->nk", field[:, inner, inner], exact) + own
    return np.asarray(np.maximum(scores, np.logaddexp.reduce(term, axis=1)))


def false_above(scores: Array, threshold: Array) -> Array:
    """Return how many of the scores lie at or above thresholds, continued beyond the last."""
    counted = len(scores) - np.searchsorted(scores[::-1], threshold, side="left")
    result = counted.astype(np.float64)
    few, many = (min(count, len(scores)) for count in TAIL)
    if many > few and scores[few - 1] > scores[many - 1]:
        slope = np.log(many / few) / (scores[few - 1] - scores[many - 1])
    else:
        # The number of false peaks above a ratio of likelihoods falls at least as its inverse.
        slope = 1.0
    if few:
        beyond = threshold > scores[few - 1]
        result[beyond] = few * np.exp(-slope * (threshold[beyond] - scores[few - 1]))
    return result


def best_f1(
    zones: list[Zone], frames: int, sigma: float, radius: float = 3.0, seed: int = 1
) -> Bound | None:
    """Return the best F1 over frames; None where they have no spot.

    Parameters
    ----------
    zones
        Of all pixels; their spots are those of `frames` frames together.
    sigma
        Of a spot, pixels (see `profile`).
    """
    everything = np.concatenate([zone.photons for zone in zones])
    if not len(everything):
        return None
    mixture = strengths(everything)
    repeats = max(1, 600 // len(everything))
    # What is drawn for a zone is weighed by how much of the truth it stands for.
    own, noise = [], []
    for number, zone in enumerate(zones):
        rng = np.random.default_rng([seed, number])
        # Half a spot: a zone that shows none may have one.
        density = np.log((len(zone.photons) + 0.5) / (frames * zone.pixels))
        own.append(true_scores(zone, sigma, mixture, repeats, rng) + density)
        found = false_scores(zone, sigma, radius, mixture, rng) + density
        noise.append((found, zone.pixels / drawn_edge(zone) ** 2))
    scores = np.sort(np.concatenate(own))
    threshold = np.unique(np.quantile(scores, np.linspace(0, 1, THRESHOLDS)))
    matched = (len(scores) - np.searchsorted(scores, threshold)) / (repeats * frames)
    false = sum(share * false_above(found, threshold) for found, share in noise)
    true = len(everything) / frames
    f1 = 2 * matched / (true + matched + false)
    best = int(np.argmax(f1))
    return Bound(
        float(f1[best]), float(matched[best] / (matched + false)[best]), float(matched[best] / true)
    )
