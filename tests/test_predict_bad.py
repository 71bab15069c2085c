"""Prediction on what cannot be read: each is named in one line, and the others are read."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from predict_data import other_detector, other_geometry

from spotmill.errors import SpotmillError
from spotmill.formats.digests import signed_json
from spotmill.inference.peak_file import read_peaks
from spotmill.learning.frame_summary import TrainingFrames

Predict = Callable[..., int]


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


# What is bad, its name, and what the line says.
def text_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("not an image\n")
    return folder / "notes.txt"


def cut_cbf(folder: Path) -> Path:
    (folder / "cut.cbf.gz").write_bytes(gzip.compress(b"###CBF: VERSION 1.5\n" * 9))
    return folder / "cut.cbf.gz"


def lonely_master(folder: Path) -> Path:
    with h5py.File(folder / "x_master.h5", "w") as file:
        group = file.create_group("entry/data")
        group["data_000001"] = h5py.ExternalLink("x_data_000001.h5", "/entry/data/data")
    return folder / "x_master.h5"


def no_frames(folder: Path) -> Path:
    with h5py.File(folder / "none.h5", "w") as file:
        file["entry/data/data"] = np.zeros((0, 30, 30), np.uint16)
    return folder / "none.h5"


def beyond(folder: Path) -> Path:
    (folder / "far.lst").write_text("good.h5 //99\n")
    return folder / "far.lst"


def bad_line(folder: Path) -> Path:
    (folder / "bad.lst").write_text("gone.h5 //0\ngood.h5 //0\n")
    return folder / "bad.lst"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.h5")
    return folder / "pipe.h5"


def ring(folder: Path) -> Path:
    (folder / "one.h5").symlink_to("two.h5")
    (folder / "two.h5").symlink_to("one.h5")
    return folder / "one.h5"


def waves(folder: Path) -> Path:
    with h5py.File(folder / "waves.h5", "w") as file:
        file["entry/data/data"] = np.zeros((1, 30, 30), np.complex64)
    return folder / "waves.h5"


def dark(folder: Path) -> Path:
    with h5py.File(folder / "dark.h5", "w") as file:
        file["entry/data/data"] = np.full((1, 30, 30), np.nan)
    return folder / "dark.h5"


def folders_alone(folder: Path) -> Path:
    (folder / "runs/r1").mkdir(parents=True)
    return folder / "runs"


BAD = {
    text_file: "is of no known image format",
    pipe: "is a pipe or device",
    ring: "Too many levels of symbolic links",
    waves: "/entry/data/data holds complex numbers",
    dark: "event 0 has no live pixel",
    folders_alone: "holds no images; give a folder of frames (folders within",
    cut_cbf: "is a CBF file without its image",
    lonely_master: "is a master without its data file x_data_000001.h5",
    no_frames: "holds 0 frames",
    beyond: "has no event 99",
    bad_line: "line 1: gone.h5 is no file",
    lambda folder: folder / "absent.h5": "no such file",
}


def test_bad_files_are_named_and_the_others_read(
    predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    names = [make(tmp_path) for make in BAD]
    assert predict(*names, tmp_path / "good.h5") == 3
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("spotmill predict")
    ]
    assert len(lines) == len(BAD)
    for line, said in zip(lines, BAD.values(), strict=True):
        assert said in line
    # The good frame itself, and the one that the second line of the list names.
    assert len(table(tmp_path / "out")) == 2
    summary = json.loads((tmp_path / "out/predict.json").read_text())
    assert summary["failed"] == len(BAD)


def test_json_is_all_that_is_printed(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    assert predict(text_file(tmp_path), tmp_path / "good.h5", "--json") == 3
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary == json.loads((tmp_path / "out/predict.json").read_text())
    assert (summary["frames"], summary["failed"]) == (1, 1)
    assert summary["failures"][0]["file"] == str(tmp_path / "notes.txt")
    assert "is of no known image format" in said.err
    assert predict(text_file(tmp_path), "--json") == 1
    assert capsys.readouterr().out == ""


def test_nothing_is_written_of_nothing(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    assert predict(text_file(tmp_path)) == 1
    assert "is of no known image format" in capsys.readouterr().err
    assert predict(text_file(tmp_path), no_frames(tmp_path)) == 1
    assert "no frame could be read, for the reasons above" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_shape(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    true = other_detector(tmp_path / "good.h5", 0.05, 12, seed=1)
    np.save(tmp_path / "small.npy", np.zeros((10, 10), np.uint8))
    assert predict(tmp_path / "good.h5", "--mask", tmp_path / "small.npy") == 1
    assert "is a mask of (10, 10) pixels" in capsys.readouterr().err
    bad = np.zeros((226, 200), np.uint8)
    bad[:, :100] = 1
    np.save(tmp_path / "left.npy", bad)
    assert predict(tmp_path / "good.h5", "--mask", tmp_path / "left.npy") == 0
    peaks = read_peaks(tmp_path / "out/peaks.cxi", 0)
    assert len(peaks) >= (true[:, 0] > 102).sum() > 2 and (peaks[:, 0] > 99).all()
    given = ["--mask", tmp_path / "left.npy", "--mask-good"]
    assert predict(tmp_path / "good.h5", *given, output="b") == 0
    assert (read_peaks(tmp_path / "b/peaks.cxi", 0)[:, 0] < 101).all()


def test_a_mask_is_one_frame(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    with h5py.File(tmp_path / "masks.h5", "w") as file:
        file["mask"] = np.zeros((2, 226, 200), np.uint8)
    assert predict(tmp_path / "good.h5", "--mask", tmp_path / "masks.h5") == 1
    assert "masks.h5: holds 2 frames, and a mask is one" in capsys.readouterr().err


def test_the_output_must_be_a_folder(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    (tmp_path / "taken").write_text("notes")
    for output in ("taken", "taken/below"):
        assert predict(tmp_path / "good.h5", output=output) == 1
        assert f"--output: {tmp_path / 'taken'} is a file" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "notes"


def test_what_was_predicted_is_not_read_again(predict: Predict, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    other_detector(run / "good.h5", 0.05, 6, seed=1, frames=2)
    assert predict(run, "--write-frames", output="run/predicted") == 0
    for name in ("peaks.cxi", "hits.cxi"):
        if (run / "predicted" / name).exists():
            shutil.copy(run / "predicted" / name, run / name)
    assert (run / "peaks.cxi").exists()
    assert predict(run, output="again") == 0
    assert table(tmp_path / "again")["file"].tolist() == [str(run / "good.h5")] * 2
    # Of that name, but of someone else.
    shutil.copy(run / "good.h5", run / "peaks.cxi")
    assert predict(run, output="third") == 0
    assert len(table(tmp_path / "third")) == 4


def test_events_with_names(predict: Predict, tmp_path: Path) -> None:
    """As SACLA has them: a group for every event."""
    other_detector(tmp_path / "flat.h5", 0.05, 12, seed=1, frames=3)
    with h5py.File(tmp_path / "flat.h5") as flat, h5py.File(tmp_path / "tags.h5", "w") as file:
        for number, image in enumerate(flat["entry/data/data"]):
            file[f"tag-{700 + number}/data"] = image
    text = other_geometry(tmp_path / "flat.geom").read_text()
    text = text.replace("data = /entry/data/data\ndim0 = %\ndim1 = ss\ndim2 = fs", "data = /%/data")
    (tmp_path / "tags.geom").write_text(text)
    assert predict(tmp_path / "flat.h5", "--geometry", tmp_path / "flat.geom", output="a") == 0
    given = ["--geometry", tmp_path / "tags.geom"]
    assert predict(tmp_path / "tags.h5", *given, output="b") == 0
    one, two = (table(tmp_path / name) for name in "ab")
    assert one["event_id"].tolist() == ["//0", "//1", "//2"]
    assert two["event_id"].tolist() == ["tag-700//", "tag-701//", "tag-702//"]
    assert two["probability"].tolist() == one["probability"].tolist() and two["is_hit"].all()
    listed = (tmp_path / "b/hits_in_files.lst").read_text().splitlines()
    assert listed == [f"{tmp_path / 'tags.h5'} tag-{700 + number}//" for number in range(3)]
    # What was written is what is read.
    assert predict(tmp_path / "b/hits_in_files.lst", *given, output="c") == 0
    three = table(tmp_path / "c")
    assert three["event_id"].tolist() == two["event_id"].tolist()
    assert three["n_peaks"].tolist() == two["n_peaks"].tolist()


def test_files_without_permission(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    for name in ("good.h5", "locked.h5"):
        other_detector(tmp_path / name, 0.05, 0, seed=1)
    (tmp_path / "locked.h5").chmod(0)
    assert predict(tmp_path / "locked.h5", tmp_path / "good.h5") == 3
    assert "locked.h5: cannot be read; check its permissions" in capsys.readouterr().err


def test_model_folders_that_are_not_whole(
    small_models: Path, predict: Predict, tmp_path: Path, capsys: Any
) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 12, seed=1)
    models = tmp_path / "models"
    shutil.copytree(small_models / "models", models)
    shutil.rmtree(models / "peaks")
    assert predict(tmp_path / "good.h5", models=models) == 0
    assert table(tmp_path / "out")["n_peaks"].isna().all()
    assert f"peaks: no model in {models}" in capsys.readouterr().out
    weights = models / "hit/model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-3] ^= 1
    weights.write_bytes(raw)
    assert predict(tmp_path / "good.h5", models=models) == 1
    assert "is not the file that training wrote" in capsys.readouterr().err
    weights.unlink()
    assert predict(tmp_path / "good.h5", models=models) == 1
    assert "no such file" in capsys.readouterr().err
    (models / "hit/model.json").unlink()
    weights.write_bytes(raw)
    assert predict(tmp_path / "good.h5", models=models) == 1
    assert "hit: has weights but no model.json; train the model again" in capsys.readouterr().err
    shutil.rmtree(models / "hit")
    shutil.rmtree(models / "whole")
    assert predict(tmp_path / "good.h5", models=models) == 1
    assert "holds no model of hits" in capsys.readouterr().err
    assert predict(tmp_path / "good.h5", models=tmp_path / "nowhere") == 1
    assert "is no folder of models" in capsys.readouterr().err
    card = small_models / "models/hit/model.json"
    old = tmp_path / "old/hit"
    shutil.copytree(card.parent, old)
    facts = json.loads(card.read_text())
    del facts["training_frames"], facts["sha256"]
    (old / "model.json").write_text(signed_json(facts))
    assert predict(tmp_path / "good.h5", models=tmp_path / "old") == 1
    assert "does not say what its training frames were like" in capsys.readouterr().err


def test_all_flags_are_checked(predict: Predict, tmp_path: Path, capsys: Any) -> None:
    other_detector(tmp_path / "good.h5", 0.05, 0, seed=1)
    for words, said in {
        ("--clen", "150"): "give it in metres",
        ("--adu-per-photon", "0"): "--adu-per-photon: 0.0 is not above 0",
        ("--mask-good",): "goes with --mask",
        ("--beam-centre", "nan", "3"): "--beam-centre: (nan, 3.0) is no place",
        ("--beam-centre", "1e9", "3"): "is no place on or near a detector",
        ("--wavelength", "0"): "is not a positive number of Å",
        ("--data", "/nowhere"): "good.h5: has no array at /nowhere",
        ("--tasks", "nowhere"): "holds no model 'nowhere'; known here: camera_length",
        ("--geometry", str(tmp_path / "good.h5")): "good.h5",
    }.items():
        assert predict(tmp_path / "good.h5", *words) == 1
        assert said in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert predict(tmp_path / "good.h5", "--device", "cuda") == 1
        assert "torch sees no GPU here" in capsys.readouterr().err
    geometry = other_geometry(tmp_path / "small.geom")
    geometry.write_text(geometry.read_text().replace("199", "189"))
    assert predict(tmp_path / "good.h5", "--geometry", geometry) == 1
    assert "describes frames of (226, 190) pixels" in capsys.readouterr().err


def test_a_summary_of_training_frames_is_checked() -> None:
    with pytest.raises(SpotmillError, match=r"card: .*pixel_size"):
        TrainingFrames.parse(
            {"n": 1, "shape": [3, 3], "largest_radius": 2.0, "features": {}}, "card"
        )
