"""`spotmill check` without manifests: what was made, held against what is asked."""

import re
import shutil
from pathlib import Path

import pytest
from faults.small_mill import Mill

from spotmill.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a small workflow ran to its end."""
    made = Mill.make(tmp_path_factory.mktemp("audit") / "mill")
    done = made.run()
    assert done.returncode == 0, done.stdout[-4000:]
    return made.folder


@pytest.fixture
def mill(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, made the current one."""
    folder = tmp_path / "mill"
    shutil.copytree(whole, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def audit(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    capsys.readouterr()
    status = main(["check"])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.strip()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


PEAKS = "results/images/peaks/A/p00000.h5"
OVERLAY = "results/images/peaks_water_overlay/A/p00000.h5"
EMPTY = "results/images/peaks_water_overlay/A/e00000.h5"
LABELS = "results/images/labels/A/p00000.h5"
WATER = "results/images/water/A.h5"


@pytest.mark.parametrize(
    ("path", "old", "new", "wrong"),
    [
        ("datasets.tsv", "6000", "6100", {PEAKS: "photon_energy is 6000.0", WATER: "photon"}),
        ("datasets.tsv", "0.05", "0.06", {PEAKS: "clen is 0.05", "results/images/A.geom": "geom"}),
        ("config.yaml", "seed: 7", "seed: 8", {PEAKS: "seed is 7", EMPTY: "seed", LABELS: "seed"}),
        ("config.yaml", "seed: 7", "seed: 7\nlabel_threshold: 2", {LABELS: "threshold is 1"}),
        ("config.yaml", "seed: 7", "seed: 7\nhit: {min_spots: 4}", {PEAKS: "min_spots was 3"}),
        ("config.yaml", "seed: 7", "seed: 7\nengine: lattice", {PEAKS: "engine was 'integrated'"}),
        ("beams/weak.yaml", "1.0e8", "1.1e8", {PEAKS: "another beam", WATER: "another beam"}),
        ("solvents/thin.yaml", "thickness: ", "thickness: 1", {WATER: "another solvent"}),
        ("detectors/tiny.geom", "max_adu", ";max_adu", {PEAKS: "detector", WATER: "detector"}),
        ("config.yaml", "shard_size: 24", "shard_size: 30", {}),
        ("tasks/hit.yaml", "epochs: 60", "epochs: 61", {"results/models/hit/model.json": "epochs"}),
    ],
)
def test_what_was_made_otherwise_is_told(mill, capsys, path, old, new, wrong) -> None:
    edit(mill / "config" / path, old, new)
    status, lines, last = audit(capsys)
    if not wrong:
        assert status == 0, lines
        return
    assert status == 1 and last.count("\n") == 0 and "type: rm " in last
    for name, what in wrong.items():
        assert any(line.startswith(f"{name}: ") and what in line for line in lines), (name, lines)
        assert name in last


def test_comments_and_layout_are_no_difference(mill, capsys) -> None:
    for path in (mill / "config").rglob("*.yaml"):
        path.write_text(f"# a comment\n\n{path.read_text()}")
    edit(mill / "config/beams/weak.yaml", "1.0e8", "100000000")
    assert audit(capsys)[0] == 0


def test_what_is_left_over_is_listed_and_no_error(mill, capsys) -> None:
    strays = ["images/peaks/B/p00000.h5", "truth/A/p00007.parquet", "manifest/.A.parquet.x~1.part"]
    for name in strays:
        path = mill / "results" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    status, lines, _ = audit(capsys)
    assert status == 0
    for name in strays:
        assert any(
            re.match(f"results/{re.escape(name)}: is (of an earl|what a job)", s) for s in lines
        )


def test_files_that_are_not_there_are_told(mill, capsys) -> None:
    for name in (PEAKS, "results/manifest/A.checked", "results/models/hit/history.csv"):
        (mill / name).unlink()
    status, lines, last = audit(capsys)
    assert status == 1 and "3 missing; type: snakemake" in last
    assert len(lines) == 3 and all(line.endswith(": is not there") for line in lines)
