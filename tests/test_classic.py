"""Random forest and support vectors as baselines."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from spotmill.learning import classic
from spotmill.learning.classic import Classic, bounded, log_odds, temperature

CLASSES = ("6 keV", "7 keV", "8 keV")


def frames(n: int = 300, classes: tuple[str, ...] = CLASSES, seed: int = 1) -> SimpleNamespace:
    """Return frames with sides and truth, as a split has them."""
    rng = np.random.default_rng(seed)
    side = rng.choice(["train", "validation", "test"], n, p=[0.6, 0.15, 0.25])
    return SimpleNamespace(
        truth=rng.integers(0, len(classes), n),
        classes=classes,
        dataset=np.full(n, "A"),
        index=np.arange(n),
        rows=lambda name: np.flatnonzero(side == name),
    )


def told(given: SimpleNamespace, strength: float, seed: int = 2) -> np.ndarray:
    """Return features of which two tell the class, on a circle, and the others nothing."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(len(given.truth), Classic.length))
    angle = 2 * np.pi * given.truth / len(given.classes)
    found[:, 3] += strength * np.cos(angle)
    found[:, 7] += strength * np.sin(angle)
    return found


def shares(given: SimpleNamespace, features: np.ndarray) -> dict[str, float]:
    outcomes = Classic().judge(features, given)
    assert [outcome.what for outcome in outcomes] == ["baseline", "baseline"]
    truth = given.truth[given.rows("test")]
    return {outcome.name: float((outcome.said == truth).mean()) for outcome in outcomes}


def test_both_tell_what_features_tell_and_no_more() -> None:
    given = frames()
    assert min(shares(given, told(given, 6.0)).values()) > 0.9
    n = len(given.rows("test"))
    for share in shares(given, told(given, 0.0)).values():
        assert abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / n)


def test_test_frames_have_no_say() -> None:
    """Other truths of the test frames change no answer."""
    given = frames()
    features = told(given, 2.0)
    before = [outcome.said for outcome in Classic().judge(features, given)]
    given.truth[given.rows("test")] = 0
    after = [outcome.said for outcome in Classic().judge(features, given)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_hits_have_scores_and_a_threshold_and_every_run_the_same() -> None:
    given = frames(classes=("no hit", "hit"))
    features = told(given, 1.5)
    first, again = (Classic().judge(features, given) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.score is not None
        assert one.threshold is not None
        assert np.array_equal(one.said, one.score >= one.threshold)
        assert np.array_equal(one.score, other.score)
        assert ((one.score >= 0) & (one.score <= 1)).all()


def test_a_class_that_training_lacks_is_never_said() -> None:
    given = frames()
    given.truth[given.rows("train")] %= 2
    outcomes = Classic().judge(told(given, 3.0), given)
    assert all(2 not in outcome.said for outcome in outcomes)


def test_many_training_frames_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classic, "MOST", 60)
    given = frames(1000)
    rows = bounded(given)
    assert set(rows) <= set(given.rows("train"))
    assert np.bincount(given.truth[rows]).tolist() == [20, 20, 20]
    assert (np.diff(rows) > 0).all()


def test_temperature_undoes_odds_that_are_too_sure() -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(size=(20000, 3))
    chance = softmax(odds, axis=1)
    truth = (chance.cumsum(1) < rng.random((20000, 1))).sum(1)
    assert temperature(4 * odds, truth) == pytest.approx(1 / 4, rel=0.1)


def test_odds_of_two_classes_are_those_of_the_margin() -> None:
    method = SimpleNamespace(
        decision_function=lambda x: x[:, 0], classes_=np.array([0, 1]), predict_proba=None
    )
    del method.predict_proba
    probability = softmax(log_odds(method, np.array([[0.0], [2.0]]), 2), axis=1)
    assert probability[:, 1] == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
