"""Files in the forms that facilities' writers give them, made here by h5py and fabio."""

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.tifimage import TifImage
from scipy.spatial.transform import Rotation

from spotmill.errors import SpotmillError
from spotmill.formats.images import RawFrame, open_file, open_frames

SHAPE = (30, 40)
EIGER_FLAG = 2**32 - 1


def counts(frames: int = 3, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(4).poisson(3.0, (frames, *SHAPE)).astype(dtype)


def group(parent: Any, name: str, nx_class: str) -> h5py.Group:
    made = parent.require_group(name)
    made.attrs["NX_class"] = np.bytes_(nx_class)
    return made


def put(parent: Any, name: str, value: Any, units: str | None = None) -> h5py.Dataset:
    parent[name] = value
    if units is not None:
        parent[name].attrs["units"] = np.bytes_(units)
    return parent[name]


def frames_of(path: Path) -> list[RawFrame]:
    return list(open_frames(path))


def nexus(file: h5py.File) -> tuple[h5py.Group, h5py.Group]:
    """Return instrument and detector of a new NeXus file."""
    file.attrs["default"] = "entry"
    entry = group(file, "entry", "NXentry")
    entry["definition"] = "NXmx"
    instrument = group(entry, "instrument", "NXinstrument")
    return instrument, group(instrument, "detector", "NXdetector")


def test_dectris_filewriter_2(tmp_path: Path) -> None:
    """Data by external links, a mask of all NXmx bits, gaps at the largest count."""
    images = counts(4, np.uint32)
    images[:, :, 10] = EIGER_FLAG
    for number in range(2):
        with h5py.File(tmp_path / f"s_data_{number + 1:06d}.h5", "w") as file:
            file.create_dataset(
                "entry/data/data",
                data=images[2 * number : 2 * number + 2],
                chunks=(1, *SHAPE),
                compression=hdf5plugin.Bitshuffle(cname="lz4"),
            )
            file["entry/data/data"].attrs["image_nr_low"] = 2 * number + 1
    mask = np.zeros(SHAPE, np.uint32)
    mask[0, 0], mask[0, 1], mask[0, 2], mask[0, 3] = 1, 1 << 4, 1 << 8, 1 << 31
    with h5py.File(tmp_path / "s_master.h5", "w") as file:
        instrument, detector = nexus(file)
        data = group(file["entry"], "data", "NXdata")
        for number in (1, 2):
            name = f"data_{number:06d}"
            data[name] = h5py.ExternalLink(f"s_{name}.h5", "/entry/data/data")
        put(group(instrument, "beam", "NXbeam"), "incident_wavelength", 0.9795, "angstrom")
        put(detector, "detector_distance", 0.2, "m")
        put(detector, "x_pixel_size", 75e-6, "m")
        put(detector, "y_pixel_size", 75e-6, "m")
        put(detector, "beam_center_x", 20.5, "pixel")
        put(detector, "beam_center_y", 15.25, "pixel")
        put(detector, "saturation_value", 33000)
        detector["bit_depth_image"] = 32
        specific = group(detector, "detectorSpecific", "NXcollection")
        specific["pixel_mask"] = mask
        specific["ntrigger"], specific["nimages"] = 4, 1
        specific["flatfield"] = np.ones(SHAPE, np.float32)
    found = frames_of(tmp_path / "s_master.h5")
    assert [frame.event for frame in found] == [0, 1, 2, 3]
    facts = found[2].metadata
    assert facts.photon_energy == pytest.approx(12658, rel=1e-4)
    assert (facts.clen, facts.pixel_size, facts.saturation) == (0.2, 75e-6, 33000)
    assert facts.beam_centre == (20.5, 15.25) and facts.remarks == ()
    dead = ~found[2].live
    assert dead[:, 10].all() and dead[0, :4].all() and dead.sum() == 30 + 4


def test_area_detector(tmp_path: Path) -> None:
    """Data in the detector, linked into NXdata, and attributes a frame."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        instrument, detector = nexus(file)
        detector["data"] = counts()
        data = group(file["entry"], "data", "NXdata")
        data.attrs["signal"] = "data"
        data["data"] = h5py.SoftLink("/entry/instrument/detector/data")
        own = group(instrument, "NDAttributes", "NXcollection")
        own["NDArrayUniqueId"] = np.arange(3)
        performance = group(instrument, "performance", "NXcollection")
        performance["timestamp"] = np.zeros((3, 5))
    assert len(frames_of(tmp_path / "a.h5")) == 3


def test_cheetah_and_psocake(tmp_path: Path) -> None:
    images = counts(3, np.float32)
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["cxi_version"] = 140
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = images
        detector["description"] = "CSPAD"
        detector["distance"] = np.full(3, 0.25)
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/instrument_1/source_1/energy"] = np.array([9e3, 9.1e3, 9.2e3]) * 1.602177e-19
        file["LCLS/photon_energy_eV"] = np.array([9e3, 9.1e3, 9.2e3])
        file["entry_1/result_1/peakXPosRaw"] = np.zeros((3, 2048))
        file["entry_1/result_1/nPeaks"] = np.zeros(3, np.int32)
    found = frames_of(tmp_path / "a.cxi")
    energies = [frame.metadata.photon_energy for frame in found]
    assert energies == pytest.approx([9000, 9100, 9200], rel=1e-5)
    assert [frame.metadata.clen for frame in found] == [0.25] * 3


def test_swissfel_jungfrau(tmp_path: Path) -> None:
    """Of several arrays, the one of frames has more axes than those of values."""
    with h5py.File(tmp_path / "run.JF06T08V02.h5", "w") as file:
        file["data/JF06T08V02/data"] = counts(3, np.float32)
        file["data/JF06T08V02/pulse_id"] = np.arange(3).reshape(3, 1)
        file["data/JF06T08V02/is_good_frame"] = np.ones((3, 1), bool)
        file["general/detector_name"] = "JF06T08V02"
    assert len(frames_of(tmp_path / "run.JF06T08V02.h5")) == 3
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["one"], file["two"] = counts(), counts()
    with pytest.raises(SpotmillError, match="several arrays"):
        open_file(tmp_path / "two.h5")


def test_the_detector_that_took_the_frames_is_asked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        instrument, detector = nexus(file)
        diode = group(instrument, "a_diode", "NXdetector")
        put(diode, "distance", 7.0, "m")
        detector["data"] = counts()
        put(detector, "distance", 120.0, "mm")
        data = group(file["entry"], "data", "NXdata")
        data["data"] = h5py.SoftLink("/entry/instrument/detector/data")
    assert frames_of(tmp_path / "a.nxs")[0].metadata.clen == pytest.approx(0.12)


LENGTHS = {"m": 0.15, "mm": 150.0, "cm": 15.0, "um": 150e3, "millimetre": 150.0, "MM": 150.0}
ENERGIES = {"eV": 12.4e3, "keV": 12.4, "KeV": 12.4, "EV": 12.4e3, "J": 12.4e3 * 1.602176634e-19}
WAVELENGTHS = {"Angstrom": 1.0, "ANGSTROM": 1.0, "A": 1.0, "Å": 1.0, "nm": 0.1, "pm": 100.0}


def described(path: Path, **facts: tuple[Any, str | None]) -> RawFrame:
    with h5py.File(path, "w") as file:
        instrument, detector = nexus(file)
        file["entry/data/data"] = counts()
        beam = group(instrument, "beam", "NXbeam")
        for name, (value, unit) in facts.items():
            where = beam if name.startswith("incident") else detector
            where[name] = value
            if unit is not None:
                where[name].attrs["units"] = unit
    return frames_of(path)[2]


@pytest.mark.parametrize("unit", LENGTHS)
def test_distances_are_in_the_unit_that_is_declared(tmp_path: Path, unit: str) -> None:
    frame = described(tmp_path / "a.h5", distance=(LENGTHS[unit], unit))
    assert frame.metadata.clen == pytest.approx(0.15) and not frame.metadata.remarks


@pytest.mark.parametrize("unit", ENERGIES)
def test_energies_are_in_the_unit_that_is_declared(tmp_path: Path, unit: str) -> None:
    frame = described(tmp_path / "a.h5", incident_energy=(ENERGIES[unit], unit))
    assert frame.metadata.photon_energy == pytest.approx(12.4e3) and not frame.metadata.remarks


@pytest.mark.parametrize("unit", WAVELENGTHS)
def test_wavelengths_are_in_the_unit_that_is_declared(tmp_path: Path, unit: str) -> None:
    frame = described(tmp_path / "a.h5", incident_wavelength=(WAVELENGTHS[unit], unit))
    assert frame.metadata.photon_energy == pytest.approx(12398.42, rel=1e-5)
    assert not frame.metadata.remarks


@pytest.mark.parametrize(
    ("name", "value", "unit", "told"),
    [
        ("distance", 0.15, "parsec", "unit 'parsec' is unknown"),
        ("distance", np.array([0.1, 0.2]), "m", "has 2 values for 3 frames"),
        ("distance", 150.0, None, "clen: 150"),
        ("distance", np.nan, "m", "clen: nan"),
        ("incident_energy", 12.4, None, "photon_energy: 12.4"),
        ("incident_wavelength", 1e-10, None, "wavelength|photon_energy"),
    ],
)
def test_what_cannot_be_true_is_told_and_not_used(
    tmp_path: Path, name: str, value: Any, unit: str | None, told: str
) -> None:
    facts = described(tmp_path / "a.h5", **{name: (value, unit)}).metadata
    assert facts.clen is None and facts.photon_energy is None
    with pytest.raises(SpotmillError, match=told):
        raise SpotmillError("; ".join(facts.remarks))


def test_values_of_every_frame(tmp_path: Path) -> None:
    frame = described(
        tmp_path / "a.h5",
        distance=(np.array([[0.1], [0.2], [0.3]]), "m"),
        incident_wavelength=(np.array([1.0, 1.1, 1.2], np.float32), "angstrom"),
        incident_wavelength_spread=(np.zeros(3), None),
    )
    assert frame.metadata.clen == pytest.approx(0.3)
    assert frame.metadata.photon_energy == pytest.approx(12398.42 / 1.2, rel=1e-5)


def test_a_chain_of_transformations(tmp_path: Path) -> None:
    """A detector 180 mm along the beam, its first pixel 12 mm and 9 mm off, on a rail."""
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        _, detector = nexus(file)
        file["entry/data/data"] = counts()
        moves = group(detector, "transformations", "NXtransformations")

        def axis(name: str, value: float, kind: str, vector: list[float], on: str) -> None:
            one = put(moves, name, value, "mm" if kind == "translation" else "deg")
            one.attrs["transformation_type"] = kind
            one.attrs["vector"] = np.array(vector, float)
            one.attrs["depends_on"] = on

        axis("rail", 180.0, "translation", [0, 0, 1], ".")
        axis("tilt", 0.0, "rotation", [0, 1, 0], "rail")
        detector["depends_on"] = "/entry/instrument/detector/transformations/tilt"
        module = group(detector, "module", "NXdetector_module")
        for name, vector in {"fast": [-1, 0, 0], "slow": [0, -1, 0]}.items():
            one = put(module, f"{name}_pixel_direction", 0.5, "mm")
            one.attrs["transformation_type"] = "translation"
            one.attrs["vector"] = np.array(vector, float)
            one.attrs["depends_on"] = "/entry/instrument/detector/module/module_offset"
        offset = put(module, "module_offset", 15.0, "mm")
        offset.attrs["transformation_type"] = "translation"
        offset.attrs["vector"] = np.array([0.8, 0.6, 0.0])
        offset.attrs["depends_on"] = "/entry/instrument/detector/transformations/tilt"
    facts = frames_of(tmp_path / "a.nxs")[0].metadata
    assert facts.clen == pytest.approx(0.18)
    assert facts.pixel_size == pytest.approx(0.5e-3)
    assert facts.beam_centre == pytest.approx((24.0, 18.0))


def test_a_turned_detector(tmp_path: Path) -> None:
    """On an arm of two theta, with offsets: against rotations of SciPy."""
    rng = np.random.default_rng(3)
    axes, angles = rng.normal(size=(2, 3)) * [0.1, 1, 0.1], [4.0, -3.0]
    offset, start = np.array([0.002, -0.001, 0.2]), np.array([0.014, 0.012, 0.0])
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        _, detector = nexus(file)
        file["entry/data/data"] = counts()
        moves = group(detector, "transformations", "NXtransformations")
        for number, (axis, angle) in enumerate(zip(axes, angles, strict=True)):
            one = put(moves, f"turn{number}", np.full(3, angle), "deg")
            one.attrs["transformation_type"], one.attrs["vector"] = "rotation", axis
            one.attrs["depends_on"] = "turn1" if number == 0 else "."
        moves["turn0"].attrs["offset"] = offset * 1000
        moves["turn0"].attrs["offset_units"] = "mm"
        module = group(detector, "module", "NXdetector_module")
        for name, vector in {"fast": [-1, 0, 0], "slow": [0, -1, 0]}.items():
            one = put(module, f"{name}_pixel_direction", 5e-4, "m")
            one.attrs["transformation_type"], one.attrs["vector"] = "translation", vector
            one.attrs["depends_on"] = "module_offset"
        one = put(module, "module_offset", np.linalg.norm(start), "m")
        one.attrs["transformation_type"], one.attrs["vector"] = "translation", start
        one.attrs["depends_on"] = "/entry/instrument/detector/transformations/turn0"
    turns = [
        Rotation.from_rotvec(np.deg2rad(angle) * axis / np.linalg.norm(axis))
        for axis, angle in zip(axes, angles, strict=True)
    ]
    corner = turns[1].apply(turns[0].apply(start) + offset)
    fast, slow, normal = (turns[1].apply(turns[0].apply(one)) for one in np.diag([-1.0, -1.0, 1.0]))
    beam = np.array([0, 0, 1]) * (normal @ corner) / normal[2]
    facts = frames_of(tmp_path / "a.nxs")[2].metadata
    assert facts.clen == pytest.approx(normal @ corner)
    centre = (beam - corner) @ fast / 5e-4, (beam - corner) @ slow / 5e-4
    assert facts.beam_centre == pytest.approx(centre)


TYPES = ["bool", "int8", "uint8", ">i2", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("kind", TYPES)
def test_types_of_pixels(tmp_path: Path, kind: str) -> None:
    images = np.minimum(counts(), 1).astype(kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = images
    frame = frames_of(tmp_path / "a.h5")[1]
    np.testing.assert_array_equal(frame.image, images[1].astype(frame.image.dtype))
    assert frame.live.all()


@pytest.mark.parametrize("kind", ["uint32", "int64", "uint64", "float32", "float64"])
def test_the_flag_of_an_eiger_in_wider_types(tmp_path: Path, kind: str) -> None:
    images = counts(2, np.float64)
    images[:, 4] = EIGER_FLAG
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = images.astype(kind)
    live = frames_of(tmp_path / "a.h5")[0].live
    assert not live[4].any() and live.sum() == 29 * 40


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = counts().astype(np.complex64)
    with pytest.raises(SpotmillError, match="/entry/data/data holds complex numbers"):
        open_file(tmp_path / "a.h5")


def test_too_many_axes_and_an_unknown_filter(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = np.zeros((1, 1, 1, 5, 5))
    with pytest.raises(SpotmillError, match="/entry/data/data has 5 axes"):
        open_file(tmp_path / "a.h5")
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1, *SHAPE))
    made.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (1,))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        space = h5py.h5s.create_simple((1, *SHAPE))
        array = h5py.h5d.create(file.id, b"data", h5py.h5t.STD_U16LE, space, made)
        array.write_direct_chunk((0, 0, 0), b"abcd" * 50, 0)
    with pytest.raises(SpotmillError, match=r"by HDF5 filter 32999 .*HDF5_PLUGIN_PATH"):
        open_file(tmp_path / "b.h5")


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = counts()
        # The lock of HDF5 holds against other processes alone.
        import subprocess
        import sys

        code = "import sys\nfrom spotmill.formats.images import open_file\nopen_file(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True
        )
    assert "is still being written by another program" in done.stderr


MINI = """# Detector: PILATUS 2M, S/N 24-0107
# 2011-02-15T15:02:14.123
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness 0.000320 m
# Count_cutoff 1048500 counts
# Wavelength 0.9537 A
# Detector_distance 0.35 m
# Beam_xy (21.50, 14.25) pixels
"""


def test_mini_header_of_a_pilatus(tmp_path: Path) -> None:
    image = counts(1, np.int32)[0]
    image[3, :5], image[9, 9] = -1, -2
    header = {"_array_data.header_contents": MINI}
    CbfImage(data=image, header=header).write(str(tmp_path / "a.cbf"))
    (frame,) = frames_of(tmp_path / "a.cbf")
    np.testing.assert_array_equal(frame.image, image)
    assert (~frame.live).sum() == 6
    facts = frame.metadata
    assert facts.photon_energy == pytest.approx(13000, rel=1e-3)
    assert (facts.clen, facts.pixel_size, facts.saturation) == (0.35, 172e-6, 1048500)
    assert facts.beam_centre == (21.5, 14.25)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.uint32, np.float32])
def test_tiff_of_all_types(tmp_path: Path, kind: Any) -> None:
    image = counts(1, np.float64)[0].astype(kind)
    if np.issubdtype(kind, np.signedinteger):
        image[2, 2] = -1
    if kind is np.float32:
        image[2, 2] = np.nan
    TifImage(data=image).write(str(tmp_path / "a.tif"))
    (frame,) = frames_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.image, image)
    assert (~frame.live).sum() == (kind not in (np.uint16, np.uint32))
