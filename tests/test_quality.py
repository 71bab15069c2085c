"""Calibration, curves, false alarms, spots and the control of the signal, each beside its like."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from learning_data import DATASETS, make, write_task
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scipy.stats import bernoulli, mannwhitneyu, norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_average_precision, binary_roc

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.learning.calibration import (
    Calibration,
    calibrate,
    choose_alarm,
    fit_map,
    logit,
    platt,
    stored_calibration,
)
from spotmill.learning.curves import TOLERANCE, curves
from spotmill.learning.frames import Frames
from spotmill.learning.metrics import per_spots, recalled, wilson
from spotmill.learning.reliability import before_and_after, reliability
from spotmill.learning.signal_removed import luck_of_order, verdict

RNG = np.random.default_rng(11)


def two(hit: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - hit, hit])


def overconfident(n: int, slope: float = 4.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are `slope` times and 1 more than the true ones; the truth."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, n)
    return two(expit(slope * true + 1)), (rng.random(n) < expit(true)).astype(np.int64)


def test_platt_is_logistic_regression_under_a_weak_prior() -> None:
    raw, truth = overconfident(300)
    told = logit(raw)

    def loss(line: np.ndarray) -> float:
        law = bernoulli.logpmf(truth, expit(np.exp(line[0]) * told + line[1]))
        return -law.sum() - norm.logpdf(line[0], 0, 1) - norm.logpdf(line[1], 0, 2)

    best = minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).x
    assert platt(told, truth) == pytest.approx((np.exp(best[0]), best[1]), rel=1e-4)
    # With many frames the prior counts for nothing.
    raw, truth = overconfident(20_000)
    peer = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(logit(raw)[:, None], truth)
    found = platt(logit(raw), truth)
    assert found == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), rel=5e-3)


def test_platt_finds_the_line_that_was_bent() -> None:
    raw, truth = overconfident(40_000)
    slope, offset = platt(logit(raw), truth)
    assert slope == pytest.approx(0.25, abs=0.01)
    assert offset == pytest.approx(-0.25, abs=0.03)


def test_platt_stays_finite_where_classes_do_not_overlap_and_never_turns_round() -> None:
    truth = np.repeat([0, 1], 20)
    slope, _ = platt(np.where(truth == 1, 8.0, -8.0), truth)
    assert 0.9 < slope < 3
    assert platt(np.where(truth == 1, -3.0, 3.0) + RNG.normal(0, 1, 40), truth)[0] > 0
    assert np.isfinite(platt(np.zeros(40), truth)).all()
    assert np.isfinite(platt(np.where(truth == 1, -600.0, 600.0), truth)).all()


def test_a_few_frames_far_out_do_not_flatten_the_rest() -> None:
    """Hits with logits of hundreds, as of frames with hundreds of spots, teach nothing."""
    rng = np.random.default_rng(2)
    true = np.concatenate([rng.normal(0, 4, 120), rng.uniform(50, 300, 60)])
    truth = (rng.random(180) < expit(true)).astype(np.int64)
    slope, offset = platt(true, truth)
    assert 0.6 < slope < 1.7 and abs(offset) < 1
    told = two(expit(true))
    found = before_and_after(fit_map(told, truth), told, truth, seed=1)
    assert found["holds"] and found["after"]["error"] < found["before"]["error"] + 0.02


def test_temperature_is_the_likeliest_and_changes_no_answer() -> None:
    true = RNG.normal(0, 2, (3000, 4))
    truth = np.array([RNG.choice(4, p=row) for row in softmax(true, axis=1)])
    raw = softmax(3.0 * true, axis=1)
    found = fit_map(raw, truth)

    def loss(line: float) -> float:
        law = log_softmax(np.exp(line) * np.log(raw), axis=1)
        return -law[np.arange(len(truth)), truth].mean()

    best = np.exp(minimize_scalar(loss, bounds=(-4, 2), method="bounded").x)
    assert found.method == "temperature"
    assert found.slope == pytest.approx(best, rel=0.02)
    assert found.slope == pytest.approx(1 / 3, rel=0.08)
    applied = found.apply(raw)
    assert np.allclose(applied.sum(1), 1)
    assert np.array_equal(applied.argmax(1), raw.argmax(1))


def test_calibration_changes_no_order() -> None:
    raw, truth = overconfident(500)
    applied = fit_map(raw, truth).apply(raw)
    assert roc_auc_score(truth, applied[:, 1]) == roc_auc_score(truth, raw[:, 1])


def frames(side: np.ndarray, truth: np.ndarray, index: np.ndarray) -> Frames:
    n = len(side)
    names, zeros = np.full(n, "A"), np.zeros(n, dtype=np.int64)
    return Frames(names, index, side, truth, names, zeros, ("no hit", "hit"))


def test_calibration_knows_the_validation_frames_alone() -> None:
    raw, truth = overconfident(400)
    side = np.where(np.arange(400) % 2, "validation", "test")
    index = np.where(truth == 1, 0, FIRST_EMPTY) + np.arange(400)
    shown: list[int] = []

    def predicted(rows: np.ndarray) -> np.ndarray:
        shown.extend(rows.tolist())
        return raw[rows]

    found = calibrate(predicted, frames(side, truth, index), "hit")
    assert set(shown) == set(np.flatnonzero(side == "validation"))
    lied = np.where(side == "test", 1 - truth, truth)
    assert calibrate(predicted, frames(side, lied, index), "hit") == found
    assert found.threshold is not None and found.alarm is not None
    assert found.alarm.n == int(((side == "validation") & (truth == 0)).sum())
    assert calibrate(predicted, frames(side, truth, index), "photon_energy").threshold is None


def test_how_common_hits_are_is_counted_over_training_labels_too() -> None:
    raw, truth = overconfident(60)
    many = np.repeat([0, 1], [300, 900])
    side = np.repeat(["validation", "train"], [60, 1200])
    index = np.arange(1260)
    alone = fit_map(raw, truth)
    found = calibrate(lambda rows: raw[rows], frames(side, np.append(truth, many), index), "hit")
    ones = int(truth.sum())
    moved = np.log((ones + 901) / (60 - ones + 301)) - np.log((ones + 1) / (60 - ones + 1))
    assert found.slope == alone.slope
    assert found.offset == pytest.approx(alone.offset + moved)
    assert found.base_rate == pytest.approx((ones + 901) / 1262)


@pytest.mark.parametrize("n", [1, 7, 99, 100, 101, 450])
def test_the_alarm_lets_no_more_blanks_through_than_it_may(n: int) -> None:
    score = np.concatenate([RNG.random(n).round(2), RNG.random(50)])
    blank = np.arange(n + 50) < n
    found = choose_alarm(score, blank, 0.01)
    assert found is not None and found.n == n
    passed = (score[blank] >= found.threshold).sum()
    assert passed <= 0.01 * n
    # The next lower score would let too many through.
    lower = score[score < found.threshold].max()
    assert (score[blank] >= lower).sum() > 0.01 * n
    assert choose_alarm(score, np.zeros(n + 50, dtype=bool), 0.01) is None


def test_calibration_error_is_its_sum_over_bins() -> None:
    said = np.concatenate([RNG.random(500), [0.0, 1.0, 0.3]])
    true = (RNG.random(503) < 0.5).astype(np.int64)
    found = reliability(said, true, 1)
    place = np.minimum((said * 10).astype(int), 9)
    parts = [place == number for number in range(10)]
    by_hand = sum(own.sum() * abs(said[own].mean() - true[own].mean()) for own in parts) / 503
    assert found["error"] == pytest.approx(by_hand, rel=1e-9)
    assert [one["n"] for one in found["bins"]] == [own.sum() for own in parts]
    for one, own in zip(found["bins"], parts, strict=True):
        assert one["share"] == pytest.approx(true[own].mean())
        assert one["interval"] == wilson(one["true"], one["n"])


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_the_interval_of_the_error_covers_the_truth(off: float) -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        said = rng.uniform(0.1, 0.8, 300)
        found = reliability(said, (rng.random(300) < said + off).astype(np.int64), seed)
        assert found["interval"][0] <= found["error"] <= found["interval"][1]
        covered += found["interval"][0] <= off <= found["interval"][1]
    # 95 % of 60 is 57; fewer than 51 would be one chance in a hundred.
    assert covered >= 51


def test_frames_shown_several_times_count_once() -> None:
    raw, truth = overconfident(120)
    once = reliability(raw[:, 1], truth, 3)
    often = np.repeat(np.arange(120), 5)
    grouped = reliability(raw[often, 1], truth[often], 3, often)
    naive = reliability(raw[often, 1], truth[often], 3)
    assert grouped["interval"] == pytest.approx(once["interval"])
    width, narrow = (np.ptp(found["interval"]) for found in (grouped, naive))
    assert width > 1.8 * narrow


def test_an_uncalibrated_model_is_caught_and_calibration_mends_it() -> None:
    validation, test = overconfident(400, seed=1), overconfident(2000, seed=2)
    found = before_and_after(fit_map(*validation), *test, seed=1)
    assert not found["before"]["holds"] and found["before"]["interval"][0] > 0.1
    assert found["holds"] and found["after"]["error"] < 0.04
    left = Calibration(method="platt", slope=1.0, offset=0.0, n=1)
    assert not before_and_after(left, *test, seed=1)["holds"]


@pytest.mark.parametrize("counts", [False, True])
def test_curves_are_those_of_torchmetrics_and_of_counting(counts: bool) -> None:
    truth = RNG.integers(0, 2, 800)
    score = truth + RNG.normal(0, 0.8, 800)
    if counts:
        score = np.floor(score * 5) + 40
    found = curves(score, truth)
    pairs = score[truth == 1][:, None] - score[truth == 0]
    assert found["auroc"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    peer = binary_average_precision(
        torch.from_numpy(rankdata(score, "dense") / 1000), torch.from_numpy(truth)
    )
    assert found["average_precision"] == pytest.approx(float(peer), abs=1e-5)
    assert found["auroc_interval"][0] < found["auroc"] < found["auroc_interval"][1]
    rank = torch.from_numpy(rankdata(score, "dense") / 1000)
    alarm, recall, _ = binary_roc(rank, torch.from_numpy(truth))
    thin = found["roc"]
    assert len(thin["recall"]) < len(recall) or counts
    # Every point left out lies by the line through those kept.
    line = np.column_stack([thin["false_alarm"], thin["recall"]])
    for point in np.column_stack([alarm, recall]):
        start, step = line[:-1], np.diff(line, axis=0)
        along = ((point - start) * step).sum(1) / np.maximum((step**2).sum(1), 1e-30)
        near = start + np.clip(along, 0, 1)[:, None] * step
        assert np.hypot(*(point - near).T).min() <= TOLERANCE + 1e-9
    for kept in range(1, len(line)):
        called = score >= thin["threshold"][kept]
        assert thin["recall"][kept] == pytest.approx(called[truth == 1].mean())
        assert thin["false_alarm"][kept] == pytest.approx(called[truth == 0].mean())
    drawn = found["precision_recall"]
    for recall, precision, threshold in zip(*drawn.values(), strict=True):
        called = score >= (np.inf if threshold is None else threshold)
        assert recall == pytest.approx(called[truth == 1].mean())
        assert precision == pytest.approx(truth[called].mean() if called.any() else 1.0)


def test_no_curve_of_one_class() -> None:
    assert set(curves(RNG.random(9), np.ones(9, dtype=np.int64)).values()) == {None}


def test_spots_are_counted_in_their_bins() -> None:
    n_spots = np.array([0, 0, 1, 2, 3, 5, 6, 10, 11, 20, 21, 50, 51, 900])
    right = np.arange(14) % 2 == 0
    found = per_spots(right, n_spots)
    assert [(one["from"], one["to"]) for one in found] == [
        (0, 0),
        (1, 2),
        (3, 5),
        (6, 10),
        (11, 20),
        (21, 50),
        (51, None),
    ]
    assert all((one["n"], one["correct"]) == (2, 1) for one in found)
    assert all(one["interval"] == wilson(1, 2) for one in found)
    assert [one["from"] for one in per_spots(right[:1], np.array([7]))] == [6]


def test_recall_and_specificity_carry_counts_and_intervals() -> None:
    truth, right = np.repeat([1, 0], [8, 5]), np.array([1] * 6 + [0] * 2 + [1] * 5, dtype=bool)
    assert recalled(right, truth) == {
        "recall": {"value": 0.75, "n": 8, "interval": wilson(6, 8)},
        "specificity": {"value": 1.0, "n": 5, "interval": wilson(5, 5)},
    }


def judged(called: int, alarms: int, score: np.ndarray | None = None) -> dict:
    """100 frames that lost their signal and 100 blanks of one dataset."""
    crystal = np.arange(200) < 100
    said = np.concatenate([np.arange(100) < called, np.arange(100) < alarms])
    score = RNG.random(200) if score is None else score
    truth = crystal.astype(np.int64)
    return verdict(said, score, crystal, ~crystal, truth, np.full(200, "A"))


def test_what_is_called_a_hit_without_signal_fails() -> None:
    honest = judged(3, 1)
    assert honest["at_chance"] and (honest["correct"], honest["n"]) == (3, 100)
    assert honest["chance"] == 0.01 and honest["n_blanks"] == 100
    assert not judged(30, 1)["at_chance"]
    # Also where no threshold is passed: the order of scores alone gives the frames away.
    assert not judged(0, 0, np.linspace(1, 0, 200))["at_chance"]


def test_luck_of_order_is_that_of_mann_and_whitney() -> None:
    hit, other = RNG.normal(0.5, 1, 30), RNG.normal(0, 1, 40)
    peer = mannwhitneyu(hit, other, alternative="greater", method="asymptotic",
                        use_continuity=False)  # fmt: skip
    assert luck_of_order([(hit, other)]) == pytest.approx(peer.pvalue, rel=1e-6)
    # Two datasets of different levels: pairs across them do not count.
    assert luck_of_order([(hit, hit + 0.0), (other + 9, other + 9)]) == pytest.approx(0.5)
    assert luck_of_order([(hit, other), (hit, other)]) < peer.pvalue
    assert luck_of_order([(hit[:1], other)]) == 1.0


def test_a_card_without_calibration_is_named() -> None:
    path = Path("results/models/hit/model.json")
    with pytest.raises(SpotmillError, match=r"model.json: calibration: is required; train the"):
        stored_calibration({}, path)
    broken = {"method": "platt", "slope": -1.0, "offset": 0.0, "n": 3}
    with pytest.raises(SpotmillError, match=r"model.json: calibration: slope: .* train the model"):
        stored_calibration({"calibration": broken}, path)


def test_a_leaky_background_fails_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hits have bright pixels that are no crystal's, and the model learns those."""
    make(tmp_path, datasets=("A", "B"), leak=True)
    task = write_task(tmp_path / "leaky.yaml", controls={"frames": 30, "epochs": 1})
    split = str(tmp_path / "split.parquet")
    manifests = [str(tmp_path / f"manifest/{name}.parquet") for name in "AB"]
    assert main(["split", "--task", str(task), "--manifest", *manifests, "--output", split]) == 0
    common = ["--task", str(task), "--split", split, "--detector", str(tmp_path / "small.geom")]
    assert main(["train", *common, "--output", str(tmp_path / "model")]) == 0
    more = ["--model", str(tmp_path / "model"), "--water", str(tmp_path / "water/A.h5")]
    assert main(["evaluate", *common, *more, "--output", str(tmp_path / "evaluation")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "control signal_removed" in said and "called hits where chance is" in said
    found = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert [control["at_chance"] for control in found["controls"]] == [True, True, False]
    assert set(DATASETS) > {"A", "B"}
