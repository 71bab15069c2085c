"""Time the parse and the dry run of large configurations, beside a bare Snakefile of as many jobs.

    python benchmarks/dag.py [--case 9x10 --case 9x100 ...] [--finished 9x10 ...] [--repeats 1]

A case is datasets x shards of patterns in each; empties add half as many shards. The workflow
is the real one with the shipped configuration, its sheet and its `shard_size` exchanged. The
bare Snakefile has a job of the same name, inputs and outputs for each shard of it and nothing
else: no parameters, logs, resources or functions but lists. What it takes is Snakemake's share.
A finished folder holds an empty file for every output, recorded by `snakemake --touch`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measuring import ONE_THREAD, ROOT, machine

SHARD_SIZE = 1000  # frames
CASES = ["9x10", "9x30", "9x100", "30x100", "90x100"]

BARE = """
DATASETS = {datasets!r}
P = [f"p{{number:05d}}" for number in range({patterns})]
E = [f"e{{number:05d}}" for number in range({empties})]

wildcard_constraints:
    dataset="|".join(DATASETS),
    shard=r"[pe]\\d{{5}}",

rule all:
    input: expand("manifest/{{dataset}}", dataset=DATASETS)

rule manifest:
    input:
        expand("overlay/{{{{dataset}}}}/{{shard}}", shard=P + E),
        expand("peaks/{{{{dataset}}}}/{{shard}}", shard=P),
        expand("labels/{{{{dataset}}}}/{{shard}}", shard=P),
    output: "manifest/{{dataset}}"
    shell: "cat {{input}} > {{output}}"

rule simulate:
    output: "peaks/{{dataset}}/{{shard}}"
    shell: "touch {{output}}"

rule overlay:
    input: "peaks/{{dataset}}/{{shard}}"
    output: "overlay/{{dataset}}/{{shard}}"
    wildcard_constraints: shard=r"p\\d{{5}}"
    shell: "cp {{input}} {{output}}"

rule empty:
    output: "overlay/{{dataset}}/{{shard}}"
    wildcard_constraints: shard=r"e\\d{{5}}"
    shell: "touch {{output}}"

rule labels:
    input: "peaks/{{dataset}}/{{shard}}"
    output: "labels/{{dataset}}/{{shard}}"
    shell: "cp {{input}} {{output}}"
"""


class Case(NamedTuple):
    """How many datasets, and shards of patterns in each."""

    datasets: int
    shards: int

    @classmethod
    def named(cls, name: str) -> "Case":
        return cls(*(int(number) for number in name.split("x")))

    def __str__(self) -> str:
        return f"{self.datasets} × {self.shards}"


class Run(NamedTuple):
    """Wall and CPU seconds, MiB at most, and what was printed."""

    wall: float
    cpu: float
    memory: float
    printed: str

    @property
    def jobs(self) -> int:
        found = re.findall(r"^total +(\d+)$", self.printed, re.MULTILINE)
        return int(found[-1]) if found else 0


def snakemake(folder: Path, *words: str) -> Run:
    """Run Snakemake in a folder; return what it alone spent."""
    environment = os.environ | ONE_THREAD
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with tempfile.TemporaryFile("w+") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *words],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        output.seek(0)
        printed = output.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(printed[-3000:])
    # Linux states ru_maxrss in KiB, macOS in bytes.
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale, printed)


def mill(folder: Path, case: Case) -> Path:
    """Make a folder with the real workflow and a sheet of this size."""
    folder.mkdir()
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles", "config"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "resources").symlink_to(ROOT / "resources")
    config = folder / "config/config.yaml"
    text, found = re.subn(
        r"^shard_size: \d+", f"shard_size: {SHARD_SIZE}", config.read_text(), flags=re.MULTILINE
    )
    assert found == 1
    config.write_text(text)
    rows = ["dataset\tphoton_energy\tclen\tn_patterns"]
    for number in range(case.datasets):
        clen, energy = divmod(number, 3)
        rows.append(
            f"{number + 1:02d}\t{6000 + 1000 * energy}\t{0.15 + 0.1 * (clen % 3):g}"
            f"\t{case.shards * SHARD_SIZE}"
        )
    (folder / "config/datasets.tsv").write_text("\n".join(rows) + "\n")
    return folder


def bare(folder: Path, case: Case) -> Path:
    """Make a folder with a Snakefile of as many trivial jobs of the same shape."""
    folder.mkdir()
    datasets = [f"{number + 1:02d}" for number in range(case.datasets)]
    (folder / "Snakefile").write_text(
        BARE.format(datasets=datasets, patterns=case.shards, empties=case.shards // 2)
    )
    return folder


def finish(folder: Path) -> None:
    """Put an empty file in the place of every output and let Snakemake record them."""
    words = ("--profile", "profiles/local")
    summary = snakemake(folder, *words, "--summary").printed
    for line in summary.splitlines():
        name = line.split("\t")[0]
        if name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    snakemake(folder, *words, "--touch", "--quiet", "all")


def best(repeats: int, folder: Path, *words: str) -> Run:
    return min((snakemake(folder, *words) for _ in range(repeats)), key=lambda run: run.cpu)


def figures(run: Run) -> str:
    return f"{run.wall:.1f} | {run.cpu:.1f} | {run.memory:.0f}"


def measure(name: str, repeats: int, is_finished: bool) -> None:
    """Print one row of the table."""
    case = Case.named(name)
    dry = ("--dry-run", "--quiet", "rules", "reason", "host")
    local = ("--profile", "profiles/local")
    with tempfile.TemporaryDirectory() as temporary:
        folder = mill(Path(temporary) / "mill", case)
        parsed = best(repeats, folder, *local, "--list-rules")
        if is_finished:
            finish(folder)
        ours = best(repeats, folder, *local, *dry)
        jobs = ours.jobs or "none"
        one = best(repeats, folder, *local, "results/manifest/01.parquet", *dry)
        row = f"| {case}{', finished' if is_finished else ''} | {jobs} | {parsed.wall:.1f} | "
        row += f"{figures(ours)} | {one.wall:.1f} | "
        if is_finished:
            row += "– | – | – | – |"
        else:
            theirs = best(repeats, bare(Path(temporary) / "bare", case), "--cores", "1", *dry)
            row += f"{theirs.jobs} | {figures(theirs)} | {ours.cpu / theirs.cpu:.1f} |"
    print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", metavar="9x100", help=f"default: {CASES}")
    parser.add_argument("--finished", action="append", metavar="9x10", default=[])
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{machine()}; load of the machine before: {load:.1f}\n")
    titles = ["datasets × shards", "jobs", "parse, wall s", "dry run, wall s", "CPU s", "MiB"]
    titles += ["one dataset, wall s", "bare: jobs", "wall s", "CPU s", "MiB", "ratio of CPU"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for name in args.case or ([] if args.finished else CASES):
        measure(name, args.repeats, False)
    for name in args.finished:
        measure(name, args.repeats, True)


if __name__ == "__main__":
    main()
