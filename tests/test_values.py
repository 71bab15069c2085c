"""Tasks of values: each frame's own photon energy and camera length, from split to report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import copy_tiny, simulate_words, water_words

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.learning.evaluation_values import complaint, related
from spotmill.learning.frames import read_frames
from spotmill.learning.models.profile_likelihood import correct
from spotmill.learning.value_limits import result
from spotmill.physics.profile_family import ProfileFamily
from spotmill.physics.profile_limits import Brightness, posterior
from spotmill.recipes import MODEL_RECIPES, RECIPES
from spotmill.report.figures_values import draw_values
from spotmill.report.values import judge_values, read_values
from spotmill.tasks import Task

FIRST_EMPTY = 10_000_000
PATTERNS, EMPTIES = 40, 80
# Recipes of training and of the model, and the losses in validation.
GOLDEN: tuple[list[int], list[float]] = (
    [3, 1],
    [6.1853620068068595, 6.189167993097571],
)
RANDOMISE = """\
photon_energy: {uniform: [-1500, 1500]}
clen: {uniform: [-0.02, 0.02]}
flux: {uniform: [0.8, 1.2]}
background: {uniform: [0.8, 1.2]}
"""


def write_task(path: str, **changes: Any) -> str:
    """Write a task file (YAML holds JSON)."""
    task = {
        "target": "photon_energy",
        "scale": "values",
        "model": "profile_likelihood",
        "settings": {"bins": 32, "spacing": 2.0, "correction": 3},
        "epochs": 2,
        "learning_rate": 0.05,
        "controls": {"epochs": 1},
    }
    Path(path).write_text(json.dumps(task | changes))
    return path


def make_frames() -> None:
    """Write randomised frames and their manifest into the tiny folder that is the current one."""
    Path("r.yaml").write_text(RANDOMISE)
    Path("bright.yaml").write_text("nphotons: 3.0e8\nbeam_radius: 5.0e-6\nbandwidth: 0.01\n")
    where: dict[str, object] = {"photon-energy": 7000, "beam": "bright.yaml"}
    assert main(water_words("w.h5", **where)) == 0
    given = {**where, "randomise": "r.yaml", "count": PATTERNS}
    assert main(simulate_words("p00000", **given)) == 0
    drawn = ["overlay", "--water", "w.h5", "--seed", "7", "--randomise", "r.yaml"]
    assert main([*drawn, "--peaks", "peaks/p00000.h5", "--output", "o/p00000.h5"]) == 0
    empty = ["--first", str(FIRST_EMPTY), "--count", str(EMPTIES)]
    assert main([*drawn, *empty, "--output", "o/e00000.h5"]) == 0
    assert main(["labels", "--peaks", "peaks/p00000.h5", "--output", "l/p00000.h5"]) == 0
    words = ["manifest", "--overlay", "o/p00000.h5", "o/e00000.h5", "--output", "m.parquet"]
    words += ["--peaks", "peaks/p00000.h5", "--labels", "l/p00000.h5"]
    assert main([*words, "--truth", "truth/p00000.parquet"]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with randomised frames, their manifest and an evaluation."""
    folder = copy_tiny(tmp_path_factory.mktemp("values"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_frames()
        task = write_task("energy.yaml")
        assert split(task, "s.parquet") == 0
        common = ["--task", task, "--split", "s.parquet", "--detector"]
        common.append("config/detectors/tiny.geom")
        assert main(["train", *common, "--output", "model/energy"]) == 0
        words = ["--model", "model/energy", "--water", "w.h5", "--output", "evaluation/energy"]
        assert main(["evaluate", *common, *words]) == 0
    return folder


def split(task: str, output: str) -> int:
    return main(["split", "--task", task, "--manifest", "m.parquet", "--output", output])


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def evaluation(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "evaluation/energy/evaluation.json").read_text()))


def test_truth_is_the_frames_own(here: Path) -> None:
    frames = read_frames("s.parquet", Task.read("energy.yaml"))
    assert frames.values is not None
    assert frames.values[:, 0].std() > 300
    told = pd.read_parquet("truth/p00000.frames.parquet").set_index("index")
    with Shard(here / "o/e00000.h5") as shard:
        empties = dict(zip(shard.indices.tolist(), shard.column("clen").tolist(), strict=True))
    for index, (energy, clen) in zip(frames.index.tolist(), frames.values, strict=True):
        if index < FIRST_EMPTY:
            assert (energy, clen) == tuple(told.loc[index, ["photon_energy", "clen"]])
        else:
            assert clen == empties[index]


def test_evaluation_adds_up(here: Path) -> None:
    found = evaluation(here)
    table = pd.read_parquet("evaluation/energy/predictions.parquet")
    assert list(table.columns) == ["dataset", "index", "truth", "said", "sigma"]
    assert found["kind"] == "values"
    ours = found["results"][0]
    error = table["said"] - table["truth"]
    assert ours["n"] == len(table) == found["n"]["test"]
    assert ours["rmse"] == pytest.approx(float(np.sqrt((error**2).mean())))
    assert ours["bias"] == pytest.approx(float(error.mean()))
    assert ours["interval"][0] <= ours["rmse"] <= ours["interval"][1]
    within = float((error.abs() <= 1.959964 * table["sigma"]).mean())
    assert ours["coverage"]["0.95"]["value"] == pytest.approx(within)
    names = [entry["name"] for entry in found["results"]]
    assert names == ["profile_likelihood", "maximum_likelihood", "nearest_profile", "mean_value"]
    over = ours["rmse"] / found["bounds"]["limit"]
    assert ours["over_limit"]["value"] == pytest.approx(over)
    assert all(control["at_chance"] for control in found["controls"])
    assert complaint(found) is None
    parts = [part for part in ours["per_part"] if part["of"] == "clen"]
    assert sum(part["n"] for part in parts) == len(table)


def test_the_model_is_near_its_limit_and_above_guessing(here: Path) -> None:
    found = evaluation(here)
    ours, guess = found["results"][0], found["results"][-1]
    assert ours["rmse"] < 0.7 * guess["rmse"]
    low, high = ours["over_limit"]["interval"]
    assert low < 1.15
    assert high > 0.8


def test_report_reads_and_draws_it(here: Path) -> None:
    (task,) = read_values([here / "evaluation/energy"], [here / "model/energy"])
    drawings = draw_values(task)
    assert [drawing.name for drawing in drawings] == [
        f"energy_{name}" for name in ("training", "confusion", "per_dataset", "errors")
    ]
    assert all(drawing.png.startswith(b"\x89PNG") for drawing in drawings)
    assert "times what photons allow" in " ".join(judge_values(task.evaluation).reasons)


def test_page_tells_of_it(here: Path) -> None:
    words = ["report", "--config", "config/config.yaml", "--manifest", "m.parquet"]
    words += ["--water", "w.h5", "--evaluation", "evaluation/energy", "--model", "model/energy"]
    assert main([*words, "--output", "report/index.html", "--figures", "report/figures"]) == 0
    page = Path("report/index.html").read_text(encoding="utf-8")
    assert 'id="task-energy"' in page
    assert "times what photons allow" in page
    assert "Correlation" in page
    assert Path("report/figures/energy_confusion.csv").is_file()


def test_numbers_change_only_with_their_recipe(here: Path) -> None:
    """After raising a recipe, copy in what the message names."""
    history = pd.read_csv("model/energy/history.csv")
    found = [RECIPES["train"], MODEL_RECIPES["profile_likelihood"]]
    losses = history["validation_loss"].tolist()
    assert found == GOLDEN[0], f"copy in {found}, {losses}"
    assert losses == pytest.approx(GOLDEN[1], rel=1e-6), f"raise the recipe; {losses}"


def test_training_again_gives_the_same_bytes(here: Path, tmp_path: Path) -> None:
    words = ["--task", "energy.yaml", "--split", "s.parquet"]
    words += ["--detector", "config/detectors/tiny.geom", "--output", str(tmp_path)]
    assert main(["train", *words]) == 0
    for name in ("model.safetensors", "history.csv", "model.json"):
        assert (tmp_path / name).read_bytes() == (here / "model/energy" / name).read_bytes()


def test_randomised_frames_do_not_pass_for_a_class(here: Path) -> None:
    other = pd.read_parquet("m.parquet")
    other = other.assign(dataset="B", photon_energy=8000.0)
    from spotmill.formats.tables import MANIFEST, write_table

    both = pd.concat([pd.read_parquet("m.parquet"), other])
    write_table("both.parquet", {name: both[name].tolist() for name in MANIFEST.names}, MANIFEST)
    task = write_task(
        "classes.yaml", scale="classes", model="radial_profile", settings={}, controls={}
    )
    words = ["split", "--task", task, "--manifest", "both.parquet", "--output", "both_s.parquet"]
    assert main(words) == 0
    with pytest.raises(SpotmillError, match=r"nearer to 8000 than to its dataset's 7000.*datasets"):
        read_frames("both_s.parquet", Task.read(task))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "hit"}, "does not tell hit"),
        ({"model": "radial_profile", "settings": {}}, "use profile_likelihood"),
        ({"scale": "classes"}, "use radial_profile or linear"),
    ],
)
def test_tasks_and_models_must_fit(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpotmillError, match=words):
        Task.read(write_task(str(tmp_path / "t.yaml"), **changes))


def test_correction_finds_what_physics_left_out() -> None:
    """A family that lacks a slope in the radius is bent to frames that have it."""
    rng = np.random.default_rng(1)
    n, bins = 200, 20
    coefficients = np.zeros((3, 3, bins))
    coefficients[0, 0], coefficients[1, 0] = 5.0, np.linspace(-1, 1, bins)
    radius = np.linspace(0.01, 0.1, bins)
    family = ProfileFamily((5000.0, 9000.0), (0.1, 0.4), radius, coefficients)
    values = np.column_stack([rng.uniform(5000, 9000, n), rng.uniform(0.1, 0.4, n)])
    missing = 0.05 * np.linspace(-1, 1, bins)
    level = rng.normal(0, 0.1, n)
    rate = np.exp(family.log_rate(*values.T) + missing + level[:, None])
    photons, pixels = rng.poisson(rate).astype(float), np.ones((n, bins))
    bent, found = correct(family, photons, pixels, values, 3)
    change = (bent.log_rate(*values.T) - family.log_rate(*values.T)).mean(0)
    assert np.abs(change - missing).max() < 5e-3
    assert np.abs(found - level).max() < 5 / np.sqrt(photons.sum(1).min())


def test_network_is_the_posterior(here: Path) -> None:
    """At trust 1, scale 1 and offset 0 the network says what the physics' posterior says."""
    import torch

    from spotmill.learning.store import load_network

    network = load_network(here / "model/energy", Task.read("energy.yaml"), "energy.yaml")
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    family, law, where = network.family(), network.law(), network.where()
    rng = np.random.default_rng(3)
    pixels = np.tile(network.pixels.numpy(), (6, 1))
    at = rng.uniform([6000, 0.04], [8000, 0.06], (6, 2))
    photons = rng.poisson(pixels * np.exp(family.log_rate(*at.T) + law.mean)).astype(float)
    with torch.no_grad():
        said = network(torch.from_numpy(np.stack([photons, pixels], axis=1))).numpy()
    mean, deviation = posterior(family, photons, pixels, law, where)
    assert np.allclose(said[:, 0], mean[:, 0], rtol=1e-9)
    assert np.allclose(said[:, 1], deviation[:, 0], rtol=1e-6)
    assert isinstance(law, Brightness)


def test_leaking_control_is_named() -> None:
    truth = np.linspace(0, 1, 100)
    leak = related(truth + 0.1 * np.sin(50 * truth), truth)
    assert not leak["at_chance"]
    control = {"name": "shuffled_labels", "what": "a: why", **leak}
    assert "shuffled_labels" in str(complaint({"controls": [control]}))
    assert related(np.ones(50), truth[:50])["at_chance"]


def test_ratio_to_the_limit_has_an_honest_interval() -> None:
    rng = np.random.default_rng(1)
    limit = {"limit": np.full(500, 2.0), "cramer_rao": np.full(500, 4.0)}
    inside = 0
    for seed in range(40):
        error = rng.normal(0, 2.0, 500)
        found = result(("a", "model", ""), error, None, np.zeros(500), limit, 1.0, seed)
        low, high = found["over_limit"]["interval"]
        inside += low <= 1.0 <= high
        assert found["over_cramer_rao"]["value"] == pytest.approx(found["over_limit"]["value"] / 2)
    assert inside >= 33
