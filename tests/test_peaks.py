"""The task of locating peaks: truth by identity, training, evaluation, controls, report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from learning_data import GEOMETRY, SHAPE, header, mask, water, write_task

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frames import write_shard
from spotmill.formats.tables import MANIFEST, SPOTS, read_table, write_table
from spotmill.learning.evaluation_peaks import KEPT, classical_thresholds, spread
from spotmill.learning.models.peak_net import centre_of_mass, is_wide
from spotmill.learning.peak_candidates import find_candidates
from spotmill.learning.peak_controls import at_chance, complaint
from spotmill.learning.peak_results import Finder, chosen, width_of
from spotmill.learning.peak_training import thinned
from spotmill.learning.peaks import open_peaks, read_spots
from spotmill.physics.peak_bound import profile
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import Spots, assign
from spotmill.report.figures_peaks import draw_peaks
from spotmill.report.peaks import is_of_peaks, judge_peaks, read_peaks
from spotmill.tasks import Task

PATTERNS, EMPTIES = 36, 6

NET = {"candidates": 64, "patch": 9, "width": 8, "hidden": 16, "copies": 2, "crop": 64}
TASKS: dict[str, dict[str, Any]] = {
    "peaks": {"model": "peak_net", "settings": NET, "epochs": 10, "batch_size": 64},
    "repaired": {
        "model": "heatmap_cnn",
        "settings": {"crop": 64, "crops": 3},
        "epochs": 8,
        "batch_size": 8,
    },
    "as_written": {
        "model": "heatmap_cnn",
        "settings": {"attention": "replace", "crop": 64, "crops": 2},
        "epochs": 2,
        "batch_size": 8,
    },
}


def draw(rng: np.random.Generator, index: int, live: np.ndarray) -> tuple[np.ndarray, list[tuple]]:
    """Return the Bragg photons of a frame and its rows of the table of spots."""
    signal, rows = np.zeros(SHAPE, dtype=np.uint16), []
    for number in range(rng.integers(2, 9)):
        ss, fs = rng.uniform(8, SHAPE[0] - 8), rng.uniform(8, SHAPE[1] - 8)
        expected = rng.choice([3.0, 12.0, 40.0, 200.0])
        part = np.s_[int(ss) - 2 : int(ss) + 3, int(fs) - 2 : int(fs) + 3]
        drawn = rng.poisson(expected * profile((fs % 1 - 0.5, ss % 1 - 0.5), 0.4)) * live[part]
        signal[part] += drawn.astype(np.uint16)
        rows.append(
            (index, 0, number, 0, 0, "p", fs, ss, expected, 1.0, float(drawn.sum()), 2, 7e3)
        )
    return signal, rows


def make(folder: Path, dataset: str) -> None:
    """Write water, signal, overlays, truth and the manifest of a dataset."""
    live, expected = mask(), water(6000.0 if dataset == "A" else 8000.0, 0.1)
    about = header(dataset, "water", "empty")
    path = folder / f"water/{dataset}.h5"
    with write_shard(path, about, np.array([0]), SHAPE, np.float32, live) as shard:
        shard.put(0, expected)
    rows: list[tuple] = []
    lines: list[dict[str, Any]] = []
    for kind, first, count in (("crystal", 0, PATTERNS), ("empty", FIRST_EMPTY, EMPTIES)):
        indices = np.arange(first, first + count)
        paths = {n: folder / f"{n}/{dataset}/{kind[0]}00000.h5" for n in ("overlay", "peaks")}
        both = {}
        for index in indices.tolist():
            rng = np.random.default_rng([ord(dataset), index])
            signal, own = draw(rng, index, live) if kind == "crystal" else (np.zeros(SHAPE), [])
            both[index] = (rng.poisson(expected) + signal, signal, sum(r[10] >= 5 for r in own))
            rows += own
        for number, name in enumerate(("overlay", "peaks")):
            if kind == "empty" and name == "peaks":
                continue
            about = header(dataset, name, kind)
            with write_shard(paths[name], about, indices, SHAPE, np.uint16, live) as shard:
                for index in indices.tolist():
                    shard.put(index, both[index][number].astype(np.uint16))
        for position, index in enumerate(indices.tolist()):
            crystal = kind == "crystal"
            line = dict.fromkeys(("peaks", "labels", "truth"), "")
            if crystal:
                line |= {"peaks": str(paths["peaks"]), "truth": str(folder / f"{dataset}.parquet")}
            line |= {"dataset": dataset, "index": index, "kind": kind, "clen": 0.1}
            line |= {"photon_energy": 6e3, "n_spots": both[index][2], "photons": 0}
            line |= {"is_hit": both[index][2] >= 3, "shard": f"{kind[0]}00000", "recipe": "{}"}
            lines.append(line | {"position": position, "overlay": str(paths["overlay"])})
    columns = dict(zip(SPOTS.names, zip(*rows, strict=True), strict=True))
    write_table(folder / f"{dataset}.parquet", columns, SPOTS, {"dataset": dataset})
    columns = {key: [line[key] for line in lines] for key in MANIFEST.names}
    write_table(folder / f"manifest/{dataset}.parquet", columns, MANIFEST)


def common(data: Path, name: str) -> list[str]:
    return [
        *("--task", str(data / f"{name}.yaml"), "--split", str(data / f"splits/{name}.parquet")),
        *("--detector", str(data / "small.geom")),
    ]


def run(data: Path, name: str, output: Path) -> None:
    """Train and evaluate a task."""
    model = output / "models" / name
    given = ["--water", str(data / "water/A.h5"), "--output", str(output / "evaluation" / name)]
    assert main(["train", *common(data, name), "--output", str(model)]) == 0
    assert main(["evaluate", *common(data, name), "--model", str(model), *given]) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peaks")
    (folder / "small.geom").write_text(GEOMETRY)
    for dataset in "AB":
        make(folder, dataset)
    for name, changes in TASKS.items():
        given = {"target": "peaks", "learning_rate": 0.005, **changes}
        given |= {"schedule": {"kind": "cosine"}}
        task = write_task(folder / f"{name}.yaml", **given)
        words = ["--manifest", *(str(folder / f"manifest/{d}.parquet") for d in "AB")]
        output = folder / f"splits/{name}.parquet"
        assert main(["split", "--task", str(task), *words, "--output", str(output)]) == 0
    return folder


@pytest.fixture(scope="module")
def done(data: Path) -> Path:
    for name in TASKS:
        run(data, name, data)
    return data


def read(data: Path, name: str) -> dict[str, Any]:
    return json.loads((data / f"evaluation/{name}/evaluation.json").read_text())


def test_network_finds_the_spots(done: Path) -> None:
    evaluation = read(done, "peaks")
    ours, classical = evaluation["results"]
    assert ours["f1"] > 0.85
    assert ours["f1_interval"][0] <= ours["f1"] <= ours["f1_interval"][1]
    assert classical["f1"] > 0.7
    assert ours["localisation"]["median"] < 0.3
    assert evaluation["bounds"][0]["f1"] > ours["f1"] - 0.05
    assert sum(part["true"] for part in ours["per_dataset"].values()) == ours["true"]
    assert sum(part["n"] for part in ours["per_photons"]) == ours["true"]
    assert sum(part["found"] for part in ours["per_photons"]) == ours["matched"]
    for part in ours["per_photons"]:
        assert part["interval"][0] <= part["recall"] <= part["interval"][1]
    for key in ("n", "true", "found", "matched"):
        assert sum(part[key] for part in ours["per_spots"]) == ours[key]
    for part in ours["per_spots"]:
        assert part["from"] * part["n"] <= part["true"]
        assert part["to"] is None or part["true"] <= part["to"] * part["n"]
    widths = ours["localisation"]["per_width"]
    assert max(widths, key=lambda part: part["n"])["from"] == 0.4
    calibration = ours["calibration"]
    assert calibration["holds"] and calibration["after"]["error"] < 0.1
    assert calibration["after"]["interval"][0] <= calibration["before"]["error"]
    stored = json.loads((done / "models/peaks/model.json").read_text())["calibration"]
    assert stored["threshold"] == ours["threshold"]
    assert all(control["at_chance"] for control in evaluation["controls"])
    assert complaint(evaluation) is None
    example = evaluation["example"]
    assert len(example["found"]) == len(example["matched"])


def test_predictions_are_the_peaks_that_were_counted(done: Path) -> None:
    table = pd.read_parquet(done / "evaluation/peaks/predictions.parquet")
    ours = read(done, "peaks")["results"][0]
    assert list(table) == ["dataset", "index", "fs", "ss", "intensity", "score", "matched"]
    assert (len(table), table["matched"].sum()) == (ours["found"], ours["matched"])
    assert table["score"].between(0, 1).all()
    # Against the truth itself, joined by identity.
    for (dataset, index), own in table[table["matched"]].groupby(["dataset", "index"]):
        spots = read_table(done / f"{dataset}.parquet", SPOTS).to_pandas()
        spots = spots[spots["index"] == index]
        away = np.hypot(
            own["fs"].to_numpy()[:, None] - spots["fs"].to_numpy(),
            own["ss"].to_numpy()[:, None] - spots["ss"].to_numpy(),
        )
        assert (away.min(1) <= 4).all()


def test_the_same_twice(done: Path, tmp_path: Path) -> None:
    run(done, "peaks", tmp_path)
    for file in ("models/peaks/model.safetensors", "evaluation/peaks/evaluation.json"):
        assert (tmp_path / file).read_bytes() == (done / file).read_bytes()
    one, other = (f / "evaluation/peaks/predictions.parquet" for f in (tmp_path, done))
    assert one.read_bytes() == other.read_bytes()


def test_attention_that_replaces_the_features_finds_nothing(done: Path) -> None:
    repaired, written = read(done, "repaired"), read(done, "as_written")
    assert written["results"][0]["f1"] < 0.1
    assert repaired["results"][0]["f1"] > written["results"][0]["f1"] + 0.2


def test_report_shows_them(done: Path) -> None:
    folders = [done / "evaluation" / name for name in TASKS]
    assert all(map(is_of_peaks, folders))
    tasks = read_peaks(folders, [done / "models" / name for name in TASKS])
    assert judge_peaks(tasks[0].evaluation).good
    for task in tasks:
        drawings = draw_peaks(task)
        named = Task.read(done / f"{task.name}.yaml").figures
        assert {drawing.name for drawing in drawings} == {f"{task.name}_{name}" for name in named}
        assert all(drawing.png.startswith(b"\x89PNG") for drawing in drawings)
    with pytest.raises(SpotmillError, match="has no model folder"):
        read_peaks(folders[:1], [])


def open_it(data: Path, name: str = "peaks") -> Any:
    task = data / f"{name}.yaml"
    split = data / f"splits/{name}.parquet"
    return open_peaks(Task.read(task), split, data / "small.geom", str(task))


def test_a_leak_of_the_truth_is_noticed(data: Path) -> None:
    setup = open_it(data)
    rows = [row for row in setup.frames.rows("test").tolist() if setup.truth[row]]
    truth = {row: setup.strong(row) for row in rows}
    said = {
        row: Peaks(spots.place, spots.photons, np.ones(len(spots.photons)))
        for row, spots in truth.items()
    }
    leaky = Finder("leaky", "model", "", lambda image, mask: said[rows[0]], said)
    control = at_chance(setup, "signal_removed", "x: a leak", leaky, 0.5, truth, rows)
    assert control["matched"] == control["true"] > 10
    assert not control["at_chance"]
    assert "a leak" in str(complaint({"controls": [control]}))


def test_truth_of_another_dataset_is_refused(data: Path) -> None:
    with pytest.raises(SpotmillError, match="is of dataset A, not B; remake the manifest"):
        read_spots(str(data / "A.parquet"), "B")


def test_signal_of_another_frame_is_refused(data: Path) -> None:
    setup = open_it(data)
    row = int(np.flatnonzero(setup.peaks != "")[3])
    moved = replace(setup.frames, position=setup.frames.position + 1)
    setup = replace(setup, frames=moved)
    with pytest.raises(SpotmillError, match="remake the manifest"):
        setup.signal(row)


def test_patterns_without_truth_are_refused(data: Path, tmp_path: Path) -> None:
    table = read_table(data / "manifest/A.parquet", MANIFEST).to_pydict()
    table["truth"] = [""] * len(table["truth"])
    write_table(tmp_path / "A.parquet", table, MANIFEST)
    task, split = str(data / "peaks.yaml"), tmp_path / "split.parquet"
    words = ["--manifest", str(tmp_path / "A.parquet"), "--output", str(split)]
    assert main(["split", "--task", task, *words]) == 0
    with pytest.raises(SpotmillError, match="has no table of true spots"):
        open_peaks(Task.read(task), split, data / "small.geom", task)


def test_width_of_a_spot() -> None:
    rng = np.random.default_rng(1)
    signal = np.zeros((60, 60), dtype=np.int64)
    signal[24:37, 24:37] = rng.poisson(50_000 * profile((0.0, 0.0), 1.3, 6))
    spots = Spots(np.array([[30.5, 30.5], [10.0, 10.0]]), np.array([50_000.0, 4.0]))
    width = width_of(signal, spots)
    assert width[0] == pytest.approx((1.3**2 + 1 / 12) ** 0.5, rel=0.01)
    assert np.isnan(width[1])


@pytest.mark.parametrize(("sigma", "wide"), [(0.4, False), (1.2, True)])
def test_place_of_wide_spots(sigma: float, wide: bool) -> None:
    rng = np.random.default_rng(3)
    image, true = rng.poisson(0.05, (200, 200)), []
    for a in range(20, 190, 20):
        for b in range(20, 190, 20):
            fs, ss = b + rng.uniform(), a + rng.uniform()
            part = np.s_[int(ss) - 5 : int(ss) + 6, int(fs) - 5 : int(fs) + 6]
            image[part] += rng.poisson(300 * profile((fs % 1 - 0.5, ss % 1 - 0.5), sigma, 5))
            true.append((fs, ss))
    found = find_candidates(image, np.ones(image.shape, bool), len(true), 9)
    assert is_wide(found).all() == wide
    partner, distance = assign(centre_of_mass(found), np.array(true), 2.0)
    assert (partner >= 0).all()
    assert (distance < 0.3).mean() > 0.9


def test_thinned_rows_are_spread() -> None:
    rows = np.arange(100)
    assert thinned(rows, None) is rows
    assert thinned(rows, 3).tolist() == [0, 50, 99]


def test_few_peaks_stay_in_memory(data: Path) -> None:
    """Whatever a finder says, what is kept grows with the true spots, not with the pixels."""
    setup = open_it(data)
    rows = setup.frames.rows("validation").tolist()
    truth = {row: setup.strong(row) for row in rows}
    rng = np.random.default_rng(1)

    def noise(image: np.ndarray, mask: np.ndarray) -> Peaks:
        place = rng.uniform(0, 100, (5000, 2))
        return Peaks(place, np.ones(5000), rng.normal(size=5000))

    finder = Finder("noise", "baseline", "", noise)
    threshold, floor = classical_thresholds(setup, finder, truth, rows)
    assert not finder.found
    assert floor <= threshold
    kept = len(chosen(noise(np.empty(0), np.empty(0)), floor).score)
    assert kept < 3 * KEPT * sum(len(own.photons) for own in truth.values()) / len(rows)
    assert spread(list(range(100)), 3) == [0, 50, 99]
    assert spread([4, 5], 3) == [4, 5]
