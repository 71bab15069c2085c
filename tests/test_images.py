"""Real frames: facts of known files, files written here by h5py and fabio, and bad input."""

import gzip
import shutil
import struct

import fabio
import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.dtrekimage import DtrekImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, write_shard
from spotmill.formats.images import Source, open_file, open_frames, sources

SHAPE = (11, 17)
COPPER = 8047.8  # eV, of 1.5406 Å


def counts(number=1, dtype=np.uint32):
    rng = np.random.default_rng(4)
    return rng.poisson(3.0, (number, *SHAPE)).astype(dtype)


def only(path, **options):
    frames = list(open_frames(path, **options))
    assert len(frames) == 1
    return frames[0]


def refused(path, words, **options):
    with pytest.raises(SpotmillError, match=words) as caught:
        list(open_frames(path, **options))
    assert "\n" not in str(caught.value)


# ---- real files


def test_pilatus_cbf(shared):
    frame = only(shared / "real/run2_1_00148.cbf.gz")
    assert frame.image.shape == (2527, 2463)
    assert frame.image.dtype == np.int32
    facts = frame.metadata
    assert facts.photon_energy == pytest.approx(12000, rel=1e-4)
    assert (facts.clen, facts.pixel_size) == (0.3, 172e-6)
    assert facts.beam_centre == (1230.1, 1310.5)
    assert facts.saturation == 1583782
    # The gaps of a PILATUS 6M: 4 columns and 11 rows of 7 and 17 pixels.
    expected = fabio.open(str(shared / "real/run2_1_00148.cbf.gz")).data >= 0
    np.testing.assert_array_equal(frame.mask, expected)
    dead = 1 - frame.mask.mean()
    assert dead == pytest.approx(1 - (2463 - 28) * (2527 - 187) / (2463 * 2527), abs=4e-4)
    # The beam's centre lies in the shadow of the beamstop, well inside the array.
    assert not frame.image[1300:1320, 1225:1235].max() > 100


def test_mar345(shared):
    frame = only(shared / "real/example.mar2300")
    assert frame.image.shape == (2300, 2300)
    assert frame.metadata.photon_energy == pytest.approx(11480, rel=1e-4)
    assert frame.metadata.clen == pytest.approx(0.24)
    assert frame.metadata.pixel_size == pytest.approx(150e-6)
    assert frame.metadata.beam_centre == (1150, 1150)
    assert frame.mask.mean() == pytest.approx(np.pi / 4, abs=1e-4)


def test_pilatus_tiff(shared):
    frame = only(shared / "real/00567_A1_Water_at_WAXS.tiff")
    assert frame.image.shape == (619, 487)
    assert frame.metadata.pixel_size == 172e-6
    assert frame.metadata.saturation == 1067975
    assert frame.metadata.photon_energy is None
    assert frame.image[frame.live].min() == 0


def test_eiger2_data_file(shared):
    path = shared / "real/vac_007_data_000001.h5"
    frames = list(open_frames(path))
    assert [frame.event for frame in frames] == [0, 1]
    with h5py.File(path) as file:
        for frame, stored in zip(frames, file["entry/data/data"], strict=True):
            np.testing.assert_array_equal(frame.image, stored)
            np.testing.assert_array_equal(frame.mask, stored != 2**32 - 1)
    assert frames[0].image.shape == (3262, 3108)
    assert frames[0].image[frames[0].mask].max() < 1000
    assert frames[0].metadata.photon_energy is None


def test_numbers_without_header_are_refused(shared):
    refused(shared / "real/jungfrau_module_0.f32", "numbers without a header")


# ---- HDF5 written here


def write_data_file(path, images, place="entry/data/data"):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            place,
            data=images,
            chunks=(1, *images.shape[1:]),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
        )


def describe(file, wavelength=1.5406, units="angstrom", distance=150.0, distance_units="mm"):
    entry = file.require_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    instrument = entry.create_group("instrument")
    instrument.attrs["NX_class"] = "NXinstrument"
    beam = instrument.create_group("beam")
    beam.attrs["NX_class"] = "NXbeam"
    beam["incident_wavelength"] = wavelength
    if units:
        beam["incident_wavelength"].attrs["units"] = np.bytes_(units)
    detector = instrument.create_group("detector")
    detector.attrs["NX_class"] = "NXdetector"
    detector["detector_distance"] = distance
    detector["detector_distance"].attrs["units"] = distance_units
    for axis in "xy":
        detector[f"{axis}_pixel_size"] = 75e-6
        detector[f"{axis}_pixel_size"].attrs["units"] = "m"
    detector["beam_center_x"], detector["beam_center_y"] = 8.5, 5.25
    detector["saturation_value"] = 60000
    return detector


@pytest.fixture
def master(tmp_path):
    """Write a master with three frames in each of two data files, and one pixel masked."""
    images = counts(6)
    images[:, 0, 0] = 2**32 - 1
    path = tmp_path / "run_master.h5"
    with h5py.File(path, "w") as file:
        detector = describe(file)
        mask = np.zeros(SHAPE, np.uint32)
        mask[3, 4] = 2
        detector.create_group("detectorSpecific")["pixel_mask"] = mask
        data = file["entry"].create_group("data")
        data.attrs["NX_class"] = "NXdata"
        for number in (1, 2):
            name = f"run_data_{number:06d}.h5"
            write_data_file(tmp_path / name, images[3 * number - 3 : 3 * number])
            data[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
    return path, images


def test_master_with_external_data(master):
    path, images = master
    frames = list(open_frames(path))
    assert [frame.event for frame in frames] == list(range(6))
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        dead = np.argwhere(~frame.mask).tolist()
        assert dead == [[0, 0], [3, 4]]
    facts = frames[0].metadata
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert facts.clen == pytest.approx(0.15)
    assert facts.pixel_size == 75e-6
    assert facts.beam_centre == (8.5, 5.25)
    assert facts.saturation == 60000
    assert facts.remarks == ()


def test_one_event_of_a_master(master):
    path, images = master
    frame = only(path, event=4)
    assert frame.event == 4
    np.testing.assert_array_equal(frame.image, images[4])
    refused(path, r"has no event 6; it holds 6 \(0 to 5\)", event=6)
    refused(path, "has no event -1", event=-1)


def test_master_without_its_data(master):
    path, _ = master
    (path.parent / "run_data_000002.h5").unlink()
    refused(path, "master without its data file run_data_000002.h5")


def test_damaged_data_file(master):
    path, _ = master
    victim = path.parent / "run_data_000002.h5"
    victim.write_bytes(victim.read_bytes()[:500])
    refused(path, "cannot be opened")


def test_entry_of_any_name_with_the_data_elsewhere(tmp_path):
    write_data_file(tmp_path / "raw.h5", counts(2))
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        describe(file)
        file.move("entry", "scan")
        data = file["scan"].create_group("data")
        data.attrs["NX_class"], data.attrs["signal"] = "NXdata", "data"
        data["data"] = h5py.ExternalLink("raw.h5", "/entry/data/data")
        file["scan/instrument/beam/incident_energy"] = 9.0
        file["scan/instrument/beam/incident_energy"].attrs["units"] = "keV"
    facts = only(tmp_path / "a.nxs", event=1).metadata
    assert facts.clen == 0.15
    # Where energy and wavelength contradict each other, the user is told.
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert any("contradicts" in remark for remark in facts.remarks)


@pytest.mark.parametrize(
    ("units", "wavelength"),
    [("angstrom", 1.5406), (None, 1.5406), ("nm", 0.15406), ("m", 1.5406e-10)],
)
def test_wavelength_is_in_the_unit_that_is_declared(tmp_path, units, wavelength):
    path = tmp_path / "a.h5"
    write_data_file(path, counts())
    with h5py.File(path, "a") as file:
        describe(file, wavelength, units)
    assert only(path).metadata.photon_energy == pytest.approx(COPPER, rel=1e-5)


def test_wrong_header_is_a_remark_and_hides_no_image(tmp_path):
    path = tmp_path / "a.h5"
    write_data_file(path, counts())
    with h5py.File(path, "a") as file:
        describe(file, wavelength=1.5e-10, distance_units="furlong")
    facts = only(path).metadata
    assert facts.photon_energy is None
    assert facts.clen is None
    assert any("furlong" in remark for remark in facts.remarks)
    assert any("photon_energy" in remark for remark in facts.remarks)


def test_zero_means_that_the_header_does_not_know(tmp_path):
    path = tmp_path / "a.h5"
    write_data_file(path, counts())
    with h5py.File(path, "a") as file:
        describe(file, wavelength=0.0, distance=0.0)
    facts = only(path).metadata
    assert (facts.photon_energy, facts.clen, facts.remarks) == (None, None, ())


def test_virtual_dataset(tmp_path):
    images = counts(4, np.uint16)
    for number in range(2):
        write_data_file(tmp_path / f"part{number}.h5", images[2 * number : 2 * number + 2])
    layout = h5py.VirtualLayout((4, *SHAPE), np.uint16)
    for number in range(2):
        source = h5py.VirtualSource(f"part{number}.h5", "entry/data/data", (2, *SHAPE))
        layout[2 * number : 2 * number + 2] = source
    path = tmp_path / "vds.nxs"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    np.testing.assert_array_equal([frame.image for frame in open_frames(path)], images)
    assert [source.path for source in sources(tmp_path)] == [path]
    (tmp_path / "part1.h5").unlink()
    refused(path, "without its data file part1.h5")


def test_nexus_signal_and_default_are_followed(tmp_path):
    path = tmp_path / "a.nxs"
    images = counts(2)
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "scan"
        scan = file.create_group("scan")
        scan.attrs["NX_class"], scan.attrs["default"] = "NXentry", "second"
        for name in ("first", "second"):
            group = scan.create_group(name)
            group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "pixels"
            group["pixels"] = images if name == "second" else images + 9
    np.testing.assert_array_equal([frame.image for frame in open_frames(path)], images)


def test_cxi(tmp_path):
    path = tmp_path / "a.cxi"
    images = np.random.default_rng(1).normal(0, 2, (3, *SHAPE)).astype(np.float32)
    images[1, 2, 3] = np.nan
    images[0, 5, 5] = -1
    mask = np.zeros((3, *SHAPE), np.uint16)
    mask[:, 1, 1] = 0x0001  # invalid
    mask[2, 4, 4] = 0x0008  # dead
    mask[2, 6, 6] = 0x0020  # in a peak: a good pixel
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/data_1/data"] = images
        file["entry_1/data_1/mask"] = mask
        source = file.create_group("entry_1/instrument_1/source_1")
        source["energy"] = np.array([8000.0, 9000.0, 10000.0]) * 1.602176634e-19
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["distance"] = 0.2
        detector["x_pixel_size"] = detector["y_pixel_size"] = 110e-6
    frames = list(open_frames(path))
    assert [frame.metadata.photon_energy for frame in frames] == pytest.approx([8e3, 9e3, 1e4])
    assert [np.argwhere(~frame.live).tolist() for frame in frames] == [
        [[1, 1], [5, 5]],
        [[1, 1], [2, 3]],
        [[1, 1], [4, 4]],
    ]
    assert frames[0].metadata.clen == 0.2
    # Noise about zero is no flag.
    assert (frames[0].image[frames[0].live] < 0).any()


@pytest.mark.parametrize("place", ["entry/data/data", "data/data", "some/where/else"])
def test_bare_arrays(tmp_path, place):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file[place] = counts()[0]
    np.testing.assert_array_equal(only(path).image, counts()[0])


def test_several_unknown_arrays_are_ambiguous(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one"], file["two"] = counts()[0], counts()[0] + 1
    refused(path, "several arrays")
    np.testing.assert_array_equal(only(path, data="/two").image, counts()[0] + 1)
    refused(path, "no array at /three", data="/three")


def test_stacked_panels_lie_below_one_another(tmp_path):
    path = tmp_path / "a.h5"
    images = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = images
    frame = only(path, event=1)
    assert frame.image.shape == (12, 5)
    np.testing.assert_array_equal(frame.image[4:8], images[1, 1])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint64, np.float64])
def test_number_types(tmp_path, dtype):
    path = tmp_path / "a.h5"
    image = (counts()[0] > 3).astype(dtype)
    with h5py.File(path, "w") as file:
        file["data"] = image
    frame = only(path)
    np.testing.assert_array_equal(frame.image, image)
    assert frame.mask is None


def test_our_shards(tmp_path):
    header = Header("A", "overlay", "crystal", 7000.0, 0.15, 75e-6, 1, 0, {}, 65535)
    mask = np.ones(SHAPE, dtype=bool)
    mask[2, 2] = False
    image = counts(1, np.uint16)[0]
    image[0, 0] = 65535  # saturated, not flagged
    indices = np.array([12], dtype=np.int64)
    with write_shard(tmp_path / "s.h5", header, indices, SHAPE, np.uint16, mask) as shard:
        shard.put(12, image)
    frame = only(tmp_path / "s.h5")
    np.testing.assert_array_equal(frame.image, image)
    np.testing.assert_array_equal(frame.mask, mask)
    facts = frame.metadata
    assert (facts.photon_energy, facts.clen, facts.pixel_size) == (7000.0, 0.15, 75e-6)
    assert facts.saturation == 65535


# ---- formats that fabio writes


def test_cbf_written_by_another(tmp_path):
    image = counts(1, np.int32)[0]
    image[1, 2], image[3, 4] = -1, -2
    header = (
        "# Detector: PILATUS\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Wavelength 1.5406 A\r\n"
        "# Detector_distance 0.25 m\r\n# Beam_xy (8.50, 5.25) pixels\r\n# Count_cutoff 900 counts"
    )
    path = tmp_path / "a.cbf"
    CbfImage(data=image, header={"_array_data.header_contents": header}).write(str(path))
    frame = only(path)
    np.testing.assert_array_equal(frame.image, image)
    assert np.argwhere(~frame.mask).tolist() == [[1, 2], [3, 4]]
    facts = frame.metadata
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert (facts.clen, facts.beam_centre, facts.saturation) == (0.25, (8.5, 5.25), 900)
    packed = tmp_path / "b.cbf.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(only(packed).image, image)


def test_edf(tmp_path):
    image = counts(1, np.uint16)[0]
    header = {
        "WaveLength": "1.5406e-10",
        "SampleDistance": "2.5",
        "PSize_1": "1e-4",
        "PSize_2": "1e-4",
        "Center_1": "8.5",
        "Center_2": "5.25",
    }
    file = EdfImage(data=image, header=header)
    file.append_frame(data=image + 1, header=header)
    file.write(str(tmp_path / "a.edf"))
    first, second = open_frames(tmp_path / "a.edf")
    np.testing.assert_array_equal(first.image, image)
    np.testing.assert_array_equal(second.image, image + 1)
    facts = first.metadata
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert (facts.clen, facts.pixel_size, facts.beam_centre) == (2.5, 1e-4, (8.5, 5.25))
    refused(tmp_path / "a.edf", "no event 2", event=2)


def test_tiff_is_told_by_its_bytes_not_its_name(tmp_path):
    image = counts(1, np.uint16)[0]
    TifImage(data=image).write(str(tmp_path / "a.tif"))
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.img")
    for name in ("a.tif", "b.img"):
        np.testing.assert_array_equal(only(tmp_path / name).image, image)


def test_adsc(tmp_path):
    image = counts(1, np.uint16)[0]
    header = {
        "WAVELENGTH": "1.5406",
        "DISTANCE": "120.0",
        "PIXEL_SIZE": "0.1",
        "BEAM_CENTER_X": "0.5",
        "BEAM_CENTER_Y": "0.8",
        "CCD_IMAGE_SATURATION": "65535",
    }
    DtrekImage(data=image, header=header).write(str(tmp_path / "a.img"))
    frame = only(tmp_path / "a.img")
    np.testing.assert_array_equal(frame.image, image)
    facts = frame.metadata
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert (facts.clen, facts.pixel_size, facts.saturation) == (0.12, 1e-4, 65535)
    assert facts.beam_centre == pytest.approx((8.0, 5.0))


def test_marccd(tmp_path):
    """A MarCCD file is a TIFF of 4096 bytes of headers, then 16-bit counts."""
    image = counts(1, np.uint16)[0]
    ss, fs = SHAPE
    tags = [(256, fs), (257, ss), (258, 16), (259, 1), (262, 1), (273, 4096), (278, ss)]
    tags += [(279, image.nbytes), (339, 1)]
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    start += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = bytearray(start.ljust(4096, b"\0"))
    head[1024:1044] = struct.pack("<I16s", 2, b"MMX")
    for offset, value in {
        1024 + 104: 60000,  # saturated_value
        1024 + 640: 120000,  # xtal_to_detector
        1024 + 644: 8500,  # beam_x
        1024 + 648: 5250,  # beam_y
        1024 + 772: 79346,  # pixelsize_x
        1024 + 776: 79346,
        1024 + 908: 154060,  # source_wavelength
    }.items():
        head[offset : offset + 4] = struct.pack("<I", value)
    (tmp_path / "a.img").write_bytes(bytes(head) + image.tobytes())
    frame = only(tmp_path / "a.img")
    np.testing.assert_array_equal(frame.image, image)
    facts = frame.metadata
    assert facts.photon_energy == pytest.approx(COPPER, rel=1e-5)
    assert facts.clen == pytest.approx(0.12)
    assert facts.pixel_size == pytest.approx(79.346e-6)
    assert facts.beam_centre == pytest.approx((8.5, 5.25))
    assert facts.saturation == 60000


def test_numpy_arrays_but_never_objects(tmp_path):
    np.save(tmp_path / "a.npy", counts()[0])
    np.testing.assert_array_equal(only(tmp_path / "a.npy").image, counts()[0])
    np.save(tmp_path / "b.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "b.npy", "cannot be read as an image")


# ---- folders and lists


def test_folder_is_sorted_and_counts_linked_frames_once(master):
    path, images = master
    (path.parent / "notes.txt").write_text("not a frame")
    (path.parent / ".hidden.h5").write_text("")
    TifImage(data=counts(1, np.uint16)[0]).write(str(path.parent / "a.tif"))
    frames = list(open_frames(path.parent))
    assert [frame.path.name for frame in frames] == ["a.tif"] + [path.name] * len(images)
    with pytest.raises(SpotmillError, match="an event goes with a single file"):
        list(open_frames(path.parent, event=0))


def test_list_of_crystfel(master, tmp_path, monkeypatch):
    path, images = master
    TifImage(data=images[0].astype(np.uint16)).write(str(tmp_path / "with space.tif"))
    listing = tmp_path / "lists" / "hits.lst"
    listing.parent.mkdir()
    listing.write_text(f"{path} //5\n{path} //2\n\n{tmp_path}/with space.tif\n{path}\n")
    assert [source.events for source in sources(listing)] == [(5, 2), None, None]
    frames = list(open_frames(listing))
    assert [frame.event for frame in frames] == [5, 2, 0, *range(6)]
    np.testing.assert_array_equal(frames[1].image, images[2])
    # As in CrystFEL relative to the current folder, or else to the list's own.
    monkeypatch.chdir(tmp_path)
    listing.write_text(f"{path.name} //1")
    assert [source.events for source in sources(listing)] == [(1,)]
    (tmp_path / "here.lst").write_text(path.name)
    monkeypatch.chdir("/")
    assert list(sources(tmp_path / "here.lst")) == [Source(path)]


def test_lists_that_are_wrong(master, tmp_path):
    path, _ = master
    listing = tmp_path / "a.lst"
    for text, words in {
        "": "names 0 frames",
        "absent.h5 //1": "line 1: absent.h5 is no file",
        f"{path} entry_1//0": "has no event entry_1//0; its events are numbered, //0 to //5",
        f"{path} entry_1//x": "line 1: event 'entry_1//x' is not of the form",
        f"{path} //60": "has no event 60",
    }.items():
        listing.write_text(text)
        refused(listing, words)


# ---- bad input


def test_files_that_are_no_images(tmp_path):
    cases = {
        "a.txt": (b"some words", "no known image format"),
        "b.tif": (b"", "is empty"),
        "c.h5": (b"some words", "not a whole HDF5 file"),
        "d.jpg": (b"\xff\xd8\xff\xe0abcdef", "is a picture"),
        "e.tif": (b"II*\0\x08\0\0\0", "cannot be read as an image"),
        "f.cbf": (b"###CBF: VERSION 1.5\r\n", "without its image"),
        "g.raw": (bytes(64), "numbers without a header"),
        "h.cbf.gz": (b"no gzip", "cannot be read"),
        "i.edf": (b"{\nDim_1 = 4 ;\n", "cannot be read as an image"),
        "j.img": (b"{\nHEADER_BYTES=  512;\n}\n", "cannot be read as an image"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, words)
    refused(tmp_path / "absent.cbf", "no such file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no images")


def test_truncated_files(tmp_path):
    images = np.random.default_rng(0).poisson(50, (60, 70))
    CbfImage(data=images.astype(np.int32)).write(str(tmp_path / "a.cbf"))
    TifImage(data=images.astype(np.uint16)).write(str(tmp_path / "a.tif"))
    EdfImage(data=images.astype(np.uint16)).write(str(tmp_path / "a.edf"))
    DtrekImage(data=images.astype(np.uint16)).write(str(tmp_path / "a.img"))
    write_data_file(tmp_path / "a.h5", images[np.newaxis].astype(np.uint16))
    for file in tmp_path.iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 3 // 4])
        refused(file, "check that it is whole|copy it again")


def test_damaged_pixels_of_a_cbf(tmp_path):
    path = tmp_path / "a.cbf"
    CbfImage(data=np.full((60, 70), 5, np.int32)).write(str(path))
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(bytes(content))
    refused(path, "Checksum")


def test_hdf5_without_frames(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((0, *SHAPE), np.uint16)
    refused(path, "holds 0 frames")
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros(5)
    refused(path, "holds no image")
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", (1, 2**20, 2**20), np.uint16, chunks=(1, 64, 64))
    refused(path, "frames of 1048576 x 1048576 pixels")


def test_a_hundred_million_pixels(tmp_path):
    """Chunks that were never written read as zeros, so the file is small."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", (3, 10000, 10000), np.uint8, chunks=(1, 1000, 1000))
    assert only(path, event=2).image.shape == (10000, 10000)


def test_memory_is_that_of_one_frame(tmp_path):
    import tracemalloc

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", (40, 500, 500), np.int32, chunks=(1, 500, 500))
    tracemalloc.start()
    with open_file(path) as frames:
        assert len(frames) == 40
        total = sum(int(frame.image.sum()) for frame in frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 0
    assert peak < 6 * 500 * 500 * 4
