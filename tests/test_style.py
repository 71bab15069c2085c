"""The linters are clean, and parsing the workflow is cheap."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BIN = Path(sys.executable).parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("snakefmt", "--check", "Snakefile", "workflow"),
        ("mypy",),
        ("snakemake", "--lint"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_linter_is_clean(command) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_snakefile_imports_no_torch_and_no_numpy() -> None:
    code = "import sys, spotmill.plan, spotmill.recipes; print({'torch', 'numpy'} & {*sys.modules})"
    assert run("python", "-c", code).stdout.strip() == "set()"


def test_help_imports_no_stage() -> None:
    code = (
        "import sys\nfrom spotmill.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'numpy', 'gemmi', 'pandas'} & {*sys.modules})"
    )
    assert run("python", "-c", code).stdout.splitlines()[-1] == "set()"


def test_every_command_explains_itself() -> None:
    from spotmill.cli import COMMANDS

    for name in COMMANDS:
        done = run("spotmill", name, "--help")
        assert done.returncode == 0 and "usage: spotmill" in done.stdout, name
        # An example that begins with the command itself.
        assert re.search(r"^Examples?::\n\n( +.*\n)* +spotmill " + name, done.stdout, re.M), name
