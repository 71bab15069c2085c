"""Split, train and evaluate, end to end on a small experiment."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from learning_data import DATASETS, make, write_task
from safetensors.numpy import load_file

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.digests import signed_json
from spotmill.learning import evaluation as evaluation_module
from spotmill.learning import store
from spotmill.learning.batches import Shuffled
from spotmill.learning.callbacks import resume_point
from spotmill.learning.controls import shuffled_labels
from spotmill.learning.frames import FrameFiles, WaterFrames, read_frames
from spotmill.recipes import RECIPES
from spotmill.tasks import Task

Run = Callable[..., None]

TASKS: dict[str, dict[str, Any]] = {
    "hit": {},
    "photon_energy": {
        "target": "photon_energy",
        "model": "radial_profile",
        "settings": {"bins": 24, "terms": 5},
        "epochs": 20,
        "early_stopping": {"patience": 5},
    },
    "linear": {
        "target": "camera_length",
        "model": "linear",
        "input": {"sum_bin": 2},
        "epochs": 6,
        "optimiser": "sgd",
        "learning_rate": 0.02,
        "schedule": {"patience": 0, "factor": 0.5, "threshold": 0.5},
        "balance": True,
        "controls": {"frames": 60, "epochs": 2},
        "notes": ["frames are summed 2 x 2"],
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learning")
    make(folder)
    for name, changes in TASKS.items():
        task = write_task(folder / f"{name}.yaml", **changes)
        words = ["--manifest", *(str(folder / f"manifest/{d}.parquet") for d in DATASETS)]
        output = folder / f"splits/{name}.parquet"
        assert main(["split", "--task", str(task), *words, "--output", str(output)]) == 0
    return folder


def common(data: Path, name: str) -> list[str]:
    return [
        *("--task", str(data / f"{name}.yaml"), "--split", str(data / f"splits/{name}.parquet")),
        *("--detector", str(data / "small.geom"), "--threads", "1"),
    ]


def train(data: Path, name: str, output: Path) -> int:
    return main(["train", *common(data, name), "--output", str(output)])


def evaluate(data: Path, name: str, model: Path, output: Path) -> int:
    given = ["--model", str(model), "--water", str(data / "water/A.h5"), "--output", str(output)]
    return main(["evaluate", *common(data, name), *given])


@pytest.fixture(scope="module")
def trained(data: Path) -> dict[str, Path]:
    folders = {name: data / f"models/{name}" for name in TASKS}
    for name, folder in folders.items():
        assert train(data, name, folder) == 0
    return folders


@pytest.mark.parametrize("name", TASKS)
def test_evaluation_holds_what_was_promised(
    name: str, data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    assert evaluate(data, name, trained[name], tmp_path) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    split = pq.read_table(data / f"splits/{name}.parquet").to_pandas()
    assert found["n"] == split["split"].value_counts().to_dict()
    n = found["n"]["test"]
    assert (found["task"], found["model"]) == (name, TASKS[name].get("model", "patch_counter"))
    assert [result["what"] for result in found["results"]] == ["model", *["baseline"] * 4]
    for result in found["results"]:
        assert result["n"] == n == np.sum(result["confusion"])
        assert result["correct"] == np.trace(result["confusion"])
        assert result["interval"][0] <= result["accuracy"] <= result["interval"][1]
        assert sum(part["correct"] for part in result["per_dataset"].values()) == result["correct"]
        assert result["per_dataset"].keys() == set(DATASETS)
    names = ["shuffled_labels", "equal_expectation"]
    names += ["signal_removed"] * (found["target"] == "hit")
    assert [control["name"] for control in found["controls"]] == names
    assert all(control["at_chance"] for control in found["controls"])
    assert found["notes"] == TASKS[name].get("notes", [])
    assert "seconds" not in found
    check_predictions(found, pd.read_parquet(tmp_path / "predictions.parquet"), split)


def check_predictions(found: dict[str, Any], said: pd.DataFrame, split: pd.DataFrame) -> None:
    test = split[split["split"] == "test"].reset_index(drop=True)
    assert said[["dataset", "index"]].equals(test[["dataset", "index"]])
    scores = said[[f"score_{number}" for number in range(len(found["classes"]))]]
    assert np.allclose(scores.sum(axis=1), 1)
    wrong = said[said["said"] != said["truth"]]
    assert len(wrong) == found["results"][0]["n"] - found["results"][0]["correct"]
    assert len(found["worst"]) == min(6, len(wrong))
    for error in found["worst"]:
        row = wrong[(wrong["dataset"] == error["dataset"]) & (wrong["index"] == error["index"])]
        assert (row["truth"].item(), row["said"].item()) == (error["truth"], error["said"])
    if found["target"] == "hit":
        expected = np.where(test["is_hit"], "hit", "no hit")
        assert (said["truth"] == expected).all()
        called = scores["score_1"] >= found["threshold"]
        assert ((said["said"] == "hit") == called).all()


def test_our_models_beat_the_baselines(
    data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("hit", "photon_energy"):
        assert evaluate(data, name, trained[name], tmp_path / name) == 0
        found = json.loads((tmp_path / name / "evaluation.json").read_text())
        ours, *classical = (result["accuracy"] for result in found["results"])
        assert ours >= max(classical)
        assert ours > 0.9


def test_model_folder_explains_itself(data: Path, trained: dict[str, Path]) -> None:
    card = json.loads((trained["hit"] / "model.json").read_text())
    assert card["classes"] == ["no hit", "hit"]
    assert card["training_datasets"] == list(DATASETS)
    assert (card["task"], card["seed"], card["recipe"]) == ("hit", 1, RECIPES["train"])
    weights = load_file(trained["hit"] / "model.safetensors")
    assert card["parameters"] <= sum(array.size for array in weights.values())
    history = pd.read_csv(trained["hit"] / "history.csv")
    assert list(history.columns[:3]) == ["epoch", "train_loss", "validation_loss"]
    assert len(history) == card["epochs_run"]
    assert history["validation_loss"].idxmin() == card["best_epoch"]
    assert sorted(path.name for path in trained["hit"].iterdir()) == [
        "README.md",
        "history.csv",
        "model.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("name", ["hit", "linear", "photon_energy"])
def test_killed_run_goes_on_to_the_same_result(
    name: str,
    data: Path,
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Shuffled.set_epoch

    def killed(self: Shuffled, epoch: int) -> None:
        if epoch == 3:
            raise RuntimeError("killed")
        whole(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Shuffled, "set_epoch", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(data, name, tmp_path)
    assert not (tmp_path / "model.json").exists()
    seen: list[int] = []
    monkeypatch.setattr(Shuffled, "set_epoch", lambda s, e: (seen.append(e), whole(s, e))[1])
    assert train(data, name, tmp_path) == 0
    assert min(seen) == 3
    for part in ("model.safetensors", "history.csv"):
        assert (tmp_path / part).read_bytes() == (trained[name] / part).read_bytes()


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [({"epochs": 4}, 4), ({"epochs": 20, "early_stopping": {"patience": 2, "min_delta": 9.0}}, 3)],
    ids=["all epochs", "stopped early"],
)
def test_run_killed_after_its_last_epoch_trains_no_more(
    changes: dict[str, Any],
    epochs: int,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = common(data, "linear")
    words[1] = str(write_task(tmp_path / "linear.yaml", **TASKS["linear"] | changes))
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert main(["train", *words, "--output", str(whole)]) == 0
    assert len(pd.read_csv(whole / "history.csv")) == epochs

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save_model", killed)
        with pytest.raises(RuntimeError, match="killed"):
            main(["train", *words, "--output", str(resumed)])
    assert list(resumed.glob(".checkpoints-*/last.ckpt"))
    assert main(["train", *words, "--output", str(resumed)]) == 0
    for part in ("model.safetensors", "history.csv", "model.json"):
        assert (resumed / part).read_bytes() == (whole / part).read_bytes()


def test_checkpoint_of_another_task_is_not_used(
    data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    stale = tmp_path / ".checkpoints-0123456789abcdef"
    stale.mkdir()
    (stale / "last.ckpt").write_text("another")
    assert train(data, "photon_energy", tmp_path) == 0
    for part in ("model.safetensors", "history.csv"):
        assert (tmp_path / part).read_bytes() == (trained["photon_energy"] / part).read_bytes()
    assert not stale.exists()


class Foreign:
    """Writes a file where a pickle of it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


def test_a_foreign_checkpoint_is_refused_unopened(tmp_path: Path) -> None:
    torch.save({"state_dict": Foreign(tmp_path / "opened")}, tmp_path / "last.ckpt")
    with pytest.raises(SpotmillError, match=r"last.ckpt: is no whole checkpoint; delete it"):
        resume_point(tmp_path)
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:200])
    with pytest.raises(SpotmillError, match=r"last.ckpt: is no whole checkpoint; delete it"):
        resume_point(tmp_path)
    assert not (tmp_path / "opened").exists()


def test_frames_are_joined_by_identity(data: Path, tmp_path: Path) -> None:
    table = pq.read_table(data / "splits/hit.parquet")
    positions = table["position"].to_pylist()
    positions[0], positions[1] = positions[1], positions[0]
    column = table.schema.get_field_index("position")
    swapped = table.set_column(column, table.schema.field(column), pa.array(positions, pa.int32()))
    pq.write_table(swapped, tmp_path / "swapped.parquet")
    task = Task.read(data / "hit.yaml")
    images = FrameFiles(read_frames(tmp_path / "swapped.parquet", task))
    with pytest.raises(Exception, match="frame 0 of dataset A is not at position 1") as caught:
        images.read(0)
    assert "overlay/A/c00000.h5" in str(caught.value)
    images.close()


def test_water_frames_differ_and_repeat(data: Path) -> None:
    one, other = (WaterFrames(data / "water/B.h5", 3, seed) for seed in (1, 1))
    assert np.array_equal(one.read(2)[0], other.read(2)[0])
    assert not np.array_equal(one.read(2)[0], one.read(1)[0])


def test_shuffling_keeps_sides_and_counts(data: Path) -> None:
    from spotmill.learning.encoders import EncodedFrames
    from spotmill.learning.setup import open_task

    task = Task.read(data / "linear.yaml")
    split, geometry = data / "splits/linear.parquet", data / "small.geom"
    setup = open_task(task, split, geometry, "linear.yaml")
    frames = setup.frames
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
    wide = task.model_copy(update={"controls": task.controls.model_copy(update={"frames": None})})
    setting = shuffled_labels(wide, frames, encoded, setup.condition, setup.dimensions)
    for side, rows in setting.rows.items():
        assert np.array_equal(rows, frames.rows(side))
        assert np.array_equal(np.bincount(setting.truth[rows]), np.bincount(frames.truth[rows]))
    assert (setting.truth != frames.truth).sum() > 0.3 * len(frames)
    few = shuffled_labels(task, frames, encoded, setup.condition, setup.dimensions)
    assert sum(map(len, few.rows.values())) == pytest.approx(60, abs=2)
    setup.images.close()


def test_evaluation_fails_where_a_control_is_off_chance(
    data: Path,
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    off = {
        "name": "equal_expectation",
        "what": "fresh photons: above chance, noise is learnt by heart",
        "n": 50,
        "correct": 49,
        "chance": 0.5,
        "at_chance": False,
    }
    monkeypatch.setattr(evaluation_module, "controls", lambda *_: ([off], []))
    assert evaluate(data, "hit", trained["hit"], tmp_path) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "control equal_expectation: 49 of 50 right where chance is 0.50" in message
    assert "noise is learnt by heart" in message
    assert json.loads((tmp_path / "evaluation.json").read_text())["controls"] == [off]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"settings": {"candidate": 3}}, "settings: candidate: unknown key"),
        ({"input": {"sum_bin": 2}}, "patch_counter reads single pixels; leave input.sum_bin at 1"),
        (
            {"model": "linear", "optimiser": "sgd", "learning_rate": 1e38},
            "learning_rate: the loss is not",
        ),
        ({"model": "binary_cnn", "input": {"sum_bin": 30}}, "binary_cnn cannot read frames of"),
    ],
)
def test_bad_tasks_leave_nothing(
    changes: dict[str, Any],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = write_task(tmp_path / "hit.yaml", **changes)
    words = [*common(data, "hit"), "--output", str(tmp_path / "model")]
    words[words.index("--task") + 1] = str(task)
    assert main(["train", *words]) == 1
    message = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(message) == 1
    assert str(task) in message[0]
    assert expected in message[0]
    assert not (tmp_path / "model/model.safetensors").exists()
    assert not (tmp_path / "model/model.json").exists()


def test_damaged_inputs_are_named(
    data: Path, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def message_of(code: int) -> str:
        assert code == 1
        return capsys.readouterr().err.splitlines()[-1]

    model = shutil.copytree(trained["hit"], tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    assert "does not hold this model" in message_of(evaluate(data, "hit", model, tmp_path / "e"))
    weights.unlink()
    assert "no such file" in message_of(evaluate(data, "hit", model, tmp_path / "e"))
    card = model / "model.json"
    card.write_text(card.read_text().replace('"candidates": 16', '"candidates": 17'))
    said = message_of(evaluate(data, "hit", model, tmp_path / "e"))
    assert "is not as training wrote it" in said
    facts = json.loads(card.read_text())
    del facts["sha256"]
    card.write_text(signed_json(facts))
    assert "settings is" in message_of(evaluate(data, "hit", model, tmp_path / "e"))
    card.write_text("{}")
    assert "is no model card" in message_of(evaluate(data, "hit", model, tmp_path / "e"))
    other = trained["photon_energy"]
    assert "was trained for" in message_of(evaluate(data, "hit", other, tmp_path / "e"))
    words = common(data, "hit")
    wide = tmp_path / "wide.geom"
    wide.write_text((data / "small.geom").read_text().replace("max_fs = 109", "max_fs = 119"))
    words[words.index("--detector") + 1] = str(wide)
    code = main(["train", *words, "--output", str(tmp_path / "m")])
    assert "wide.geom: describes frames of (120, 120) pixels" in message_of(code)
    assert not (tmp_path / "e").exists()
    assert not (tmp_path / "m").exists()


def test_reruns_are_bit_identical(data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    assert train(data, "hit", tmp_path) == 0
    for part in ("model.safetensors", "history.csv", "model.json"):
        assert (tmp_path / part).read_bytes() == (trained["hit"] / part).read_bytes()
