"""Parts of a watch: times of frames, looks at folders, files that are being written."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import fabio.cbfimage
import h5py
import numpy as np
import pytest

from spotmill.formats.images import open_file
from spotmill.formats.images_hdf5 import Hdf5File
from spotmill.formats.images_hdf5_growing import is_streamed
from spotmill.formats.images_times import parse_time
from spotmill.inference.folder_scan import FolderScan, is_image_name

NOON = datetime(2026, 3, 1, 12, 0, 0).astimezone().timestamp()
NOON_UTC = 1772366400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T12:00:00Z", NOON_UTC),
        ("2026-03-01T12:00:00.250+00:00", NOON_UTC + 0.25),
        ("2026-03-01T14:00:00.000000001+0200", NOON_UTC),
        ("# 2026/Mar/01 12:00:00.5\r\n# Exposure_time 1 s", NOON + 0.5),
        ("2026:03:01 12:00:00", NOON),
        ("Sun Mar  1 12:00:00 2026", NOON),
        ("1772366400.5", NOON_UTC + 0.5),
        ("2026-13-01T12:00:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("20.00", None),
        ("", None),
    ],
)
def test_times_are_read(text: str, seconds: float | None) -> None:
    assert parse_time(text) == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


def times(path: Path, fields: dict[str, Any]) -> list[float | None]:
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.ones((3, 20, 20), np.uint16)
        for place, value in fields.items():
            file[f"entry/{place}"] = value
    with open_file(path) as opened:
        return [opened.read(event).metadata.time for event in range(3)]


def test_frames_of_hdf5_have_times(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    start = {"start_time": "2026-03-01T12:00:00Z"}
    after = [NOON_UTC, NOON_UTC + 0.1, NOON_UTC + 0.2]
    period = {"instrument/detector/frame_time": 0.1}
    assert times(path, start | period) == pytest.approx(after)
    # One time for three frames says of none when it was taken.
    assert times(path, start) == [None] * 3
    assert times(path, {"data/timestamp": np.array(after)}) == pytest.approx(after)
    nano = (np.array([0, 10**8, 2 * 10**8]) + int(NOON_UTC) * 10**9).astype(np.int64)
    assert times(path, {"instrument/detector/timestamp": nano}) == pytest.approx(after)
    special = "instrument/detector/detectorSpecific"
    date = {f"{special}/data_collection_date": b"2026-03-01T12:00:00.000Z"}
    assert times(path, date | {f"{special}/frame_time": 0.1}) == pytest.approx(after)
    assert times(path, {}) == [None] * 3
    with h5py.File(path, "a") as file:
        file["entry/instrument/detector/start_time"] = [0.0, 0.1, 0.2]
        file["entry/instrument/detector/start_time"].attrs["start"] = "2026-03-01T12:00:00Z"
    with open_file(path) as opened:
        assert opened.read(2).metadata.time == pytest.approx(after[2])


def test_a_cbf_has_a_time(tmp_path: Path) -> None:
    image = fabio.cbfimage.CbfImage(data=np.ones((30, 40), np.int32))
    image.header["_array_data.header_contents"] = "# Detector: X\r\n# 2026-03-01T12:00:00.500\r\n"
    image.header["_array_data.header_convention"] = "PILATUS_1.2"
    image.write(str(tmp_path / "a.cbf"))
    with open_file(tmp_path / "a.cbf") as file:
        assert file.read(0).metadata.time == pytest.approx(NOON + 0.5)


def test_looks_find_what_changed(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/out").mkdir()
    (tmp_path / "in/out/peaks.h5").write_text("ours")
    (tmp_path / "in/.hidden.h5").write_text("x")
    (tmp_path / "in/notes.txt").write_text("x")
    (tmp_path / "in/a.cbf.gz").write_text("x")
    (tmp_path / "in/deep/b.mar2300").write_text("x")
    (tmp_path / "in/round").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in/pipe.h5")
    scan = FolderScan(tmp_path / "in", passed_over=tmp_path / "in/out")
    assert {seen.path for seen in scan.look().changed} == {"a.cbf.gz", "deep/b.mar2300"}
    assert not scan.look().changed
    (tmp_path / "in/deep/b.mar2300").write_text("longer")
    (tmp_path / "in/deep/c.tif").write_text("x")
    assert {seen.path for seen in scan.look().changed} == {"deep/b.mar2300", "deep/c.tif"}
    (tmp_path / "in/other.tif").write_text("y")
    (tmp_path / "in/other.tif").replace(tmp_path / "in/deep/c.tif")
    assert {seen.path for seen in scan.look().changed} == {"deep/c.tif"}
    os.remove(tmp_path / "in/a.cbf.gz")
    found = scan.look()
    assert (found.changed, found.removed) == ([], ["a.cbf.gz"])
    (tmp_path / "in/deep/c.tif").unlink()
    (tmp_path / "in/deep/b.mar2300").unlink()
    (tmp_path / "in/deep").rmdir()
    assert sorted(scan.look().removed) == ["deep/b.mar2300", "deep/c.tif"]


def test_what_is_known_is_no_news(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.h5").write_text(name)
    first = {seen.path: seen.signature for seen in FolderScan(tmp_path).look().changed}
    (tmp_path / "b.h5").write_text("other")
    (tmp_path / "c.h5").unlink()
    found = FolderScan(tmp_path, first).look()
    assert [seen.path for seen in found.changed] == ["b.h5"] and found.removed == ["c.h5"]


def test_a_folder_away_loses_no_files(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/a.h5").write_text("x")
    scan = FolderScan(tmp_path / "in")
    assert len(scan.look().changed) == 1
    (tmp_path / "in").rename(tmp_path / "away")
    found = scan.look()
    assert list(found.unreadable) == [str(tmp_path / "in")]
    assert not found.changed and not found.removed and len(scan) == 1
    (tmp_path / "away").rename(tmp_path / "in")
    found = scan.look()
    assert not (found.changed or found.removed or found.unreadable)


def test_names_of_images() -> None:
    good = ("a.h5", "A.CBF", "a.cbf.gz", "x.mar2300", "x.marccd", "x.tif.bz2", "m.nxs", "f.npy")
    assert all(map(is_image_name, good))
    bad = ("a.txt", "a.gz", "h5", "a.h5.part", "a.log.gz", "a.png")
    assert not any(map(is_image_name, bad))


def test_frames_that_are_not_written_are_not_there(tmp_path: Path) -> None:
    shape = (8, 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("entry/data/data", (3, *shape), "u2", chunks=(1, *shape))
        data[0], data[2] = 1, 3
    with Hdf5File(tmp_path / "a.h5") as opened:
        assert [opened.is_written(event) for event in range(3)] == [True, False, True]
    layout = h5py.VirtualLayout((5, *shape), "u2")
    layout[:3] = h5py.VirtualSource("a.h5", "entry/data/data", (3, *shape))
    layout[3:] = h5py.VirtualSource("later.h5", "entry/data/data", (2, *shape))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    with Hdf5File(tmp_path / "v.h5", growing=True) as opened:
        assert [opened.is_written(n) for n in range(5)] == [True, False, True, False, False]
    with h5py.File(tmp_path / "later.h5", "w") as file:
        file["entry/data/data"] = np.ones((1, *shape), "u2")
    with Hdf5File(tmp_path / "v.h5", growing=True) as opened:
        assert [opened.is_written(n) for n in (3, 4)] == [True, False]


def test_streams_are_known_by_their_flags(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("x", (2, 2), "u2")
        file.flush()
        assert not is_streamed(path)
        file.swmr_mode = True
        assert is_streamed(path)
    assert not is_streamed(path)
    assert not is_streamed(tmp_path / "absent.h5")
