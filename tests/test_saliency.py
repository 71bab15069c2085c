"""Where models looked: maps that point at what is known to matter, and not without learning."""

# Fixtures come by import.
# ruff: noqa: F401, F811

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from learning_data import SHAPE, make, mask, water, write_task
from report_production import arguments, production, workplace
from scipy.stats import pearsonr
from test_peaks import make as make_spots

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.digests import signed_json
from spotmill.formats.saliency import PARTS, RINGS
from spotmill.formats.tables import read_table, write_table
from spotmill.learning.attribution import Part, on_spots, shuffled
from spotmill.learning.saliency_frames import choose
from spotmill.learning.saliency_hits import blank_of, hit_parts
from spotmill.learning.setup import open_task
from spotmill.learning.store import load_network
from spotmill.report.saliency import Found, Saliency, read_saliency
from spotmill.tasks import Task

# Of the frames with known spots: one model that reads features, one that reads pixels.
HITS: dict[str, dict[str, Any]] = {
    "counter": {},
    "pixels": {"model": "binary_cnn", "epochs": 12, "batch_size": 8, "learning_rate": 0.002},
}


def common(data: Path, name: str) -> list[str]:
    return [
        *("--task", str(data / f"{name}.yaml"), "--split", str(data / f"splits/{name}.parquet")),
        *("--detector", str(data / "small.geom")),
    ]


def learn(data: Path, name: str, datasets: str, **changes: Any) -> None:
    """Split, train and evaluate a task."""
    task = write_task(data / f"{name}.yaml", **changes)
    words = ["--manifest", *(str(data / f"manifest/{dataset}.parquet") for dataset in datasets)]
    split = ["--output", str(data / f"splits/{name}.parquet")]
    assert main(["split", "--task", str(task), *words, *split]) == 0
    model = str(data / f"models/{name}")
    assert main(["train", *common(data, name), "--output", model]) == 0
    given = ["--water", str(data / "water/A.h5"), "--output", str(data / f"evaluation/{name}")]
    assert main(["evaluate", *common(data, name), "--model", model, *given]) in (0, 1)


def look(data: Path, name: str, output: Path, **changes: str) -> int:
    given = {"model": f"models/{name}", "evaluation": f"evaluation/{name}"} | changes
    words = [word for key, value in given.items() for word in (f"--{key}", str(data / value))]
    return main(["saliency", *common(data, name), *words, "--output", str(output)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return frames with known spots, and models of hits and peaks trained on them."""
    folder = tmp_path_factory.mktemp("spots")
    make(folder, patterns=1, datasets=("A",))
    for dataset in "AB":
        make_spots(folder, dataset)
    quick = {"controls": {"frames": 30, "epochs": 1}}
    for name, changes in HITS.items():
        learn(folder, name, "AB", **changes, **quick)
    net = {"candidates": 64, "patch": 9, "width": 8, "hidden": 16, "copies": 0, "crop": 64}
    peaks = {"target": "peaks", "model": "peak_net", "settings": net, "epochs": 6}
    learn(folder, "peaks", "AB", **peaks, batch_size=64, learning_rate=0.005)
    return folder


@pytest.fixture(scope="module")
def energies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return frames of two photon energies, and models that tell them apart."""
    folder = tmp_path_factory.mktemp("energies")
    make(folder, patterns=40, datasets=("A", "B"))
    for name, model in (("energy", "radial_profile"), ("linear", "linear")):
        settings = {"settings": {"bins": 20, "terms": 6}} if model == "radial_profile" else {}
        learn(folder, name, "AB", target="photon_energy", model=model, **settings, epochs=5)
    return folder


def maps(data: Path, name: str, mixed: int = 0) -> list[tuple[float, float, float]]:
    """Return share, net and area of the validation and test frames that are hits.

    With `mixed`, of as many networks with their weights shuffled, a frame each.
    """
    task = Task.read(data / f"{name}.yaml")
    setup = open_task(task, data / f"splits/{name}.parquet", data / "small.geom", name)
    network = load_network(data / f"models/{name}", task, name).eval()
    frames = setup.frames
    rows = np.flatnonzero((frames.side != "train") & (frames.truth == 1)).tolist()
    networks = [(row, network) for row in rows]
    if mixed:
        networks = [
            (rows[seed % len(rows)], shuffled(network, seed).eval()) for seed in range(mixed)
        ]
    found = []
    for row, one in networks:
        image, live = setup.images.read(row)
        blank = blank_of(image, live, np.random.default_rng(row))
        whole = name == "pixels"
        parts, _ = hit_parts(one, setup.encoder, whole, image, live, [blank])
        table = pd.read_parquet(data / f"{frames.dataset[row]}.parquet")
        table = table[(table["index"] == frames.index[row]) & (table["photons"] >= 5)]
        found.append(tuple(on_spots(parts, table[["fs", "ss"]].to_numpy(), image.shape)))
    return found


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("name", HITS)
def test_what_raises_a_hit_lies_on_true_spots_and_not_after_shuffling(
    data: Path, name: str
) -> None:
    trained = np.array(maps(data, name))
    assert len(trained) >= 12
    share, net, area = trained.T
    gain, error = mean_and_error(share - area)
    print(
        f"{name}: share {share.mean():.3f}, area {area.mean():.3f}, n {len(share)}, ± {error:.3f}"
    )
    print(f"{name}: net {net.mean():.3f} ± {mean_and_error(net)[1]:.3f}")
    # Far above the share of the area, by many standard errors.
    assert share.mean() > 3 * area.mean() and gain > 5 * error
    assert net.mean() > 5 * mean_and_error(net)[1]
    # Weights in disorder may still look there, since spots outshine all else, and may take them for
    # a reason against a hit; as a reason for one they do not.
    other = np.array(maps(data, name, mixed=24))
    middle, spread = mean_and_error(other[:, 1])
    print(f"{name} shuffled: net {middle:.3f} ± {spread:.3f}, share {other[:, 0].mean():.3f}")
    assert middle < 3.5 * spread
    assert net.mean() - middle > 3 * np.hypot(spread, mean_and_error(net)[1])


def test_a_peak_rests_on_its_own_pixels(data: Path, tmp_path: Path) -> None:
    assert look(data, "peaks", tmp_path) == 0
    told = json.loads((tmp_path / "saliency.json").read_text())
    parts = read_table(tmp_path / "parts.parquet", PARTS).to_pandas()
    best = told["frames"][0]
    own = parts[parts["frame"] == 0]
    assert best["matched"] and len(own) == 121
    far = np.hypot(own["fs"] + 0.5 - best["fs"], own["ss"] + 0.5 - best["ss"])
    near = on_spots(
        [Part(*row) for row in own[["ss", "fs", "edge", "change"]].to_numpy().tolist()],
        np.array([[best["fs"], best["ss"]]]),
        SHAPE,
        reach=1.0,
    )
    assert near.share > 0.5 and near.share > 5 * near.area
    assert far[own["change"].abs().idxmax()] < 1.5
    assert best["answer"] > best["without"] == -10.0


def test_the_rings_of_an_energy_are_those_where_the_water_differs(
    energies: Path, tmp_path: Path
) -> None:
    assert look(energies, "energy", tmp_path) == 0
    told = json.loads((tmp_path / "saliency.json").read_text())
    rings = read_table(tmp_path / "parts.parquet", RINGS).to_pandas()
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(ss + 0.5 - 60, fs + 0.5 - 55)
    ring = np.minimum((radius * 20 / radius.max()).astype(int), 19)
    level = {
        energy: np.bincount(ring[mask()], water(energy, 0.1)[mask()], 20)
        / np.maximum(np.bincount(ring[mask()], minlength=20), 1)
        for energy in (6000.0, 8000.0)
    }
    assert len(told["frames"]) == 3
    for number, frame in enumerate(told["frames"]):
        # Completeness.
        assert frame["sum"] == pytest.approx(frame["answer"] - frame["without"], rel=0.02)
        own = rings[rings["frame"] == number]
        assert own["change"].sum() == pytest.approx(frame["sum"])
        said, other = (float(frame[key].split()[0]) for key in ("said", "next"))
        # Poisson's log-likelihood ratio of each ring, from the true expected water. The frame's
        # photons less those of the other energy are what the path goes along.
        ratio = np.log(level[said] / level[other])
        expected = own["pixels"] * (own["photons"] - own["reference"]) * ratio
        assert pearsonr(own["change"], expected).statistic > 0.8
    assert np.allclose(rings["two_theta"], np.degrees(np.arctan(rings["radius"] * 75e-6 / 0.1)))


def test_a_linear_model_is_explained_exactly(energies: Path, tmp_path: Path) -> None:
    assert look(energies, "linear", tmp_path) == 0
    told = json.loads((tmp_path / "saliency.json").read_text())
    for frame in told["frames"]:
        assert frame["sum"] == pytest.approx(frame["answer"] - frame["without"], abs=1e-4)


@pytest.mark.parametrize("name", ["counter", "pixels"])
def test_the_stage_writes_the_same_bytes_twice_and_the_report_reads_them(
    data: Path, tmp_path: Path, name: str
) -> None:
    assert look(data, name, tmp_path / "one") == look(data, name, tmp_path / "two") == 0
    for file in ("saliency.json", "parts.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    seen = read_saliency(tmp_path / "one")
    first = seen.found.frames[0]
    assert seen.name == name and first.spots is not None and first.spots.n >= 3
    assert first.truth == first.said == "hit"
    assert "weights shuffled" in seen.shuffled
    assert len({(frame.dataset, frame.index) for frame in seen.found.frames}) == 3
    half = read_table(tmp_path / "two/parts.parquet", PARTS).to_pandas()
    half[half["frame"] == 0].to_parquet(tmp_path / "two/parts.parquet", index=False)
    with pytest.raises(SpotmillError, match=r"is not of the frames of saliency\.json"):
        read_saliency(tmp_path / "two")


@pytest.mark.parametrize(
    ("own", "net", "correlation", "words"),
    [
        (0.99, 0.99, 0.95, "says nothing of what was learnt: with the weights shuffled it is near"),
        (0.99, -0.77, 0.92, "Where the map is strong says nothing of what was learnt"),
        (0.25, -0.10, 0.21, "true spots speak less for a hit"),
        (0.25, 0.39, 0.20, "no sign of learning"),
        (None, None, 0.95, "says nothing of what was learnt"),
        (None, None, 0.20, "is of what this model learnt"),
        (0.25, None, None, "No map of shuffled weights"),
    ],
)
def test_words_say_whether_a_map_tells_what_was_learnt(
    own: float | None, net: float | None, correlation: float | None, words: str
) -> None:
    frame = {
        "why": "a",
        "dataset": "A",
        "index": 1,
        "answer": 1.0,
        "without": 0.0,
        "spots": {"n": 3, "net": own},
        "shuffled": {"net": net, "correlation": correlation},
    }
    told = {"task": "hit", "target": "hit", "model": "m", "kind": "map", "method": "occlusion",
            "answer": "a", "reference": "b", "recipe": 3, "frames": [frame]}  # fmt: skip
    seen = Saliency(Found.parse(told, Path("saliency.json")), pd.DataFrame())
    assert words in seen.verdict


def test_frames_are_chosen_by_certainty_error_and_doubt() -> None:
    said = pd.DataFrame(
        {
            "dataset": "A",
            "index": range(6),
            "truth": ["hit", "hit", "no hit", "no hit", "hit", "hit"],
            "said": ["hit", "no hit", "hit", "no hit", "hit", "hit"],
            "score_0": [0.1, 0.9, 0.2, 0.99, 0.1, 0.55],
            "score_1": [0.9, 0.1, 0.8, 0.01, 0.9, 0.45],
        }
    )
    task = Task.parse(
        {"target": "hit", "model": "patch_counter", "epochs": 1, "learning_rate": 1.0}, "a task"
    )
    chosen = choose(task, said, 0.4)
    assert [row["index"] for _, row in chosen] == [0, 1, 5]
    right = said[said["said"] == said["truth"]].reset_index(drop=True)
    chosen = choose(task, right, 0.4)
    assert [row["index"] for _, row in chosen] == [0, 5, 3]
    assert [why.split()[1:3] for why, _ in chosen][1] == ["least", "certain"]


def test_bad_input_is_told_in_one_line(data: Path, tmp_path: Path, capsys: Any) -> None:
    assert look(data, "counter", tmp_path / "new", evaluation="evaluation/none") == 1
    assert "no such table; evaluate first" in capsys.readouterr().err
    assert look(data, "counter", tmp_path / "new", evaluation="evaluation/peaks") == 1
    assert "lacks the column 'truth'; evaluate again" in capsys.readouterr().err
    said = pd.read_parquet(data / "evaluation/counter/predictions.parquet")
    said["index"] += 1_000
    (tmp_path / "other").mkdir()
    said.to_parquet(tmp_path / "other/predictions.parquet", index=False)
    assert look(data, "counter", tmp_path / "new", evaluation=str(tmp_path / "other")) == 1
    assert "is no test frame of" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def seen(folder: Path, kind: str, columns: dict[str, list[Any]], **frame: Any) -> str:
    """Write what a saliency stage would have found of one frame."""
    schema = RINGS if kind == "rings" else PARTS
    said = {"why": f"of {kind}", "dataset": "01", "index": 1, "answer": 4.0, "without": -2.0}
    told = {"task": folder.name, "target": "hit", "model": "a model", "kind": kind}
    told |= {"method": "occlusion", "answer": "a logit", "reference": "a blank", "recipe": 1}
    write_text(folder / "saliency.json", signed_json({**told, "frames": [said | frame]}))
    write_table(folder / "parts.parquet", columns, schema)
    return str(folder)


def test_the_report_shows_every_kind(workplace: Path) -> None:
    place = [(ss, fs) for ss in range(0, 90, 16) for fs in range(0, 80, 16)]
    squares = {
        **{"frame": [0] * len(place), "edge": [16] * len(place)},
        **dict(zip(("ss", "fs"), map(list, zip(*place, strict=True)), strict=True)),
        "change": [1.0 if ss == fs else -0.1 for ss, fs in place],
    }
    pixels = [(ss, fs) for ss in range(30, 41) for fs in range(20, 31)]
    around = {
        **{"frame": [0] * 121, "edge": [1] * 121, "change": [0.0] * 121},
        **dict(zip(("ss", "fs"), map(list, zip(*pixels, strict=True)), strict=True)),
    }
    angle = np.linspace(1, 30, 40)
    rings = {"frame": [0] * 40, "radius": angle, "two_theta": angle, "pixels": np.ones(40)}
    rings |= {name: np.cos(angle) ** 2 for name in ("photons", "reference", "change")}
    spots = {"n": 2, "share": 0.75, "net": 0.5, "area": 0.0625}
    folders = [
        seen(workplace / "saliency/hit", "map", squares, spots=spots, truth="hit", said="no hit",
             shuffled={**spots, "net": -0.25, "correlation": 0.125}),
        seen(workplace / "saliency/energy", "rings", rings, truth="6000 eV", said="7000 eV",
             next="8000 eV"),
        seen(workplace / "saliency/low", "peaks", around, fs=25.5, ss=35.5, matched=False),
    ]  # fmt: skip
    assert main([*arguments(), "--saliency", *folders]) == 0
    text = (workplace / "report/index.html").read_text(encoding="utf-8")
    own = text.replace("\u00a0", " ")
    for name in ("hit", "energy", "low"):
        # Each in the part of its task, below the figures of its answers.
        part = own[own.index(f'<section id="task-{name}"') :]
        part = part[: part.index("</section>")]
        assert part.index('id="figure-') < part.index(f'id="saliency-{name}"')
        assert f'<img src="figures/{name}_saliency.png"' in own
        assert (workplace / f"report/figures/{name}_saliency.svg").is_file()
        table = pd.read_csv(workplace / f"report/figures/{name}_saliency.csv")
        assert len(table) == {"hit": 30, "energy": 40, "low": 121}[name]
    assert "75.0 % of all change on 2 true spots, 6.2 % of the area" in own
    assert "is 50.0 % of all change, and -25.0 % with the model’s" in own
    assert "other parts count, and true spots speak less for a hit" in own
    assert own.count("No map of shuffled weights stands beside it") == 2
    assert "no spot is there" in own and "against 8000 eV" in own
    # Without the stage there is no such part.
    assert main(arguments()) == 0
    assert 'id="saliency-' not in (workplace / "report/index.html").read_text(encoding="utf-8")
