"""The shipped profile on a real SLURM: the tiny workflow to its report, and faults on the way.

`make test-slurm` runs these and nothing else.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import Cluster, wait_for
from conftest import ROOT, copy_tiny

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
# Nothing of the profile but its patience: this cluster answers at once.
QUICK = (
    "--profile=slurm",
    "--slurm-init-seconds-before-status-checks=2",
    "--max-status-checks-per-second=1",
    "--latency-wait=15",
)
LOCAL = ("--profile=profiles/local",)
LIMIT = 900  # s; a run that hangs fails instead

ONCE = 'rm "${BASH_SOURCE[0]}"\n'
HANG = "sleep 600\n"
UNTIL_TOLD = 'echo "$SLURM_JOB_ID" >> faults/began\n'
UNTIL_TOLD += "until [ -e faults/go ]; do sleep 0.2; done\n"
EAT = '"$SPOTMILL_PYTHON" -c \'import time; held = b"x" * 1500_000_000; time.sleep(6)\'\n'


@dataclass
class Mill:
    """A folder with the tiny configuration, and one run of Snakemake in it."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    runs: int = 0

    def start(self, *words: str) -> None:
        self.runs += 1
        with (self.folder / f"run{self.runs}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "snakemake", *words],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self) -> int:
        """Return the run's exit status; raise AssertionError with its words when it hangs."""
        assert self.process
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {LIMIT} s: {self.said()[-6000:]}") from None

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return (self.folder / f"run{self.runs}.log").read_text()

    def began(self) -> list[str]:
        """Return the jobs that wait until they are told to go on."""
        path = self.folder / "faults/began"
        return path.read_text().split() if path.exists() else []

    def fault(self, job: str, script: str) -> None:
        (self.folder / "faults" / job).write_text(script)


def make_mill(folder: Path, environment: dict[str, str]) -> Mill:
    """Return a mill of two datasets of one shard each, and two tasks."""
    copy_tiny(folder)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    config = folder / "config/config.yaml"
    text = config.read_text().replace("shard_size: 12", "shard_size: 24")
    config.write_text(text.replace("  - config/tasks/camera_length.yaml\n", ""))
    sheet = folder / "config/datasets.tsv"
    sheet.write_text("".join(sheet.read_text().splitlines(keepends=True)[:3]))
    faults = folder / "faults"
    (faults / "bin").mkdir(parents=True)
    shutil.copy(HERE / "faults.sh", faults / "bin/spotmill")
    path = f"{faults}/bin:{BIN}:{environment['PATH']}"
    return Mill(
        folder,
        environment
        | {
            "PATH": path,
            "SPOTMILL_REAL": str(BIN / "spotmill"),
            "SPOTMILL_PYTHON": sys.executable,
            "OMP_NUM_THREADS": "1",
        },
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """Return a mill in which the workflow runs without SLURM, beside the tests."""
    mill = make_mill(tmp_path_factory.mktemp("local"), dict(os.environ))
    mill.start(*LOCAL, "--cores=1")
    yield mill
    mill.end()


@pytest.fixture(scope="module")
def cluster(local: Mill) -> Iterator[Cluster]:
    found = Cluster()
    try:
        found.start()
        yield found
    finally:
        found.stop()
    assert not found.left_behind()
    assert all(daemon.poll() is not None for daemon in found.daemons.values())


def same_as(local: Mill, mill: Mill, *, whole: bool) -> None:
    """Compare every file under results/, times apart, byte by byte."""
    assert local.finish() == 0, local.said()[-6000:]

    def files(folder: Path) -> dict[str, Path]:
        paths = (path for path in (folder / "results").rglob("*") if path.is_file())
        found = {str(path.relative_to(folder)): path for path in paths}
        times = ("results/benchmarks/", "results/report/cost/")
        return {name: found[name] for name in found if not name.startswith(times)}

    ours, theirs = files(mill.folder), files(local.folder)
    assert ours.keys() <= theirs.keys() and (not whole or ours.keys() == theirs.keys())
    differing = [name for name in ours if ours[name].read_bytes() != theirs[name].read_bytes()]
    assert not differing


def account(cluster: Cluster, mill: Mill, *fields: str) -> list[list[str]]:
    """Return what SLURM's accounting holds of the jobs of a mill's last run."""
    run = re.search(r"SLURM run ID: (\S+)", mill.said())
    assert run
    words = ("sacct", "-XnP", "--name", run.group(1), "--format", ",".join(fields))
    return [line.split("|") for line in cluster.run(*words).splitlines()]


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """Return a mill in which the whole workflow ran on SLURM."""
    mill = make_mill(tmp_path_factory.mktemp("whole"), cluster.environment)
    mill.start(*QUICK)
    try:
        assert mill.finish() == 0, mill.said()[-6000:]
        yield mill
    finally:
        mill.end()


def test_slurm_makes_what_one_machine_makes(whole: Mill, local: Mill) -> None:
    same_as(local, whole, whole=True)


def test_every_job_got_what_its_rule_asks(whole: Mill, cluster: Cluster) -> None:
    rows = account(cluster, whole, "Comment", "State", "Partition", "ReqTRES", "Timelimit")
    jobs = {comment.removeprefix("rule_"): rest for comment, *rest in rows}
    assert {rest[0] for rest in jobs.values()} == {"COMPLETED"}
    rules = {name.partition("_wildcards_")[0] for name in jobs}
    assert rules >= {"simulate", "overlay", "empty", "labels", "check", "train", "evaluate"}
    assert not rules & {"reflections", "geometry", "water", "manifest", "split", "all"}
    assert len(jobs) == len(rows)  # none was sent twice
    for name, (_, partition, wanted, limit) in jobs.items():
        if name.startswith("train"):
            assert partition == "gpu" and "gres/gpu=1" in wanted
        else:
            assert partition == "cpu" and "gpu" not in wanted
        if name.startswith("simulate"):
            assert limit == "01:00:00" and "mem=1000M" in wanted


def test_logs_and_efficiency_lie_in_one_place(whole: Mill) -> None:
    reports = list((whole.folder / "logs/slurm").glob("efficiency_report_spotmill_*.csv"))
    assert len(reports) == 1
    table = reports[0].read_text()
    assert "CPU Efficiency (%)" in table and "simulate" in table
    assert list((whole.folder / "logs/simulate/A").glob("p00000.log"))


SHARDS = (
    "results/images/peaks/A/p00000.h5",
    "results/images/peaks/B/p00000.h5",
    "results/images/peaks_water_overlay/A/e00000.h5",
    "results/images/peaks_water_overlay/B/e00000.h5",
)
# One minute is the least that SLURM knows; afterwards plenty.
MINUTES = "attempt ** 4 if wildcards.dataset == 'B' else 60 * attempt"


@dataclass
class Story:
    """A run in which much went wrong, and what was seen on the way."""

    mill: Mill
    reasons: str
    status: int
    rows: dict[str, list[list[str]]]


def name_of(path: str) -> str:
    dataset, shard = Path(path).parts[-2:]
    rule = "simulate" if "/peaks/" in path else "empty"
    return f"rule_{rule}_wildcards_{dataset}_{shard.removesuffix('.h5')}"


@pytest.fixture(scope="module")
def story(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Drained nodes, too little memory, too little time, scancel, a dead slurmctld: one run."""
    mill = make_mill(tmp_path_factory.mktemp("faults"), cluster.environment)
    _, slow, cancelled, _ = (name_of(path) for path in SHARDS)
    mill.fault("simulate-A", EAT)
    mill.fault("simulate-B", UNTIL_TOLD)
    mill.fault("overlay-A", ONCE + HANG)
    cpu = "NodeName=c1,c2"
    cluster.run("scontrol", "update", cpu, "State=DRAIN", "Reason=rain")
    try:
        mill.start(*QUICK, "--set-resources", f"simulate:runtime={MINUTES}", "--", *SHARDS)
        wait_for("four jobs wait", lambda: len(cluster.jobs()) == 4)
        reason = ("squeue", "-h", "-o", "%T %r")
        wait_for("reasons to wait", lambda: "drain" in cluster.run(*reason).lower())
        reasons = cluster.run(*reason)
        cluster.run("scontrol", "update", cpu, "State=RESUME")

        wait_for("a job to cancel", lambda: not (mill.folder / "faults/overlay-A").exists())
        cluster.run("scancel", cluster.jobs()[cancelled])

        limit = ("squeue", "-h", "-t", "R", "-o", "%k %l")
        wait_for("more time", lambda: f"{slow} 16:00" in cluster.run(*limit))
        # A job that starts while slurmctld is away would fail and be sent once more.
        wait_for("it began", lambda: cluster.jobs().get(slow) in mill.began())
        others = [mill.folder / path for path in SHARDS if name_of(path) != slow]
        wait_for("the others' files", lambda: all(path.exists() for path in others))
        wait_for("the others' ends", lambda: list(cluster.jobs()) == [slow])
        cluster.remember(cluster.jobs()[slow])
        cluster.kill_controller()
        (mill.folder / "faults/go").touch()
        wait_for("slurmctld is missed", lambda: "MinJobAge=None" in mill.said())
        cluster.start_controller()
        status = mill.finish()
        rows: dict[str, list[list[str]]] = {}
        for comment, *rest in account(cluster, mill, "Comment", "State", "ReqMem", "Timelimit"):
            rows.setdefault(comment, []).append(rest)
        yield Story(mill, reasons, status, rows)
    finally:
        mill.end()


def test_faults_end_in_the_same_frames(story: Story, local: Mill) -> None:
    assert story.status == 0, story.mill.said()[-6000:]
    assert all((story.mill.folder / path).exists() for path in SHARDS)
    same_as(local, story.mill, whole=False)


def logs_of_slurm(mill: Mill, rule: str) -> str:
    folder = mill.folder / "logs/slurm" / f"rule_{rule}"
    return "".join(path.read_text() for path in sorted(folder.rglob("*.log")))


def test_more_memory_after_a_kill_for_memory(story: Story) -> None:
    first, second = story.rows[name_of(SHARDS[0])]
    assert first[0].startswith(("FAILED", "OUT_OF_MEMORY")) and first[1] == "1000M"
    assert second[0] == "COMPLETED" and second[1] == "2000M"
    assert "exceeded memory limit" in logs_of_slurm(story.mill, "simulate")
    assert "Trying to restart job" in story.mill.said()


def test_more_time_after_a_time_limit(story: Story) -> None:
    first, second = story.rows[name_of(SHARDS[1])]
    assert (first[0], first[2]) == ("TIMEOUT", "00:01:00")
    assert (second[0], second[2]) == ("COMPLETED", "00:16:00")
    assert "DUE TO TIME LIMIT" in logs_of_slurm(story.mill, "simulate")
    assert "SLURM status is: 'TIMEOUT'" in story.mill.said()


def test_a_cancelled_job_is_sent_again(story: Story) -> None:
    first, second = story.rows[name_of(SHARDS[2])]
    assert first[0].startswith("CANCELLED") and second[0] == "COMPLETED"
    assert "SLURM status is: 'CANCELLED'" in story.mill.said()


def test_a_drained_node_is_waited_for(story: Story) -> None:
    assert story.reasons.count("PENDING") == 4 and "drain" in story.reasons.lower()
    assert [row[0] for row in story.rows[name_of(SHARDS[3])]] == ["COMPLETED"]


def test_a_dead_slurmctld_is_waited_for(story: Story) -> None:
    assert "Falling back to 'sacct' for status queries (MinJobAge=None" in story.mill.said()


@pytest.fixture
def stopped(cluster: Cluster, tmp_path: Path) -> Iterator[Mill]:
    """Return a mill whose first shard stays half-written until it is told to go on."""
    cluster.cancel_all()
    mill = make_mill(tmp_path, cluster.environment)
    mill.fault("simulate-A", f"printf half > {SHARDS[0]}\n{UNTIL_TOLD}")
    mill.fault("simulate-B", UNTIL_TOLD.replace("faults/go", "faults/go-B"))
    yield mill
    mill.end()


def documented(heading: str) -> str:
    """Return the commands that docs/slurm.md gives under a heading."""
    text = (ROOT / "docs/slurm.md").read_text().partition(f"\n## {heading}\n")[2]
    return text.partition("```sh\n")[2].partition("```")[0]


def test_ctrl_c_and_kill(stopped: Mill, cluster: Cluster, local: Mill) -> None:
    target, other = SHARDS[:2]
    jobs = [name_of(target), name_of(other)]

    def work(*names: str) -> bool:
        running = cluster.jobs()
        return all(running.get(name) in stopped.began() for name in names)

    # Ctrl-C takes its jobs along.
    stopped.start(*QUICK, target)
    assert stopped.process
    wait_for("a job works", lambda: work(jobs[0]))
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.finish() != 0
    assert "Terminating processes on user request" in stopped.said()
    wait_for("no job is left", lambda: not cluster.jobs(), 60)

    # A killed Snakemake leaves a lock and its jobs; the next one says what to type.
    stopped.start(*QUICK, target, other)
    wait_for("two jobs work", lambda: work(*jobs))
    stopped.process.kill()
    stopped.finish()
    assert work(*jobs)
    (stopped.folder / "faults/go-B").touch()
    wait_for("one ends by itself", lambda: list(cluster.jobs()) == jobs[:1])
    assert (stopped.folder / other).exists()
    stopped.start(*QUICK, target, other)
    assert stopped.finish() != 0
    assert "--unlock" in stopped.said()
    assert work(jobs[0])

    done = subprocess.run(
        ["bash", "-euxc", documented("After a crash of Snakemake itself")],
        cwd=stopped.folder,
        env=stopped.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    wait_for("no job is left", lambda: not cluster.jobs(), 60)
    assert not (stopped.folder / other).exists()

    (stopped.folder / "faults/go").touch()
    stopped.start(*QUICK, target, other)
    assert stopped.finish() == 0, stopped.said()[-6000:]
    assert (stopped.folder / target).exists() and (stopped.folder / other).exists()
    same_as(local, stopped, whole=False)
