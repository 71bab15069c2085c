"""A watch that is killed outright at any moment loses no frame, and repeats none."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from predict_data import other_detector
from watch_runs import Server, Watch, check_whole
from watch_torment import torment


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def watch(server: Server, small_models: Path, tmp_path: Path) -> Watch:
    (tmp_path / "in").mkdir()
    return Watch(server, small_models / "models", tmp_path / "in", tmp_path / "out")


def test_killed_again_and_again(watch: Watch) -> None:
    ended = torment(watch, kills=16, seed=1)
    assert ended["at a random moment"] >= 4 and ended["between two lines"] >= 2


def test_what_readers_see_is_mended(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=30)
    assert watch.run("--once") == 0
    rng = random.Random(1)
    expected = [("a.h5", n) for n in range(30)]
    outputs = ["predictions.csv", "hits.lst", "alarms.csv"]
    whole = {name: (watch.output / name).read_bytes() for name in outputs}
    part = watch.output / "predictions.parquet/part-000000.parquet"
    for attempt in range(4):
        # As a machine that lost its power may leave them: cut, empty, longer, or absent.
        for name in outputs:
            path = watch.output / name
            kept = whole[name][: rng.randrange(len(whole[name]) + 1)]
            path.write_bytes([kept, b"", whole[name] + b"half a li", whole[name]][attempt])
        if attempt == 3:
            part.unlink()
            (watch.output / "hits.lst").unlink()
            with sqlite3.connect(watch.output / "watch.sqlite") as database:
                database.execute("DELETE FROM written")
            database.close()
        assert watch.run("--once") == 0
        assert {name: (watch.output / name).read_bytes() for name in outputs} == whole
        check_whole(watch.output, expected)


def test_a_damaged_ledger_is_told(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=2)
    assert watch.run("--once") == 0
    path = watch.output / "watch.sqlite"
    path.write_bytes(b"x" * 100 + path.read_bytes()[100:])
    assert watch.run("--once") == 1
    assert "watch.sqlite: cannot be read or written" in watch.said()
    assert "Traceback" not in watch.said()
