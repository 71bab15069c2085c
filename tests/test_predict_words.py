"""What `spotmill predict` says of frames, cell and the way on, and what it leaves behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from crystfel_reader import read_frame, read_geom, read_list
from matplotlib.figure import Figure
from predict_data import other_detector, other_geometry

from spotmill.commands.predict_words import few_peaks, kinds
from spotmill.inference.events import Maker
from spotmill.inference.handover import FINDER, Setting
from spotmill.inference.pictures import limits, show
from spotmill.inference.stated import Given
from spotmill.inference.verdict import FoundPeaks, Unlike, verdict

Predict = Callable[..., int]
CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 79.1 A
b = 79.1 A
c = 37.9 A
al = 90.0 deg
be = 90.0 deg
ga = 90.0 deg
"""


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


def test_without_a_model_of_peaks_nobody_says_how_many(
    small_models: Path, predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    other_detector(tmp_path / "run.h5", 0.05, 12, seed=1, frames=3)
    other_detector(tmp_path / "adu.h5", 0.05, 12, seed=1, frames=3, gain=7)
    shutil.copytree(small_models / "models", tmp_path / "models")
    shutil.rmtree(tmp_path / "models/peaks")
    models = tmp_path / "models"
    geometry = other_geometry(tmp_path / "run.geom")
    text = geometry.read_text().replace("adu_per_photon = 1", "adu_per_photon = 7")
    assert "adu_per_photon = 7" in text
    geometry.write_text(text)
    assert predict(tmp_path / "adu.h5", "--geometry", geometry, models=models, output="adu") == 0
    assert predict(tmp_path / "run.h5", "--geometry", other_geometry(geometry), models=models) == 0
    out = tmp_path / "out"
    found = table(out)
    assert found["is_hit"].any() and found["n_peaks"].isna().all()
    lines = (out / "predictions.csv").read_text().splitlines()
    column = lines[0].split(",").index("n_peaks")
    assert all(line.split(",")[column] == "" for line in lines[1:])
    said = [one.strip() for one in capsys.readouterr().out.splitlines()]
    first, command = (one for one in said if one.startswith("indexamajig"))
    assert any("no peaks here: train config/tasks/peaks.yaml" in one for one in said)
    words = command.split()
    assert "--peaks=cxi" not in words and {FINDER, "--threshold=2"} <= set(words)
    # Thresholds of CrystFEL are in counts.
    assert "--threshold=14" in first.split()
    # What it names has the images to look for peaks in.
    read = read_geom(Path(words[words.index("-g") + 1]))
    listed = read_list(Path(words[words.index("-i") + 1]))
    assert len(listed) == found["is_hit"].sum()
    with h5py.File(tmp_path / "run.h5") as file:
        image = file["entry/data/data"][int(found.index[found["is_hit"]][0])]
    frame = read_frame(read, *listed[0])
    first_rows = frame.images["m0"]
    np.testing.assert_array_equal(first_rows, image[: len(first_rows)].astype(np.float32))
    assert not any("peaks in the middle" in one for one in said)


def test_finders_thresholds_are_in_counts(tmp_path: Path) -> None:
    other_detector(tmp_path / "run.h5", 0.05, 0, seed=1)
    given = Given(pixel_size=172e-6, beam_centre=(100, 113), adu_per_photon=3.0)
    maker = Maker(given)
    with maker.open(tmp_path / "run.h5") as file:
        setting = Setting.of(maker.event(file.read(0)))
    assert setting.finder(6000.0)[:2] == (FINDER, "--threshold=6")


def test_few_peaks_ask_for_the_cell() -> None:
    ready, not_ready = {"geometry": "predicted.geom"}, {"geometry": ""}
    (line,) = few_peaks(10.0, ready, None)
    assert line.startswith("hits have 10 peaks in the middle: --cell FILE")
    assert few_peaks(10.0, ready, Path("a.cell")) == [] == few_peaks(10.0, not_ready, None)
    # At 29 peaks a frame indexes as it is, without hits there is nothing to index.
    assert few_peaks(30.0, ready, None) == [] == few_peaks(None, ready, None)


def test_a_cell_without_a_lattice_is_told(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "run.h5", 0.05, 12, seed=1, frames=2)
    (tmp_path / "lyso.cell").write_text(CELL)
    words = ["--geometry", other_geometry(tmp_path / "run.geom")]
    assert predict(tmp_path / "run.h5", *words, output="plain") == 0
    said = capsys.readouterr().out
    assert "hits have 1" in said and "--cell FILE finds fainter ones" in said
    words += ["--cell", tmp_path / "lyso.cell"]
    assert predict(tmp_path / "run.h5", *words) == 0
    said = capsys.readouterr().out
    assert "lattice of lyso.cell found in 0 of 2 hits; is it their cell?" in said
    assert "peaks in the middle" not in said
    found = table(tmp_path / "out")
    assert found["remark"].str.contains("lattice: no peaks lie on one of the given cell").all()
    # Nobody says where the beam is.
    assert predict(tmp_path / "run.h5", "--cell", tmp_path / "lyso.cell", output="bare") == 0
    assert "found in 0 of 2 hits; not looked for in 2, of which" in capsys.readouterr().out


def test_an_earlier_run_is_replaced_whole(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "hits.h5", 0.05, 12, seed=1, frames=2)
    other_detector(tmp_path / "blank.h5", 0.05, 0, seed=2, frames=1)
    out = tmp_path / "out"
    flags = ["--pixel-size", 172e-6, "--beam-centre", 100, 113]
    assert predict(tmp_path / "hits.h5", *flags, "--write-frames", "--pictures", 2) == 0
    assert "replaced" not in capsys.readouterr().out
    made = {"hits.cxi", "predicted.geom", "pictures"}
    assert made <= {one.name for one in out.iterdir()}
    (out / "notes.txt").write_text("of the user")
    (out / "pictures/mine.png").write_text("of the user")
    assert predict(tmp_path / "blank.h5", *flags) == 0
    said = capsys.readouterr().out
    assert f"replaced: what an earlier run had written into {out}" in said
    left = {one.relative_to(out).as_posix() for one in out.rglob("*")}
    assert left == {
        *("predictions.parquet", "predictions.csv", "predict.json", "hits.lst", "peaks.cxi"),
        *("hits_in_files.lst", "notes.txt", "pictures", "pictures/mine.png"),
    }
    assert (out / "hits.lst").read_text() == "" and len(table(out)) == 1
    # Someone else's hits.cxi is not ours to remove, nor is what this run reads.
    shutil.copy(tmp_path / "hits.h5", out / "hits.cxi")
    assert predict(tmp_path / "blank.h5", *flags) == 0
    assert (out / "hits.cxi").exists()
    assert predict(tmp_path / "hits.h5", *flags, "--write-frames") == 0
    assert predict(out / "hits.cxi", *flags) == 0
    assert (out / "hits.cxi").exists() and len(table(out)) == 2
    # Where nothing can be read, all stays.
    before = {one: one.stat().st_mtime_ns for one in out.rglob("*")}
    assert predict(out / "notes.txt", *flags) == 1
    assert {one: one.stat().st_mtime_ns for one in out.rglob("*")} == before
    (tmp_path / "out/watch.sqlite").write_bytes(b"")
    capsys.readouterr()
    assert predict(tmp_path / "blank.h5", *flags) == 1
    assert "is a folder that spotmill watch writes; name another" in capsys.readouterr().err


def test_what_is_strange_or_passed_over_is_told(
    predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    (run / "raw").mkdir(parents=True)
    other_detector(run / "strange.h5", 2.0, 12, seed=1, frames=2)
    other_detector(run / "usual.h5", 0.05, 0, seed=2)
    for name in ("a.f32", "b.f32", "README.md", ".hidden"):
        (run / name).write_bytes(b"0")
    assert predict(run, output="run/predicted") == 0
    said = capsys.readouterr().out.splitlines()
    assert "passed over: 2 .f32, README.md, raw/" in said
    (line,) = (one for one in said if "unlike the training frames" in one)
    assert line == (
        "2 of 3 frames are unlike the training frames (columns out_of_distribution and remark); "
        "other detectors: config/any_detector.yaml"
    )
    summary = json.loads((run / "predicted/predict.json").read_text())
    assert summary["unlike_training"] == (table(run / "predicted")["out_of_distribution"] > 2).sum()
    assert len(summary["passed_over"]) == 4
    # Files that are named, and frames like the training's, need no words.
    assert predict(run / "usual.h5") == 0
    said = capsys.readouterr().out
    assert "passed over" not in said and "unlike" not in said


def test_kinds_of_files_in_few_words() -> None:
    assert kinds(["x/b.f32", "x/README.md", "x/a.F32", "x/raw/"]) == "2 .f32, README.md, raw/"
    assert kinds(["a/", "b/", "one", "two"]) == "2 folders, 2 without an ending"
    many = [f"{letter}.{letter}" for letter in "abcdefghij"]
    assert kinds(many).endswith("h.h and 2 kinds more")


def test_a_bright_frame_is_drawn_by_its_background(tmp_path: Path) -> None:
    """As of an image plate: steps of single photons would end far below all of its pixels."""
    rng = np.random.default_rng(1)
    images = rng.poisson(400.0, (1, 200, 220)).astype(np.int32)
    images[0, 50:53, 60:63] += 3000
    maker = Maker(Given(adu_per_photon=1.0))

    def drawn(name: str, frames: np.ndarray) -> Any:
        with h5py.File(tmp_path / name, "w") as file:
            file["entry/data/data"] = frames
        with maker.open(tmp_path / name) as file:
            event = maker.event(file.read(0))
        figure = Figure()
        axes = figure.subplots()
        show(figure, axes, event, name)
        return axes.images[0]

    picture = drawn("bright.h5", images)
    shades = picture.to_rgba(picture.get_array())[..., :3].sum(axis=2)
    # A spot is among the darkest, the background neither black nor of one shade.
    assert shades[51, 61] < 0.2 and np.median(shades) > 1.2 and np.ptp(shades[:40]) > 0.3
    steps = drawn("dim.h5", rng.poisson(0.05, (1, 200, 220)).astype(np.int32))
    assert steps.norm.vmax == 7.5
    low, high = limits(images)
    assert 340 < low < 400 and 500 < high < 700
    assert limits(np.full(9, 50)) == (50.0, 51.0)


@pytest.mark.parametrize("heap", [0, 9])
def test_a_heap_leaves_the_probability_of_the_rule_before(heap: int) -> None:
    """As docs/predict.md says of `probability`."""
    found = FoundPeaks(
        every=np.full(9, 0.9), refused=0, sound=9, kept=9, sure=np.full(9, 0.9), heap=heap
    )
    said = verdict(0.97, 0.5, Unlike(), found)
    assert said.probability == 0.97
    assert (said.is_hit, said.by) == ((False, "heap") if heap else (True, "hit"))
