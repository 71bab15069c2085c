"""Kill `spotmill watch` again and again; no frame may be lost or repeated.

Frames come while it runs: files of many frames, files that grow, masters with data files, files of
one frame. The watch is killed outright at random moments, and between any two lines of the code
that writes, and started again; in the end each frame must be there once, all outputs must agree,
and what is said of each frame must be what an undisturbed `spotmill predict` says.

    python tests/watch_torment.py --kills 200 --seed 1
"""

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from predict_data import other_detector, train_models
from watch_runs import Server, Watch, check_whole, table

from spotmill.cli import main as spotmill

# Lines of the modules that write, in a short run.
LINES = 6000


class Stream:
    """A detector that writes frames into a folder, one piece at a time."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder, self._random = folder, rng
        other_detector(folder.with_name("source.h5"), 0.05, 8, seed=rng.randrange(99), frames=12)
        with h5py.File(folder.with_name("source.h5"), "r") as file:
            self._images = file["entry/data/data"][:]
        # Each frame is another one, so that a frame of another file is not taken for it.
        self._count = 0
        self.expected: list[tuple[str, int]] = []
        self._growing: list[Path] = []
        self._pending: list[Path] = []

    def _next(self, count: int) -> np.ndarray:
        chosen = [(self._count + n) % len(self._images) for n in range(count)]
        images = self._images[chosen]
        for n, image in enumerate(images):
            image[n % 50, (self._count + n) % 190] = self._count % 40
        self._count += count
        return images

    def put(self) -> None:
        """Write something new."""
        kind = self._random.choice(["single", "many", "grow", "new", "master", "data"])
        number = len(self.expected)
        if kind == "single":
            self._replace(f"s{number}.npy", self._next(1)[0])
            self.expected.append((f"s{number}.npy", 0))
        elif kind == "many":
            self._hdf5(f"m{number}.h5", self._next(5))
            self.expected += [(f"m{number}.h5", n) for n in range(5)]
        elif kind == "new" or (kind == "grow" and not self._growing):
            self._hdf5(f"g{number}.h5", self._next(2))
            self._growing.append(self._folder / f"g{number}.h5")
            self.expected += [(f"g{number}.h5", n) for n in range(2)]
        elif kind == "grow":
            path = self._random.choice(self._growing)
            with h5py.File(path, "r+") as file:
                data = file["entry/data/data"]
                first = len(data)
                images = self._next(2)
                data.resize(first + 2, axis=0)
                data[first:] = images
            self.expected += [(path.name, n) for n in (first, first + 1)]
        elif kind == "master":
            names = [f"r{number}_data_{n:06d}.h5" for n in (1, 2)]
            made = self._folder.with_name("made.h5")
            with h5py.File(made, "w") as file:
                for n, name in enumerate(names, start=1):
                    file[f"entry/data/data_{n:06d}"] = h5py.ExternalLink(name, "entry/data/data")
            made.rename(self._folder / f"r{number}_master.h5")
            self._pending += [self._folder / name for name in names]
            self.expected += [(f"r{number}_master.h5", n) for n in range(4)]
        else:
            self.finish(1)

    def finish(self, most: int = 10**9) -> None:
        """Write data files that masters wait for."""
        for path in self._pending[:most]:
            self._hdf5(path.name, self._next(2))
        del self._pending[:most]

    def _hdf5(self, name: str, images: np.ndarray) -> None:
        made = self._folder.with_name("made.h5")
        shape = images.shape[1:]
        with h5py.File(made, "w") as file:
            file.create_dataset(
                "entry/data/data", data=images, maxshape=(None, *shape), chunks=(1, *shape)
            )
        made.rename(self._folder / name)

    def _replace(self, name: str, image: np.ndarray) -> None:
        made = self._folder.with_name("made.npy")
        np.save(made, image)
        made.rename(self._folder / name)


def torment(watch: Watch, kills: int, seed: int) -> Counter[str]:
    """Kill a watch so often while frames come; check what it made of them.

    Returns how it was ended.
    """
    rng = random.Random(seed)
    stream = Stream(watch.folder, rng)
    ended: Counter[str] = Counter()
    for _ in range(kills):
        by_line = rng.random() < 0.5
        watch.start(line=int(LINES * rng.random() ** 2) if by_line else None)
        for _ in range(rng.randrange(3)):
            stream.put()
        if by_line:
            code = watch.wait(20.0)
            assert code in (None, -9), watch.said()[-3000:]
            ended["at a random moment" if code is None else "between two lines"] += 1
            if code is None:
                watch.kill()
        else:
            watch.wait(rng.uniform(0.0, 2.5))
            watch.kill()
            ended["at a random moment"] += 1
    stream.finish()
    code = watch.run("--until-idle", 1)
    assert code == 0, watch.said()[-3000:]
    check_whole(watch.output, stream.expected)
    assert "Traceback" not in watch.said(), watch.said()[-5000:]
    check_said(watch)
    ended["frames"] = len(stream.expected)
    return ended


def check_said(watch: Watch) -> None:
    """Compare what the watch says of each frame with what predict says."""
    output = watch.output.with_name("predicted")
    words = ["predict", watch.folder, "--models", watch.models, "--output", output]
    assert spotmill([str(word) for word in words]) == 0
    keys, values = ["file", "event"], ["probability", "n_peaks", "is_hit", "background"]
    one, two = (
        found.assign(file=[Path(name).name for name in found["file"]])
        .sort_values(keys)
        .reset_index(drop=True)[[*keys, *values]]
        for found in (table(output), table(watch.output))
    )
    pd.testing.assert_frame_equal(one, two)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, help="default: small ones are trained first")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = args.models or train_models(Path(folder))
        run(models, args)


def run(models: Path, args: argparse.Namespace) -> None:
    server = Server()
    total: Counter[str] = Counter()
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in").mkdir()
            watch = Watch(server, models, Path(folder) / "in", Path(folder) / "out")
            total += torment(watch, args.kills // args.rounds, args.seed + number)
        print(f"round {number}: {dict(total)}", flush=True)
    server.close()
    print("no frame lost, none repeated, all outputs agree")


if __name__ == "__main__":
    main()
