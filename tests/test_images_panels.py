"""Frames whose modules or events lie in arrays of their own, written by h5py as facilities do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import EventId
from spotmill.formats.geom import Geometry, read_geometry
from spotmill.formats.geom_layout import layout_of
from spotmill.formats.images import open_file, sources
from spotmill.inference.events import Event, Maker, events
from spotmill.inference.stated import Given

FRAMES, MODULES, ROWS, COLUMNS = 3, 4, 20, 30
GAP = 5
# Where each module begins in the laboratory, pixels from the beam.
CORNERS = [(-35, -25), (5, -25), (-35, 5), (5, 5)]
HEAD = "clen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"


def counts(frames: int = FRAMES) -> np.ndarray:
    """Return frames [frame, module, ss, fs], every pixel of its own."""
    size = frames * MODULES * ROWS * COLUMNS
    return np.arange(size, dtype=np.int32).reshape(frames, MODULES, ROWS, COLUMNS)


def panels(lines: Callable[[int], str], head: str = "") -> str:
    """Return a geometry of four modules, with some lines for each."""
    text = HEAD + ("" if "photon_energy" in head else "photon_energy = 9000 eV\n") + head
    for number, (x, y) in enumerate(CORNERS):
        text += f"m{number}/min_fs = 0\nm{number}/max_fs = {COLUMNS - 1}\n"
        text += f"m{number}/min_ss = 0\nm{number}/max_ss = {ROWS - 1}\n"
        text += f"m{number}/corner_x = {x}\nm{number}/corner_y = {y}\n"
        text += f"m{number}/fs = x\nm{number}/ss = y\n"
        text += "".join(f"m{number}/{line}\n" for line in lines(number).splitlines())
    return text


def lcls(file: h5py.File, images: np.ndarray) -> str:
    """Give each module an array."""
    for number in range(MODULES):
        file[f"entry_1/data_1/panel{number}"] = images[:, number]
    return panels(lambda n: f"data = /entry_1/data_1/panel{n}\ndim0 = %\ndim1 = ss\ndim2 = fs")


def psi(file: h5py.File, images: np.ndarray) -> str:
    """Give each module a detector of its own, as masters of several JUNGFRAUs do."""
    for number in range(MODULES):
        group = file.create_group(f"entry/instrument/JF{number:02d}")
        group.create_dataset(
            "data",
            data=images[:, number],
            chunks=(1, ROWS, COLUMNS),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
        )
    return panels(
        lambda n: f"data = /entry/instrument/JF{n:02d}/data\ndim0 = %\ndim1 = ss\ndim2 = fs"
    )


def sacla(file: h5py.File, images: np.ndarray) -> str:
    """Give each event a group, its modules below one another."""
    for number, image in enumerate(images):
        file[f"tag-{100 + number}/data"] = image.reshape(-1, COLUMNS)
        file[f"tag-{100 + number}/photon_energy_ev"] = 10000.0 + number
    file["metadata/run"] = 5
    text = panels(lambda _: "", "photon_energy = /%/photon_energy_ev eV\ndata = /%/data\n")
    for number in range(MODULES):
        text = text.replace(f"m{number}/min_ss = 0\n", f"m{number}/min_ss = {number * ROWS}\n")
        last = f"m{number}/max_ss = {ROWS - 1}\n"
        text = text.replace(last, f"m{number}/max_ss = {number * ROWS + ROWS - 1}\n")
    return text


def sacla_raw(file: h5py.File, images: np.ndarray) -> str:
    """Give each module and, in it, each event a group."""
    for module in range(MODULES):
        group = file.create_group(f"run_7/detector_2d_{module + 1}")
        group["detector_info/name"] = "MPCCD"
        for number, image in enumerate(images):
            group[f"tag_{100 + number}/detector_data"] = image[module]
    return panels(lambda n: f"data = /%/detector_2d_{n + 1}/%/detector_data")


def euxfel(file: h5py.File, images: np.ndarray) -> str:
    """Number the modules along an axis, the geometry naming them in another order."""
    file.create_dataset("entry_1/data_1/data", data=images[:, [2, 0, 3, 1]])
    place = [1, 3, 0, 2]
    return panels(
        lambda n: f"data = /entry_1/data_1/data\ndim0 = %\ndim1 = {place[n]}\ndim2 = ss\ndim3 = fs"
    )


def one_frame(file: h5py.File, images: np.ndarray) -> str:
    """Have no axis of events."""
    file["data"] = images[0]
    return panels(lambda n: f"data = /data\ndim0 = {n}\ndim1 = ss\ndim2 = fs")


def trains(file: h5py.File, images: np.ndarray) -> str:
    """Number events by train and pulse."""
    pair = np.stack([images, images + 1000], axis=1)
    for number in range(MODULES):
        file[f"m{number}"] = pair[:, :, number]
    return panels(lambda n: f"data = /m{n}\ndim0 = %\ndim1 = %\ndim2 = ss\ndim3 = fs")


# Of each form: the events' names, and the frames that they stand for.
TAGS = [f"tag-{100 + n}//" for n in range(FRAMES)]
FORMS: dict[Callable[[h5py.File, np.ndarray], str], list[str]] = {
    lcls: ["//0", "//1", "//2"],
    psi: ["//0", "//1", "//2"],
    sacla: TAGS,
    sacla_raw: [f"run_7/tag_{100 + n}//" for n in range(FRAMES)],
    euxfel: ["//0", "//1", "//2"],
    one_frame: ["//"],
    trains: ["//0/0", "//0/1", "//1/0", "//1/1", "//2/0", "//2/1"],
}


def made(folder: Path, form: Callable[[h5py.File, np.ndarray], str]) -> tuple[Path, Geometry]:
    with h5py.File(folder / "run.h5", "w") as file:
        text = form(file, counts())
    (folder / "run.geom").write_text(text)
    return folder / "run.h5", read_geometry(folder / "run.geom")


def read_all(path: Path, given: Given) -> list[Event]:
    refused: list[str] = []
    found = [event for event, _ in events([path], given, lambda *told: refused.append(told[2]))]
    assert not refused
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_pixel_is_where_the_geometry_says(form: Any, tmp_path: Path) -> None:
    path, geometry = made(tmp_path, form)
    found = read_all(path, Given(geometry=geometry))
    assert [event.event_id for event in found] == FORMS[form]
    pairs = 2 if form is trains else 1
    for number, event in enumerate(found):
        assert event.mask.all() and event.geometry is not None
        truth = counts()[number // pairs] + 1000 * (number % pairs)
        for module, panel in enumerate(event.geometry.panels):
            part = event.image[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
            np.testing.assert_array_equal(part, truth[module])
            corner = event.detector.panels[module].corner[:2] * 1e4
            assert corner == pytest.approx(CORNERS[module])
    if form is sacla:
        assert [event.stated.photon_energy for event in found] == [10000, 10001, 10002]


@pytest.mark.parametrize("form", FORMS)
def test_lists_name_events_as_crystfel_does(form: Any, tmp_path: Path) -> None:
    path, geometry = made(tmp_path, form)
    names = FORMS[form]
    (tmp_path / "some.lst").write_text(f"run.h5 {names[-1]}\nrun.h5 {names[0]}\n")
    found = read_all(tmp_path / "some.lst", Given(geometry=geometry))
    assert [event.event_id for event in found] == [names[-1], names[0]][: len(names)]
    assert found[-1].name == f"{path} {names[0]}"
    told: list[str] = []
    wrong = "tag-9//" if "tag" in names[0] else "//77/2" if form is trains else "//77"
    (tmp_path / "far.lst").write_text(f"run.h5 {wrong}\n")
    assert not list(
        events([tmp_path / "far.lst"], Given(geometry=geometry), lambda *one: told.append(one[2]))
    )
    assert len(told) == 1 and f"{path}: has no event " in told[0]
    assert wrong.strip("/") in told[0] and names[-1].strip("/") in told[0]


def test_groups_of_events_without_a_geometry(tmp_path: Path) -> None:
    path, _ = made(tmp_path, sacla)
    found = read_all(path, Given(data="/%/data"))
    assert [event.event_id for event in found] == TAGS
    np.testing.assert_array_equal(found[1].image, counts()[1].reshape(-1, COLUMNS))
    with pytest.raises(SpotmillError, match=r"several arrays .*--data"):
        open_file(path)
    with pytest.raises(SpotmillError, match="has no array at /%/image"):
        open_file(path, "/%/image")


@pytest.mark.parametrize("form", [lcls, sacla, euxfel])
def test_masks_and_bad_regions_follow_their_panels(form: Any, tmp_path: Path) -> None:
    path, _ = made(tmp_path, form)
    text = (tmp_path / "run.geom").read_text()
    bad = np.zeros((FRAMES, MODULES, ROWS, COLUMNS), np.uint16)
    bad[:, 2, 7, 8] = 4
    bad[1, 3, 9, 9] = 4
    with h5py.File(path, "a") as file:
        if form is lcls:
            for number in range(MODULES):
                file[f"masks/{number}"] = bad[:, number]
                text += f"m{number}/mask0_data = /masks/{number}\n"
        elif form is sacla:
            for number, tag in enumerate(TAGS):
                file[f"{tag.strip('/')}/mask"] = bad[number].reshape(-1, COLUMNS)
            text = text.replace("data = /%/data\n", "data = /%/data\nmask0_data = /%/mask\n")
        else:
            file["static"] = bad[0][[2, 0, 3, 1]]
            bad[1] = bad[0]
            text = "mask0_data = /static\n" + text
    text = "mask0_badbits = 0xffff\n" + text
    rows = (2 * ROWS + 3, 2 * ROWS + 4) if form is sacla else (3, 4)
    text += f"badx/panel = m2\nbadx/min_fs = 1\nbadx/max_fs = 2\nbadx/min_ss = {rows[0]}\n"
    text += f"badx/max_ss = {rows[1]}\n"
    (tmp_path / "masked.geom").write_text(text)
    geometry = read_geometry(tmp_path / "masked.geom")
    for number, event in enumerate(read_all(path, Given(geometry=geometry))):
        assert event.geometry is not None
        expected = bad[number] == 0
        expected[2, 3:5, 1:3] = False
        for module, panel in enumerate(event.geometry.panels):
            part = event.mask[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
            np.testing.assert_array_equal(part, expected[module])


def without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def shorter(file: h5py.File) -> None:
    images = file["entry_1/data_1/panel2"][:, :-1]
    del file["entry_1/data_1/panel2"]
    file["entry_1/data_1/panel2"] = images


def fewer(file: h5py.File) -> None:
    images = file["entry_1/data_1/panel2"][:2]
    del file["entry_1/data_1/panel2"]
    file["entry_1/data_1/panel2"] = images


def flat(file: h5py.File) -> None:
    images = file["entry_1/data_1/panel2"][0]
    del file["entry_1/data_1/panel2"]
    file["entry_1/data_1/panel2"] = images


BAD: dict[Callable[[h5py.File], None], tuple[str, int]] = {
    without("entry_1/data_1/panel2"): ("has no array at /entry_1/data_1/panel2, which", 3),
    without("entry_1/data_1/panel0"): ("has no array at /entry_1/data_1/panel0, which", 1),
    shorter: (r"panel2 is of \(3, 19, 30\), .* describes 20 x 30 pixels", 3),
    fewer: ("panel2 has no event //2, which other modules have", 1),
    flat: ("panel2 has 2 axes, .* describes 3", 3),
}


@pytest.mark.parametrize("change", BAD)
def test_files_that_do_not_fit_their_geometry(change: Any, tmp_path: Path) -> None:
    path, geometry = made(tmp_path, lcls)
    with h5py.File(path, "a") as file:
        change(file)
    told: list[str] = []
    found = list(events([path], Given(geometry=geometry), lambda *one: told.append(one[2])))
    words, count = BAD[change]
    assert len(told) == count and len(found) == (FRAMES - count if count != 1 else len(found))
    with pytest.raises(SpotmillError, match=words):
        raise SpotmillError(told[0])


def test_a_file_without_the_events_of_the_geometry(tmp_path: Path) -> None:
    path, geometry = made(tmp_path, sacla)
    with h5py.File(path, "w") as file:
        file["data"] = counts()[0, 0]
    with pytest.raises(SpotmillError, match=r"holds 0 frames at /%/data, which .*run\.geom names"):
        Maker(Given(geometry=geometry)).open(path)


def test_data_by_hand_and_many_arrays(tmp_path: Path) -> None:
    _, geometry = made(tmp_path, lcls)
    with pytest.raises(SpotmillError, match=r"--data: .* names arrays of its own"):
        layout_of(geometry, "/entry/data")
    _, geometry = made(tmp_path, sacla)
    layout = layout_of(geometry, "/%/other")
    assert layout is not None and layout.slabs[0].data == "/%/other"


def test_a_geometry_names_one_of_several_arrays(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["corrected"] = counts()[0, 0], counts()[0, 1]
    text = f"{HEAD}data = /corrected\np/min_fs = 0\np/max_fs = {COLUMNS - 1}\np/min_ss = 0\n"
    text += f"p/max_ss = {ROWS - 1}\np/corner_x = 0\np/corner_y = 0\np/fs = x\np/ss = y\n"
    (tmp_path / "a.geom").write_text(text)
    (event,) = read_all(tmp_path / "a.h5", Given(geometry=read_geometry(tmp_path / "a.geom")))
    np.testing.assert_array_equal(event.image, counts()[0, 1])


@pytest.mark.parametrize(
    ("text", "parts", "numbers"),
    [
        ("//3", (), (3,)),
        ("//", (), ()),
        ("tag-1//", ("tag-1",), ()),
        ("run_1/tag_2//0/5", ("run_1", "tag_2"), (0, 5)),
    ],
)
def test_names_of_events(text: str, parts: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    name = EventId.parse(text)
    assert (name.parts, name.numbers, str(name)) == (parts, numbers, text)


@pytest.mark.parametrize("text", ["3", "tag", "//x", "a//-1", "//1/", "/a//1", "//9" + "9" * 20])
def test_what_is_no_name_of_an_event(text: str) -> None:
    with pytest.raises(ValueError, match="event"):
        EventId.parse(text)


def test_lists_of_all_makes(tmp_path: Path) -> None:
    """With a byte order mark, Windows line ends, comments, blank and repeated lines."""
    for name in ("a.h5", "b  c.h5", "#.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"] = counts()[:, 0]
    (tmp_path / "d").mkdir()
    with h5py.File(tmp_path / "d" / "a.h5", "w") as file:
        file["data"] = counts()[:, 0]
    text = "\ufeff# made by hand\r\na.h5 //1\r\n\r\n; more\r\na.h5 //1\r\nb  c.h5\r\n"
    text += f"a.h5 //0 \r\n{tmp_path}//d/a.h5 //2\r\nd/a.h5\r\n"
    (tmp_path / "x.lst").write_bytes(text.encode())
    found = [(str(s.path.relative_to(tmp_path)), s.events) for s in sources(tmp_path / "x.lst")]
    assert found == [
        ("a.h5", (1,)),
        ("b  c.h5", None),
        ("a.h5", (0,)),
        ("d/a.h5", (2,)),
        ("d/a.h5", None),
    ]
