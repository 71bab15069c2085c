"""Numbers change only with their recipe: what `tests/test_frames.py` leaves out, and every model.

Compared with tests/golden_values.json. Where a test says that numbers changed, raise the recipe in
src/spotmill/recipes.py and say `make golden`: it writes anew the entries whose recipe was raised,
and those of new models. To change an entry under the same recipe delete it from the file first.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, simulate_words
from learning_data import DATASETS, GEOMETRY, WATER, make, write_task
from test_peaks import make as make_peaks

from spotmill.cli import main
from spotmill.formats.frames import Shard
from spotmill.formats.reflections import read_reflections
from spotmill.learning.calibration import choose_alarm, fit_map
from spotmill.learning.registry import MODELS
from spotmill.learning.reliability import before_and_after
from spotmill.recipes import MODEL_RECIPES, RECIPES

STRUCTURE = """\
CRYST1   20.000   24.000   31.000  90.00  90.00  90.00 P 21 21 21    4
ATOM      1  N   GLY A   1       1.200   2.300   3.400  1.00 10.00           N
ATOM      2  CA  GLY A   1       2.500   2.900   3.900  1.00 12.00           C
ATOM      3  SD  MET A   2       7.100   9.200  11.500  0.50 20.00           S
ATOM      4 ZN    ZN A   3      14.000   4.000  22.000  1.00 15.00          ZN
END
"""


GOLDEN = ROOT / "tests/golden_values.json"


def compare(name: str, recipe: Any, values: dict[str, Any], slack: float = 1e-6) -> None:
    """Compare figures with the golden ones, to one part in a thousand or a slack."""
    golden = json.loads(GOLDEN.read_text())
    new = name not in golden or golden[name]["recipe"] != recipe
    if new and os.environ.get("SPOTMILL_GOLDEN") == "write":
        golden[name] = {"recipe": recipe, "values": values}
        GOLDEN.write_text(json.dumps(dict(sorted(golden.items())), indent=1) + "\n")
    found = json.dumps({name: {"recipe": recipe, "values": values}}, indent=1)
    hint = f"numbers or recipe changed; see the head of {Path(__file__).name}:\n{found}"
    assert name in golden, hint
    assert golden[name]["recipe"] == recipe, hint
    wanted = golden[name]["values"]
    assert wanted.keys() == values.keys(), hint
    for key, value in values.items():
        near = pytest.approx(value, rel=1e-3, abs=slack) if not isinstance(value, str) else value
        assert wanted[key] == near, f"{key}: {hint}"


def photons(path: str) -> dict[str, Any]:
    """Return what there is of drawn photons in a shard."""
    sha = hashlib.sha256()
    with Shard(path) as shard:
        for position in range(len(shard)):
            sha.update(np.ascontiguousarray(shard.read(position)).tobytes())
    return {"sha256": sha.hexdigest()}


def test_reflections(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(STRUCTURE)
    output = tmp_path / "a.mtz"
    words = [str(tmp_path / "a.pdb"), "--d-min", "1.5", "--output", str(output)]
    assert main(["reflections", *words]) == 0
    found = read_reflections(output)
    order = np.lexsort(np.asarray(found.hkl).T)
    intensity = np.asarray(found.intensity, dtype=float)[order]
    values = {"n": len(intensity), "sum": float(intensity.sum())}
    values |= {f"number {row}": float(intensity[row]) for row in (0, 100, 200, 300)}
    compare("reflections", RECIPES["reflections"], values)


def test_geometry(tiny: Path, spotmill) -> None:
    words = ["--detector", "config/detectors/tiny.geom", "--beam", "config/beams/weak.yaml"]
    words += ["--photon-energy", "6000", "--clen", "0.05", "--dataset", "A"]
    spotmill("geometry", *words, "--output", "A.geom")
    lines = [line.split(";")[0].strip() for line in (tiny / "A.geom").read_text().splitlines()]
    text = "\n".join(line for line in lines if line)
    compare("geometry", RECIPES["geometry"], {"sha256": hashlib.sha256(text.encode()).hexdigest()})


def test_lattice_engine(tiny: Path, spotmill) -> None:
    crystal = tiny / "config/crystals/proteinase_k.yaml"
    crystal.write_text(crystal.read_text().replace("4.0e-6", "7.0e-8"))
    beam = tiny / "config/beams/weak.yaml"
    beam.write_text(beam.read_text().replace("1.0e8", "1.0e13"))
    spotmill(*simulate_words("lattice", 0, 2, engine="lattice", n_wavelengths=3))
    with Shard("peaks/lattice.h5") as shard:
        assert sum(int(shard.read(position).sum()) for position in range(2)) > 50
    compare("simulate, lattice", RECIPES["simulate"], photons("peaks/lattice.h5"))


def test_split(tmp_path: Path) -> None:
    make(tmp_path, patterns=20, datasets=("A", "B"))
    task = write_task(tmp_path / "hit.yaml")
    manifests = [str(tmp_path / f"manifest/{name}.parquet") for name in "AB"]
    output = tmp_path / "split.parquet"
    assert (
        main(["split", "--task", str(task), "--manifest", *manifests, "--output", str(output)]) == 0
    )
    table = pd.read_parquet(output)
    sides = "".join(side[1] for side in table.sort_values(["dataset", "index"])["split"])
    compare("split", RECIPES["split"], {"sides": sides})


def test_calibration() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(0, 1.5, 200)
    truth = (rng.random(200) < 1 / (1 + np.exp(-true))).astype(np.int64)
    hit = 1 / (1 + np.exp(-3 * true - 1))
    raw = np.column_stack([1 - hit, hit])
    found = fit_map(raw, truth)
    alarm = choose_alarm(found.apply(raw)[:, 1], truth == 0, 0.01)
    assert alarm is not None
    fitted = {"slope": found.slope, "offset": found.offset, "alarm": alarm.threshold}
    compare("calibrate", RECIPES["train"], fitted)
    after = before_and_after(found, raw, truth, seed=1)["after"]
    low, high = after["interval"]
    values = {"error": after["error"], "low": low, "high": high}
    compare("reliability", RECIPES["evaluate"], values)


CLASSES = {"epochs": 2, "learning_rate": 0.001, "controls": {"frames": 30, "epochs": 1}}
PEAKS = {"target": "peaks", "epochs": 2, "learning_rate": 0.001, "batch_size": 16}
CASES: dict[str, dict[str, Any]] = {
    "patch_counter": CLASSES,
    "binary_cnn": CLASSES | {"input": {"sum_bin": 2}},
    "base_cnn": CLASSES | {"input": {"sum_bin": 4}},
    "dual_input_cnn": CLASSES
    | {"settings": {"candidates": 16, "block": 40}, "input": {"sum_bin": 4}},
    # Adam's first steps have the sign of the gradient alone, which rounding turns in deep networks.
    "resnet50": CLASSES
    | {"input": {"sum_bin": 4}, "optimiser": "sgd", "learning_rate": 0.0001},
    "radial_profile": CLASSES | {"target": "photon_energy", "settings": {"bins": 24, "terms": 5}},
    "linear": CLASSES
    | {"target": "camera_length", "optimiser": "sgd", "input": {"sum_bin": 2}},
    "photon_statistics": CLASSES | {"flux": [1, 0.2], "settings": {"block": 16, "most": 6}},
    "profile_likelihood": CLASSES
    | {
        "target": "photon_energy",
        "scale": "values",
        "settings": {"bins": 16, "spacing": 3.0, "correction": 3},
        "learning_rate": 0.05,
    },
    "peak_net": PEAKS
    | {
        "settings": {"candidates": 32, "width": 8, "hidden": 16, "copies": 1, "crop": 64},
        "batch_size": 64,
    },
    "heatmap_cnn": PEAKS | {"settings": {"crop": 64, "crops": 2, "candidates": 64}},
    "dncnn": PEAKS
    | {
        "settings": {
            "layers": 5, "channels": 8, "crop": 32, "crops": 4, "tile": 128, "candidates": 64
        }
    },
}  # fmt: skip


def test_every_model_has_a_golden_case() -> None:
    assert CASES.keys() == MODELS.keys()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    make(folder, patterns=20, parameters={"water": WATER})
    return folder


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spots")
    (folder / "small.geom").write_text(GEOMETRY)
    for dataset in "AB":
        make_peaks(folder, dataset)
    return folder


def told(kind: str, part: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one result or control of an evaluation."""
    name = part["name"]
    if kind == "values":
        return {f"{name}: {key}": part[key] for key in ("rmse", "correlation") if key in part}
    if kind == "peaks":
        return {f"{name}: {key}": part[key] for key in ("f1", "found", "matched") if key in part}
    if kind == "flux" and "flux" in part:
        return {f"{name}: AUROC at {point['flux']}": point["auroc"] for point in part["flux"]}
    return {f"{name}: right of {part['n']}": part["correct"]}


# Of which figures how much may differ from processor to processor.
SLACK = {"values": 0.01, "peaks": 2, "flux": 0.02, "classes": 2}


@pytest.mark.parametrize("model", sorted(CASES))
def test_training_and_evaluation(model: str, small: Path, spots: Path, tmp_path: Path) -> None:
    changes = {"model": model, **CASES[model]}
    data = spots if changes.get("target") == "peaks" else small
    task = write_task(tmp_path / f"{model}.yaml", **changes)
    names = "AB" if data is spots else DATASETS
    manifests = [str(data / f"manifest/{name}.parquet") for name in names]
    split = str(tmp_path / "split.parquet")
    assert main(["split", "--task", str(task), "--manifest", *manifests, "--output", split]) == 0
    common = ["--task", str(task), "--split", split, "--detector", str(data / "small.geom")]
    assert main(["train", *common, "--output", str(tmp_path / "model")]) == 0
    history = pd.read_csv(tmp_path / "model/history.csv")
    losses = {
        f"{column} {epoch}": float(history[column].iloc[epoch])
        for column in ("train_loss", "validation_loss")
        for epoch in (0, 1)
    }
    compare(f"train, {model}", [RECIPES["train"], MODEL_RECIPES[model]], losses)
    more = ["--model", str(tmp_path / "model"), "--water", str(data / "water/A.h5")]
    # After two epochs a control may be off chance, which the exit says; its figures are compared.
    main(["evaluate", *common, *more, "--output", str(tmp_path / "evaluation")])
    found = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    kind = found.get("kind", "classes")
    values: dict[str, float] = {}
    for part in (*found["results"], *found["controls"]):
        values |= told(kind, part)
    recipes = [RECIPES["evaluate"], MODEL_RECIPES[model]]
    compare(f"evaluate, {model}", recipes, values, slack=SLACK[kind])
