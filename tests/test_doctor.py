"""The doctor finds what is broken, says what to do, and changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

from spotmill.cli import main
from spotmill.doctor import libraries, machine

BIN = Path(sys.executable).parent


def doctor(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | more
    return subprocess.run(
        [sys.executable, "-m", "spotmill.cli", "doctor", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_project_on_this_machine_is_well(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert main(["init", str(mine)]) == 0
    before = sorted(mine.rglob("*"))
    done = doctor(mine, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["failure"] == 0, done.stdout
    states = {one["what"]: one["state"] for one in told["findings"]}
    for what in ("torch", "numba", "hdf5plugin", "fabio", "libraries", "configuration", "workflow"):
        assert states[what] == "ok", told["findings"]
    assert {"disk", "memory", "locale", "snakemake", "SLURM"} <= states.keys()
    assert [path for path in sorted(mine.rglob("*")) if ".snakemake" not in path.parts] == before


def test_a_wrong_configuration_is_a_failure_with_its_remedy(tmp_path: Path, monkeypatch) -> None:
    mine = tmp_path / "mine"
    assert main(["init", str(mine)]) == 0
    path = mine / "config/config.yaml"
    path.write_text(path.read_text() + "\nno_such_key: 1\n")
    (mine / "workflow/rules/map.smk").write_text("# another\n")
    monkeypatch.chdir(mine)
    (found,) = machine.project()
    assert found.state == "failure" and "no_such_key" in found.found
    assert machine.workflow().state == "warning"
    assert "workflow/rules/map.smk" in machine.workflow().found


def test_a_project_without_its_configuration_is_a_failure(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [one.state for one in machine.look() if one.what == "project"] == ["ok"]
    (tmp_path / "Snakefile").touch()
    (found,) = [one for one in machine.look() if one.what == "project"]
    assert found.state == "failure" and "no config/config.yaml" in found.found
    assert "spotmill init" in found.remedy


def test_versions_out_of_range_are_told_with_what_to_install() -> None:
    wanted = [Requirement(text) for text in ("numpy>=99", "no-such-library>=2,<3", "pyyaml>=5")]
    wrong = libraries.problems(wanted)
    assert list(wrong) == ["numpy>=99", "no-such-library<3,>=2"]
    assert wrong["no-such-library<3,>=2"] == "no-such-library is not installed"
    assert "is not >=99" in wrong["numpy>=99"]
    assert {"numpy", "shtab", "torch"} <= {one.name for one in libraries.required("")}
    assert {one.name for one in libraries.required("export")} >= {"onnx"}
    assert not {one.name for one in libraries.required("export")} & {"numpy", "pytest"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("raise ImportError('libX.so: cannot open')", "libX.so: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes (signal 11)"),
    ],
)
def test_a_library_that_fails_or_crashes_is_told(
    content: str, told: str, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "fabio.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    found = libraries.probe("fabio")
    assert found.state == "failure" and told in found.found and "fabio" in found.remedy


def test_programs_that_the_shell_does_not_find_are_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = libraries.program("snakemake")
    assert found.state == "failure" and str(BIN) in found.remedy
    other = tmp_path / "snakemake"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert libraries.program("snakemake").state == "warning"
    assert "no SLURM on this machine" in libraries.slurm().found
    for name in ("sbatch", "squeue"):
        (tmp_path / name).symlink_to(other)
    assert libraries.slurm().state == "warning" and "scancel" in libraries.slurm().found


def test_a_folder_that_cannot_be_written_is_told() -> None:
    # Not even the superuser writes there.
    found = machine.writable("this folder", Path("/proc"), "go elsewhere")
    assert found.state == "failure" and found.line().endswith("; go elsewhere")


def test_an_old_locale_is_a_warning() -> None:
    code = "from spotmill.doctor import machine; print(machine.encoding().line())"
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | old, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.startswith("warning"), done.stdout + done.stderr


def test_a_failure_ends_with_one(tmp_path: Path) -> None:
    done = doctor(tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    failures = [line for line in done.stdout.splitlines() if line.startswith("failure")]
    assert len(failures) == 2 and all("export PATH=" in line for line in failures)
