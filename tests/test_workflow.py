"""The real workflow: a tiny run to the report, shards that stay, profiles, a wrong word."""

import hashlib
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from mill import BIN, SHARD_STAGES, Mill, replace, run_snakemake, snakemake

pytestmark = pytest.mark.slow


def test_tiny_run_reaches_the_report(mill) -> None:
    page = (mill / "results/report/index.html").read_text()
    assert "camera length" in page.lower()
    manifest = pd.read_parquet(mill / "results/manifest/all.parquet")
    assert Counter(manifest["kind"]) == {"crystal": 72, "empty": 36}
    assert not manifest.duplicated(["dataset", "index"]).any()
    assert manifest["is_hit"].any() and not manifest["is_hit"].all()
    first = (mill / "results/manifest/A.checked").read_text().splitlines()[0]
    assert "36 frames whole and paired" in first
    for rule in ("simulate", "train", "report"):
        assert list((mill / "logs").glob(f"{rule}*"))
        assert list((mill / "results/benchmarks").glob(f"{rule}*"))


def test_snakemake_itself_says_that_nothing_is_left_to_do(mill) -> None:
    assert "Nothing to be done" in snakemake(mill.folder, "-n")


def test_what_we_read_of_a_dry_run_is_what_snakemake_prints(mill) -> None:
    mill.edit("config/datasets.tsv", replace("8000", "7900"))
    printed = snakemake(mill.folder, "-n")
    jobs = Counter(re.findall(r"^(?:local)?rule (\w+):$", printed, re.MULTILINE))
    del jobs["all"]
    assert jobs == {rule: len(found) for rule, found in mill.pending().items()}


def test_profile_slurm_works_to_the_letter(mill) -> None:
    done = subprocess.run(
        [str(BIN / "snakemake"), "--profile", "slurm", "-n", "-F"],
        cwd=mill.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"simulate +6", done.stdout) and "slurm_partition" in done.stdout


def test_a_wrong_configuration_is_one_line(mill) -> None:
    mill.edit("config/config.yaml", lambda text: text + "sead: 3\n")
    done = run_snakemake(mill.folder, "-n")
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if "sead" in line]
    assert len(lines) == 1 and "unknown key" in lines[0]


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all frame files and models."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for place in ("images", "truth", "models")
        for path in sorted((folder / "results" / place).rglob("*"))
        if path.is_file()
    }


def test_growing_a_dataset_keeps_every_byte(finished_mill, dry_runs, tmp_path) -> None:
    """B grows from 24 to 30 patterns, then to 36: a shard that was not full is made again."""
    mill = Mill(tmp_path / "grown", dry_runs)
    shutil.copytree(finished_mill, mill.folder, symlinks=True)
    before = digests(mill.folder)
    manifest = "results/manifest/B.parquet"
    mill.edit("config/datasets.tsv", replace("B\t8000\t0.05\t24", "B\t8000\t0.05\t30"))
    snakemake(mill.folder, manifest)
    after = digests(mill.folder)
    assert {name: after.get(name) for name in before} == before
    new = {name.removeprefix("results/") for name in after.keys() - before.keys()}
    assert {name for name in new if "p00002" in name or "e00001" in name} == new and len(new) == 6
    mill.edit("config/datasets.tsv", replace("B\t8000\t0.05\t30", "B\t8000\t0.05\t36"))
    assert mill.pending(words=[manifest]) == {
        **{stage: {"B p00002"} for stage in SHARD_STAGES},
        "empty": {"B e00001"},
        "manifest": {"B"},
    }
    assert "n_patterns 30 → 36" in mill.diff(manifest)


def test_every_stage_says_its_parameters_by_name(mill) -> None:
    """Snakemake compares sets of values: two plain numbers in a job could trade places."""
    for job in mill.jobs(recipes={"reflections": 77, "water": 77, "geometry": 77}):
        if job["reason"].startswith("Params"):
            assert [change["name"] for change in job["changes"]] == ["recipe"]
    for rules in (mill / "workflow/rules").glob("*.smk"):
        for params in re.findall(r"    params:\n((?:        .*\n)+)", rules.read_text()):
            plain = re.findall(r"=(?:PLAN\.config\.(?!.*json)|RECIPES\[).*", params)
            assert len(plain) <= 1, f"{rules.name}: {plain}"
