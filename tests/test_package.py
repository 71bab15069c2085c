"""Wheel and sdist hold what they must, and make a project far from the repository.

The libraries are those of the environment that runs the tests; the program is the wheel's.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from spotmill.project import OWN, PACKAGED, PROGRAM, WIRING, files_below

pytestmark = pytest.mark.package
TOOLS = Path(os.environ.get("SPOTMILL_PACKAGE_TOOLS", ROOT / ".venv/package/bin"))
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]


def run(*words: object, cwd: Path, path: str | None = None, code: int = 0) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both from a copy of the files that belong to the tree: the wheel from the sdist."""
    tree, dist = tmp_path_factory.mktemp("tree") / "spotmill", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", ".snakemake", "results", "logs", "build", "dist", "__pycache__",
        "*.egg-info", ".*_cache", ".hypothesis",
    )  # fmt: skip
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    run(TOOLS / "python", "-m", "build", "--no-isolation", "-o", dist, tree, cwd=tree)
    return dist


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment; return its folder of programs."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    programs = folder / "bin"
    pip = (programs / "python", "-m", "pip", "--disable-pip-version-check", "install")
    run(*pip, "--no-deps", "--no-index", *built.glob("*.whl"), cwd=folder)
    # Behind its own: an editable installation there is not followed.
    libraries = sysconfig.get_path("purelib")
    own = run(
        programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=folder,
    ).strip()  # fmt: skip
    Path(own, "libraries.pth").write_text(f"{libraries}\n")
    program = programs / "snakemake"
    program.write_text(f"#!{programs}/python\nfrom snakemake.cli import main\nmain()\n")
    program.chmod(0o755)
    return programs


def test_both_pass_twine(built: Path) -> None:
    told = run(TOOLS / "twine", "check", "--strict", *built.iterdir(), cwd=built)
    assert told.count("PASSED") == 2


def test_the_wheel_holds_tables_templates_and_the_project(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"spotmill-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    code = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src/spotmill").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    project = {
        f"spotmill/{PACKAGED}/{file.as_posix()}"
        for file in files_below(ROOT, WIRING + OWN + PROGRAM)
    }
    assert code <= names and project <= names
    others = {name for name in names - code - project if ".dist-info/" not in name}
    assert not others


def test_the_sdist_holds_what_the_tests_and_the_documentation_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("tests/conftest.py", "docs/physics.md", "CITATION.cff", "LICENSE", "Snakefile"):
        assert name in names, name
    assert not [name for name in names if "__pycache__" in name or name.startswith(".venv")]


def test_a_project_far_from_the_repository_runs(installed: Path, tmp_path: Path) -> None:
    path = str(installed)
    assert run("spotmill", "--version", cwd=tmp_path, path=path) == f"spotmill {VERSION}\n"
    code = "import spotmill; print(spotmill.__file__)"
    where = run("python", "-c", code, cwd=tmp_path, path=path).strip()
    assert Path(where).is_relative_to(installed.parent)
    run("spotmill", "init", "mine", cwd=tmp_path, path=path)
    mine = tmp_path / "mine"
    told = run("snakemake", "--profile", "profiles/local", "-n", cwd=mine, path=path)
    assert re.search(r"^total +\d{3,}$", told, re.M)
    told = run("snakemake", "--profile", "slurm", "-n", cwd=mine, path=path)
    assert re.search(r"^total +\d{3,}$", told, re.M)
    # A table of the package's is read, and a job of the workflow done.
    water = "results/images/water/01.h5"
    run("snakemake", "--profile", "profiles/local", "-c", 1, water, cwd=mine, path=path)
    assert (mine / water).is_file()
    told = run("spotmill", "doctor", cwd=mine, path=path)
    assert "0 failure" in told and "workflow: is that of the installed version" in told


def test_a_job_under_conda_gets_the_program(installed: Path, tmp_path: Path) -> None:
    # An environment that has pip and setuptools and no Spotmill, as conda makes it.
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    libraries = Path(run(environment / "bin/python", "-c", where, cwd=tmp_path).strip())
    tools = run(TOOLS / "python", "-c", where, cwd=tmp_path)
    (libraries / "tools.pth").write_text(tools)
    path = f"{environment}/bin:{installed}"
    run("spotmill", "init", "mine", cwd=tmp_path, path=path)
    run("sh", "envs/spotmill.post-deploy.sh", cwd=tmp_path / "mine", path=path)
    assert (libraries / "spotmill" / PACKAGED / "Snakefile").is_file()
    assert (environment / "bin/spotmill").is_file()
