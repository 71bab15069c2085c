"""The bounds on telling frames with a crystal from frames without."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from spotmill.physics.detection import (
    Signals,
    auroc,
    auroc_interval,
    count_photons,
    gather_signals,
    oracle_score,
    zones_of,
)

RNG = np.random.default_rng(5)


def test_oracle_is_the_ratio_of_poisson_laws() -> None:
    background = RNG.uniform(0.01, 2.0, 300)
    signal = RNG.exponential(1.0, 300)
    photons = RNG.poisson(background + signal)
    direct = poisson.logpmf(photons, background + signal) - poisson.logpmf(photons, background)
    assert oracle_score(photons, signal, background) == pytest.approx(direct.sum(), rel=1e-12)


def test_oracle_needs_a_background() -> None:
    with pytest.raises(ValueError, match="positive"):
        oracle_score(np.ones(2, dtype=int), np.ones(2), np.array([1.0, 0.0]))


def test_oracle_of_weak_signals_reaches_the_gaussian_auroc() -> None:
    # Many pixels, s << b: the ratio is normal with d'^2 = sum of s^2 / b.
    background, pixels = 4.0, 20_000
    signal = np.full(pixels, 0.02)
    separation = np.sqrt((signal**2 / background).sum())
    means = (np.full(pixels, background) + signal, np.full(pixels, background))
    scores = [
        np.array([oracle_score(RNG.poisson(mean), signal, means[1]) for _ in range(600)])
        for mean in means
    ]
    expected = norm.cdf(separation / np.sqrt(2))
    low, high = auroc_interval(*scores)
    assert low - 0.01 < expected < high + 0.01
    assert 0.7 < expected < 0.95


def blind_sample() -> tuple[np.ndarray, np.ndarray, list]:
    background = np.where(np.arange(5000) < 2500, 0.02, 0.3)
    zone = zones_of(background, 2)
    lit = [(RNG.choice(5000, 25, replace=False), RNG.gamma(2.0, 0.5, 25)) for _ in range(200)]
    return background, zone, lit


def test_blind_weights_are_a_ratio_of_two_laws() -> None:
    # Under the background alone the mean of exp(ratio) is 1, whatever the flux.
    background, zone, lit = blind_sample()
    signals = gather_signals(background, zone, lit)
    for flux in (1.0, 0.1, 1e-3):
        weights = signals.weights(flux, most=9)
        photons = np.arange(10)
        law = poisson.pmf(photons, signals.background[:, None])
        law[:, -1] = poisson.sf(8, signals.background)
        np.testing.assert_allclose((law * np.exp(weights)).sum(1), 1.0, rtol=1e-9)
    assert np.allclose(signals.weights(0.0, most=9), 0.0)


def test_signals_keep_their_photons_and_their_share_of_pixels() -> None:
    background, zone, lit = blind_sample()
    signals = gather_signals(background, zone, lit)
    photons = sum(value.sum() for _, value in lit) / len(lit)
    found = ((signals.weight * np.bincount(zone)[:, None]).sum(0) * signals.value).sum()
    assert found == pytest.approx(photons, rel=1e-9)
    assert (signals.weight.sum(1) * np.bincount(zone)).sum() == pytest.approx(25)


def test_blind_is_beaten_by_the_oracle_and_beats_the_sum_of_photons() -> None:
    background, zone, lit = blind_sample()
    signals = gather_signals(background, zone, lit)
    weights = signals.weights(1.0, most=9)
    scores: dict[str, list[list[float]]] = {name: [[], []] for name in ("oracle", "blind", "sum")}
    for pixel, value in lit:
        for side in (0, 1):
            photons = RNG.poisson(background)
            if side == 0:
                photons[pixel] += RNG.poisson(0.4 * value)
            counted = count_photons(photons, zone, 2, 9)
            assert counted.sum() == len(photons)
            scores["blind"][side].append(float((counted * weights).sum()))
            scores["sum"][side].append(float(photons.sum()))
            scores["oracle"][side].append(
                oracle_score(photons[pixel], 0.4 * value, background[pixel])
            )
    area = {name: auroc(*map(np.asarray, both)) for name, both in scores.items()}
    assert area["oracle"] > area["blind"] + 0.02 > area["sum"] + 0.04


def test_auroc_counts_pairs() -> None:
    positive, negative = RNG.integers(0, 9, 40), RNG.integers(0, 7, 50)
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert auroc(positive, negative) == pytest.approx(pairs.mean())


def test_auroc_interval_covers_the_truth_as_often_as_it_says() -> None:
    truth = norm.cdf(1.0 / np.sqrt(2))
    covered = 0
    for _ in range(400):
        low, high = auroc_interval(RNG.normal(1, 1, 40), RNG.normal(0, 1, 60))
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.985


def test_auroc_interval_at_its_ends() -> None:
    assert auroc_interval(np.ones(30), np.zeros(60)) == (0.9, 1.0)
    assert auroc_interval(np.zeros(60), np.ones(30)) == (0.0, 0.1)


def test_pixels_beyond_the_largest_count_share_a_column() -> None:
    counted = count_photons(np.array([0, 3, 11, 12]), np.array([0, 0, 1, 1]), 2, 10)
    assert counted[1, 10] == 2
    assert counted[0, 3] == 1


def test_one_zone_of_equal_pixels() -> None:
    signals = Signals(np.array([0.1]), np.array([2.0]), np.array([[0.01]]))
    law = 0.99 * poisson.pmf(3, 0.1) + 0.01 * poisson.pmf(3, 2.1)
    assert signals.weights(1.0, 9)[0, 3] == pytest.approx(np.log(law / poisson.pmf(3, 0.1)))
