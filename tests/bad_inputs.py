"""A catalogue of bad inputs: the command, what is done to its files, and what must be said."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spotmill.formats.digests import signed_json

BEAM, CRYSTAL = "config/beams/weak.yaml", "config/crystals/proteinase_k.yaml"
DETECTOR, RESPONSE = "config/detectors/tiny.geom", "config/detectors/tiny.yaml"
SOLVENT, TASK, CONFIG = "config/solvents/thin.yaml", "config/tasks/hit.yaml", "config/config.yaml"
SHEET, MTZ = "config/datasets.tsv", "resources/1ic6.mtz"
SEARCH = "config/search.yaml"
CARD, WEIGHTS = "models/hit/model.json", "models/hit/model.safetensors"
FRAMES = {"seed": 7, "first": 0, "count": 2}
LEARNING = {"task": TASK, "split": "splits/hit.parquet", "detector": DETECTOR}
PEAKS, OVERLAY, WATER = "peaks/A/p00000.h5", "overlay/A/p00000.h5", "water/A.h5"
TRUTH, MANIFEST, SPLIT = "truth/A/p00000.parquet", "manifest/A.parquet", "splits/hit.parquet"
HISTORY = "epoch,train_loss,validation_loss\nx,y,z\n"
DATA = "entry/data/data"
EVALUATION = "evaluation/hit/evaluation.json"
DATASET = {"photon_energy": 6000, "clen": 0.05, "dataset": "A"}
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001")

# The words of each command that works in the prepared folder; "" holds what has no flag.
GOOD: dict[str, dict[str, Any]] = {
    "reflections": {"": "model.pdb", "d_min": 3, "output": "new.mtz"},
    "simulate": {
        **{"detector": DETECTOR, "response": RESPONSE, "reflections": MTZ, "crystal": CRYSTAL},
        **{"beam": BEAM, **DATASET, **FRAMES, "output": "new.h5", "truth": "new.parquet"},
    },
    "geometry": {"detector": DETECTOR, "beam": BEAM, **DATASET, "output": "new.geom"},
    "water": {
        **{"detector": DETECTOR, "response": RESPONSE, "beam": BEAM, "solvent": SOLVENT},
        **{**DATASET, "output": "new.h5"},
    },
    "background": {"": "blank.h5", "detector": DETECTOR, **DATASET, "output": "new.h5"},
    "overlay": {
        **{"water": "water/A.h5", "peaks": "peaks/A/p00000.h5", "seed": 7, "output": "new.h5"},
    },
    "labels": {"peaks": "peaks/A/p00000.h5", "output": "new.h5"},
    "manifest": {
        "overlay": ["overlay/A/p00000.h5", "overlay/A/e00000.h5"],
        "peaks": "peaks/A/p00000.h5",
        "labels": "labels/A/p00000.h5",
        "truth": "truth/A/p00000.parquet",
        "output": "new.parquet",
    },
    "check": {"": "manifest/A.parquet", "output": "new.txt"},
    "split": {
        "task": TASK,
        "manifest": ["manifest/A.parquet", "manifest/B.parquet"],
        "output": "new.parquet",
    },
    "train": {**LEARNING, "output": "new"},
    "evaluate": {**LEARNING, "model": "models/hit", "water": "water/A.h5", "output": "new"},
    "saliency": {
        **{**LEARNING, "model": "models/hit", "evaluation": "evaluation/hit"},
        "output": "new",
    },
    "tune": {"search": SEARCH, **LEARNING, "output": "new"},
    "export": {
        **{"model": "models/hit", "split": "splits/hit.parquet", "detector": DETECTOR},
        "output": "new.onnx",
    },
    "predict": {
        **{"": "overlay/A/p00000.h5", "models": "models", "geometry": "sim.geom"},
        "output": "new",
    },
    "report": {
        "config": CONFIG,
        "manifest": "manifest/all.parquet",
        "water": ["water/A.h5", "water/B.h5"],
        "evaluation": "evaluation/hit",
        "model": "models/hit",
        "output": "new.html",
        "figures": "new",
    },
    "cost": {"config": CONFIG, "output": "new.csv"},
    "init": {"": "new"},
    "completion": {"": "bash"},
    "pattern-sim": {
        **{"geometry": "sim.geom", "pdb": "tiny.cell", "intensities": "tiny.hkl", "seed": 1},
        **{"random_orientation": True, "output": "new.h5"},
    },
}

# Commands that need more than the prepared folder to work.
UNREADY: dict[str, dict[str, Any]] = {
    "materialise": {"": "overlay/A/p00000.h5", "output": "new.h5"},
    "explain": {"": ["overlay/A/p00000.h5", "0"]},
    "card": {
        **{"manifest": "manifest/A.parquet", "water": "water/A.h5", "geometry": "sim.geom"},
        "output": "new.md",
    },
    "crate": {"config": CONFIG, "output": "new/ro-crate-metadata.json"},
    "diff": {},
    "doctor": {},
    "watch": {"": "overlay/A", "models": "models", "geometry": "sim.geom", "output": "new"},
    "monitor": {"": "predictions.parquet", "output": "new"},
    "serve": {"": "results", "port": 0},
    "mask": {"": "overlay/A/p00000.h5", "geometry": "sim.geom", "output": "new.h5"},
    "gallery": {"manifest": "manifest/A.parquet", "geometry": "A.geom", "output": "new"},
    "map": {"manifest": "manifest/A.parquet", "geometry": "A.geom", "output": "new.parquet"},
}


def words(command: str, changes: dict[str, Any]) -> list[str]:
    """Return the words of a command with some options changed; None leaves one out."""
    found = [command]
    for key, value in ((GOOD | UNREADY)[command] | changes).items():
        if value is None or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        found += [f"--{key.replace('_', '-')}"] * bool(key) + [str(one) for one in values]
    return found


@dataclass(frozen=True)
class Bad:
    """A bad input: `says` must be found in the line; `spoil` is done before the command."""

    command: str
    name: str
    says: str
    spoil: Callable[[], object] = lambda: None
    changes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.command}: {self.name}"


def bad(
    command: str, name: str, says: str, spoil: Callable[[], object] | None = None, **changes: Any
) -> Bad:
    return Bad(command, name, says, spoil or (lambda: None), changes)


def put(path: str, content: str | bytes) -> Callable[[], object]:
    """Return what writes a file."""
    data = content.encode() if isinstance(content, str) else content

    def do() -> None:
        Path(path).unlink(missing_ok=True)
        Path(path).write_bytes(data)

    return do


def replaced(path: str, old: str, new: str) -> Callable[[], object]:
    """Return what replaces a text in a file."""

    def do() -> None:
        text = Path(path).read_text()
        assert old in text, f"{path}: has no {old!r}"
        Path(path).write_text(text.replace(old, new))

    return do


def added(path: str, text: str) -> Callable[[], object]:
    """Return what adds text to a file."""
    return lambda: Path(path).write_text(Path(path).read_text() + text)


def lost(path: str) -> Callable[[], object]:
    """Return what deletes a file."""
    return lambda: Path(path).unlink()


def halved(path: str) -> Callable[[], object]:
    """Return what cuts a file in the middle."""
    return lambda: os.truncate(path, Path(path).stat().st_size // 2)


def folder(path: str) -> Callable[[], object]:
    """Return what puts a folder where a file is expected."""

    def do() -> None:
        Path(path).unlink(missing_ok=True)
        Path(path).mkdir()

    return do


def copied(path: str, to: str) -> Callable[[], object]:
    """Return what copies one file over another."""
    return lambda: put(to, Path(path).read_bytes())()


def hdf5(path: str, change: Callable[[h5py.File], object]) -> Callable[[], object]:
    """Return what edits an HDF5 file."""

    def do() -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return do


def linked(name: str, to: str = "/etc/passwd") -> Callable[[h5py.File], object]:
    """Return what makes a dataset a link to another file."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = h5py.ExternalLink(to, name)

    return change


def provenance(key: str, value: Any) -> Callable[[h5py.File], object]:
    """Return what changes an attribute of a shard, as another program would write it."""

    def do(file: h5py.File) -> None:
        attributes = file["entry/spotmill"].attrs
        attributes[key] = value
        attributes.pop("header_sha256", None)

    return do


def table(path: str, column: str, value: Callable[[Any], Any]) -> Callable[[], object]:
    """Return what changes a column of a table."""

    def do() -> None:
        rows = pq.read_table(path)
        place = rows.column_names.index(column)
        pq.write_table(rows.set_column(place, column, pa.array(value(rows[column]))), path)

    return do


def card(key: str, value: Any) -> Callable[[], object]:
    """Return what changes a key of the model card."""

    def do() -> None:
        facts = json.loads(Path(CARD).read_text())
        facts[key] = value
        del facts["sha256"]
        Path(CARD).write_text(signed_json(facts))

    return do


def mtz(path: str, column: tuple[str, str], values: Callable[[Any], Any] = lambda v: v) -> None:
    """Write the shipped reflections with another column."""
    shipped = gemmi.read_mtz_file(MTZ)
    other = gemmi.Mtz(with_base=True)
    other.spacegroup = shipped.spacegroup
    other.set_cell_for_all(shipped.get_cell())
    other.add_dataset("x")
    other.add_column(*column)
    data = np.array(shipped.array[:, :4])
    data[:, 3] = values(data[:, 3])
    other.set_data(data)
    other.write_to_file(path)


def other_cell(path: str) -> None:
    """Write the shipped reflections with the cell of another entry."""
    shipped = gemmi.read_mtz_file(MTZ)
    shipped.set_cell_for_all(gemmi.UnitCell(66.9, 66.9, 40.8, 90, 90, 90))
    shipped.write_to_file(path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BEAM_TEXT = "nphotons: 1.0e8\nbeam_radius: 5.0e-6\nbandwidth: 0.01\n"
QUATERNION = "0.5 0.5 0.5 0.5\n"

CONFIGURATION = [
    *(
        bad("water", f"beam with {name}", rf"{BEAM}: {says}", put(BEAM, text))
        for name, text, says in [
            ("an unknown key", BEAM_TEXT + "flux: 3\n", r"flux: unknown key; known here: "),
            ("a key twice", BEAM_TEXT + "bandwidth: 0.02\n", r"line 4: bandwidth: is given twice"),
            (
                "too few photons",
                BEAM_TEXT.replace("1.0e8", "-1"),
                "nphotons: .*greater than 0 .*photons in one pulse",
            ),
            ("nan photons", BEAM_TEXT.replace("1.0e8", ".nan"), "nphotons: .*finite"),
            ("infinite photons", BEAM_TEXT.replace("1.0e8", ".inf"), "nphotons: .*finite"),
            ("a word for a number", BEAM_TEXT.replace("1.0e8", "many"), "nphotons: .*'many'"),
            ("yes for a number", BEAM_TEXT.replace("1.0e8", "yes"), "nphotons: is true or false"),
            ("a list for a number", BEAM_TEXT.replace("1.0e8", "[1, 2]"), "nphotons: "),
            ("a date", BEAM_TEXT.replace("1.0e8", "2020-13-45"), "holds a value that YAML cannot"),
            ("no text", "", "is empty; it must hold keys"),
            ("an anchor bomb", BOMB, "line 2: holds an alias"),
            ("a loop", "nphotons: &a [*a]\n", "line 1: holds an alias"),
            ("a deep nest", "nphotons: " + "[" * 5000, "holds a value that YAML cannot read"),
            (
                "a tag that runs code",
                "nphotons: !!python/object/apply:os.system ['touch executed']\n",
                "line 1: is not valid YAML",
            ),
            ("a newline in a key", BEAM_TEXT + '"a\\nb": 1\n', r"a\\nb: unknown key"),
            ("a NUL", BEAM_TEXT + "x: \0\n", "is not UTF-8 text, as it holds NUL bytes; save"),
            ("tabs", "nphotons:\t\t- 1\n\tb: 2\n", "line 1: is not valid YAML"),
        ]
    ),
    bad("water", "beam in UTF-16", rf"{BEAM}: is not UTF-8", put(BEAM, BEAM_TEXT.encode("utf-16"))),
    bad("water", "beam that is binary", rf"{BEAM}: is not UTF-8", put(BEAM, PNG)),
    bad("water", "beam that is a folder", rf"{BEAM}: is a folder; name a file", folder(BEAM)),
    bad("water", "beam that is missing", "no.yaml: no such file", beam="config/no.yaml"),
    bad("water", "beam of an endless name", "cannot be read .*too long", beam="x" * 300),
    bad("water", "beam below a file", "cannot be read .*; check", beam=f"{BEAM}/beam.yaml"),
    bad("water", "shell words for a beam", r"\$\(touch executed\): no", beam="$(touch executed)"),
    bad("water", "newline in a name", r"a\\nb\.yaml: no such file", beam="a\nb.yaml"),
    bad("water", "quotes and spaces in a name", "a 'b\" c: no such file", beam="a 'b\" c"),
    bad("water", "no thickness", rf"{SOLVENT}: .*thickness is req", put(SOLVENT, "shape: sheet\n")),
    bad("water", "thickness in µm", rf"{SOLVENT}: thickness: ", put(SOLVENT, "thickness: 20\n")),
    bad(
        "water", "response with a typo", rf"{RESPONSE}: point_sprd", put(RESPONSE, "point_sprd: 1")
    ),
    bad("water", "negative energy", "photon_energy: -6000.0 is not .*; give", photon_energy=-6000),
    bad("water", "NaN energy", "photon_energy: nan is not between .*; give", photon_energy="nan"),
    bad("water", "energy in keV", "photon_energy: 6.0 is not .*8 keV is 8000", photon_energy=6),
    bad("water", "clen 0", "clen: 0.0 is not between .*; give it in metres", clen=0),
    bad("water", "infinite clen", "clen: inf is not between .*; give it in metres", clen="inf"),
    bad("water", "clen in mm", "clen: 150.0 is not between .*; give it in metres", clen=150),
    bad("water", "words for clen", "--clen: .*'15 cm'", clen="15 cm"),
    bad("water", "slash in a dataset", "--dataset: 'a/b' must be letters", dataset="a/b"),
    bad("water", "dots for a dataset", "--dataset: '..' must be letters", dataset=".."),
    # Nobody may read this file or write to that folder, root included.
    bad("water", "beam that cannot be read", r"cannot be read .*; check", beam="/proc/self/mem"),
    bad("water", "output in a read-only folder", "cannot be written", output="/proc/new.h5"),
    bad("water", "output that is a folder", "peaks: is a folder; name a file", output="peaks"),
    bad("water", "output below a file", "cannot be written .*; check", output=f"{BEAM}/x/y.h5"),
    bad("water", "output of an endless name", "cannot be .*written .*; check", output="x" * 300),
]

DETECTORS = [
    bad(command, name, rf"{DETECTOR}: {says}", spoil)
    for command, name, says, spoil in [
        ("geometry", "no panels", ".*panel", put(DETECTOR, "clen = 0.1\nres = 2000\n")),
        ("geometry", "empty geometry", ".*", put(DETECTOR, "")),
        ("geometry", "HDF5 as geometry", "is not UTF-8", copied("water/A.h5", DETECTOR)),
        ("geometry", "unknown directive", "line 29: ", added(DETECTOR, "left/colour = 3\n")),
        ("geometry", "no number", "line 2: ", replaced(DETECTOR, "clen = 0.06", "clen = 6 feet")),
        ("geometry", "no equals sign", "line 29: ", added(DETECTOR, "left panel\n")),
        ("geometry", "zero res", "line 6: ", replaced(DETECTOR, "res = 2000", "res = 0")),
        ("geometry", "NaN res", "line 6: ", replaced(DETECTOR, "res = 2000", "res = nan")),
        ("water", "giant panel", ".*max_fs", replaced(DETECTOR, "fs = 79", "fs = 9999999999")),
        ("water", "crossed limits", ".*max_fs", replaced(DETECTOR, "fs = 79", "fs = -4")),
        ("water", "overlapping panels", ".*", replaced(DETECTOR, "min_fs = 86", "min_fs = 70")),
        ("water", "flat panel", ".*", replaced(DETECTOR, "left/fs = x", "left/fs = 0x")),
        ("train", "truncated geometry", ".*", halved(DETECTOR)),
    ]
] + [
    bad("geometry", "missing geometry", "no.geom: no such file", detector="no.geom"),
    bad("geometry", "negative energy", "photon_energy: -1.0 is not between", photon_energy=-1),
    bad("geometry", "NaN clen", "clen: nan is not between", clen="nan"),
    bad("geometry", "dots for a dataset", "--dataset: '..' must be letters", dataset=".."),
    bad("geometry", "beam with a typo", rf"{BEAM}: x: unknown key", added(BEAM, "x: 1\n")),
]
