"""A small synthetic production of two datasets and three tasks, for the tests of the report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.formats.frame_map import map_schema
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.tables import MANIFEST, SPOTS, write_table
from spotmill.learning.calibration import Calibration
from spotmill.learning.curves import curves
from spotmill.learning.metrics import per_spots
from spotmill.learning.reliability import before_and_after
from spotmill.report.evaluations import Evaluation, Task

SHAPE = (90, 80)
SCRIPT = "<script>alert('no')</script>"
FIGURES = (
    *("datasets", "frames", "frame_detail", "radial_profiles", "distributions", "map"),
    "verdict",
)
TASK_FIGURES = ("training", "confusion", "per_dataset", "errors", "spots", "calibration")
HIT_FIGURES = (*TASK_FIGURES, "curves")

FILES = {
    "config/config.yaml": "datasets: config/datasets.tsv\ntasks: [config/tasks/hit.yaml]\n",
    "config/datasets.tsv": "dataset\tphoton_energy\tclen\tn_patterns\n"
    "01\t6000\t0.15\t4\n02\t8000\t0.25\t4\n",
    "config/detectors/eiger4m.geom": "clen = 0.15\nres = 500\nphoton_energy = 7000\n"
    "adu_per_photon = 1\np0/min_fs = 0\np0/max_fs = 79\np0/min_ss = 0\np0/max_ss = 89\n"
    "p0/corner_x = -40\np0/corner_y = -45\np0/fs = x\np0/ss = y\np0/data = /entry/data/data\n"
    "p0/dim0 = %\np0/dim1 = ss\np0/dim2 = fs\n",
    "config/detectors/eiger4m.yaml": "point_spread: 3.0e-5\n",
    "config/beams/cxls.yaml": "nphotons: 3.0e+8\nbeam_radius: 5.0e-6\nbandwidth: 0.01\n",
    "config/crystals/proteinase_k.yaml": f'name: "protein {SCRIPT}"\n'
    "structure: resources/1ic6.mtz\nsize: 1.0e-5\n",
    "config/solvents/water_sheet.yaml": "thickness: 1.0e-4\n",
    "config/tasks/hit.yaml": "target: hit\n",
}


def result(name: str, confusion: list[list[int]], interval: list[float], **more: object) -> dict:
    n = sum(map(sum, confusion))
    correct = sum(row[i] for i, row in enumerate(confusion))
    return {
        "name": name,
        "what": "model",
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "interval": interval,
        "confusion": confusion,
        "per_dataset": {
            "01": {"n": 5, "correct": 4, "interval": [0.4, 0.97]},
            "02": {"n": 0, "correct": 0, "interval": None},
        },
    } | more


def quality(stretch: float = 1.0) -> dict:
    """What is said of scores that are true probabilities, their logits then stretched."""
    rng = np.random.default_rng(8)
    told = rng.normal(0, 2, 400)
    truth = (rng.random(400) < expit(told)).astype(np.int64)
    score = expit(stretch * told)
    raw = np.column_stack([1 - score, score])
    calibration = Calibration(method="platt", slope=1.0, offset=0.0, n=50, threshold=0.5)
    right = (score >= 0.5) == (truth == 1)
    share = {"value": 0.9, "n": 50, "interval": [0.8, 0.96]}
    alarm = {"rate": 0.01, "threshold": 0.97, "n_validation": 30}
    return {
        **curves(score, truth),
        "per_spots": per_spots(right, rng.integers(0, 70, 400)),
        "calibration": before_and_after(calibration, raw, truth, 1),
        "at_alarm_rate": alarm | {"false_alarms": share | {"value": 0.02}, "recall": share},
    }


def evaluation(**changes: object) -> dict:
    control = {
        "name": "shuffled_labels",
        "what": "labels shuffled before training",
        "n": 100,
        "correct": 52,
        "accuracy": 0.52,
        "interval": [0.42, 0.62],
        "chance": 0.5,
        "at_chance": True,
    }
    share = {"value": 0.98, "n": 50, "interval": [0.9, 0.99]}
    return {
        "task": "hit",
        "target": "hit",
        "model": "patch_counter",
        "classes": ["no hit", "hit"],
        "n": {"train": 350, "validation": 50, "test": 100},
        "threshold": 0.43,
        "results": [
            result(
                "patch_counter",
                [[49, 1], [1, 49]],
                [0.93, 0.994],
                recall=share,
                specificity=share,
                **quality(),
            ),
            result("largest pixel", [[45, 5], [5, 45]], [0.83, 0.94], explained=f"is {SCRIPT}"),
        ],
        "controls": [control],
        "worst": [
            {"dataset": "01", "index": 1, "truth": "hit", "said": "no hit", "score": 0.1},
            {"dataset": "02", "index": FIRST_EMPTY, "truth": "no hit", "said": "hit", "score": 0.9},
        ],
        "notes": [f"a note {SCRIPT}"],
    } | changes


def low_flux() -> dict:
    """An evaluation at two fluxes, of a model and a baseline."""
    share = {"value": 0.5, "n": 40, "interval": [0.35, 0.65]}
    known = quality()
    further = {key: known[key] for key in ("average_precision", "roc", "precision_recall")}
    further |= {key: known[key] for key in ("per_spots", "at_alarm_rate")}
    counts = {"n_hit": 40, "n_no_hit": 60, "auroc": 0.9, "interval": [0.8, 0.95]}
    points = [
        {"flux": flux, **counts, "per_dataset": {"01": counts}, "recall": share,
         "specificity": share}
        for flux in (1.0, 0.1)
    ]  # fmt: skip
    kept = ("target", "model", "classes", "n", "threshold", "controls", "worst", "notes")
    return {key: evaluation()[key] for key in kept} | {
        "kind": "flux",
        "task": "low",
        "flux": [1.0, 0.1],
        "results": [
            {"name": "ours", "flux": [point | further for point in points],
             "calibration": known["calibration"]},
            {"name": "largest_pixel", "explained": f"is {SCRIPT}", "flux": points},
        ],
        "bounds": [],
    }  # fmt: skip


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def write_task(root: Path, values: dict) -> None:
    task = values["task"]
    write_files(
        root,
        {
            f"evaluation/{task}/evaluation.json": json.dumps(values),
            f"models/{task}/model.json": json.dumps({"task": task, "version": "0.1.0"}),
            f"models/{task}/history.csv": "epoch,train_loss,validation_loss,validation_accuracy\n"
            "0,0.7,0.69,0.5\n1,0.4,0.5,0.9\n",
        },
    )


def write_images(root: Path, dataset: str, energy: float, clen: float) -> list[dict]:
    """Write water, patterns, empties and truth; return the rows of the manifest."""
    rng = np.random.default_rng(int(dataset))
    mask = np.ones(SHAPE, dtype=bool)
    mask[:, 38:42] = False
    water = np.full(SHAPE, 0.2, dtype=np.float32)

    def header(content: str, kind: str) -> Header:
        return Header(dataset, content, kind, energy, clen, 2e-3, 1, 1, {})

    with write_shard(
        root / f"water/{dataset}.h5",
        header("water", "empty"),
        np.array([0]),
        SHAPE,
        np.float32,
        mask,
    ) as shard:
        shard.put(0, water)
    rows, spots = [], {name: [] for name in SPOTS.names}
    for kind, first in (("crystal", 0), ("empty", FIRST_EMPTY)):
        path = f"overlay/{dataset}/{kind[0]}00000.h5"
        indices = np.arange(first, first + 4)
        with write_shard(
            root / path, header("overlay", kind), indices, SHAPE, np.uint16, mask
        ) as shard:
            for position, index in enumerate(indices.tolist()):
                image = rng.poisson(water).astype(np.uint16)
                image[:, 38:42] = 60000
                n = 3 * position if kind == "crystal" else 0
                for spot in range(n):
                    fs, ss = 5 + 7 * (spot % 5), 10 + 8 * spot
                    image[ss, fs] += 20
                    record = {
                        "index": index,
                        "crystal": 0,
                        "h": 1,
                        "k": spot,
                        "l": 0,
                        "panel": "p0",
                    }
                    record |= {"fs": fs + 0.5, "ss": ss + 0.5, "expected_photons": 19.0}
                    record |= {"live_fraction": 1.0, "photons": 20.0, "d": 2.0}
                    for name, value in (record | {"photon_energy": energy}).items():
                        spots[name].append(value)
                shard.put(index, image)
                rows.append(
                    {
                        "dataset": dataset,
                        "index": index,
                        "kind": kind,
                        "photon_energy": energy,
                        "clen": clen,
                        "n_spots": n,
                        "photons": 20 * n,
                        "is_hit": n >= 3,
                        "shard": path[-9:-3],
                        "position": position,
                        "overlay": path,
                        "peaks": "",
                        "labels": "",
                        "truth": f"truth/{dataset}.parquet" if kind == "crystal" else "",
                        "recipe": '{"overlay": 1, "water": 1}',
                    }
                )
    write_table(root / f"truth/{dataset}.parquet", spots, SPOTS)
    return rows


def write_map(path: Path, rows: list[dict]) -> None:
    """Write a map of frames in which the second is odd."""
    rng = np.random.default_rng(1)
    columns: dict[str, object] = {
        field.name: rng.random(len(rows)) for field in map_schema() if field.type == "double"
    }
    columns |= {name: [row[name] for row in rows] for name in ("dataset", "index", "is_hit")}
    odd = np.arange(len(rows)) == 1
    columns |= {"odd": odd, "oddness": np.where(odd, 2.5, 1.0)}
    columns["cluster"] = np.zeros(len(rows), dtype=np.int32)
    columns["reason"] = ["ring_excess"] * len(rows)
    said = {"n_manifest": 99, "explained_variance": [0.5, 0.25], "odd_from": 1.5}
    write_table(path, columns, map_schema(), said)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("production")
    write_files(root, FILES)
    rows = write_images(root, "01", 6000.0, 0.15) + write_images(root, "02", 8000.0, 0.25)
    write_table(root / "all.parquet", pd.DataFrame(rows).to_dict("list"), MANIFEST)
    write_map(root / "map.parquet", rows)
    write_task(root, evaluation())
    energies = evaluation(
        task="energy",
        target="photon_energy",
        model="linear",
        classes=[f"6000 {SCRIPT}", "8000"],
        results=[result("linear", [[25, 25], [25, 25]], [0.4, 0.6])],
        worst=[],
        threshold=None,
        held_out=["02"],
    )
    write_task(root, energies)
    write_task(root, low_flux())
    return root


def arguments(tasks: tuple[str, ...] = ("hit", "energy", "low")) -> list[str]:
    return [
        *("report", "--config", "config/config.yaml", "--manifest", "all.parquet"),
        *("--map", "map.parquet", "--water", "water/01.h5", "water/02.h5"),
        *("--evaluation", *(f"evaluation/{task}" for task in tasks)),
        *("--model", *(f"models/{task}" for task in tasks)),
        *("--output", "report/index.html", "--figures", "report/figures"),
    ]


@pytest.fixture(scope="module")
def report(production: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(production)
        assert main(arguments()) == 0
    return production / "report"


@pytest.fixture
def workplace(production: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the production that a test may damage, as the working directory."""
    root = tmp_path / "copy"
    shutil.copytree(production, root, ignore=shutil.ignore_patterns("report"))
    monkeypatch.chdir(root)
    return root


def make_task(**changes: object) -> Task:
    return Task(Evaluation.parse(evaluation(**changes), "test"), {}, pd.DataFrame())
