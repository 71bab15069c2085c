"""What a run would fail on is told in one line by `spotmill diff` and `spotmill doctor`."""

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, copy_tiny

from spotmill.cli import main
from spotmill.doctor import machine
from spotmill.foreseen import check_classes, check_files
from spotmill.model import read_yaml
from spotmill.pending import cause
from spotmill.plan import read_plan

SHEET = "config/datasets.tsv"
GEOMETRY, STRUCTURE = "config/detectors/tiny.geom", "resources/1ic6.mtz"


@pytest.fixture
def mill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with the tiny workflow, in which nothing has run."""
    folder = copy_tiny(tmp_path)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    # One of them is taken away.
    (folder / "resources").unlink()
    (folder / "resources").mkdir()
    shutil.copy(ROOT / STRUCTURE, folder / STRUCTURE)
    monkeypatch.chdir(folder)
    return folder


def lose_structure(folder: Path) -> None:
    # As if all had run before: reflections are there, and newer.
    made = folder / "results/reflections/proteinase_k.mtz"
    made.parent.mkdir(parents=True)
    (folder / STRUCTURE).rename(made)
    os.utime(made)


def lose_corner(folder: Path) -> None:
    path = folder / GEOMETRY
    path.write_text(re.sub("left/corner_x.*\n", "", path.read_text()))


def lose_energy(folder: Path) -> None:
    path = folder / SHEET
    path.write_text(path.read_text().replace("8000", "6000"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lose_structure, r"proteinase_k\.yaml: structure: \S+: no such file; "),
        (lose_corner, rf"{GEOMETRY}: .*left.*corner_x"),
        (
            lose_energy,
            r"photon_energy_linear\.yaml: target photon_energy: its datasets \(A, B, C\) have "
            r"only one value of photon_energy, 6000; add one",
        ),
    ],
    ids=["structure", "geometry", "classes"],
)
def test_both_tell(spoil, says: str, mill: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_plan(read_yaml("config/config.yaml"))
    check_files(plan)
    check_classes(plan, plan.tasks)
    spoil(mill)
    assert main(["diff"]) == 1
    printed = capsys.readouterr()
    assert re.fullmatch(rf"spotmill diff: error: [^\n]*{says}[^\n]*\n", printed.err), printed.err
    assert not printed.out and not (mill / ".snakemake").exists()
    found = {one.what: one for one in machine.project()}
    assert found["inputs"].state == "failure" and re.search(says, found["inputs"].found)


def test_files_that_snakemake_misses_are_named() -> None:
    printed = (
        'MissingInputException in rule reflections in file "reflections.smk", line 1:\n'
        "Missing input files for rule reflections:\n"
        "    output: results/reflections/x.mtz\n"
        "    wildcards: crystal=x\n"
        "    affected files:\n"
        "        one.cif\n"
        "        two.cell\n"
    )
    assert cause(printed) == (
        "Missing input files for rule reflections: one.cif, two.cell; bring them back, or name "
        "others"
    )
    assert cause("Error in x:\nwhy\n") == "why"
