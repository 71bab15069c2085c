"""Matching of peaks, the classical finder, candidates, and the bound."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotmill.learning.peak_candidates import (
    background_map,
    block_background,
    find_candidates,
    interpolated,
)
from spotmill.learning.peak_fit import fitted_spots
from spotmill.learning.peak_samples import Piece, labelled, pieces
from spotmill.physics.peak_bound import Zone, best_f1, false_above, log_ratios, profile
from spotmill.physics.peak_finding import Criteria, find_peaks, ring_statistics
from spotmill.physics.peak_scoring import (
    Counts,
    Spots,
    assign,
    best_threshold,
    curve,
    f1_of,
    gains,
    merge,
    summarise,
    turned,
)

SHAPE = (200, 180)
CENTRE = (90.0, 100.0)


def radius() -> np.ndarray:
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    return np.hypot(fs - CENTRE[0], ss - CENTRE[1])


def frame(rng: np.random.Generator, level: float, photons: float, n: int = 12):
    """Return image, mask and true spots: Gaussians of 0.5 pixels on a ring-shaped background."""
    mask = np.ones(SHAPE, dtype=bool)
    mask[98:102] = False
    image = rng.poisson(level * (1 + np.exp(-(((radius() - 50) / 20) ** 2))))
    cells = [(a, b) for a in range(10, 190, 12) for b in range(10, 170, 12) if abs(a - 100) > 8]
    place = []
    for cell in rng.permutation(len(cells))[:n]:
        ss, fs = np.array(cells[cell]) + rng.uniform(0, 1, 2)
        image[int(ss) - 3 : int(ss) + 4, int(fs) - 3 : int(fs) + 4] += rng.poisson(
            photons * profile((fs % 1 - 0.5, ss % 1 - 0.5), 0.5, 3)
        )
        place.append((fs, ss))
    return image * mask, mask, np.array(place)


def most_pairs(found: np.ndarray, true: np.ndarray, radius: float) -> int:
    """Return the largest number of pairs, by trying all."""
    best = 0
    small, large = (found, true) if len(found) <= len(true) else (true, found)
    for order in itertools.permutations(range(len(large)), len(small)):
        distance = np.linalg.norm(small - large[list(order)], axis=1)
        best = max(best, int((distance <= radius).sum()))
    return best


positions = st.lists(
    st.tuples(st.floats(0, 8), st.floats(0, 8)), min_size=0, max_size=5, unique=True
).map(lambda rows: np.array(rows).reshape(-1, 2))


@settings(max_examples=150, deadline=None)
@given(positions, positions)
def test_matching_is_the_largest_possible(found: np.ndarray, true: np.ndarray) -> None:
    expected = most_pairs(found, true, 2.0)
    partner, distance = assign(found, true, 2.0)
    assert (partner >= 0).sum() == expected
    used = partner[partner >= 0]
    assert len(set(used.tolist())) == len(used)
    for row in np.flatnonzero(partner >= 0):
        assert np.linalg.norm(found[row] - true[partner[row]]) == pytest.approx(distance[row])
        assert distance[row] <= 2.0


@settings(max_examples=100, deadline=None)
@given(positions, positions, st.randoms(use_true_random=False))
def test_gains_are_the_largest_at_every_threshold(found, true, random) -> None:
    score = np.array([random.choice([0.1, 0.2, 0.3, 0.4]) for _ in range(len(found))])
    gained = gains(found, score, true, 2.0)
    for threshold in (0.1, 0.2, 0.3, 0.4):
        above = score >= threshold
        assert gained[above].sum() == most_pairs(found[above], true, 2.0)


def test_assignment_prefers_many_pairs_then_short_ones() -> None:
    # Nearest first would leave the second peak alone.
    partner, _ = assign(np.array([[0.0, 0], [3, 0]]), np.array([[1.0, 0], [-2, 0]]), 2.5)
    assert partner.tolist() == [1, 0]
    partner, distance = assign(np.array([[0.0, 0], [1, 0]]), np.array([[1.0, 0], [0, 0]]), 3.0)
    assert partner.tolist() == [1, 0]
    assert distance.tolist() == [0.0, 0.0]


def test_overlapping_spots_become_one() -> None:
    spots = Spots(
        np.array([[10.0, 10], [11.5, 10], [13.0, 10], [30, 30], [50, 50]]),
        np.array([3.0, 3, 6, 4, 0]),
    )
    merged = merge(spots, 2.0)
    assert sorted(merged.photons.tolist()) == [4, 12]
    row = int(np.argmax(merged.photons))
    assert merged.place[row] == pytest.approx([(30 + 34.5 + 78) / 12, 10])
    assert merged.at_least(5).photons.tolist() == [12]


def test_counts_and_intervals() -> None:
    counts = Counts(np.array([4, 0, 2]), np.array([5, 0, 2]), np.array([4, 0, 4]))
    said = summarise(counts)
    assert said["precision"] == pytest.approx(6 / 7)
    assert said["recall"] == pytest.approx(6 / 8)
    assert said["f1"] == pytest.approx(f1_of(6, 7, 8)) == pytest.approx(12 / 15)
    low, high = said["f1_interval"]
    assert low == pytest.approx(4 / 6)
    assert high == pytest.approx(8 / 9)
    nothing = summarise(Counts(*np.zeros((3, 4), dtype=np.int64)))
    assert nothing["f1"] is None
    assert nothing["recall_interval"] is None


def test_a_perfect_score_is_not_certain() -> None:
    ten = np.full(4, 10)
    said = summarise(Counts(ten, ten, ten))
    # All of n: Wilson's lower end is n / (n + z^2).
    for name in ("precision", "recall", "f1"):
        assert said[name] == 1
        assert said[f"{name}_interval"] == pytest.approx([40 / (40 + 1.959964**2), 1.0])
    none = summarise(Counts(np.zeros(4, dtype=np.int64), ten, ten))
    assert none["f1_interval"] == pytest.approx([0.0, 1.959964**2 / (40 + 1.959964**2)])


def test_bootstrap_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for repeat in range(100):
        true = rng.poisson(20, 40)
        matched = rng.binomial(true, 0.8)
        said = summarise(Counts(matched, matched, true), repeat)
        covered += said["recall_interval"][0] <= 0.8 <= said["recall_interval"][1]
    assert covered >= 87


def test_curve_and_best_threshold() -> None:
    score = np.array([0.9, 0.8, 0.8, 0.3])
    drawn = curve(score, np.array([True, True, False, True]), 4)
    assert drawn.threshold.tolist() == [0.9, 0.8, 0.3]
    assert drawn.precision == pytest.approx([1, 2 / 3, 3 / 4])
    assert drawn.recall == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    assert best_threshold(drawn, 0.0) == 0.3
    assert best_threshold(curve(np.empty(0), np.empty(0, bool), 3), 7.0) == 7.0


def test_turning_keeps_the_radius() -> None:
    place = np.random.default_rng(1).uniform(0, 100, (20, 2))
    away = turned(place, (40.0, 60.0), 1.0) - [40, 60]
    assert np.hypot(*away.T) == pytest.approx(np.hypot(*(place - [40, 60]).T))
    quarter = turned(np.array([[41.0, 60.0]]), (40.0, 60.0), np.pi / 2)
    assert quarter[0] == pytest.approx([40, 61])


@pytest.mark.parametrize("level", [0.02, 1.0, 20.0])
def test_rings_of_pure_background(level: float) -> None:
    rng = np.random.default_rng(5)
    image = rng.poisson(level, (400, 400))
    ss, fs = np.mgrid[:400, :400]
    ring = np.hypot(ss - 200, fs - 200).astype(np.int32)
    mean, sigma = ring_statistics(image, np.ones(image.shape, bool), ring)
    well = np.bincount(ring.ravel()) > 500
    assert np.average(mean[well]) == pytest.approx(level, rel=0.05)
    assert np.average(sigma[well]) == pytest.approx(level**0.5, rel=0.05)


@pytest.mark.parametrize(("level", "photons"), [(0.02, 30), (1.0, 60), (20.0, 250)])
def test_strong_spots_are_found_where_they_are(level: float, photons: float) -> None:
    rng = np.random.default_rng(7)
    image, mask, true = frame(rng, level, photons)
    peaks = find_peaks(image, mask, radius(), Criteria())
    strong = peaks.place[peaks.score > {0.02: 12, 1.0: 8, 20.0: 6}[level]]
    partner, distance = assign(strong, true, 2.0)
    assert (partner >= 0).sum() == len(true)
    assert len(strong) == len(true)
    assert np.median(distance) < 0.3


def test_dead_pixels_hold_no_peak() -> None:
    image, mask, true = frame(np.random.default_rng(8), 0.02, 40)
    at = np.floor(true[0]).astype(int)
    mask[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5] = False
    for places in (
        find_peaks(image, mask, radius(), Criteria()).place,
        np.stack(find_candidates(image, mask, 500, 9)[1::-1], axis=1),
    ):
        assert not len(places) or np.linalg.norm(places - true[0], axis=1).min() > 3


@pytest.mark.parametrize("level", [0.02, 1.0, 20.0])
def test_candidates_on_any_background(level: float) -> None:
    rng = np.random.default_rng(9)
    image, mask, true = frame(rng, level, 40 + 40 * level**0.5)
    assert background_map(image, mask).mean() == pytest.approx(level * 1.2, rel=0.25)
    found = find_candidates(image, mask, 400, 9)
    place = np.stack([found.fs, found.ss], axis=1) + 0.5
    assert (assign(place, true, 2.0)[0] >= 0).sum() == len(true)
    assert (np.diff(found.deviance.max(1)) <= 0).all()
    # The patch is the frame around the candidate.
    a, b = found.ss[0], found.fs[0]
    if found.live[0].all():
        assert (found.patch[0] == image[a - 4 : a + 5, b - 4 : b + 5]).all()
    few = find_candidates(image, mask, 3, 9)
    assert few.ss.tolist() == found.ss[:3].tolist()


def test_profile_is_the_gaussian_summed_over_pixels() -> None:
    fine = (np.arange(-2500, 2500) + 0.5) / 1000
    weight = np.exp(-0.5 * ((fine[:, None] - 0.2) ** 2 + (fine[None] + 0.3) ** 2) / 0.4**2)
    summed = weight.reshape(5, 1000, 5, 1000).sum((1, 3)) / 1e6 / (2 * np.pi * 0.4**2)
    assert profile((-0.3, 0.2), 0.4) == pytest.approx(summed, abs=1e-6)


def test_likelihood_ratio_is_that_of_poisson() -> None:
    from scipy.stats import poisson

    rng = np.random.default_rng(2)
    field = rng.poisson(0.7, (5, 5)).astype(float)
    shape = profile((0.0, 0.0), 0.4)
    strengths = np.array([4.0, 30.0]), np.array([0.25, 0.75])
    plain = poisson.pmf(field, 0.7).prod()
    spots = [poisson.pmf(field, 0.7 + s * shape).prod() for s in strengths[0]]
    expected = np.log(np.dot(spots, strengths[1]) / plain)
    assert log_ratios(field, 0.7, shape, strengths)[2, 2] == pytest.approx(expected)


def test_bound_falls_with_background_and_tells_the_limits() -> None:
    photons = np.full(200, 20.0)
    found = [best_f1([Zone(b, 4e6, photons)], 10, 0.4) for b in (0.01, 1.0, 20.0)]
    assert [bound is not None for bound in found] == [True] * 3
    f1 = [bound.f1 for bound in found if bound is not None]
    assert f1[0] > 0.999
    assert f1[0] > f1[1] > f1[2]
    assert f1[2] < 0.3
    assert best_f1([Zone(1.0, 4e6, np.empty(0))], 10, 0.4) is None


def test_bound_is_not_beaten_by_a_threshold_on_the_sum() -> None:
    """One site of one pixel: the bound is the best F1 of a Poisson count."""
    rng = np.random.default_rng(4)
    b, n = 1.0, 300
    photons = np.full(n, 14.0)
    bound = best_f1([Zone(b, 200.0**2, photons)], 30, 0.4)
    assert bound is not None
    scores, gained = [], []
    for _ in range(30):
        image = rng.poisson(b, (200, 200))
        true = []
        for cell in rng.permutation(16 * 16)[:10]:
            ss, fs = 12 * (cell // 16) + 6 + rng.uniform(), 12 * (cell % 16) + 6 + rng.uniform()
            share = profile((fs % 1 - 0.5, ss % 1 - 0.5), 0.4, 2)
            drawn = rng.multinomial(14, share.ravel() / share.sum()).reshape(5, 5)
            image[int(ss) - 2 : int(ss) + 3, int(fs) - 2 : int(fs) + 3] += drawn
            true.append((fs, ss))
        found = find_candidates(image, np.ones(image.shape, bool), 400, 9)
        place = np.stack([found.fs, found.ss], axis=1) + 0.5
        scores.append(found.deviance.max(1))
        gained.append(gains(place, scores[-1], np.array(true)))
    reached = curve(np.concatenate(scores), np.concatenate(gained), n).f1.max()
    assert reached < bound.f1
    assert reached > 0.7 * bound.f1


def test_tail_of_false_peaks_goes_on() -> None:
    rng = np.random.default_rng(6)
    scores = np.sort(rng.exponential(0.5, 4000))[::-1]
    assert false_above(scores, np.array([0.5]))[0] == pytest.approx(4000 * np.exp(-1), rel=0.1)
    assert false_above(scores, np.array([6.0]))[0] == pytest.approx(4000 * np.exp(-12), rel=0.8)
    assert false_above(np.empty(0), np.array([1.0])).tolist() == [0.0]


def test_background_is_the_clipped_mean_of_blocks() -> None:
    rng = np.random.default_rng(11)
    image, mask = rng.poisson(0.3, (150, 260)), rng.uniform(size=(150, 260)) > 0.1
    image[rng.integers(0, 150, 40), rng.integers(0, 260, 40)] = rng.integers(5, 60_000, 40)
    found = block_background(image, mask)
    assert found.shape == (2, 3)
    for i, j in np.ndindex(found.shape):
        part = np.s_[128 * i : 128 * (i + 1), 128 * j : 128 * (j + 1)]
        values = image[part][mask[part]].astype(float)
        limit = np.inf
        for _ in range(3):
            mean = values[values <= limit].mean()
            kept, limit = values[values <= limit], mean + max(4 * mean**0.5, 1.0)
        assert found[i, j] == pytest.approx((kept.sum() + 0.5) / len(kept), rel=1e-12)
    whole = background_map(image, mask)
    part = interpolated(found, (40, 30), (100, 90))
    assert part == pytest.approx(whole[100:140, 90:120])
    # Photons that were scaled to floats are counts all the same.
    assert (block_background(image + 1e-3, mask) == found).all()


def test_narrow_spots_are_not_diluted() -> None:
    """In one pixel they stand out most, spread over 3 x 3 pixels in those."""
    image = np.random.default_rng(12).poisson(5.0, (256, 256))
    image[60, 60] += 22
    image[149:152, 149:152] += 8
    found = find_candidates(image, np.ones(image.shape, bool), 2, 9)
    assert sorted(zip(found.ss.tolist(), found.fs.tolist(), strict=True)) == [(60, 60), (150, 150)]
    narrow = found.ss.tolist().index(60)
    one, _, nine = found.deviance[narrow]
    n, b = float(image[60, 60]), found.background[narrow]
    assert one == pytest.approx((2 * (n * np.log(n / b) - n + b)) ** 0.5)
    assert one > nine + 2
    assert found.deviance[1 - narrow].argmax() == 2


@pytest.mark.parametrize(("sigma", "level"), [(0.4, 0.05), (0.4, 4.0), (1.0, 1.0)])
def test_fitted_spot_is_that_of_the_largest_likelihood(sigma: float, level: float) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.stats import poisson

    rng = np.random.default_rng(13)
    image = rng.poisson(level, (256, 256))
    image[98:103, 98:103] += rng.poisson(120 * profile((0.2, -0.2), sigma))
    found = find_candidates(image, np.ones(image.shape, bool), 1, 9)
    assert (found.ss[0], found.fs[0]) == (100, 100)
    ratio, strength = fitted_spots(found, sigma)
    field, b = found.patch[0, 2:7, 2:7], found.background[0]
    plain = poisson.logpmf(field, b).sum()
    shapes = [
        profile((fs, ss), sigma)
        for fs in (-0.4, -0.2, 0, 0.2, 0.4)
        for ss in (-0.4, -0.2, 0, 0.2, 0.4)
    ]
    fits = [
        minimize_scalar(
            lambda s, shape=shape: -poisson.logpmf(field, b + s * shape).sum(), bounds=(0, 400)
        )
        for shape in shapes
    ]
    best = max(-fit.fun - plain for fit in fits)
    # The centre is found by least squares, which is not quite the likeliest.
    assert 0.97 * best <= ratio[0] <= best + 1e-6
    assert strength[0] == pytest.approx(120, rel=0.35)


def test_weights_make_up_the_whole_frame() -> None:
    """What is kept for training stands for all candidates, and every spot is kept."""
    rng = np.random.default_rng(14)
    image, mask, true = frame(rng, 1.0, 40)
    spots = Spots(true, np.full(len(true), 40.0))
    everything = find_candidates(image, mask, 10_000, 9)
    sums = []
    for _ in range(60):
        kept = labelled(Piece(image, mask, spots, 2.0), 10_000, 9, rng)
        sums.append(kept.weight.sum())
        assert kept.truth.sum() == len(true)
        assert len(kept.truth) < 0.7 * len(everything.ss)
    assert np.mean(sums) == pytest.approx(2 * len(everything.ss), rel=0.1)


def test_pieces_share_the_frame_and_have_their_own_background() -> None:
    rng = np.random.default_rng(15)
    image, mask, true = np.zeros((256, 384), int), np.ones((256, 384), bool), [[40.0, 30.0]]
    spots = Spots(np.array(true), np.array([9.0]))
    image[30, 40] = 9
    found = list(pieces(image, mask, spots, 64, 8, (1.0, 20.0), rng))
    assert sum(piece.weight for piece in found) == 24
    holds = [piece for piece in found if len(piece.true.photons)]
    assert len(holds) == 1
    fs, ss = holds[0].true.place[0].astype(int)
    assert holds[0].image[ss, fs] >= 9
    means = [float(piece.image.mean()) for piece in found]
    assert max(means) / min(means) > 2
