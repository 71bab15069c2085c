"""CrystFEL geometry files that are refused, and any text at all."""

import pytest
from geom_texts import EVERYTHING, PLAIN, SECOND, bad, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotmill.errors import SpotmillError
from spotmill.formats.geom import (
    format_geometry,
    read_geometry,
)

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
