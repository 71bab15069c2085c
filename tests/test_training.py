"""How models are trained: resumed, on several processes, scheduled, and watched."""

import contextlib
import json
import math
import os
import pty
import random
import re
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_peaks
import test_values
import torch
from conftest import ROOT, copy_tiny
from learning_data import DATASETS, GEOMETRY, make, write_task
from safetensors.numpy import load_file

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.learning.batches import Batches, InOrder, Shuffled
from spotmill.learning.callbacks import scheduler
from spotmill.learning.learner import Mean
from spotmill.tasks import Schedule, Task

WHOLE = {"model": "linear", "target": "camera_length", "input": {"sum_bin": 2}, "batch_size": 13}
# Of every kind one task, with a batch that its frames do not fill and what a resume must keep.
TASKS: dict[str, dict[str, Any]] = {
    "classes": {
        **WHOLE,
        "optimiser": "sgd",
        "momentum": 0.5,
        "learning_rate": 0.02,
        "epochs": 4,
        "balance": True,
        "schedule": {"kind": "cosine", "warm_up": 0.3},
    },
    "peaks": {
        "target": "peaks",
        "model": "peak_net",
        "settings": test_peaks.NET,
        "batch_size": 48,
        "epochs": 4,
        "learning_rate": 0.005,
        "schedule": {"kind": "cosine"},
        "gradient_clip": 1.0,
    },
    "values": {
        "target": "photon_energy",
        "scale": "values",
        "model": "profile_likelihood",
        "settings": {"bins": 32, "spacing": 2.0, "correction": 3},
        "batch_size": 16,
        "epochs": 4,
        "learning_rate": 0.05,
        "schedule": {"patience": 0, "threshold": 0.5, "factor": 0.5},
        "early_stopping": {"patience": 2, "min_delta": 1e-9},
    },
}
PARTS = ("model.safetensors", "history.csv", "model.json", "README.md")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with frames, tasks and splits of every kind."""
    folder = tmp_path_factory.mktemp("training")
    make(folder / "classes", patterns=20)
    for dataset in "AB":
        test_peaks.make(folder / "peaks", dataset)
    (folder / "peaks/small.geom").write_text(GEOMETRY)
    for kind, names in (("classes", DATASETS), ("peaks", "AB")):
        task = write_task(folder / f"{kind}.yaml", **TASKS[kind])
        words = ["--manifest", *(str(folder / kind / f"manifest/{d}.parquet") for d in names)]
        split = str(folder / f"{kind}.parquet")
        assert main(["split", "--task", str(task), *words, "--output", split]) == 0
    tiny = copy_tiny(folder / "values")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny)
        test_values.make_frames()
        write_task(folder / "values.yaml", **TASKS["values"])
        words = ["--manifest", "m.parquet", "--output", str(folder / "values.parquet")]
        assert main(["split", "--task", str(folder / "values.yaml"), *words]) == 0
    return folder


def words(data: Path, kind: str, output: Path) -> list[str]:
    geometry = data / kind / "small.geom"
    if kind == "values":
        geometry = data / "values/config/detectors/tiny.geom"
    return [
        *("train", "--task", str(data / f"{kind}.yaml"), "--split", str(data / f"{kind}.parquet")),
        *("--detector", str(geometry), "--output", str(output)),
    ]


def place(data: Path, kind: str) -> Path:
    """Return the folder in which the files of a kind have their names."""
    return data / "values" if kind == "values" else data


@pytest.fixture(scope="module")
def trained(data: Path) -> dict[str, Path]:
    folders = {}
    for kind in TASKS:
        folders[kind] = data / "models" / kind
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place(data, kind))
            assert main(words(data, kind, folders[kind])) == 0
    return folders


def same(one: Path, other: Path) -> None:
    for part in PARTS:
        assert (one / part).read_bytes() == (other / part).read_bytes(), part


@pytest.mark.parametrize("kind", TASKS)
def test_killed_run_goes_on_to_the_same_result(
    kind: str,
    data: Path,
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place(data, kind))
    whole = Shuffled.set_epoch
    seen: list[int] = []

    def killed(self: Shuffled, epoch: int) -> None:
        if epoch == 2:
            raise RuntimeError("killed")
        whole(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Shuffled, "set_epoch", killed)
        with pytest.raises(RuntimeError, match="killed"):
            main(words(data, kind, tmp_path))
    assert not (tmp_path / "model.json").exists()
    (live,) = tmp_path.glob(".checkpoints-*/history.csv")
    assert len(pd.read_csv(live)) == 2
    monkeypatch.setattr(Shuffled, "set_epoch", lambda s, e: (seen.append(e), whole(s, e))[1])
    assert main(words(data, kind, tmp_path)) == 0
    assert min(seen) == 2
    same(tmp_path, trained[kind])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PARTS)


def command(*given: str, **variables: str) -> subprocess.Popen[str]:
    """Start spotmill as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "spotmill.cli", *given],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_run_killed_at_any_moment_goes_on_to_the_same_result(data: Path, tmp_path: Path) -> None:
    task = TASKS["peaks"] | {"epochs": 20}
    write_task(data / "peaks_long.yaml", **task)
    given = words(data, "peaks", tmp_path / "killed")
    given[2] = str(data / "peaks_long.yaml")
    # The split names its task.
    given[4] = str(data / "peaks_long.parquet")
    manifests = [str(data / "peaks" / f"manifest/{d}.parquet") for d in "AB"]
    split = ["split", "--task", given[2], "--manifest", *manifests, "--output", given[4]]
    assert main(split) == 0
    process = command(*given)
    try:
        while not list((tmp_path / "killed").glob(".checkpoints-*/last.ckpt")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
    finally:
        process.kill()
        process.communicate()
    assert main(given) == 0
    assert main([*given[:-1], str(tmp_path / "whole")]) == 0
    same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("kind", ["classes", "peaks"])
def test_two_processes_take_the_steps_of_one(
    kind: str, data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    given = words(data, kind, tmp_path)
    if kind == "peaks":
        # One node: the first process starts the other.
        processes = [command(*given, "--devices", "2")]
    else:
        # As srun starts them, on two nodes.
        slurm = {
            **{"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2"},
            **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2"},
            **{"SLURM_LOCALID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()},
        }
        processes = [
            command(*given, "--nodes", "2", **slurm, SLURM_PROCID=rank, SLURM_NODEID=rank)
            for rank in ("0", "1")
        ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    assert "epoch 4 of at most 4" in said[0]
    assert "".join(said).count("epoch 4 of at most 4") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PARTS)
    one, two = (pd.read_csv(folder / "history.csv") for folder in (trained[kind], tmp_path))
    assert list(one) == list(two)
    np.testing.assert_allclose(one, two, rtol=2e-4)
    if kind == "classes":
        # The share of right answers counts every frame once.
        assert one["validation_accuracy"].equals(two["validation_accuracy"])
    before, after = (load_file(folder / PARTS[0]) for folder in (trained[kind], tmp_path))
    for name, values in before.items():
        np.testing.assert_allclose(values, after[name], atol=1e-3 * abs(values).max())


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize(("count", "size", "processes"), [(17, 8, 3), (33, 16, 4), (10, 4, 4)])
@pytest.mark.parametrize("even", [False, True])
def test_processes_share_batches_without_repeats(
    count: int, size: int, processes: int, even: bool
) -> None:
    rows = np.arange(100, 100 + count)
    batches = Batches(Shuffled(rows, 5), size, even)
    alone = batches.parts(0, 1)
    assert sorted(row for batch in alone for row in batch) == rows.tolist()
    assert [batches.whole(number) for number in range(len(batches))] == list(map(len, alone))
    shared = [batches.parts(process, processes) for process in range(processes)]
    for number, batch in enumerate(alone):
        counted = [shared[p][number] for p in range(processes) if p < batches.whole(number)]
        assert sorted(row for part in counted for row in part) == sorted(batch)
        assert all(part[number] for part in shared)


def test_a_mean_weighs_by_samples() -> None:
    mean = Mean()
    mean.update(torch.tensor(1 / 3), 16)
    mean.update(torch.tensor(2.0), 1)

    class Alone:
        world_size = 1

    assert mean.take(Alone()) == (np.float32(1 / 3).astype(float) * 16 + 2) / 17  # type: ignore[arg-type]
    mean.update(torch.tensor(math.nan), 1)
    assert math.isnan(mean.take(Alone()))  # type: ignore[arg-type]


def test_loss_of_validation_is_the_mean_over_frames(data: Path, trained: dict[str, Path]) -> None:
    """Whatever the batches: 13 do not divide the frames."""
    history = pd.read_csv(trained["classes"] / "history.csv")
    split = pd.read_parquet(data / "classes.parquet")
    n = int((split["split"] == "validation").sum())
    assert n % 13
    right = history["validation_accuracy"] * n
    np.testing.assert_allclose(right, right.round(), atol=1e-9)


def test_histories_have_their_columns(trained: dict[str, Path]) -> None:
    further = {"classes": ["validation_accuracy"], "peaks": [], "values": ["validation_rmse"]}
    for kind, folder in trained.items():
        history = pd.read_csv(folder / "history.csv")
        names = ["epoch", "train_loss", "validation_loss", *further[kind], "learning_rate"]
        assert list(history) == names
        assert history["epoch"].tolist() == list(range(len(history)))


@pytest.mark.parametrize("kind", TASKS)
def test_all_kinds_stop_early(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place(data, kind))
    stop = {"early_stopping": {"patience": 1, "min_delta": 100.0}}
    kept = (data / f"{kind}.yaml").read_text()
    write_task(data / f"{kind}.yaml", **TASKS[kind] | stop)
    try:
        assert main(words(data, kind, tmp_path)) == 0
    finally:
        (data / f"{kind}.yaml").write_text(kept)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2


def test_rates_follow_their_schedule(trained: dict[str, Path]) -> None:
    peaks = pd.read_csv(trained["peaks"] / "history.csv")["learning_rate"]
    expected = 0.005 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose(peaks, expected, rtol=1e-9)
    values = pd.read_csv(trained["values"] / "history.csv")["learning_rate"]
    assert values.iloc[-1] < values.iloc[0]


def test_a_cosine_rises_and_falls() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimiser = torch.optim.SGD(weights, lr=2.0)
    steps = scheduler(Schedule(kind="cosine", warm_up=0.25), optimiser, 16)
    rates = []
    for _ in range(16):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        steps.step()
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    falling = 1 + np.cos(np.pi * np.arange(12) / 12)
    np.testing.assert_allclose(rates[4:], falling, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimiser": "adam", "weight_decay": 0.1}, "say optimiser: adamw"),
        ({"optimiser": "adamw", "momentum": 0.9}, "momentum: is a key of sgd"),
        ({"schedule": {"kind": "cosine", "patience": 5}}, "patience is not a key of kind cosine"),
        ({"schedule": {"warm_up": 0.1}}, "warm_up is not a key of kind plateau"),
        ({"precision": "16-true"}, "precision: "),
        ({"gradient_clip": 0}, "gradient_clip: "),
        (TASKS["values"] | {"precision": "bf16-mixed"}, "computes in double precision"),
    ],
)
def test_tasks_say_what_they_mean(changes: dict[str, Any], expected: str) -> None:
    task = {"target": "camera_length", "model": "linear", "epochs": 1, "learning_rate": 0.1}
    with pytest.raises(SpotmillError) as caught:
        Task.parse(task | changes, "task.yaml")
    assert expected in str(caught.value)


def one_epoch(data: Path, folder: Path, **changes: Any) -> tuple[int, Path]:
    """Train the task of classes for an epoch, changed."""
    base = {key: value for key, value in TASKS["classes"].items() if key != "momentum"}
    (folder / "classes.yaml").parent.mkdir(parents=True)
    task = write_task(
        folder / "classes.yaml", **base | {"optimiser": "adam", "epochs": 1} | changes
    )
    given = words(data, "classes", folder / "model")
    given[2] = str(task)
    return main(given), folder / "model"


def test_what_changes_numbers_does(data: Path, tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {
        "adam": {},
        "adamw": {"optimiser": "adamw"},
        "decay": {"optimiser": "adamw", "weight_decay": 0.5},
        "clip": {"gradient_clip": 1e-3},
        "loose": {"gradient_clip": 1e6},
        "coarse": {"precision": "bf16-mixed"},
    }
    weights, losses = {}, {}
    for name, change in changes.items():
        code, folder = one_epoch(data, tmp_path / name, **change)
        assert code == 0
        weights[name] = load_file(folder / PARTS[0])["layer.weight"]
        losses[name] = float(pd.read_csv(folder / "history.csv")["train_loss"].iloc[0])
        assert json.loads((folder / "model.json").read_text())["precision"] == change.get(
            "precision", "32-true"
        )
    assert np.array_equal(weights["adam"], weights["adamw"])
    assert np.array_equal(weights["adam"], weights["loose"])
    for name in ("decay", "clip", "coarse"):
        assert not np.array_equal(weights["adam"], weights[name])
    assert weights["coarse"].dtype == np.float32
    assert losses["coarse"] == pytest.approx(losses["adam"], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "more", "expected"),
    [
        ({"precision": "16-mixed"}, [], "precision: 16-mixed needs a GPU"),
        ({}, ["--nodes", "2"], "2 nodes need srun"),
        ({}, ["--devices", "14"], "14 processes are more than the"),
        ({}, ["--devices", "0"], "--devices: 0 is not between"),
    ],
)
def test_machines_that_cannot_are_refused(
    changes: dict[str, Any],
    more: list[str],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    task = write_task(tmp_path / "classes.yaml", **TASKS["classes"] | changes)
    given = words(data, "classes", tmp_path / "model")
    given[2] = str(task)
    assert main([*given, *more]) == 1
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "model/model.json").exists()


def test_a_terminal_shows_progress_and_one_line_an_epoch(data: Path, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    command = [sys.executable, "-m", "spotmill.cli", *words(data, "classes", tmp_path / "seen")]
    with subprocess.Popen(command, stderr=follower) as process:
        os.close(follower)
        shown = b""
        # A terminal whose last writer has gone answers with an error, not with nothing.
        with contextlib.suppress(OSError):
            while said := os.read(leader, 100_000):
                shown += said
    os.close(leader)
    assert process.returncode == 0, shown
    assert re.search(rb"classes\.yaml: .*\d+/\d+ \[", shown), shown
    assert len(re.findall(rb"epoch \d+ of at most \d+: ", shown)) == 4, shown


def test_batches_in_order_stay_in_order() -> None:
    assert Batches(InOrder(np.arange(5)), 2).parts(0, 1) == [[0, 1], [2, 3], [4]]
