"""The loader: its order, its workers, its memory, and that none of them changes what is learnt."""

import multiprocessing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from learning_data import DATASETS, make, write_task

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.learning import frames as frames_module
from spotmill.learning.batches import InOrder, Shuffled, loader
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.frames import FrameFiles
from spotmill.learning.setup import Setup, open_task
from spotmill.learning.streams import Stream
from spotmill.tasks import Task

CHANGES = {"model": "linear", "target": "camera_length", "epochs": 3, "batch_size": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loader")
    make(folder)
    task = write_task(folder / "linear.yaml", **CHANGES)
    words = ["--manifest", *(str(folder / f"manifest/{d}.parquet") for d in DATASETS)]
    output = str(folder / "split.parquet")
    assert main(["split", "--task", str(task), *words, "--output", output]) == 0
    return folder


def opened(data: Path) -> Setup:
    source = data / "linear.yaml"
    return open_task(Task.read(source), data / "split.parquet", data / "small.geom", str(source))


def encoded(setup: Setup, workers: int = 0, room: int = 10**9) -> EncodedFrames:
    return EncodedFrames(setup.images, setup.encoder, setup.frames.truth, workers, room)


def epochs(frames: EncodedFrames, rows: np.ndarray, count: int) -> list[list[torch.Tensor]]:
    order = Shuffled(rows, 3)
    batches = loader(frames, order, 16)
    found = []
    for epoch in range(count):
        order.set_epoch(epoch)
        found.append([part for batch in batches for part in batch])
    return found


@pytest.mark.parametrize(("workers", "room"), [(1, 0), (2, 30_000)])
def test_batches_do_not_depend_on_workers(workers: int, room: int, data: Path) -> None:
    setup = opened(data)
    rows = setup.frames.rows("train")
    expected = epochs(encoded(setup), rows, 2)
    found = epochs(encoded(opened(data), workers, room), rows, 2)
    for ours, theirs in zip(expected, found, strict=True):
        assert len(ours) == len(theirs)
        assert all(torch.equal(left, right) for left, right in zip(ours, theirs, strict=True))
    assert not torch.equal(expected[0][0], expected[1][0])


def test_workers_draw_nothing_from_the_generator_of_the_training(data: Path) -> None:
    setup = opened(data)
    rows = setup.frames.rows("train")
    states = []
    for workers in (0, 2):
        torch.manual_seed(5)
        epochs(encoded(setup, workers), rows, 1)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_the_order_mixes_all_shards_and_depends_on_seed_and_epoch_alone() -> None:
    rows, shard_size = np.arange(400), 20
    order = Shuffled(rows, 3)
    first = list(order)
    assert sorted(first) == rows.tolist() and list(Shuffled(rows, 3)) == first
    assert list(Shuffled(rows, 4)) != first
    order.set_epoch(1)
    assert list(order) != first
    # A window of the order as long as a shard meets many shards: 20 draws of 20 give 12.8.
    windows = [first[at : at + shard_size] for at in range(0, 400, shard_size)]
    met = np.mean([len(Counter(row // shard_size for row in window)) for window in windows])
    assert met > 10


def test_models_are_byte_identical_with_workers(data: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        words = ["--task", data / "linear.yaml", "--split", data / "split.parquet"]
        words += ["--detector", data / "small.geom", "--output", tmp_path / str(workers)]
        assert main(["train", *map(str, words), "--workers", str(workers)]) == 0
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_no_more_is_kept_than_there_is_room_for(data: Path) -> None:
    setup = opened(data)
    frames = encoded(setup, room=50_000)
    for _ in loader(frames, InOrder(np.arange(len(frames))), 16):
        pass
    kept = sum(array.nbytes for arrays in frames._kept.values() for array in arrays)
    assert 25_000 < kept <= 50_000


def test_few_shards_are_open_at_once_and_share_a_mask(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "OPEN_SHARDS", 3)
    setup = opened(data)
    images, masks = setup.images, set()
    assert len(set(setup.frames.overlay.tolist())) > 3
    for number in np.random.default_rng(1).permutation(len(images))[:60].tolist():
        masks.add(id(images.read(number)[1]))
        assert len(images._shards) <= 3
    assert len(masks) == 1


def test_an_error_of_a_worker_is_one_line(data: Path) -> None:
    setup = opened(data)
    broken = setup.frames.overlay.copy()
    broken[:] = str(data / "absent.h5")
    images = FrameFiles(type(setup.frames)(**{**vars(setup.frames), "overlay": broken}))
    frames = EncodedFrames(images, setup.encoder, setup.frames.truth, 1)
    with pytest.raises(SpotmillError, match=r"absent\.h5: no such shard"):
        frames.inputs(np.arange(4))


def test_workers_end_with_their_stream(data: Path) -> None:
    setup = opened(data)
    before = set(multiprocessing.active_children())
    stream = Stream(setup.images, setup.encoder, 2)
    stream.start(list(range(40)))
    assert stream.take(0) is not None
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    # Another than the next one: the stream is over, and begins anew when told.
    assert stream.take(7) is None and stream.take(1) is None
    stream.start([5, 6])
    assert stream.take(5) is not None
    assert set(multiprocessing.active_children()) - before == workers
    del stream
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
