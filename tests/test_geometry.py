"""Panels in space: projection, scattering vectors, the direct beam."""

import math

import numpy as np
import pytest

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import (
    Detector,
    Panel,
    beam_centre,
    max_scattering,
    pixel_positions,
    project,
    scattering_magnitude,
)

PIXEL = 75e-6


def rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def panel(name="p", turn=None, corner=(-3e-3, -2e-3, 0.1), first=(0, 0), size=(60, 80), skew=0.0):
    turn = np.eye(3) if turn is None else turn
    fs = turn @ np.array([PIXEL, skew * PIXEL, 0.0])
    ss = turn @ np.array([0.0, PIXEL, 0.0])
    return Panel(
        name, first[1], first[1] + size[1] - 1, first[0], first[0] + size[0] - 1, corner, fs, ss
    )


def detector(*panels, mask=None):
    shape = (max(p.max_ss for p in panels) + 1, max(p.max_fs for p in panels) + 1)
    if mask is None:
        mask = np.zeros(shape, dtype=bool)
        for p in panels:
            mask[p.slab] = True
    return Detector(panels, shape, mask, 0.1, None, 1.0)


def several():
    """Flat, tilted, rotated in the plane, mirrored and skewed panels; one looking back."""
    return detector(
        panel("flat"),
        panel("tilted", rotation("x", 35) @ rotation("y", -20), (0.01, 0.0, 0.11), (60, 0)),
        panel("turned", rotation("z", 117.3), (-0.01, 0.01, 0.09), (120, 7), (33, 21)),
        panel("mirrored", np.diag([-1.0, 1.0, 1.0]), (-0.012, 0.0, 0.1), (160, 0)),
        panel("skewed", rotation("z", -3), (0.0, -0.02, 0.1), (230, 5), skew=0.02),
        panel("back", rotation("y", 180), (0.03, 0.02, -0.07), (300, 0)),
    )


def test_project_inverts_pixel_positions():
    whole = several()
    for number, one in enumerate(whole.panels):
        points = pixel_positions(one)
        assert points.shape == (one.n_ss, one.n_fs, 3)
        struck, fs, ss = project(whole, points.reshape(-1, 3) * 17.0)
        rows, columns = np.mgrid[one.slab]
        assert (struck == number).all()
        np.testing.assert_allclose(fs, columns.ravel() + 0.5, atol=1e-9)
        np.testing.assert_allclose(ss, rows.ravel() + 0.5, atol=1e-9)


def test_positions_are_those_of_the_definition():
    one = panel("p", rotation("x", 30), first=(4, 9))
    points = pixel_positions(one)
    np.testing.assert_allclose(points[0, 0], one.corner + 0.5 * one.fs + 0.5 * one.ss)
    np.testing.assert_allclose(points[7, 3], one.corner + 3.5 * one.fs + 7.5 * one.ss)


def test_project_agrees_with_a_linear_solver():
    one = panel("p", rotation("x", 40) @ rotation("z", 20))
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, one.n_fs, 50), rng.uniform(0, one.n_ss, 50)
    rays = one.corner + a[:, None] * one.fs + b[:, None] * one.ss
    rays *= rng.uniform(0.1, 10, (50, 1))
    _, fs, ss = project(detector(one), rays)
    for ray, f, s in zip(rays, fs, ss, strict=True):
        solution = np.linalg.solve(np.stack([one.fs, one.ss, -ray], axis=1), -one.corner)
        assert (f, s) == pytest.approx(tuple(solution[:2]), abs=1e-8)


def test_rays_that_strike_nothing():
    whole = detector(panel())
    corner, far = (-3e-3, -2e-3, 0.1), (3e-3, 2.5e-3, 0.1)
    rays = np.array(
        [
            [0, 0, -1.0],
            [1.0, 0, 0],
            [0, 0, 0.0],
            [corner[0] - 1e-9, 0, 0.1],
            [far[0] + 1e-9, 0, 0.1],
            [0, far[1] + 1e-9, 0.1],
            [0, 0, 1.0],
        ]
    )
    struck, fs, ss = project(whole, rays)
    assert struck.tolist() == [-1] * 6 + [0]
    assert (fs[:6] == -1).all()
    assert (ss[:6] == -1).all()


def test_the_nearer_of_two_panels_is_struck():
    far = panel("far", corner=(-3e-3, -2e-3, 0.2))
    near = panel("near", first=(60, 0))
    struck, _, ss = project(detector(far, near), [[0.0, 0.0, 1.0]])
    assert struck[0] == 1
    assert ss[0] > 60


def test_scattering_magnitude_is_twice_sin_theta_over_lambda():
    whole = several()
    wavelength = 1.77
    s = scattering_magnitude(whole, wavelength)
    assert s.shape == whole.shape
    assert (np.isnan(s) == ~whole.mask).all()
    for one in whole.panels:
        unit = pixel_positions(one)
        unit /= np.linalg.norm(unit, axis=2, keepdims=True)
        expected = np.linalg.norm(unit - [0, 0, 1], axis=2) / wavelength
        np.testing.assert_allclose(s[one.slab], expected, rtol=1e-10)


def test_max_scattering_of_a_flat_centred_panel():
    whole = detector(panel(corner=(-40 * PIXEL, -30 * PIXEL, 0.1)))
    two_theta = math.atan2(PIXEL * math.hypot(40, 30), 0.1)
    assert max_scattering(whole, 1.5) == pytest.approx(2 * math.sin(two_theta / 2) / 1.5)


def test_max_scattering_counts_live_pixels_only():
    whole = detector(panel(corner=(-40 * PIXEL, -30 * PIXEL, 0.1)))
    mask = np.zeros_like(whole.mask)
    mask[30:35, 41:51] = True
    two_theta = math.atan2(PIXEL * math.hypot(11, 5), 0.1)
    whole = detector(*whole.panels, mask=mask)
    assert max_scattering(whole, 1.0) == pytest.approx(2 * math.sin(two_theta / 2))
    with pytest.raises(SpotmillError, match="no live pixel"):
        max_scattering(detector(*whole.panels, mask=np.zeros_like(mask)), 1.0)


def test_max_scattering_over_blocks_is_that_of_all_corners():
    # Taller than a block of rows, with its extreme in the second block.
    tall = panel("tall", rotation("x", 25), (-2e-3, -0.004, 0.05), size=(300, 20))
    s = max_scattering(detector(tall), 1.3)
    ends = [tall.corner + a * 20 * tall.fs + b * 300 * tall.ss for a, b in np.ndindex(2, 2)]
    expected = max(np.linalg.norm(end / np.linalg.norm(end) - [0, 0, 1]) / 1.3 for end in ends)
    assert s == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tilt", [0.0, 30.0])
def test_beam_centre_lies_on_the_axis(tilt):
    one = panel("p", rotation("x", tilt), first=(10, 20))
    fs, ss = beam_centre(detector(one))
    point = one.corner + (fs - 20) * one.fs + (ss - 10) * one.ss
    assert point[:2] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_beam_centre_beside_the_panels_belongs_to_the_nearest():
    left = panel("left", corner=(-9e-3, -2e-3, 0.1))
    right = panel("right", corner=(5 * PIXEL, -2e-3, 0.1), first=(60, 0))
    fs, ss = beam_centre(detector(left, right))
    assert fs == pytest.approx(-5)
    assert ss == pytest.approx(60 + 2e-3 / PIXEL)


def test_beam_centre_needs_a_plane_that_the_beam_meets():
    beside = panel("p", rotation("x", 90), corner=(0.0, 0.01, 0.1))
    with pytest.raises(SpotmillError, match="beam"):
        beam_centre(detector(beside))


def test_flat_arrays_and_properties():
    whole = detector(panel(), panel("q", first=(60, 3), corner=(0, 0, 0.3)))
    corners, fs, ss, bounds = whole.flat_arrays()
    assert corners.shape == fs.shape == ss.shape == (2, 3)
    assert bounds.dtype == np.int64
    assert bounds.tolist() == [[0, 79, 0, 59], [3, 82, 60, 119]]
    assert corners[1].tolist() == [0, 0, 0.3]
    assert whole.pixel_size == pytest.approx(PIXEL)
    assert whole.panels[1].n_fs == 80
    with pytest.raises(ValueError, match="read-only"):
        whole.mask[0, 0] = False


def test_pixels_of_two_sizes_have_no_one_size():
    big = Panel("big", 0, 9, 60, 69, [0, 0, 0.1], [2 * PIXEL, 0, 0], [0, 2 * PIXEL, 0])
    with pytest.raises(SpotmillError, match="res"):
        _ = detector(panel(), big).pixel_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corner": [0, 0, math.nan]}, "corner"),
        ({"fs": [0, 2 * PIXEL, 0]}, "parallel"),
        ({"ss": [0, 0, 0]}, "parallel"),
        ({"max_fs": -1}, "last pixel"),
        ({"corner": [0, 0]}, "three"),
    ],
)
def test_impossible_panels(change, message):
    fields = {"name": "p", "min_fs": 0, "max_fs": 9, "min_ss": 0, "max_ss": 9}
    fields |= {"corner": [0, 0, 0.1], "fs": [PIXEL, 0, 0], "ss": [0, PIXEL, 0]}
    with pytest.raises(SpotmillError, match=message):
        Panel(**(fields | change))


def test_impossible_detectors():
    with pytest.raises(SpotmillError, match="no panels"):
        Detector((), (1, 1), np.ones((1, 1), dtype=bool), 0.1, None, 1.0)
    with pytest.raises(SpotmillError, match="mask"):
        Detector((panel(),), (60, 80), np.ones((60, 79), dtype=bool), 0.1, None, 1.0)
    with pytest.raises(SpotmillError, match="leaves the data array"):
        Detector((panel(),), (60, 79), np.ones((60, 79), dtype=bool), 0.1, None, 1.0)
