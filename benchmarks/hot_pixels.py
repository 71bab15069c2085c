"""Peaks under hot pixels, before and after the mask that `spotmill mask` makes of the frames.

    OMP_NUM_THREADS=1 python benchmarks/hot_pixels.py --data FOLDER --models FOLDER/results/models \
        [--datasets 01 05 09] [--frames 60] [--patterns 4]

FOLDER holds results/ of a finished run. Each dataset gets hot pixels (2 in 100 000, 10 to 40
photons a frame, Poisson), noisy ones (half as many: 20 photons in a fifth of the frames) and dead
ones (as many), the same in all of its frames. The mask is made of these frames, by the command;
peaks are scored as in `robustness.py`, on frames with spots that the models were not trained on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import measuring
import numpy as np
import pandas as pd
from disturbances import Frame
from robustness import MIN_SPOTS, frame_of, refused, write

from spotmill.inference import Pipeline
from spotmill.inference.events import events, read_mask
from spotmill.inference.stated import Given
from spotmill.physics.peak_scoring import assign

SHARE = 2e-5


class Flawed:
    """Pixels of one detector that are hot, noisy or dead."""

    def __init__(self, live: Any, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        n = round(SHARE * live.size)
        pixels = self.rng.choice(np.flatnonzero(live), n + n // 2 + n, replace=False)
        self.hot, self.noisy, self.dead = np.split(pixels, [n, n + n // 2])
        self.rate = self.rng.uniform(10, 40, n)

    def put(self, frame: Frame) -> Frame:
        """Return a frame with these pixels."""
        image = frame.image.copy()
        image.flat[self.hot] += self.rng.poisson(self.rate)
        often = self.rng.random(len(self.noisy)) < 0.2
        image.flat[self.noisy] += often * self.rng.poisson(20, len(self.noisy))
        image.flat[self.dead] = 0
        return replace(frame, image=image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=["01", "05", "09"])
    parser.add_argument("--frames", type=int, default=60, help="of each dataset, for the mask")
    parser.add_argument("--patterns", type=int, default=4, help="of each dataset, for peaks")
    args = parser.parse_args()
    pipeline = Pipeline.load(args.models)
    split = pd.read_parquet(args.data / "results/splits/hit.parquet")
    side = split.set_index(["dataset", "index"])["split"].to_dict()
    print(f"{measuring.machine()}; models {args.models}")
    scores: dict[str, list[list[int]]] = {"none": [], "hot": [], "masked": []}
    for number, name in enumerate(args.datasets):
        table = pd.read_parquet(args.data / f"results/manifest/{name}.parquet")
        rows = table.sort_values("index").to_dict("records")
        rows = [
            rows[k] for k in np.linspace(0, len(rows) - 1, min(args.frames, len(rows))).astype(int)
        ]
        with tempfile.TemporaryDirectory() as folder:
            one(Path(folder), args, rows, number, pipeline, side, scores)
    print("| | frames | peaks found | true | precision | recall |\n" + "|---" * 6 + "|")
    for name, counts in scores.items():
        true, found, matched = np.sum(counts, axis=0)
        print(
            f"| {name} | {len(counts)} | {found} | {true} | {matched / max(found, 1):.3f} | "
            f"{matched / max(true, 1):.3f} |"
        )


def one(
    folder: Path,
    args: argparse.Namespace,
    rows: list[dict[str, Any]],
    seed: int,
    pipeline: Pipeline,
    side: dict[Any, str],
    scores: dict[str, list[list[int]]],
) -> None:
    """Make the frames of a dataset and their mask, and score peaks."""
    run, flawed, kept = folder / "run.h5", None, []
    with h5py.File(run, "w") as file:
        stack = None
        for place, row in enumerate(rows):
            frame = frame_of(args.data, row)
            if flawed is None or stack is None:
                flawed = Flawed(frame.live, seed)
                file["entry/instrument/detector/pixel_mask"] = (~frame.live).astype(np.uint32)
                stack = file.create_dataset(
                    "entry/data/data",
                    (len(rows), *frame.image.shape),
                    np.int32,
                    chunks=(1, *frame.image.shape),
                    compression="lzf",
                )
            spoilt = flawed.put(frame)
            stack[place] = spoilt.image
            tested = side.get((row["dataset"], row["index"]), "test") != "train"
            if tested and len(frame.place) >= MIN_SPOTS and len(kept) < args.patterns:
                kept.append((frame, spoilt))
    begun = time.perf_counter()
    words = ["-m", "spotmill.cli", "mask", run, "--output", folder / "mask.h5", "--json"]
    done = subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
    wall = time.perf_counter() - begun
    said = json.loads(done.stdout)
    live = read_mask(folder / "mask.h5")
    frame = kept[0][0]
    missed = {
        name: f"{int((~live).flat[pixels].sum())}/{len(pixels)}"
        for name, pixels in (("hot", flawed.hot), ("noisy", flawed.noisy), ("dead", flawed.dead))
    }
    flaws = np.concatenate([flawed.hot, flawed.noisy, flawed.dead])
    false = ~live & frame.live
    false.flat[flaws] = False
    print(f"{rows[0]['dataset']}: {wall:.0f} s, found {missed}, false {int(false.sum())}, {said}")
    given = {"none": Given(), "hot": Given(), "masked": Given(mask=live, mask_source="mask.h5")}
    for clean, spoilt in kept:
        for name, what in given.items():
            shown = clean if name == "none" else spoilt
            write(folder / "one.h5", shown)
            (event, _), *_ = list(events([folder / "one.h5"], what, refused))
            said_peaks = pipeline.predict(event).peaks
            partner = assign(said_peaks.place, shown.place)[0]
            scores[name].append([len(shown.place), len(partner), int((partner >= 0).sum())])


if __name__ == "__main__":
    main()
