"""Wrong names are told at once, and nothing is written; who said what is told truly."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from predict_data import other_detector, other_geometry

from spotmill.cli import main
from spotmill.formats.geom import read_geometry
from spotmill.inference.events import Event, Maker
from spotmill.inference.stated import Given

Predict = Callable[..., int]

# Commands run one after the other in a fresh process; what they loaded, and their seconds of
# processor time, come last.
RUNS = """
import json, sys, time
from spotmill.cli import main
codes, spent = [], []
for words in json.loads(sys.argv[1]):
    begun = time.process_time()
    codes.append(main(words))
    spent.append(time.process_time() - begun)
print(json.dumps([codes, spent, sorted({"torch"} & {*sys.modules})]))
"""


def runs(folder: Path, *commands: list[object]) -> tuple[list[int], list[float], list[str], str]:
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUNS, words], cwd=folder, capture_output=True, text=True, check=True
    )
    return *json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_wrong_names_are_told_before_anything_slow_is_loaded(
    small_models: Path, tmp_path: Path
) -> None:
    models = small_models / "models"
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    (tmp_path / "notes.txt").write_text("no image\n")
    (tmp_path / "bare.lst").write_text("\n# nothing\n")
    (tmp_path / "lines.lst").write_text("nothere.h5 //0\n")
    for name in ("empty", "frames"):
        (tmp_path / name).mkdir()
    (tmp_path / "frames/a.h5").symlink_to(tmp_path / "good.h5")
    predict = ["predict", "good.h5", "--models", models, "--output", "out"]
    watch = ["watch", "frames", "--models", models, "--output", "out", "--once"]
    mask = ["mask", "good.h5", "--output", "out/m.h5"]

    def of(command: list[object], number: int, value: object) -> list[object]:
        return [*command[:number], value, *command[number + 1 :]]

    cases: list[tuple[list[object], str]] = [
        (of(predict, 1, "gone.h5"), "gone.h5: no such file"),
        (of([*predict, "--tasks", "gone"], 1, "gone.h5"), "gone.h5: no such file"),
        (["predict", "a.h5", "b.h5", *predict[2:]], "nor is any of the 1 others there"),
        (of(predict, 1, "notes.txt"), "notes.txt: is of no known image format"),
        (of(predict, 1, "empty"), "empty: holds no images"),
        (of(predict, 1, "bare.lst"), "bare.lst: names 0 frames"),
        (of(predict, 1, "lines.lst"), "line 1: nothere.h5 is no file"),
        ([*predict, "--data", "/gone"], "good.h5: has no array at /gone"),
        (of(predict, 3, "gone"), "gone: is no folder of models"),
        (of(predict, 3, "empty"), "empty: holds no model of hits"),
        ([*predict, "--tasks", "gone"], "models: holds no model 'gone'; known here: "),
        (of(predict, 5, "notes.txt/out"), "notes.txt is a file"),
    ]
    cases += [(of(watch, 1, "gone"), "gone: no such folder")]
    cases += [(of(watch, 3, "gone"), "gone: is no folder of models")]
    cases += [(of(watch, 5, "notes.txt"), "notes.txt is a file")]
    cases += [(of(mask, 1, "gone.h5"), "gone.h5: no such file")]
    cases += [(of(mask, 3, "empty"), "--output: empty is a folder")]
    cases += [(of(mask, 3, "notes.txt/m.h5"), "notes.txt is a file")]
    cases += [([*mask, "--picture", "empty"], "--picture: empty is a folder")]
    for command in (predict, watch, mask):
        cases += [([*command, "--geometry", "gone.geom"], "gone.geom: no such file")]
        cases += [([*command, "--geometry", "notes.txt"], "notes.txt")]
        cases += [([*command, "--mask", "gone.h5"], "gone.h5: no such file")]
        cases += [([*command, "--mask", "notes.txt"], "notes.txt: is of no known image format")]
    for command in (predict, watch):
        cases += [([*command, "--cell", "gone.cell"], "gone.cell: no such file")]
    before = sorted(tmp_path.rglob("*"))
    codes, spent, loaded, said = runs(tmp_path, *(command for command, _ in cases))
    assert codes == [1] * len(cases) and loaded == []
    lines = said.splitlines()
    assert len(lines) == len(cases)
    for line, (command, words) in zip(lines, cases, strict=True):
        assert line.startswith(f"spotmill {command[0]}: error: ") and words in line
    # The first that reads an image loads what reads it; others take thousandths.
    assert max(spent) < 3 and np.median(spent) < 0.5
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_told_at_once(
    small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    (tmp_path / "locked").mkdir(mode=0o500)
    words = ["--models", str(small_models / "models"), "--output", str(tmp_path / "locked/out")]
    assert main(["predict", str(tmp_path / "good.h5"), *words]) == 1
    assert "locked cannot be written; check its permissions" in capsys.readouterr().err


def test_models_that_are_damaged_leave_nothing_behind(
    small_models: Path, predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    folder = tmp_path / "models/hit"
    folder.mkdir(parents=True)
    card = (small_models / "models/hit/model.json").read_text()
    (folder / "model.json").write_text(card)
    (folder / "model.safetensors").write_bytes(b"none")
    for threads in (1, 2):
        words = ["--threads", threads]
        assert predict(tmp_path / "good.h5", *words, models=tmp_path / "models") == 1
        assert "does not hold this model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def one_panel(path: Path, text: str = "adu_per_photon = 1\n") -> Path:
    """Write the geometry of the other detector as one panel; the beam meets it at (90, 110)."""
    path.write_text(
        f"{text}clen = 0.1\nphoton_energy = 6000 eV\nres = 5813.95\ndata = /entry/data/data\n"
        "dim0 = %\ndim1 = ss\ndim2 = fs\np/min_fs = 0\np/max_fs = 199\np/min_ss = 0\n"
        "p/max_ss = 225\np/corner_x = -90\np/corner_y = -110\np/fs = x\np/ss = y\n"
    )
    return path


def event_of(path: Path, **given: Any) -> Event:
    maker = Maker(Given(**given))
    with maker.open(path) as file:
        return maker.event(file.read(0))


def full_header(path: Path) -> Path:
    """Write a frame whose file says everything."""
    other_detector(path, 0.05, 0, seed=1)
    with h5py.File(path, "r+") as file:
        detector = file["entry/instrument/detector"]
        detector["x_pixel_size"] = detector["y_pixel_size"] = 172e-6
        for name, value in {"beam_center_x": 100.0, "beam_center_y": 113.0}.items():
            detector[name] = value
        detector["saturation_value"] = 50_000
    return path


def test_the_file_says_what_nobody_else_does(tmp_path: Path) -> None:
    event = event_of(full_header(tmp_path / "a.h5"))
    names = ("photon_energy", "clen", "pixel_size", "beam_centre", "saturation", "mask")
    assert event.stated.sources == dict.fromkeys(names, "file")
    assert event.stated.beam_centre == (100.0, 113.0) and event.stated.remarks == ()


def test_the_panels_of_a_geometry_place_the_beam(tmp_path: Path) -> None:
    path = full_header(tmp_path / "a.h5")
    one = read_geometry(one_panel(tmp_path / "one.geom"))
    for given in ({}, {"beam_centre": (120.0, 130.0)}):
        stated = event_of(path, geometry=one, **given).stated
        assert stated.sources["beam_centre"] == stated.sources["pixel_size"] == "geometry"
        assert stated.beam_centre == pytest.approx((90, 110))
        said = " ".join(stated.remarks)
        assert "beam_centre is 90, 110 pixels by geometry, 100, 113 by file" in said
        assert ("120, 130 pixels by hand, which is not used" in said) == bool(given)
    # Of several panels none says what a place in the file is.
    several = read_geometry(other_geometry(tmp_path / "several.geom"))
    stated = event_of(path, geometry=several, pixel_size=75e-6).stated
    assert stated.sources["beam_centre"] == "geometry" and stated.beam_centre is None
    assert stated.sources["pixel_size"] == "geometry"
    assert stated.pixel_size == pytest.approx(172e-6, rel=1e-4)
    (remark,) = (one for one in stated.remarks if "by hand" in one)
    assert remark.startswith("pixel_size is 7.5e-05 m by hand, which is not used")


def test_every_value_is_by_whom_it_was_taken(tmp_path: Path) -> None:
    path = full_header(tmp_path / "a.h5")
    path_of = one_panel(tmp_path / "a.geom", "max_adu = 9000\nadu_per_photon = 2\n")
    bad = "bad0/min_fs = 3\nbad0/max_fs = 3\nbad0/min_ss = 5\nbad0/max_ss = 5\nbad0/panel = p\n"
    path_of.write_text(path_of.read_text() + bad)
    geometry = read_geometry(path_of)
    event = event_of(path, geometry=geometry)
    names = ("photon_energy", "clen", "pixel_size", "beam_centre", "saturation", "adu_per_photon")
    assert {name: event.stated.sources[name] for name in names} == dict.fromkeys(names, "geometry")
    assert event.stated.sources["mask"] == "geometry and file"
    assert (event.stated.saturation, event.stated.adu_per_photon) == (9000, 2)
    assert not event.mask[5, 3] and event.mask[5, 4]
    given = {"photon_energy": 7000.0, "clen": 0.2, "saturation": 80.0, "adu_per_photon": 3.0}
    live = np.ones((226, 200), dtype=bool)
    live[0] = False
    event = event_of(path, geometry=geometry, mask=live, **given)
    for name, value in given.items():
        assert event.stated.sources[name] == "hand"
        assert getattr(event.stated, name) == value
    assert event.stated.sources["mask"] == "hand, geometry and file"
    # Where the geometry names a place that this file has not, the file's own is taken.
    text = (tmp_path / "a.geom").read_text().replace("clen = 0.1", "clen = /nowhere")
    (tmp_path / "b.geom").write_text(text.replace("photon_energy = 6000 eV\n", ""))
    event = event_of(path, geometry=read_geometry(tmp_path / "b.geom"))
    assert event.stated.sources["clen"] == event.stated.sources["photon_energy"] == "file"


def test_who_said_what_is_printed(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    full_header(tmp_path / "a.h5")
    words = ["--geometry", one_panel(tmp_path / "a.geom"), "--wavelength", "2"]
    assert predict(tmp_path / "a.h5", *words, "--saturation", "77") == 0
    said = capsys.readouterr().out
    for name, who in {
        "photon_energy": "hand", "clen": "geometry", "pixel_size": "geometry",
        "beam_centre": "geometry", "saturation": "hand", "mask": "file",
    }.items():  # fmt: skip
        assert f"  {name} by {who} (1)\n" in said
    row = pd.read_parquet(tmp_path / "out/predictions.parquet").iloc[0]
    assert row["stated_photon_energy"] == pytest.approx(6199.21, abs=0.01)
