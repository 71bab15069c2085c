"""Watching a folder: real processes, real files that come, grow, are replaced and removed."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fabio.cbfimage
import h5py
import numpy as np
import pandas as pd
import pytest
from predict_data import other_detector
from watch_runs import Server, Watch, check_whole, events, table

from spotmill.cli import main

Make = Callable[..., Watch]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def watch(server: Server, small_models: Path, tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "in").mkdir()
    made = Watch(server, small_models / "models", tmp_path / "in", tmp_path / "out")
    yield made
    if made.pid and made.wait(0.0) is None:
        made.kill()


def frames(path: Path, count: int, seed: int, spots: int = 0, first: int = 0) -> np.ndarray:
    """Write frames; return them [frame, ss, fs]."""
    other_detector(path, 0.05, spots, seed=seed, frames=count)
    with h5py.File(path, "r") as file:
        return file["entry/data/data"][first:]


def move_in(made: Path, folder: Path) -> Path:
    """Put a file into a folder as a detector does, in one step."""
    return made.rename(folder / made.name)


def grow(dataset: h5py.Dataset, images: np.ndarray) -> None:
    """Append images to an array of a file."""
    dataset.resize(len(dataset) + len(images), axis=0)
    dataset[-len(images) :] = images


def chunked(file: h5py.File, place: str, image: np.ndarray) -> h5py.Dataset:
    shape = image.shape
    return file.create_dataset(
        place, (0, *shape), image.dtype, maxshape=(None, *shape), chunks=(1, *shape)
    )


def test_the_watch_says_what_predict_says(watch: Watch, tmp_path: Path) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=4)
    (watch.folder / "deep/er").mkdir(parents=True)
    other_detector(watch.folder / "deep/er/b.h5", 0.05, 0, seed=2, frames=3)
    assert watch.run("--once", "--json", "--pictures", 2, "--threads", 3) == 0
    check_whole(watch.output, [("a.h5", n) for n in range(4)] + [("b.h5", n) for n in range(3)])
    places = [watch.folder / "a.h5", watch.folder / "deep/er/b.h5"]
    words = ["predict", *places, "--models", watch.models, "--output", tmp_path / "p"]
    assert main([str(word) for word in words]) == 0
    both = (tmp_path / "p", watch.output)
    one, two = (pd.read_parquet(path / "predictions.parquet") for path in both)
    pd.testing.assert_frame_equal(one, two.drop(columns="version"))
    summary = json.loads(watch.said()[watch.said().index("{") :])
    assert summary == json.loads((watch.output / "watch.json").read_text())
    assert (summary["frames"], summary["hits"], summary["failed"]) == (7, 4, 0)
    assert len(list((watch.output / "pictures").iterdir())) == 2
    with h5py.File(watch.output / "peaks/part-000000.cxi") as file, h5py.File(places[1]) as own:
        assert np.array_equal(file["entry_1/data_1/data"][5], own["entry/data/data"][1])
        fs = file["entry_1/result_1/peakXPosRaw"][0]
    with h5py.File(tmp_path / "p/peaks.cxi") as file:
        assert np.allclose(file["entry_1/result_1/peakXPosRaw"][0][:12], fs[:12])


def test_files_of_several_formats_come_while_it_runs(watch: Watch, tmp_path: Path) -> None:
    watch.start()
    expected = []
    for number in range(3):
        images = frames(tmp_path / f"h{number}.h5", 2, number, spots=12)
        move_in(tmp_path / f"h{number}.h5", watch.folder)
        image = fabio.cbfimage.CbfImage(data=images[0])
        image.write(str(tmp_path / f"c{number}.cbf"))
        move_in(tmp_path / f"c{number}.cbf", watch.folder)
        np.save(watch.folder / f"n{number}.npy", images[1])
        expected += [(f"h{number}.h5", 0), (f"h{number}.h5", 1), (f"c{number}.cbf", 0)]
        expected += [(f"n{number}.npy", 0)]
        (watch.folder / "notes.txt").write_text("no image")
        watch.until(len(expected))
    assert watch.stop() == 0
    check_whole(watch.output, expected)
    assert "Traceback" not in watch.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_goes_on(watch: Watch, number: int) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=400)
    watch.start()
    watch.until(1)
    assert watch.stop(number) == 0
    done = watch.rows()
    assert 1 <= done < 400
    check_whole(watch.output, [("a.h5", n) for n in range(done)])
    watch.start()
    watch.until(done + 1)
    assert watch.stop(number) == 0
    assert watch.rows() > done
    check_whole(watch.output, [("a.h5", n) for n in range(watch.rows())])
    assert f"goes on after {done} frames" in watch.said()


def test_a_file_that_grows_is_read_on(watch: Watch, tmp_path: Path) -> None:
    images = frames(tmp_path / "x.h5", 7, 1, spots=12)
    path = watch.folder / "grows.h5"
    watch.start()
    with h5py.File(path, "w") as file:
        grow(chunked(file, "entry/data/data", images[0]), images[:3])
    watch.until(3)
    # The watch holds no lock: the writer can open its file again.
    with h5py.File(path, "r+") as file:
        grow(file["entry/data/data"], images[3:])
    watch.until(7)
    os.utime(path)
    time.sleep(1)
    assert watch.stop() == 0
    check_whole(watch.output, [("grows.h5", n) for n in range(7)])
    assert set(table(watch.output)["version"]) == {1}


def test_swmr_is_read_while_it_is_written(watch: Watch, tmp_path: Path) -> None:
    images = frames(tmp_path / "x.h5", 8, 1, spots=12)
    watch.start()
    with h5py.File(watch.folder / "live.h5", "w", libver="latest") as file:
        data = chunked(file, "entry/data/data", images[0])
        file.swmr_mode = True
        for number, image in enumerate(images):
            grow(data, image[None])
            data.flush()
            if number % 3 == 2:
                watch.until(number + 1)
        # Room for a frame that is not there yet.
        data.resize(9, axis=0)
        data.flush()
        time.sleep(1)
        assert watch.rows() <= 8
        data[8] = images[0]
        data.flush()
        watch.until(9)
    assert watch.stop() == 0
    check_whole(watch.output, [("live.h5", n) for n in range(9)])
    assert table(watch.output)["is_hit"].all()


def test_a_master_whose_data_come_later(watch: Watch, tmp_path: Path) -> None:
    images = frames(tmp_path / "x.h5", 6, 1, spots=12)
    names = [f"run_data_{number:06d}.h5" for number in (1, 2, 3)]

    def put(number: int) -> None:
        with h5py.File(tmp_path / names[number], "w") as file:
            file["entry/data/data"] = images[2 * number : 2 * number + 2]
        move_in(tmp_path / names[number], watch.folder)

    put(0)
    watch.start()
    time.sleep(1)
    with h5py.File(watch.folder / "run_master.h5", "w") as file:
        for number, name in enumerate(names, start=1):
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(name, "entry/data/data")
        file["entry/instrument/beam/incident_wavelength"] = 1.0332
    watch.until(2)
    put(1)
    watch.until(4)
    # Killed between, it knows which data files are not to be taken by themselves.
    watch.kill()
    put(2)
    watch.start()
    watch.until(6)
    assert watch.stop() == 0
    check_whole(watch.output, [("run_master.h5", n) for n in range(6)])
    assert table(watch.output)["stated_photon_energy"].notna().all()


def test_a_master_after_its_data_were_taken(watch: Watch, tmp_path: Path) -> None:
    images = frames(tmp_path / "x.h5", 4, 1, spots=12)
    for number in (1, 2):
        with h5py.File(watch.folder / f"part{number}.h5", "w") as file:
            file["entry/data/data"] = images[2 * number - 2 : 2 * number]
    assert watch.run("--once") == 0
    shape = images.shape[1:]
    layout = h5py.VirtualLayout((4, *shape), images.dtype)
    for number in (0, 1):
        source = h5py.VirtualSource(f"part{number + 1}.h5", "entry/data/data", (2, *shape))
        layout[2 * number : 2 * number + 2] = source
    with h5py.File(watch.folder / "whole.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    assert watch.run("--once") == 0
    assert watch.run("--once") == 0
    check_whole(watch.output, [(f"part{n}.h5", event) for n in (1, 2) for event in (0, 1)])
    assert watch.said().count("came after its data file") == 1


def test_a_replaced_file_is_taken_anew(watch: Watch, tmp_path: Path) -> None:
    path = watch.folder / "test.h5"
    other_detector(path, 0.05, 12, seed=1, frames=3)
    other_detector(watch.folder / "other.h5", 0.05, 12, seed=5, frames=1)
    watch.start()
    watch.until(4)
    other_detector(tmp_path / "test.h5", 0.05, 12, seed=2, frames=2)
    move_in(tmp_path / "test.h5", watch.folder)
    watch.until(6)
    assert watch.stop() == 0
    assert "was replaced; its 2 frames are taken as version 2" in watch.said()
    expected = [("test.h5", n) for n in (0, 1, 2, 0, 1)] + [("other.h5", 0)]
    check_whole(watch.output, expected)
    # CrystFEL gets each frame that there is once.
    listed = (watch.output / "hits.lst").read_text().splitlines()
    names = [f"{path} //0", f"{path} //1", f"{watch.folder / 'other.h5'} //0"]
    assert sorted(listed) == sorted(names)


def test_bad_files_are_told_once_and_tried_again(watch: Watch, tmp_path: Path) -> None:
    frames(tmp_path / "whole.h5", 2, 1, spots=12)
    raw = (tmp_path / "whole.h5").read_bytes()
    (watch.folder / "cut.h5").write_bytes(raw[: len(raw) // 2])
    (watch.folder / "junk.cbf").write_text("no image")
    (watch.folder / "gone.tif").symlink_to("nowhere.tif")
    with h5py.File(watch.folder / "x_master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("x_data_000001.h5", "entry/data/data")
    assert watch.run("--once") == 3
    assert watch.run("--once") == 3
    told = ("cut.h5: is not a whole HDF5 file", "junk.cbf: is of no known", "x_data_000001.h5")
    for words in told:
        assert watch.said().count(words) == 1, watch.said()
    assert json.loads((watch.output / "watch.json").read_text())["failed"] == 3
    (watch.folder / "cut.h5").write_bytes(raw)
    os.remove(watch.folder / "junk.cbf")
    shutil.copy(tmp_path / "whole.h5", watch.folder / "x_data_000001.h5")
    assert watch.run("--once") == 0
    check_whole(watch.output, [(name, n) for name in ("cut.h5", "x_master.h5") for n in (0, 1)])


def test_what_is_removed_before_it_is_read_is_told(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=400)
    other_detector(watch.folder / "b.h5", 0.05, 12, seed=1, frames=4)
    os.utime(watch.folder / "a.h5", (1, 1))
    watch.start()
    watch.until(1)
    os.remove(watch.folder / "b.h5")
    watch.until_said("b.h5: was removed before all of it was read")
    assert watch.stop() == 0
    assert {name for name, _ in events(watch.output)} == {"a.h5"}


def test_an_alarm_is_told_once_and_everywhere(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 0, seed=1, frames=110)
    other_detector(watch.folder / "b.h5", 0.09, 0, seed=2, frames=50)
    os.utime(watch.folder / "a.h5", (1e9, 1e9))
    flags = ["--once", "--block", 5, "--false-alarms", 1]
    assert watch.run(*flags) == 0
    alarms = pd.read_csv(watch.output / "alarms.csv")
    (row,) = alarms[alarms["quantity"] == "background"].itertuples()
    assert row.since_row == 110 and 110 < row.row < 160
    assert row.before == pytest.approx(0.05, rel=0.1) and row.after == pytest.approx(0.09, rel=0.1)
    page = (watch.output / "watch.html").read_text()
    assert row.words in page and "http-equiv" not in page
    before = (watch.output / "alarms.csv").read_bytes()
    # A second run takes the charts up where they stood.
    assert watch.run(*flags) == 0
    assert (watch.output / "alarms.csv").read_bytes() == before
    assert watch.said().count(f"ALARM: {row.words}") == 1
    assert pd.read_csv(watch.output / "monitor.csv")["frames"].sum() == 160


def test_the_page_reloads_itself_while_it_runs(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=2)
    watch.start()
    watch.until(2)
    page = watch.output / "watch.html"
    end = time.monotonic() + 60
    while not page.is_file() or "hits 2" not in page.read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    text = page.read_text()
    assert '<meta http-equiv="refresh"' in text and "data:image/png;base64," in text
    assert 'src="http' not in text and 'href="http' not in text
    assert watch.stop() == 0
    assert '<meta http-equiv="refresh"' not in page.read_text()


def test_newest_first(watch: Watch) -> None:
    for number in range(6):
        other_detector(watch.folder / f"f{number}.h5", 0.05, 0, seed=number, frames=2)
        os.utime(watch.folder / f"f{number}.h5", (1e9 + number, 1e9 + number))
    assert watch.run("--once", "--newest-first") == 0
    order = [name for name, _ in events(watch.output)]
    assert order == [f"f{n}.h5" for n in (5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0)]
    assert (table(watch.output)["time_by"] == "file").all()


def test_a_folder_that_cannot_be_listed(watch: Watch) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=1)
    watch.start()
    watch.until(1)
    watch.folder.rename(watch.folder.with_name("away"))
    watch.until_said("cannot be listed (No such file or directory); looking again")
    watch.folder.with_name("away").rename(watch.folder)
    watch.until_said("can be listed again")
    other_detector(watch.folder / "b.h5", 0.05, 12, seed=2, frames=1)
    watch.until(2)
    assert watch.stop() == 0
    check_whole(watch.output, [("a.h5", 0), ("b.h5", 0)])


def test_refusals(watch: Watch, tmp_path: Path) -> None:
    other_detector(watch.folder / "a.h5", 0.05, 12, seed=1, frames=1)
    watch.start()
    watch.until(1)
    second = Watch(watch.server, watch.models, watch.folder, watch.output)
    assert second.run("--once") == 1
    assert "another watch writes here" in second.said()
    assert watch.stop() == 0
    assert second.run("--once", "--clen", "0.2") == 1
    assert "was begun with other flags (nothing, not clen 0.2)" in second.said()
    (tmp_path / "else").mkdir()
    for folder, words in {
        tmp_path / "else": "was begun with other folder",
        tmp_path / "nowhere": "no such folder",
        watch.folder / "a.h5": "is no folder",
    }.items():
        assert Watch(watch.server, watch.models, folder, watch.output).run("--once") == 1
        assert words in watch.said()
    assert watch.run("--every", "soon") == 1
    assert "--every: 'soon' is not a number" in watch.said()
    assert watch.rows() == 1
