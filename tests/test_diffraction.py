"""Spots in closed form against integration, prediction equations and analytic means."""

import math

import numpy as np
import pytest
from scipy import stats

from spotmill.errors import SpotmillError
from spotmill.physics.diffraction import Source, diffract, reflection_table, scale
from spotmill.physics.footprint import footprint
from spotmill.physics.geometry import Detector, Panel, project
from spotmill.physics.orientations import random_quaternion, rotation_matrix, turn_axes
from spotmill.physics.photons import stream
from spotmill.physics.spectrum import tophat
from spotmill.physics.units import wavelength_from_photon_energy

AXES = np.diag([1 / 40.0, 1 / 50.0, 1 / 60.0])
VOLUME = 40.0 * 50.0 * 60.0
PIXEL = 75e-6


def light(polarisation=None, photon_energy=7000.0, nphotons=3e8, size=1e-6, bandwidth=0.01):
    fluence = nphotons / (math.pi * 5e-6**2)
    spectrum = tophat(photon_energy, bandwidth)
    return Source(spectrum, scale(fluence, size**3, VOLUME), polarisation)


def hemisphere(d_min=4.0, seed=0):
    top = math.ceil(60 / d_min)
    grid = np.mgrid[-top : top + 1, -top : top + 1, -top : top + 1].reshape(3, -1).T
    half = grid[[tuple(row) > (0, 0, 0) for row in grid.tolist()]]
    s = np.linalg.norm(half @ AXES, axis=1)
    half = half[s <= 1 / d_min]
    intensity = np.random.default_rng(seed).exponential(1e4, len(half))
    return reflection_table(half, intensity, AXES)


def detector(panels=1, tilt=0.0, clen=0.03, n=400, gap=0):
    """Square panels side by side along fs, the first tilted about y."""
    made = []
    mask = np.zeros((n, panels * (n + gap)), dtype=bool)
    for p in range(panels):
        first = p * (n + gap)
        x = (first - (panels * (n + gap) - gap) / 2) * PIXEL
        made.append(
            Panel(
                name=f"p{p}",
                min_fs=first,
                max_fs=first + n - 1,
                min_ss=0,
                max_ss=n - 1,
                corner=np.array([x, -n / 2 * PIXEL, clen]),
                fs=PIXEL * np.array([math.cos(tilt), 0.0, math.sin(tilt)]),
                ss=PIXEL * np.array([0.0, 1.0, 0.0]),
            )
        )
        mask[:, first : first + n] = True
    return Detector(tuple(made), mask.shape, mask, clen, None, 1.0)


def turned(index):
    return turn_axes(AXES, random_quaternion(stream(1, "test", index, "orientation")))


def wide_band_spots(index):
    """Enough spots for a small detector."""
    return diffract(hemisphere(d_min=3.0), turned(index), light(bandwidth=0.2))


def test_orientations_are_uniform_on_the_rotations() -> None:
    quaternions = np.array(
        [random_quaternion(stream(3, "so3", i, "orientation")) for i in range(4000)]
    )
    angle = 2 * np.arccos(np.abs(quaternions[:, 0]))
    # The angle of a uniform rotation has the density (1 - cos a) / pi on 0 to pi.
    assert stats.kstest(angle, lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-3
    sign = np.sign(quaternions[:, :1])
    axis = quaternions[:, 1:] * sign / np.sin(angle / 2)[:, None]
    for column in axis.T:
        assert stats.kstest((column + 1) / 2, "uniform").pvalue > 1e-3
    images = np.array([rotation_matrix(q)[2, 2] for q in quaternions])
    assert stats.kstest((images + 1) / 2, "uniform").pvalue > 1e-3


def test_sense_of_rotation_is_that_of_pattern_sim(shared) -> None:
    stored = np.load(shared / "reference/pattern_sim/s04_7000eV_25cm.npz")
    axes = np.diag([1 / 67.288, 1 / 67.288, 1 / 106.582])
    ours = turn_axes(axes, stored["quaternion_wxyz"].astype(np.float64))
    theirs = stored["reciprocal_axes_m1"] * 1e-10
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_every_spot_satisfies_braggs_law_within_the_band() -> None:
    table = hemisphere()
    spots = diffract(table, turned(0), light())
    assert len(spots.photons) > 3
    d = 1 / np.linalg.norm(spots.hkl @ turned(0), axis=1)
    two_theta = np.arccos(spots.direction[:, 2])
    np.testing.assert_allclose(2 * d * np.sin(two_theta / 2) * spots.wavenumber, 1.0)
    np.testing.assert_allclose(np.linalg.norm(spots.direction, axis=1), 1.0)
    centre = 1 / wavelength_from_photon_energy(7000)
    assert (np.abs(spots.wavenumber / centre - 1) <= 0.005).all()


def test_no_reflection_of_the_band_is_missed_and_friedel_mates_are_told_apart() -> None:
    table = hemisphere()
    axes = turned(1)
    both = np.concatenate([table.hkl, -table.hkl])
    s = both @ axes
    with np.errstate(divide="ignore"):
        resonant = -(s**2).sum(1) / (2 * s[:, 2])
    centre = 1 / wavelength_from_photon_energy(7000)
    excited = both[np.abs(resonant / centre - 1) < 0.005]
    spots = diffract(table, axes, light())
    assert {tuple(row) for row in excited.tolist()} == {tuple(r) for r in spots.hkl.tolist()}


def test_mean_photons_over_orientations_match_the_analytic_mean() -> None:
    table, beam = hemisphere(), light()
    n = 2000
    totals = np.array([diffract(table, turned(i), beam).photons.sum() for i in range(n)])
    s = np.sqrt(table.squared)
    # cos of the angle to the beam is uniform, so a pair is excited with this probability.
    probability = s / 2 * (1 / beam.spectrum.low - 1 / beam.spectrum.high)
    density = 1 / (beam.spectrum.high - beam.spectrum.low)
    photons = beam.scale * table.intensity * density / (table.squared / 2)
    expected = (probability * photons).sum()
    assert abs(totals.mean() - expected) < 3 * totals.std() / math.sqrt(n)


def test_closed_form_matches_brute_force_integration_of_the_interference_function() -> None:
    """Integrate a finite crystal's lattice sum over solid angle and band around one spot."""
    cells = np.array([50, 40, 33])  # about 0.2 um
    size = (VOLUME * cells.prod()) ** (1 / 3) * 1e-10
    beam = light(size=size, bandwidth=0.1)
    axes = turned(2)
    table = hemisphere(d_min=3.0)
    spots = diffract(table, axes, beam)
    middle = np.abs(spots.wavenumber / (0.5 * (beam.spectrum.low + beam.spectrum.high)) - 1) < 0.005
    row = int(np.flatnonzero(middle)[np.linalg.norm(spots.s[middle], axis=1).argmax()])
    direct = np.linalg.inv(axes)  # columns a, b, c
    ray = spots.direction[row]
    e1 = np.cross(ray, [0.0, 1.0, 0.0])
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(ray, e1)
    half_angle = 10 / (cells * [40, 50, 60]).min() / spots.wavenumber[row]
    t = np.linspace(-half_angle, half_angle, 121)
    k = np.linspace(beam.spectrum.low, beam.spectrum.high, 1501)
    total = 0.0
    for a in t:
        rays = ray + a * e1 + t[:, None] * e2
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        s = k[:, None, None] * (rays - [0, 0, 1.0])
        x = s @ direct
        x = x - spots.hkl[row]
        with np.errstate(invalid="ignore", divide="ignore"):
            laue = np.sin(np.pi * cells * x) / np.sin(np.pi * x)
        laue = np.where(np.abs(x) < 1e-12, cells, laue)
        # Only the neighbourhood of this reflection.
        laue[np.abs(x).max(axis=2) > 0.5] = 0
        total += (laue**2).prod(axis=2).sum()
    element = (t[1] - t[0]) ** 2 * (k[1] - k[0])
    integral = total * element / (beam.spectrum.high - beam.spectrum.low)
    intensity = table.intensity[
        next(
            i
            for i, h in enumerate(table.hkl.tolist())
            if h in (spots.hkl[row].tolist(), (-spots.hkl[row]).tolist())
        )
    ]
    n_cells = (size / 1e-10) ** 3 / VOLUME
    brute = beam.scale * VOLUME / n_cells * intensity * integral
    # The box holds all but the far fringes: about 1 / (10 pi^2) is lost on each of three axes.
    assert 0.94 < brute / spots.photons[row] < 1.0


def test_footprint_agrees_with_ray_tracing_on_tilted_panels() -> None:
    where = detector(panels=2, tilt=0.2, gap=8)
    spots = wide_band_spots(3)
    feet = footprint(spots, where, [(0.0, 1.0)])
    panel, fs, ss = project(where, spots.direction)
    np.testing.assert_array_equal(feet.panel, panel)
    on = panel >= 0
    assert on.sum() > 5
    np.testing.assert_allclose(feet.fs[on], fs[on], atol=1e-6)
    np.testing.assert_allclose(feet.ss[on], ss[on], atol=1e-6)
    np.testing.assert_array_equal(feet.live, on.astype(float))


def test_photons_are_conserved_over_pixels_and_module_edges() -> None:
    seamless = detector(panels=2, n=200, gap=0)
    straddling = 0
    for index in range(10):
        spots = wide_band_spots(index)
        feet = footprint(spots, seamless, [(1.5 * PIXEL, 1.0)])
        total = feet.photons.sum()
        inside = (feet.panel >= 0) & (np.abs(feet.fs - 200) < 192) & (np.abs(feet.ss - 100) < 92)
        np.testing.assert_allclose(feet.live[inside], 1.0, atol=3e-6)
        assert total == pytest.approx((spots.photons * feet.live).sum())
        straddling += (inside & (np.abs(feet.fs - 200) < 3)).sum()
    assert straddling > 0


def test_spot_shape_is_the_gaussian_integrated_over_pixels() -> None:
    where = detector()
    spots = wide_band_spots(3)
    feet = footprint(spots, where, [(0.8 * PIXEL, 1.0)])
    row = int(np.flatnonzero((feet.live > 0.999) & (spots.photons > 0))[0])
    mine = feet.spot == row
    fs = feet.pixel[mine] % where.shape[1]
    ss = feet.pixel[mine] // where.shape[1]
    across = np.diff(stats.norm.cdf([fs, fs + 1], feet.fs[row], 0.8), axis=0)[0]
    down = np.diff(stats.norm.cdf([ss, ss + 1], feet.ss[row], 0.8), axis=0)[0]
    np.testing.assert_allclose(feet.photons[mine], spots.photons[row] * across * down, atol=1e-9)
    centroid = (feet.photons[mine] * (fs + 0.5)).sum() / feet.photons[mine].sum()
    assert centroid == pytest.approx(feet.fs[row], abs=1e-3)


def test_gaps_take_their_photons_with_them() -> None:
    where = detector()
    mask = where.mask.copy()
    mask[:, 190:210] = False
    gapped = Detector(where.panels, where.shape, mask, where.clen, None, 1.0)
    spots = wide_band_spots(4)
    feet = footprint(spots, gapped, [(1.0 * PIXEL, 1.0)])
    assert mask.ravel()[feet.pixel].all()
    lost = (feet.fs > 195) & (feet.fs < 205)
    assert lost.any() and (feet.live[lost] < 1e-6).all()


def test_polarisation_follows_the_dipole_formula() -> None:
    table = hemisphere()
    plain = diffract(table, turned(5), light())
    for fraction in (0.0, 0.5, 1.0):
        factor = diffract(table, turned(5), light(fraction)).photons / plain.photons
        x, y, z = plain.direction.T
        expected = fraction * (y**2 + z**2) + (1 - fraction) * (x**2 + z**2)
        np.testing.assert_allclose(factor, expected, rtol=1e-12)


def test_photons_scale_with_flux_and_crystal_volume() -> None:
    table = hemisphere()
    one = diffract(table, turned(6), light()).photons
    np.testing.assert_allclose(diffract(table, turned(6), light(nphotons=6e8)).photons, 2 * one)
    np.testing.assert_allclose(diffract(table, turned(6), light(size=2e-6)).photons, 8 * one)


@pytest.mark.parametrize(
    "wrong", [{"photon_energy": 7.0}, {"photon_energy": 1.1e-15}, {"size": 1.0}, {"size": 1e-12}]
)
def test_wrong_units_are_refused(wrong) -> None:
    with pytest.raises(SpotmillError, match=r"eV|metres"):
        light(**wrong)
