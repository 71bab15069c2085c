"""Blank frames, and the words that measure a background on them."""

from pathlib import Path

import h5py
import numpy as np

from spotmill.cli import main

TINY = Path(__file__).parent / "tiny/config/detectors/tiny.geom"
SHAPE = (128, 166)  # of the tiny detector; columns 80 to 85 are a gap


def blanks(n=6, mean=0.8, seed=1):
    return np.random.default_rng(seed).poisson(mean, (n, *SHAPE)).astype(np.uint16)


def save(path, images, **fields):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = images
        for name, value in fields.items():
            file[f"entry/instrument/detector/{name}"] = value
    return path


def words(*sources, output, **changes):
    options = {"detector": TINY, "photon-energy": 6000, "clen": 0.05, "dataset": "A"}
    options |= {"output": output} | {key.replace("_", "-"): value for key, value in changes.items()}
    result = ["background", *map(str, sources)]
    for key, value in options.items():
        result += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return result


def refused(capsys, arguments, text):
    assert main(arguments) == 1
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert text in message
    output = Path(arguments[arguments.index("--output") + 1])
    assert not output.exists()
    assert not list(output.parent.glob("*.part"))
