"""CrystFEL geometry files: what they say, what is refused, and that they round-trip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotmill.concepts import Response
from spotmill.errors import SpotmillError
from spotmill.formats.geom import (
    Flag,
    Group,
    Mask,
    Quantity,
    dataset_geometry,
    format_geometry,
    parse_geometry,
    read_geometry,
    write_geometry,
)
from spotmill.physics.geometry import beam_centre, pixel_positions, project

ROOT = Path(__file__).resolve().parent.parent
EIGER = ROOT / "config/detectors/eiger4m.geom"

PLAIN = """\
clen = 0.1
photon_energy = 8000
adu_per_photon = 1
res = 10000
a/min_fs = 0
a/max_fs = 9
a/min_ss = 0
a/max_ss = 7
a/corner_x = -5
a/corner_y = -4
a/fs = x
a/ss = y
"""
SECOND = """\
b/min_fs = 0
b/max_fs = 9
b/min_ss = 8
b/max_ss = 15
b/corner_x = -5
b/corner_y = 6.5
b/fs = +0.0x +1.0y
b/ss = -1.0x +0.0y
"""
EVERYTHING = """\
; every word of the format
clen = /LCLS/detector_1/EncoderValue mm
wavelength = 1.5 A
bandwidth = 2.0e-3
detector_shift_x = 0.5 mm
detector_shift_y = /shift/y m
peak_info_location = /entry_1/result_1
peak_list_type = cxi
badrow_direction = y
rail_direction = z
rigid_group_q0 = a,b
rigid_group_collection_all = q0
adu_per_eV = 0.001
res = 9090.91 ; 110 microns
data = /entry_1/%/data
dim0 = %
dim1 = 3
dim2 = ss
dim3 = fs
mask = /entry_1/%/mask
mask_file = /somewhere/bad pixels.h5
mask_good = 0x0000
mask_bad = 0xffff
mask3_data = /static
mask3_goodbits = 1
saturation_map = /sat
saturation_map_file = sat.h5
flag_lessthan = -100
flag_morethan = 1e4
max_adu = 12000
a/min_fs = 0.0
a/max_fs = 193.0
a/min_ss = 0
a/max_ss = 184
a/corner_x = 443.819
a/corner_y = -49.8719
a/coffset = 0.573224
a/fs = +0.004806x +0.999989y
a/ss = -0.999989x +0.004806y - 0.1z
a/flag_equal = 0
coffset = 0.5
b/min_fs = 0
b/max_fs = 193
b/min_ss = 185
b/max_ss = 369
b/corner_x = 239.8
b/corner_y = -49.3504
b/fs = -x
b/ss = -.5e0y+0.1z
b/adu_per_photon = 12
b/no_index = true
b/mask_edge_pixels = 2
bad_jet/min_x = -15.0
bad_jet/max_x = +15.0
bad_jet/min_y = 71.3
bad_jet/max_y = 159.3
bad_row/min_fs = 3
bad_row/max_fs = 9
bad_row/min_ss = 185
bad_row/max_ss = 185
bad_row/panel = b
group_q0 = a
group_all = q0,b
"""


def parse(text):
    return parse_geometry(text, "det.geom")


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


def bad(name, **limits):
    return "".join(f"{name}/{key} = {value}\n" for key, value in limits.items())


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


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("a/min_adu = 3", "line 13: a/min_adu: is no directive"),
        ("a/mask8_data = /m", "line 13: a/mask8_data: is no directive"),
        ("a/corner_z = 3", "line 13: a/corner_z: is no directive"),
        ("nonsense", "line 13: 'nonsense' has no equals sign"),
        ("a/coffset =", "line 13: a/coffset: has no value"),
        ("a/coffset = far", "line 13: a/coffset: 'far' is not a number"),
        ("a/coffset = nan", "line 13: a/coffset: 'nan' is not a number"),
        ("a/coffset = 1e999", "line 13: a/coffset: '1e999' is too large"),
        ("a/coffset = 1e30", "line 5: panel a: lies more than 10 km away"),
        ("a/coffset = 1_0", "line 13: a/coffset: '1_0' is not a number"),
        ("a/corner_x = 7", "line 13: a/corner_x: contradicts line 9"),
        ("clen = 0.2", "line 13: clen: contradicts line 1"),
        ("wavelength = 1 A", "line 13: wavelength: stands beside photon_energy of line 2"),
        ("a/photon_energy = 1", "line 13: a/photon_energy: holds for the whole file"),
        ("bandwidth = 1.5", "line 13: bandwidth: '1.5' is not a fraction"),
        ("detector_shift_x = 3 cm", "line 13: detector_shift_x: unknown unit 'cm'"),
        ("peak_list_type = csv", "line 13: peak_list_type: 'csv' is not a type"),
        ("coffset = 0.1", "line 13: coffset: is a default for later panels, and none follows"),
        ("a/no_index = maybe", "line 13: a/no_index: 'maybe' is neither 1 nor 0"),
        ("a/mask_bad = 0xzz", "line 13: a/mask_bad: '0xzz' is not a bit field"),
        ("a/mask_bad = 0x1", "line 5: panel a: mask 0 has no location"),
        ("a/mask2_file = m.h5", "line 5: panel a: mask 2 has no location"),
        ("a/mask = /%/m", "line 5: panel a: '/%/m' has more placeholders"),
        ("a/dim1 = z", "line 13: a/dim1: 'z' is not a number"),
        ("a/dim16 = 0", "line 13: a/dim16: axes are numbered"),
        ("a/dim1 = ss", "line 5: panel a: its axes are ss ss"),
        ("a/dim3 = 0", "line 5: panel a: lacks dim2"),
        ("a/dim0 = fs\na/dim1 = ss", "line 5: panel a: its axes are fs ss"),
        ("a/adu_per_photon = 2\na/adu_per_eV = 1", "line 14: a/adu_per_eV: stands beside"),
        ("a/max_adu = -3", "line 13: a/max_adu: '-3' must be above 0"),
        ("group1/min_fs = 0", "line 13: group1/min_fs: a panel's name must not begin"),
        ("/min_fs = 0", "line 13: /min_fs: a panel's name must be one word"),
        ("b/min_fs = 0", "line 13: panel b: lacks max_fs"),
        ("group_all = a,c", "line 13: group_all: 'c' is no panel or group above"),
        ("group_all = a,,a", "line 13: group_all: has an empty name"),
        ("group_all = a,a", "line 13: group_all: names 'a' twice"),
        ("group_ = a", "line 13: group_: has no name"),
        ("rigid_group_g = a,c", "line 13: rigid_group_g: there is no 'c'"),
        ("rigid_group_collection_g = a", "line 13: rigid_group_collection_g: there is no 'a'"),
        (bad("bad1", min_fs=1), "line 13: bad region bad1: lacks max_fs"),
        (bad("bad1", panel="a"), "line 13: bad region bad1: lacks min_fs"),
        (bad("bad1", min_fs=1, max_x=1), "line 13: bad region bad1: mixes min_fs .line 13. with"),
        (
            bad("bad1", min_x=1, max_x=2, min_y=1, max_y=2, panel="a"),
            "line 13: bad region bad1: names a panel .line 17.",
        ),
        (
            bad("bad1", min_fs=5, max_fs=1, min_ss=1, max_ss=1),
            "line 13: bad region bad1: its minimum is above",
        ),
        (
            bad("bad1", min_fs=1, max_fs=1, min_ss=1, max_ss=1, panel="c"),
            "line 17: bad1/panel: there is no panel 'c'",
        ),
        (
            bad("bad1", min_fs=1, max_fs=10, min_ss=1, max_ss=1, panel="a"),
            "line 17: bad1/panel: the region leaves panel a",
        ),
        (
            SECOND + bad("bad1", min_fs=1, max_fs=1, min_ss=1, max_ss=1),
            "line 21: bad region bad1: names no panel; add bad1/panel = a",
        ),
        ("bad1/color = red", "line 13: bad1/color: is no directive of a bad region"),
        (
            SECOND.replace("min_ss = 8", "min_ss = 7"),
            "line 13: panel b overlaps panel a .line 5. in the data",
        ),
    ],
)
def test_a_line_that_is_refused(extra, message):
    with pytest.raises(SpotmillError, match=f"^det.geom: {message}") as caught:
        parse(PLAIN + extra)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clen = 0.1", "", "clen: is missing"),
        ("clen = 0.1", "clen = 0.1 cm", "line 1: clen: unknown unit 'cm'"),
        ("clen = 0.1", "clen = 0.1m", "line 1: clen: '0.1m' is neither a number nor a path"),
        ("clen = 0.1", "clen = far", "line 1: clen: 'far' is neither"),
        ("photon_energy = 8000", "wavelength = 1.5", "line 2: wavelength: has no unit"),
        ("photon_energy = 8000", "photon_energy = 8 kV", "line 2: photon_energy: unknown unit"),
        ("adu_per_photon = 1", "", "line 5: panel a: lacks adu_per_photon"),
        ("res = 10000", "", "line 5: panel a: lacks res"),
        ("res = 10000", "res = 0", "line 4: res: '0' must be above 0"),
        ("res = 10000", "res = 1e300", "line 5: panel a: its pixels are"),
        ("max_fs = 9", "max_fs = 9.5", "line 6: a/max_fs: '9.5' is not a number of pixels"),
        ("min_ss = 0", "min_ss = -1", "line 7: a/min_ss: '-1' is not a number of pixels"),
        ("min_ss = 0", "min_ss = 8", "line 8: a/max_ss: is below min_ss"),
        ("fs = x", "fs = q", "line 11: a/fs: 'q' is not a direction"),
        ("fs = x", "fs = x x", "line 11: a/fs: 'x x' is not a direction"),
        ("fs = x", "fs = x + x", "line 11: a/fs: 'x . x' names x twice"),
        ("fs = x", "fs = 0x", "line 11: a/fs: '0x' has no direction"),
        ("fs = x", "fs = -2y", "line 5: panel a: fs and ss are parallel"),
    ],
)
def test_a_value_that_is_refused(old, new, message):
    with pytest.raises(SpotmillError, match=f"^det.geom: {message}"):
        parse(PLAIN.replace(old, new, 1))


def test_a_file_without_panels(tmp_path):
    path = tmp_path / "empty.geom"
    path.write_text("clen = 0.1\nphoton_energy = 7000\n")
    with pytest.raises(SpotmillError, match=r"empty\.geom: describes no panels"):
        read_geometry(path)
    path.write_text("")
    with pytest.raises(SpotmillError, match="no panels"):
        read_geometry(path)
    with pytest.raises(SpotmillError, match="no such file"):
        read_geometry(tmp_path / "missing.geom")


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


# --- files of others ----------------------------------------------------------------------

KNOWN = {
    # file: panels, clen as written, unit, corner of the first panel, shape of the data
    "geometry/crystfel_Eiger16M-binning2-nativefiles.geom": (
        1, 0.1, "m", (-1000.0, -1000.0), (2167, 2070),
    ),
    "geometry/crystfel_cspad-cxiformat.geom": (
        64, "/LCLS/detector_1/EncoderValue", "mm", (443.819, -49.8719), (1480, 1552),
    ),
    "geometry/crystfel_cspad-single.geom": (
        64, "/LCLS/detectorPosition", "mm", (424.384, -10.6473), (1480, 1552),
    ),
    "geometry/crystfel_jf-swissfel-16M.geom": (
        32, 95.3, "mm", (2147.07110898, 1131.30172146), (16448, 1030),
    ),
    "geometry/crystfel_lcls-dec.geom": (2, 0.0678, "m", (-491.9, 71.3), (1024, 1024)),
    "geometry/crystfel_lcls-june-r0013-r0128.geom": (2, 0.06478, "m", (-512.9, 53.0), (1024, 1024)),
    "geometry/crystfel_lcls-xpp-estimate.geom": (1, 0.08, "m", (-727.5, -727.5), (1456, 1456)),
    "geometry/crystfel_pilatus.geom": (
        1, "/LCLS/detectorPosition", "mm", (-1272.37, -1243.8), (2527, 2463),
    ),
    "geometry/crystfel_simple.geom": (2, 0.05, "m", (-512.0, 10.0), (1024, 1024)),
    "geometry/extrageom_agipd_simple_2d.geom": (128, 0.13, "m", (-525.0, 625.0), (8192, 128)),
    "geometry/reborn_adam_Eiger4M.geom": (
        1, 0.135, "m", (-2000.9199, -2249.374056), (4371, 4150),
    ),
    "reference/pattern_sim/Eiger4M_091.geom": (1, 0.15, "m", (-1034.5, -1081.5), (2163, 2069)),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_files_of_others(shared, name):
    panels, clen, unit, corner, shape = KNOWN[name]
    geometry = read_geometry(shared / name)
    assert len(geometry.panels) == panels
    assert geometry.clen == Quantity("clen", clen, unit)
    assert (geometry.panels[0].corner_x, geometry.panels[0].corner_y) == corner
    assert parse(format_geometry(geometry)) == geometry
    assert geometry.detector(clen=0.2, photon_energy=7000).shape == shape


def test_every_file_of_others_reads_back(shared):
    paths = sorted(shared.glob("geometry/*.geom")) + sorted(shared.glob("reference/*/*.geom"))
    assert len(paths) >= 21
    for path in paths:
        geometry = read_geometry(path)
        assert parse(format_geometry(geometry)) == geometry


def test_reference_detectors_follow_their_names(shared):
    for path in shared.glob("reference/pattern_sim/Eiger4M_*eV_*cm.geom"):
        _, energy, length = path.stem.split("_")
        geometry = read_geometry(path)
        assert geometry.photon_energy == float(energy.removesuffix("eV"))
        assert geometry.clen.number == float(length.removesuffix("cm")) / 100


# --- our own detector ---------------------------------------------------------------------


def test_eiger():
    geometry = read_geometry(EIGER)
    detector = geometry.detector()
    assert detector.shape == (2167, 2070)
    assert [panel.name for panel in detector.panels] == [f"m{n}" for n in range(8)]
    assert all((panel.n_ss, panel.n_fs) == (514, 1030) for panel in detector.panels)
    assert detector.mask.sum() == 8 * 514 * 1030
    assert detector.pixel_size == pytest.approx(75e-6, rel=1e-14)
    assert beam_centre(detector) == pytest.approx((1035.0, 1083.5))
    assert (~detector.mask.any(axis=1)).sum() == 3 * 37
    assert (~detector.mask.any(axis=0)).sum() == 10
    assert (geometry.clen.number, geometry.photon_energy, geometry.bandwidth) == (0.15, 7000, 0.01)
    assert (detector.adu_per_photon, detector.max_adu) == (1, 65535)


def test_eiger_modules_lie_as_their_pixels_do():
    # One grid: in the data array and in space, neighbours are 75 microns apart over gaps too.
    detector = read_geometry(EIGER).detector()
    for panel in detector.panels:
        first = pixel_positions(panel)[0, 0]
        expected = [(panel.min_fs + 0.5 - 1035) * 75e-6, (panel.min_ss + 0.5 - 1083.5) * 75e-6]
        np.testing.assert_allclose(first, [*expected, 0.15], atol=1e-12)


def test_eiger_response():
    assert Response.read(EIGER.with_suffix(".yaml")).point_spread == 3.0e-5


# --- anything at all ----------------------------------------------------------------------

ANYTHING = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINES = st.one_of(
    st.sampled_from((EVERYTHING + PLAIN + SECOND).splitlines()),
    st.text(max_size=40),
    st.builds(
        "{}{} = {}".format,
        st.sampled_from(["", "a/", "b/", "bad1/", "/", "group_", "a/b/", "rigid_group_c"]),
        st.sampled_from(["fs", "ss", "res", "min_fs", "max_ss", "clen", "dim1", "mask", "data"]),
        st.one_of(st.text(max_size=12), st.floats().map(str), st.integers().map(str)),
    ),
)


def survives(text):
    """Read text: a geometry that round-trips, or an error in one line."""
    try:
        geometry = parse(text)
    except SpotmillError as error:
        assert str(error).startswith("det.geom: ")
        return
    assert parse(format_geometry(geometry)) == geometry
    if max(max(panel.max_fs, panel.max_ss) for panel in geometry.panels) < 3000:
        try:
            detector = geometry.detector(clen=0.2, photon_energy=7000)
        except SpotmillError as error:
            assert str(error).startswith("det.geom: ")
            return
        assert detector.mask.shape == detector.shape


@given(st.lists(LINES, max_size=40))
@ANYTHING
def test_any_lines(lines):
    survives("\n".join(lines))


@given(st.data())
@ANYTHING
def test_any_mutation(data):
    text = data.draw(st.sampled_from([PLAIN, PLAIN + SECOND, EVERYTHING]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 8, len(text))))
        new = data.draw(st.one_of(st.text(max_size=6), st.sampled_from(["9", "-", "e9", "/", "="])))
        text = text[:start] + new + text[end:]
    survives(text)


@given(st.data())
@ANYTHING
def test_any_line_dropped_or_moved(data):
    lines = data.draw(st.sampled_from([PLAIN + SECOND, EVERYTHING])).splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        line = lines.pop(data.draw(st.integers(0, len(lines) - 1)))
        if data.draw(st.booleans()):
            lines.insert(data.draw(st.integers(0, len(lines))), line)
    survives("\n".join(lines))


def test_lists_far_too_long_are_read_in_no_time():
    survives("a/fs = " + "+1x" * 100_000)
    survives("a/fs = " + "1" * 100_000)
    survives("rigid_group_g = " + "a," * 100_000 + "b")
    survives(PLAIN + "a/fs = " + " " * 100_000 + "x\n")
