"""Spectra, mosaicity and divergence: densities, conservation, and an independent Monte Carlo."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from test_diffraction import AXES, PIXEL, VOLUME, detector, hemisphere, turned

from spotmill.errors import SpotmillError
from spotmill.formats.spectra import read_spectrum
from spotmill.physics.diffraction import Source, diffract, reflection_table, scale
from spotmill.physics.footprint import footprint
from spotmill.physics.illumination import crystal_volume, lit_fraction, projected_width
from spotmill.physics.photons import stream
from spotmill.physics.rocking import Rocking, rocking
from spotmill.physics.spectrum import centred, gaussian, sase, tabulated, tophat, two_colour
from spotmill.physics.units import wavenumber_from_photon_energy

CENTRE = wavenumber_from_photon_energy(7000)


def spectra():
    table = tabulated(np.array([6900.0, 7000.0, 7150.0]), np.array([0.0, 2.0, 1.0]))
    return {
        "tophat": tophat(7000, 0.01),
        "gaussian": gaussian(7000, 0.01),
        "twocolour": two_colour(7000, 0.004, 100.0),
        "sase": sase(7000, 0.01, 15, 2e-4, stream(1, "s", 0, "spectrum")),
        "file": table,
    }


@pytest.mark.parametrize("name", spectra())
def test_densities_integrate_to_one_on_their_support(name) -> None:
    spectrum = spectra()[name]
    k = np.linspace(spectrum.low, spectrum.high, 200_001)
    assert np.trapezoid(spectrum.density(k), k) == pytest.approx(1.0, abs=2e-4)
    outside = np.array([spectrum.low * (1 - 1e-9), spectrum.high * (1 + 1e-9)])
    assert spectrum.density(outside).tolist() == [0.0, 0.0]
    assert 0.97 * CENTRE < spectrum.low < spectrum.high < 1.03 * CENTRE


def test_widths_and_places_are_those_asked_for() -> None:
    bell = gaussian(7000, 0.01)
    half = bell.density(np.array([CENTRE * 0.995, CENTRE, CENTRE * 1.005]))
    assert half[0] / half[1] == pytest.approx(0.5, rel=1e-6)
    assert half[2] / half[1] == pytest.approx(0.5, rel=1e-6)
    lines = two_colour(7000, 0.001, 140.0)
    assert np.diff(lines.centres)[0] / CENTRE == pytest.approx(140 / 7000)
    table = centred(tabulated(np.array([6000.0, 6100.0]), np.array([1.0, 1.0])), 7000)
    assert 0.5 * (table.low + table.high) == pytest.approx(CENTRE, rel=1e-4)


def test_a_crystfel_spectrum_file_is_in_kev(tmp_path) -> None:
    plain, crystfel = tmp_path / "plain.txt", tmp_path / "crystfel.txt"
    plain.write_text("6900 1\n7000, 2\n# a comment\n7100 1\n")
    crystfel.write_text("# energy/keV current/A\n6.9 1\n7.0 2\n7.1 1\n")
    first, second = read_spectrum(plain), read_spectrum(crystfel)
    np.testing.assert_allclose(first.points, second.points)
    np.testing.assert_allclose(first.values, second.values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("7000 1\n7100 x\n", "line 2: is not two numbers"),
        ("7000 1\n", "fewer than two"),
        ("", "fewer than two"),
        ("7.0 1\n7.1 1\n", "eV"),
        ("7000 1\n7000 2\n", "twice"),
        ("7000 -1\n7100 1\n", "negative"),
        ("7000 nan\n7100 1\n", "finite"),
    ],
)
def test_a_wrong_spectrum_file_is_refused(tmp_path, text, says) -> None:
    path = tmp_path / "spectrum.txt"
    path.write_text(text)
    with pytest.raises(SpotmillError, match=says) as caught:
        read_spectrum(path)
    assert str(path) in str(caught.value)


def light(spectrum, width) -> Source:
    fluence = 3e8 / (math.pi * 5e-6**2)
    return Source(spectrum, scale(fluence, 1e-18, VOLUME), None, width)


def test_each_spectrum_gives_photons_by_its_density_at_resonance() -> None:
    table = hemisphere()
    sharp = rocking(0.0, 0.0, 1.0)
    reference = diffract(table, turned(0), light(tophat(7000, 0.05), sharp))
    known = {tuple(h): i for i, h in enumerate(reference.hkl.tolist())}
    for spectrum in spectra().values():
        spots = diffract(table, turned(0), light(spectrum, sharp))
        assert len(spots.photons) > 0
        rows = [known[tuple(h)] for h in spots.hkl.tolist()]
        ratio = spots.photons / reference.photons[rows] / (CENTRE * 0.05)
        np.testing.assert_allclose(ratio, spectrum.density(spots.wavenumber), rtol=1e-9)


@pytest.mark.parametrize(("mosaicity", "divergence"), [(2e-3, 0.0), (0.0, 2e-3), (1.5e-3, 2e-3)])
def test_photons_are_conserved_where_the_whole_curve_lies_in_the_band(
    mosaicity, divergence
) -> None:
    one = hemisphere(d_min=6.0)
    wide = tophat(7000, 0.4)
    axes = turned(3)
    spots = diffract(one, axes, light(wide, rocking(mosaicity, divergence, 1500.0)))
    sharp = diffract(one, axes, light(wide, rocking(0.0, 0.0, 1.0)))
    broad = {tuple(h): n for h, n in zip(spots.hkl.tolist(), spots.photons, strict=True)}
    compared = 0
    for h, k, n in zip(sharp.hkl.tolist(), sharp.wavenumber, sharp.photons, strict=True):
        # The curve is 5 deviations wide: keep what stays inside the band on both sides.
        psi = math.acos(-np.linalg.norm(np.array(h) @ axes) / (2 * k))
        reach = 5.2 * math.hypot(mosaicity, divergence)
        ends = [
            -np.linalg.norm(np.array(h) @ axes) / (2 * math.cos(psi + sign * reach))
            for sign in (1, -1)
        ]
        if min(ends) > wide.low and max(ends) < wide.high:
            assert broad[tuple(h)] == pytest.approx(n, rel=1e-3)
            compared += 1
    assert compared >= 3


def test_partial_spots_match_a_monte_carlo_of_turned_crystals() -> None:
    """Turn whole crystals at random and average the closed form of sharp spots."""
    eta, delta = 4e-3, 0.0
    spectrum = tophat(7000, 0.004)
    s = np.array([[12, 3, 5]])
    table = reflection_table(s, np.array([1e4]), AXES)
    rng = np.random.default_rng(5)
    # A turn about y that brings the reflection near resonance.
    vector = s[0] @ AXES
    target = math.acos(-np.linalg.norm(vector) / (2 * CENTRE)) + 1.5e-3
    unit = vector / np.linalg.norm(vector)
    wanted = np.array([math.sin(target), 0.0, math.cos(target)])
    axis = np.cross(unit, wanted)
    axis /= np.linalg.norm(axis)
    base = AXES @ turn_matrix(axis, math.acos(unit @ wanted)).T
    n = 40_000
    turns = rng.normal(scale=eta, size=(n, 3))
    angles = np.linalg.norm(turns, axis=1)
    sharp = light(spectrum, rocking(0.0, 0.0, 1.0))
    drawn = np.array(
        [
            diffract(table, base @ turn_matrix(t / a, a).T, sharp).photons.sum()
            for t, a in zip(turns, angles, strict=True)
        ]
    )
    spots = diffract(table, base, light(spectrum, rocking(eta, delta, 2000.0)))
    error = drawn.std() / math.sqrt(n)
    assert abs(spots.photons.sum() - drawn.mean()) < 4 * error
    assert error < 0.02 * drawn.mean()


def turn_matrix(axis, angle):
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def test_mosaic_spots_are_arcs_about_the_beam_of_the_right_length() -> None:
    where = detector(n=1200, clen=0.1)
    eta = 4e-3
    spots = diffract(hemisphere(), turned(3), light(tophat(7000, 0.002), rocking(eta, 0.0, 1400.0)))
    feet = footprint(spots, where, [(0.3 * PIXEL, 1.0)])
    row = int(np.argmax(np.where(feet.live > 0.999, spots.photons, 0)))
    mine = feet.spot == row
    fs, ss = feet.pixel[mine] % 1200 + 0.5 - 600, feet.pixel[mine] // 1200 + 0.5 - 600
    weight = feet.photons[mine] / feet.photons[mine].sum()
    azimuth = np.unwrap(np.arctan2(ss, fs))
    radius = np.hypot(fs, ss)
    mean = (weight * azimuth).sum()
    along = math.sqrt((weight * (azimuth - mean) ** 2).sum())
    # Turns about the axis in the plane of s and beam move s sideways by eta |s|.
    across = np.hypot(*spots.s[row, :2])
    expected = eta * np.linalg.norm(spots.s[row]) / across
    assert along == pytest.approx(expected, rel=0.05)
    spread = math.sqrt((weight * (radius - (weight * radius).sum()) ** 2).sum())
    assert spread < 0.6  # pixels: point spread, pixel, and what the band lets through


def test_rays_and_memory_stay_bounded() -> None:
    assert rocking(0.05, 0.05, 5000.0).rays <= 4096
    assert Rocking(0.0, 0.0, 1).sharp and not rocking(1e-3, 0.0, 100.0).sharp


def test_lit_fraction_against_closed_forms() -> None:
    assert lit_fraction("box", 1e-6, "bathed", 1e-5, (0, 0)) == 1.0
    assert lit_fraction("box", 1e-6, "flat", 1e-5, (0, 0)) == 1.0
    square_in_circle = lit_fraction("box", 1e-5, "flat", 5e-6, (0, 0))
    assert square_in_circle == pytest.approx(math.pi / 4, rel=1e-3)
    assert lit_fraction("box", 1e-6, "flat", 5e-6, (1e-5, 0)) == 0.0
    half, width = 2e-6, 6e-6
    one = quad(lambda x: math.exp(-2 * x * x / width**2), -half, half)[0] / (2 * half)
    assert lit_fraction("box", 2 * half, "gaussian", width, (0, 0)) == pytest.approx(
        2 * one**2, rel=1e-4
    )
    sigma = 2e-6 / 2.3548200450309493
    expected = (
        2 / (1 + 4 * sigma**2 / width**2) * math.exp(-2 * (3e-6) ** 2 / (width**2 + 4 * sigma**2))
    )
    assert lit_fraction("gaussian", 2e-6, "gaussian", width, (3e-6, 0)) == pytest.approx(
        expected, rel=2e-3
    )


@pytest.mark.parametrize("shape", ["box", "sphere", "gaussian"])
def test_volume_and_width_match_points_drawn_in_the_crystal(shape) -> None:
    rng = np.random.default_rng(1)
    n, size = 400_000, 2e-3
    if shape == "gaussian":
        points = rng.normal(scale=size / 2.3548200450309493, size=(n, 3))
        sigma = size / 2.3548200450309493
        assert crystal_volume(shape, size) == pytest.approx((2 * math.pi * sigma**2) ** 1.5)
    else:
        points = 1e-3 * rng.uniform(-1, 1, (n, 3))
        if shape == "sphere":
            points = points[(points**2).sum(1) < 1e-6]
        assert crystal_volume(shape, size) == pytest.approx(8e-9 * len(points) / n, rel=5e-3)
    assert projected_width(shape, size) == pytest.approx(points[:, 0].std(), rel=5e-3)


def test_wilson_statistics_of_spot_intensities(shared) -> None:
    """Normalised intensities of a protein are exponential (acentric) or chi-square (centric)."""
    from conftest import ROOT

    from spotmill.formats.reflections import read_reflections

    reflections = read_reflections(ROOT / "resources/1ic6.mtz")
    s = np.linalg.norm(reflections.hkl / np.array([67.288, 67.288, 106.582]), axis=1)
    keep = (s > 0.3) & (reflections.hkl > 0).all(axis=1)
    order = np.argsort(s[keep])
    intensity = reflections.intensity[keep][order]
    bins = np.array_split(intensity, 60)
    normalised = np.concatenate([values / values.mean() for values in bins])
    assert (normalised**2).mean() == pytest.approx(2.0, rel=0.06)
    assert stats.kstest(normalised, "expon").statistic < 0.02
