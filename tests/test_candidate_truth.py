"""Candidates learn from their own truth what the classes of frames do not tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learning_data import DATASETS, make, write_task
from numpy.typing import NDArray

from spotmill.cli import main
from spotmill.learning.candidate_truth import judged
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.models import patch_counter
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.training import fit
from spotmill.physics.peak_scoring import Spots
from spotmill.tasks import Task

SHAPE, EACH, FRAMES = (96, 96), 4, 30
SETTINGS = {"candidates": 16, "block": 48, "sharing": True}


class Drawn:
    """Frames with four spots of 2 x 2 pixels and four hot pixels, as bright as these."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self._images = []
        self.spots = []
        for _ in range(FRAMES):
            image = rng.poisson(0.02, SHAPE).astype(np.int32)
            # Apart from one another: one in each of eight tiles.
            tiles = rng.permutation(16)[: 2 * EACH]
            place = np.stack(np.divmod(tiles, 4), axis=1) * 24 + rng.integers(4, 18, (8, 2))
            photons = rng.integers(20, 400, 2 * EACH)
            for (ss, fs), total in zip(place[:EACH], photons, strict=False):
                image[ss : ss + 2, fs : fs + 2] += rng.poisson(total / 4, (2, 2)).astype(np.int32)
            image[tuple(place[EACH:].T)] += photons[EACH:].astype(np.int32)
            self._images.append(image)
            self.spots.append(Spots(place[:EACH, ::-1] + 1.0, photons[:EACH].astype(float)))

    def __len__(self) -> int:
        return FRAMES

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        return self._images[number], np.ones(SHAPE, dtype=bool)


def test_what_a_candidate_is_depends_on_the_spots_close_by() -> None:
    spots = Spots(np.array([[10.0, 20.0], [50.0, 60.0]]), np.array([30.0, 2.0]))
    # Right on a spot, its neighbour, on one too weak to count, and far from all.
    place = np.array([[10.5, 20.5], [12.5, 20.5], [50.5, 60.5], [80.5, 20.5]])
    assert judged(place, spots, 5).tolist() == [1, -1, -1, 0]
    assert judged(place, spots, 1).tolist() == [1, -1, 1, 0]
    assert judged(place, None, 5).tolist() == [0, 0, 0, 0]
    assert judged(place[:0], spots, 5).tolist() == []


def test_taught_candidates_are_told_apart_where_classes_say_nothing(tmp_path: Path) -> None:
    images, truth = Drawn(), np.arange(FRAMES) % 2
    sides = np.arange(20), np.arange(20, 25)
    told = {}
    for taught in (False, True):
        settings = SETTINGS | {"candidate_truth": taught}
        task = Task.read(
            write_task(tmp_path / "hit.yaml", settings=settings, epochs=40, batch_size=4)
        )
        encoder = patch_counter.CandidateEncoder(patch_counter.Settings.parse(settings, "test"))
        encoded = EncodedFrames(images, encoder, truth)
        candidates = np.full((FRAMES, 16), -1, dtype=np.int8)
        for row, spots in enumerate(images.spots):
            place = encoded.compact(row)[1]
            candidates[row, : len(place)] = judged(place, spots, 5)
        assert (candidates == 1).sum() == EACH * FRAMES
        trained = fit(
            task,
            encoded,
            sides,
            truth,
            np.zeros(FRAMES, np.int64),
            Dimensions(encoder.shape, 1, 1),
            "hit.yaml",
            candidates=candidates if taught else None,
        )
        network: Any = trained.network
        with torch.no_grad():
            said = network.verdicts(encoded.inputs(np.arange(25, FRAMES))).numpy() > 0
        right = said == (candidates[25:] == 1)
        told[taught] = right[candidates[25:] >= 0].mean()
    assert told[True] > 0.97
    assert told[False] < 0.9


def test_frames_without_a_table_of_spots_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    settings = {"candidates": 16, "block": 40, "candidate_truth": True}
    write_task(tmp_path / "hit.yaml", settings=settings, epochs=1)
    manifests = [f"manifest/{name}.parquet" for name in DATASETS]
    words = ["--task", "hit.yaml", "--manifest", *manifests, "--output", "hit.parquet"]
    assert main(["split", *words]) == 0
    words = ["--task", "hit.yaml", "--split", "hit.parquet", "--detector", "small.geom"]
    assert main(["train", *words, "--output", "model"]) == 1
    message = capsys.readouterr().err
    assert "has no table of true spots" in message and message.count("\n") == 1
    write_task(tmp_path / "hit.yaml", settings=settings, epochs=1, flux=[1, 0.1])
    assert main(["train", *words, "--output", "model"]) == 1
    message = capsys.readouterr().err
    assert "candidate_truth" in message and message.count("\n") == 1
    assert not (tmp_path / "model/model.json").exists()
