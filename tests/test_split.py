"""Which frame is on which side: by its identity alone."""

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from learning_data import make, write_task

from spotmill.cli import main
from spotmill.config import Split
from spotmill.formats.tables import SPLIT, provenance, read_table
from spotmill.splits import SIDES, position, side
from spotmill.tasks import Task, task_name

Run = Callable[..., None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    make(folder, patterns=12)
    return folder


def manifests(folder: Path, names: str = "ABCD") -> list[str]:
    return [str(folder / f"manifest/{name}.parquet") for name in names]


def sides(path: Path) -> dict[tuple[str, int], str]:
    table = read_table(path, SPLIT)
    keys = zip(table["dataset"].to_pylist(), table["index"].to_pylist(), strict=True)
    return dict(zip(keys, table["split"].to_pylist(), strict=True))


def test_positions_never_change() -> None:
    # Whoever changes the hash moves every frame of every user: these are BLAKE2b's, first 53 of
    # 64 bits, computed with coreutils' `b2sum -l 64`.
    assert position("01", 0) == (0xB2857FFD9077B4A5 >> 11) / 2**53
    assert position("01", 10_000_000) == (0xD0487CE9DF49DF47 >> 11) / 2**53


def test_shares_are_those_asked_for() -> None:
    shares = Split(train=0.6, validation=0.15, test=0.25)
    n = 20_000
    drawn = [side(f"{number % 7}", number, shares) for number in range(n)]
    for name in SIDES:
        share = getattr(shares, name)
        error = (share * (1 - share) * n) ** 0.5
        assert abs(drawn.count(name) - share * n) < 4 * error


def test_growing_and_choosing_move_no_frame(data: Path, tmp_path: Path, spotmill: Run) -> None:
    make(tmp_path / "more", patterns=30)
    all_of = write_task(tmp_path / "all.yaml")
    some = write_task(tmp_path / "some.yaml", datasets=["D", "B"], target="hit", seed=5)
    for name, task, folder in (
        ("few", all_of, data),
        ("more", all_of, tmp_path / "more"),
        ("some", some, tmp_path / "more"),
    ):
        output = tmp_path / f"{name}.parquet"
        spotmill("split", "--task", task, "--manifest", *manifests(folder), "--output", output)
    few, more = sides(tmp_path / "few.parquet"), sides(tmp_path / "more.parquet")
    chosen = sides(tmp_path / "some.parquet")
    assert len(few) < len(more)
    assert few.items() <= more.items()
    assert chosen.items() <= more.items()
    assert {dataset for dataset, _ in chosen} == {"B", "D"}


def test_order_of_manifests_does_not_matter(data: Path, tmp_path: Path, spotmill: Run) -> None:
    task = write_task(tmp_path / "hit.yaml")
    for name, order in (("one", "ABCD"), ("two", "DBCA")):
        words = ["--manifest", *manifests(data, order), "--output", tmp_path / f"{name}.parquet"]
        spotmill("split", "--task", task, *words)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    facts = provenance(pq.read_table(tmp_path / "one.parquet"))
    assert facts["task"] == "hit"
    assert facts["train"] == 0.7


@pytest.mark.parametrize(
    ("changes", "words", "expected"),
    [
        ({"datasets": ["A", "Z"]}, [], "datasets: 'Z' does not exist; there are A, B, C, D"),
        ({"datasets": []}, [], "datasets"),
        ({"model": "oracle"}, [], "model: unknown model 'oracle'; known here: patch_counter"),
        ({"model": "radial_profile"}, [], "radial_profile does not tell hit"),
        ({"learning_rate": -1}, [], "learning_rate"),
        ({"learnin_rate": 1}, [], "learnin_rate: unknown key"),
        ({}, ["--train", "0.9"], "must add up to 1"),
        ({}, ["--train", "1", "--validation", "0", "--test", "0"], "falls to validation"),
    ],
)
def test_bad_input_is_named(
    changes: dict[str, object],
    words: list[str],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = write_task(tmp_path / "task.yaml", **changes)
    output = tmp_path / "out/split.parquet"
    given = ["--task", str(task), "--manifest", *manifests(data), "--output", str(output)]
    assert main(["split", *given, *words]) == 1
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_a_target_needs_two_values(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(
        tmp_path / "energy.yaml", target="photon_energy", model="linear", datasets=["A", "C"]
    )
    words = ["--manifest", *manifests(data), "--output", str(tmp_path / "s.parquet")]
    assert main(["split", "--task", str(task), *words]) == 1
    assert (
        "energy.yaml: target photon_energy: its datasets have only one" in capsys.readouterr().err
    )


def test_a_frame_stands_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(tmp_path / "hit.yaml")
    words = ["--manifest", *manifests(data, "ABA"), "--output", str(tmp_path / "s.parquet")]
    assert main(["split", "--task", str(task), *words]) == 1
    assert "frame 0 of dataset A stands there twice" in capsys.readouterr().err


def test_shipped_tasks_are_whole() -> None:
    tasks = {task_name(path): Task.read(path) for path in (ROOT / "config/tasks").glob("*.yaml")}
    for target, paper in product(("photon_energy", "camera_length"), ("", "_linear")):
        assert tasks[target + paper].target == target
    assert {"hit", "hit_binary_cnn", "hit_base_cnn"} <= tasks.keys()
    for task in tasks.values():
        # What is reduced against the paper or the model itself must be said.
        reduced = task.input.sum_bin > 1 or task.controls.frames or task.controls.epochs
        assert bool(task.notes) >= bool(reduced)


def test_reading_a_task_is_cheap() -> None:
    code = "import sys, spotmill.tasks; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
