"""A watch beside `predict` on the same frames: time, memory, and the cost of looks.

    python benchmarks/watching.py --models MODELS --frames 2000

Writes small frames (226 x 200 pixels, 20 a file), runs `spotmill predict` and
`spotmill watch --once` over them, and prints seconds and the growth of memory between a tenth of
the frames and all. Looks: a folder of 100 000 empty files.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from predict_data import other_detector

from spotmill.inference.folder_scan import FolderScan

MEBI = 2**20
FRAMES_A_FILE = 20


def measured(words: list[str], output: Path, frames: int) -> tuple[float, list[float]]:
    """Return seconds, and the largest resident memory (MiB) up to each fifth of the frames."""
    began = time.monotonic()
    process = psutil.Popen([sys.executable, "-m", "spotmill.cli", *words], stdout=-3, stderr=-3)
    largest = [0.0] * 5
    table = output / "predictions.csv"
    while process.poll() is None:
        done = table.read_bytes().count(b"\n") if table.is_file() else 0
        try:
            now = process.memory_info().rss / MEBI
        except psutil.NoSuchProcess:
            break
        part = min(5 * done // frames, 4)
        largest[part] = max(largest[part], now)
        time.sleep(0.2)
    assert process.returncode == 0, words
    return time.monotonic() - began, largest


def looks(count: int) -> None:
    """Print what looks at many files take."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            place = Path(folder) / f"run{number // 10_000}"
            place.mkdir(exist_ok=True)
            (place / f"frame_{number:06d}.cbf").touch()
        before = psutil.Process().memory_info().rss
        scan = FolderScan(Path(folder))
        for what in ("first look", "second look", "third look"):
            began = time.perf_counter()
            scan.look()
            print(f"{count} files, {what}: {time.perf_counter() - began:.3f} s")
        scan._young.clear()
        (Path(folder) / "run0/new.cbf").touch()
        for what in ("a new file in a folder of 10 000", "nothing new"):
            began = time.perf_counter()
            scan.look()
            print(f"{count} files, {what}: {time.perf_counter() - began:.3f} s")
        grown = (psutil.Process().memory_info().rss - before) / MEBI
        print(f"memory of {count} files: {grown:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--commands", nargs="+", default=["predict", "watch"])
    parser.add_argument("--files", type=int, default=100_000)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "in").mkdir()
        for number in range(args.frames // FRAMES_A_FILE):
            path = place / f"in/f{number:05d}.h5"
            other_detector(path, 0.05, 12 if number % 3 == 0 else 0, number, FRAMES_A_FILE)
        for command in args.commands:
            words = [command, str(place / "in"), "--models", str(args.models)]
            words += ["--output", str(place / command)]
            words += ["--once", "--every", "0.5"] if command == "watch" else []
            seconds, largest = measured(words, place / command, args.frames)
            fifths = ", ".join(f"{one:.0f}" for one in largest if one)
            print(
                f"{command}: {args.frames} frames in {seconds:.0f} s; largest memory in each fifth "
                f"of them: {fifths} MiB",
                flush=True,
            )
    looks(args.files)


if __name__ == "__main__":
    main()
