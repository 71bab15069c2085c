"""Prediction on frames of any source: our shards, another detector, real frames, bad ones."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from predict_data import SIZE, other_detector, other_geometry

from spotmill.errors import SpotmillError
from spotmill.formats.digests import signed_json
from spotmill.formats.geom import read_geometry
from spotmill.formats.images import open_file
from spotmill.formats.tables import MANIFEST, SPOTS, read_table
from spotmill.inference import Found, Pipeline
from spotmill.inference.events import Maker, stacked
from spotmill.inference.peak_file import DATA, read_peaks
from spotmill.inference.stated import Given, resolve
from spotmill.inference.tables import SCHEMA
from spotmill.inference.values import radius_of
from spotmill.inference.verdict import at_least
from spotmill.learning.applied import open_applied
from spotmill.learning.encoders import View
from spotmill.learning.frame_summary import features, strangeness
from spotmill.learning.profiles import radial_bins
from spotmill.physics.peak_scoring import assign

Predict = Callable[..., int]
# Photons of a spot: no crystal lights one pixel alone.
SPOT = np.array([[2, 6, 2], [6, 48, 6], [2, 6, 2]])


@pytest.fixture(scope="module")
def pipeline(small_models: Path) -> Pipeline:
    return Pipeline.load(small_models / "models")


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


def test_our_shards(small_models: Path, predict: Predict, tmp_path: Path) -> None:
    frames = small_models / "frames"
    words = ["--clen", "0.1", "--photon-energy", "6000", "--pictures", "2"]
    assert predict(frames / "overlay/A", "--geometry", frames / "small.geom", *words) == 0
    out = tmp_path / "out"
    found = table(out)
    truth = read_table(frames / "manifest/A.parquet", MANIFEST).to_pandas()
    assert len(found) == len(truth) == 60
    # The folder is read by name: c00000 before e00000, as the manifest has them.
    said = found["is_hit"].to_numpy()
    assert (said == truth["is_hit"].to_numpy()).mean() > 0.85
    spots = truth["n_spots"].to_numpy()
    assert abs(found["n_peaks"].to_numpy() - spots).mean() < 0.7
    assert set(found["hit_by"]) == {"hit"}
    assert found["out_of_distribution"].max() < 2
    assert (found["photon_energy"] == 6000).mean() > 0.8
    assert found["clen_agrees"].astype(bool).mean() > 0.8
    told = found[found["photon_energy"].notna()]
    assert told["photon_energy_sigma"].min() > 280
    assert told["remark"].str.contains("photon energy: the nearest of 6000, ").all()
    listed = (out / "hits_in_files.lst").read_text().splitlines()
    assert listed == [f"{row.file} //{row.event}" for row in found.itertuples() if row.is_hit]
    again = pd.read_csv(out / "predictions.csv")
    assert list(again.columns) == list(found.columns)
    assert again["probability"].to_numpy() == pytest.approx(found["probability"], rel=1e-5)
    assert len(list((out / "pictures").glob("*.png"))) == 2
    summary = json.loads((out / "predict.json").read_text())
    assert summary["frames"] == 60 and summary["hits"] == said.sum()
    assert summary["stated_by"]["photon_energy"] == {"hand": 60}
    assert summary["models"]["hit"]["n"]["train"] > 100


def test_two_runs_write_the_same_bytes(
    small_models: Path, predict: Predict, tmp_path: Path
) -> None:
    for output in ("one", "two"):
        assert predict(small_models / "frames/overlay/A/c00000.h5", output=output) == 0
    names = ("predictions.parquet", "predictions.csv", "peaks.cxi", "predict.json")
    for name in (*names, "hits_in_files.lst"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_peak_file_is_as_crystfel_reads_it(
    small_models: Path, predict: Predict, tmp_path: Path
) -> None:
    shard = small_models / "peaks/overlay/A/c00000.h5"
    assert predict(shard, small_models / "peaks/overlay/A/e00000.h5") == 0
    path = tmp_path / "out/peaks.cxi"
    with h5py.File(path, "r") as file, h5py.File(shard, "r") as own:
        group = file["entry_1/result_1"]
        counts = group["nPeaks"][:]
        assert counts.tolist() == table(tmp_path / "out")["n_peaks"].tolist()
        for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"):
            assert group[name].shape == (len(counts), counts.max())
            assert group[name].dtype == np.float32
            assert not group[name][0, counts[0] :].any()
        # The images themselves, by reference: the file alone is enough for CrystFEL.
        images = file[DATA]
        assert images.is_virtual and images.shape[0] == len(counts)
        assert np.array_equal(images[7], own["entry/data/data"][7])
    truth = read_table(small_models / "peaks/A.parquet", SPOTS).to_pandas()
    right = of = 0
    for event in range(12):
        own = truth[(truth["index"] == event) & (truth["photons"] >= 10)]
        peaks = read_peaks(path, event)
        partner, _ = assign(peaks[:, :2], own[["fs", "ss"]].to_numpy(), 1.0)
        right, of = right + int((partner >= 0).sum()), of + len(own)
    assert of > 20 and right / of > 0.85


def test_another_detector(predict: Predict, pipeline: Pipeline, tmp_path: Path) -> None:
    true = other_detector(tmp_path / "hit.h5", 0.05, 12, seed=1, frames=4)
    other_detector(tmp_path / "blank.h5", 0.05, 0, seed=2, frames=4)
    geometry = other_geometry(tmp_path / "other.geom")
    names = [tmp_path / f"{name}.h5" for name in ("hit", "blank")]
    assert predict(*names, "--geometry", geometry) == 0
    found = table(tmp_path / "out")
    assert found["is_hit"].tolist() == [True] * 4 + [False] * 4
    assert (found["n_peaks"][4:] <= 1).all()
    for event in range(4):
        peaks = read_peaks(tmp_path / "out/peaks.cxi", event)
        partner, distance = assign(peaks[:, :2], true, 2.0)
        assert (partner >= 0).sum() >= 11
        assert len(peaks) <= 13
        assert np.median(distance[partner >= 0]) < 0.3
    # A pixel of 172 µm is 5 times as large as those of the training: too dim a water.
    assert found["photon_energy"].isna().all()
    assert found["remark"].str.contains("is not of the brightness").all()
    other_detector(tmp_path / "even.h5", 0.25, 0, seed=2)
    assert predict(tmp_path / "even.h5", "--geometry", geometry, output="even") == 0
    said = table(tmp_path / "even")
    assert said["clen"].isna().all() and said["remark"].str.contains("radial profile").all()


def test_modules_of_a_third_dimension(predict: Predict, tmp_path: Path) -> None:
    flat = tmp_path / "flat.h5"
    other_detector(flat, 0.05, 12, seed=1, frames=2)
    with h5py.File(flat, "r") as file:
        laid = file["entry/data/data"][:]
    modules = np.stack([laid[:, first : first + 64] for first in (0, 81, 162)], axis=1)
    with h5py.File(tmp_path / "modules.h5", "w") as file:
        file["entry/data/data"] = modules
    text = other_geometry(tmp_path / "flat.geom").read_text()
    text = text.replace("dim1 = ss\ndim2 = fs", "dim2 = ss\ndim3 = fs")
    for number, first in enumerate((0, 81, 162)):
        text = text.replace(f"m{number}/min_ss = {first}\n", f"m{number}/min_ss = 0\n")
        text = text.replace(f"m{number}/max_ss = {first + 63}\n", f"m{number}/max_ss = 63\n")
        text = text.replace(f"m{number}/fs", f"m{number}/dim1 = {number}\nm{number}/fs")
    (tmp_path / "modules.geom").write_text(text)
    assert predict(flat, "--geometry", tmp_path / "flat.geom", output="a") == 0
    geometry = tmp_path / "modules.geom"
    assert predict(tmp_path / "modules.h5", "--geometry", geometry, output="b") == 0
    one, two = (read_peaks(tmp_path / name / "peaks.cxi", 0) for name in "ab")
    module = ((one[:, 1] > 72).astype(int)) + (one[:, 1] > 153)
    assert sorted(two[:, 1].tolist()) == pytest.approx(sorted(one[:, 1] - 17 * module), abs=0.1)
    with pytest.raises(SpotmillError, match="describes modules of 64 rows"):
        stacked(read_geometry(geometry), (200, 200))


def test_counts_of_several_a_photon(predict: Predict, tmp_path: Path) -> None:
    other_detector(tmp_path / "photons.h5", 0.05, 12, seed=1)
    other_detector(tmp_path / "adu.h5", 0.05, 12, seed=1, gain=20.0, dtype=np.float32)
    assert predict(tmp_path / "photons.h5", output="a") == 0
    # Flags of whole numbers are no flags of counts: the mask says what is a gap.
    with h5py.File(tmp_path / "adu.h5", "a") as file:
        gaps = file["entry/data/data"][0] < 0
        file["entry/instrument/detector/pixel_mask"] = gaps.astype(np.uint32)
    assert predict(tmp_path / "adu.h5", "--adu-per-photon", 20, output="b") == 0
    one, two = (table(tmp_path / name) for name in "ab")
    for name in ("probability", "n_peaks", "background"):
        assert one[name].tolist() == two[name].tolist()
    assert predict(tmp_path / "adu.h5", output="c") == 0
    assert table(tmp_path / "c")["out_of_distribution"][0] > 5
    assert "scatter of the counts" in table(tmp_path / "c")["remark"][0]


def test_who_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "frames.h5"
    other_detector(path, 0.05, 0, seed=1)
    with open_file(path) as file:
        frame = file.read(0)
    geometry = read_geometry(other_geometry(tmp_path / "a.geom", "0.2"))
    alone = resolve(Given(), frame)
    assert alone.photon_energy == pytest.approx(6000, rel=1e-4) and alone.clen == 0.1
    assert alone.sources == {"photon_energy": "file", "clen": "file"}
    both = resolve(Given(geometry=geometry), frame)
    assert (both.clen, both.sources["clen"]) == (0.2, "geometry")
    assert any("clen is 0.2 m by geometry, 0.1 by file" in one for one in both.remarks)
    hand = resolve(Given(geometry=geometry, clen=0.3), frame)
    assert (hand.clen, hand.sources["clen"]) == (0.3, "hand")
    # A geometry may name a place in the data file; lengths there are in mm.
    placed = other_geometry(tmp_path / "b.geom", "/entry/instrument/detector/distance")
    assert resolve(Given(geometry=read_geometry(placed)), frame).clen == pytest.approx(0.1)
    for wrong in ({"clen": 150.0}, {"photon_energy": 8.0}, {"pixel_size": 75.0}):
        with pytest.raises(SpotmillError):
            Given(**wrong)


def test_strangeness_rises(small_models: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    known = pipeline.models["hit"].training
    rng = np.random.default_rng(1)
    live = np.ones((200, 220), dtype=bool)

    def odd(image: np.ndarray) -> dict[str, float]:
        return strangeness(known, features(image, live))

    usual = odd(rng.poisson(0.05, live.shape))
    assert max(usual.values()) < 2
    levels = [odd(rng.poisson(rate, live.shape))["background"] for rate in (0.1, 0.5, 3.0, 20.0)]
    assert levels == sorted(levels) and levels[0] > usual["background"] and levels[-1] > 5
    photons = rng.poisson(20.0, live.shape)
    assert odd(5 * photons)["dispersion"] > 5 > odd(photons)["dispersion"]
    blurred = (photons + np.roll(photons, 1, 1) + np.roll(photons, 2, 1)) // 3
    assert odd(blurred)["correlation"] > 5 > odd(photons)["correlation"]
    ramp = rng.poisson(np.linspace(0.02, 2.0, 220) * np.ones((200, 1)))
    assert odd(np.tile(ramp, (3, 3))[: live.shape[0], : live.shape[1]])["background"] > 2


def test_a_strange_frame_is_told_by_its_peaks(predict: Predict, tmp_path: Path) -> None:
    other_detector(tmp_path / "hit.h5", 2.0, 12, seed=1, frames=2)
    other_detector(tmp_path / "blank.h5", 2.0, 0, seed=2, frames=2)
    assert predict(tmp_path / "hit.h5", tmp_path / "blank.h5") == 0
    found = table(tmp_path / "out")
    assert set(found["hit_by"]) == {"peaks"}
    assert found["remark"].str.contains("photons a pixel unlike the training frames of hits").all()
    assert found["is_hit"].tolist() == [True, True, False, False]


def test_stray_light_is_no_crystal(pipeline: Pipeline, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ss, fs = np.mgrid[:300, :320]
    halo = 3 * np.exp(-((fs - 200.0) ** 2 + (ss - 90.0) ** 2) / (2 * 12**2))
    true = np.array([[30, 40], [60, 250], [120, 100], [260, 200], [290, 60], [200, 90]]) + 0.5
    blank = rng.poisson(0.05 + halo)
    frame = blank.copy()
    for x, y in true.astype(int):
        frame[y - 1 : y + 2, x - 1 : x + 2] += SPOT
    found = pipeline.run(frame)
    assert isinstance(found, Found)
    partner, _ = assign(true, found.peaks.place, 2.0)
    assert (partner >= 0).all() and len(found.peaks.score) <= 8
    assert pipeline.run(blank) is None
    # A cosmic ray: bright pixels in a row, and nothing else.
    ray = rng.poisson(0.05, (300, 320))
    for step in range(0, 30, 3):
        ray[100 + step, 150 + step // 3] += 60
    assert pipeline.run(ray) is None


def test_not_a_number_and_negative_pixels(pipeline: Pipeline) -> None:
    rng = np.random.default_rng(3)
    image = rng.poisson(0.05, (150, 160)).astype(np.float64)
    for ss, fs in ((40, 50), (90, 20), (120, 120), (20, 130)):
        image[ss - 1 : ss + 2, fs - 1 : fs + 2] += SPOT
    mask = np.ones(image.shape, dtype=bool)
    mask[70:80] = mask[100, 100] = False
    with_nan = np.where(mask, image, np.nan)
    negative = np.where(mask, image, -2).astype(np.int32)
    noisy = image + np.where(image == 0, -0.3, 0.2)
    answers = [
        pipeline.run(image, mask),
        pipeline.run(with_nan),
        pipeline.run(negative),
        pipeline.run(noisy, mask),
    ]
    for answer in answers:
        assert isinstance(answer, Found)
        assert answer.prediction.probability == answers[0].prediction.probability
        assert np.array_equal(answer.peaks.place, answers[0].peaks.place)
    assert len(answers[0].peaks.score) >= 4
    with pytest.raises(SpotmillError, match="no live pixel"):
        pipeline.run(np.full((30, 30), np.nan))
    with pytest.raises(SpotmillError, match="is no image"):
        pipeline.run(np.zeros(10))
    with pytest.raises(SpotmillError, match="mask: is of"):
        pipeline.run(image, mask[:10])


def test_run_as_the_paper_has_it(small_models: Path, pipeline: Pipeline) -> None:
    frames = small_models / "frames"
    geometry = read_geometry(frames / "small.geom")
    truth = read_table(frames / "manifest/C.parquet", MANIFEST).to_pandas()
    with open_file(frames / "overlay/C/c00000.h5") as file:
        rich = int(truth["n_spots"][:40].argmax())
        hit, live = file.read(rich).image, file.read(rich).live
    with open_file(frames / "overlay/C/e00000.h5") as file:
        blank = file.read(0).image
    batch = pipeline.run(np.stack([hit, blank]), live, Given(geometry=geometry))
    assert isinstance(batch, list)
    found, nothing = batch
    assert nothing is None and isinstance(found, Found)
    assert (found.photon_energy, found.clen) == (6000.0, 0.2)
    assert len(found.peaks.score) >= truth["n_spots"][rich] - 1
    # Without a geometry nobody knows where the beam is.
    alone = pipeline.run(hit, live)
    assert isinstance(alone, Found) and np.isnan(alone.clen)
    assert any("needs a geometry" in one for one in alone.prediction.remarks)
    assert pipeline.trained_on["hit"]["training_frames"]["shape"] == [120, 110]


def test_a_model_of_whole_frames_refuses_others(
    small_models: Path, predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    other_detector(tmp_path / "frames.h5", 0.05, 0, seed=1)
    given = ["--tasks", "whole"]
    assert predict(small_models / "frames/overlay/A/c00000.h5", *given) == 0
    assert predict(small_models / "frames/overlay/A/c00000.h5", tmp_path / "frames.h5", *given) == 3
    assert "was made for frames of (120, 110) pixels, not (226, 200)" in capsys.readouterr().err
    assert len(table(tmp_path / "out")) == 40


def test_bins_are_lengths(small_models: Path) -> None:
    model = open_applied(small_models / "models/photon_energy")
    detector = read_geometry(small_models / "frames/small.geom").detector(0.1, 6000.0)
    radius = View(detector).radius
    assert np.array_equal(model.bins(detector, radius), radial_bins(radius, SIZE))
    assert np.array_equal(radius_of(detector), radius)
    text = (small_models / "frames/small.geom").read_text()
    other = small_models / "fine.geom"
    text = text.replace("13333.333333", "26666.666666").replace("-55", "-110")
    text = text.replace("-60", "-120").replace("109", "219").replace("119", "239")
    other.write_text(text)
    fine = read_geometry(other).detector(0.1, 6000.0)
    bins = model.bins(fine, View(fine).radius)
    coarse = model.bins(detector, radius)
    same = bins[::2, ::2] == coarse
    assert same.mean() > 0.9 and (abs(bins[::2, ::2] - coarse) <= 1).mean() > 0.99


def test_the_threshold_of_peaks_is_the_cards(
    small_models: Path, predict: Predict, tmp_path: Path
) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 12, seed=1)
    shutil.copytree(small_models / "models", tmp_path / "models")
    path = tmp_path / "models/peaks/model.json"
    facts = json.loads(path.read_text())
    counts = []
    for shift in (0.0, 1e3):
        changed = facts["calibration"]["threshold"] + shift
        calibration = facts["calibration"] | {"threshold": changed}
        said = {key: value for key, value in facts.items() if key != "sha256"}
        path.write_text(signed_json(said | {"calibration": calibration}))
        assert predict(tmp_path / "good.h5", models=tmp_path / "models") == 0
        counts += table(tmp_path / "out")["n_peaks"].tolist()
    assert counts[0] >= 11 and counts[1] == 0


def test_at_least_some_of_independent_events() -> None:
    rng = np.random.default_rng(1)
    chance = np.array([0.9, 0.2, 0.5, 0.7, 0.05])
    drawn = (rng.uniform(size=(200_000, 5)) < chance).sum(1)
    assert at_least(chance, 3) == pytest.approx((drawn >= 3).mean(), abs=0.005)
    assert at_least(chance[:2], 3) == 0


# What small models must see in real frames: a strong pattern has many peaks. Whether a blank
# passes for one depends on the training and is stated in docs/predict.md.
REAL = {
    "run2_1_00148.cbf.gz": 20,
    "example.mar2300": 20,
    "vac_007_data_000001.h5": 0,
    "00567_A1_Water_at_WAXS.tiff": 0,
}


@pytest.mark.parametrize("name", REAL)
def test_real_frames_open(shared: Path, predict: Predict, tmp_path: Path, name: str) -> None:
    path = shared / "real" / name
    if not path.is_file():
        pytest.skip(f"no {name} in ../shared/real")
    assert predict(path) == 0
    found = table(tmp_path / "out")
    assert found["probability"].between(0, 1).all()
    assert found["photon_energy"].isna().all() and found["clen"].isna().all()
    assert (found["n_peaks"] >= REAL[name]).all()
    if REAL[name]:
        assert found["is_hit"].all() and found["stated_photon_energy"].notna().all()


def test_the_event_keeps_saturated_pixels(tmp_path: Path) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 6, seed=1)
    with open_file(tmp_path / "good.h5") as file:
        frame = file.read(0)
    strong = int(frame.image.max())
    event = Maker(Given(saturation=strong)).event(frame)
    assert event.saturated >= 1 and event.image.max() == strong


def test_the_table_of_the_documentation_is_the_table() -> None:
    page = (ROOT / "docs/predict.md").read_text(encoding="utf-8")
    lines = page.split("| column | meaning |\n")[1].split("\n\n")[0].splitlines()[1:]
    named = [name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert named == SCHEMA.names
    # Every way in which a hit is told has its word.
    (told_by,) = (line for line in lines if line.startswith("| `hit_by` |"))
    source = (ROOT / "src/spotmill/inference/verdict.py").read_text(encoding="utf-8")
    ways = set(re.findall(r'Verdict\(.*, "(\w+)"', source))
    assert ways == {"hit", "peaks", "heap", "lattice"}
    assert all(f"`{way}`:" in told_by for way in ways)
