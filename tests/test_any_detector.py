"""One set of models for any detector: frames of several shapes, and the shipped configuration."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, copy_tiny, simulate_words, water_words

from spotmill.cli import main
from spotmill.formats.geom import read_geometry
from spotmill.inference import Pipeline
from spotmill.model import read_yaml
from spotmill.plan import read_plan

if TYPE_CHECKING:
    from mill import DryRuns

DETECTORS = {
    "A": "config/detectors/other.geom",
    "B": "config/detectors/tiny.geom",
    "C": "config/detectors/shifted.geom",
}
# One panel of larger pixels, and the same with the beam at its edge.
OTHER = """\
clen = 0.06
photon_energy = 7000
adu_per_photon = 1
max_adu = 1000
res = 1500
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 89
p/min_ss = 0
p/max_ss = 139
p/corner_x = -45
p/corner_y = {corner}
p/fs = x
p/ss = y
"""
RANDOMISE = """\
photon_energy: {uniform: [-300, 300]}
signal: {loguniform: [0.1, 3]}
background: {loguniform: [0.1, 10]}
halo: {choice: [0, 5]}
ice: {choice: [0, 0.5]}
slope: {choice: [0, 0.5]}
"""
TASKS: dict[str, dict[str, Any]] = {
    "hit": {
        "target": "hit",
        "model": "patch_counter",
        "settings": {"candidates": 16, "block": 32, "candidate_truth": True},
        "epochs": 4,
        "learning_rate": 0.01,
    },
    "peaks": {
        "target": "peaks",
        "model": "peak_net",
        "settings": {"candidates": 64, "width": 4, "hidden": 8, "copies": 1, "crop": 64},
        "batch_size": 64,
        "epochs": 2,
        "learning_rate": 0.01,
    },
    "whole": {"target": "hit", "model": "binary_cnn", "epochs": 1, "learning_rate": 0.001},
    "profile": {
        "target": "photon_energy",
        "model": "radial_profile",
        "datasets": ["A", "C"],
        "epochs": 1,
        "learning_rate": 0.01,
    },
}
# The first dataset of a sheet need not be the first by name.
GIVEN = "B"
ENERGY = {"A": 6000, "B": 7000, "C": 8000}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with frames of three detectors, of two shapes, and splits."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy_tiny(folder))
        Path(DETECTORS["A"]).write_text(OTHER.format(corner=-70))
        Path(DETECTORS["C"]).write_text(OTHER.format(corner=-5))
        Path("all.yaml").write_text(RANDOMISE)
        for name, detector in DETECTORS.items():
            make(name, detector)
        for name, task in TASKS.items():
            Path(f"{name}.yaml").write_text(json.dumps(task))
            manifests = [f"{one}.parquet" for one in DETECTORS]
            words = ["--task", f"{name}.yaml", "--manifest", *manifests]
            assert main(["split", *words, "--output", f"splits/{name}.parquet"]) == 0
        for name in ("hit", "peaks"):
            assert main(["train", *common(name), "--output", f"models/{name}"]) == 0
    return folder


def make(name: str, detector: str) -> None:
    """Write the frames of a dataset and their manifest."""
    own = {"detector": detector, "dataset": name, "photon-energy": ENERGY[name]}
    simulated = simulate_words(name, count=14, randomise="all.yaml", **own)
    empties = ["--first", "10000000", "--count", "8"]
    drawn = ["--seed", "7", "--randomise", "all.yaml"]
    for words in (
        water_words(f"water/{name}.h5", **own),
        simulated,
        ["labels", "--peaks", f"peaks/{name}.h5", "--output", f"labels/{name}.h5"],
        [
            *("overlay", "--water", f"water/{name}.h5", "--peaks", f"peaks/{name}.h5", *drawn),
            *("--output", f"overlay/{name}.h5"),
        ],
        [
            *("overlay", "--water", f"water/{name}.h5", *empties, *drawn, "--virtual"),
            *("--output", f"overlay/{name}empty.h5"),
        ],
        [
            *("manifest", "--overlay", f"overlay/{name}.h5", f"overlay/{name}empty.h5"),
            *("--peaks", f"peaks/{name}.h5", "--labels", f"labels/{name}.h5"),
            *("--truth", f"truth/{name}.parquet", "--output", f"{name}.parquet"),
        ],
    ):
        assert main([str(word) for word in words]) == 0


def common(name: str) -> list[str]:
    """Return the words that training and evaluation share."""
    return [
        *("--task", f"{name}.yaml", "--split", f"splits/{name}.parquet"),
        *("--detector", DETECTORS[GIVEN], "--threads", "1"),
    ]


@pytest.mark.parametrize("name", ["hit", "peaks"])
def test_models_of_single_pixels_train_and_are_evaluated_on_frames_of_several_shapes(
    name: str, several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(several)
    words = ["--model", f"models/{name}", "--water", "water/A.h5", "--output", f"said/{name}"]
    # A control of so few frames and epochs may come out either way; it is written first.
    assert main(["evaluate", *common(name), *words]) in (0, 1)
    said = json.loads(Path(f"said/{name}/evaluation.json").read_text())
    predictions = pd.read_parquet(f"said/{name}/predictions.parquet")
    split = pd.read_parquet(f"splits/{name}.parquet")
    assert set(predictions["dataset"]) == set(DETECTORS)
    assert said["n"]["test"] == (split["split"] == "test").sum()
    card = json.loads(Path(f"models/{name}/model.json").read_text())
    if name == "hit":
        # Taught by the tables of true spots that the simulation wrote.
        assert card["calibration"]["threshold"] == 0.5
    kinds = card["training_frames"]["detectors"]
    assert [kind[:2] for kind in kinds] == [[128, 166], [140, 90]]
    assert "128 x 166 pixels of 500 µm, 140 x 90 pixels of 666.7 µm" in Path(
        f"models/{name}/README.md"
    ).read_text(encoding="utf-8")


def test_the_classical_finder_takes_its_rings_from_each_frames_own_detector(
    several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spotmill.learning.peaks import open_peaks
    from spotmill.tasks import Task

    monkeypatch.chdir(several)
    task = Task.read("peaks.yaml")
    setup = open_peaks(task, Path("splits/peaks.parquet"), Path(DETECTORS[GIVEN]), "peaks.yaml")
    for name, path in DETECTORS.items():
        row = int(np.argmax(setup.frames.dataset == name))
        panel = read_geometry(path).detector(clen=0.05, photon_energy=7000.0).panels[0]
        # The first pixel's centre is half a pixel within the panel's outer corner.
        first = panel.corner + (panel.fs + panel.ss) / 2
        wanted = np.hypot(*first[:2]) / panel.pixel_size
        assert setup.views.of(row).radius[0, 0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whole", "model binary_cnn reads whole frames of one detector; dataset A has (140, 90)"),
        ("profile", "model radial_profile reads radial profiles of one detector; dataset A has"),
    ],
)
def test_models_of_one_detector_refuse_several_in_one_line(
    name: str,
    expected: str,
    several: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(several)
    words = common(name)
    words[5] = DETECTORS["A" if name == "profile" else GIVEN]
    assert main(["train", *words, "--output", f"models/{name}"]) == 1
    message = capsys.readouterr().err
    assert f"{name}.yaml: {expected}" in message
    assert message.count("\n") == 1
    assert not Path(f"models/{name}/model.json").exists()


def test_what_it_was_trained_on_is_told_and_any_shape_is_read(
    several: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(several)
    words = ["overlay/B.h5", "overlay/A.h5", "--models", "models", "--output", "out"]
    assert main(["predict", *words]) == 0
    assert "frames of 128 x 166 and 140 x 90 pixels" in capsys.readouterr().out
    assert len(pd.read_parquet("out/predictions.parquet")) == 28
    pipeline = Pipeline.load("models")
    assert pipeline.run(np.zeros((70, 300), np.uint16)) is None


def test_the_map_takes_frames_of_several_shapes(
    several: Path, monkeypatch: pytest.MonkeyPatch, spotmill: Callable[..., None]
) -> None:
    monkeypatch.chdir(several)
    spotmill("manifest", "--join", "A.parquet", "B.parquet", "--output", "all.parquet")
    Path("geom").mkdir()
    geometries = [Path(f"geom/{name}.geom") for name in ("A", "B")]
    for path in geometries:
        path.write_text(Path(DETECTORS[path.stem]).read_text())
    spotmill(
        "map", "--manifest", "all.parquet", "--geometry", *geometries, "--output", "map.parquet"
    )
    assert set(pd.read_parquet("map.parquet")["dataset"]) == {"A", "B"}


def test_the_shipped_configuration_is_valid_and_covers_many_detectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    plan = read_plan(read_yaml("config/any_detector.yaml"), "config/any_detector.yaml")
    shapes, pixels = set(), set()
    for name, row in plan.datasets.items():
        geometry = read_geometry(plan.concept(name, "detector"))
        detector = geometry.detector(clen=row.clen, photon_energy=row.photon_energy)
        shapes.add(detector.shape)
        pixels.add(round(detector.pixel_size * 1e6))
    assert len(shapes) >= 6
    assert {75, 100, 172} <= pixels
    assert len(plan.crystals) >= 4
    energies = [row.photon_energy for row in plan.datasets.values()]
    assert min(energies) <= 6500 and max(energies) >= 12000
    assert {task.target for task in plan.tasks.values()} >= {"hit", "peaks"}


def test_the_shipped_configuration_plans_a_whole_run(dry_runs: "DryRuns", tmp_path: Path) -> None:
    for name in ("Snakefile", "config", "resources", "workflow", "envs", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    words = ["--configfile", "config/any_detector.yaml"]
    jobs = dry_runs.ask(tmp_path, words=words)
    rules = {job["rule"] for job in jobs}
    assert {"simulate", "overlay", "check", "train", "evaluate", "report"} <= rules
