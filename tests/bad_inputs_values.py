"""The catalogue of bad inputs: units and ranges, encodings, YAML, sheets, links in HDF5."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bad_inputs import (
    BEAM,
    BEAM_TEXT,
    CONFIG,
    CRYSTAL,
    DATA,
    DETECTOR,
    MANIFEST,
    MTZ,
    OVERLAY,
    PEAKS,
    RESPONSE,
    SHEET,
    SOLVENT,
    TASK,
    WATER,
    Bad,
    added,
    bad,
    hdf5,
    linked,
    put,
    replaced,
)

BLANK = "blank.h5"
MASK = "entry/instrument/detector/pixel_mask"
SHEET_HEAD = "dataset\tphoton_energy\tclen\tn_patterns\n"


def of(command: str, path: str, *cases: tuple[str, str, Any]) -> list[Bad]:
    """Return cases of a file with another text: name, what must be said, the text or the deed."""
    return [
        bad(command, name, f"{path}: {says}", deed if callable(deed) else put(path, deed))
        for name, says, deed in cases
    ]


def beam(old: str, new: str) -> str:
    assert old in BEAM_TEXT
    return BEAM_TEXT.replace(old, new)


UNITS = [
    *of(
        "water",
        BEAM,
        ("pulse energy in joules", "nphotons: .*photons in one pulse", beam("1.0e8", "1e-3")),
        ("photons a century", "nphotons: .*photons in one pulse", beam("1.0e8", "1e25")),
        ("radius in µm", "beam_radius: .*less than 0.1 .*, m", beam("5.0e-6", "5")),
        ("bandwidth in percent", "bandwidth: .*0.2 .*0.5 % is 0.005", beam("0.01", "0.5")),
        ("decimal comma", "nphotons: .*'1,5e8'", beam("1.0e8", "1,5e8")),
        ("thousands separators", "nphotons: .*'100,000,000'", beam("1.0e8", "100,000,000")),
        ("number with a unit", "beam_radius: .*'5 um'", beam("5.0e-6", "5 um")),
        ("offset in µm", ".*offset must .*metres", BEAM_TEXT + "profile: flat\noffset: [3, 0]\n"),
        ("offset of one", "offset", BEAM_TEXT + "profile: flat\noffset: [1e-6]\n"),
        ("divergence in mrad", "divergence: .*, rad", BEAM_TEXT + "divergence: 1\n"),
        ("polarisation of 2", "polarisation: ", BEAM_TEXT + "polarisation: 2\n"),
        ("spikes by halves", "n_spikes: ", BEAM_TEXT + "spectrum: sase\nn_spikes: 2.5\n"),
        ("NaN separation", "separation: ", BEAM_TEXT + "spectrum: twocolour\nseparation: .nan\n"),
    ),
    *of(
        "water",
        SOLVENT,
        ("air in mm", "air_upstream: .*, m", "thickness: 2e-5\nair_upstream: 30\n"),
        ("kelvin", "temperature: .*°C", "thickness: 2e-5\ntemperature: 298\n"),
        ("radius of a jet in µm", "radius: .*, m", "shape: jet\nradius: 20\n"),
        ("tilt of a turn", "tilt: .*degrees", "thickness: 2e-5\ntilt: 100\n"),
        ("yes for a thickness", "thickness: is true", "thickness: yes\n"),
    ),
    *of(
        "water",
        RESPONSE,
        ("spread in pixels", "point_spread: .*, m", "point_spread: 1.5\n"),
        ("share of 5", "dead_pixels: ", "dead_pixels: 5\n"),
        ("sensor in µm", "sensor_thickness: .*, m", "sensor: silicon\nsensor_thickness: 450\n"),
        ("sensor of butter", "sensor: ", "sensor: butter\nsensor_thickness: 4e-4\n"),
        ("beamstop of words", "beamstop", "beamstop: big\n"),
        ("beamstop in mm", "beamstop.radius: ", "beamstop: {radius: 3}\n"),
    ),
    *(
        bad("simulate", name, rf"{CRYSTAL}.*{says}", replaced(CRYSTAL, old, new))
        for name, says, old, new in [
            ("d_min in nm", "d_min: .*Å", "d_min: 2.5", "d_min: 0.25"),
            ("d_min in m", "d_min: .*Å", "d_min: 2.5", "d_min: 2.5e-10"),
            ("cell of five", "cell", "106.582, 90, 90, 90", "106.582, 90, 90"),
            ("cell in nm of another", ".*67", "67.288, 67.288, 106.582", "6.7288, 6.7288, 10.6582"),
            ("cell angle of 270", "cell: ", "90, 90, 90]", "90, 90, 270]"),
            ("probabilities of words", "per_frame", "d_min", "per_frame: few\nd_min"),
            ("wide lognormal", "size: ", "size: 4.0e-6", "size: {lognormal: [1e-6, 40]}"),
            ("reversed law", "size: .*swap", "size: 4.0e-6", "size: {uniform: [2e-6, 1e-6]}"),
        ]
    ),
    bad("water", "energy in joules", "photon_energy: 1e-15 is not .*eV", photon_energy=1e-15),
    bad("geometry", "energy in keV", "photon_energy: 7.0 is not .*8 keV is 8000", photon_energy=7),
    bad("simulate", "energy in keV", "photon_energy: 7.0 is not .*8 keV is 8000", photon_energy=7),
    bad("simulate", "clen in mm", "clen: 150.0 is not .*80 mm is 0.08", clen=150),
    bad("geometry", "clen with a comma", "--clen: .*'0,15'", clen="0,15"),
]

MERGED = "<<: {nphotons: 1.0e8}\nbeam_radius: 5e-6\nbandwidth: 0.01\n"
ANCHORED = "nphotons: &n 1.0e8\nbeam_radius: *n\nbandwidth: 0.01\n"
YAML = of(
    "geometry",
    BEAM,
    ("merge key", "line 1: holds a merge key .*; write", MERGED),
    ("alias", "line 2: holds an alias .*; write", ANCHORED),
    ("octal", "line 1: 0100: has a leading 0 .*; put", beam("1.0e8", "0100")),
    ("number in sixties", "line 1: 1:30: .*colon.*; put", beam("1.0e8", "1:30")),
    ("tag of python", "line 1: is not valid YAML", beam("1.0e8", "!!python/name:os.system")),
    ("local tag", "line 1: is not valid YAML", beam("1.0e8", "!include x")),
    ("binary", "nphotons: ", beam("1.0e8", "!!binary aGVsbG8=")),
    ("set", "nphotons: ", beam("1.0e8", "!!set {a, b}")),
    ("two documents", "line 4: is not valid YAML", BEAM_TEXT + "---\n" + BEAM_TEXT),
    ("list", "must hold keys and values", "- nphotons\n- 3\n"),
    ("word", "must hold keys and values", "nphotons\n"),
    ("number for a key", "3: ", BEAM_TEXT + "3: 4\n"),
    ("mapping for a key", "", BEAM_TEXT + "? {a: 1}\n: 4\n"),
    ("thousand digits", "nphotons: ", beam("1.0e8", "9" * 1000)),
    ("a million digits", "holds a value", beam("1.0e8", "9" * 1_000_000)),
    ("5 MiB of comments", "holds 5 MiB, more than the 4 MiB .*; check", "#" * (5 * 2**20)),
    ("UTF-16 without mark", "is not UTF-8 text, .*NUL .*; save", BEAM_TEXT.encode("utf-16-le")),
    ("UTF-32", "is not UTF-8 text", BEAM_TEXT.encode("utf-32")),
    ("Latin-1", "is not UTF-8 text; save", BEAM_TEXT.encode() + "# für\n".encode("latin-1")),
    ("control character", "is not valid YAML", BEAM_TEXT + "x: \x07\n"),
    ("shell words for a file", "spectrum_file: .*|", beam("0.01", "0.01\nspectrum: file")),
)


def sheet(*rows: str) -> str:
    return SHEET_HEAD + "".join(f"{row}\n" for row in rows)


SHEETS = of(
    "report",
    SHEET,
    ("energy in keV", "line 2: photon_energy: .*8 keV is 8000", sheet("A\t6\t0.05\t24")),
    ("clen in mm", "line 2: clen: .*150 mm is 0.15", sheet("A\t6000\t80\t24")),
    ("decimal comma", "line 2: clen: .*'0,05'", sheet("A\t6000\t0,05\t24")),
    ("thousands comma", "line 2: photon_energy: .*'6,000'", sheet("A\t6,000\t0.05\t24")),
    ("thousands point", "line 2: photon_energy: .*given: '6.000'", sheet("A\t6.000\t0.05\t24")),
    ("quoted number", "line 2: photon_energy: ", sheet('A\t"6000"\t0.05\t24')),
    ("NaN", "line 2: clen: ", sheet("A\t6000\tnan\t24")),
    ("infinity", "line 2: photon_energy: ", sheet("A\tinf\t0.05\t24")),
    ("extra column", "line 3: has 5 columns.*; mend", sheet("A\t6e3\t.1\t9", "B\t6e3\t.1\t9\tx")),
    ("missing column", "line 2: has 3 columns.*; mend", sheet("A\t6000\t0.05")),
    ("empty cell", "line 2: clen: is empty; fill", sheet("A\t6000\t\t24")),
    ("row twice", "line 3: dataset: .*twice.*; give", sheet(*["A\t6000\t0.05\t24"] * 2)),
    ("names that differ in case", "line 3: .*twice", sheet("A\t6e3\t.1\t9", "a\t6e3\t.1\t9")),
    ("header twice", "line 2: ", sheet(SHEET_HEAD.strip())),
    ("column twice", "line 1: clen stands twice", SHEET_HEAD.replace("n_pat", "clen\tn_pat")),
    ("no header", "line 1: is not the header that must", "A\t6000\t0.05\t24\n"),
    ("header alone", "has a header but no dataset", SHEET_HEAD),
    ("nothing", "has no rows", ""),
    ("half a pattern", "line 2: n_patterns: ", sheet("A\t6000\t0.05\t2.5")),
    ("name of a newline", "line 2: ", sheet("A\x0bB\t6000\t0.05\t24")),
    ("name of a shell word", "line 2: dataset: ", sheet("$(touch pwned)\t6000\t0.05\t24")),
    ("name of backticks", "line 2: dataset: ", sheet("`touch pwned`\t6000\t0.05\t24")),
    ("name that is an option", "line 2: dataset: ", sheet("-A\t6000\t0.05\t24")),
    ("Greek name", "line 2: dataset: ", sheet("α\t6000\t0.05\t24")),
    ("endless name", "line 2: dataset: ", sheet("x" * 65 + "\t6000\t0.05\t24")),
    ("UTF-16", "is not UTF-8", SHEET_HEAD.encode("utf-16")),
    ("UTF-16 without mark", "is not UTF-8 text, .*NUL", SHEET_HEAD.encode("utf-16-le")),
)
FIELDS = [
    bad("report", name, f"{CONFIG}: {says}", replaced(CONFIG, old, new))
    for name, says, old, new in [
        ("seed of words", "seed: ", "seed: 7", "seed: luck"),
        ("negative seed", "seed: ", "seed: 7", "seed: -7"),
        ("endless seed", "seed: ", "seed: 7", f"seed: {2**63}"),
        ("seed by halves", "seed: ", "seed: 7", "seed: 7.5"),
        ("empties of NaN", "empties: .*finite", "seed: 7", "seed: 7\nempties: .nan"),
        ("negative empties", "empties: ", "seed: 7", "seed: 7\nempties: -1"),
        (
            "endless threshold",
            "label_threshold: ",
            "seed: 7",
            "seed: 7\nlabel_threshold: 10000000000",
        ),
        ("task that is a number", "tasks", "  - config/tasks/hit.yaml", "  - 3"),
        ("beam that is an option", "beam: .*; rename", "config/beams/weak.yaml", "-weak.yaml"),
        ("beam in braces", "beam: .*; rename", "config/beams/weak.yaml", '"{weak}.yaml"'),
        ("beam with a newline", "beam: .*; rename", "config/beams/weak.yaml", '"we\\nak.yaml"'),
        ("shares of 2", "split: .*add up", "seed: 7", "seed: 7\nsplit: {train: 1, test: 1}"),
        ("hit of words", "hit", "seed: 7", "seed: 7\nhit: often"),
    ]
]


def remade(path: str, name: str, make: Callable[[h5py.File], object]) -> Callable[[], object]:
    """Return what puts something else in the place of an array."""

    def change(file: h5py.File) -> None:
        del file[name]
        make(file)

    return hdf5(path, change)


def raw(file: h5py.File) -> None:
    """Keep the numbers of the frames in a file of another kind."""
    outside = [(b"/etc/passwd", 0, 3 * 128 * 166 * 2)]
    file.create_dataset(DATA, (3, 128, 166), dtype=np.uint16, external=outside)


def virtual(target: str) -> Callable[[h5py.File], None]:
    """Return what makes the frames a virtual array of another file."""

    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3, 128, 166), np.uint16)
        layout[:] = h5py.VirtualSource(target, "x", (3, 128, 166))
        file.create_virtual_dataset(DATA, layout)

    return change


def soft(target: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(DATA, h5py.SoftLink(target))


def outside(target: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(DATA, h5py.ExternalLink(target, "x"))


def strange(target: str) -> Callable[[], object]:
    """Return what adds a link that nobody asked for, and puts a pipe beside the file."""

    def do() -> None:
        import os

        os.mkfifo("pipe")
        with h5py.File(BLANK, "r+") as file:
            file["entry/other"] = h5py.ExternalLink(target, "x")

    return do


LINKS = [
    *(
        bad(command, f"{name} in {path}", f"{path}: ", remade(path, DATA, make))
        for command, path in (("background", BLANK), ("labels", PEAKS), ("overlay", WATER))
        for name, make in [
            ("link to /etc/passwd", outside("/etc/passwd")),
            ("link that leads nowhere", outside("../../no.h5")),
            ("link to a device", outside("/dev/zero")),
            ("link to itself", soft("/" + DATA)),
            ("link to nothing", soft("/no/such")),
            ("numbers of another kind", raw),
            ("virtual frames of /etc/passwd", virtual("/etc/passwd")),
            ("virtual frames of nothing", virtual("no.h5")),
        ]
    ),
    bad("background", "link to a pipe", f"{BLANK}: leads to pipe, .*; copy", strange("pipe")),
    bad("background", "device", f"{BLANK}: leads to /dev/z.*; copy", strange("/dev/zero")),
    bad("check", "link in an overlay", f"{OVERLAY}: ", hdf5(OVERLAY, linked(MASK))),
    *(
        bad("background", f"frames of {name}", f"{BLANK}: ", remade(BLANK, DATA, make))
        for name, make in [
            ("NaN", lambda f: f.update({DATA: np.full((3, 128, 166), np.nan)})),
            ("minus one", lambda f: f.update({DATA: np.full((3, 128, 166), -1)})),
            ("complex numbers", lambda f: f.update({DATA: np.ones((3, 128, 166), complex)})),
            ("no pixels", lambda f: f.create_dataset(DATA, (3, 0, 166), "u2")),
            ("no frames", lambda f: f.create_dataset(DATA, (0, 128, 166), "u2")),
            ("billions of pixels", lambda f: f.create_dataset(DATA, (3, 2**20, 2**20), "u2")),
            ("one dimension", lambda f: f.update({DATA: np.ones(9)})),
            ("five dimensions", lambda f: f.update({DATA: np.ones((1, 1, 1, 2, 2))})),
        ]
    ),
]


def gzip_bomb() -> None:
    block = gzip.compress(bytes(2**24))
    Path("bomb.hkl.gz").write_bytes(block * 20)


def long_mtz() -> None:
    """Let a header promise more reflections than there are."""
    data = Path(MTZ).read_bytes()
    place = data.index(b"NCOL ")
    promise = b"NCOL %8d %12d %8d" % (4, 2_000_000_000, 0)
    Path("m.mtz").write_bytes(data[:place] + promise.ljust(80) + data[place + 80 :])


REFLECTIONS_TOO = [
    bad(
        "reflections",
        "gzip bomb",
        "bomb.hkl.gz: unpacks to more than .*; check",
        gzip_bomb,
        **{"": "bomb.hkl.gz", "cell_file": "tiny.cell"},
    ),
    bad(
        "reflections",
        "header that promises too much",
        "m.mtz: is not a whole MTZ file .shorter|it is shorter than its header says.*; make",
        long_mtz,
        **{"": "m.mtz", "d_min": None},
    ),
    bad("reflections", "output over the input", "--output: ./m.mtz|twice", long_mtz, **{
        "": "m.mtz", "output": "./m.mtz"}),
    bad("reflections", "PDB in Latin-1", "model.pdb: ", put("model.pdb", b"CRYST1 \xe9\xff" * 9)),
    bad("simulate", "truth over its beam", "--truth: .* by --beam too; choose", truth=BEAM),
    bad("simulate", "frames over its crystal", "--frames: .* too; choose", frames=CRYSTAL),
    bad("simulate", "truth over the peaks", "--truth: .* too; choose", truth="new.h5"),
    *(
        bad("simulate", f"orientations of {name}", "q.txt: line 1: ", put("q.txt", text),
            orientations="q.txt")
        for name, text in [
            ("huge numbers", "1e200 0 0 0\n1 0 0 0\n"),
            ("infinities", "inf 0 0 0\n1 0 0 0\n"),
            ("decimal commas", "0,5 0,5 0,5 0,5\n1 0 0 0\n"),
            ("five numbers", "1 0 0 0 0\n1 0 0 0\n"),
            ("quotes", '"1" "0" "0" "0"\n1 0 0 0\n'),
        ]
    ),
    *(
        bad(
            "simulate",
            f"spectrum of {name}",
            says,
            lambda text=text: (
                put(BEAM, BEAM_TEXT + "spectrum: file\nspectrum_file: s.txt\n")(),
                put("s.txt", text)(),
            ),
        )
        for name, says, text in [
            ("one point", "s.txt: .*; give", "6000 1\n"),
            ("nothing", "s.txt: .*; give", ""),
            ("NaN", "s.txt: line 2: ", "6000 1\nnan 1\n6100 1\n"),
            ("huge densities", "s.txt: line 1: ", "6000 1e308\n6010 1e308\n"),
            ("negative densities", "s.txt: .*; give", "6000 -1\n6010 2\n"),
            ("keV without header", "s.txt: .*; give", "6.0 1\n6.1 1\n"),
            ("decimal commas", "s.txt: line 1: ", "6000,0 1,0\n6100,0 1,0\n"),
            ("an energy twice", "s.txt: .*twice.*; give", "6000 1\n6000 2\n"),
        ]
    ),
    *of(
        "split",
        TASK,
        ("learning rate of NaN", "learning_rate: ", replaced(TASK, "3.0e-3", ".nan")),
        ("batch of 0", "batch_size: ", replaced(TASK, "batch_size: 8", "batch_size: 0")),
        ("negative decay", "weight_decay: ", added(TASK, "weight_decay: -1\n")),
        ("settings of a list", "settings: ", put(
            TASK, "target: hit\nmodel: patch_counter\nsettings: [1]\nepochs: 1\nlearning_rate: 1")),
        ("seed of 2**40", "seed: ", added(TASK, f"seed: {2**40}\n")),
        ("patience of 0", "early_stopping.*patience", added(TASK, "early_stopping: {patience: 0}")),
    ),
    *of(
        "geometry",
        DETECTOR,
        ("clen in words", "line 2: ", replaced(DETECTOR, "clen = 0.06", "clen = 60 furlongs")),
        ("res in m", "line .*res", replaced(DETECTOR, "res = 2000", "res = 5e-4")),
        ("overflowing corner", "line .*too large.*; check", replaced(
            DETECTOR, "corner_x = -83", "corner_x = 1e999")),
        ("corner on the moon", "line .*km", replaced(DETECTOR, "corner_x = -83", "corner_x = 1e9")),
        ("decimal comma", "line 2: ", replaced(DETECTOR, "clen = 0.06", "clen = 0,06")),
        ("same panel twice", "line .*contradicts", added(DETECTOR, "left/min_fs = 3\n")),
        ("UTF-16", "is not UTF-8", "clen = 0.1\n".encode("utf-16")),
    ),
]  # fmt: skip
NEW = [
    bad("materialise", "stored overlay", f"{OVERLAY}: "),
    bad("materialise", "picture", f"{OVERLAY}: ", put(OVERLAY, b"\x89PNG")),
    bad("materialise", "missing overlay", "no.h5: ", **{"": "no.h5"}),
    bad("explain", "frame that is not there", f"{OVERLAY}: ", **{"": [OVERLAY, "99"]}),
    bad("explain", "shell words", "", **{"": "$(touch pwned)/`x`"}),
    bad("explain", "missing shard", "no.h5", **{"": ["no.h5", "0"]}),
    bad("explain", "picture", f"{OVERLAY}: ", put(OVERLAY, b"\x89PNG")),
    bad("card", "missing manifest", "no.parquet: ", manifest="no.parquet"),
    bad("card", "picture as water", f"{WATER}: ", put(WATER, b"\x89PNG")),
    bad("card", "output over its manifest", "--output: .* too; choose", output=MANIFEST),
    bad("crate", "missing configuration", "no.yaml: no such file", config="no.yaml"),
    bad("crate", "configuration of words", f"{CONFIG}: ", put(CONFIG, "words\n")),
    bad("cost", "missing configuration", "no.yaml: no such file", config="no.yaml"),
    bad("cost", "unknown key", f"{CONFIG}: sead: unknown key", replaced(CONFIG, "seed", "sead")),
    bad("cost", "table of another kind", "new.txt: must end in .csv", output="new.txt"),
    bad("diff", "no project", "Snakefile: is not in this folder; go"),
]
VALUES = [*NEW, *UNITS, *YAML, *SHEETS, *FIELDS, *LINKS, *REFLECTIONS_TOO]
