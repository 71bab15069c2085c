"""A folder in which the tiny workflow ran to the report, and what a dry run says there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import ROOT, copy_tiny

BIN = Path(sys.executable).parent
PARTS = ("workflow", "envs", "profiles")
# In the mill this task leaves dataset B out.
SELECTIVE = "camera_length"

SHARD_STAGES = ("simulate", "overlay", "labels")
P_SHARDS = ("p00000", "p00001")

Jobs = dict[str, set[str]]


def run_snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder."""
    return subprocess.run(
        [str(BIN / "snakemake"), "--profile", "profiles/local", *words],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def snakemake(folder: Path, *words: str) -> str:
    """Run Snakemake in a folder and return what it prints; fail where it fails."""
    done = run_snakemake(folder, *words)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def build(folder: Path) -> None:
    """Run the tiny workflow in a new folder."""
    folder.mkdir()
    copy_tiny(folder)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "resources").unlink()
    shutil.copytree(ROOT / "resources", folder / "resources")
    append(folder / f"config/tasks/{SELECTIVE}.yaml", "datasets: [A, C]\n")
    snakemake(folder)


class DryRuns:
    """The process that answers dry runs (tests/dry_runs.py)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/dry_runs.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def ask(self, folder: Path, **request: object) -> list:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"folder": str(folder), **request}) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        assert "error" not in said, said["error"]
        return said["answer"]

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Mill:
    """A folder in which the tiny workflow ran to the report."""

    def __init__(self, folder: Path, runs: DryRuns) -> None:
        self.folder = folder
        self._runs = runs
        self._before: dict[Path, bytes | None] = {}

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def jobs(self, **request: object) -> list[dict]:
        """Return the jobs that a dry run announces."""
        return self._runs.ask(self.folder, **request)

    def pending(self, **request: object) -> Jobs:
        """Return the jobs that a dry run announces: rule to the values of its wildcards."""
        found: Jobs = {}
        for job in self.jobs(**request):
            found.setdefault(job["rule"], set()).add(" ".join(job["wildcards"].values()))
        found.pop("all", None)
        return found

    def reasons(self, **request: object) -> dict[str, str]:
        """Return Snakemake's reasons: rule and wildcards to reason."""
        return {
            " ".join([job["rule"], *job["wildcards"].values()]): job["reason"]
            for job in self.jobs(**request)
        }

    def diff(self, *words: str, **request: object) -> str:
        """Return what `spotmill diff` prints."""
        code, printed = self._runs.ask(self.folder, diff=words, **request)
        assert code == 0, printed
        return printed

    def edit(self, name: str, how: Callable[[str], str]) -> None:
        """Edit a file; `restore` undoes it."""
        path = self.folder / name
        text = path.read_text()
        changed = how(text)
        assert changed != text, f"{name}: the edit changed nothing"
        self.write(name, changed.encode())

    def write(self, name: str, data: bytes) -> None:
        """Write a file; `restore` undoes it."""
        path = self.folder / name
        self._before.setdefault(path, path.read_bytes() if path.exists() else None)
        path.write_bytes(data)

    def restore(self) -> None:
        """Undo all edits."""
        for path, data in self._before.items():
            if data is None:
                path.unlink()
            else:
                path.write_bytes(data)
        self._before.clear()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def comment(sign: str = "#") -> Callable[[str], str]:
    return lambda text: f"{sign} a comment\n\n{text}"


def of(dataset: str, shards: tuple[str, ...] = P_SHARDS) -> set[str]:
    return {f"{dataset} {shard}" for shard in shards}


def union(*jobs: Jobs) -> Jobs:
    """Return several sets of jobs together."""
    found: Jobs = {}
    for part in jobs:
        for rule, values in part.items():
            found[rule] = found.get(rule, set()) | values
    return found


# What follows from what, as the tables of jobs to expect.
EVERY_TASK = ("hit", "photon_energy_linear", SELECTIVE)
NOT_B = ("hit", "photon_energy_linear")


# What follows whatever is remade.
LAST: Jobs = {rule: {""} for rule in ("report", "check_all", "crate", "cost")}
# What follows where frames or answers are remade.
SHOWN: Jobs = LAST | {"gallery": {""}}


def learnt(*tasks: str) -> Jobs:
    """Return the jobs after the frames of these tasks changed."""
    return {rule: set(tasks) for rule in ("split", "train", "evaluate", "saliency")} | SHOWN


def listed(*datasets: str) -> Jobs:
    """Return the jobs after shards of these datasets changed, without the tasks."""
    own = {rule: set(datasets) for rule in ("manifest", "check", "card")}
    return own | {"manifest_all": {""}, "map": {""}} | SHOWN


def patterns(*datasets: str, shards: tuple[str, ...] = P_SHARDS) -> Jobs:
    """Return the jobs that make the patterns of these datasets anew."""
    return {
        stage: set().union(*(of(dataset, shards) for dataset in datasets)) for stage in SHARD_STAGES
    }


def whole(*datasets: str) -> Jobs:
    """Return the jobs that make these datasets anew, without reflections and tasks."""
    return union(
        patterns(*datasets),
        listed(*datasets),
        {"water": set(datasets), "geometry": set(datasets)},
        {"empty": {f"{dataset} e00000" for dataset in datasets}},
    )
