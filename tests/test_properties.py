"""Whatever crystal, beam and detector: finite, not negative, conserved; our errors alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotmill.errors import SpotmillError
from spotmill.physics.diffraction import SHARP, Source, diffract, reflection_table, scale
from spotmill.physics.footprint import footprint
from spotmill.physics.geometry import Detector, Panel, project
from spotmill.physics.illumination import crystal_volume, lit_fraction, projected_width
from spotmill.physics.orientations import turn_axes
from spotmill.physics.reflections import reciprocal_basis
from spotmill.physics.rocking import rocking
from spotmill.physics.spectrum import gaussian, sase, tabulated, tophat, two_colour

STABLE = settings(max_examples=30, deadline=None, derandomize=True)


def numbers(low: float, high: float):
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def cells(draw):
    """Return a cell that encloses a volume: its angles close a triangle on the sphere."""
    lengths = [draw(numbers(5, 300)) for _ in range(3)]
    return (*lengths, *(draw(numbers(75, 115)) for _ in range(3)))


@st.composite
def quaternions(draw):
    values = np.array([draw(numbers(-1, 1)) for _ in range(4)])
    length = np.linalg.norm(values)
    return values / length if length > 1e-3 else np.array([1.0, 0.0, 0.0, 0.0])


@st.composite
def detectors(draw):
    """Return one to three tilted panels beside each other, some pixels dead."""
    pixel = draw(numbers(2e-5, 3e-4))
    clen = draw(numbers(0.03, 1.0))
    n_fs, n_ss = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    count = draw(st.integers(1, 3))
    apart = 1.6 * math.hypot(n_fs, n_ss) * pixel  # so that no turn makes them overlap
    panels = []
    for p in range(count):
        a, b, c = (draw(numbers(-0.3, 0.3)) for _ in range(3))
        real = math.sqrt(1 - (a * a + b * b + c * c) / 4)
        turn = turn_axes(np.eye(3), np.array([real, a / 2, b / 2, c / 2]))
        middle = np.array([(p - (count - 1) / 2) * apart, 0.0, clen])
        fs, ss = pixel * turn[0], pixel * turn[1]
        corner = middle - n_fs / 2 * fs - n_ss / 2 * ss
        panels.append(Panel(f"p{p}", p * n_fs, (p + 1) * n_fs - 1, 0, n_ss - 1, corner, fs, ss))
    shape = (n_ss, count * n_fs)
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(shape) < draw(numbers(0, 1))
    return Detector(tuple(panels), shape, mask, clen, None, 1.0)


@st.composite
def spectra(draw):
    energy, width = draw(numbers(1000, 60_000)), draw(numbers(1e-4, 0.15))
    kind = draw(st.sampled_from(["tophat", "gaussian", "twocolour", "sase", "file"]))
    if kind == "tophat":
        return tophat(energy, draw(numbers(1e-4, 0.5)))
    if kind == "gaussian":
        return gaussian(energy, width)
    if kind == "twocolour":
        return two_colour(energy, width, draw(numbers(0.001, 0.2)) * energy)
    if kind == "sase":
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        return sase(energy, width, draw(st.integers(1, 30)), draw(numbers(1e-5, 1e-2)), rng)
    weights = np.array([draw(numbers(0, 1)) for _ in range(5)])
    weights[2] += 0.1
    return tabulated(energy * np.linspace(0.98, 1.02, 5), weights)


def table(cell, seed: int, extent: int = 8):
    grid = np.mgrid[-extent : extent + 1, -extent : extent + 1, -extent : extent + 1]
    hkl = grid.reshape(3, -1).T
    half = hkl[len(hkl) // 2 + 1 :]
    intensity = np.random.default_rng(seed).exponential(1e4, len(half))
    return reflection_table(half, intensity, reciprocal_basis(cell))


@st.composite
def scenes(draw, most_turn: float = 0.03):
    """Return reflections, turned axes, light."""
    cell = draw(cells())
    reflections = table(cell, draw(st.integers(0, 99)))
    volume = 1 / abs(float(np.linalg.det(reflections.axes)))
    width = rocking(
        draw(st.one_of(st.just(0.0), numbers(0, most_turn))),
        draw(st.one_of(st.just(0.0), numbers(0, most_turn))),
        draw(numbers(1, 500)),
    )
    size = draw(numbers(5e-7, 1e-4))
    light = Source(
        draw(spectra()),
        scale(draw(st.one_of(st.just(0.0), numbers(1e9, 1e24))), size**3, volume),
        draw(st.one_of(st.none(), numbers(0, 1))),
        width,
    )
    return reflections, turn_axes(reflections.axes, draw(quaternions())), light


@STABLE
@given(scenes())
def test_spots_are_finite_within_the_band_and_made_of_their_rays(scene) -> None:
    reflections, turned, light = scene
    spots = diffract(reflections, turned, light)
    for name in ("s", "wavenumber", "photons", "direction", "ray_photons", "ray_direction"):
        assert np.isfinite(getattr(spots, name)).all(), name
    assert (spots.photons >= 0).all() and (spots.ray_photons >= 0).all()
    summed = np.bincount(spots.ray_spot, spots.ray_photons, minlength=len(spots.photons))
    np.testing.assert_allclose(summed, spots.photons, rtol=1e-9)
    for directions in (spots.direction, spots.ray_direction):
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-9)
    band = light.spectrum
    low, high = band.low * (1 - 1e-9), band.high * (1 + 1e-9)
    assert ((spots.wavenumber >= low) & (spots.wavenumber <= high)).all()
    np.testing.assert_allclose(spots.s, spots.hkl @ turned, atol=1e-12)
    # No reflection stands twice, nor with its Friedel mate in a sharp pattern.
    assert len(np.unique(spots.hkl, axis=0)) == len(spots.hkl)


@STABLE
@given(scenes(), detectors(), st.lists(numbers(0, 2e-4), min_size=1, max_size=2), numbers(0, 1))
def test_photons_on_pixels_are_those_of_the_live_fraction(scene, detector, sigmas, share) -> None:
    reflections, turned, light = scene
    spots = diffract(reflections, turned, light)
    weights = [1.0] if len(sigmas) == 1 else [share, 1 - share]
    feet = footprint(spots, detector, list(zip(sigmas, weights, strict=True)))
    assert np.isfinite(feet.photons).all() and (feet.photons >= 0).all()
    assert ((feet.live >= 0) & (feet.live <= 1 + 1e-9)).all()
    by_spot = np.bincount(feet.spot, feet.photons, minlength=len(spots.photons))
    whole = spots.photons.sum() or 1.0
    np.testing.assert_allclose(by_spot, spots.photons * feet.live, rtol=1e-9, atol=1e-12 * whole)
    assert detector.mask.ravel()[feet.pixel].all()
    on = feet.panel >= 0
    assert (feet.panel < len(detector.panels)).all()
    assert np.isfinite(feet.fs[on]).all() and np.isfinite(feet.ss[on]).all()
    assert (by_spot[~on] == 0).all()


def test_too_wide_a_spread_is_refused_before_it_fills_the_memory() -> None:
    reflections = table((40.0, 50.0, 60.0, 90.0, 90.0, 90.0), 0)
    light = Source(tophat(7000, 0.01), 1e-9, None, rocking(0.1, 0.0, 5000.0))
    spots = diffract(reflections, reflections.axes, light)
    panel = Panel("p", 0, 9, 0, 9, np.array([-1e-4, -1e-4, 0.1]), *(2e-5 * np.eye(3)[:2]))
    detector = Detector((panel,), (10, 10), np.ones((10, 10), bool), 0.1, None, 1.0)
    with pytest.raises(SpotmillError, match="narrower point spread"):
        footprint(spots, detector, [(3e-4, 1.0)])
    # Wide spots of a sharp crystal are drawn some at a time, with the same result.
    sharp = diffract(reflections, reflections.axes, replace(light, rocking=SHARP))
    feet = footprint(sharp, detector, [(3e-4, 1.0)])
    np.testing.assert_allclose(feet.photons.sum(), (sharp.photons * feet.live).sum(), rtol=1e-9)


@STABLE
@given(detectors(), st.integers(0, 9999))
def test_projection_and_footprint_agree_wherever_panels_stand(detector, seed) -> None:
    """Rays to random pixels come back to them, by two codes."""
    rng = np.random.default_rng(seed)
    number = rng.integers(len(detector.panels), size=50)
    u = np.array([rng.random() * detector.panels[p].n_fs for p in number])
    v = np.array([rng.random() * detector.panels[p].n_ss for p in number])
    points = np.array(
        [
            detector.panels[p].corner + a * detector.panels[p].fs + b * detector.panels[p].ss
            for p, a, b in zip(number, u, v, strict=True)
        ]
    )
    panel, fs, ss = project(detector, points)
    assert (panel == number).all()
    first = np.array([detector.panels[p].min_fs for p in number])
    np.testing.assert_allclose(fs, first + u, atol=1e-6)
    np.testing.assert_allclose(ss, v, atol=1e-6)


@STABLE
@given(
    st.sampled_from(["box", "sphere", "gaussian"]),
    st.sampled_from(["bathed", "flat", "gaussian"]),
    numbers(1e-8, 5e-3),
    numbers(1e-8, 5e-2),
    numbers(-1e-3, 1e-3),
)
def test_lit_fraction_lies_between_nothing_and_the_peak(shape, profile, size, radius, off) -> None:
    fraction = lit_fraction(shape, size, profile, radius, (off, -off))
    assert 0 <= fraction <= (2 if profile == "gaussian" else 1) + 1e-9
    assert 0 < crystal_volume(shape, size) < 1.3 * size**3
    assert 0 < projected_width(shape, size) < size


ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_any_number_at_all_gives_an_image_or_our_error(
    energy, bandwidth, size, mosaicity, divergence, sigma
) -> None:
    reflections = table((40.0, 50.0, 60.0, 90.0, 90.0, 90.0), 0, extent=2)
    detector = Detector(
        (Panel("p", 0, 9, 0, 9, np.array([-4e-4, -4e-4, 0.1]), *(8e-5 * np.eye(3)[:2])),),
        (10, 10),
        np.ones((10, 10), bool),
        0.1,
        None,
        1.0,
    )
    try:
        light = Source(
            tophat(energy, bandwidth),
            scale(1e18, crystal_volume("box", size), 120_000.0),
            1.0,
            rocking(mosaicity, divergence, 1000.0),
        )
        feet = footprint(diffract(reflections, reflections.axes, light), detector, [(sigma, 1.0)])
    except SpotmillError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(feet.photons).all() and (feet.photons >= 0).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(numbers(500, 100_000), numbers(1e-5, 0.5), numbers(1e-7, 1e-4), numbers(0, 0.1))
def test_any_sensible_experiment_gives_a_pattern(energy, bandwidth, size, mosaicity) -> None:
    reflections = table((40.0, 50.0, 60.0, 80.0, 95.0, 110.0), 1, extent=3)
    volume = 1 / abs(float(np.linalg.det(reflections.axes)))
    light = Source(
        tophat(energy, bandwidth),
        scale(1e18, crystal_volume("box", size), volume),
        1.0,
        rocking(mosaicity, 0.0, 100.0),
    )
    spots = diffract(reflections, reflections.axes, light)
    assert np.isfinite(spots.photons).all() and (spots.photons >= 0).all()
