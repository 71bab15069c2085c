"""The lattice engine against direct sums, independent interpolation and the closed form."""

import math
from dataclasses import replace

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import qmc

from spotmill.errors import SpotmillError
from spotmill.physics import diffraction, lattice, lattice_kernels
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.units import CLASSICAL_ELECTRON_RADIUS, wavenumber_from_photon_energy

FLUENCE = 1e24  # 1/m^2
AXES = np.array([[21.0, 0.0, 0.0], [-4.0, 27.0, 0.0], [3.0, 5.0, 33.0]])
WAVENUMBER = wavenumber_from_photon_energy(7000)
ONE = (np.array([WAVENUMBER]), np.ones(1))


def make_detector(
    n_ss: int = 30, n_fs: int = 40, clen: float = 0.05, pixel: float = 75e-6, **places: list[float]
) -> Detector:
    panel = Panel(
        "p",
        0,
        n_fs - 1,
        0,
        n_ss - 1,
        np.array(places.get("corner", [0.011, -0.004, clen])),
        pixel * np.array(places.get("fs", [0.8, 0.6, 0.0])),
        pixel * np.array(places.get("ss", [-0.59, 0.79, 0.15])),
    )
    return Detector((panel,), (n_ss, n_fs), np.ones((n_ss, n_fs), bool), clen, None, 1.0)


def points(detector: Detector, u: float, v: float) -> np.ndarray:
    """Return positions [ss, fs, 3] at the sub-pixel position (u along fs, v along ss)."""
    panel = detector.panels[0]
    ss, fs = np.indices(detector.shape)
    return panel.corner + (fs + u)[..., None] * panel.fs + (ss + v)[..., None] * panel.ss


def direct_sum(detector: Detector, axes: np.ndarray, cells: tuple[int, int, int], u, v):
    """Return |sum over all cells of exp(2 pi i q.r)|^2, [ss, fs]."""
    position = points(detector, u, v)
    direction = position / np.linalg.norm(position, axis=-1, keepdims=True)
    q = WAVENUMBER * (direction - [0, 0, 1])
    total = np.zeros(detector.shape, dtype=complex)
    for index in np.ndindex(*cells):
        total += np.exp(2j * np.pi * (q @ (np.array(index) @ axes)))
    return np.abs(total) ** 2


def per_electron(detector: Detector, polarisation: float | None) -> np.ndarray:
    """Return photons per |F|^2 in each pixel from solid angle and polarisation, at its centre."""
    panel, position = detector.panels[0], points(detector, 0.5, 0.5)
    distance = np.linalg.norm(position, axis=-1)
    solid = np.abs(position @ np.cross(panel.fs, panel.ss)) / distance**3
    x, y = position[..., 0] / distance, position[..., 1] / distance
    factor = 1.0 if polarisation is None else 1 - polarisation * x**2 - (1 - polarisation) * y**2
    return FLUENCE * CLASSICAL_ELECTRON_RADIUS**2 * solid * factor


def turned(seed: int, axes: np.ndarray = AXES) -> np.ndarray:
    return turn_axes(axes, random_quaternion(np.random.default_rng(seed)))


def test_sine_is_as_exact_as_stated():
    y = np.linspace(-0.5, 0.5, 100001)
    y = y[y != 0]
    exact = np.sin(np.pi * y) ** 2
    computed = np.array([lattice_kernels._sine_squared.py_func(value) for value in y])
    assert np.abs(computed / exact - 1).max() < 1e-10


@pytest.mark.parametrize("polarisation", [None, 1.0, 0.3])
@pytest.mark.parametrize("samples", [1, 3])
def test_direct_sum_over_all_cells(samples, polarisation):
    detector, cells, axes = make_detector(), (3, 4, 5), turned(1)
    offsets = (np.arange(samples) + 0.5) / samples
    expected = np.mean(
        [direct_sum(detector, axes, cells, u, v) for u in offsets for v in offsets], 0
    )
    expected *= per_electron(detector, polarisation)
    image = lattice.lattice_image(
        detector,
        axes,
        cells,
        lattice.uniform_transform(1.0),
        *ONE,
        FLUENCE,
        samples=samples,
        polarisation=polarisation,
    )
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, rtol=1e-6, atol=1e-9 * expected.max())


def test_wavelengths_add_up_by_weight():
    detector, axes = make_detector(), turned(2)
    k = WAVENUMBER * np.array([0.99, 1.0, 1.02])
    weights = np.array([0.2, 0.5, 0.3])
    transform = lattice.uniform_transform(3.0)

    def image(k, weights):
        return lattice.lattice_image(detector, axes, (5, 4, 3), transform, k, weights, FLUENCE)

    parts = [w * image(np.array([v]), np.ones(1)).astype(float) for v, w in zip(k, weights)]  # noqa: B905
    np.testing.assert_allclose(image(k, weights), np.sum(parts, 0), rtol=1e-6)


def test_forward_beam_sees_every_cell():
    """At q = 0 the lattice factor is N^2, not 0/0."""
    detector = make_detector(1, 1, corner=[-37.5e-6, -37.5e-6, 0.1], fs=[1, 0, 0], ss=[0, 1, 0])
    image = lattice.lattice_image(
        detector, AXES, (7, 8, 9), lattice.uniform_transform(1.0), *ONE, FLUENCE, samples=1
    )
    assert image[0, 0] == pytest.approx((7 * 8 * 9) ** 2 * per_electron(detector, None)[0, 0])


def full_sphere(largest: int) -> np.ndarray:
    grid = np.arange(-largest, largest + 1)
    return np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize("gradients", ["mosaic", "interpolate", "phased"])
def test_gradients_against_scipy(gradients):
    """One cell has no interference: the image is the transform itself."""
    detector, axes = make_detector(12, 14, clen=0.1), turned(3)
    rng = np.random.default_rng(4)
    hkl = full_sphere(6)
    amplitude = rng.normal(size=(13, 13, 13)) + 1j * rng.normal(size=(13, 13, 13))
    intensity, phase = np.abs(amplitude.ravel()) ** 2, np.angle(amplitude.ravel())
    identity = np.eye(3, dtype=int)[None]
    if gradients == "phased":
        transform = lattice.amplitude_transform(
            hkl, intensity, phase, identity, np.zeros((1, 3)), friedel=False
        )
        values = amplitude
    else:
        transform = lattice.intensity_transform(hkl, intensity, identity)
        values = np.abs(amplitude) ** 2
    position = points(detector, 0.5, 0.5)
    direction = position / np.linalg.norm(position, axis=-1, keepdims=True)
    x = WAVENUMBER * (direction - [0, 0, 1]) @ axes.T
    assert np.abs(x).max() < 6
    method = "nearest" if gradients == "mosaic" else "linear"
    table = RegularGridInterpolator([np.arange(-6, 7)] * 3, values, method=method)
    expected = table(x.reshape(-1, 3)).reshape(detector.shape)
    if gradients == "phased":
        expected = np.abs(expected) ** 2
    image = lattice.lattice_image(
        detector, axes, (1, 1, 1), transform, *ONE, FLUENCE, samples=1, gradients=gradients
    )
    np.testing.assert_allclose(image, expected * per_electron(detector, 1.0), rtol=2e-5)


def test_reflections_that_are_absent_scatter_nothing():
    detector, axes = make_detector(clen=0.03), turned(5)
    only = lattice.intensity_transform(np.array([[1, 0, 0]]), np.ones(1), lattice.FRIEDEL)
    image = lattice.lattice_image(detector, axes, (3, 3, 3), only, *ONE, FLUENCE)
    assert image.sum() == 0


@pytest.mark.parametrize("name", ["P 43 21 2", "P 61", "C 1 2 1", "P 21 21 21", "F 4 3 2"])
def test_phases_follow_the_space_group(name):
    """Structure factors of atoms in general positions, summed over the whole cell."""
    rng = np.random.default_rng(6)
    group = gemmi.find_spacegroup_by_name(name)
    atoms, weights = rng.random((5, 3)), rng.uniform(5, 10, 5)
    images = [
        (np.array(op.rot) @ atoms.T).T / 24 + np.array(op.tran) / 24 for op in group.operations()
    ]

    def structure_factor(hkl):
        return sum(np.exp(2j * np.pi * hkl @ image.T) @ weights for image in images)

    sphere = full_sphere(4)
    asu = gemmi.ReciprocalAsu(group)
    listed = np.array([h for h in sphere.tolist() if asu.is_in(h)])
    amplitude = structure_factor(listed)
    present = np.abs(amplitude) > 1e-6
    listed, amplitude = listed[present], amplitude[present]
    operations = list(group.operations().sym_ops)
    rotations = np.array([op.rot for op in operations]) // 24
    translations = np.array([op.tran for op in operations]) / 24
    transform = lattice.amplitude_transform(
        listed, np.abs(amplitude) ** 2, np.angle(amplitude), rotations, translations
    )
    # Equivalents of the sphere's corner may lie outside it, never the other way round.
    inner = full_sphere(2)
    parts = transform.parts[:, lattice._flat(inner, transform.half)]
    np.testing.assert_allclose(parts[0] + 1j * parts[1], structure_factor(inner), atol=2e-4)


def test_intensities_follow_the_point_group():
    group = gemmi.find_spacegroup_by_name("P 4/m m m")
    rotations = np.array([op.rot for op in group.operations().sym_ops]) // 24
    transform = lattice.intensity_transform(
        np.array([[1, 2, 3], [0, 0, 4]]), np.array([7.0, 5.0]), rotations
    )
    same = np.array([[2, 1, 3], [-1, 2, 3], [1, 2, -3], [-2, -1, -3]])
    assert transform.at(same).tolist() == [7.0] * 4
    assert transform.at(np.array([[0, 0, -4], [3, 2, 1], [99, 0, 0]])).tolist() == [5.0, 0.0, 0.0]


def spot(crystal: int, hkl: np.ndarray) -> tuple[float, float]:
    """Return the photons of one whole reflection by the lattice sum and in closed form."""
    for seed in range(10000):
        axes = turned(seed, np.diag([67.288, 67.288, 106.582]))
        s = hkl @ np.linalg.inv(axes).T
        resonant = -(s @ s) / (2 * s[2])
        if abs(resonant / WAVENUMBER - 1) < 0.02:
            break
    # The band must hold the reflection's whole reciprocal cell.
    band = 0.5
    k = resonant * (1 + band * ((np.arange(1000) + 0.5) / 1000 - 0.5))
    direction = s / resonant + [0, 0, 1]
    clen, n, pixel = 0.1, 320, 75e-6
    middle = direction / direction[2] * clen
    corner = middle - np.array([n / 2, n / 2, 0]) * pixel
    detector = make_detector(n, n, clen, pixel, corner=list(corner), fs=[1, 0, 0], ss=[0, 1, 0])
    transform = lattice.intensity_transform(hkl[None], np.array([1e4]), lattice.FRIEDEL)
    image = lattice.lattice_image(
        detector,
        axes,
        (crystal,) * 3,
        transform,
        k,
        np.full(k.size, 1 / k.size),
        FLUENCE,
        samples=1,
    )
    volume = abs(np.linalg.det(axes))
    scale = FLUENCE * 1e-20 * (CLASSICAL_ELECTRON_RADIUS * 1e10) ** 2 * crystal**3 / volume
    closed = scale * 1e4 / ((s @ s) / 2 * band * resonant)
    closed *= diffraction.polarisation_factor(direction[None], 1.0)[0]
    return image.sum(dtype=float), closed


@pytest.mark.parametrize("hkl", [(14, 2, 5), (16, -5, 9), (4, 17, -12)])
def test_whole_reflection_has_the_photons_of_the_closed_form(hkl):
    summed, closed = spot(20, np.array(hkl))
    assert summed == pytest.approx(closed, rel=1e-3)


def test_mean_over_orientations_is_that_of_the_closed_form():
    """25 nm crystals, 1 % band: the mean photons on a face agree with integration to 1 %."""
    band, clen, size = 0.01, 0.25, 25e-9
    axes = np.diag([30.0, 40.0, 50.0])
    hkl = full_sphere(8)
    hkl = hkl[hkl.any(axis=1)]
    intensity = np.random.default_rng(1).exponential(size=hkl.shape[0])
    intensity = (intensity + intensity[::-1]) / 2  # the list runs from h to -h
    transform = lattice.intensity_transform(hkl, intensity, np.eye(3, dtype=int)[None])
    # No fringe is narrower than 1/size; four samples a pixel come closer than that.
    pixel, n = 4 * 0.7 * clen / (WAVENUMBER * 1e10 * size), 28
    corner = [-n / 2 * pixel, -n / 2 * pixel, clen]
    detector = make_detector(n, n, clen, pixel, corner=corner, fs=[1, 0, 0], ss=[0, 1, 0])
    k = WAVENUMBER * (1 + band * np.array([-0.375, -0.125, 0.125, 0.375]))
    cells = lattice.whole_cells(axes, size)
    u, v, w = qmc.Sobol(3, rng=np.random.default_rng(2)).random(2048).T
    v, w = 2 * np.pi * v, 2 * np.pi * w
    low, high = np.sqrt(1 - u), np.sqrt(u)
    quaternions = np.stack(
        [low * np.sin(v), low * np.cos(v), high * np.sin(w), high * np.cos(w)], 1
    )
    summed = np.mean(
        [
            lattice.lattice_image(
                detector, turn_axes(axes, q), cells, transform, k, np.full(4, 0.25), FLUENCE
            ).sum(dtype=float)
            for q in quaternions
        ]
    )
    s = np.linalg.norm(hkl / np.diag(axes), axis=1)
    closed, azimuth = 0.0, (np.arange(720) + 0.5) / 720 * 2 * np.pi
    for wavenumber in k:
        two_theta = 2 * np.arcsin(s / (2 * wavenumber))[:, None]
        x, y = np.sin(two_theta) * np.cos(azimuth), np.sin(two_theta) * np.sin(azimuth)
        reach = np.maximum(abs(x), abs(y)) * clen / np.cos(two_theta)
        held = ((1 - x**2) * (reach < n / 2 * pixel)).mean(axis=1)
        # Density of the resonant wavenumber over orientations: s / (4 k^2).
        closed += (intensity / (s**2 / 2) * s / (4 * wavenumber**2) * held).sum() / 4
    scale = FLUENCE * 1e-20 * (CLASSICAL_ELECTRON_RADIUS * 1e10) ** 2 * math.prod(cells)
    assert summed == pytest.approx(scale * closed / np.prod(np.diag(axes)), rel=0.01)


def test_fringes_cut_and_flat():
    detector, axes, cells = make_detector(), turned(1), (6, 7, 8)

    def image(fringes):
        return lattice.lattice_image(
            detector,
            axes,
            cells,
            lattice.uniform_transform(1.0),
            *ONE,
            FLUENCE,
            samples=1,
            fringes=fringes,
        )

    position = points(detector, 0.5, 0.5)
    direction = position / np.linalg.norm(position, axis=-1, keepdims=True)
    x = WAVENUMBER * (direction - [0, 0, 1]) @ axes.T
    inside = (np.abs(x - np.rint(x)) <= 1 / np.array(cells)).all(-1)
    assert 0 < inside.sum() < inside.size
    full, none, flat = image("full"), image("none"), image("flat")
    np.testing.assert_array_equal(none, np.where(inside, full, 0))
    peak = math.prod(cells) ** 2 * per_electron(detector, 1.0)
    np.testing.assert_allclose(flat, np.where(inside, peak, 0), rtol=1e-6)


def test_panels_are_computed_where_they_are():
    whole = make_detector(20, 30)
    panel = whole.panels[0]
    left = replace(panel, max_fs=9)
    right = replace(panel, name="q", min_fs=15, max_fs=34, corner=panel.corner + 10 * panel.fs)
    split = Detector((left, right), (20, 35), np.ones((20, 35), bool), 0.05, None, 1.0)
    rest = (turned(7), (4, 4, 4), lattice.uniform_transform(1.0), *ONE, FLUENCE)
    one, two = lattice.lattice_image(whole, *rest), lattice.lattice_image(split, *rest)
    np.testing.assert_allclose(two[:, :10], one[:, :10], rtol=1e-6)
    np.testing.assert_allclose(two[:, 15:], one[:, 10:], rtol=1e-6)
    assert not two[:, 10:15].any()


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.tuples(*[st.floats(3, 900)] * 3),
    energy=st.floats(1000, 30000),
    clen=st.floats(0.01, 2),
    cells=st.tuples(*[st.integers(1, 3000)] * 3),
    seed=st.integers(0, 1000),
    gradients=st.sampled_from(["mosaic", "interpolate"]),
)
def test_images_are_finite_and_not_negative(lengths, energy, clen, cells, seed, gradients):
    detector = make_detector(4, 9, clen, corner=[-3e-4, -1e-4, clen])
    k = np.array([wavenumber_from_photon_energy(energy)])
    transform = lattice.intensity_transform(
        full_sphere(3), np.full(343, 9.0), np.eye(3, dtype=int)[None]
    )
    image = lattice.lattice_image(
        detector,
        turned(seed, np.diag(lengths)),
        cells,
        transform,
        k,
        np.ones(1),
        FLUENCE,
        samples=2,
        gradients=gradients,
    )
    assert np.isfinite(image).all()
    assert (image >= 0).all()


GOOD = {
    "axes": AXES,
    "cells": (3, 3, 3),
    "transform": lattice.uniform_transform(1.0),
    "wavenumbers": np.array([WAVENUMBER]),
    "weights": np.ones(1),
    "fluence": FLUENCE,
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"axes": AXES * 1e-10}, "axes"),
        ({"cells": (0, 3, 3)}, "cells"),
        ({"wavenumbers": np.array([WAVENUMBER * 1e10])}, "wavenumbers"),
        ({"weights": np.array([0.5])}, "weights"),
        ({"fluence": -1.0}, "fluence"),
        ({"fluence": float("nan")}, "fluence"),
        ({"polarisation": 2.0}, "polarisation"),
        ({"samples": 0}, "samples"),
        ({"gradients": "smooth"}, "gradients"),
        ({"gradients": "phased"}, "phased"),
    ],
)
def test_wrong_arguments_are_refused(wrong, says):
    with pytest.raises(SpotmillError, match=says):
        lattice.lattice_image(make_detector(2, 2), **(GOOD | wrong))


def test_sizes_are_in_metres():
    assert lattice.whole_cells(np.diag([67.288, 67.288, 106.582]), 150e-9) == (22, 22, 14)
    for size in (150.0, 0.15e-9, float("nan")):
        with pytest.raises(SpotmillError, match="size"):
            lattice.whole_cells(AXES, size)


def test_resolved_size_follows_pixels_and_band():
    detector = make_detector(40, 40, 0.1, corner=[0.02, 0.01, 0.1], fs=[1, 0, 0], ss=[0, 1, 0])
    k = WAVENUMBER * np.linspace(0.96, 1.04, 41)
    limit = lattice.resolved_size(detector, k, 0.0, 1)
    across = 0.1 / (k[-1] * 1e10 * 75e-6)
    assert limit <= across
    assert lattice.resolved_size(detector, k, 0.0, 100) > limit
    assert lattice.resolved_size(detector, k[:1], 1e-3, 100) == pytest.approx(
        lattice.resolved_size(detector, k[0] - [1e-3, 0.0], 0.0, 100), rel=0.01
    )
    with pytest.raises(SpotmillError, match="no live pixel"):
        lattice.resolved_size(replace(detector, mask=np.zeros((40, 40), bool)), k, 0.0, 1)


def test_equivalents_in_one_list_are_refused():
    with pytest.raises(SpotmillError, match="are symmetry equivalents"):
        lattice.intensity_transform(
            np.array([[1, 2, 3], [-1, -2, -3]]), np.ones(2), lattice.FRIEDEL
        )


def test_phased_without_phases_says_so():
    with pytest.raises(SpotmillError, match="needs a phase"):
        lattice.amplitude_transform(
            np.array([[1, 0, 0]]), np.ones(1), None, np.eye(3, dtype=int)[None], np.zeros((1, 3))
        )
