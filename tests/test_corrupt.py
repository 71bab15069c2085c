"""Files that change on disk: `spotmill check` sees every flipped byte, readers never misread."""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from faults.small_mill import Mill

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.digests import is_altered, read_digests, signed_json
from spotmill.formats.frames import Header, Shard, write_shard
from spotmill.formats.mtz import read_mtz, write_mtz
from spotmill.formats.tables import MANIFEST, read_table, write_table

RESULTS = (
    "reflections/proteinase_k.mtz",
    "images/A.geom",
    "images/water/A.h5",
    "images/peaks/A/p00000.h5",
    "images/labels/A/p00000.h5",
    "images/peaks_water_overlay/A/p00000.h5",
    "images/peaks_water_overlay/A/e00000.h5",
    "truth/A/p00000.parquet",
    "truth/A/p00000.frames.parquet",
    "manifest/A.parquet",
    "manifest/A.checked",
    "manifest/all.parquet",
    "manifest/all.checked",
    "splits/hit.parquet",
    "models/hit/model.safetensors",
    "models/hit/model.json",
    "models/hit/history.csv",
    "models/hit/README.md",
    "evaluation/hit/evaluation.json",
    "evaluation/hit/predictions.parquet",
    "report/index.html",
)
POSITIONS = 36


def flipped(raw: bytes, position: int, bit: int = 1) -> bytes:
    return raw[:position] + bytes([raw[position] ^ bit]) + raw[position + 1 :]


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a small workflow ran to its end."""
    made = Mill.make(tmp_path_factory.mktemp("corrupt") / "mill")
    done = made.run()
    assert done.returncode == 0, done.stdout[-4000:]
    return made.folder


@pytest.fixture
def results(mill: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the results of the mill, which is the current folder; put back afterwards."""
    monkeypatch.chdir(mill)
    kept = mill.parent / "kept"
    if not kept.exists():
        shutil.copytree(mill / "results", kept)
    yield mill / "results"
    for path in kept.rglob("*"):
        now = mill / "results" / path.relative_to(kept)
        if path.is_file() and (not now.is_file() or now.read_bytes() != path.read_bytes()):
            now.write_bytes(path.read_bytes())


def audit(capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["check"])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.slow
def test_an_untouched_run_is_whole(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = audit(capsys)
    assert (status, err) == (0, "") and "are whole and as the configuration asks" in out
    checked = ["results/manifest/A.checked", "results/manifest/all.checked"]
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "--check", "--strict", *checked], capture_output=True)
        assert done.returncode == 0, done.stderr
    listed = {name for path in checked for name in read_digests(path)} | set(checked)
    assert {f"results/{name}" for name in RESULTS} <= listed


@pytest.mark.slow
def test_check_notices_every_flipped_byte(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flip a byte of every file at once, at many places in turn: every file must be named.

    A list of digests is a file as others; where it is the one that changed, its own line or
    the file that it now contradicts is named.
    """
    chooser = random.Random(1)
    lists = [name for name in RESULTS if name.endswith(".checked")]
    others = [name for name in RESULTS if name not in lists]
    whole = {name: (results / name).read_bytes() for name in RESULTS}
    for _ in range(POSITIONS):
        for name in others:
            raw = whole[name]
            position, bit = chooser.randrange(len(raw)), 1 << chooser.randrange(8)
            (results / name).write_bytes(flipped(raw, position, bit))
        status, out, err = audit(capsys)
        named = {line.partition(":")[0] for line in out.splitlines()}
        assert status == 1 and err.count("\n") == 1 and "type: rm " in err
        assert not {f"results/{name}" for name in others} - named
    for name in others:
        (results / name).write_bytes(whole[name])
    for name in lists:
        body = whole[name].find(b"\n") + 1  # of the comment, only the words would change
        for _ in range(4):
            position = chooser.randrange(body, len(whole[name]))
            (results / name).write_bytes(flipped(whole[name], position))
            status, out, err = audit(capsys)
            assert status == 1 and err.count("\n") == 1, (name, position)
        (results / name).write_bytes(whole[name])


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_check_names_what_is_cut_or_gone(
    results: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    # The lists stay: of a page, they alone know what it was.
    names = [name for name in RESULTS if not name.endswith(".checked")]
    for name in names:
        damage(results / name)
    status, out, err = audit(capsys)
    assert status == 1 and err.count("\n") == 1 and "type: " in err
    lines = out.splitlines()
    for name in names:
        assert any(line.startswith(f"results/{name}: ") for line in lines), name


@pytest.mark.slow
def test_the_line_to_type_mends(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("images/peaks/A/p00000.h5", "models/hit/model.safetensors", "splits/hit.parquet")
    before = {name: (results / name).read_bytes() for name in names}
    for name in names:
        (results / name).write_bytes(flipped(before[name], len(before[name]) // 2))
    _, _, err = audit(capsys)
    match = re.search(r"type: rm (.*) && snakemake", err)
    assert match and match[1].split() == [f"results/{name}" for name in (names[0], *names[:0:-1])]
    for name in match[1].split():
        Path(name).unlink()
    mended = Mill(results.parent).run()
    assert mended.returncode == 0, mended.stdout[-3000:]
    assert {name: (results / name).read_bytes() for name in names} == before
    assert audit(capsys)[0] == 0


def small_shard(path: Path) -> None:
    rng = np.random.default_rng(0)
    header = Header(
        "A", "peaks", "crystal", 6000.0, 0.05, 75e-6, 1, 7, {"beam": "x" * 3000}, saturation=65535
    )
    columns = {"n_spots": np.arange(3), "quaternion": rng.random((3, 4))}
    mask = np.ones((40, 50), dtype=bool)
    with write_shard(path, header, np.arange(3), (40, 50), np.uint16, mask, columns) as shard:
        for index in range(3):
            shard.put(index, rng.poisson(0.1, (40, 50)).astype(np.uint16))


def shard_contents(path: Path) -> object:
    with Shard(path) as shard:
        columns = {name: shard.column(name).tobytes() for name in ("index", "n_spots")}
        images = [shard.read(position).tobytes() for position in range(len(shard))]
        return shard.header, shard.mask.tobytes(), columns, images


def small_table(path: Path) -> None:
    kinds = {"string": "name", "int64": 3, "int32": 4, "double": 0.5, "bool": True}
    columns = {field.name: [kinds[str(field.type)]] * 30 for field in MANIFEST}
    write_table(path, columns, MANIFEST, {"recipe": 1})


def small_mtz(path: Path) -> None:
    from spotmill.physics.reflections import find_space_group, merge

    hkl = np.array([[1, 1, 1], [1, 1, 2], [2, 1, 3]])
    cell = (30.0, 40.0, 50.0, 90.0, 90.0, 90.0)
    write_mtz(
        path,
        merge(cell, find_space_group("P 21 21 21", cell), hkl, np.array([1.0, 2.0, 3.0]), 2.0),
        ["a line"],
    )


def mtz_contents(path: Path) -> object:
    found = read_mtz(path)
    return found.cell, found.space_group, found.hkl.tobytes(), found.intensity.tobytes()


@pytest.mark.parametrize(
    ("write", "read", "misses"),
    [
        # Names of groups' classes and free space do not reach the reader.
        (small_shard, shard_contents, 0.3),
        # The schema stands twice; statistics do not reach the reader.
        (small_table, lambda path: read_table(path, MANIFEST), 0.3),
        # Only the word `sha256` itself may change.
        (small_mtz, mtz_contents, 0.06),
    ],
    ids=["shard", "table", "mtz"],
)
def test_readers_tell_or_read_what_was_written(
    tmp_path: Path, write: Callable, read: Callable, misses: float
) -> None:
    path = tmp_path / "whole"
    write(path)
    raw, contents = path.read_bytes(), read(path)
    chooser, unnoticed, n = random.Random(3), 0, 300
    for position in chooser.sample(range(len(raw)), n):
        path.write_bytes(flipped(raw, position, chooser.randrange(1, 256)))
        try:
            found = read(path)
        except SpotmillError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        assert found == contents, f"byte {position} changes what is read"
        unnoticed += 1
    assert unnoticed < misses * n


def test_chunks_carry_checksums_and_a_plain_reader_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    small_shard(path)
    with h5py.File(path) as file, Shard(path) as shard:
        for name in ("data/data", "frames/index", "instrument/detector/pixel_mask"):
            assert file["entry"][name].fletcher32
        np.testing.assert_array_equal(file["entry/data/data"][1], shard.read(1))


def test_json_carries_its_own_digest() -> None:
    raw = signed_json({"a": 1.5, "notes": ["é"]}).encode()
    assert not is_altered(raw)
    place = raw.index(b"1.5")
    assert is_altered(flipped(raw, place))
    assert not is_altered(b'{"a": 1}')
