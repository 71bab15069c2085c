"""What CrystFEL is given by a watch, read by the rules of its manuals."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from crystfel_reader import Frame, read_frame, read_geom, read_list
from predict_data import other_detector, other_geometry
from watch_runs import Server, Watch, check_whole, table

FLAGS = ("--pixel-size", 172e-6, "--beam-centre", 100, 113)
LISTED = "hits_in_peaks.lst"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def watch(server: Server, small_models: Path, tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "in").mkdir()
    made = Watch(server, small_models / "models", tmp_path / "in", tmp_path / "out", FLAGS)
    yield made
    if made.pid and made.wait(0.0) is None:
        made.kill()


def handed_over(output: Path) -> list[Frame]:
    """Return the frames that the list and the geometry lead to."""
    read = read_geom(output / "predicted.geom")
    return [read_frame(read, path, event) for path, event in read_list(output / LISTED)]


def test_a_watch_hands_over_as_predict_does(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=3)
    other_detector(watch.folder / "b.h5", 0.05, 0, seed=2, frames=2)
    assert watch.run("--once") == 0
    assert "indexamajig -g" in watch.said() and "--peaks=cxi" in watch.said()
    rows = table(watch.output)
    hits = rows[rows["is_hit"]]
    frames = handed_over(watch.output)
    assert len(frames) == len(hits) == 3
    with h5py.File(watch.folder / "a.h5") as file:
        images = file["entry/data/data"][:]
    for frame, image, count in zip(frames, images, hits["n_peaks"], strict=True):
        (only,) = frame.images
        np.testing.assert_array_equal(frame.images[only], image.astype(np.float32))
        # Gaps are bad, as the negative pixels say.
        np.testing.assert_array_equal(frame.bad[only], image < 0)
        assert len(frame.peaks) == count
        assert frame.photon_energy == pytest.approx(6000, rel=1e-4) and frame.clen == 0.1
    before = (watch.output / LISTED).read_bytes()
    geometry = (watch.output / "predicted.geom").read_bytes()
    # More come: the list is appended to, the geometry stays.
    other_detector(watch.folder / "c.h5", 0.05, 12, seed=3, frames=2)
    assert watch.run("--once") == 0
    after = (watch.output / LISTED).read_bytes()
    assert after.startswith(before) and len(handed_over(watch.output)) == 5
    assert (watch.output / "predicted.geom").read_bytes() == geometry
    # Whatever a crash leaves is mended.
    (watch.output / LISTED).write_bytes(after[: len(after) // 2] + b"half")
    os.remove(watch.output / "predicted.geom")
    assert watch.run("--once") == 0
    assert (watch.output / LISTED).read_bytes() == after
    assert (watch.output / "predicted.geom").read_bytes() == geometry
    check_whole(
        watch.output,
        [(f"{n}.h5", e) for n, m in zip("abc", (3, 2, 2), strict=True) for e in range(m)],
    )


def test_replaced_files_and_other_detectors_leave_the_list(watch: Watch, tmp_path: Path) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=3)
    # Another shape: its hits are of another geometry, and their peaks are kept.
    other_detector(tmp_path / "wide.h5", 0.05, 12, seed=4, frames=1)
    with h5py.File(tmp_path / "wide.h5", "r+") as file:
        image = file["entry/data/data"][:]
        del file["entry/data/data"]
        file["entry/data/data"] = np.pad(image, ((0, 0), (0, 0), (0, 8)))
    shutil.move(tmp_path / "wide.h5", watch.folder / "z.h5")
    assert watch.run("--once") == 0
    assert table(watch.output)["is_hit"].tolist() == [True] * 4
    assert len(handed_over(watch.output)) == 3
    other_detector(tmp_path / "new.h5", 0.05, 12, seed=9, frames=2)
    os.replace(tmp_path / "new.h5", watch.folder / "a.h5")
    assert watch.run("--once") == 0
    frames = handed_over(watch.output)
    with h5py.File(watch.folder / "a.h5") as file:
        images = file["entry/data/data"][:]
    assert [
        np.array_equal(next(iter(f.images.values())), i)
        for f, i in zip(frames, images, strict=True)
    ] == [
        True,
        True,
    ]


def test_panels_of_a_geometry_and_what_is_missing(watch: Watch, tmp_path: Path) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=2)
    bad = np.zeros((226, 200), np.uint8)
    bad[100, 50:60] = 1
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["mask"] = bad
    own = other_geometry(tmp_path / "own.geom")
    watch.flags = ("--geometry", own, "--mask", tmp_path / "mask.h5")
    assert watch.run("--once", "--json") == 0
    frames = handed_over(watch.output)
    assert len(frames) == 2
    # The second module begins at row 81; masks by hand count as all others.
    assert frames[0].bad["m1"][19, 50:60].all() and not frames[0].bad["m1"][18].any()
    said = json.loads(watch.said().split("\n", 1)[1][watch.said().split("\n", 1)[1].index("{") :])
    assert said["crystfel"][0] == "indexamajig"
    bare = Watch(watch.server, watch.models, watch.folder, tmp_path / "bare")
    assert bare.run("--once") == 0
    # Nobody says where the beam is: hits, but nothing to index with.
    assert (bare.output / LISTED).read_text() == ""
    assert not (bare.output / "predicted.geom").exists() and "indexamajig" not in bare.said()


def test_without_a_model_of_peaks_crystfel_is_to_find_them(
    server: Server, small_models: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(small_models / "models", models)
    shutil.rmtree(models / "peaks")
    (tmp_path / "in").mkdir()
    other_detector(tmp_path / "in/a.h5", 0.05, 12, seed=1, frames=2)
    watch = Watch(server, models, tmp_path / "in", tmp_path / "out", FLAGS)
    assert watch.run("--once") == 0
    words = json.loads((tmp_path / "out/watch.json").read_text())["crystfel"]
    assert "--peaks=cxi" not in words and {"--peaks=peakfinder8", "--threshold=2"} <= set(words)
    assert "for CrystFEL, no peaks here: train config/tasks/peaks.yaml" in watch.said()
    rows = table(tmp_path / "out")
    assert rows["is_hit"].any() and rows["n_peaks"].isna().all()
    # Their images are there for it.
    assert len(handed_over(tmp_path / "out")) == rows["is_hit"].sum()
