"""What all tests share."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotmill.cli import main

if TYPE_CHECKING:
    from mill import DryRuns, Mill

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data beside the repository, or skip."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared here: reference structures, geometries and frames are absent")
    return folder


@pytest.fixture(autouse=True)
def environment_as_found() -> Iterator[None]:
    """Take back what a test, or a command run inside it, put into the environment.

    `spotmill watch` turns the locks of HDF5 off for its whole process.
    """
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(before)


def copy_tiny(folder: Path) -> Path:
    """Copy the tiny configuration and what it needs into an empty folder."""
    shutil.copytree(ROOT / "tests/tiny/config", folder / "config")
    (folder / "resources").symlink_to(ROOT / "resources")
    return folder


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the tiny configuration, made the current one."""
    monkeypatch.chdir(copy_tiny(tmp_path))
    return tmp_path


@pytest.fixture
def spotmill() -> Callable[..., None]:
    """Return a function that runs a subcommand and expects it to succeed."""

    def run(*words: object) -> None:
        assert main([str(word) for word in words]) == 0

    return run


def simulate_words(output: str, first: int = 0, count: int = 12, **changes: object) -> list[str]:
    """Return the words of `spotmill simulate` for the tiny configuration."""
    options: dict[str, object] = {
        "detector": "config/detectors/tiny.geom",
        "response": "config/detectors/tiny.yaml",
        "reflections": "resources/1ic6.mtz",
        "crystal": "config/crystals/proteinase_k.yaml",
        "beam": "config/beams/weak.yaml",
        "photon-energy": 6000,
        "clen": 0.05,
        "dataset": "A",
        "first": first,
        "count": count,
        "seed": 7,
        "output": f"peaks/{output}.h5",
        "truth": f"truth/{output}.parquet",
    } | {key.replace("_", "-"): value for key, value in changes.items()}
    words = ["simulate"]
    for key, value in options.items():
        if value is True:
            words.append(f"--{key}")
        elif value is not None:
            words += [f"--{key}", str(value)]
    return words


def water_words(output: str = "water.h5", **changes: object) -> list[str]:
    """Return the words of `spotmill water` for the tiny configuration."""
    options: dict[str, object] = {
        "detector": "config/detectors/tiny.geom",
        "response": "config/detectors/tiny.yaml",
        "beam": "config/beams/weak.yaml",
        "solvent": "config/solvents/thin.yaml",
        "photon-energy": 6000,
        "clen": 0.05,
        "dataset": "A",
        "output": output,
    } | {key.replace("_", "-"): value for key, value in changes.items()}
    return ["water", *(str(word) for key, value in options.items() for word in (f"--{key}", value))]


@pytest.fixture(scope="session")
def dry_runs() -> Iterator["DryRuns"]:
    """Yield the process that answers dry runs."""
    from mill import DryRuns

    runs = DryRuns()
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def finished_mill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the tiny workflow ran, once for all workers; do not edit it."""
    from mill import build

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "finished_mill"
    with (base / "finished_mill.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(base / "unfinished_mill")
            (base / "unfinished_mill").rename(folder)
    return folder


@pytest.fixture(scope="module")
def module_mill(
    finished_mill: Path, dry_runs: "DryRuns", tmp_path_factory: pytest.TempPathFactory
) -> "Mill":
    """Return a copy of the finished mill for a module."""
    from mill import Mill

    folder = tmp_path_factory.mktemp("mill") / "mill"
    shutil.copytree(finished_mill, folder, symlinks=True)
    return Mill(folder, dry_runs)


@pytest.fixture
def mill(module_mill: "Mill") -> Iterator["Mill"]:
    """Yield a mill that ran to the report; edits made through it are undone afterwards."""
    yield module_mill
    module_mill.restore()


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small frames, and under `models` a trained model of each kind."""
    from predict_data import train_models

    folder = tmp_path_factory.mktemp("small_models")
    train_models(folder)
    return folder


@pytest.fixture(scope="session")
def export_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose `results` have two small datasets, to be exported; do not edit it."""
    from export_frames import make_results

    folder = tmp_path_factory.mktemp("export_results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_results(folder)
    return folder


@pytest.fixture
def predict(small_models: Path, tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs `spotmill predict` with these models and returns its code."""

    def run(*words: object, models: Path | None = None, output: str = "out") -> int:
        given = ["--models", models or small_models / "models", "--output", tmp_path / output]
        return main(["predict", *map(str, (*words, *given))])

    return run
