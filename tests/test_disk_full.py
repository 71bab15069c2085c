"""A disk that fills up: one line, nothing half-written, and on it goes once there is space."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.small_mill import Mill

# As a full disk does, a limit on the size of files refuses a write (EFBIG in place of ENOSPC).
LIMITED = """
import resource, sys
from spotmill.cli import main
import spotmill.learning.training, matplotlib.pyplot
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""
CONFIG = "config/config.yaml"
DETECTOR = ["--detector", "config/detectors/tiny.geom"]
RESPONSE = ["--response", "config/detectors/tiny.yaml"]
BEAM = ["--beam", "config/beams/weak.yaml"]
DATASET = ["--photon-energy", "6000", "--clen", "0.05", "--dataset", "A"]
PEAKS = "results/images/peaks/A/p00000.h5"
WATER = "results/images/water/A.h5"
OVERLAYS = [f"results/images/peaks_water_overlay/A/{name}00000.h5" for name in "pe"]
TASK = ["--task", "config/tasks/hit.yaml", "--split", "results/splits/hit.parquet", *DETECTOR]

COMMANDS = {
    "reflections": [
        *("resources/1ic6.mtz", "--d-min", "3", "--output", "new/a.mtz"),
    ],
    "geometry": [*DETECTOR, *BEAM, *DATASET, "--output", "new/a.geom"],
    "simulate": [
        *(*DETECTOR, *RESPONSE, *BEAM, *DATASET, "--crystal", "config/crystals/proteinase_k.yaml"),
        *("--reflections", "results/reflections/proteinase_k.mtz", "--seed", "7"),
        *("--first", "0", "--count", "12", "--output", "new/p.h5", "--truth", "new/p.parquet"),
    ],
    "water": [
        *(*DETECTOR, *RESPONSE, *BEAM, *DATASET, "--solvent", "config/solvents/thin.yaml"),
        *("--output", "new/w.h5"),
    ],
    "overlay": ["--water", WATER, "--peaks", PEAKS, "--seed", "7", "--output", "new/o.h5"],
    "labels": ["--peaks", PEAKS, "--output", "new/l.h5"],
    "manifest": [
        *("--overlay", *OVERLAYS, "--peaks", PEAKS),
        *("--labels", "results/images/labels/A/p00000.h5"),
        *("--truth", "results/truth/A/p00000.parquet", "--output", "new/m.parquet"),
    ],
    "check": ["--also", WATER, PEAKS, "--output", "new/a.checked"],
    "split": [
        *("--task", "config/tasks/hit.yaml", "--manifest", "results/manifest/A.parquet"),
        *("--output", "new/s.parquet"),
    ],
    "train": [*TASK, "--output", "new/model"],
    "evaluate": [*TASK, "--model", "results/models/hit", "--water", WATER, "--output", "new/e"],
    "saliency": [
        *(*TASK, "--model", "results/models/hit", "--evaluation", "results/evaluation/hit"),
        *("--output", "new/s"),
    ],
    "report": [
        *("--config", CONFIG, "--manifest", "results/manifest/all.parquet", "--water", WATER),
        *("--evaluation", "results/evaluation/hit", "--model", "results/models/hit"),
        *("--output", "new/index.html", "--figures", "new/figures"),
    ],
}


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """Return a small workflow that ran to its end."""
    made = Mill.make(tmp_path_factory.mktemp("full") / "mill")
    done = made.run()
    assert done.returncode == 0, done.stdout[-4000:]
    return made


def spotmill(folder: Path, limit: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    code = [sys.executable, "-c", LIMITED, str(limit), *words]
    return subprocess.run(code, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 3000])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_write_that_is_refused_is_one_line_and_leaves_nothing(
    mill: Mill, command: str, limit: int
) -> None:
    shutil.rmtree(mill.folder / "new", ignore_errors=True)
    done = spotmill(mill.folder, limit, [command, *COMMANDS[command]])
    small = {"check", "geometry", "manifest", "split"}
    if limit > 1000 and command in small and done.returncode == 0:
        pytest.skip(f"{command} writes less than {limit} bytes here")
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"spotmill {command}: error: new/"), done.stderr
    assert "no space is left" in last and "make space and run snakemake again" in last
    assert "Traceback" not in done.stderr
    left = [path for path in (mill.folder / "new").rglob("*") if path.is_file()]
    assert [path for path in left if path.stat().st_size >= limit] == []
    assert [path for path in left if path.name.endswith(".part")] == []


def test_a_full_standard_output_is_one_line(mill: Mill) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code = "import sys; from spotmill.cli import main; sys.exit(main(sys.argv[1:]))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "check", "results/manifest/A.parquet"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=mill.folder,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "standard output: cannot be written" in line and "make space there" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own of 500 kB; skip where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_the_workflow_goes_on_once_there_is_space(mill: Mill, small_disk: Path) -> None:
    wanted = mill.outputs()
    other = Mill.make(small_disk.parent / "mill")
    (other.folder / "results").symlink_to(small_disk)
    done = other.run()
    assert done.returncode != 0
    told = [line for line in done.stdout.splitlines() if line.startswith("spotmill ")]
    assert told and all("make space and run snakemake again" in line for line in told)
    assert not list(small_disk.rglob("*.part"))
    made = {name for name, digest in other.outputs().items() if wanted.get(name) != digest}
    assert not made, "something is there that is not as it should be"
    grow = ["mount", "-o", "remount,size=200m", str(small_disk)]
    subprocess.run(grow, check=True)
    done = other.run()
    assert done.returncode == 0, done.stdout[-4000:]
    assert other.outputs() == wanted


def test_a_reader_that_leaves_early_is_no_error(mill: Mill) -> None:
    code = "import sys; from spotmill.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "check", "results/manifest/A.parquet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=mill.folder,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
