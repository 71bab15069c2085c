"""Snakemake's log is read as it is written, on a cluster too, and whatever jobs wrote into it."""

import os
import time
from pathlib import Path

import pytest

from spotmill.serve.progress_of_run import progress_of
from spotmill.serve.runs import Run, Runs, clock_offset
from spotmill.serve.snakemake_log import RunLog
from spotmill.serve.tails import tail

HEAD = """\
Building DAG of jobs...
SLURM run ID: spotmill_95151663
Provided remote nodes: 200
Job stats:
job            count
-----------  -------
reflections        1
simulate           3
all                1
total              5

Select jobs to execute...
Execute 1 jobs...
"""
FIRST = """\
[Sat Nov 21 12:06:48 2026]
localrule reflections:
    input: resources/1ic6.mtz
    output: results/reflections/proteinase_k.mtz
    log: logs/reflections/proteinase_k.log
    jobid: 5
    benchmark: results/benchmarks/reflections/proteinase_k.tsv
    wildcards: crystal=proteinase_k
    resources: tmpdir=/tmp, mem_mb=2000, runtime=30
[Sat Nov 21 12:06:50 2026]
Finished jobid: 5 (Rule: reflections)
1 of 5 steps (20%) done
Select jobs to execute...
"""
SENT = """\
[Sat Nov 21 12:06:50 2026]
rule simulate:
    output: results/images/peaks/{shard}.h5, results/truth/{shard}.parquet
    log: logs/simulate/{shard}.log
    jobid: {number}
    wildcards: dataset=A, shard={shard}
    resources: tmpdir=<TBD>, mem_mb=1000
Job {number} has been submitted with SLURM jobid 1{number} (log: {top}/logs/slurm/1{number}.log).
"""
FAILED = """\
[Sat Nov 21 12:07:24 2026]
Error in rule simulate:
    message: SLURM-job '14' failed, SLURM status is: 'FAILED'.
    jobid: 4
    output: results/images/peaks/p4.h5, results/truth/p4.parquet
    log: logs/simulate/p4.log, {top}/logs/slurm/14.log (check log file(s) for error details)
    shell:
        
        spotmill simulate --detector x &>logs/simulate/p4.log
        
        (command exited with non-zero exit code)
    external_jobid: 14
Logfile logs/simulate/p4.log:
================================
[Sat Nov 21 12:07:25 2026]
Finished jobid: 3 (Rule: simulate)
5 of 5 steps (100%) done
Complete log(s): a job wrote this
================================
"""  # noqa: W293 (as Snakemake writes it)
AGAIN = "Trying to restart job 4.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the beginning of a log, held by no process, and locked."""
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    (tmp_path / ".snakemake/locks").mkdir()
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    for name in ("logs/simulate/p3.log", "logs/slurm/13.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first\nhalf\rmore\r3 of 10 frames\n")
    return tmp_path


def add(project: Path, text: str) -> Path:
    path = project / ".snakemake/log/2026-11-21T120647.885539.snakemake.log"
    with path.open("a") as file:
        file.write(text)
    return path


def sent(project: Path, number: int) -> str:
    return SENT.format(number=number, shard=f"p{number}", top=project)


def test_a_run_on_a_cluster_that_tries_again(project: Path) -> None:
    path = add(project, HEAD + FIRST)
    log = RunLog(path)
    # Byte by byte, as it may be met half written.
    whole = path.read_bytes() + (sent(project, 3) + sent(project, 4)).encode()
    path.write_bytes(b"")
    for at in range(0, len(whole), 7):
        with path.open("ab") as file:
            file.write(whole[at : at + 7])
        assert log.grow()
    assert log.totals == {"reflections": 1, "simulate": 3, "all": 1}
    assert log.done == {"reflections": 1} and log.seconds["reflections"] == 2
    assert {job.number: job.slurm for job in log.going.values()} == {3: "13", 4: "14"}
    progress = progress_of(Run(log, "running", "Running"), project, {}, lambda _: None)
    assert (progress.done, progress.total) == (1, 5)
    assert [job.where for job in progress.going] == ["SLURM job 13", "SLURM job 14, waiting"]
    assert progress.going[0].words == "3 of 10 frames"
    assert progress.unknown == ("simulate",)

    add(project, FAILED.format(top=project))
    (project / "logs/slurm/14.log").write_text("slurmstepd: error: oom-kill\n")
    log.grow()
    # What the job wrote between the two lines is no news of the run.
    assert not log.ended and list(log.going) == [3] and log.done["simulate"] == 0
    progress = progress_of(Run(log, "running", "Running"), project, {}, lambda _: None)
    (job,) = progress.failed
    assert job.words.startswith("SLURM-job '14' failed") and job.where == "SLURM job 14"
    assert job.logs == (("logs/slurm/14.log", ("slurmstepd: error: oom-kill",)),)

    add(project, AGAIN + sent(project, 4))
    log.grow()
    assert not log.failed and log.going[4].tries == 2
    add(project, "[Sat Nov 21 12:09:50 2026]\nFinished jobid: 4 (Rule: simulate)\n")
    log.grow()
    assert log.done["simulate"] == 1 and log.seconds["simulate"] == 180
    progress = progress_of(Run(log, "running", "Running"), project, {}, lambda _: None)
    assert progress.end is not None and progress.unknown == ()


def test_the_last_entry_counts_before_anything_follows(project: Path) -> None:
    log = RunLog(add(project, HEAD + sent(project, 4).rpartition("Job 4")[0]))
    for _ in range(2):
        assert log.grow()
        assert log.going[4].wildcards == "dataset=A, shard=p4" and log.going[4].tries == 1
    add(project, FAILED.format(top=project).partition("    shell:")[0])
    for _ in range(2):
        assert log.grow()
        assert not log.going and log.failed[4].message.startswith("SLURM-job '14' failed")
        assert (log.failed[4].failed or 0) - log.failed[4].begun == 34


def test_a_log_that_is_replaced_is_read_anew(project: Path) -> None:
    path = add(project, HEAD + FIRST)
    runs = Runs(project)
    assert runs.look().log.done == {"reflections": 1}
    path.write_text(HEAD)
    assert runs.look().log.done == {}


def test_damaged_logs_hurt_nobody(project: Path) -> None:
    text = (HEAD + FIRST + sent(project, 3) + FAILED.format(top=project) + AGAIN).encode()
    for step in range(1, 60):
        # Every so many-th byte another one.
        data = bytearray(text)
        data[step::61] = bytes([(step * 37) % 256]) * len(data[step::61])
        path = project / "damaged.log"
        path.write_bytes(data)
        log = RunLog(path)
        assert log.grow()
        progress_of(Run(log, "running", "Running"), project, {}, lambda _: 1.0)


def test_the_zone_of_another_host_is_found(project: Path) -> None:
    path = add(project, HEAD + FIRST)
    log = RunLog(path)
    log.grow()
    assert log.last is not None
    for hours in (-9.5, 0, 5.75, 12):
        written = log.last + 3600 * hours + 20
        os.utime(path, (written, written))
        local = time.mktime((*time.gmtime(log.last)[:8], -1)) - log.last
        expect = local if abs(written - log.last - local) < 900 else 3600 * hours
        assert clock_offset(log) == pytest.approx(expect)
    # A copy made days later tells nothing of a zone.
    os.utime(path, (log.last + 1e6, log.last + 1e6))
    assert abs(clock_offset(log)) <= 14 * 3600


def test_logs_of_others_are_not_shown(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "secret.log"
    other.write_text("secret")
    (project / "link.log").symlink_to(other)
    (project / "key").write_text("secret")
    os.mkfifo(project / "pipe.log")
    for name in (
        str(other),
        "link.log",
        f"../{other.parent.name}/secret.log",
        "key",
        "pipe.log",
        "\0.log",
    ):
        assert tail(project, name, 5) is None, name
    (project / "own.log").write_text("a\x1b[31mb\x1b[0m\x07\n" * 100)
    assert tail(project, "own.log", 2) == ["ab", "ab"]
