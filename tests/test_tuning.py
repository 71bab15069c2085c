"""Searches for settings: what they may try, that they go on, and that no test frame is read."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from kinds_data import DETECTOR, TASKS, common, make_kinds

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.digests import is_altered
from spotmill.learning.bench import Bench, KeptImages
from spotmill.learning.encoders import read_view
from spotmill.learning.frames import FrameFiles, read_frames
from spotmill.learning.registry import MODELS, model_module
from spotmill.learning.setup import open_task
from spotmill.tasks import Input, Task
from spotmill.tuning import Search, check_search, with_values

FILES = ("trials.csv", "tuning.json", "hit_tuned.yaml", "history.png")
SPACE = {
    "learning_rate": {"log": [1e-4, 0.3]},
    "settings.hidden": {"int": [2, 32]},
    "batch_size": {"categorical": [16, 32]},
}
SEARCH = {"task": "hit", "trials": 5, "pruner": {"trials": 2, "epochs": 2}, "space": SPACE}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with frames, tasks, and a search that ran."""
    folder = tmp_path_factory.mktemp("tuning")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_kinds(folder)
        assert tune("hit", "done") == 0
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def words(name: str, output: str, **changes: Any) -> list[str]:
    """Write a search file and return the words that run it."""
    path = Path(output) / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(SEARCH | {"task": name} | changes))
    return ["tune", "--search", str(path), *common(name), "--output", output]


def tune(name: str, output: str, **changes: Any) -> int:
    return main(words(name, output, **changes))


def same(one: str, other: str) -> None:
    for name in FILES:
        assert Path(one, name).read_bytes() == Path(other, name).read_bytes(), name


def test_the_table_holds_every_trial_and_the_best(here: Path) -> None:
    table = pd.read_csv("done/trials.csv")
    assert list(table) == ["trial", "state", "value", "best_epoch", "epochs", *SPACE, "best"]
    assert table["trial"].tolist() == [1, 2, 3, 4, 5]
    ended = table[table["state"] == "complete"]
    assert table[table["best"]]["value"].tolist() == [ended["value"].min()]
    assert ended["epochs"].eq(4).all()
    assert table["learning_rate"].between(1e-4, 0.3).all()
    # The task as it stands is tried first.
    first = table.iloc[0]
    assert (first["learning_rate"], first["settings.hidden"], first["batch_size"]) == (0.01, 16, 16)
    facts = json.loads(Path("done/tuning.json").read_text())
    assert facts["as_it_stands"] == first["value"] >= facts["best"]["value"]
    assert facts["best"]["value"] == ended["value"].min()
    assert facts["n"] == counts("hit")
    assert not is_altered(Path("done/tuning.json").read_bytes())
    assert Path("done/history.png").read_bytes().startswith(b"\x89PNG")


def counts(name: str) -> dict[str, int]:
    sides = pq.read_table(f"splits/{name}.parquet")["split"].to_pandas().value_counts().to_dict()
    return {side: sides[side] for side in ("train", "validation")}


def test_the_best_settings_are_a_task(here: Path) -> None:
    facts = json.loads(Path("done/tuning.json").read_text())
    found, before = Task.read("done/hit_tuned.yaml"), Task.read("hit.yaml")
    assert found.model_copy(update={"notes": ()}) == with_values(
        before, facts["best"]["values"], "x"
    )
    assert "the best of 5 trials by loss" in found.notes[-1]
    # Training it gives the loss that the search had.
    shutil.copy("splits/hit.parquet", "tuned.parquet")
    table = pq.read_table("tuned.parquet")
    facts_of = json.loads(table.schema.metadata[b"spotmill"]) | {"task": "hit_tuned"}
    pq.write_table(
        table.replace_schema_metadata({"spotmill": json.dumps(facts_of)}), "tuned.parquet"
    )
    given = ["--split", "tuned.parquet", "--detector", DETECTOR, "--output", "tuned"]
    assert main(["train", "--task", "done/hit_tuned.yaml", *given]) == 0
    history = pd.read_csv("tuned/history.csv")
    assert history["validation_loss"].min() == pytest.approx(facts["best"]["value"], rel=1e-9)


def test_the_same_search_again_and_after_a_kill(here: Path) -> None:
    """Killed within its third trial, with a line half written, it goes on to the same bytes."""
    arguments = words("hit", "killed")
    run = [sys.executable, "-m", "spotmill.cli", *arguments]
    process = subprocess.Popen(
        run, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 240
    while journal_of("killed").count('"result"') < 2 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not Path("killed/tuning.json").exists()
    before = journal_of("killed")
    (path,) = Path("killed").glob(".study-*/journal.log")
    with path.open("a") as journal:
        journal.write('{"op_code":6,"wor')
    assert main(arguments) == 0
    same("killed", "done")
    # What had ended was not tried again.
    assert journal_of("killed").startswith(before)
    assert journal_of("killed").count('"result"') in (5, 6)


def journal_of(folder: str) -> str:
    return "".join(path.read_text() for path in Path(folder).glob(".study-*/journal.log"))


def test_more_trials_go_on_where_fewer_ended(here: Path) -> None:
    assert tune("hit", "grown", trials=2) == 0
    assert tune("hit", "grown", trials=5) == 0
    assert journal_of("grown").count('"result"') == 5
    same("grown", "done")


def test_another_seed_is_another_search(here: Path) -> None:
    assert tune("hit", "seed", trials=3, seed=2) == 0
    one, other = pd.read_csv("seed/trials.csv"), pd.read_csv("done/trials.csv")
    assert one["learning_rate"][0] == other["learning_rate"][0]
    assert one["learning_rate"][1] != other["learning_rate"][1]
    assert len(list(Path("seed").glob(".study-*"))) == 1


def spoil_test_side(name: str) -> int:
    """Make every test frame of a split unreadable and its truth another; return how many."""
    path = f"splits/{name}.parquet"
    table = pq.read_table(path)
    rows = table.to_pandas()
    test = rows["split"] == "test"
    for kind in ("overlay", "peaks"):
        for file, own in rows[test & (rows[kind] != "")].groupby(kind):
            with h5py.File(file) as shard:
                chunks = [
                    shard["entry/data/data"].id.get_chunk_info_by_coord((place, 0, 0))
                    for place in own["position"]
                ]
            with Path(file).open("r+b") as raw:
                for chunk in chunks:
                    raw.seek(chunk.byte_offset)
                    raw.write(b"\xff" * chunk.size)
    for key in ("is_hit", "n_spots"):
        values = rows[key].where(~test, ~rows[key] if key == "is_hit" else 10**6).tolist()
        field = table.schema.field(key)
        place = table.schema.get_field_index(key)
        table = table.set_column(place, field, pa.array(values, field.type))
    pq.write_table(table, path)
    return int(test.sum())


@pytest.mark.parametrize("name", TASKS)
def test_no_test_frame_is_read(
    name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every kind of task; with all test frames unreadable it does as well."""
    monkeypatch.chdir(made)
    changes: dict[str, Any] = {"trials": 2, "space": {"learning_rate": {"log": [1e-3, 0.1]}}}
    if name == "peaks":
        changes |= {"pruner": None}
    assert tune(name, f"whole_{name}", **changes) == 0
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    assert spoil_test_side(name) > 5
    assert tune(name, "spoilt", **changes) == 0
    for file in ("trials.csv", f"{name}_tuned.yaml"):
        assert Path("spoilt", file).read_bytes() == (made / f"whole_{name}" / file).read_bytes()
    # They are unreadable indeed, and a bench knows none of them.
    if name == "hit":
        task = Task.read("hit.yaml")
        frames = read_frames("splits/hit.parquet", task)
        with pytest.raises((SpotmillError, OSError)):
            FrameFiles(frames).read(int(frames.rows("test")[0]))
        bench = Bench(task, Path("splits/hit.parquet"), Path(DETECTOR), "hit.yaml")
        assert set(bench._setup.frames.side.tolist()) == {"train", "validation"}


def test_frames_are_read_once(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a trial ran, the next ones need no file, even where frames are encoded anew."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    task = Task.read("hit.yaml")
    bench = Bench(task, Path("splits/hit.parquet"), Path(DETECTOR), "hit.yaml")
    first = bench.train(task, lambda row: None)
    bench._setup.images._images.close()
    shutil.rmtree("o")
    assert bench.train(task, lambda row: None) == first
    finer = with_values(task, {"settings.block": 16}, "x")
    assert bench.train(finer, lambda row: None).value != first.value


def test_kept_images_are_the_images(here: Path) -> None:
    setup = open_task(Task.read("hit.yaml"), Path("splits/hit.parquet"), Path(DETECTOR), "hit.yaml")
    kept, small = KeptImages(setup.images), KeptImages(setup.images, room=10)
    for row in (0, 3, 0, 3):
        for images in (kept, small):
            for one, other in zip(images.read(row), setup.images.read(row), strict=True):
                assert one.dtype == other.dtype and np.array_equal(one, other)
    setup.images.close()


OTHER = {"patch_counter": "hidden", "radial_profile": "terms", "profile_likelihood": "correction"}


@pytest.mark.parametrize("name", [name for name in MODELS if "peaks" not in MODELS[name].targets])
def test_encoders_depend_on_what_they_say(name: str, here: Path) -> None:
    module = model_module(name)
    told = getattr(module, "ENCODED", None)
    if told is None:
        return
    assert set(told) <= set(module.Settings.model_fields)
    left = set(module.Settings.model_fields) - set(told)
    task = Task.read("hit.yaml")
    frames = read_frames("splits/hit.parquet", task)
    images = FrameFiles(frames)
    image, mask = images.read(0)
    view = read_view(DETECTOR, image.shape, 0.05, 7000)
    plain = module.Settings()
    for key in left:
        value = getattr(plain, key)
        changed = module.Settings.model_validate(
            {key: value * 2 if key == "spacing" else value + 1}
        )
        both = [
            module.encoder(settings, Input(), view).encode(image, mask)
            for settings in (plain, changed)
        ]
        for one, other in zip(*both, strict=True):
            assert np.array_equal(one, other), f"{name}: {key}"
    images.close()
    assert OTHER.get(name) in {None, *left}


def test_a_trial_that_diverges_is_told_and_the_others_go_on(here: Path) -> None:
    space = {"learning_rate": {"categorical": [0.01, 1e37]}, "settings.hidden": {"int": [8, 16]}}
    assert tune("hit", "wild", trials=6, pruner=None, space=space) == 0
    table = pd.read_csv("wild/trials.csv")
    states = table.groupby("learning_rate")["state"].unique()
    assert states[0.01].tolist() == ["complete"]
    assert states[1e37].tolist() == ["diverged"]
    assert table["value"].isna().equals(table["state"] == "diverged")


def test_where_all_diverge_nothing_is_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = {"learning_rate": {"categorical": [1e36, 1e37]}}
    assert tune("hit", "lost", trials=2, space=space) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1 and "no trial came to its end" in said[0] and "learning_rate" in said[0]
    assert not any(Path("lost", name).exists() for name in FILES)


def test_a_broken_journal_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("hit", "broken", trials=1) == 0
    (journal,) = Path("broken").glob(".study-*/journal.log")
    journal.write_text("no journal\n" + journal.read_text())
    assert tune("hit", "broken", trials=2) == 1
    assert f"{journal}: is no journal of a search; delete it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {"lr": {"log": [1, 2]}}}, "space: 'lr' cannot be searched; known here: learn"),
        ({"space": {"settings.": {"log": [1, 2]}}}, "space: 'settings.' cannot be"),
        ({"space": {}}, "space: "),
        ({"space": {"batch_size": {"int": [9, 8]}}}, "int: the first number must be below"),
        ({"space": {"batch_size": {"int": [0, 8]}}}, "space: batch_size: must be 1 or more"),
        ({"space": {"batch_size": {"int": [1.5, 8]}}}, "space.batch_size.int: entry 1: "),
        ({"space": {"batch_size": {}}}, "give one of float"),
        ({"space": {"batch_size": {"int": [1, 8], "log": [1, 8]}}}, "give one of float"),
        ({"space": {"batch_size": {"even": [1, 8]}}}, "space.batch_size.even: unknown key"),
        ({"space": {"learning_rate": {"log": [0, 1]}}}, "log: both numbers must be above 0"),
        ({"space": {"learning_rate": {"float": [0.1, float("inf")]}}}, "space.learning_rate.float"),
        ({"space": {"optimiser": {"categorical": ["adam", "adam"]}}}, "a value stands twice"),
        ({"space": {"optimiser": {"categorical": ["adma"]}}}, "space: optimiser: "),
        (
            {"space": {"weight_decay": {"categorical": [0.0, 0.1]}}},
            "weight_decay: adam may mean two things",
        ),
        ({"space": {"settings.hiden": {"int": [1, 2]}}}, "space: settings: hiden: unknown key"),
        ({"space": {"settings.hidden": {"int": [0, 2]}}}, "space: settings: hidden: "),
        ({"space": {"input.sum_bin": {"int": [1, 2]}}}, "reads single pixels"),
        ({"trials": 0}, "trials: "),
        ({"trial": 3}, "trial: unknown key; known here: task, trials"),
        ({"pruner": {"trials": 0}}, "pruner.trials: "),
        ({"seed": -1}, "seed: "),
        ({"task": "peaks"}, "task is 'peaks', not 'hit'; name that task"),
    ],
    ids=str,
)
def test_bad_searches_say_what_is_wrong(
    changes: dict[str, Any], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("hit", "bad", **changes)
    assert main(arguments) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "bad/hit.yaml: " in said[0] and says in said[0]
    assert [path.name for path in Path("bad").iterdir()] == ["hit.yaml"]


@pytest.mark.parametrize("path", sorted((ROOT / "config/tasks").glob("*.yaml")), ids=str)
def test_every_shipped_task_can_be_read_from_its_card_and_searched(path: Path) -> None:
    task = Task.read(path)
    assert Task.parse(task.model_dump(mode="json"), path) == task
    assert with_values(task, {"batch_size": 7}, "s.yaml").batch_size == 7


def test_peaks_have_no_pruner() -> None:
    search = Search.parse({**SEARCH, "task": "peaks"}, "s.yaml")
    task = Task.parse(TASKS["peaks"], "peaks.yaml")
    with pytest.raises(SpotmillError, match=r"s.yaml: pruner: peaks are judged by F1"):
        check_search(search, "peaks", task, "s.yaml")
