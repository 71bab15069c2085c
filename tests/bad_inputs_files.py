"""The catalogue of bad inputs: reflections, shards, tables and splits."""

import shutil

import pyarrow.parquet as pq
from bad_inputs import (
    BEAM,
    BEAM_TEXT,
    CRYSTAL,
    DATA,
    MANIFEST,
    MTZ,
    OVERLAY,
    PEAKS,
    PNG,
    QUATERNION,
    SHEET,
    TASK,
    TRUTH,
    WATER,
    added,
    bad,
    copied,
    folder,
    halved,
    hdf5,
    linked,
    lost,
    mtz,
    other_cell,
    provenance,
    put,
    replaced,
    table,
)


def whole_mtz() -> None:
    shutil.copy(MTZ, "m.mtz")


def halve_mtz() -> None:
    halved("m.mtz")()


def signed_mtz(factor: float) -> None:
    mtz("m.mtz", ("I", "J"), lambda values: values * factor)


OVER = {"": "m.mtz", "output": "m.mtz"}
REFLECTIONS = [
    bad("reflections", "no STRUCTURE", "STRUCTURE: is required; name it", **{"": None}),
    bad("reflections", "missing file", "no.pdb: no such file; check", **{"": "no.pdb"}),
    bad("reflections", "folder for a file", "model.pdb: ", folder("model.pdb")),
    bad("reflections", "empty PDB", "model.pdb: has no atoms; is", put("model.pdb", "")),
    bad("reflections", "PNG as PDB", "model.pdb: ", put("model.pdb", PNG)),
    bad("reflections", "no cell", "model.pdb: has no unit", replaced("model.pdb", "CRYST1", "REM")),
    bad("reflections", "unknown kind", "is not a structure by its name; use", **{"": SHEET}),
    *(
        bad("reflections", name, says, spoil, **{"": "m.mtz", "d_min": None})
        for name, says, spoil in [
            ("PDB as MTZ", "m.mtz: is not an MTZ file; check", copied("model.pdb", "m.mtz")),
            ("truncated MTZ", "m.mtz: is not a whole MTZ", lambda: (whole_mtz(), halve_mtz())),
            ("empty MTZ", "m.mtz: is not an MTZ file; check", put("m.mtz", "")),
            ("no intensities", "m.mtz: has neither int.*; give", lambda: mtz("m.mtz", ("P", "P"))),
            ("negative intensities", "m.mtz: column I: ", lambda: signed_mtz(-1)),
            ("infinite intensities", "m.mtz: column I: ", lambda: signed_mtz(float("inf"))),
        ]
    ),
    bad(
        "reflections",
        "output over its input",
        "m.mtz is named by --structure too",
        whole_mtz,
        **OVER,
    ),
    bad("reflections", "d_min 0", "--d-min: 0 is not between", d_min=0),
    bad("reflections", "NaN d_min", "--d-min: nan is not between", d_min="nan"),
    bad("reflections", "words for d_min", "--d-min: .*'two'", d_min="two"),
    bad("reflections", "other suffix", "new.txt: --output: must end in .mtz", output="new.txt"),
    bad("reflections", "path for an entry", "pdb:../x: is not an entry", **{"": "pdb:../x"}),
    bad("reflections", "hkl without cell", "tiny.hkl: does not say its", **{"": "tiny.hkl"}),
    bad("reflections", "cell with a PDB", "--cell-file: goes with", cell_file="tiny.cell"),
    bad("reflections", "no output", "--output", output=None),
    bad(
        "reflections",
        "binary hkl",
        "tiny.hkl: is not UTF-8 text",
        put("tiny.hkl", PNG),
        **{"": "tiny.hkl", "cell_file": "tiny.cell"},
    ),
    bad(
        "reflections",
        "cell without units",
        "tiny.cell: line 6: a: needs",
        replaced("tiny.cell", "a = 67.288 A", "a = 67.288"),
        **{"": "tiny.hkl", "cell_file": "tiny.cell"},
    ),
    bad(
        "reflections",
        "output of --hkl below a file",
        f"{BEAM}/x.hkl: cannot be written .*; check",
        hkl=f"{BEAM}/x.hkl",
    ),
]


SIMULATE = [
    bad("simulate", "missing flag", "--beam", beam=None),
    bad("simulate", "zero patterns", "--count: 0 ", count=0),
    bad("simulate", "negative count", "--count: -3 ", count=-3),
    bad("simulate", "count of 10**30", "--count: 1000000", count=10**30),
    bad("simulate", "count of 1e3", "--count: '1e3' is not a whole number; give", count="1e3"),
    bad("simulate", "negative first", "--first: -1 ", first=-1),
    bad("simulate", "negative seed", "--seed: -1 ", seed=-1),
    bad("simulate", "seed of 10**30", "--seed: 1000000", seed=10**30),
    bad("simulate", "energy of 1e308", r"photon_energy: 1e\+308 is not", photon_energy=1e308),
    bad("simulate", "clen 0", "clen: 0.0 is not between", clen=0),
    bad("simulate", "path for a dataset", "--dataset: '../A' must be", dataset="../A"),
    bad("simulate", "missing reflections", "no.mtz: .*; check", reflections="no.mtz"),
    bad("simulate", "folder for reflections", "x.mtz: .*; ", folder("x.mtz"), reflections="x.mtz"),
    bad("simulate", "yaml for reflections", f"{BEAM}: is neither .mtz", reflections=BEAM),
    bad(
        "simulate",
        "reflections of another cell",
        r"66\.9",
        lambda: other_cell("m.mtz"),
        reflections="m.mtz",
    ),
    *(
        bad("simulate", name, rf"{CRYSTAL}: {says}", replaced(CRYSTAL, "size: 4.0e-6", f"{text} "))
        for name, says, text in [
            ("size in µm", "size: .*give metres", "size: 4"),
            ("negative size", "size: .*give metres", "size: -4e-6"),
            ("size of two laws", "size: ", "size: {constant: 1e-6, uniform: [1e-6, 2e-6]}"),
            ("infinite size", "size", "size: {uniform: [1e-6, .inf]}"),
            ("huge spread", "size", "size: {lognormal: [1e-6, 1e308]}"),
            ("negative probability", "per_frame", "size: 4e-6\nper_frame: [2, -1]"),
            ("mosaicity of a turn", "mosaicity: ", "size: 4e-6\nmosaicity: 360"),
            ("angle of a turn", "cell_file", "size: 4e-6\ncell_file: [1]"),
        ]
    ),
    *(
        bad("simulate", f"orientations: {name}", says, put("q.txt", text), orientations="q.txt")
        for name, says, text in [
            ("too few", "q.txt: holds 1 orientations for 2 frames; give", QUATERNION),
            ("three numbers", "q.txt: line 2: has 3 numbers; give", QUATERNION + "1 0 0\n"),
            ("words", "q.txt: line 2: is not four numbers", QUATERNION + "a b c d\n"),
            ("no unit", "q.txt: line 2: ", QUATERNION + "1 1 1 1\n"),
            ("NaN", "q.txt: line 2: ", QUATERNION + "nan 0 0 0\n"),
            ("zeros", "q.txt: line 2: ", QUATERNION + "0 0 0 0\n"),
            ("nothing", "q.txt: holds 0 orientations", ""),
            ("binary", "q.txt: is not UTF-8", PNG),
        ]
    ),
    bad(
        "simulate",
        "missing spectrum",
        "no.txt: no such file",
        put(BEAM, BEAM_TEXT + "spectrum: file\nspectrum_file: no.txt\n"),
    ),
    bad(
        "simulate",
        "spectrum of words",
        "s.txt: line 1: ",
        lambda: (
            put(BEAM, BEAM_TEXT + "spectrum: file\nspectrum_file: s.txt\n")(),
            put("s.txt", "a b\n")(),
        ),
    ),
    bad("simulate", "truth below a file", f"{BEAM}/x.parquet: can", truth=f"{BEAM}/x.parquet"),
]

SHARDS = [
    *(
        bad(command, name, says, spoil)
        for command, name, says, spoil in [
            ("overlay", "missing water", f"{WATER}: no such shard; remake", lost(WATER)),
            ("overlay", "empty water", f"{WATER}: is not a whole HDF5 .*; delete", put(WATER, "")),
            ("overlay", "PNG as HDF5", f"{WATER}: is not a whole HDF5 .*; del", put(WATER, PNG)),
            ("overlay", "peaks as water", f"{WATER}: holds peaks", copied(PEAKS, WATER)),
            ("overlay", "water as peaks", f"{PEAKS}: holds no drawn", copied(WATER, PEAKS)),
            ("overlay", "other water", "dataset is .*; give", copied("water/B.h5", WATER)),
            ("overlay", "no provenance", "lacks parts", hdf5(WATER, lambda f: f.pop("entry"))),
            ("overlay", "linked water", f"{WATER}: ", hdf5(WATER, linked("entry/data/data"))),
            ("labels", "truncated shard", f"{PEAKS}: is not a whole HDF5", halved(PEAKS)),
            ("labels", "linked frames", f"{PEAKS}: ", hdf5(PEAKS, linked("entry/data/data"))),
            (
                "labels",
                "frames of another shard",
                f"{PEAKS}: lacks parts",
                hdf5(PEAKS, linked(DATA, "../B/p00000.h5")),
            ),
            ("labels", "linked mask", f"{PEAKS}: ", hdf5(PEAKS, linked("entry/frames/index"))),
            ("labels", "overlay as peaks", f"{PEAKS}: holds overlay", copied(OVERLAY, PEAKS)),
            ("labels", "folder as peaks", f"{PEAKS}: no such shard", folder(PEAKS)),
            (
                "labels",
                "group for data",
                f"{PEAKS}: lacks parts",
                hdf5(PEAKS, lambda f: (f.pop("entry/data/data"), f.create_group(DATA))),
            ),
            (
                "labels",
                "scalar for data",
                f"{PEAKS}: ",
                hdf5(PEAKS, lambda f: (f.pop("entry/data/data"), f.update({DATA: 3}))),
            ),
            ("manifest", "truncated shard", f"{PEAKS}: is not a whole HDF5", halved(PEAKS)),
            ("manifest", "missing truth", f"{TRUTH}: no such", lost(TRUTH)),
            ("manifest", "peaks as overlay", "not an overlay", copied(PEAKS, OVERLAY)),
            ("check", "missing manifest", f"{MANIFEST}: .*; remake", lost(MANIFEST)),
            ("check", "truncated manifest", f"{MANIFEST}: is not a whole Par", halved(MANIFEST)),
            ("check", "truth as manifest", f"{MANIFEST}: lacks the", copied(TRUTH, MANIFEST)),
            ("check", "truncated overlay", f"{OVERLAY}: is not a whole", halved(OVERLAY)),
            ("check", "linked overlay", f"{OVERLAY}: ", hdf5(OVERLAY, linked("entry/data/data"))),
            (
                "check",
                "position outside",
                f"{MANIFEST}: names frames beyond .*; delete",
                table(MANIFEST, "position", lambda c: [99] * len(c)),
            ),
            (
                "check",
                "words for photons",
                f"{MANIFEST}: has a column of the wrong type; remake",
                table(MANIFEST, "photons", lambda c: ["many"] * len(c)),
            ),
            (
                "check",
                "no frames",
                f"{MANIFEST}: ",
                lambda: pq.write_table(pq.read_table(MANIFEST).slice(0, 0), MANIFEST),
            ),
        ]
    ),
]

EMPTIES = {"peaks": None, "first": 10**7, "count": 2}
TABLES = [
    bad(
        "overlay",
        "parameters that are a list",
        f"{WATER}: lacks parts of a shard",
        hdf5(WATER, provenance("parameters", "[1]")),
        **EMPTIES,
    ),
    bad(
        "overlay",
        "parameters without detector",
        f"{WATER}: .*detector",
        hdf5(WATER, provenance("parameters", "{}")),
        **EMPTIES,
    ),
    bad(
        "overlay",
        "detector of words",
        f"{WATER} .*line 1: ",
        hdf5(WATER, provenance("parameters", '{"detector": "no"}')),
        **EMPTIES,
    ),
    bad("overlay", "no frames named", "--peaks: is required, or", peaks=None),
    bad("overlay", "frames named twice", "--first, --count: go without", first=0, count=2),
    bad("overlay", "negative first", "--first: -5 is not", peaks=None, first=-5, count=2),
    bad("overlay", "endless empties", "--count: 1000", peaks=None, first=10**7, count=10**30),
    bad("overlay", "no seed", "--seed", seed=None),
    bad("labels", "output over its input", "--output: .* by --peaks too; choose", output=PEAKS),
    bad("overlay", "output over its water", "--output: .* by --water too; choose", output=WATER),
    bad("labels", "threshold 0", "--threshold: 0 is not between 1", threshold=0),
    bad("labels", "threshold of half", "--threshold: '0.5' is not a whole", threshold=0.5),
    bad("labels", "endless threshold", "--threshold: 1000", threshold=10**30),
    bad(
        "overlay",
        "randomise with a typo",
        "r.yaml: flx: unknown key",
        put("r.yaml", "flx: 1\n"),
        randomise="r.yaml",
    ),
    bad(
        "overlay",
        "another randomise",
        f"{PEAKS}: was made with another --randomise; give",
        put("r.yaml", "flux: {uniform: [1, 2]}\n"),
        randomise="r.yaml",
    ),
    bad("manifest", "no labels", "--labels: shard p00000 .* has none; give", labels=None),
    bad("manifest", "shard twice", "--overlay: .* one shard; give", overlay=[OVERLAY, OVERLAY]),
    bad("manifest", "peaks without overlay", "--peaks: .*", overlay="overlay/A/e00000.h5"),
    bad(
        "manifest",
        "two datasets",
        "overlay/A/p00000.h5: is of dataset A, not B",
        overlay=["overlay/B/e00000.h5", OVERLAY],
    ),
    bad(
        "manifest",
        "manifest joined twice",
        "new.parquet: frame .* of dataset A stands twice; remove",
        join=[MANIFEST, MANIFEST],
        **dict.fromkeys(("overlay", "peaks", "labels", "truth")),
    ),
    bad("manifest", "neither source", "--overlay", overlay=None),
    bad("check", "negative min-spots", "--min-spots: -1 is not", min_spots=-1),
    bad("check", "folder", "manifest: .*; remake", **{"": "manifest"}),
    *(
        bad("split", name, f"{TASK}: {says}", spoil)
        for name, says, spoil in [
            ("unknown model", "model: unknown", replaced(TASK, "patch_counter", "resnet")),
            ("unknown target", "target: ", replaced(TASK, "target: hit", "target: cat")),
            (
                "model of another target",
                ".*use ",
                replaced(TASK, "target: hit", "target: camera_length"),
            ),
            ("dataset that does not exist", "datasets: 'Z' does not", added(TASK, "datasets: [Z]")),
            ("no dataset", "datasets: ", added(TASK, "datasets: []")),
            ("dataset as a number", "datasets", added(TASK, "datasets: [1]")),
            ("unknown key", "epoch: unknown key", added(TASK, "epoch: 3\n")),
            ("no epochs", "epochs: ", replaced(TASK, "epochs: 1", "epochs: 0")),
            ("endless epochs", "epochs: ", replaced(TASK, "epochs: 1", f"epochs: {10**30}")),
            ("yes for epochs", "epochs: is true", replaced(TASK, "epochs: 1", "epochs: yes")),
            ("UTF-16", "is not UTF-8", put(TASK, "target: hit".encode("utf-16"))),
        ]
    ),
    bad("gallery", "missing manifest", "no.parquet: no such table; remake", manifest="no.parquet"),
    bad("gallery", "missing geometry", "A.geom: no such file"),
    bad("gallery", "geometry of another", "--geometry: dataset 'A' has none", geometry="no.geom"),
    bad("gallery", "missing evaluation", "no/evaluation.json: no such file", evaluation="no"),
    bad("gallery", "truth as map", f"{TRUTH}: lacks the column", map=TRUTH),
    bad("gallery", "no room", "--bytes: 9 is not between 1000 and", bytes=9),
    bad("map", "missing manifest", "no.parquet: no such table; remake", manifest="no.parquet"),
    bad("map", "shard as manifest", f"{OVERLAY}: is not a whole Parquet", manifest=OVERLAY),
    bad("map", "no frames at all", "--most: 0 is not between 1 and", most=0),
    bad("map", "missing geometry", "A.geom: no such file"),
    bad("map", "geometry of words", "A.geom: ", put("A.geom", "words\n")),
    bad("map", "geometry of another", "--geometry: dataset 'A' has none", geometry="no.geom"),
    bad("split", "shares of 110 %", "train, validation and test must add up to 1", train=0.8),
    bad("split", "negative share", "train", train=-0.7),
    bad("split", "NaN share", "train", train="nan"),
    bad("split", "no test frames", "no frame .* to test; add", train=0.9, test=0),
    bad("split", "manifest twice", "--manifest: .* twice; name", manifest=[MANIFEST, MANIFEST]),
    bad("split", "missing manifest", "no.parquet: no such table; remake", manifest="no.parquet"),
    bad("split", "shard as manifest", f"{OVERLAY}: is not a whole Parquet", manifest=OVERLAY),
    bad(
        "split",
        "spaces in a task",
        "a b.yaml: the file's name is the task's; use letters",
        copied(TASK, "a b.yaml"),
        task="a b.yaml",
    ),
]
