"""What the benchmarks share: the case they measure, time and memory of calls and commands."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# One core: before any library reads it.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
os.environ.update(ONE_THREAD)

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"
REFLECTIONS = ROOT / "resources" / "1ic6.mtz"
ENERGY, CLEN, DATASET, SEED = 7000.0, 0.15, "02", 1


class Spent(NamedTuple):
    """Seconds of wall time, seconds of CPU time (user and system), largest memory in MiB."""

    wall: float
    cpu: float
    memory: float


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def spent(call: Callable[[int], object], repeats: int = 51, warm: int = 2) -> Spent:
    """Return the medians of a call, which is given its number; the first ones only compile."""
    walls, cpus = [], []
    for number in range(warm + repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call(number)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Spent(statistics.median(walls[warm:]), statistics.median(cpus[warm:]), 0.0)


def program(*words: object) -> Spent:
    """Run Python with these words as a process of its own; return what it alone spent."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, words)], env=os.environ | ONE_THREAD)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args}: ended with {process.returncode}")
    wall = time.perf_counter() - begun
    # Linux states ru_maxrss in KiB, macOS in bytes.
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale)


def command(*words: object) -> Spent:
    """Run a subcommand of spotmill; return what it spent, start-up included."""
    return program("-m", "spotmill.cli", *words)


def light(dataset: str = DATASET, energy: float = ENERGY, clen: float = CLEN) -> list[object]:
    """Return the words that simulate and water share."""
    words: list[object] = ["--detector", CONFIG / "detectors/eiger4m.geom"]
    words += ["--response", CONFIG / "detectors/eiger4m.yaml"]
    words += ["--beam", CONFIG / "beams/cxls.yaml"]
    return [*words, "--photon-energy", energy, "--clen", clen, "--dataset", dataset]


def water_words(output: Path, *where: object) -> list[object]:
    solvent = CONFIG / "solvents/water_sheet.yaml"
    return ["water", *light(*where), "--solvent", solvent, "--output", output]


def simulate_words(output: Path, first: int, count: int, *where: object) -> list[object]:
    words = ["simulate", *light(*where), "--reflections", REFLECTIONS]
    words += ["--crystal", CONFIG / "crystals/proteinase_k.yaml", "--first", first]
    words += ["--count", count, "--seed", SEED, "--output", output]
    return [*words, "--truth", output.with_suffix(".parquet")]


def overlay_words(water: Path, output: Path, peaks: Path) -> list[object]:
    words = ["overlay", "--water", water, "--peaks", peaks]
    return [*words, "--seed", SEED, "--output", output]


def empty_words(water: Path, output: Path, first: int, count: int) -> list[object]:
    words = ["overlay", "--water", water, "--first", first, "--count", count]
    return [*words, "--seed", SEED, "--output", output]


def labels_words(peaks: Path, output: Path) -> list[object]:
    return ["labels", "--peaks", peaks, "--output", output]
