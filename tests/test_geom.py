"""CrystFEL geometry files: what they say, and that they round-trip."""

from dataclasses import replace

import numpy as np
import pytest
from geom_texts import EVERYTHING, PLAIN, SECOND, bad, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from spotmill.errors import SpotmillError
from spotmill.formats.geom import (
    Flag,
    Group,
    Mask,
    Quantity,
    dataset_geometry,
    format_geometry,
    read_geometry,
    write_geometry,
)
from spotmill.physics.geometry import beam_centre, pixel_positions, project

# --- what a file says ---------------------------------------------------------------------


def test_every_word():
    geometry = parse(EVERYTHING)
    a, b = geometry.panels
    assert geometry.clen == Quantity("clen", "/LCLS/detector_1/EncoderValue", "mm")
    assert geometry.clen.number is None
    assert geometry.clen.scale == 1e-3
    assert geometry.radiation == Quantity("wavelength", 1.5, "A")
    assert geometry.photon_energy == pytest.approx(12398.419843 / 1.5)
    assert geometry.bandwidth == 0.002
    assert geometry.detector_shift_x.number == pytest.approx(5e-4)
    assert geometry.detector_shift_y.location == "/shift/y"
    assert (geometry.peak_list, geometry.peak_list_type) == ("/entry_1/result_1", "cxi")
    assert (a.min_fs, a.max_fs, a.min_ss, a.max_ss) == (0, 193, 0, 184)
    assert (a.corner_x, a.corner_y, a.coffset) == (443.819, -49.8719, 0.573224)
    assert a.fs == (0.004806, 0.999989, 0.0)
    assert a.ss == (-0.999989, 0.004806, -0.1)
    assert (b.fs, b.ss, b.coffset) == ((-1.0, 0.0, 0.0), (0.0, -0.5, 0.1), 0.5)
    assert a.dims == ("%", 3, "ss", "fs")
    assert a.masks == (
        Mask(0, "/entry_1/%/mask", "/somewhere/bad pixels.h5", 0, 0xFFFF),
        Mask(3, "/static", None, 1, 0),
    )
    assert b.flags == (Flag("lessthan", -100.0), Flag("morethan", 1e4))
    assert a.flags == (*b.flags, Flag("equal", 0.0))
    assert (a.adu_per_eV, a.adu_per_photon, a.max_adu) == (0.001, None, 12000)
    assert (b.adu_per_eV, b.adu_per_photon) == (None, 12)
    assert (a.no_index, b.no_index, b.mask_edge_pixels) == (False, True, 2)
    assert (a.saturation_map, a.saturation_map_file) == ("/sat", "sat.h5")
    jet, row = geometry.bad_regions
    assert (jet.axes, jet.low, jet.high) == (("x", "y"), (-15.0, 71.3), (15.0, 159.3))
    assert (row.axes, row.low, row.high, row.panel) == (("fs", "ss"), (3, 185), (9, 185), "b")
    assert geometry.rigid_groups == (Group("q0", ("a", "b")),)
    assert geometry.rigid_group_collections == (Group("all", ("q0",)),)
    assert geometry.groups == (Group("q0", ("a",)), Group("all", ("q0", "b")))


@pytest.mark.parametrize(
    ("line", "metres"),
    [
        ("clen = 0.25", 0.25),
        ("clen = 250 mm", 0.25),
        ("clen = 0.25 m", 0.25),
        ("clen = +2.5e-1   m ; comment", 0.25),
        ("clen = /path", None),
        ("clen = /path m", None),
        ("clen = detector_distance mm", None),
    ],
)
def test_camera_length(line, metres):
    quantity = parse(PLAIN.replace("clen = 0.1", line)).clen
    assert quantity.number == (None if metres is None else pytest.approx(metres, rel=1e-15))


def test_camera_length_from_data_is_in_millimetres_unless_said():
    assert parse(PLAIN.replace("clen = 0.1", "clen = /path")).clen.scale == 1e-3
    assert parse(PLAIN.replace("clen = 0.1", "clen = /path m")).clen.scale == 1.0


@pytest.mark.parametrize(
    ("line", "electronvolts"),
    [
        ("photon_energy = 7000", 7000),
        ("photon_energy = 7 keV", 7000),
        ("photon_energy = 7000 eV", 7000),
        ("photon_energy = 0.007 MeV", 7000),
        ("wavelength = 1.7712 A", 12398.419843 / 1.7712),
        ("wavelength = 1.7712e-10 m", 12398.419843 / 1.7712),
        ("photon_energy = /LCLS/photon_energy_eV", None),
        ("wavelength = /LCLS/wavelength m", None),
        ("", None),
    ],
)
def test_photon_energy(line, electronvolts):
    energy = parse(PLAIN.replace("photon_energy = 8000", line)).photon_energy
    assert energy == (None if electronvolts is None else pytest.approx(electronvolts, rel=1e-9))


def test_electrons_have_no_photon_energy():
    geometry = parse(PLAIN.replace("photon_energy = 8000", "electron_voltage = 200 kV"))
    assert geometry.radiation.number == 200e3
    with pytest.raises(SpotmillError, match="electrons"):
        _ = geometry.photon_energy


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("x", (1, 0, 0)),
        ("-y", (0, -1, 0)),
        ("+z + x", (1, 0, 1)),
        ("-0.002x +1.0y -0.1z", (-0.002, 1, -0.1)),
        ("1e-3x-1y", (0.001, -1, 0)),
        ("- 5.x + .5y", (-5, 0.5, 0)),
    ],
)
def test_directions(text, vector):
    geometry = parse(PLAIN.replace("a/fs = x", f"a/fs = {text}").replace("= y", "= 0.3x+0.3y+2z"))
    assert geometry.panels[0].fs == vector


def test_defaults_hold_for_later_panels_only():
    text = PLAIN + "coffset = 0.25\nres = 5000\n" + SECOND + "a/min_fs = 0\n"
    a, b = parse(text).panels
    assert (a.coffset, a.res, b.coffset, b.res) == (0.0, 10000, 0.25, 5000)


def test_line_endings_and_byte_order_marks():
    for text in (PLAIN.replace("\n", "\r\n"), PLAIN.replace("\n", "\r"), "\ufeff" + PLAIN):
        assert parse(text) == parse(PLAIN)


def test_per_panel_camera_length_of_old_files():
    text = PLAIN.replace("clen = 0.1\n", "") + "a/clen = 0.1\n" + SECOND + "b/clen = 0.1\n"
    assert parse(text).clen.number == 0.1
    with pytest.raises(SpotmillError, match=r"line 21: b/clen: contradicts line 12"):
        parse(text.replace("b/clen = 0.1", "b/clen = 0.2"))


# --- the detector in space ----------------------------------------------------------------


def test_detector_in_metres():
    detector = parse(PLAIN + SECOND).detector()
    assert detector.shape == (16, 10)
    assert detector.clen == 0.1
    assert detector.max_adu is None
    a, b = detector.panels
    np.testing.assert_allclose(a.corner, [-5e-4, -4e-4, 0.1])
    np.testing.assert_allclose(b.fs, [0, 1e-4, 0])
    np.testing.assert_allclose(b.ss, [-1e-4, 0, 0])
    assert detector.pixel_size == pytest.approx(1e-4)
    assert beam_centre(detector) == pytest.approx((5, 4))
    for one in detector.panels:
        struck, fs, _ = project(detector, pixel_positions(one)[2, 3][np.newaxis])
        assert detector.panels[struck[0]] is one
        assert fs[0] == pytest.approx(3.5)


def test_camera_length_given_overrides_and_offsets_add():
    geometry = parse(PLAIN.replace("res", "coffset = -0.01\nres"))
    assert geometry.detector(clen=0.3).panels[0].corner[2] == pytest.approx(0.29)
    with pytest.raises(SpotmillError, match=r"^det.geom: panel a: clen"):
        geometry.detector(clen=0.01)


def test_camera_length_from_data_asks_for_the_option():
    geometry = parse(PLAIN.replace("clen = 0.1", "clen = /LCLS/z"))
    with pytest.raises(SpotmillError, match=r"^det\.geom: clen: .*/LCLS/z.*--clen"):
        geometry.detector()
    assert geometry.detector(clen=0.2).clen == 0.2


def test_shift_of_the_detector():
    geometry = parse("detector_shift_x = 2 mm\ndetector_shift_y = -0.001\n" + PLAIN)
    np.testing.assert_allclose(geometry.detector().panels[0].corner, [1.5e-3, -1.4e-3, 0.1])
    geometry = parse("detector_shift_x = /x mm\n" + PLAIN)
    with pytest.raises(SpotmillError, match="detector_shift_x"):
        geometry.detector()


def test_gain():
    assert parse(PLAIN.replace("photon = 1", "photon = 2.5")).detector().adu_per_photon == 2.5
    geometry = parse(PLAIN.replace("adu_per_photon = 1", "adu_per_eV = 0.001"))
    assert geometry.detector().adu_per_photon == pytest.approx(8.0)
    assert geometry.detector(photon_energy=6000).adu_per_photon == pytest.approx(6.0)
    with pytest.raises(SpotmillError, match="adu_per_eV: needs a photon energy"):
        replace(geometry, radiation=None).detector()
    with pytest.raises(SpotmillError, match="differs between panels"):
        parse(PLAIN + SECOND + "b/adu_per_photon = 3\n").detector()


def test_lowest_saturation_counts():
    text = PLAIN + "a/max_adu = 500\n" + SECOND + "b/max_adu = 400\n"
    assert parse(text).detector().max_adu == 400


def test_mask_of_edges_and_ignored_panels():
    live = parse(PLAIN + "a/mask_edge_pixels = 2\n").detector().mask
    expected = np.zeros((8, 10), dtype=bool)
    expected[2:6, 2:8] = True
    assert (live == expected).all()
    assert not parse(PLAIN + "a/mask_edge_pixels = 5000\n").detector().mask.any()
    live = parse(PLAIN + SECOND + "a/no_index = 1\n").detector().mask
    assert not live[:8].any()
    assert live[8:].all()


def test_bad_regions_in_the_data_are_inclusive_and_of_one_panel():
    region = bad("bad1", min_fs=1, max_fs=3, min_ss=9, max_ss=9, panel="b")
    live = parse(PLAIN + SECOND + region).detector().mask
    assert np.argwhere(~live).tolist() == [[9, 1], [9, 2], [9, 3]]


def test_bad_region_of_the_only_panel_is_clipped():
    live = parse(PLAIN + bad("badx", min_fs=8, max_fs=100, min_ss=7, max_ss=50)).detector().mask
    assert np.argwhere(~live).tolist() == [[7, 8], [7, 9]]


def test_bad_regions_in_the_laboratory_take_the_corners_of_pixels():
    # Panel b runs fs along y from 6.5 and ss along -x from -5; panel a begins at (-5, -4).
    region = bad("badlab", min_x=-7.5, max_x=-4.5, min_y=-4.5, max_y=7.0)
    live = parse(PLAIN + SECOND + region).detector().mask
    expected = [[ss, 0] for ss in range(8)] + [[8, 0], [9, 0], [10, 0]]
    assert np.argwhere(~live).tolist() == expected


def test_panels_in_different_planes_of_the_data():
    text = "dim0 = %\ndim1 = 0\ndim2 = ss\ndim3 = fs\n" + PLAIN + SECOND
    assert parse(text).detector().shape == (16, 10)
    stacked = parse(text + "b/dim1 = 1\n")
    assert stacked.panels[1].dims == ("%", 1, "ss", "fs")
    with pytest.raises(SpotmillError, match="dim: panel a has '% 0 ss fs', panel b '% 1 ss fs'"):
        stacked.detector()
    with pytest.raises(SpotmillError, match="data: panel a"):
        parse(PLAIN + SECOND + "b/data = /other\n").detector()


def test_an_array_beyond_reason_is_refused_before_it_is_made():
    text = PLAIN.replace("max_fs = 9", "max_fs = 999999").replace("max_ss = 7", "max_ss = 999999")
    with pytest.raises(SpotmillError, match="max_ss"):
        parse(text).detector()


# --- writing ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [PLAIN, PLAIN + SECOND, EVERYTHING])
def test_round_trip(text, tmp_path):
    geometry = parse(text)
    write_geometry(tmp_path / "new/copy.geom", geometry)
    assert read_geometry(tmp_path / "new/copy.geom") == geometry
    assert format_geometry(geometry) == format_geometry(parse(format_geometry(geometry)))


numbers = st.floats(-1e4, 1e4, allow_nan=False)


@given(
    x=numbers,
    y=numbers,
    tilt=st.floats(-0.9, 0.9),
    res=st.floats(100, 1e6),
    clen=st.floats(1e-3, 100),
    flags=st.lists(st.builds(Flag, st.sampled_from(["lessthan", "morethan", "equal"]), numbers)),
)
@settings(max_examples=40, deadline=None)
def test_round_trip_of_any_numbers(x, y, tilt, res, clen, flags):
    first = parse(PLAIN + SECOND)
    panel = replace(
        first.panels[0],
        corner_x=x,
        corner_y=y,
        res=res,
        fs=(1.0, tilt, -tilt / 3),
        flags=tuple(flags),
    )
    geometry = replace(first, panels=(panel, first.panels[1]), clen=Quantity("clen", clen, "mm"))
    assert parse(format_geometry(geometry)) == geometry


def test_geometry_beside_the_shards():
    geometry = dataset_geometry(parse(EVERYTHING.replace("/shift/y m", "0")), 0.25, 6000, 0.01)
    text = format_geometry(geometry)
    again = parse(text)
    assert again == geometry
    for panel in again.panels:
        assert panel.dims == ("%", "ss", "fs")
        assert panel.data == "/entry/data/data"
        assert panel.masks == (Mask(0, "/entry/instrument/detector/pixel_mask", None, 0, 1),)
    assert again.photon_energy == 6000
    assert again.bandwidth == 0.01
    detector = again.detector()
    assert (detector.clen, detector.adu_per_photon) == (0.25, 1.0)
    for line in ("clen = 0.25", "photon_energy = 6000", "mask_good = 0x0", "mask_bad = 0x1"):
        assert line in text.splitlines()
    with pytest.raises(SpotmillError, match="clen"):
        dataset_geometry(geometry, 0.0, 6000, 0.01)
    with pytest.raises(SpotmillError, match="photon_energy"):
        dataset_geometry(geometry, 0.1, 6, 0.01)
