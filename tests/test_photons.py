"""Photons are exactly Poisson and depend on their identity alone."""

import numpy as np
import pytest
from scipy import stats

from spotmill.errors import SpotmillError
from spotmill.physics.photons import PhotonSampler, fit_counts, stream


def test_streams_are_repeatable_and_differ_by_every_part_of_their_key() -> None:
    def first(*key):
        return stream(*key).integers(2**62)

    assert first(1, "02", 7, "signal") == first(1, "02", 7, "signal")
    others = {
        first(1, "02", 7, "signal"),
        first(2, "02", 7, "signal"),
        first(1, "03", 7, "signal"),
        first(1, "02", 8, "signal"),
        first(1, "02", 7, "background"),
        first(12, "0", 7, "2signal"),
    }
    assert len(others) == 6


@pytest.mark.parametrize("mean", [0.001, 0.01, 0.1, 0.4, 1.0, 10.0, 100.0, 1000.0])
def test_pixels_follow_the_poisson_law(mean: float) -> None:
    sampler = PhotonSampler(np.full((100, 300), mean))
    counts = np.concatenate(
        [sampler.draw(stream(1, "chi", index, "background")).ravel() for index in range(10)]
    )
    edges = np.unique(stats.poisson.ppf(np.linspace(0.0, 1.0, 21)[1:-1], mean))
    bins = np.digitize(counts, edges, right=True)
    observed = np.bincount(bins, minlength=len(edges) + 1)
    cumulative = np.concatenate([[0.0], stats.poisson.cdf(edges, mean), [1.0]])
    expected = np.diff(cumulative) * counts.size
    keep = expected > 0
    assert stats.chisquare(observed[keep], expected[keep]).pvalue > 1e-4


def test_pixels_are_independent_and_each_has_its_own_mean() -> None:
    expected = np.random.default_rng(0).exponential(0.05, (40, 50))
    expected[3, 4] = 5.0
    expected[5] = 0.0
    sampler = PhotonSampler(expected)
    n = 4000
    frames = np.array([sampler.draw(stream(1, "means", i, "b")).ravel() for i in range(n)])
    assert not frames[:, expected.ravel() == 0].any()
    live = expected.ravel() > 0
    pull = (frames.mean(0)[live] - expected.ravel()[live]) / np.sqrt(expected.ravel()[live] / n)
    # 1 950 pulls: their mean square is 1 within 5 standard deviations of chi-square.
    assert abs((pull**2).mean() - 1) < 5 * np.sqrt(2 / live.sum())
    totals = frames.sum(1)
    assert abs(totals.var() / totals.mean() - 1) < 5 * np.sqrt(2 / n)
    residual = frames[:, live] - expected.ravel()[live]
    scale = np.sqrt(expected.ravel()[live])
    scaled = residual / scale
    correlation = (scaled[:, :-1] * scaled[:, 1:]).mean()
    assert abs(correlation) < 5 / np.sqrt(n * (live.sum() - 1))


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_impossible_expectations_are_refused(bad: float) -> None:
    image = np.ones((4, 4))
    image[1, 2] = bad
    with pytest.raises(SpotmillError, match="negative or non-finite"):
        PhotonSampler(image)


def test_counts_are_clipped_at_saturation_and_never_wrap() -> None:
    counts = np.array([[3, 70_000]])
    clipped, n = fit_counts(counts, np.uint16, 65_535)
    assert clipped.tolist() == [[3, 65_535]] and n == 1
    assert fit_counts(counts, np.uint32, None)[0].tolist() == [[3, 70_000]]
    with pytest.raises(SpotmillError, match="max_adu"):
        fit_counts(counts, np.uint16, None)
