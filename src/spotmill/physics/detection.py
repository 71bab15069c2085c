"""What counting statistics allow: the best tests for a crystal's photons over a background.

Both bounds are log-likelihood ratios, so by the lemma of Neyman and Pearson (Phil. Trans. R.
Soc. A 231, 289, 1933) no other statistic of the same knowledge tells frames apart better.

The **oracle** knows the frame's own spots: each pixel's expected signal s over background b.
The **blind** test knows only how often which signal occurs among the pixels of a zone (pixels
of like background): it treats the pixels of a zone alike, and the mixture of Poisson laws

    P(n) = sum_k w_k Poisson(n; b + s_k)

replaces the signal. What lies between the two is the worth of knowing where spots can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, poisson

# Bins of the logarithm of signals: e-folds of 1/8, finer than any photon can tell.
STEPS_PER_FOLD = 8


def oracle_score(
    photons: NDArray[np.integer], signal: NDArray[np.floating], background: NDArray[np.floating]
) -> float:
    """Return the log-likelihood ratio of known spots: sum of n log(1 + s/b) - s.

    Parameters
    ----------
    photons, signal, background
        [pixel] counted photons, expected signal and expected background; pixels without
        signal add nothing and may be left out.

    Raises
    ------
    ValueError
        When a background is not positive.
    """
    if not (background > 0).all():
        raise ValueError("background must be positive")
    gain = np.log1p(signal.astype(np.float64) / background)
    return float(photons @ gain - signal.sum(dtype=np.float64))


def zones_of(background: NDArray[np.floating], zones: int) -> NDArray[np.int64]:
    """Return the zone of each pixel [pixel]: equal numbers of pixels by rising background."""
    edges = np.quantile(background, np.linspace(0, 1, zones + 1)[1:-1])
    return np.searchsorted(edges, background, side="right").astype(np.int64)


@dataclass(frozen=True)
class Signals:
    """How often which expected signal occurs in a pixel, by zone.

    Attributes
    ----------
    background : [zone] mean expected background of a pixel
    value : [k] expected signal of a lit pixel, photons at full flux
    weight : [zone, k] share of the zone's pixels with that signal; the rest has none
    """

    background: NDArray[np.float64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]

    def weights(self, flux: float, most: int) -> NDArray[np.float64]:
        """Return the blind test's log-likelihood ratio of a pixel, [zone, photons].

        Parameters
        ----------
        flux
            Share of the full flux that falls on the crystal; the background keeps its own.
        most
            Largest number of photons; the last column stands for it and for all beyond.
        """
        photons = np.arange(most + 1)
        none = poisson.pmf(photons, self.background[:, None])
        none[:, -1] = poisson.sf(most - 1, self.background)
        mean = self.background[:, None] + flux * self.value
        lit = poisson.pmf(photons[None, :, None], mean[:, None, :])
        lit[:, -1] = poisson.sf(most - 1, mean)
        # As the excess over the pixel without signal, which keeps digits where that is small.
        excess = ((lit - none[:, :, None]) * self.weight[:, None, :]).sum(2)
        return np.asarray(np.log1p(excess / none))


def gather_signals(
    background: NDArray[np.floating],
    zone: NDArray[np.int64],
    lit: list[tuple[NDArray[np.int64], NDArray[np.floating]]],
) -> Signals:
    """Return the signals of a sample of frames.

    Parameters
    ----------
    background, zone
        [pixel] of the live pixels; zones from `zones_of`.
    lit
        For each frame the numbers of the pixels with signal, and their expected photons.

    Raises
    ------
    ValueError
        When no frame has a signal.
    """
    zones = int(zone.max()) + 1
    pixels = np.concatenate([number for number, _ in lit])
    signal = np.concatenate([value for _, value in lit]).astype(np.float64)
    pixels, signal = pixels[signal > 0], signal[signal > 0]
    if not len(signal):
        raise ValueError("no frame has a signal")
    step = np.floor(np.log(signal) * STEPS_PER_FOLD).astype(np.int64)
    first = int(step.min())
    shape = (zones, int(step.max()) - first + 1)
    cell = np.ravel_multi_index((zone[pixels], step - first), shape)
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.bincount(step - first, weights=signal, minlength=shape[1])
    of_step = count.sum(0)
    seen = of_step > 0
    size = np.bincount(zone, minlength=zones)
    return Signals(
        background=np.bincount(zone, weights=background, minlength=zones) / size,
        value=total[seen] / of_step[seen],
        weight=count[:, seen] / (size[:, None] * len(lit)),
    )


def count_photons(
    photons: NDArray[np.integer], zone: NDArray[np.int64], zones: int, most: int
) -> NDArray[np.int64]:
    """Return how many pixels of each zone hold how many photons, [zone, photons].

    The last column stands for `most` photons and all beyond. With `Signals.weights` this is
    all that the blind test needs of a frame: its score is the sum of their product.
    """
    capped = np.minimum(photons, most).astype(np.int64)
    counted = np.bincount(zone * (most + 1) + capped, minlength=zones * (most + 1))
    return counted.reshape(zones, most + 1)


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Return the share of pairs in which the positive scores higher; ties count half.

    Mann & Whitney, Ann. Math. Stat. 18, 50 (1947).
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    ties = np.searchsorted(ordered, positive, side="right") - below
    return float((below + 0.5 * ties).mean() / len(negative))


def auroc_interval(
    positive: NDArray[np.floating], negative: NDArray[np.floating], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the AUROC of a level of confidence, on the logit scale.

    Variance after DeLong, DeLong & Clarke-Pearson, Biometrics 44, 837 (1988); on the logit
    scale the interval stays within 0 and 1 (Pepe, 2003, section 5.2.5). Where no pair is the
    wrong way round, that variance is 0, and the lower end is the rule of three of the smaller
    class: 3/n (for 95 %) is the largest share of strays that n frames without one still allow.
    """
    return stratified_interval([(positive, negative)], level)


Stratum = tuple[NDArray[np.floating], NDArray[np.floating]]


def stratified_auroc(strata: Sequence[Stratum]) -> float:
    """Return the mean AUROC of strata (positives, negatives), weighted by their positives."""
    weights = np.array([len(positive) for positive, _ in strata], dtype=np.float64)
    values = [auroc(*stratum) for stratum in strata]
    return float(np.average(values, weights=weights))


def stratified_interval(strata: Sequence[Stratum], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of `stratified_auroc`, as `auroc_interval` does; strata add up."""
    value = stratified_auroc(strata)
    positives = sum(len(positive) for positive, _ in strata)
    if value in (0.0, 1.0):
        negatives = sum(len(negative) for _, negative in strata)
        most = 3.0 if level == 0.95 else -np.log(1.0 - level)
        reach = float(min(1.0, most / min(positives, negatives)))
        return (1.0 - reach, 1.0) if value else (0.0, reach)
    variance = 0.0
    for positive, negative in strata:
        of_positive = _placement(positive, negative)
        of_negative = 1.0 - _placement(negative, positive)
        own = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
        variance += (len(positive) / positives) ** 2 * own
    centre = np.log(value / (1.0 - value))
    reach = norm.ppf(0.5 + level / 2) * np.sqrt(variance) / (value * (1.0 - value))
    low, high = 1.0 / (1.0 + np.exp(-(centre + np.array([-reach, reach]))))
    return float(low), float(high)


def _placement(of: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return for each score the share of the others below it, ties half."""
    ordered = np.sort(among)
    left = np.searchsorted(ordered, of, side="left")
    right = np.searchsorted(ordered, of, side="right")
    return np.asarray((left + right) / (2.0 * len(among)))
