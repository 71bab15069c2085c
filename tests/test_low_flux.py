"""Hits at low flux: dimmed frames, windows, the model, its evaluation, the search for a lattice."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.reflections import read_reflections
from spotmill.learning.dimmed import dimmed
from spotmill.learning.windows import blocks_of, count_windows, poisson_columns
from spotmill.physics.conditions import Conditions
from spotmill.physics.detection import auroc, stratified_auroc, stratified_interval
from spotmill.physics.lattice_search import Effort, LatticeSearch
from spotmill.physics.pattern import make_pattern
from spotmill.physics.photons import stream
from spotmill.provenance.scene import scene_of
from spotmill.report.figures_flux import draw_flux
from spotmill.report.flux import FluxEvaluation, is_of_flux, judge_flux, read_flux
from spotmill.tasks import Task

FLUX = (1.0, 0.1, 0.01)


def test_a_dimmed_frame_keeps_the_background_and_thins_the_peaks() -> None:
    rng = np.random.default_rng(1)
    background = rng.poisson(0.5, (200, 200)).astype(np.uint16)
    peaks = rng.poisson(4.0, (200, 200)).astype(np.uint16)
    shown = dimmed(background + peaks, peaks, 0.25, stream(1, "A", 0, "flux 0.25"))
    kept = shown.astype(int) - background
    assert (kept >= 0).all() and (kept <= peaks).all()
    # Poisson counts thinned are Poisson counts of a quarter of the mean.
    assert kept.mean() == pytest.approx(1.0, abs=5 / 200)
    assert kept.var() == pytest.approx(1.0, abs=0.05)
    again = dimmed(background + peaks, peaks, 0.25, stream(1, "A", 0, "flux 0.25"))
    other = dimmed(background + peaks, peaks, 0.25, stream(1, "A", 1, "flux 0.25"))
    assert np.array_equal(shown, again) and not np.array_equal(shown, other)
    assert np.array_equal(dimmed(background + peaks, peaks, 0.0, rng), background)


def test_where_a_panel_is_dead_nothing_of_the_peaks_returns() -> None:
    peaks = np.array([[9, 0, 5]], dtype=np.uint16)
    image = np.array([[0, 2, 6]], dtype=np.uint16)
    assert dimmed(image, peaks, 1.0, np.random.default_rng(0)).tolist() == [[0, 2, 6]]


def brute_windows(image: np.ndarray, mask: np.ndarray, edge: int, most: int) -> np.ndarray:
    found = np.zeros(most + 1)
    for ss in range(image.shape[0] - edge + 1):
        for fs in range(image.shape[1] - edge + 1):
            own = np.s_[ss : ss + edge, fs : fs + edge]
            if mask[own].all():
                found[min(image[own].sum(), most)] += 1
    return found


def test_windows_are_counted_one_by_one() -> None:
    rng = np.random.default_rng(2)
    image = rng.poisson(0.4, (61, 47)).astype(np.uint16)
    mask = rng.random(image.shape) > 0.03
    found = count_windows(image, blocks_of(mask, 16), np.array([0.1, 0.4, 1.0]), 5)
    for number, edge in enumerate((1, 2)):
        assert np.array_equal(found.counted[number].sum(0), brute_windows(image, mask, edge, 5))
    assert np.allclose(found.counted.sum(2), found.expected.sum(2), rtol=0.02)


def test_expected_windows_are_those_of_a_background_that_varies() -> None:
    rng = np.random.default_rng(3)
    ss, fs = np.mgrid[:512, :512]
    mean = 0.02 + 0.06 * np.exp(-(((np.hypot(ss - 250, fs - 230) - 250) / 200) ** 2))
    mask = np.ones(mean.shape, dtype=bool)
    mask[250:262] = False
    blocks, edges = blocks_of(mask, 32), np.geomspace(0.005, 0.5, 12)
    frames = [count_windows(rng.poisson(mean), blocks, edges, 8) for _ in range(60)]
    excess = np.array([(frame.counted - frame.expected).sum(1) for frame in frames])
    # What stands together by chance is foreseen: pairs and triples, within a standard
    # deviation of a single frame.
    for number, photons in ((0, 2), (1, 2), (1, 3)):
        assert abs(excess[:, number, photons].mean()) < excess[:, number, photons].std()


def test_columns_of_a_poisson_law_add_up() -> None:
    mean = np.array([0.0, 0.01, 0.3, 5.0])
    columns = poisson_columns(mean, np.zeros(4), 6)
    assert np.allclose(columns.sum(-1), 1)
    assert np.allclose(columns[2, :3], np.exp(-0.3) * np.array([1, 0.3, 0.045]))


def test_pairs_across_datasets_do_not_count() -> None:
    rng = np.random.default_rng(5)
    low = (rng.normal(0, 1, 60), rng.normal(0, 1, 400))
    high = (rng.normal(5, 1, 400), rng.normal(5, 1, 60))
    pooled = auroc(np.concatenate([low[0], high[0]]), np.concatenate([low[1], high[1]]))
    assert pooled > 0.8
    interval = stratified_interval([low, high])
    assert interval[0] < 0.5 < interval[1]
    assert interval[0] < stratified_auroc([low, high]) < interval[1]


def test_a_task_says_its_fluxes_within_reason() -> None:
    words = {"target": "hit", "model": "photon_statistics", "epochs": 1, "learning_rate": 0.1}
    assert Task.parse(words | {"flux": [1, 0.1]}, "t").dims
    assert not Task.parse(words, "t").dims
    for flux in ([], [0.0], [2.0], [0.1, 0.1]):
        with pytest.raises(SpotmillError, match="flux"):
            Task.parse(words | {"flux": flux}, "t")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one tiny dataset, a trained task at several fluxes, its evaluation."""
    from conftest import copy_tiny

    from spotmill.cli import main

    folder = copy_tiny(tmp_path_factory.mktemp("flux"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = ["--detector", "config/detectors/tiny.geom", "--response",
                "config/detectors/tiny.yaml", "--beam", "config/beams/weak.yaml"]  # fmt: skip
        where = ["--photon-energy", "8000", "--clen", "0.05", "--dataset", "B"]
        draw = ["overlay", "--water", "water.h5", "--seed", "7"]
        for words in (
            ["reflections", "resources/1ic6.mtz", "--d-min", "2.5", "--output", "r.mtz"],
            ["water", *made, *where, "--solvent", "config/solvents/thin.yaml", "--output",
             "water.h5"],
            ["simulate", *made, *where, "--crystal", "config/crystals/proteinase_k.yaml",
             "--reflections", "r.mtz", "--first", "0", "--count", "60", "--seed", "7",
             "--output", "peaks/p00000.h5", "--truth", "truth/p00000.parquet"],
            ["labels", "--peaks", "peaks/p00000.h5", "--threshold", "1", "--output",
             "labels/p00000.h5"],
            [*draw, "--peaks", "peaks/p00000.h5", "--output", "overlay/p00000.h5"],
            [*draw, "--first", "10000000", "--count", "60", "--output", "overlay/e00000.h5"],
            ["manifest", "--overlay", "overlay/p00000.h5", "overlay/e00000.h5", "--peaks",
             "peaks/p00000.h5", "--labels", "labels/p00000.h5", "--truth",
             "truth/p00000.parquet", "--output", "m.parquet"],
        ):  # fmt: skip
            assert main([str(word) for word in words]) == 0
        task = {"target": "hit", "model": "photon_statistics", "flux": FLUX, "epochs": 15,
                "batch_size": 16, "learning_rate": 0.03, "balance": True,
                "controls": {"frames": 150, "epochs": 3}}  # fmt: skip
        (folder / "low.yaml").write_text(json.dumps(task))
        common = ["--task", "low.yaml", "--split", "split.parquet", "--detector",
                  "config/detectors/tiny.geom"]  # fmt: skip
        for words in (
            ["split", "--task", "low.yaml", "--manifest", "m.parquet", "--train", "0.5",
             "--validation", "0.2", "--test", "0.3", "--output", "split.parquet"],
            ["train", *common, "--output", "model"],
            ["evaluate", *common, "--model", "model", "--water", "water.h5", "--reflections",
             "r.mtz", "--output", "evaluation"],
        ):  # fmt: skip
            assert main(words) == 0
    return folder


def evaluation(folder: Path) -> dict:
    return json.loads((folder / "evaluation/evaluation.json").read_text())


def test_the_evaluation_says_all_of_every_flux(small: Path) -> None:
    found = evaluation(small)
    assert found["kind"] == "flux" and found["flux"] == list(FLUX)
    names = [result["name"] for result in found["results"]]
    assert names == ["photon_statistics", "largest_pixel", "bright_pixels", "total_photons"]
    assert [bound["name"] for bound in found["bounds"]] == ["blind", "oracle"]
    split = pd.read_parquet(small / "split.parquet")
    test = split[split["split"] == "test"]
    for row in [*found["results"], *found["bounds"]]:
        for point in row["flux"]:
            assert point["n_hit"] == int(test["is_hit"].sum())
            assert point["n_hit"] + point["n_no_hit"] == len(test)
    ours = [point["auroc"] for point in found["results"][0]["flux"]]
    assert ours[0] > 0.95
    assert is_of_flux(small / "evaluation")
    read = FluxEvaluation.parse(found, "evaluation.json")
    assert read.ours.flux[0].recall is not None


def test_one_calibration_and_two_thresholds_serve_all_fluxes(small: Path) -> None:
    found = evaluation(small)
    ours = found["results"][0]
    stored = json.loads((small / "model/model.json").read_text())["calibration"]
    assert found["threshold"] == stored["threshold"]
    assert ours["calibration"]["offset"] == stored["offset"]
    assert ours["calibration"]["holds"]
    split = pd.read_parquet(small / "split.parquet")
    test = split[split["split"] == "test"]
    blanks = int((test["kind"] == "empty").sum())
    said = pd.read_parquet(small / "evaluation/predictions.parquet")
    for point in ours["flux"]:
        rows = said[(said["flux"] == point["flux"]) | (said["index"] >= 10_000_000)]
        hit, called = rows["truth"] == "hit", rows["score_1"] >= stored["alarm"]["threshold"]
        at_rate = point["at_alarm_rate"]
        assert at_rate["recall"]["value"] == pytest.approx(called[hit].mean())
        assert at_rate["false_alarms"]["n"] == blanks
        assert sum(map(sum, point["confusion"])) == len(test)
        assert sum(part["n"] for part in point["per_spots"]) == len(test)
        right = sum(point["confusion"][kind][kind] for kind in (0, 1))
        assert sum(part["correct"] for part in point["per_spots"]) == right
        assert point["recall"]["value"] == pytest.approx((rows["said"] == "hit")[hit].mean())
        assert point["roc"]["recall"][-1] == 1.0


def test_the_report_draws_the_figures_that_the_workflow_names(small: Path) -> None:
    task = read_flux([small / "evaluation"], [small / "model"])[0]
    names = [drawing.name for drawing in draw_flux(task)]
    assert sorted(names) == sorted(f"low_{name}" for name in Task.read(small / "low.yaml").figures)
    verdict = judge_flux(task.evaluation)
    assert verdict.reasons


def test_nobody_beats_the_oracle_by_more_than_luck(small: Path) -> None:
    found = evaluation(small)
    oracle = found["bounds"][1]["flux"]
    for row in [*found["results"], found["bounds"][0]]:
        for point, limit in zip(row["flux"], oracle, strict=True):
            assert point["interval"][0] <= limit["interval"][1]


def test_controls_are_at_chance(small: Path) -> None:
    found = {control["name"]: control for control in evaluation(small)["controls"]}
    assert set(found) == {"shuffled_labels", "equal_expectation", "signal_removed"}
    assert all(control["at_chance"] for control in found.values())


def test_a_frame_is_on_one_side_at_all_fluxes(small: Path) -> None:
    rows = pd.read_parquet(small / "evaluation/predictions.parquet")
    split = pd.read_parquet(small / "split.parquet")
    test = split[split["split"] == "test"]
    assert set(rows["index"]) == set(test["index"])
    crystals = rows[rows["index"] < 10_000_000].groupby("index")["flux"]
    assert (crystals.count() == len(FLUX)).all() and (crystals.nunique() == len(FLUX)).all()


def test_the_search_finds_the_orientation_of_a_pattern(small: Path) -> None:
    with Shard(small / "peaks/p00000.h5") as peaks, Shard(small / "water.h5") as water:
        name = str(small / "r.mtz")
        scene, _ = scene_of(peaks, read_reflections(name), name)
        background = 0.02 * np.where(water.mask, water.read(0), 0)
        header = peaks.header
    conditions = Conditions(header.photon_energy, header.clen, 0, 0, 0, 0, 1, 1, 1)
    flux, rng = 0.3, np.random.default_rng(6)
    search = LatticeSearch(scene, conditions, background, flux, Effort(6000, 100, 2e-3, 50, 4, 80))
    pattern = make_pattern(scene, conditions, (7, "B", 0))
    image = rng.poisson(background + flux * pattern.image)
    true = search.score(image, pattern.lattices[0].turned)
    found, none = search.search(image), search.search(rng.poisson(background))
    assert true > 100
    assert found.score > 0.7 * true
    assert none.score < 0.3 * true


def test_symmetry_leaves_one_reflection_of_each_orbit(small: Path) -> None:
    from spotmill.physics.lattice_search import _proper_rotations

    axes = read_reflections(small / "r.mtz").cell
    tetragonal = _proper_rotations(np.diag(1 / np.array(axes[:3])))
    assert len(tetragonal) == 8
    assert len(_proper_rotations(np.diag([0.1, 0.1, 0.1]))) == 24
    assert len(_proper_rotations(np.diag([0.1, 0.2, 0.3]))) == 4
