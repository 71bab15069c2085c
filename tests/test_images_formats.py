"""Formats written by hand from their makers' descriptions, and frames at the edge."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_images_facilities import SHAPE, counts, frames_of, group, nexus, put

from spotmill.errors import SpotmillError
from spotmill.formats.images import open_file
from spotmill.inference import Pipeline
from spotmill.inference.events import Maker, events
from spotmill.inference.stated import Given


def lines(fields: dict[str, Any], blocks: int = 15) -> bytes:
    """Return a Bruker header: 80 letters a line, 7 of them the name, in blocks of 512 bytes."""
    text = "".join(f"{name:<7}:{value!s:<72}" for name, value in fields.items())
    return text.ljust(512 * blocks - 2, ".").encode("ascii") + b"\x1a\x04"


def bruker(image: np.ndarray, version: int) -> bytes:
    """Return a Bruker frame of one byte a pixel, with tables of what does not fit into it."""
    # The older ones write numbers to the right of ten places.
    number = f"{version:>10d}" if version == 86 else version
    fields: dict[str, Any] = {"FORMAT": number, "VERSION": 11, "HDRBLKS": 15}
    fields |= {"NROWS": image.shape[0], "NCOLS": image.shape[1]}
    small = np.minimum(image, 255).astype(np.uint8).tobytes()
    bright = np.flatnonzero(image.ravel() >= 255)
    if version == 86:
        fields |= {"NPIXELB": 1, "NOVERFL": len(bright)}
        table = "".join(f"{image.ravel()[at]:>9d}{at:>7d}" for at in bright).encode()
        return lines(fields) + small + table
    # A table of two bytes for what lies above one, one of four for what lies above two.
    two = np.minimum(image.ravel()[bright], 65535).astype("<u2")
    four = image.ravel()[image.ravel() >= 65535].astype("<i4")
    fields |= {"NPIXELB": "1 1", "NOVERFL": f"-1 {len(two)} {len(four)}", "NEXP": "1 0 0 0 1"}
    tables = b"".join(one.tobytes() + bytes(-one.nbytes % 16) for one in (two, four))
    return lines(fields) + small + tables


@pytest.mark.parametrize("version", [86, 100])
def test_bruker(tmp_path: Path, version: int) -> None:
    image = np.random.default_rng(1).poisson(30.0, (64, 64))
    image[5, 7], image[40, 3] = 3000, 1_000_000 if version == 100 else 90_000
    path = tmp_path / "matrix_01_0001.sfrm"
    path.write_bytes(bruker(image, version))
    (frame,) = frames_of(path)
    # Rows of Bruker's frames start below: the order of rows is the reader's.
    assert np.array_equal(frame.image, image) or np.array_equal(frame.image, image[::-1])
    path.write_bytes(bruker(image, version)[:9000])
    with pytest.raises(SpotmillError, match=r"cannot be read as an image .*check that it is whole"):
        frames_of(path)


def thresholds(path: Path, described: bool = True, frames: int = 3, count: int = 2) -> np.ndarray:
    """Write what an EIGER2 with several thresholds does: [frame, channel, ss, fs]."""
    images = np.stack([counts(frames), counts(frames) // 2, counts(frames)][:count], axis=1)
    names = ["threshold_1", "threshold_2", "difference"][:count]
    with h5py.File(path, "w") as file:
        instrument, detector = nexus(file)
        data = group(file["entry"], "data", "NXdata")
        data["data"] = images
        put(group(instrument, "beam", "NXbeam"), "incident_wavelength", 1.0, "angstrom")
        put(detector, "detector_distance", 0.2, "m")
        if described:
            data.attrs["signal"] = "data"
            data.attrs["axes"] = ["image_id", "channel", ".", "."]
            data["channel"] = np.array(names, dtype="S12")
            for number, name in enumerate(names):
                own = group(detector, f"{name}_channel", "NXdetector_channel")
                mask = np.zeros(SHAPE, np.uint32)
                mask[number] = 1
                own["pixel_mask"] = mask
    return images


def test_the_lowest_threshold_is_the_frame(tmp_path: Path) -> None:
    images = thresholds(tmp_path / "two_master.h5")
    found = frames_of(tmp_path / "two_master.h5")
    assert len(found) == 3
    for frame, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(frame.image, image[0])
        assert not frame.live[0].any() and frame.live[1:].all()
        assert frame.metadata.remarks == (
            "has channels threshold_1, threshold_2, of which threshold_1 is read",
        )
        assert frame.metadata.clen == 0.2
    # Nobody says that they are channels: modules, as everywhere else.
    thresholds(tmp_path / "bare.h5", described=False)
    assert frames_of(tmp_path / "bare.h5")[0].image.shape == (60, 40)


def test_arrays_of_thresholds_want_a_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["entry/data/threshold_1"], file["entry/data/threshold_2"] = counts(), counts() // 2
    with pytest.raises(SpotmillError, match=r"several arrays .*threshold_1.*--data"):
        frames_of(tmp_path / "two.h5")
    with open_file(tmp_path / "two.h5", "/entry/data/threshold_2") as file:
        np.testing.assert_array_equal(file.read(1).image, counts()[1] // 2)
    # A group that says which is its signal is no riddle.
    with h5py.File(tmp_path / "two.h5", "r+") as file:
        group(file, "entry", "NXentry")
        group(file["entry"], "data", "NXdata").attrs["signal"] = "threshold_1"
    np.testing.assert_array_equal(frames_of(tmp_path / "two.h5")[2].image, counts()[2])


def test_virtual_cxi_of_the_european_xfel(tmp_path: Path) -> None:
    """[pulse, module, ss, fs] joined of a file a module, with a mask, as EXtra-data writes it."""
    modules = np.random.default_rng(2).poisson(1.0, (5, 4, 16, 8)).astype(np.float32)
    for number in range(4):
        with h5py.File(tmp_path / f"AGIPD{number:02d}.h5", "w") as file:
            name = f"INSTRUMENT/AGIPD/DET/{number}CH0:xtdf/image"
            file[f"{name}/data"] = modules[:, number]
            file[f"{name}/mask"] = np.zeros((5, 16, 8), np.uint32)
            file[f"{name}/mask"][2, 3] = 1
    layout = h5py.VirtualLayout(modules.shape, np.float32)
    masks = h5py.VirtualLayout(modules.shape, np.uint32)
    for number in range(4):
        place = f"INSTRUMENT/AGIPD/DET/{number}CH0:xtdf/image"
        for one, name, kind in ((layout, "data", "f4"), (masks, "mask", "u4")):
            source = h5py.VirtualSource(
                f"AGIPD{number:02d}.h5", f"{place}/{name}", (5, 16, 8), dtype=kind
            )
            one[:, number] = source
    with h5py.File(tmp_path / "run.cxi", "w") as file:
        file["cxi_version"] = 150
        made = file.create_group("entry_1/instrument_1/detector_1")
        made.create_virtual_dataset("data", layout, fillvalue=np.nan)
        made.create_virtual_dataset("mask", masks, fillvalue=1)
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/trainId"] = np.arange(5)
        file["entry_1/pulseId"] = np.arange(5)
    found = frames_of(tmp_path / "run.cxi")
    assert [frame.event for frame in found] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found[3].image, modules[3].reshape(64, 8))
    dead = ~found[2].live
    assert dead.reshape(4, 16, 8)[:, 3].all() and dead.sum() == 4 * 8
    assert found[1].live.all()
    (tmp_path / "AGIPD02.h5").unlink()
    with pytest.raises(SpotmillError, match=r"master without its data file AGIPD02.h5"):
        frames_of(tmp_path / "run.cxi")


def empty_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((0, *SHAPE), np.uint16)
    return path


def empty_bits(path: Path) -> Path:
    """A TIFF of one bit a pixel: 16 x 8, all of the first row lit."""
    rows, width = 8, 16
    tags = [(256, width), (257, rows), (258, 1), (259, 1), (262, 1), (273, 8), (278, rows)]
    tags += [(277, 1), (279, rows * width // 8)]
    bits = b"\xff\xff" + bytes((rows - 1) * width // 8)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(bits)) + bits + directory)
    return path


def test_no_frames_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpotmillError, match="holds 0 frames; give a file with frames"):
        frames_of(empty_hdf5(tmp_path / "none.h5"))
    told: list[str] = []
    found = events([tmp_path / "none.h5"], Given(), lambda path, event, why: told.append(why))
    assert list(found) == [] and len(told) == 1


@pytest.mark.parametrize("written", ["bool", "bit field"])
def test_one_bit_hdf5(tmp_path: Path, written: str) -> None:
    images = counts() > 3
    with h5py.File(tmp_path / "bits.h5", "w") as file:
        if written == "bool":
            file["entry/data/data"] = images
        else:
            kind = h5py.h5t.STD_B8LE
            space = h5py.h5s.create_simple(images.shape)
            place = file.require_group("entry/data")
            made = h5py.h5d.create(place.id, b"data", kind, space)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, images.astype(np.uint8), kind)
    found = frames_of(tmp_path / "bits.h5")
    np.testing.assert_array_equal(found[1].image != 0, images[1])
    assert found[0].live.all()


def test_one_bit_tiff_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = empty_bits(tmp_path / "bits.tif")
    try:
        (frame,) = frames_of(path)
    except SpotmillError as error:
        assert "\n" not in str(error) and "bits.tif" in str(error)
    else:
        # What is lit may be 255, as pictures have it: good enough for a mask.
        np.testing.assert_array_equal(frame.image != 0, np.arange(8)[:, None] + np.zeros(16) == 0)


def test_a_hundred_million_pixels(small_models: Path, tmp_path: Path) -> None:
    side = 10_000
    with h5py.File(tmp_path / "large.h5", "w") as file:
        data = file.create_dataset(
            "entry/data/data", (1, side, side), np.uint16, chunks=(1, 500, side), compression="lzf"
        )
        rng = np.random.default_rng(1)
        piece = rng.poisson(0.05, (500, side)).astype(np.uint16)
        for first in range(0, side, 500):
            data[0, first : first + 500] = piece
    pipeline = Pipeline.load(small_models / "models")
    with open_file(tmp_path / "large.h5") as file:
        said = pipeline.predict(Maker(Given()).event(file.read(0)))
    assert said.background == pytest.approx(0.05, rel=0.1) and not len(said.peaks.score)


def too_large(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", (1, 40_000, 40_000), np.uint8, chunks=(1, 100, 100))


def test_a_damaged_size_is_refused(tmp_path: Path) -> None:
    too_large(tmp_path / "huge.h5")
    with pytest.raises(SpotmillError, match="holds frames of 40000 x 40000 pixels"):
        frames_of(tmp_path / "huge.h5")
