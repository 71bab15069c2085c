"""A small workflow to do harm to: its folder, its processes, its outputs."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

# As the command line does, but with the recipe of every stage raised.
RAISED = """
import sys
from spotmill.recipes import RECIPES
RECIPES.update({stage: recipe + 1000 for stage, recipe in RECIPES.items()})
from snakemake.cli import main
main(sys.argv[1:])
"""

TASK = """
target: hit
model: patch_counter
settings: {candidates: 16, block: 32, hidden: 8}
batch_size: 4
epochs: 60
learning_rate: 3.0e-3
early_stopping: {patience: 8, min_delta: 0.02}
controls: {frames: 40, epochs: 4}
"""


class Mill:
    """A folder with a configuration, and what is done in it."""

    def __init__(self, folder: Path, cores: int = 2, targets: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._words = ["--profile", "profiles/local", "--cores", str(cores), *targets]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}

    @classmethod
    def make(cls, folder: Path, small: bool = True, targets: tuple[str, ...] = ()) -> "Mill":
        """Return a mill with the tiny configuration, or with one of its datasets."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / "tests/tiny/config", folder / "config")
        shutil.copy(ROOT / "Snakefile", folder)
        for name in ("workflow", "envs", "profiles"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / "resources").symlink_to(ROOT / "resources")
        if small:
            config = folder / "config/config.yaml"
            kept = config.read_text().split("tasks:")[0].replace("size: 12", "size: 24")
            config.write_text(f"{kept}tasks: [config/tasks/hit.yaml]\n")
            (folder / "config/tasks/hit.yaml").write_text(TASK)
            sheet = folder / "config/datasets.tsv"
            sheet.write_text("".join(sheet.read_text().splitlines(keepends=True)[:2]))
        return cls(folder, targets=targets)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start Snakemake; what it says goes to run.log."""
        with (self.folder / "run.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", *self._words, *words],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # As from a terminal, also where these tests themselves ignore it (`nohup … &`).
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return self._call([sys.executable, "-m", "snakemake", *self._words, *words])

    def unlock(self) -> None:
        """Remove the lock of a Snakemake that was killed."""
        done = self._call([sys.executable, "-m", "snakemake", "--unlock"])
        assert done.returncode == 0, done.stdout[-3000:]

    def pending(self, raised: bool = False) -> set[str]:
        """Return the jobs that a dry run announces, by their first output."""
        start = ["-c", RAISED] if raised else ["-m", "snakemake"]
        done = self._call([sys.executable, *start, *self._words, "-n"])
        assert done.returncode == 0, done.stdout[-3000:]
        lines = (line.strip() for line in done.stdout.splitlines())
        return {line.partition(":")[2] for line in lines if line.startswith("output:")}

    def _call(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def said(self) -> str:
        """Return what the last run said."""
        return (self.folder / "run.log").read_text(errors="replace")

    def outputs(self) -> dict[str, str]:
        """Return the SHA-256 of every file under results/, hidden ones too, but times."""
        results = self.folder / "results"
        return {
            str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(results.rglob("*"))
            if path.is_file()
            and path.relative_to(results).parts[0] != "benchmarks"
            and path.relative_to(results).parts[:2] != ("report", "cost")
        }

    def clear(self) -> None:
        """Delete the outputs, as `make clean` does."""
        for name in ("results", "logs", ".snakemake"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def jobs(snakemake: psutil.Process) -> list[tuple[psutil.Process, str]]:
    """Return the running `spotmill` jobs of a Snakemake, each with its subcommand."""
    found = []
    try:
        for process in snakemake.children(recursive=True):
            words = process.cmdline()
            if len(words) > 2 and Path(words[1]).name == "spotmill":
                found.append((process, words[2]))
    except psutil.NoSuchProcess:
        pass
    return found


def wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that live on."""
    end = time.monotonic() + seconds
    alive = processes
    while alive and time.monotonic() < end:
        time.sleep(0.1)
        alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    return alive
