"""Tests on whole datasets that training never saw: `hold_out` of a task."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, simulate_words, water_words
from learning_data import DATASETS, EMPTIES, SHAPE, header, make, mask, write_task

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frames import write_shard
from spotmill.formats.tables import SPLIT, write_table
from spotmill.model import read_yaml
from spotmill.plan import read_plan
from spotmill.report.evaluations import read_tasks

Run = Callable[..., None]

PATTERNS = 30
OUT = ("C",)
TASKS: dict[str, dict[str, Any]] = {
    "hit": {"epochs": 25, "controls": {"frames": 60, "epochs": 2}},
    "photon_energy": {
        "target": "photon_energy",
        "model": "radial_profile",
        "settings": {"bins": 24, "terms": 5},
        "epochs": 10,
        "controls": {"frames": 60, "epochs": 2},
    },
}


def manifests(folder: Path) -> list[str]:
    return [str(folder / f"manifest/{name}.parquet") for name in DATASETS]


def split(folder: Path, task: Path, output: Path) -> int:
    words = ["--manifest", *manifests(folder), "--output", str(output)]
    return main(["split", "--task", str(task), *words])


def common(folder: Path, name: str) -> list[str]:
    return [
        *("--task", str(folder / f"{name}.yaml"), "--split", str(folder / f"{name}.parquet")),
        *("--detector", str(folder / "small.geom"), "--threads", "1"),
    ]


def evaluate(folder: Path, name: str, output: Path) -> int:
    given = ["--model", str(folder / f"models/{name}"), "--output", str(output)]
    return main(["evaluate", *common(folder, name), *given, "--water", str(folder / "water/C.h5")])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return four datasets and tasks that hold one out, trained."""
    folder = tmp_path_factory.mktemp("held_out")
    make(folder, PATTERNS)
    for name, changes in TASKS.items():
        task = write_task(folder / f"{name}.yaml", hold_out=OUT, **changes)
        assert split(folder, task, folder / f"{name}.parquet") == 0
        assert main(["train", *common(folder, name), "--output", f"{folder}/models/{name}"]) == 0
    return folder


def test_other_frames_keep_their_side(data: Path, tmp_path: Path) -> None:
    usual = write_task(tmp_path / "usual.yaml")
    assert split(data, usual, tmp_path / "usual.parquet") == 0
    key = ["dataset", "index"]
    before = pd.read_parquet(tmp_path / "usual.parquet").set_index(key)["split"]
    now = pd.read_parquet(data / "hit.parquet").set_index(key)["split"]
    held = now.index.get_level_values("dataset") == "C"
    assert held.sum() == PATTERNS + EMPTIES
    assert (now[held] == "test").all()
    others = before[before.index.get_level_values("dataset") != "C"]
    # What is for testing elsewhere is left out, not trained on.
    assert now[~held].to_dict() == others[others != "test"].to_dict()
    assert (others == "test").any()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hold_out": ["Z"]}, "hold_out: 'Z' does not exist; known here: A, B, C, D"),
        ({"hold_out": list(DATASETS)}, "hold_out: names every dataset of the task"),
        ({"hold_out": ["C"], "datasets": ["A", "B"]}, "hold_out: 'C' is not in datasets"),
        ({"hold_out": ["C", "C"]}, "hold_out: 'C' stands there twice"),
        (
            {"hold_out": ["B", "D"], "target": "photon_energy", "model": "linear"},
            "hold_out: no other dataset has the photon_energy 8000 of 'B', so it cannot be learnt",
        ),
    ],
)
def test_what_cannot_be_held_out_is_named(
    changes: dict[str, Any],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task, output = write_task(tmp_path / "task.yaml", **changes), tmp_path / "split.parquet"
    assert split(data, task, output) == 1
    message = capsys.readouterr().err
    assert f"task.yaml: {expected}" in message
    assert message.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("task", "line", "expected"),
    [
        ("hit", "hold_out: [Z]", "hold_out: 'Z' does not exist; known here: A, B, C"),
        ("hit", "hold_out: [A, B, C]", "hold_out: names every dataset of the task"),
        (
            "camera_length",
            "hold_out: [C]",
            "hold_out: no other dataset has the camera_length 0.09 of 'C'",
        ),
    ],
)
def test_the_configuration_is_refused_before_anything_runs(
    task: str, line: str, expected: str, tiny: Path
) -> None:
    path = tiny / f"config/tasks/{task}.yaml"
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(SpotmillError, match=rf"{task}\.yaml: {expected}".replace("[", r"\[")):
        read_plan(read_yaml("config/config.yaml"))


def test_the_plan_tells_training_from_test_datasets(tiny: Path) -> None:
    path = tiny / "config/tasks/hit.yaml"
    path.write_text(f"{path.read_text()}\nhold_out: [B]\n")
    plan = read_plan(read_yaml("config/config.yaml"))
    assert plan.task_datasets("hit") == ["A", "B", "C"]
    assert (plan.training_datasets("hit"), plan.test_datasets("hit")) == (["A", "C"], ["B"])
    assert plan.test_datasets("camera_length") == ["A", "B", "C"]


@pytest.mark.parametrize("name", TASKS)
def test_evaluation_says_what_was_held_out(name: str, data: Path, tmp_path: Path) -> None:
    assert evaluate(data, name, tmp_path / "evaluation") == 0
    found = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert found["held_out"] == ["C"]
    assert found["n"]["test"] == PATTERNS + EMPTIES
    for result in found["results"]:
        assert result["per_dataset"].keys() == {"C"}
    told = pd.read_parquet(tmp_path / "evaluation/predictions.parquet")
    assert set(told["dataset"]) == {"C"}
    card = json.loads((data / f"models/{name}/model.json").read_text())
    assert card["training_datasets"] == ["A", "B", "D"]
    assert card["hold_out"] == ["C"]
    assert card["dimensions"]["conditions"] == 3
    tasks = read_tasks([tmp_path / "evaluation"], [data / f"models/{name}"])
    assert list(tasks[0].evaluation.held_out) == ["C"]
    # Of one energy alone a guess is right in one of two, not always.
    assert tasks[0].evaluation.ours.majority < 1


def test_training_does_not_see_what_is_held_out(data: Path, tmp_path: Path) -> None:
    make(tmp_path, PATTERNS)
    for kind, first, count in (("crystal", 0, PATTERNS), ("empty", FIRST_EMPTY, EMPTIES)):
        path, indices = tmp_path / f"overlay/C/{kind[0]}00000.h5", np.arange(first, first + count)
        path.unlink()
        about = header("C", "overlay", kind)
        with write_shard(path, about, indices, SHAPE, np.uint16, mask()) as shard:
            for index in indices.tolist():
                shard.put(index, np.full(SHAPE, index % 7, dtype=np.uint16))
    for name in TASKS:
        shutil.copy(data / f"{name}.yaml", tmp_path)
        assert split(tmp_path, tmp_path / f"{name}.yaml", tmp_path / f"{name}.parquet") == 0
        assert main(["train", *common(tmp_path, name), "--output", f"{tmp_path}/{name}"]) == 0
        weights = [
            (folder / "model.safetensors").read_bytes()
            for folder in (data / f"models/{name}", tmp_path / name)
        ]
        assert weights[0] == weights[1]


def spoilt(data: Path, folder: Path, change: Callable[[pd.DataFrame], None], **facts: Any) -> Path:
    """Write the split of the task of hits with some sides changed; return its folder."""
    rows = pd.read_parquet(data / "hit.parquet")
    change(rows)
    write_table(folder / "hit.parquet", rows.to_dict("list"), SPLIT, {"task": "hit"} | facts)
    for name in ("hit.yaml", "small.geom"):
        shutil.copy(data / name, folder)
    return folder


def first_of_c_to_training(rows: pd.DataFrame) -> None:
    rows.loc[(rows["dataset"] == "C").idxmax(), "split"] = "train"


def first_of_a_to_test(rows: pd.DataFrame) -> None:
    rows.loc[(rows["dataset"] == "A").idxmax(), "split"] = "test"


@pytest.mark.parametrize(
    ("change", "facts", "expected"),
    [
        (first_of_c_to_training, {}, "of dataset C is for train, but hold_out is ['C']"),
        (first_of_a_to_test, {}, "of dataset A is for test, but hold_out is ['C']"),
        (lambda rows: None, {"hold_out": ["A"]}, "hold_out was ['A'], the task says ['C']"),
        (lambda rows: None, {"hold_out": []}, "hold_out was [], the task says ['C']"),
    ],
)
def test_a_split_that_leaks_is_refused(
    change: Callable[[pd.DataFrame], None],
    facts: dict[str, Any],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = spoilt(data, tmp_path, change, **facts)
    assert main(["train", *common(folder, "hit"), "--output", str(tmp_path / "model")]) == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "model/model.json").exists()


def test_a_model_that_saw_the_dataset_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(data / "small.geom", tmp_path)
    shutil.copytree(data / "models", tmp_path / "models")
    task = write_task(tmp_path / "hit.yaml", hold_out=["A"], **TASKS["hit"])
    assert split(data, task, tmp_path / "hit.parquet") == 0
    given = ["--model", str(tmp_path / "models/hit"), "--output", str(tmp_path / "evaluation")]
    words = [*common(tmp_path, "hit"), *given, "--water", str(data / "water/A.h5")]
    assert main(["evaluate", *words]) == 1
    assert "hold_out is ['C'], the task" in capsys.readouterr().err
    assert not (tmp_path / "evaluation").exists()


def test_another_protein_and_cell(tiny: Path, spotmill: Run) -> None:
    crystals = {"A": "proteinase_k", "M": "myoglobin"}
    own = (tiny / "config/crystals/proteinase_k.yaml").read_text()
    size = next(line for line in own.splitlines() if line.startswith("size"))
    shipped = (ROOT / "config/crystals/myoglobin.yaml").read_text()
    text = shipped.replace("size: 1.0e-5", size).replace("d_min: 1.6", "d_min: 2.5")
    (tiny / "config/crystals/myoglobin.yaml").write_text(text)
    for dataset, crystal in crystals.items():
        file = f"config/crystals/{crystal}.yaml"
        structure = read_yaml(file)["structure"]
        spotmill("reflections", structure, "--crystal", file, "--output", f"{crystal}.mtz")
        assert main(water_words(f"water/{dataset}.h5", dataset=dataset)) == 0
        changes = {"crystal": file, "reflections": f"{crystal}.mtz", "dataset": dataset}
        assert main(simulate_words(f"{dataset}/p00000", count=24, **changes)) == 0
        draw = ["overlay", "--water", f"water/{dataset}.h5", "--seed", 7, "--virtual"]
        peaks, labels = f"peaks/{dataset}/p00000.h5", f"labels/{dataset}/p00000.h5"
        spotmill(*draw, "--peaks", peaks, "--output", f"{dataset}/p00000.h5")
        spotmill(*draw, "--first", FIRST_EMPTY, "--count", 12, "--output", f"{dataset}/e00000.h5")
        spotmill("labels", "--peaks", peaks, "--output", labels)
        truth = f"truth/{dataset}/p00000.parquet"
        parts = ["--peaks", peaks, "--labels", labels, "--truth", truth]
        overlay = ["--overlay", f"{dataset}/p00000.h5", f"{dataset}/e00000.h5"]
        spotmill("manifest", *overlay, *parts, "--output", f"{dataset}.parquet")
    changes = {"settings": {"candidates": 16, "block": 32, "hidden": 8}, "hold_out": ["M"]}
    changes |= {"epochs": 20, "batch_size": 8, "controls": {"frames": 30, "epochs": 1}}
    task = write_task(Path("hit.yaml"), **changes)
    spotmill(
        "split", "--task", task, "--manifest", "A.parquet", "M.parquet", "--output", "s.parquet"
    )
    words = ["--task", task, "--split", "s.parquet", "--detector", "config/detectors/tiny.geom"]
    spotmill("train", *words, "--output", "model")
    spotmill(*("evaluate", *words, "--model", "model", "--water", "water/M.h5", "--output", "told"))
    found = json.loads(Path("told/evaluation.json").read_text())
    assert (found["held_out"], found["n"]["test"]) == (["M"], 36)
    assert found["results"][0]["correct"] > 0.7 * 36
