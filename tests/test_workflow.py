"""The real workflow: a tiny run to the report, and which edit remakes what."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, copy_tiny

pytestmark = pytest.mark.slow

LAUNCH = """
import sys
import spotmill.recipes
spotmill.recipes.RECIPES.update({changes})
from snakemake.cli import main
main(sys.argv[1:])
"""


def snakemake(folder: Path, *words: str, recipes: dict[str, int] | None = None) -> str:
    """Run Snakemake in a folder and return what it prints; fail where it fails."""
    done = run_snakemake(folder, *words, recipes=recipes)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def run_snakemake(
    folder: Path, *words: str, recipes: dict[str, int] | None = None
) -> subprocess.CompletedProcess[str]:
    code = LAUNCH.replace("{changes}", repr(recipes or {}))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-c", code, "--profile", "profiles/local", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the tiny workflow ran to the report."""
    folder = copy_tiny(tmp_path_factory.mktemp("mill"))
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    snakemake(folder)
    return folder


@pytest.fixture
def edit(mill: Path) -> Iterator[Callable[[str, Callable[[str], str]], None]]:
    """Return a function that edits a file of the mill; edits are undone afterwards."""
    before: dict[Path, str] = {}

    def change(name: str, how: Callable[[str], str]) -> None:
        path = mill / name
        text = path.read_text()
        before.setdefault(path, text)
        changed = how(text)
        assert changed != text, f"{name}: the edit changed nothing"
        path.write_text(changed)

    yield change
    for path, text in before.items():
        path.write_text(text)


def pending(mill: Path, recipes: dict[str, int] | None = None) -> dict[str, set[str]]:
    """Return the jobs that a dry run announces: rule to its wildcards."""
    printed = snakemake(mill, "-n", recipes=recipes)
    jobs: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=(?:local)?rule \w+:\n)", printed)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule
        wildcards = re.search(r"wildcards: (.*)", block)
        values = wildcards.group(1) if wildcards else ""
        jobs.setdefault(rule.group(1), set()).add(re.sub(r"\w+=", "", values))
    return jobs


P_SHARDS = {"p00000", "p00001"}
FIRST_STAGES = {"simulate", "water", "overlay", "empty", "labels", "reflections", "geometry"}


def of(dataset: str, shards: set[str] = P_SHARDS) -> set[str]:
    return {f"{dataset}, {shard}" for shard in shards}


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def test_tiny_run_reaches_the_report(mill) -> None:
    page = (mill / "results/report/index.html").read_text()
    assert "camera length" in page.lower()
    manifest = pd.read_parquet(mill / "results/manifest/all.parquet")
    assert Counter(manifest["kind"]) == {"crystal": 72, "empty": 36}
    assert not manifest.duplicated(["dataset", "index"]).any()
    assert manifest["is_hit"].any() and not manifest["is_hit"].all()
    for line in (mill / "results/manifest/A.checked").read_text().splitlines():
        assert "36 frames whole and paired" in line
    for rule in ("simulate", "train", "report"):
        assert list((mill / "logs").glob(f"{rule}*"))
        assert list((mill / "results/benchmarks").glob(f"{rule}*"))


def test_nothing_is_left_to_do(mill) -> None:
    assert pending(mill) == {}


def test_touching_every_file_remakes_nothing(mill) -> None:
    for path in [
        *(mill / "config").rglob("*"),
        *(mill / "workflow").rglob("*"),
        mill / "Snakefile",
    ]:
        os.utime(path)
    os.utime(ROOT / "src/spotmill/physics/diffraction.py")
    assert pending(mill) == {}


def test_comments_and_layout_remake_nothing(mill, edit) -> None:
    for path in sorted((mill / "config").rglob("*.yaml")):
        edit(str(path.relative_to(mill)), lambda text: f"# a comment\n\n{text}")
    edit("config/detectors/tiny.geom", lambda text: f"; a comment\n{text}")
    edit("config/datasets.tsv", lambda text: f"# a comment\n{text}")
    edit("Snakefile", lambda text: f"# a comment\n{text}")
    edit("workflow/rules/simulate.smk", lambda text: f"# a comment\n{text}")
    edit("config/beams/weak.yaml", replace("1.0e8", "100000000"))
    assert pending(mill) == {}


def test_one_photon_energy_remakes_one_dataset(mill, edit) -> None:
    edit("config/datasets.tsv", replace("8000", "7900"))
    jobs = pending(mill)
    assert jobs["simulate"] == of("B") == jobs["overlay"] == jobs["labels"]
    assert jobs["water"] == jobs["manifest"] == jobs["check"] == jobs["geometry"] == {"B"}
    assert jobs["empty"] == {"B, e00000"}
    assert jobs["train"] == {"hit", "photon_energy_linear", "camera_length"}
    assert "reflections" not in jobs


def test_more_patterns_add_shards_and_keep_the_others(mill, edit) -> None:
    edit("config/datasets.tsv", replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t48"))
    jobs = pending(mill)
    assert jobs["simulate"] == of("C", {"p00002", "p00003"}) == jobs["overlay"] == jobs["labels"]
    assert jobs["empty"] == {"C, e00001"}
    assert jobs["manifest"] == {"C"} and "water" not in jobs


def test_fewer_patterns_simulate_nothing(mill, edit) -> None:
    edit("config/datasets.tsv", replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t12"))
    jobs = pending(mill)
    assert jobs["manifest"] == {"C"}
    # Six empties in place of twelve are another shard.
    assert FIRST_STAGES & jobs.keys() <= {"empty"}


def test_a_dataset_added_and_removed(mill, edit) -> None:
    edit("config/datasets.tsv", lambda text: text + "D\t7000\t0.06\t12\n")
    jobs = pending(mill)
    assert jobs["simulate"] == {"D, p00000"} and jobs["water"] == {"D"}
    edit("config/datasets.tsv", lambda text: text.replace("D\t7000\t0.06\t12\n", ""))
    edit("config/datasets.tsv", lambda text: "\n".join(text.splitlines()[:-1]) + "\n")
    assert not FIRST_STAGES & pending(mill).keys()


def test_a_task_file_retrains_its_task_alone(mill, edit) -> None:
    edit("config/tasks/hit.yaml", replace("epochs: 30", "epochs: 31"))
    jobs = pending(mill)
    assert jobs["train"] == jobs["evaluate"] == {"hit"}
    assert jobs.keys() == {"train", "evaluate", "report", "all"}


def test_a_note_in_a_task_retrains_nothing(mill, edit) -> None:
    edit("config/tasks/hit.yaml", lambda text: text + "notes: [Seen on a Sunday.]\n")
    assert "train" not in pending(mill)


def test_the_beam_remakes_its_datasets(mill, edit) -> None:
    shutil.copy(mill / "config/beams/weak.yaml", mill / "config/beams/other.yaml")
    edit("config/beams/weak.yaml", replace("1.0e8", "1.1e8"))
    jobs = pending(mill)
    assert len(jobs["simulate"]) == 6 and len(jobs["water"]) == 3
    assert "reflections" not in jobs


def test_the_threshold_of_hits_and_labels(mill, edit) -> None:
    edit("config/config.yaml", lambda text: text + "label_threshold: 2\n")
    jobs = pending(mill)
    assert "simulate" not in jobs and len(jobs["labels"]) == 6


@pytest.mark.parametrize(
    ("stage", "first", "never"),
    [
        ("simulate", "simulate", {"water", "empty", "reflections"}),
        ("water", "water", {"simulate", "labels"}),
        ("labels", "labels", {"simulate", "water", "overlay"}),
        ("train", "train", FIRST_STAGES | {"manifest", "split"}),
        ("evaluate", "evaluate", FIRST_STAGES | {"manifest", "split", "train"}),
        ("report", "report", FIRST_STAGES | {"manifest", "split", "train", "evaluate"}),
    ],
)
def test_a_raised_recipe_remakes_its_stage_and_what_follows(mill, stage, first, never) -> None:
    jobs = pending(mill, recipes={stage: 1000})
    assert first in jobs and not never & jobs.keys()


def test_profile_slurm_works_to_the_letter(mill) -> None:
    done = subprocess.run(
        [f"{Path(sys.executable).parent}/snakemake", "--profile", "slurm", "-n", "-F"],
        cwd=mill,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"simulate +6", done.stdout) and "slurm_partition" in done.stdout


def test_a_wrong_configuration_is_one_line(mill, edit) -> None:
    edit("config/config.yaml", lambda text: text + "sead: 3\n")
    done = run_snakemake(mill, "-n")
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if "sead" in line]
    assert len(lines) == 1 and "unknown key" in lines[0]


def test_moving_the_folder_remakes_nothing(mill, tmp_path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(mill, moved, symlinks=True)
    assert pending(moved) == {}
