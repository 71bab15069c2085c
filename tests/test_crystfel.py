"""What `spotmill predict` hands over to CrystFEL, read by the rules of CrystFEL's manuals."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
from crystfel_reader import read_frame, read_geom, read_list
from predict_data import other_detector, other_geometry

from spotmill.formats.geom import read_geometry
from spotmill.inference.events import events, known_place
from spotmill.inference.handover import open_handover
from spotmill.inference.peak_file import DATA, MASK
from spotmill.inference.stated import Given
from spotmill.physics.peak_finding import Peaks

SHAPE = (6, 9)
FLAT: dict[str, Any] = {"pixel_size": 75e-6, "beam_centre": (4.25, 3.0)}
BEAM: dict[str, Any] = {"photon_energy": 7000.0, "clen": 0.15}


def peaks_at(*places: tuple[float, float]) -> Peaks:
    place = np.array(places, dtype=float).reshape(-1, 2)
    return Peaks(place, np.arange(len(place)) + 10.0, np.full(len(place), 0.9))


def hand_over(
    folder: Path, names: list[Path], given: Given, copy: bool = False, peaks: Peaks | None = None
) -> dict[str, Any]:
    """Hand over every frame but the second of a file as a hit, with the same peaks."""
    failed: list[str] = []
    with open_handover(folder, copy) as handover:
        for event, file in events(names, given, lambda *why: failed.append(why[2])):
            found = peaks_at((2.5, 1.25), (7.75, 4.5)) if peaks is None else peaks
            handover.add(event, found, event.event != 1, known_place(file, event.event))
        handover.finish()
    assert not failed
    alone = folder / "alone.lst"
    alone.write_text("".join(f"{name} //0\n" for name in names))
    return handover.conclude(alone)


def stack(path: Path, frames: int = 3, dtype: Any = np.uint16, **how: Any) -> np.ndarray:
    images = np.random.default_rng(frames).poisson(3.0, (frames, *SHAPE)).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=images, **how)
    return images


def assert_handed_over(folder: Path, images: list[np.ndarray]) -> list[Any]:
    """Assert that the list leads to images and peaks; return the frames as CrystFEL has them."""
    read = read_geom(folder / "predicted.geom")
    listed = read_list(folder / "hits.lst")
    assert len(listed) == len(images)
    frames = [read_frame(read, path, event) for path, event in listed]
    for frame, image in zip(frames, images, strict=True):
        (only,) = frame.images
        np.testing.assert_array_equal(frame.images[only], image.astype(np.float32))
        assert frame.peaks == [(only, 2.5, 1.25, 10.0), (only, 7.75, 4.5, 11.0)]
        assert (frame.photon_energy, frame.clen) == (7000.0, 0.15)
    return frames


@pytest.mark.parametrize("copy", [False, True], ids=["referred to", "copied"])
def test_a_stack_of_frames(copy: bool, tmp_path: Path) -> None:
    images = stack(tmp_path / "run.h5")
    given = Given(**FLAT, **BEAM)
    said = hand_over(tmp_path / "out", [tmp_path / "run.h5"], given, copy)
    frames = assert_handed_over(tmp_path / "out", [images[0], images[2]])
    assert not frames[0].bad["p0"].any()
    assert said == {
        "images": 2,
        "geometry": "predicted.geom",
        "list": "hits.lst",
        "options": ["--peaks=cxi", "--no-revalidate"],
        "why": "",
        "needs_plugin": False,
    }
    events = [event for _, event in read_list(tmp_path / "out/hits.lst")]
    assert events == (["//0", "//1"] if copy else ["//0", "//2"])
    name = tmp_path / ("out/hits.cxi" if copy else "out/peaks.cxi")
    with fabio.open(f"{name}::/{DATA}") as other:
        last = other.getframe(other.nframes - 1)
        np.testing.assert_array_equal(last.data, images[2])
    panel = read_geom(tmp_path / "out/predicted.geom").panels["p0"]
    assert (panel["corner_x"], panel["corner_y"]) == ("-4.25", "-3")
    assert float(panel["res"]) == pytest.approx(1 / 75e-6)


def test_several_files_of_all_sorts_are_copied(tmp_path: Path) -> None:
    images = stack(tmp_path / "a.h5", 1, np.uint32)
    names = [tmp_path / "a.h5"]
    for name, kind in (("b.cbf", fabio.cbfimage.CbfImage), ("c.tif", fabio.tifimage.TifImage)):
        image = np.random.default_rng(len(name)).poisson(4.0, SHAPE).astype(np.int32)
        kind(data=image).write(str(tmp_path / name))
        images = np.concatenate([images, image[None].astype(np.uint32)])
        names.append(tmp_path / name)
    given = Given(**FLAT, **BEAM)
    said = hand_over(tmp_path / "bare", names, given)
    # Not half of it: without its images a list would lead CrystFEL to peaks that are not there.
    assert "2 of 3 hits have no image" in said["why"] and "--write-frames" in said["why"]
    assert not said["geometry"] and not (tmp_path / "bare/predicted.geom").exists()
    alone = (tmp_path / "bare/alone.lst").read_text()
    assert (tmp_path / "bare/hits.lst").read_text() == alone
    said = hand_over(tmp_path / "out", names, given, copy=True)
    assert said["images"] == 3 and not said["why"]
    assert_handed_over(tmp_path / "out", list(images))


def test_masters_and_their_data_files(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    bits = hdf5plugin.Bitshuffle(cname="lz4")
    one = stack(tmp_path / "raw/one.h5", 2, compression=bits, chunks=(1, *SHAPE))
    two = stack(tmp_path / "raw/two.h5", 3, compression=bits, chunks=(1, *SHAPE))
    with h5py.File(tmp_path / "raw/master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("one.h5", "/entry/data/data")
        file["entry/data/data_000002"] = h5py.ExternalLink("two.h5", "/entry/data/data")
    layout = h5py.VirtualLayout((5, *SHAPE), np.uint16)
    layout[:2] = h5py.VirtualSource("one.h5", "/entry/data/data", (2, *SHAPE))
    layout[2:] = h5py.VirtualSource("two.h5", "/entry/data/data", (3, *SHAPE))
    with h5py.File(tmp_path / "raw/virtual.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    hits = [image for number, image in enumerate([*one, *two]) if number != 1]
    for name in ("master", "virtual"):
        out = tmp_path / name
        said = hand_over(out, [tmp_path / f"raw/{name}.h5"], Given(**FLAT, **BEAM))
        assert said["needs_plugin"]
        assert_handed_over(out, hits)
    # Names are relative: all of it may move.
    (tmp_path / "elsewhere").mkdir()
    for name in ("raw", "master"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    with h5py.File(tmp_path / "elsewhere/master/peaks.cxi") as file:
        np.testing.assert_array_equal(file[DATA][4], two[2])


def test_modules_lie_below_one_another(tmp_path: Path) -> None:
    images = np.random.default_rng(1).poisson(2.0, (2, 3, *SHAPE)).astype(np.uint16)
    with h5py.File(tmp_path / "modules.h5", "w") as file:
        file["entry/data/data"] = images
    text = "clen = 0.1\nphoton_energy = 9000 eV\nadu_per_photon = 1\nres = 10000\n"
    text += "data = /entry/data/data\ndim0 = %\ndim2 = ss\ndim3 = fs\n"
    text += "min_fs = 0\nmax_fs = 8\nmin_ss = 0\nmax_ss = 5\nfs = x\nss = y\ncorner_x = -4\n"
    for number in range(3):
        text += f"m{number}/dim1 = {number}\nm{number}/corner_y = {10 * number}\n"
    text += "badspot/panel = m1\nbadspot/min_fs = 2\nbadspot/max_fs = 3\n"
    text += "badspot/min_ss = 1\nbadspot/max_ss = 1\n"
    (tmp_path / "modules.geom").write_text(text)
    given = Given(geometry=read_geometry(tmp_path / "modules.geom"))
    found = peaks_at((0.5, 0.5), (4.0, 7.5), (8.5, 17.0))
    for copy in (False, True):
        out = tmp_path / f"out{copy}"
        said = hand_over(out, [tmp_path / "modules.h5"], given, copy, found)
        assert said["geometry"], said
        read = read_geom(out / "predicted.geom")
        ((path, event),) = read_list(out / "hits.lst")
        frame = read_frame(read, path, event)
        for number in range(3):
            np.testing.assert_array_equal(frame.images[f"m{number}"], images[0, number])
        assert [peak[:3] for peak in frame.peaks] == [
            ("m0", 0.5, 0.5),
            ("m1", 4.0, 1.5),
            ("m2", 8.5, 5.0),
        ]
        assert np.argwhere(frame.bad["m1"]).tolist() == [[1, 2], [1, 3]]
        assert not frame.bad["m0"].any()
        corners = [float(read.panels[f"m{number}"]["corner_y"]) for number in range(3)]
        assert corners == [0, 10, 20]


def test_every_frame_has_its_own_energy_length_and_mask(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(5.0, 1.0, (4, *SHAPE)).astype(np.float32)
    images[2, 3, 4] = np.nan
    images[3, 0, 0] = np.nan
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["entry/data/data"] = images
        file["entry/instrument/beam/photon_energy"] = [7000.0, 7001.0, 7002.5, 7003.0]
        file["entry/instrument/beam/photon_energy"].attrs["units"] = "eV"
        file["entry/instrument/detector/distance"] = [100.0, 101.0, 102.0, 103.5]
        file["entry/instrument/detector/distance"].attrs["units"] = "mm"
    for copy in (False, True):
        out = tmp_path / f"out{copy}"
        said = hand_over(out, [tmp_path / "run.h5"], Given(**FLAT), copy)
        read = read_geom(out / "predicted.geom")
        assert read.top["photon_energy"].endswith(" eV") and read.top["clen"].endswith(" m")
        frames = [read_frame(read, *one) for one in read_list(out / "hits.lst")]
        assert [frame.photon_energy for frame in frames] == [7000.0, 7002.5, 7003.0]
        assert [frame.clen for frame in frames] == pytest.approx([0.1, 0.102, 0.1035])
        bad = [np.argwhere(frame.bad["p0"]).tolist() for frame in frames]
        assert bad == [[], [[3, 4]], [[0, 0]]]
        # Indexers that make tables ask for both when they begin.
        assert "--wavelength-estimate=1.771e-10" in said["options"]
        assert "--camera-length-estimate=0.1" in said["options"]
        with h5py.File(out / ("hits.cxi" if copy else "peaks.cxi")) as file:
            assert file[MASK].shape == (3 if copy else 4, *SHAPE)


def test_offsets_of_panels_and_gains_stay(tmp_path: Path) -> None:
    other_detector(tmp_path / "a.h5", 0.05, 3, seed=1)
    text = other_geometry(tmp_path / "a.geom").read_text()
    text = text.replace("adu_per_photon = 1", "adu_per_eV = 0.001\nmax_adu = 60000\nflag_equal = 3")
    text = "bandwidth = 0.004\n" + text + "m0/coffset = 0.002\nm1/coffset = 0.003\n"
    text += "rigid_group_all = m0,m1,m2\n"
    (tmp_path / "a.geom").write_text(text)
    given = Given(geometry=read_geometry(tmp_path / "a.geom"))
    hand_over(tmp_path / "out", [tmp_path / "a.h5"], given, peaks=peaks_at((3.0, 3.0)))
    read = read_geom(tmp_path / "out/predicted.geom")
    # The first panel is at 0.1 + 0.002 m; others keep their place.
    assert float(read.top["clen"]) == pytest.approx(0.102)
    offsets = [float(read.panels[f"m{n}"].get("coffset", 0)) for n in range(3)]
    assert offsets == pytest.approx([0.0, 0.001, -0.002])
    assert {panel["adu_per_eV"] for panel in read.panels.values()} == {"0.001"}
    assert float(read.top["bandwidth"]) == 0.004
    assert read.top["rigid_group_all"] == "m0,m1,m2"
    # Flagged pixels are in the mask.
    frame = read_frame(read, *read_list(tmp_path / "out/hits.lst")[0])
    for name in read.panels:
        assert frame.bad[name].tolist() == (frame.images[name] == 3).tolist()
        assert not {"max_adu", "flag_equal"} & read.panels[name].keys()
    given = Given(geometry=given.geometry, adu_per_photon=2.0)
    hand_over(tmp_path / "hand", [tmp_path / "a.h5"], given, peaks=peaks_at((3.0, 3.0)))
    read = read_geom(tmp_path / "hand/predicted.geom")
    assert {panel["adu_per_photon"] for panel in read.panels.values()} == {"2"}


def test_masks_of_other_files_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "run.h5")
    mask = np.zeros(SHAPE, dtype=np.uint16)
    mask[4, 5], mask[0, 0] = 2, 1
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["mask"] = mask
    text = "clen = 0.1\nphoton_energy = 9000 eV\nadu_per_photon = 1\nres = 10000\n"
    text += "data = /entry/data/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    # Names are relative to the current folder, as in CrystFEL.
    text += "mask0_data = /mask\nmask0_file = bad.h5\nmask0_badbits = 0x2\n"
    text += "p/min_fs = 0\np/max_fs = 8\np/min_ss = 0\np/max_ss = 5\np/fs = x\np/ss = y\n"
    (tmp_path / "a.geom").write_text(text + "p/corner_x = -4\np/corner_y = -3\n")
    monkeypatch.chdir(tmp_path)
    given = Given(geometry=read_geometry(Path("a.geom")))
    hand_over(Path("out"), [Path("run.h5")], given)
    read = read_geom(Path("out/predicted.geom"))
    for listed in read_list(Path("out/hits.lst")):
        assert np.argwhere(read_frame(read, *listed).bad["p"]).tolist() == [[4, 5]]


@pytest.mark.skipif(
    shutil.which("indexamajig") is None, reason="CrystFEL is not installed here (indexamajig)"
)
@pytest.mark.parametrize("copy", [False, True], ids=["referred to", "copied"])
def test_crystfel_itself(copy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "run.h5")
    said = hand_over(tmp_path / "out", [tmp_path / "run.h5"], Given(**FLAT, **BEAM), copy)
    monkeypatch.chdir(tmp_path)
    words = ["indexamajig", "-g", "out/predicted.geom", "-i", "out/hits.lst", *said["options"]]
    words += ["--indexing=none", "-o", "out.stream"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    stream = (tmp_path / "out.stream").read_text()
    chunks = stream.split("----- Begin chunk -----")[1:]
    assert len(chunks) == 2
    for chunk in chunks:
        assert "num_peaks = 2\n" in chunk and "photon_energy_eV = 7000.0" in chunk
        listed = chunk.partition("Peaks from peak search")[2].partition("End of peak list")[0]
        rows = [line.split() for line in listed.strip().splitlines()[1:]]
        found = sorted([float(one) for one in row[:2]] for row in rows)
        np.testing.assert_allclose(found, [[2.5, 1.25], [7.75, 4.5]], atol=0.51)


@pytest.mark.parametrize(
    ("lacks", "flag"),
    [
        ("photon_energy", "--photon-energy"),
        ("clen", "--clen"),
        ("pixel_size", "--geometry, or --pixel-size"),
        ("beam_centre", "--geometry, or --beam-centre"),
    ],
)
def test_what_nobody_says_is_asked_for(lacks: str, flag: str, tmp_path: Path) -> None:
    stack(tmp_path / "run.h5")
    known = {name: value for name, value in {**FLAT, **BEAM}.items() if name != lacks}
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predicted.geom").write_text("of another run")
    said = hand_over(tmp_path / "out", [tmp_path / "run.h5"], Given(**known))
    assert said["why"] == f"nobody says their {lacks}; run again with {flag}"
    assert not (tmp_path / "out/predicted.geom").exists() and not said["options"]


@pytest.mark.parametrize("copy", [False, True], ids=["referred to", "copied"])
def test_the_first_hit_decides_on_the_detector(copy: bool, tmp_path: Path) -> None:
    images = stack(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["entry/data/data"] = np.ones((2, 7, 7), dtype=np.uint16)
    # Event 1 is a blank: of another detector, and the first of all frames.
    (tmp_path / "in.lst").write_text(f"{tmp_path}/b.h5 //1\n{tmp_path}/a.h5\n{tmp_path}/b.h5 //0\n")
    said = hand_over(tmp_path / "out", [tmp_path / "in.lst"], Given(**FLAT, **BEAM), copy)
    if copy:
        assert "1 of 3 hits are of another detector" in said["why"]
        assert_handed_over(tmp_path / "out", [images[0], images[2]])
    else:
        assert "1 of 3 hits have no image" in said["why"] and not said["geometry"]
        with h5py.File(tmp_path / "out/peaks.cxi") as file:
            np.testing.assert_array_equal(file[DATA][1:4], images)
            assert not file[DATA][0].any() and not file[DATA][4].any()


def test_no_hits(tmp_path: Path) -> None:
    with open_handover(tmp_path) as handover:
        stack(tmp_path / "a.h5")
        for event, file in events([tmp_path / "a.h5"], Given(**FLAT, **BEAM), print):
            handover.add(event, peaks_at(), False, known_place(file, event.event))
        handover.finish()
    (tmp_path / "alone.lst").write_text("")
    said = handover.conclude(tmp_path / "alone.lst")
    assert said["why"] == "there are no hits" and (tmp_path / "hits.lst").read_text() == ""


def test_predict_prints_a_line_that_works(
    small_models: Path, predict: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    shard = small_models / "frames/overlay/A/c00000.h5"
    words = ["--geometry", small_models / "frames/small.geom", "--clen", 0.1]
    assert predict(shard, *words, "--photon-energy", 6000) == 0
    out = tmp_path / "out"
    told = capsys.readouterr().out
    (line,) = (one for one in told.splitlines() if one.strip().startswith("indexamajig"))
    given = dict(zip(line.split()[1::2], line.split()[2::2], strict=False))
    assert (given["-g"], given["-i"]) == (str(out / "predicted.geom"), str(out / "hits.lst"))
    # Our shards are compressed with bitshuffle.
    assert "HDF5_PLUGIN_PATH" in told
    read = read_geom(Path(given["-g"]))
    table = pd.read_parquet(out / "predictions.parquet")
    hits = table[table["is_hit"]]
    listed = read_list(Path(given["-i"]))
    assert [event for _, event in listed] == [f"//{row}" for row in hits.index]
    with h5py.File(shard) as own:
        for (path, event), row in zip(listed, hits.itertuples(), strict=True):
            frame = read_frame(read, path, event)
            assert len(frame.peaks) == row.n_peaks
            (panel,) = frame.images
            np.testing.assert_array_equal(frame.images[panel], own["entry/data/data"][row.event])
    in_files = (out / "hits_in_files.lst").read_text().splitlines()
    assert in_files == [f"{row.file} //{row.event}" for row in hits.itertuples()]
    # The list is one of ours, too.
    again = [Path(given["-i"]), "--geometry", out / "predicted.geom"]
    assert predict(*again, output="again", models=small_models / "models") == 0
    found = pd.read_parquet(tmp_path / "again/predictions.parquet")
    assert found["probability"].tolist() == hits["probability"].tolist()
