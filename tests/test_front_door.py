"""A new folder, completion, citation: what a user meets first."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

import spotmill.progress as progress
from spotmill.cli import COMMANDS, main

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | more
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_init_makes_a_project_that_snakemake_reads(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "mine")]) == 0
    mine = tmp_path / "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not (mine / "src").exists()
    assert (mine / "slurm/config.yaml").is_file()
    done = run("snakemake", "--profile", "profiles/local", "-n", cwd=mine)
    assert done.returncode == 0, done.stderr[-2000:]


def test_init_takes_an_empty_folder_and_no_other(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "."]) == 0
    assert (tmp_path / "Snakefile").is_file()
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", "."]) == 1
    assert "is there and not empty; choose another name" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    file = tmp_path / "Snakefile"
    assert main(["init", str(file)]) == 1
    assert main(["init", str(file / "below")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_update_renews_the_workflow_and_nothing_else(tmp_path: Path, capsys) -> None:
    assert main(["init", "--update", str(tmp_path)]) == 1
    assert "holds no Snakefile" in capsys.readouterr().err
    mine = tmp_path / "mine"
    assert main(["init", str(mine)]) == 0
    (mine / "Snakefile").write_text("# mine\n")
    (mine / "config/config.yaml").write_text("# mine\n")
    (mine / "workflow/rules/train.smk").unlink()
    assert main(["init", "--update", str(mine)]) == 0
    assert "2 files renewed" in capsys.readouterr().out
    assert (mine / "Snakefile").read_bytes() == (ROOT / "Snakefile").read_bytes()
    assert (mine / "Snakefile.old").read_text() == "# mine\n"
    assert (mine / "workflow/rules/train.smk").is_file()
    assert (mine / "config/config.yaml").read_text() == "# mine\n"


@pytest.fixture(scope="module")
def completion() -> str:
    done = run("python", "-m", "spotmill.cli", "completion", "bash", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def typed(completion: str, words: str, folder: Path) -> str:
    """Return what stands on the line of an interactive bash after words and two tabs."""
    folder.joinpath("completion").write_text(completion)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "$ ", "HOME": str(folder)}
        os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    seen = ""

    def read_until(mark: str, most: float = 20.0) -> None:
        nonlocal seen
        end = time.monotonic() + most
        while mark not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536).decode()
        assert mark in seen, seen

    try:
        os.write(terminal, b"bind 'set bell-style none'; . ./completion; echo rea''dy\n")
        read_until("ready")
        seen = ""
        os.write(terminal, words.encode() + b"\t\t")
        time.sleep(1.0)
        os.write(terminal, b" ::\x15echo do''ne\n")
        read_until("done")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return seen


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash here")
def test_a_real_bash_completes_commands_options_and_files(completion: str, tmp_path: Path) -> None:
    (tmp_path / "frames_of_run7.h5").touch()
    assert "spotmill predict ::" in typed(completion, "spotmill pred", tmp_path).replace("  ", " ")
    told = typed(completion, "spotmill predict --photon", tmp_path)
    assert "--photon-energy" in told
    told = typed(completion, "spotmill predict --output out fra", tmp_path)
    assert "frames_of_run7.h5" in told
    told = typed(completion, "spotmill completion ", tmp_path)
    assert {"bash", "zsh", "fish"} <= set(told.split())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_of_every_command(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)
    assert ("#compdef spotmill" if shell == "zsh" else "complete -c spotmill") in told


def test_the_citation_has_version_title_and_licence_of_the_package() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(said["version"]) == PROJECT["version"] == spotmill_version()
    assert said["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= said.keys()
    assert [one["name"] for one in said["authors"]] == [one["name"] for one in PROJECT["authors"]]


def spotmill_version() -> str:
    import spotmill

    return spotmill.__version__


def test_hooks_run_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    entries = " ".join(hook["entry"] for hook in hooks)
    for tool in ("ruff check", "ruff format", "snakefmt", "mypy"):
        assert f"$(BIN)/{tool}" in lint and f".venv/bin/{tool}" in entries, tool
    assert all(hook["language"] == "system" for hook in hooks)


def test_progress_is_plain_lines_in_a_log(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    assert list(progress.track(range(30), "map", "shard")) == list(range(30))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 9 and "\r" not in "".join(told)
    assert told[0].startswith("map: 3 of 30 shards, about 00:00 left")
    assert list(progress.track([], "map")) == []
    monkeypatch.setattr(progress, "SECONDS_WITHOUT_END", 0.0)
    assert list(progress.track(iter("ab"), "background")) == ["a", "b"]
    assert capsys.readouterr().err == "background: 1 frames\nbackground: 2 frames\n"


def test_quick_work_says_nothing(capsys) -> None:
    assert sum(progress.track(range(100), "labels")) == 4950
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal() -> None:
    code = (
        "from spotmill.progress import print_beside, track\n"
        "for one in track(range(50), 'labels'):\n    one == 25 and print_beside('halfway')\n"
    )
    leader, follower = pty.openpty()
    # A terminal without a size shows no bar.
    termios.tcsetwinsize(follower, (24, 80))
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=follower, stdout=subprocess.PIPE, text=True
    )
    assert select.select([leader], [], [], 5)[0]
    seen = os.read(leader, 65536).decode()
    os.close(follower)
    os.close(leader)
    assert done.returncode == 0 and done.stdout == "halfway\n"
    assert "labels:" in seen and "0/50" in seen and "\r" in seen
