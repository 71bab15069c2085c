"""Files appear whole or not at all, whoever else writes or was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import UNTOUCHED, atomic, write_text

# Writes half a file, says so, and waits for a word before it ends.
WRITER = """
import sys
from spotmill.formats.atomic import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text(sys.argv[2])
    print(temporary.name, flush=True)
    sys.stdin.readline()
"""


def writer(path: Path, text: str) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def end(process: "subprocess.Popen[str]", tell: bool = True) -> int:
    process.communicate("go\n" if tell else None)
    return process.returncode


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    final = tmp_path / "p00000.h5"
    killed, left = writer(final, "half")
    killed.send_signal(signal.SIGKILL)
    assert end(killed, tell=False) == -signal.SIGKILL
    assert names(tmp_path) == {left}
    write_text(tmp_path / "p00000.h5.sum", "of another file")
    assert left in names(tmp_path)
    write_text(final, "whole")
    assert names(tmp_path) == {"p00000.h5", "p00000.h5.sum"}


def test_of_two_writers_the_last_wins_whole(tmp_path: Path) -> None:
    final = tmp_path / "p00000.h5"
    first, one = writer(final, "first")
    second, other = writer(final, "second")
    assert one != other and names(tmp_path) == {one, other}
    assert end(second) == 0
    assert final.read_text() == "second" and names(tmp_path) == {"p00000.h5", one}
    assert end(first) == 0
    assert final.read_text() == "first" and names(tmp_path) == {"p00000.h5"}


@pytest.mark.parametrize("age", [UNTOUCHED - 100, UNTOUCHED + 100])
def test_another_machines_file_goes_by_its_age(age: float, tmp_path: Path) -> None:
    left = tmp_path / ".p00000.h5.elsewhere~1.part"
    left.write_text("half")
    os.utime(left, (time.time() - age, time.time() - age))
    write_text(tmp_path / "p00000.h5", "whole")
    assert left.exists() == (age < UNTOUCHED)


@pytest.mark.parametrize("name", [".p00000.h5.part", ".p00000.h5.7.part", ".p00000.h5.x~7.partial"])
def test_files_of_others_stay(name: str, tmp_path: Path) -> None:
    other = tmp_path / name
    other.write_text("a user's")
    os.utime(other, (0, 0))
    write_text(tmp_path / "p00000.h5", "whole")
    assert other.read_text() == "a user's"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    final = tmp_path / "page.html"
    write_text(final, "old")
    with pytest.raises(RuntimeError), atomic(final) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert final.read_text() == "old" and names(tmp_path) == {"page.html"}


# Started as `nohup … &` starts it, a process and all that it starts ignore SIGINT.
HEEDED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

WORKFLOW = """
import os, subprocess, sys
environment = os.environ | {"SPOTMILL_WORKFLOW": str(os.getpid())}
words = [sys.executable, "job.py", sys.argv[1]]
shell = subprocess.Popen(["bash", "-c", '"$@" > said; :', "bash", *words], env=environment)
print(shell.pid, flush=True)
shell.wait()
"""

JOB = """
import pathlib, sys, time
from spotmill import orphans
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
orphans.LOOK_EVERY = float(sys.argv[1])
orphans.watch()
try:
    with atomic("p00000.h5") as temporary:
        temporary.write_text("a job's")
        print("ready", flush=True)
        while not pathlib.Path("go").exists():
            time.sleep(0.02)
    print("done", flush=True)
except SpotmillError as error:
    print("refused:", error, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def wait_for(path: Path, *words: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and any(word in path.read_text() for word in words):
            break
        time.sleep(0.05)
    return path.read_text()


@pytest.mark.parametrize(
    ("dies", "look_every", "says"),
    [
        ("nobody", 0.1, "done"),
        ("workflow", 0.1, "interrupted"),
        ("shell", 0.1, "interrupted"),
        ("workflow", 1000.0, "refused: p00000.h5: the workflow that started this job is gone"),
        ("shell", 1000.0, "refused: p00000.h5: the workflow that started this job is gone"),
    ],
)
@pytest.mark.parametrize("interrupts", [HEEDED, IGNORED], ids=["heeded", "ignored"])
def test_a_job_whose_workflow_is_gone_writes_nothing(
    dies: str, look_every: float, says: str, interrupts: str, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(JOB)
    words = [sys.executable, "-c", interrupts + WORKFLOW, str(look_every)]
    workflow = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert workflow.stdout
    shell = int(workflow.stdout.readline())
    said = tmp_path / "said"
    assert "ready" in wait_for(said, "ready")
    if dies == "workflow":
        workflow.kill()
    elif dies == "shell":
        os.kill(shell, signal.SIGKILL)
    if dies != "nobody":
        workflow.wait()
    if says != "interrupted":
        (tmp_path / "go").touch()
    assert says in wait_for(said, "done", "refused", "interrupted")
    workflow.communicate()
    assert (tmp_path / "p00000.h5").exists() == (dies == "nobody")
    assert not list(tmp_path.glob(".p00000*"))


def test_a_disk_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpotmillError, match="cannot be written"), atomic(tmp_path / "a"):
        pass
