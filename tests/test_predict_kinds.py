"""One hit and one blank as detectors of many makes would have written them: told alike from all."""

import bz2
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from numpy.typing import NDArray
from predict_data import other_detector, other_geometry

from spotmill.formats.geom import read_geometry
from spotmill.inference import Pipeline
from spotmill.inference.events import Event, Maker
from spotmill.inference.stated import Given

FLAG = 2**32 - 1


@pytest.fixture(scope="module")
def pipeline(small_models: Path) -> Pipeline:
    return Pipeline.load(small_models / "models")


def photons(folder: Path, spots: int) -> NDArray[np.int64]:
    """Return a frame of the other detector, -1 in its gaps."""
    other_detector(folder / "plain.h5", 0.05, spots, seed=1)
    with h5py.File(folder / "plain.h5") as file:
        return np.asarray(file["entry/data/data"][0], np.int64)


def hdf5(folder: Path, image: NDArray[Any]) -> Path:
    with h5py.File(folder / "frame.h5", "w") as file:
        file["entry/data/data"] = image[None]
    return folder / "frame.h5"


def unsigned(folder: Path, image: NDArray[Any]) -> Path:
    return hdf5(folder, np.where(image < 0, FLAG, image).astype(np.uint32))


def signed(folder: Path, image: NDArray[Any]) -> Path:
    image = image.astype(np.int32)
    image[64:70] = -2
    return hdf5(folder, image)


def in_kev(folder: Path, image: NDArray[Any]) -> Path:
    """Corrected frames of an integrating detector: keV with noise, NaN in gaps."""
    noise = np.random.default_rng(2).normal(0, 0.4, image.shape)
    return hdf5(folder, np.where(image < 0, np.nan, 6.0 * image + noise).astype(np.float32))


def many_axes(folder: Path, image: NDArray[Any]) -> Path:
    """Write [event, panel, ss, fs]; of the other detector the gaps are no panels."""
    with h5py.File(folder / "frame.cxi", "w") as file:
        panels = np.stack([image[first : first + 64] for first in (0, 81, 162)])
        file["entry_1/data_1/data"] = panels[None].astype(np.float32)
    return folder / "frame.cxi"


def packed(folder: Path, image: NDArray[Any]) -> Path:
    CbfImage(data=image.astype(np.int32)).write(str(folder / "frame.cbf"))
    (folder / "frame.cbf.bz2").write_bytes(bz2.compress((folder / "frame.cbf").read_bytes()))
    return folder / "frame.cbf.bz2"


def geometry_of(folder: Path, write: Any) -> Path | None:
    """Return the geometry of those that need one."""
    if write not in (in_kev, many_axes):
        return None
    path = other_geometry(folder / "frame.geom")
    text = path.read_text().replace("adu_per_photon = 1", "adu_per_eV = 0.001")
    if write is many_axes:
        text = path.read_text().replace("/entry/data/data", "/entry_1/data_1/data")
        text = text.replace("dim1 = ss\ndim2 = fs\n", "")
        for number, first in enumerate((0, 81, 162)):
            name = f"m{number}"
            text = text.replace(f"{name}/min_ss = {first}\n", f"{name}/min_ss = 0\n")
            text = text.replace(f"{name}/max_ss = {first + 63}\n", f"{name}/max_ss = 63\n")
            text += f"{name}/dim1 = {number}\n{name}/dim2 = ss\n{name}/dim3 = fs\n"
    path.write_text(text)
    return path


def event_of(path: Path, geometry: Path | None) -> Event:
    maker = Maker(Given(geometry=None if geometry is None else read_geometry(geometry)))
    with maker.open(path) as file:
        return maker.event(file.read(0), len(file))


@pytest.mark.parametrize("write", [unsigned, signed, in_kev, many_axes, packed])
def test_frames_of_all_makes_are_told_alike(write: Any, pipeline: Pipeline, tmp_path: Path) -> None:
    for spots in (12, 0):
        image = photons(tmp_path, spots)
        event = event_of(write(tmp_path, image), geometry_of(tmp_path, write))
        live = image >= 0
        if write is many_axes:
            image, live = image[live.any(1)], live[live.any(1)]
        np.testing.assert_array_equal(event.mask, live)
        np.testing.assert_array_equal(event.image, np.where(live, image, 0))
        said = pipeline.predict(event)
        assert said.is_hit == (spots > 0)
        assert len(said.peaks.score) >= 0.6 * spots


def test_a_saturation_by_another_name(tmp_path: Path) -> None:
    """Of ADSC detectors: some beam lines write it so."""
    image = np.random.default_rng(3).poisson(50, (40, 50)).astype(np.uint16)
    image[3, 4] = 65500
    header = "{\nHEADER_BYTES=  512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\n"
    header += "SIZE1=50;\nSIZE2=40;\nSATURATED_VALUE=65500;\nPIXEL_SIZE=0.1024;\n}\n"
    path = tmp_path / "a_001.img"
    path.write_bytes(header.encode().ljust(512) + image.tobytes())
    event = event_of(path, None)
    assert (event.stated.saturation, event.saturated) == (65500, 1)
    assert event.stated.sources["saturation"] == "file"
    assert event.stated.pixel_size == pytest.approx(102.4e-6)
