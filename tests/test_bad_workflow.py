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
        (append(CONFIG, "sead: 3\n"), rf"{CONFIG}: sead: unknown key; did you mean seed\?"),
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
        (append(CONFIG, "beam: {weak}.yaml\n"), rf"{CONFIG}: line .*"),
        (append(CONFIG, "randomise: -r.yaml\n"), rf"{CONFIG}: randomise: .*; rename"),
        (append(CONFIG, f"solvent: {'x' * 300}\n".replace("solvent", "randomise")), "no such file"),
        (append(SHEET, "D\t6\t0.05\t24\n"), rf"{SHEET}: line 5: photon_energy: .*8 keV is 8000"),
        (append(SHEET, "D\t6000\t150\t24\n"), rf"{SHEET}: line 5: clen: .*150 mm is"),
        (append(SHEET, "D\t6000\t0.05\t9999999\n"), rf"{CONFIG}: shard_size: .*; raise"),
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


ODD = "a b 'c\" $(touch pwned) `touch pwned` ; ü & (d) [e]*"


@pytest.fixture
def odd(mill: Path) -> Path:
    """Return the tiny workflow in a folder of an odd name, with files of such names."""
    folder = mill / ODD
    folder.mkdir()
    for path in sorted(mill.iterdir()):
        if path.name != ODD:
            path.rename(folder / path.name)
    text = (folder / CONFIG).read_text()
    for name in ("beams/weak.yaml", "detectors/tiny.geom", "crystals/proteinase_k.yaml"):
        place, suffix = name.split(".")
        old, new = f"config/{name}", f"config/{place} {ODD}.{suffix}"
        (folder / old).rename(folder / new)
        quoted = new.replace("'", "''")
        text = text.replace(old, f"'{quoted}'")
    (folder / CONFIG).write_text(text)
    return folder


def test_odd_but_possible_names_work_and_run_nothing(odd: Path) -> None:
    code, said = snakemake(odd, "-n")
    assert code == 0, said
    targets = ["results/images/labels/A/p00000.h5", "results/images/A.geom"]
    code, said = snakemake(odd, "--cores", "1", *targets)
    assert code == 0, said
    assert all((odd / target).is_file() for target in targets)
    assert not list(odd.parent.rglob("pwned"))
    assert sorted(path.name for path in odd.parent.iterdir()) == [ODD]


def test_a_sheet_of_another_editor_is_read(mill: Path) -> None:
    text = (mill / SHEET).read_text()
    (mill / SHEET).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    code, said = snakemake(mill, "-n")
    assert code == 0, said
