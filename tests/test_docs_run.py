"""Blocks of the documentation are run: as they stand, in the order of their pages.

What needs no results runs in a new project, in seconds. What needs a finished run of the shipped
configuration runs where SPOTMILL_RUN names the folder of one (`make test-docs`). Everything else
has its reason in `NOT_RUN`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_docs import BLOCKS, YAML, Block, commands

from spotmill.cli import main
from spotmill.reference import FILES

BIN = Path(sys.executable).parent
RUN = os.environ.get("SPOTMILL_RUN")
PROGRAMS = (
    "spotmill", "make", "snakemake", "python", "docker", "apptainer", "pip",
)  # fmt: skip
# Run in a new project: dry runs, and what computes in seconds.
AT_ONCE = (
    r"snakemake --profile slurm -n$",
    r"spotmill diff$",
    r"spotmill water ",
)
# Run beside the results of the shipped configuration.
WITH_RESULTS = (
    r"spotmill (explain|export|check|monitor|mask) ",
    r"spotmill predict (results|run7)[^*]* ",
    r"snakemake --summary",
)
# Why the others are not run, and what tries the same.
NOT_RUN = {
    r"make (run|test|setup|tune|docs|package)$": "is what CI does, or takes as long",
    r"snakemake .*--sdm apptainer": "needs Apptainer and an image",
    r"snakemake .*--default-storage": "fills an archive; tests/test_storage.py",
    r"snakemake (--profile \S+|--unlock)": "makes a whole run; tests/test_workflow.py, tests/slurm",
    r"(docker|apptainer) ": "needs Docker or Apptainer",
    r"pip install": "fetches from the network",
    r"spotmill reflections pdb:": "fetches from the network; tests/test_reflections.py",
    r"spotmill background ": "needs blanks that were measured; tests/test_background.py",
    r"spotmill watch ": "waits for frames; tests/test_watch.py",
    r"spotmill serve ": "serves until it is stopped; tests/test_serve.py",
    r"spotmill materialise ": "is for virtual overlays; tests/test_virtual.py",
    r"spotmill tune ": "trains for minutes; tests/test_tuning.py",
    r"spotmill predict (run2|run5|FRAMES|\$part|watched)": "needs frames that are not shipped",
    r"spotmill (init|doctor|completion)": "tests/test_front_door.py, tests/test_doctor.py",
    r"spotmill (explain near|check$)": "belongs to the run of the tutorial",
    r"spotmill predict results/images/peaks_water_overlay/near": "belongs to the tutorial's run",
    r"python (benchmarks|docs)/": "measures for minutes, beside programs that need not be here",
}
BLOCKS_WITH_CALLS = [
    (block, call)
    for block in BLOCKS
    if block.language in ("", "sh")
    for program in PROGRAMS
    for call in commands(block.text, program)
]


def kind(call: str) -> str | None:
    """Return how a call is tried, or None where nobody has said."""
    ways = {"at once": AT_ONCE, "not run": NOT_RUN, "with results": WITH_RESULTS}
    found = (way for way, all_of in ways.items() if any(re.match(one, call) for one in all_of))
    return next(found, None)


def calls(name: str) -> list[tuple[str, str]]:
    """Return the calls of a kind, each once, with the place of the first."""
    found: dict[str, str] = {}
    for block, call in BLOCKS_WITH_CALLS:
        if kind(call) == name:
            found.setdefault(call, f"{block.page}:{block.line}")
    return [(place, call) for call, place in found.items()]


def run(call: str, folder: Path) -> str:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", call],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{call}\n{done.stdout[-3000:]}"
    return done.stdout


def test_every_call_is_run_or_has_a_reason() -> None:
    assert [(b.page, b.line, call) for b, call in BLOCKS_WITH_CALLS if kind(call) is None] == []
    named = re.findall(r"tests/[\w.]+", " ".join(NOT_RUN.values()))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert len(calls("at once")) >= 3 and len(calls("with results")) > 15


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "mine"
    assert main(["init", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(("place", "call"), calls("at once"))
def test_what_needs_no_results_runs(place: str, call: str, project: Path) -> None:
    run(call, project)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with the results, and frames under the names that the pages give them."""
    if RUN is None:
        pytest.skip("SPOTMILL_RUN names no folder of a finished run: make test-docs")
    folder = tmp_path_factory.mktemp("beside") / "mine"
    assert main(["init", str(folder)]) == 0
    for name in ("results", "logs"):
        (folder / name).symlink_to(Path(RUN, name).resolve())
    shard = "results/images/peaks_water_overlay/02/p00000.h5"
    (folder / "run7.h5").symlink_to(shard)
    (folder / "run7.lst").write_text(f"{shard} //3\n{shard} //4\n")
    (folder / "detector.geom").symlink_to("results/images/02.geom")
    (folder / "proteinase_k.cell").write_text(
        "CrystFEL unit cell file version 1.0\n\nlattice_type = tetragonal\ncentering = P\n"
        "unique_axis = c\na = 67.288 A\nb = 67.288 A\nc = 106.582 A\nal = 90 deg\nbe = 90 deg\n"
        "ga = 90 deg\n"
    )
    run("spotmill predict run7.h5 --models results/models --output predicted", folder)
    return folder


@pytest.mark.parametrize(("place", "call"), calls("with results"))
def test_what_needs_results_runs(place: str, call: str, beside: Path) -> None:
    words = shlex.split(call)
    frames = beside / "run7/frames.h5"
    if not frames.is_symlink():
        frames.parent.mkdir(exist_ok=True)
        frames.symlink_to(beside / "run7.h5")
    if "--output" in words:
        target = beside / words[words.index("--output") + 1]
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    run(call, beside)


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page gives in full, by the name that stands before each block."""
    text = (ROOT / page).read_text()
    found = re.findall(r"`(config/[\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```$", text, re.M | re.S)
    return dict(found)


def after(page: str, call: str) -> str:
    """Return the block that follows the block of a call."""
    own = [block for block in BLOCKS if block.page == page]
    return next(b.text for a, b in pairwise(own) if a.text == call)


def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    structure = ROOT.parent / "shared/structures/2LYZ.pdb"
    if not structure.is_file():
        pytest.skip("no 2LYZ.pdb beside the repository")
    mine = tmp_path / "mine"
    assert main(["init", str(mine)]) == 0
    files = files_of("docs/tutorial.md")
    assert len(files) == 5
    for name, text in files.items():
        (mine / name).write_text(text)
    shutil.copy(structure, mine / "resources/2lyz.pdb")
    told = run("spotmill diff", mine)
    shown = after("docs/tutorial.md", "spotmill diff")
    assert comparable(told) == comparable(shown)


def comparable(told: str) -> list[str]:
    """Return the lines of a plan without what is estimated, and without the small stages."""
    lines = [line for line in told.splitlines() if not line.startswith(("Also: ", "Total: "))]
    return [re.sub(r"\d[\d.]*( [kM]B| min| s)?", "#", line) for line in lines if line]


def test_the_how_to_is_followed(project: Path) -> None:
    own = [block for block in BLOCKS if block.page == "docs/how-to.md"]
    row = next(block for block in own if block.language == "text").text.splitlines()
    sheet = project / "config/datasets.tsv"
    assert sheet.read_text().splitlines()[0] == row[0]
    sheet.write_text(sheet.read_text() + row[1] + "\n")
    randomise, task = (block.text for block in own if block.language == "yaml")
    (project / "config/randomise/mine.yaml").write_text(randomise)
    (project / "config/tasks/mine.yaml").write_text(task)
    settings = project / "config/config.yaml"
    text = settings.read_text()
    text = text.replace("\ntasks:\n", "\ntasks:\n  - config/tasks/mine.yaml\n")
    settings.write_text(f"randomise: config/randomise/mine.yaml\n{text}")
    told = run("spotmill diff", project)
    assert re.search(r"\b10\b.*: new", told) and re.search(r"\bmine\b.*: new", told)
    assert "about" in told and "Do it: snakemake" in told


def known(block: Block) -> list[str]:
    """Return the files of the configuration that have all the keys of a block."""
    text = re.sub(r"^\s*(\.\.\.|…)\s*$", "", block.text, flags=re.MULTILINE)
    keys = set(yaml.safe_load(text))
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    models = [(name, set(model.model_fields)) for name, _, model in FILES]
    return [name for name, fields in (*models, ("profile", set(profile))) if keys <= fields]


@pytest.mark.parametrize("block", YAML, ids=lambda block: f"{block.page}:{block.line}")
def test_yaml_has_keys_that_the_schema_knows(block: Block) -> None:
    assert known(block)


def test_an_unknown_key_is_seen() -> None:
    assert not known(Block("x.md", 1, "yaml", "target: hit\nlerning_rate: 0.1"))
