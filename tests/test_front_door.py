"""A new folder, completion, citation: what a user meets first."""

import os
import pty
import select
import shutil
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


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "invalid choice: 'trian'; did you mean train?"),
        (["predict", "x", "--modells", "m", "--output", "o"], "--modells; did you mean --models?"),
        (["export", "cix"], "did you mean cxi?"),
        (["simulate", "--photn-energy=3"], "--photn-energy; did you mean --photon-energy?"),
        (["nonsense"], "known here: init, doctor, reflections"),
    ],
)
def test_a_misspelt_word_is_told_with_the_one_that_was_meant(
    words: list[str], meant: str, capsys
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    said = capsys.readouterr().err
    assert left.value.code == 2 and meant in said and said.count("\n") == 1


def test_beginnings_of_options_and_what_follows_two_dashes_are_taken(tmp_path: Path) -> None:
    assert main(["init", "--upd", "--", str(tmp_path)]) == 1
    assert main(["init", "--", str(tmp_path / "--mine")]) == 0


# How to start a shell without its owner's files, and what has it complete by ./completion.
SHELLS = {
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        "bind 'set bell-style none'; . ./completion",
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        "unsetopt beep; mkdir -p f; cp completion f/_spotmill; fpath=($PWD/f $fpath); "
        "autoload -U compinit; compinit -u -D; zstyle ':completion:*' menu no",
    ),
}


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, shell: str, completion: str, folder: Path) -> None:
        folder.joinpath("completion").write_text(completion)
        call, setup = SHELLS[shell]
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.chdir(folder)
            kept = {"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "$ ", "HOME": str(folder)}
            os.execvpe(call[0], call, kept)
        termios.tcsetwinsize(self._terminal, (50, 120))
        self._seen = ""
        self.type(f"{setup}; echo rea''dy\n")
        assert self.shows("\nready"), self._seen

    def type(self, words: str) -> None:
        os.write(self._terminal, words.encode())

    def shows(self, *marks: str, most: float = 30.0) -> bool:
        """Return whether all marks come up in time."""
        end = time.monotonic() + most
        while not all(mark in self._seen for mark in marks):
            if time.monotonic() > end:
                return False
            if select.select([self._terminal], [], [], 0.1)[0]:
                self._seen += os.read(self._terminal, 65536).decode(errors="replace")
        return True

    def completes(self, words: str, *marks: str) -> bool:
        """Return whether the Tab key, or twice that, brings up the marks."""
        self._seen = ""
        self.type(words + "\t")
        found = self.shows(*marks, most=1.0)
        if not found:
            self.type("\t")
            found = self.shows(*marks)
        self.type("\x15echo do''ne\n")
        assert self.shows("\ndone"), self._seen
        return found

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_commands_options_and_files(
    shell: str, tmp_path: Path, capsys
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    assert main(["completion", shell]) == 0
    (tmp_path / "frames_of_run7.h5").touch()
    terminal = Shell(shell, capsys.readouterr().out, tmp_path)
    try:
        assert terminal.completes("spotmill pred", "ict")
        assert terminal.completes("spotmill predict --photon", "-energy")
        assert terminal.completes("spotmill predict --output out fra", "mes_of_run7.h5")
        assert terminal.completes("spotmill diff fra", "mes_of_run7.h5")
        assert terminal.completes("spotmill completion ", "bash", "zsh", "fish")
    finally:
        terminal.close()


def test_a_real_fish_completes_commands_options_and_files(tmp_path: Path, capsys) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    assert main(["completion", "fish"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    (tmp_path / "frames_of_run7.h5").touch()

    def completes(words: str) -> list[str]:
        call = f"source completion; complete -C '{words}'"
        done = run("fish", "--no-config", "-c", call, cwd=tmp_path, HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    assert completes("spotmill pred") == ["predict"]
    assert completes("spotmill predict --photon") == ["--photon-energy"]
    assert completes("spotmill predict --output out fra") == ["frames_of_run7.h5"]
    assert completes("spotmill diff fra") == ["frames_of_run7.h5"]
    assert completes("spotmill completion ") == ["bash", "zsh", "fish"]


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
