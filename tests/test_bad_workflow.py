"""A wrong configuration stops Snakemake in one line, and a failing job shows its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_tiny

pytestmark = pytest.mark.slow

SHEET, CONFIG, TASK = "config/datasets.tsv", "config/config.yaml", "config/tasks/hit.yaml"
BEAM, DETECTOR = "config/beams/weak.yaml", "config/detectors/tiny.geom"


@pytest.fixture
def mill(tmp_path: Path) -> Path:
    """Return a folder with the tiny workflow, in which nothing has run."""
    folder = copy_tiny(tmp_path)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def snakemake(folder: Path, *words: str) -> tuple[int, str]:
    """Return exit code and all that is printed."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "profiles/local", *words],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def append(name: str, text: str):
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def write(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (append(CONFIG, "sead: 3\n"), rf"{CONFIG}: sead: unknown key; known here: "),
        (write(CONFIG, b"shard_size: 0\n"), rf"{CONFIG}: shard_size: "),
        (append(CONFIG, "seed: 8\n"), rf"{CONFIG}: line .*: seed: is given twice; keep one"),
        (append(CONFIG, "seed: [8\n"), rf"{CONFIG}: line .*: is not valid YAML; mend"),
        (write(CONFIG, b"tasks: 3\n"), rf"{CONFIG}: tasks: "),
        (remove(CONFIG), rf"{CONFIG}: no such file"),
        (write(CONFIG, "seed: 8\n".encode("utf-16")), rf"{CONFIG}: is not UTF-8 text; save"),
        (append(SHEET, "D\t-6000\t0.05\t24\n"), rf"{SHEET}: line 5: photon_energy: "),
        (append(SHEET, "a/b\t6000\t0.05\t24\n"), rf"{SHEET}: line 5: dataset: 'a/b'|must be"),
        (append(SHEET, "A\t6000\t0.05\t24\n"), rf"{SHEET}: line 5: dataset: .*twice"),
        (append(SHEET, "D\t6000\t0.05\t0\n"), rf"{SHEET}: line 5: n_patterns: "),
        (append(TASK, "datasets: [Z]\n"), rf"{TASK}: datasets: 'Z' is not in {SHEET}"),
        (append(TASK, "dataset: [A]\n"), rf"{TASK}: dataset: unknown key"),
        (append(BEAM, "bandwidht: 0.1\n"), rf"{BEAM}: bandwidht: unknown key"),
        (remove(TASK), rf"{TASK}: no such file"),
        (remove(BEAM), rf"{BEAM}: no such file"),
        (remove(DETECTOR), rf"{DETECTOR}: no such file"),
        (remove(SHEET), rf"{SHEET}: no such file"),
    ],
)
def test_a_dry_run_names_what_is_wrong_in_one_line(spoil, says: str, mill: Path) -> None:
    spoil(mill)
    code, said = snakemake(mill, "-n")
    assert code != 0
    assert len([line for line in said.splitlines() if re.search(says, line)]) == 1, said
    assert "Traceback" not in said and len(said.splitlines()) <= 4, said
    assert not (mill / "results").exists()


def test_a_failing_job_shows_its_one_line(mill: Path) -> None:
    geometry = mill / DETECTOR
    geometry.write_text(geometry.read_text()[:-60])
    code, said = snakemake(mill, "--cores", "1", "results/images/A.geom")
    assert code != 0
    assert re.search(rf"spotmill geometry: error: {DETECTOR}: .*", said), said
    assert "Traceback" not in said
    assert not (mill / "results/images/A.geom").exists()
