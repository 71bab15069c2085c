"""The catalogue of bad inputs: tasks, models, evaluations, reports, and real frames."""

import json
from pathlib import Path

import h5py
import numpy as np
from bad_inputs import (
    BEAM,
    CARD,
    CONFIG,
    DATA,
    DETECTOR,
    EVALUATION,
    HISTORY,
    MANIFEST,
    OVERLAY,
    PEAKS,
    PNG,
    SEARCH,
    SHEET,
    SPLIT,
    TASK,
    WATER,
    WEIGHTS,
    added,
    bad,
    card,
    copied,
    folder,
    halved,
    hdf5,
    linked,
    lost,
    put,
    replaced,
    table,
)
from safetensors.numpy import load_file, save_file


def evaluation(key: str, value: float) -> None:
    """Change a figure of the model in the evaluation."""
    facts = json.loads(Path(EVALUATION).read_text())
    facts["results"][0][key] = value
    Path(EVALUATION).write_text(json.dumps(facts))


def nan_weights() -> None:
    """Make every weight NaN."""
    weights = {key: np.full_like(value, np.nan) for key, value in load_file(WEIGHTS).items()}
    save_file(weights, WEIGHTS)


def small_frames() -> None:
    """Write blank frames of fewer pixels."""
    with h5py.File(BLANK, "w") as file:
        file[DATA] = np.ones((3, 100, 100), dtype=np.uint16)


MODELS = [
    *(
        bad(command, name, says, spoil)
        for command in ("train", "evaluate")
        for name, says, spoil in [
            ("missing split", f"{SPLIT}: no such table; remake", lost(SPLIT)),
            ("truncated split", f"{SPLIT}: is not a whole Parquet", halved(SPLIT)),
            ("manifest as split", f"{SPLIT}: lacks the column 'split'", copied(MANIFEST, SPLIT)),
            ("truncated shard", "overlay/[AB]/.*h5: is not a whole", halved(OVERLAY)),
            (
                "frames of another shard",
                "overlay/[AB].*; remake the manifest",
                table(SPLIT, "position", lambda c: [0] * len(c)),
            ),
            (
                "unknown side",
                f"{SPLIT}: .*",
                table(SPLIT, "split", lambda c: ["exam"] * len(c)),
            ),
            ("unknown setting", f"{TASK}: settings: ", replaced(TASK, "hidden: 8", "hiden: 8")),
            ("settings of words", f"{TASK}: settings: ", replaced(TASK, "block: 32", "block: x")),
            (
                "geometry of another",
                f"{DETECTOR}",
                replaced(DETECTOR, "max_ss = 127", "max_ss = 99"),
            ),
        ]
    ),
    bad("train", "no threads", "--threads: 0 is not", threads=0),
    bad("train", "endless threads", "--threads: 1000", threads=10**30),
    bad("train", "output that is a file", f"{BEAM}.*; ", output=BEAM),
    bad(
        "train",
        "diverging rate",
        f"{TASK}: .*learning_rate",
        replaced(TASK, "learning_rate: 3.0e-3", "learning_rate: 1.0e+308"),
    ),
    *(
        bad("evaluate", name, says, spoil)
        for name, says, spoil in [
            ("missing card", f"{CARD}: no such file", lost(CARD)),
            ("card that is no JSON", f"{CARD}: is not valid JSON; train", put(CARD, "{")),
            ("card that is binary", f"{CARD}: is not UTF-8", put(CARD, PNG)),
            ("card that nests", f"{CARD}: ", put(CARD, "[" * 100_000)),
            ("card of a list", f"{CARD}: is no model card; train", put(CARD, "[]")),
            (
                "card of other classes",
                "hit: was trained for .*; train",
                card("classes", ["a", "b"]),
            ),
            ("card of another split", f"{CARD}: n is .*; give the split", card("n", {"train": 9})),
            ("card without counts", f"{CARD}: n is 3, .*; give the split", card("n", 3)),
            ("card of words for classes", "hit: .*; train", card("classes", 3)),
            ("card of another target", f"{CARD}: target is ", card("target", "camera_length")),
            ("card of other settings", f"{CARD}: settings is ", card("settings", {})),
            ("card of other sizes", "hit/model.*; ", card("dimensions", {"shape": [1]})),
            ("card of words for sizes", f"{CARD}: dimensions.*; train", card("dimensions", "x")),
            (
                "card of a giant network",
                f"{CARD}: dimensions.*; train",
                card("dimensions", {"shape": [2**40, 2**20], "outputs": 10**9, "conditions": 1}),
            ),
            ("truncated weights", f"{WEIGHTS}: does not hold this model; train", halved(WEIGHTS)),
            ("pickle as weights", f"{WEIGHTS}: does not hold", put(WEIGHTS, b"\x80\x02cos\n.")),
            ("empty weights", f"{WEIGHTS}: does not hold", put(WEIGHTS, "")),
            ("missing weights", f"{WEIGHTS}: no such file; train", lost(WEIGHTS)),
            ("folder as weights", f"{WEIGHTS}: does not", folder(WEIGHTS)),
            ("NaN weights", f"{WEIGHTS}: ", nan_weights),
            ("peaks as water", f"{WATER}: holds peaks, not expected", copied(PEAKS, WATER)),
        ]
    ),
    bad("evaluate", "model that is a file", f"{TASK}/model.json: cannot", model=TASK),
    bad(
        "evaluate",
        "split of another task",
        f"{SPLIT}: is of task hit, not other; give the split of other",
        copied(TASK, "config/tasks/other.yaml"),
        task="config/tasks/other.yaml",
    ),
    *(
        bad("tune", name, says, spoil)
        for name, says, spoil in [
            ("missing search", f"{SEARCH}: no such file", lost(SEARCH)),
            ("search that is binary", f"{SEARCH}: is not UTF-8", put(SEARCH, PNG)),
            ("unknown key", f"{SEARCH}: trails: unknown key", replaced(SEARCH, "trials", "trails")),
            ("search of another task", f"{SEARCH}: task is 'x', not", replaced(SEARCH, "hit", "x")),
            (
                "unknown key of the space",
                f"{SEARCH}: space: 'rate' cannot be searched; known here",
                replaced(SEARCH, "learning_rate", "rate"),
            ),
            (
                "values that the task cannot take",
                f"{SEARCH}: space: batch_size: .*; choose other values",
                replaced(SEARCH, "learning_rate: {log: [1.0e-3", "batch_size: {float: [-1"),
            ),
            (
                "unknown setting",
                f"{SEARCH}: space: settings: hiden: unknown key",
                replaced(
                    SEARCH, "learning_rate: {log: [1.0e-3, 1.0e-2", "settings.hiden: {int: [1, 2"
                ),
            ),
            (
                "frames of another shard",
                "overlay/[AB].*; remake the manifest",
                table(SPLIT, "position", lambda c: [0] * len(c)),
            ),
        ]
    ),
    *(
        bad("export", name, says, spoil)
        for name, says, spoil in [
            ("missing card", f"{CARD}: no such file", lost(CARD)),
            ("card that is no JSON", f"{CARD}: is not valid JSON; train", put(CARD, "{")),
            ("pickle as weights", f"{WEIGHTS}: does not hold", put(WEIGHTS, b"\x80\x02cos\n.")),
            ("NaN weights", f"{WEIGHTS}: ", nan_weights),
            ("missing split", f"{SPLIT}: no such table; remake", lost(SPLIT)),
            (
                "geometry of another",
                f"{DETECTOR}",
                replaced(DETECTOR, "max_ss = 127", "max_ss = 99"),
            ),
        ]
    ),
    *(
        bad("mask", name, says, spoil, **changes)
        for name, says, spoil, changes in [
            ("few frames", f"{OVERLAY}: 12 frames could be read, too few .*; give 20", None, {}),
            ("no image", f"{OVERLAY}: is not a whole HDF5 file", put(OVERLAY, "hello"), {}),
            ("absent frames", "gone.h5: no such file", None, {"": "gone.h5"}),
            ("frames as one", "--frames: 1 is not between 20", None, {"frames": 1}),
            ("no false alarm", "--false-alarms: 0.0 is not above 0", None, {"false_alarms": 0}),
            ("negative gain", "--adu-per-photon: -1.0 is not", None, {"adu_per_photon": -1}),
            ("geometry of others", "describes frames of", replaced("sim.geom", "127", "99"), {}),
            ("output that is read", "--output: .* is named by", None, {"output": "sim.geom"}),
        ]
    ),
    *(
        bad("predict", name, says, spoil, **changes)
        for name, says, spoil, changes in [
            ("no card", "models/hit: has weights but no model.json", lost(CARD), {}),
            ("no model", "overlay: holds no model of hits", None, {"models": "overlay"}),
            ("missing weights", f"{WEIGHTS}: no such file", lost(WEIGHTS), {}),
            ("pickle as weights", f"{WEIGHTS}: does not hold", put(WEIGHTS, b"\x80\x02cos\n."), {}),
            ("no image", f"{OVERLAY}: is not a whole HDF5 file", put(OVERLAY, "hello"), {}),
            ("absent frames", "gone.h5: no such file", None, {"": "gone.h5"}),
            ("unknown task", "holds no model 'none'; known here: hit", None, {"tasks": "none"}),
            ("mask of another shape", "m.npy: is .*; give", put("m.npy", "x"), {"mask": "m.npy"}),
            ("negative gain", "--adu-per-photon: -1.0 is not", None, {"adu_per_photon": -1}),
            ("camera length in mm", "clen: 150.0 .* metres", None, {"clen": 150}),
            ("geometry of others", "describes frames of", replaced("sim.geom", "127", "99"), {}),
        ]
    ),
    *(
        bad("watch", name, says, None, **changes)
        for name, says, changes in [
            ("absent folder", "gone", {"": "gone"}),
            ("file as a folder", "p00000.h5", {"": "overlay/A/p00000.h5"}),
            ("no models", "gone: is no folder of models", {"models": "gone"}),
            ("negative gain", "--adu-per-photon: -1.0 is not", {"adu_per_photon": -1}),
            ("never looking", "--every", {"every": 0}),
        ]
    ),
    *(
        bad("monitor", name, says, spoil, **changes)
        for name, says, spoil, changes in [
            ("absent table", "predictions.parquet", None, {}),
            ("table of frames", "manifest/A.parquet", None, {"": "manifest/A.parquet"}),
            ("words as a table", "t.parquet", put("t.parquet", "hello"), {"": "t.parquet"}),
        ]
    ),
    *(
        bad("serve", name, says, None, **changes)
        for name, says, changes in [
            ("absent folder", "gone: no such folder", {"": "gone"}),
            ("file as a folder", "p00000.h5: is a file", {"": "overlay/A/p00000.h5"}),
            ("folder of something else", "overlay/A: holds no results", {"": "overlay/A"}),
            ("port beyond all", "--port: 65536 is not between", {"": "models", "port": 65536}),
        ]
    ),
    *(
        bad("report", name, says, spoil)
        for name, says, spoil in [
            ("unknown key", f"{CONFIG}: sead: unknown", added(CONFIG, "sead: 3\n")),
            ("zero shard_size", f"{CONFIG}: shard_size: ", replaced(CONFIG, "size: 12", "size: 0")),
            (
                "duplicate dataset",
                f"{SHEET}: line 5: dataset: .*twice",
                added(SHEET, "A\t1e3\t1\t1"),
            ),
            ("slash in a dataset", f"{SHEET}: line 2: dataset: ", replaced(SHEET, "A\t", "a/b\t")),
            ("dots for a dataset", f"{SHEET}: line 2: dataset: ", replaced(SHEET, "A\t", "..\t")),
            ("zero patterns", f"{SHEET}: line 2: n_patterns: ", replaced(SHEET, "24\nB", "0\nB")),
            (
                "10**30 patterns",
                f"{SHEET}: line 2: n_patt",
                replaced(SHEET, "24\nB", f"{10**30}\nB"),
            ),
            (
                "commas",
                f"{SHEET}: line 1: its columns are not separated by tabs",
                replaced(SHEET, "\t", ","),
            ),
            ("quotes", f"{SHEET}: line 2: ", replaced(SHEET, "A\t", '"A\t')),
            ("sheet that is binary", f"{SHEET}: is not UTF-8", put(SHEET, PNG)),
            ("missing beam", f"{BEAM}: no such file", lost(BEAM)),
            ("missing task", f"{TASK}: no such file", lost(TASK)),
            ("missing evaluation", f"{EVALUATION}: no such file", lost(EVALUATION)),
            ("broken evaluation", f"{EVALUATION}: line 1: is not valid", put(EVALUATION, "{")),
            (
                "wrong evaluation",
                f"{EVALUATION}: target: is req",
                put(EVALUATION, '{"task": "hit"}'),
            ),
            ("nested evaluation", f"{EVALUATION}: ", put(EVALUATION, "[" * 100_000)),
            (
                "NaN in an evaluation",
                f"{EVALUATION}: ",
                lambda: evaluation("accuracy", float("nan")),
            ),
            ("evaluation that cannot add up", f"{EVALUATION}: ", lambda: evaluation("n", 10**30)),
            ("more right than asked", f"{EVALUATION}: ", lambda: evaluation("correct", 10**6)),
            ("missing history", "history.csv: no such file; train", lost("models/hit/history.csv")),
            ("history of words", "history.csv: ", put("models/hit/history.csv", HISTORY)),
            ("history that is binary", "history.csv: is", put("models/hit/history.csv", PNG)),
            ("missing card", f"{CARD}: no such file", lost(CARD)),
            ("missing water", "water/B.h5: no such shard; remake", lost("water/B.h5")),
            (
                "same water twice",
                "--water: dataset 'B' has none; give",
                copied(WATER, "water/B.h5"),
            ),
            (
                "unknown dataset",
                "all.parquet: dataset 'B' is not in",
                replaced(SHEET, "B\t", "b1\t"),
            ),
        ]
    ),
    bad("report", "no evaluation", "hit: task 'hit' has no evaluation .*; name", evaluation=None),
    bad("report", "no model", "task 'hit' has no model folder; name", model=None),
    bad(
        "report", "page below a file", f"{BEAM}/x.html: cannot be written", output=f"{BEAM}/x.html"
    ),
    bad("report", "figures that are a file", f"{BEAM}", figures=BEAM),
    bad(
        "report",
        "no earlier results",
        "nowhere: holds no earlier report .*; name",
        earlier="nowhere",
    ),
    bad(
        "report",
        "history over the table",
        "--history: .* too; choose",
        history="manifest/all.parquet",
    ),
]
BLANK, SIM, HKL, CELL = "blank.h5", "sim.geom", "tiny.hkl", "tiny.cell"
PROGRAMS = [
    bad("background", "missing frames", "no.h5: .*; ", **{"": "no.h5"}),
    bad("background", "empty folder", "void.*", lambda: Path("void").mkdir(), **{"": "void"}),
    bad("background", "endless scale", "--scale: inf is not", scale="inf"),
    bad("background", "scale 0", "--scale: 0.0 is not", scale=0),
    bad("background", "scale of 1e308", f"{BLANK}|--scale", scale=1e308),
    bad("background", "place that is not there", f"{BLANK}: .*", data="/no/such"),
    bad("background", "energy in keV", "photon_energy: 6.0 is not", photon_energy=6),
    bad("background", "list of missing frames", "no.h5", put("f.lst", "no.h5\n"), **{"": "f.lst"}),
    bad("background", "list of itself", "f.lst", put("f.lst", "f.lst\n"), **{"": "f.lst"}),
    *(
        bad("background", name, f"{BLANK}: ", spoil)
        for name, spoil in [
            ("PNG as HDF5", put(BLANK, PNG)),
            ("empty file", put(BLANK, "")),
            ("truncated frames", halved(BLANK)),
            ("linked frames", hdf5(BLANK, linked(DATA))),
            ("words for frames", hdf5(BLANK, lambda f: (f.pop(DATA), f.update({DATA: "x"})))),
            ("frames of another detector", small_frames),
        ]
    ),
    *(
        bad("pattern-sim", name, says, spoil)
        for name, says, spoil in [
            ("missing geometry", f"{SIM}: no such file", lost(SIM)),
            ("HDF5 as geometry", f"{SIM}: is not UTF-8", copied(BLANK, SIM)),
            ("no panels", f"{SIM}: ", put(SIM, "clen = 0.1\n")),
            ("missing cell", f"{CELL}: ", lost(CELL)),
            ("binary cell", f"{CELL}: is not UTF-8", put(CELL, PNG)),
            ("cell of nothing", f"{CELL}: ", put(CELL, "")),
            ("infinite cell", f"{CELL}: ", replaced(CELL, "a = 67.288", "a = inf")),
            ("missing list", f"{HKL}: no such", lost(HKL)),
            ("truncated list", f"{HKL}: ", halved(HKL)),
            ("words in a list", f"{HKL}: line ", replaced(HKL, "End of", "a b c d e f g\nEnd of")),
        ]
    ),
    *(
        bad("pattern-sim", name, says, None, **changes)
        for name, says, changes in [
            ("zero patterns", "--number: 0", {"number": 0}),
            ("endless patterns", "--number: 1000", {"number": 10**30}),
            ("negative seed", "--seed: -1", {"seed": -1}),
            ("NaN size", "--min-size: ", {"min_size": "nan", "max_size": 1}),
            ("endless size", "--max-size: ", {"min_size": 1, "max_size": "inf"}),
            ("giant crystal", "--max-size: ", {"min_size": 1e300, "max_size": 1e300}),
            ("negative background", "--background: -1", {"background": -1}),
            ("background of 1e308", "--background: ", {"background": 1e308}),
            ("NaN energy", "photon_energy: nan", {"photon_energy": "nan"}),
            ("negative photons", "nphotons: -1 is not", {"nphotons": -1}),
            ("NaN bandwidth", "bandwidth: nan is not", {"beam_bandwidth": "nan"}),
            ("no samples", "--samples: 0", {"samples": 0}),
            ("no wavelengths", "--sample-spectrum: 0", {"sample_spectrum": 0}),
            ("unknown point group", "5/m", {"symmetry": "5/m"}),
            ("NaN polarisation", "polarisation", {"polarisation": "nan"}),
            ("polarisation of words", "--polarisation", {"polarisation": "x"}),
            ("negative spike", "--sase-spike-width", {"sase_spike_width": -1}),
            ("NaN separation", "sep", {"twocol_separation": "nan"}),
            ("output below a file", "cannot be written", {"output": f"{BEAM}/x.h5", "samples": 8}),
            ("spectrum without file", "--spectrum-file: goes", {"spectrum": "fromfile"}),
            ("missing stream", "no.stream", {"template": "no.stream", "random_orientation": None}),
        ]
    ),
]
