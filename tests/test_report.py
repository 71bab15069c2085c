"""The report on a small synthetic production of two datasets and two tasks."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.frame_map import map_schema
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.tables import MANIFEST, SPOTS, write_table
from spotmill.learning.calibration import Calibration
from spotmill.learning.curves import curves
from spotmill.learning.metrics import per_spots
from spotmill.learning.reliability import before_and_after
from spotmill.report.evaluations import Evaluation, Task, read_tasks
from spotmill.report.figures_frames import richest_window
from spotmill.report.pictures import STEPS, levels, max_pool, pool_factor, window_around
from spotmill.report.radial import radial_profile
from spotmill.report.verdict import group_tasks, judge
from spotmill.tasks import Task as MillTask

SHAPE = (90, 80)
SCRIPT = "<script>alert('no')</script>"
FIGURES = ("datasets", "frames", "frame_detail", "radial_profiles", "map", "verdict")
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


class Page(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = frozenset(("meta", "link", "img", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes out of order"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page((report / "index.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_its_links_lead_somewhere(page: Page) -> None:
    assert page.open == []
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links and all(link[0] == "#" and link[1:] in names for link in links)


def test_held_out_datasets_are_named(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    energy = text[text.index('<section id="task-energy">') :]
    assert "the test frames are all frames of 02," in energy
    assert text.count("Held out:") == 1


def test_page_needs_nothing_else(report: Path, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object")
        assert str(attributes.get("src") or "data:").startswith("data:")
        if tag == "link":
            assert str(attributes["href"]).startswith("data:")
    text = (report / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(text) < 10_000_000


def test_every_figure_is_embedded_and_on_disk_with_its_data(report: Path, page: Page) -> None:
    names = {*FIGURES, *(f"{task}_{name}" for task in ("hit", "low") for name in HIT_FIGURES)}
    names |= {f"energy_{name}" for name in TASK_FIGURES}
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    embedded = {base64.b64decode(str(p["src"]).split(",")[1]) for p in pictures}
    assert embedded == {(report / f"figures/{name}.png").read_bytes() for name in names}
    assert all(p["alt"] for p in pictures)
    for name in names:
        table = pd.read_csv(report / f"figures/{name}.csv")
        # Of that task nothing is known of these.
        empty = name in ("energy_errors", "energy_spots", "energy_calibration")
        assert (len(table) == 0) == empty, name
    assert {path.stem for path in (report / "figures").iterdir()} == names


def test_texts_are_escaped(report: Path, page: Page) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "".join(page.text).count(SCRIPT) >= 5


def test_page_speaks_of_no_place_and_is_the_same_twice(report: Path, workplace: Path) -> None:
    assert main(arguments()) == 0
    for path in sorted(report.rglob("*.*")):
        twin = workplace / "report" / path.relative_to(report)
        assert path.read_bytes() == twin.read_bytes(), path.name
        assert str(report.parent).encode() not in path.read_bytes()


def test_odd_frames_are_ringed_and_listed(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "16 of 99 frames" in text
    assert "Odd frames, the oddest first" in text
    assert "ring excess" in text


def test_data_table_counts_frames(report: Path) -> None:
    table = pd.read_csv(report / "figures/datasets.csv", dtype={"dataset": str})
    assert table["dataset"].tolist() == ["01", "02"]
    assert table["patterns"].tolist() == [4, 4]
    assert table["empties"].tolist() == [4, 4]
    assert table["hits"].tolist() == [3, 3]
    assert table["median_spots"].tolist() == [4.5, 4.5]
    live = SHAPE[0] * (SHAPE[1] - 4)
    assert np.allclose(table["expected_water_photons"], 0.2 * live)
    # Gap pixels hold 60000 and must not be counted.
    far = (table["water_ratio"] - 1).abs() / table["water_ratio_sigma"]
    assert (far < 4).all()


def test_report_without_tasks(workplace: Path) -> None:
    assert main(arguments(tasks=())) == 0
    assert "No task was trained" in (workplace / "report/index.html").read_text()


def damage_evaluation(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace('"accuracy"', '"acuracy"'))


def damage_confusion(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace("[49, 1]", "[48, 1]", 1))


def name_unknown_frame(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace('"index": 1,', '"index": 77,'))


DAMAGE = {
    "no evaluation": (lambda r: (r / "evaluation/hit/evaluation.json").unlink(), "evaluation.json"),
    "half an evaluation": (
        lambda r: (r / "evaluation/hit/evaluation.json").write_text('{"task": '),
        "line 1: is not valid JSON",
    ),
    "wrong key": (damage_evaluation, "results.0.accuracy: is required"),
    "wrong sum": (damage_confusion, "does not add up to n = 100"),
    "unknown frame": (name_unknown_frame, "has no frame 77 of dataset '01'"),
    "no model": (lambda r: (r / "models/hit/model.json").unlink(), "model.json: no such file"),
    "no history": (lambda r: (r / "models/hit/history.csv").unlink(), "history.csv: no such file"),
    "no water": (lambda r: (r / "water/02.h5").unlink(), "water/02.h5: no such shard"),
    "wrong water": (
        lambda r: shutil.copy(r / "overlay/01/c00000.h5", r / "water/01.h5"),
        "holds overlay, not expected water",
    ),
    "other sheet": (
        lambda r: (r / "config/datasets.tsv").write_text(
            FILES["config/datasets.tsv"].replace("\n02", "\n03")
        ),
        "dataset '02' is not in config/datasets.tsv",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGE[name]
    damage(workplace)
    assert main(arguments()) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (workplace / "report").exists()


def test_both_folders_of_a_task_are_required(workplace: Path) -> None:
    with pytest.raises(SpotmillError, match="has no model folder"):
        read_tasks([Path("evaluation/hit")], [])
    with pytest.raises(SpotmillError, match="has no evaluation folder"):
        read_tasks([], [Path("models/hit")])


def make_task(**changes: object) -> Task:
    return Task(Evaluation.parse(evaluation(**changes), "test"), {}, pd.DataFrame())


def test_verdict_holds_when_controls_are_at_chance() -> None:
    verdict = judge(make_task())
    assert verdict.good
    assert "controls at chance" in verdict.reasons
    assert any("level with" in reason for reason in verdict.reasons)


def control_off_chance() -> list[dict]:
    return [evaluation()["controls"][0] | {"accuracy": 0.9, "at_chance": False}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"controls": []}, "no control was run"),
        (
            {"controls": control_off_chance()},
            "“shuffled_labels” scores 90.0\u00a0%",
        ),
        ({"results": [result("m", [[30, 20], [20, 30]], [0.5, 0.7])]}, "no better than always"),
        (
            {"results": [result("m", [[45, 5], [5, 45]], [0.8, 0.9], **quality(stretch=6.0))]},
            "probabilities are off by",
        ),
        (
            {
                "results": [
                    result("m", [[40, 10], [10, 40]], [0.71, 0.87]),
                    result("b", [[50, 0], [0, 50]], [0.96, 1.0]),
                ]
            },
            "below the classical baseline “b” (100.0\u00a0%)",
        ),
    ],
)
def test_verdict_falls_for_each_reason(changes: dict, reason: str) -> None:
    verdict = judge(make_task(**changes))
    assert not verdict.good
    assert len(verdict.reasons) == 1 and reason in verdict.reasons[0]


def test_the_report_names_the_figures_that_are_drawn(report: Path) -> None:
    names = {"hit": HIT_FIGURES, "photon_energy": TASK_FIGURES}
    for target, expected in names.items():
        words = {"target": target, "model": "linear", "epochs": 1, "learning_rate": 0.1}
        assert set(MillTask.parse(words, "t").figures) == set(expected)


def test_the_page_tells_calibration_and_false_alarms(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "before calibration" in text
    assert "recall at 1.0 % false alarms" in text
    assert "from 30 validation blanks, passed by 2.0 % of 50 test blanks" in text


def test_the_page_tells_recall_at_every_flux(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    assert "recall hits found 50.0 % 35.0 to 65.0, n 40 50.0 % 35.0 to 65.0, n 40" in text
    assert "of blanks, at the second threshold 90.0 % 80.0 to 96.0, n 50" in text


def test_groups_put_ours_first_and_baselines_once() -> None:
    (group,) = group_tasks([make_task(task="paper", model="binary_cnn"), make_task()])
    roles = [row.role for row in group.rows]
    assert roles == ["model", "paper", "baseline", "control", "control"]
    assert "97.5 %" in group.rows[1].paper
    assert "patch_counter is right on 98 of 100" in group.summary


def test_pooling_keeps_single_photons_and_drops_dead_pixels() -> None:
    image = np.zeros((7, 9), dtype=np.uint16)
    mask = np.ones(image.shape, dtype=bool)
    image[4, 5] = 1
    image[0, 0], mask[0, 0] = 65535, False
    mask[:, 6:] = False
    small, live = max_pool(image, mask, 3)
    assert small.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert live.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert pool_factor((2167, 2070), 380) == 6


def test_levels_step_at_whole_photons() -> None:
    image = np.array([[0, 1, 2, 3, 4, 5, 9, 10, 99, 100, 65535]])
    steps = levels(image, np.ones(image.shape, dtype=bool))
    assert steps.tolist() == [[0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7]]
    assert len(STEPS) == 8


def test_window_stays_within_the_frame() -> None:
    window = window_around(2, 79, 20, SHAPE)
    assert (window.ss, window.fs) == (slice(0, 20), slice(60, 80))
    assert window_around(5, 5, 500, SHAPE).extent == (0, 80, 90, 0)


def test_window_goes_where_most_spots_are() -> None:
    spots = pd.DataFrame({"ss": [900.0, 300.0, 310.0, 330.0], "fs": [100.0, 500.0, 520.0, 540.0]})
    window = richest_window(spots, (1000, 1000))
    assert (window.ss, window.fs) == (slice(220, 380), slice(420, 580))
    assert richest_window(spots.head(0), SHAPE).extent == (0, 80, 90, 0)


def test_radial_profile_of_a_known_image() -> None:
    rng = np.random.default_rng(3)
    s = np.linspace(0.1, 0.5, 40_000).reshape(200, 200)
    mask = rng.random(s.shape) < 0.9
    expected = 0.02 + 0.1 * s
    images = [np.where(mask, rng.poisson(expected), 60000) for _ in range(10)]
    profile = radial_profile(iter(images), expected, mask, s, bins=20)
    assert profile.pixels.sum() == mask.sum()
    assert profile.frames == 10
    # A straight line averages to its value in the middle of a ring.
    middle = 0.02 + 0.1 * profile.q / (2 * np.pi)
    assert np.allclose(profile.expected, middle, rtol=5e-3)
    chi_square = (((profile.measured - profile.expected) / profile.sigma) ** 2).sum()
    assert 4 < chi_square < 45  # 20 rings; 0.1 % on either side
    ratio, sigma = profile.ratio
    assert abs(ratio - 1) < 4 * sigma
    assert sigma == pytest.approx(1 / np.sqrt(10 * expected[mask].sum()), rel=0.02)
