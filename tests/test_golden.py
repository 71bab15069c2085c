"""Numbers change only with their recipe: the stages that `tests/test_frames.py` leaves out.

Compared with tests/golden_values.json. Where a test says that numbers changed, raise the recipe
in src/spotmill/recipes.py and copy in the values that it names.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, simulate_words
from learning_data import DATASETS, make, write_task

from spotmill.cli import main
from spotmill.formats.frames import Shard
from spotmill.formats.reflections import read_reflections
from spotmill.recipes import MODEL_RECIPES, RECIPES

STRUCTURE = """\
CRYST1   20.000   24.000   31.000  90.00  90.00  90.00 P 21 21 21    4
ATOM      1  N   GLY A   1       1.200   2.300   3.400  1.00 10.00           N
ATOM      2  CA  GLY A   1       2.500   2.900   3.900  1.00 12.00           C
ATOM      3  SD  MET A   2       7.100   9.200  11.500  0.50 20.00           S
ATOM      4 ZN    ZN A   3      14.000   4.000  22.000  1.00 15.00          ZN
END
"""


def compare(name: str, recipe: Any, values: dict[str, Any], slack: float = 1e-6) -> None:
    """Compare figures with the golden ones, to one part in a thousand or a slack."""
    golden = json.loads((ROOT / "tests/golden_values.json").read_text())
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


MODELS: dict[str, dict[str, Any]] = {
    "patch_counter": {},
    "binary_cnn": {"model": "binary_cnn", "input": {"sum_bin": 2}},
    "base_cnn": {"model": "base_cnn", "input": {"sum_bin": 4}},
    "radial_profile": {
        "target": "photon_energy",
        "model": "radial_profile",
        "settings": {"bins": 24, "terms": 5},
    },
    "linear": {
        "target": "camera_length",
        "model": "linear",
        "optimiser": "sgd",
        "input": {"sum_bin": 2},
    },
}


# Models of values, peaks and several fluxes: tests/test_values.py, test_peaks.py, test_low_flux.py.
@pytest.mark.parametrize("model", sorted(MODELS))
def test_training_and_evaluation(model: str, tmp_path: Path) -> None:
    make(tmp_path, patterns=20)
    task = write_task(
        tmp_path / f"{model}.yaml",
        **{"epochs": 2, "learning_rate": 0.001, "controls": {"frames": 30, "epochs": 1}}
        | MODELS[model],
    )
    manifests = [str(tmp_path / f"manifest/{name}.parquet") for name in DATASETS]
    split = str(tmp_path / "split.parquet")
    assert main(["split", "--task", str(task), "--manifest", *manifests, "--output", split]) == 0
    common = ["--task", str(task), "--split", split, "--detector", str(tmp_path / "small.geom")]
    assert main(["train", *common, "--output", str(tmp_path / "model")]) == 0
    history = pd.read_csv(tmp_path / "model/history.csv")
    losses = {
        f"{column} {epoch}": float(history[column].iloc[epoch])
        for column in ("train_loss", "validation_loss")
        for epoch in (0, 1)
    }
    compare(f"train, {model}", [RECIPES["train"], MODEL_RECIPES[model]], losses)
    more = ["--model", str(tmp_path / "model"), "--water", str(tmp_path / "water/A.h5")]
    assert main(["evaluate", *common, *more, "--output", str(tmp_path / "evaluation")]) == 0
    found = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    values = {
        f"{part['name']}: right of {part['n']}": part["correct"]
        for part in (*found["results"], *found["controls"])
    }
    compare(f"evaluate, {model}", [RECIPES["evaluate"], MODEL_RECIPES[model]], values, slack=2)
