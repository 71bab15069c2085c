"""What is said of a wrong value: in plain words, with the value, and the name that was meant."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, copy_tiny

from spotmill.concepts import Beam, Crystal, Response, Solvent
from spotmill.config import Config
from spotmill.errors import SpotmillError
from spotmill.model import Model
from spotmill.nearest import instead, nearest
from spotmill.pending import pending_jobs
from spotmill.plan import read_plan
from spotmill.randomise import Randomise
from spotmill.tasks import Task
from spotmill.tuning import Search

BEAM = {"nphotons": 1e9, "beam_radius": 5e-6, "bandwidth": 0.01}
CRYSTAL = {"name": "x", "structure": "x.pdb", "size": 1e-6}
TASK = {"target": "hit", "model": "linear", "epochs": 1, "learning_rate": 0.1}
SPACE = {"learning_rate": {"log": [0.1, 1]}}

WRONG: list[tuple[type[Model], dict[str, Any], str]] = [
    (Config, {"ovrlays": "virtual"}, "ovrlays: unknown key; did you mean overlays?"),
    (Config, {"hit": {"min_spot": 3}}, "hit.min_spot: unknown key; known here: min_spots, min_p"),
    (Config, {"hit": 3}, "hit: must hold keys of its own: min_spots, min_photons (given: 3)"),
    (Config, {"hit": None}, "hit: must hold keys .* (given: null); leave it out"),
    (Config, {"tasks": "a.yaml"}, "tasks: must be a list (given: 'a.yaml'); write [a.yaml]; its"),
    (Config, {"tasks": [3]}, "tasks: entry 1: must be text (given: 3); put it in quotes"),
    (Config, {"seed": 1.5}, "seed: must be a whole number (given: 1.5); its meaning: of every"),
    (Config, {"seed": "one"}, "seed: must be a whole number (given: 'one')"),
    (Config, {"shard_size": 0}, "shard_size: must be 1 or more (given: 0); its meaning: frames"),
    (Config, {"empties": "0,5"}, "empties: must be a number (given: '0,5'); write it without com"),
    (Config, {"engine": "latice"}, "engine: must be integrated, lattice or crystfel (given: 'lat"),
    (Config, {"engine": "latice"}, "; did you mean lattice?"),
    (Config, {"beam": None}, "beam: must be text (given: null); leave it out for its default"),
    (Config, {"publication": {"url": "x"}}, "publication.url: must look like https://doi.org/"),
    (Config, {"publication": {"date": "May"}}, "publication.date: must look like 2026-03-31"),
    (Config, {"split": {"train": "most"}}, "split.train: must be a number (given: 'most'); its"),
    (Beam, {**BEAM, "profile": "gauss"}, "profile: must be .*; did you mean gaussian?"),
    (Beam, {**BEAM, "nphotons": [1]}, "nphotons: must be a number (given: [1])"),
    (Beam, {**BEAM, "offset": [1]}, "offset: must be a list of 2 values (given: [1])"),
    (Beam, {**BEAM, "offset": [1, 2, 3]}, "offset: must be a list of 2 values"),
    (Beam, {**BEAM, "spectrum": "sase"}, "n_spikes is required by spectrum sase; add it"),
    (Beam, {**BEAM, "bandwidth": "1 %"}, "bandwidth: must be a number (given: '1 %'); leave its u"),
    (Beam, {**BEAM, "bandwidth": 3}, "bandwidth: must be .* or less (given: 3); its meaning: rel"),
    (Beam, {"nphotons": 1, "beam_radios": 1}, "beam_radios: unknown key; .*mean beam_radius?"),
    (Beam, {"nphotons": 1e9, "bandwidth": 0.01}, "beam_radius: is required; add it: radius of"),
    (Crystal, {**CRYSTAL, "size": "4 um"}, "size: must be a number or a law, .*; leave its unit"),
    (Crystal, {**CRYSTAL, "size": {"unifrom": [1, 2]}}, "size.unifrom: unknown key; .*n uniform?"),
    (Crystal, {**CRYSTAL, "size": {"uniform": [1, "x"]}}, "size.uniform: entry 2: must be a num"),
    (Crystal, {**CRYSTAL, "per_frame": []}, "per_frame: must not be empty (given: [])"),
    (Crystal, {**CRYSTAL, "structure": None}, "structure: must be text (given: null); give it"),
    (Crystal, {**CRYSTAL, "name": ""}, "name: must not be empty (given: '')"),
    (Crystal, {**CRYSTAL, "sha256": "ab"}, "sha256: must look like the 64 digits"),
    (Response, {"beamstop": {"radius": "x"}}, "beamstop.radius: must be a number .*round shadow"),
    (Response, {"beamstop": {"radius": 0.1, "masked": 3}}, "beamstop.masked: must be true or fal"),
    (Solvent, {"thickness": "20 µm"}, "thickness: must be a number .*; leave its unit out; its"),
    (Randomise, {"flux": "dim"}, "flux: must be a number or a law, such as {uniform: [1, 2]}; la"),
    (Randomise, {"flux": {"normal": [1]}}, "flux.normal: must be a list of 2 values"),
    (Task, {**TASK, "model": "linaer"}, "model: unknown model 'linaer'; .*did you mean linear?"),
    (Task, {**TASK, "optimizer": "sgd"}, "optimizer: unknown key; did you mean optimiser?"),
    (Task, {**TASK, "settings": [1]}, "settings: must hold keys and values"),
    (Task, {**TASK, "early_stopping": {"patience": 0}}, "early_stopping.patience: must be 1 or mo"),
    (Task, {**TASK, 3: 4}, "3: a key must be text"),
    (Search, {"task": "x", "space": {}}, "space: must not be empty"),
    (Search, {"task": "x", "space": {"lr": {}}}, "space.lr: give one of float"),
    (Search, {"task": "x", "space": {"learning_rat": SPACE["learning_rate"]}}, "; did you mean le"),
    (
        Search,
        {"task": "x", "space": {"optimiser": {"categorical": [[1]]}}},
        "space.optimiser.categorical: entry 1: must be one value: text, a number, true, false",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "values", "says"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_told_in_plain_words(model: type[Model], values: dict, says: str) -> None:
    with pytest.raises(SpotmillError) as caught:
        model.parse(values, "x.yaml")
    said = str(caught.value)
    assert re.search(re.escape(says).replace(r"\.\*", ".*"), said), said
    assert said.startswith("x.yaml: ") and "\n" not in said
    assert not re.search(r"Input|valid |instance|Tuple|String|pattern '", said), said


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("camera_length", ["clen", "beam"], "clen"),
        ("Photon-Energy", ["photon_energy"], "photon_energy"),
        ("wavelenght", ["wavelength", "clen"], "wavelength"),
        ("xyz", ["wavelength", "clen"], None),
        ("camera_length", ["beam"], None),
    ],
)
def test_the_nearest_name_is_found(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


def test_known_names_are_listed_where_they_are_few_or_none_is_alike() -> None:
    many = [f"column_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert instead("colunm_a", many) == "; did you mean column_a?"
    assert instead("xyz", many).startswith("; known here: column_a, column_b")
    assert instead("ab", ["abc", "xyz"]) == "; known here: abc, xyz; did you mean abc?"
    assert instead("ab", []) == "; none is known here"
    assert instead("0", [f"dataset {number}" for number in range(5000)]).endswith("(5000 in all)")


def test_a_file_that_is_not_there_is_told_with_the_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy_tiny(tmp_path))
    values = yaml.safe_load(Path("config/config.yaml").read_text())

    def said(**changes: Any) -> str:
        with pytest.raises(SpotmillError) as caught:
            read_plan(values | changes)
        return str(caught.value)

    remedy = "no such file (dataset A); did you mean config/beams/weak.yaml?"
    beam = "config/beams/weka.yaml"
    assert said(beam=beam) == f"config/config.yaml: beam: {beam}: {remedy}"
    task = "config/tasks/hti.yaml"
    assert said(tasks=[task]).endswith("no such file; did you mean config/tasks/hit.yaml?")
    assert said(crystal="config/crystals/none.txt").endswith("(dataset A); check the name")
    sheet = Path("config/datasets.tsv")
    head, *rows = sheet.read_text().splitlines()
    sheet.write_text("\n".join([f"{head}\tbeam", f"{rows[0]}\t{beam}", ""]))
    assert said() == f"config/datasets.tsv: beam: {beam}: {remedy}"


def test_a_target_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SpotmillError, match=r"reprot: is neither a rule .*; did you mean report\?"):
        pending_jobs(["--profile", "profiles/local", "--nolock", "reprot"])
