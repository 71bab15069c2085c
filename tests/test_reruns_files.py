"""What happens to files, and which of it remakes anything; the table is docs/what-reruns.md."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from fabio.edfimage import EdfImage
from mill import (
    BIN,
    EVERY_TASK,
    Mill,
    comment,
    learnt,
    listed,
    patterns,
    replace,
    run_snakemake,
    snakemake,
    union,
)

from spotmill.plan import contents

pytestmark = pytest.mark.slow

ALL = ("A", "B", "C")
LONG_AGO = (1e9, 1e9)
REFLECTIONS = union(
    {"reflections": {"proteinase_k"}}, patterns(*ALL), listed(*ALL), learnt(*EVERY_TASK)
)


def texts(mill: Mill) -> list[Path]:
    """Return all files that a user edits."""
    found = [mill / "Snakefile"]
    for name in ("config", "workflow", "envs", "profiles"):
        found += [path for path in sorted((mill / name).rglob("*")) if path.is_file()]
    return found


def test_nothing(mill) -> None:
    assert mill.pending() == {}


def test_touch_of_every_file(mill) -> None:
    for path in [*texts(mill), *(mill / "resources").iterdir()]:
        os.utime(path)
    os.utime(ROOT / "src/spotmill/physics/diffraction.py")
    assert mill.pending() == {}


def test_a_comment_in_every_file(mill) -> None:
    edited = [path for path in texts(mill) if path.suffix not in (".rst", ".txt")]
    assert {".yaml", ".geom", ".tsv", ".smk", ""} <= {path.suffix for path in edited}
    for path in edited:
        name = str(path.relative_to(mill.folder))
        mill.edit(name, comment(";" if path.suffix == ".geom" else "#"))
    assert mill.pending() == {}


def test_another_spelling_of_a_number(mill) -> None:
    mill.edit("config/beams/weak.yaml", replace("1.0e8", "100000000"))
    mill.edit("config/datasets.tsv", replace("6000", "6.0e3"))
    mill.edit("config/solvents/thin.yaml", replace("shape: sheet", "shape:   'sheet'"))
    assert mill.pending() == {}


def test_another_layout_of_the_rules(mill) -> None:
    files = [mill / "Snakefile", *sorted((mill / "workflow/rules").glob("*.smk"))]
    before = {path: path.read_bytes() for path in files}
    subprocess.run(
        [str(BIN / "snakefmt"), "--line-length", "60", *map(str, files)],
        check=True,
        capture_output=True,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
    )
    after = {path: path.read_bytes() for path in files}
    assert sum(before[path] != after[path] for path in files) > 3
    assert mill.pending() == {}
    for path, data in before.items():
        path.write_bytes(data)


def test_another_layout_of_the_library(mill, tmp_path) -> None:
    """The library is no input of any rule: reformatted, it is still the same to Snakemake."""
    shutil.copytree(ROOT / "src/spotmill", tmp_path / "spotmill")
    words = ["format", "--isolated", "--line-length", "60", str(tmp_path / "spotmill")]
    subprocess.run([str(BIN / "ruff"), *words], check=True, capture_output=True)
    done = subprocess.run(
        [str(BIN / "snakemake"), "--profile", "profiles/local", "-n"],
        cwd=mill.folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "Nothing to be done" in done.stdout + done.stderr


def test_the_shell_text_of_a_rule(mill) -> None:
    """`code` is no rerun trigger; for what a command computes stand the recipes."""
    mill.edit("workflow/rules/labels.smk", replace("spotmill labels", "nice spotmill labels"))
    assert mill.pending() == {}
    triggers = ["--rerun-triggers", "mtime", "params", "input", "software-env", "code"]
    assert len(mill.pending(words=triggers)["labels"]) == 6


def git(folder: Path, *words: str) -> None:
    settings = ["-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True)


def test_a_branch_and_back(mill) -> None:
    """Every file is written anew by git, twice, and says in the end what it said before."""
    git(mill.folder, "init", "--quiet", "--initial-branch=main")
    try:
        mill.write(".gitignore", b"results\n.snakemake\nlogs\n")
        git(mill.folder, "add", ".")
        git(mill.folder, "commit", "--quiet", "--message=one")
        git(mill.folder, "switch", "--quiet", "--create", "other")
        for path in [*texts(mill), *(mill / "resources").iterdir()]:
            if path.suffix != ".rst":
                path.write_bytes(path.read_bytes() + b"\n")
        sheet = mill / "config/datasets.tsv"
        sheet.write_text(sheet.read_text().replace("8000", "7900"))
        git(mill.folder, "commit", "--quiet", "--all", "--message=two")
        assert mill.pending()["water"] == {"B"}
        git(mill.folder, "switch", "--quiet", "main")
        assert mill.pending() == {}
    finally:
        shutil.rmtree(mill / ".git")


def test_a_package_upgrade(mill) -> None:
    """Nothing: not even with conda, unless it was conda that made the files."""
    mill.edit("envs/spotmill.yaml", replace("python >=3.11", "python >=3.12"))
    assert mill.pending() == {}


def test_moving_the_folder(mill, dry_runs, tmp_path) -> None:
    shutil.copytree(mill.folder, tmp_path / "moved", symlinks=True)
    assert Mill(tmp_path / "moved", dry_runs).pending() == {}


def test_copying_without_the_record(mill, dry_runs, tmp_path) -> None:
    """Snakemake takes the files as they are; `spotmill diff` looks into them."""
    copy = Mill(tmp_path / "copy", dry_runs)
    hidden = shutil.ignore_patterns(".snakemake")
    shutil.copytree(mill.folder, copy.folder, symlinks=True, ignore=hidden)
    assert copy.pending() == {}
    assert copy.diff() == "Nothing to do: everything is as the configuration asks.\n"
    copy.edit("config/datasets.tsv", replace("8000", "7900"))
    assert copy.pending() == {}
    said = copy.diff()
    assert "Beware: dataset B was made otherwise (photon_energy 8000 → 7900 eV)" in said
    shutil.rmtree(copy / "results/images/peaks/B")
    (copy / "results/images/water/B.h5").unlink()
    assert copy.pending()["simulate"] == {"B p00000", "B p00001"}


def old(mill: Mill, name: str, how) -> None:
    """Edit a file and give it a time before that of every result."""
    mill.edit(name, how)
    os.utime(mill / name, LONG_AGO)


def test_an_edit_under_an_old_time(mill) -> None:
    old(mill, "config/beams/weak.yaml", replace("1.0e8", "1.1e8"))
    assert len(mill.pending()["simulate"]) == 6
    mill.restore()
    data = (mill / "resources/1ic6.mtz").read_bytes()
    mill.write("resources/1ic6.mtz", data[:-1] + b"!")
    os.utime(mill / "resources/1ic6.mtz", LONG_AGO)
    assert mill.pending() == REFLECTIONS
    assert "the structure file resources/1ic6.mtz holds something else" in mill.diff()


def test_measured_frames(finished_mill, dry_runs, tmp_path) -> None:
    """A background that was measured: touch, edit under an old time, one frame more."""
    mill = Mill(tmp_path / "measured", dry_runs)
    shutil.copytree(finished_mill, mill.folder, symlinks=True)
    frames = mill / "blanks"
    frames.mkdir()
    rng = np.random.default_rng(1)
    for number in range(5):
        image = rng.poisson(2.0, (128, 166)).astype(np.int32)
        EdfImage(data=image).write(str(frames / f"{number}.edf"))
    (mill / "config/solvents/thin.yaml").write_text("shape: measured\nframes: [blanks]\n")
    water = ["results/images/water/A.h5"]
    snakemake(mill.folder, *water)
    assert mill.pending(words=water) == {}
    for path in frames.iterdir():
        os.utime(path)
    assert mill.pending(words=water) == {}
    data = bytearray((frames / "3.edf").read_bytes())
    data[-8] += 1
    mill.write("blanks/3.edf", bytes(data))
    os.utime(frames / "3.edf", LONG_AGO)
    assert mill.pending(words=water) == {"water": {"A"}}
    assert "A: the measured frames hold something else" in mill.diff(*water)
    mill.restore()
    shutil.copy(frames / "3.edf", frames / "5.edf")
    assert mill.pending(words=water) == {"water": {"A"}}


def test_large_files_are_known_by_pieces(tmp_path) -> None:
    path = tmp_path / "large"
    data = bytearray(3_000_000)
    seen = set()
    for place in (None, 0, 2_999_999, len(data) // 15):
        if place is not None:
            data[place] ^= 1
        path.write_bytes(data)
        contents.cache_clear()
        seen.add(contents((str(path),)))
    path.write_bytes(data + b"\0")
    contents.cache_clear()
    seen.add(contents((str(path),)))
    assert len(seen) == 5


@pytest.mark.parametrize(
    "name",
    [
        "results/images/peaks/B/p00001.h5",
        "results/truth/B/p00001.parquet",
        "results/truth/B/p00001.frames.parquet",
    ],
)
def test_a_file_that_is_missing(mill, name) -> None:
    away = mill / "away"
    (mill / name).rename(away)
    try:
        jobs = mill.pending()
        assert jobs["simulate"] == {"B p00001"} and jobs["manifest"] == {"B"}
        assert "water" not in jobs and "empty" not in jobs
        assert f"B: missing: {name}" in mill.diff()
    finally:
        away.rename(mill / name)


def test_the_table_of_the_docs_names_these_tests() -> None:
    table = (ROOT / "docs/what-reruns.md").read_text()
    for module in ("test_reruns", "test_reruns_files"):
        source = (ROOT / f"tests/{module}.py").read_text()
        for line in source.splitlines():
            if line.startswith("def test_") and "(mill" in line:
                name = line.removeprefix("def test_").split("(")[0]
                assert f"`{name}`" in table, f"docs/what-reruns.md: no row names {name}"


def test_snakemake_says_so_too(mill) -> None:
    """Not only our reading of its events: the words on the screen."""
    mill.edit("config/beams/weak.yaml", comment())
    assert "Nothing to be done" in run_snakemake(mill.folder, "-n").stdout
