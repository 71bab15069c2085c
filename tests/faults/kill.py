"""Kill the workflow again and again; its outputs must be those of a run left in peace.

Every kill strikes at a random moment: a job, the shell around it, Snakemake alone (its jobs
live on without it) or Snakemake with all its jobs. The run is then taken up as
docs/faults.md says, and killed again, until it ends; its outputs are compared, byte for byte.

    python tests/faults/kill.py --kills 50 --seed 1
"""

import argparse
import random
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from small_mill import Mill, jobs, wait_gone

KINDS = ("job", "shell", "snakemake", "all")
WEIGHTS = (4, 2, 2, 1)
ORPHANS_END = 15.0  # s


@dataclass
class Tally:
    """What happened."""

    kinds: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    completed: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"kills: {self.kinds.total()} ({listed(self.kinds)})",
                f"hit while at work: {listed(self.stages)}",
                f"runs completed: {self.completed}",
                f"mismatches and failures: {len(self.problems)}",
                *self.problems,
            ]
        )


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "nothing"


class Harness:
    """Kills the runs of a mill and takes them up again."""

    def __init__(self, mill: Mill, seed: int) -> None:
        self._mill = mill
        self._random = random.Random(seed)
        self._orphans: list[psutil.Process] = []
        self._wanted = 0
        self._last: set[str] = set()
        self._same = 0
        self.tally = Tally()
        started = time.monotonic()
        done = mill.run()
        # So that a run takes a few kills, on a slow machine too.
        self._longest = (time.monotonic() - started) / 8
        assert done.returncode == 0, done.stdout[-5000:]
        self._expected = mill.outputs()
        self._jobs = mill.pending(raised=True)
        mill.clear()

    def run(self, kills: int) -> Tally:
        """Kill so often, then let the last run end."""
        self._wanted = kills
        while self.tally.kinds.total() < kills:
            self._once(kill=True)
        while self._mill.folder.joinpath("results").exists():
            self._once(kill=False)
        return self.tally

    def _once(self, kill: bool) -> None:
        """Start or take up a run; kill it, or look at what it made when it ended by itself."""
        process = self._mill.start("--retries", str(self._random.randrange(4)))
        kills = self.tally.kinds.total()
        # A killed job ends no run, where Snakemake may try again.
        while kill and self._kill(process) in ("job", "shell"):
            kill = self.tally.kinds.total() < self._wanted
        was_killed = self.tally.kinds.total() > kills
        code = process.wait()
        if code == 0:
            self._compare()
        elif not was_killed:
            self.tally.problems.append(f"failed by itself:\n{self._mill.said()[-3000:]}")
            self._mill.clear()
        if code < 0:
            # Some users are quick, and find the orphans still at work.
            time.sleep(self._random.choice([0, 0, self._random.uniform(0, 4)]))
            self._mill.unlock()

    def _kill(self, process: subprocess.Popen[bytes]) -> str:
        """Strike at a random moment; return what was struck, if anything still lived."""
        snakemake = psutil.Process(process.pid)
        kind = self._random.choices(KINDS, WEIGHTS)[0]
        # Longer where a stage was struck again and again, so that it ends one day.
        pause = self._random.uniform(0, self._longest * (1 + self._same))
        # Most of the time counts from the first job; now and then Snakemake is still reading.
        moment = time.monotonic() + pause if self._random.random() < 0.1 else None
        while process.poll() is None:
            running = jobs(snakemake)
            if moment is None and running:
                moment = time.monotonic() + pause
            due = moment is not None and time.monotonic() > moment
            can = due and (running or kind in ("snakemake", "all"))
            if can and self._strike(kind, snakemake, running):
                stages = [stage for _, stage in running] or ["between jobs"]
                self.tally.kinds[kind] += 1
                self._same = self._same + 1 if set(stages) & self._last else 0
                self._last = set(stages)
                self.tally.stages.update(stages)
                print(f"{self.tally.kinds.total():4} {kind:10} {' '.join(stages)}", flush=True)
                return kind
            time.sleep(0.02)
        return ""

    def _strike(
        self,
        kind: str,
        snakemake: psutil.Process,
        running: list[tuple[psutil.Process, str]],
    ) -> bool:
        try:
            if kind in ("job", "shell"):
                chosen = self._random.randrange(len(running))
                job = running[chosen][0]
                running[:] = [running[chosen]]
                shell = job.parent()
                if kind == "job" or shell is None or shell.pid == snakemake.pid:
                    job.kill()
                else:
                    self._orphans.append(job)
                    shell.kill()
            else:
                family = snakemake.children(recursive=True)
                snakemake.kill()
                if kind == "all":
                    for process in family:
                        if process.is_running():
                            process.kill()
                else:
                    self._orphans += family
        except psutil.NoSuchProcess:
            return False
        return True

    def _compare(self) -> None:
        self.tally.completed += 1
        for orphan in wait_gone(self._orphans, ORPHANS_END):
            self.tally.problems.append(f"still at work: {orphan}")
        self._orphans.clear()
        found = self._mill.outputs()
        for name in sorted(found.keys() | self._expected.keys()):
            if found.get(name) != self._expected.get(name):
                how = "differs" if name in found and name in self._expected else "is one-sided"
                self.tally.problems.append(f"results/{name} {how}")
        left = self._mill.pending()
        if left:
            self.tally.problems.append(f"still to be made: {sorted(left)}")
        unseen = self._jobs - self._mill.pending(raised=True)
        if unseen:
            self.tally.problems.append(f"would miss a change of recipe: {sorted(unseen)}")
        self._mill.clear()


def main() -> int:
    """Run the harness; 0 where every killed run ended as an undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="all of tests/tiny, not a part")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mill = Mill.make(Path(folder) / "mill", small=not args.tiny)
        tally = Harness(mill, args.seed).run(args.kills)
    print(tally)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
