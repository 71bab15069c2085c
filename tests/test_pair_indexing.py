"""Indexing with and without the cell, against orientations that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spotmill.physics.faint_peaks import spot_probability
from spotmill.physics.pair_indexing import (
    PairIndexing,
    lattice_points,
    lattice_rotations,
    misorientation,
    one_of_each,
)
from spotmill.physics.projection_indexing import Limits, index_blindly, is_of_cell
from spotmill.physics.reflections import Cell, reciprocal_basis

TETRAGONAL: Cell = (67.288, 67.288, 106.582, 90.0, 90.0, 90.0)
CENTRED: Cell = (78.0, 78.0, 37.0, 90.0, 90.0, 90.0)
TRICLINIC: Cell = (51.0, 63.0, 87.0, 80.0, 95.0, 104.0)
WAVELENGTH, BAND, TOLERANCE = 1.55, 0.006, 3e-4


def turned(cell: Cell, seed: int) -> np.ndarray:
    """Return a*, b*, c* (rows) of a crystal as it lies."""
    return reciprocal_basis(cell) @ Rotation.random(random_state=seed).as_matrix().T


def excited(axes: np.ndarray, seed: int, count: int, d_min: float = 3.2) -> np.ndarray:
    """Return reciprocal vectors of reflections that a band of 1 % excites, by Laue's condition.

    Each is taken at the mean wavelength, as who looks at the peak does: its ray is right, its
    length is off by up to half a percent.
    """
    rng = np.random.default_rng(seed)
    hkl = np.indices((61, 61, 61)).reshape(3, -1).T - 30
    vectors = hkl @ axes
    square = (vectors**2).sum(1)
    near = (square > 0) & (square < d_min**-2) & (vectors[:, 2] < 0)
    vectors, square = vectors[near], square[near]
    # |k0 + s| = k0 at the wavenumber k0 = -|s|^2 / (2 s_z).
    own = -square / (2 * vectors[:, 2]) * WAVELENGTH
    vectors, own = vectors[abs(own - 1) < 0.005], own[abs(own - 1) < 0.005]
    assert len(vectors) >= count
    take = rng.permutation(len(vectors))[:count]
    return vectors[take] / own[take, None]


def strewn(count: int, seed: int, d_min: float = 3.2) -> np.ndarray:
    """Return reciprocal vectors on the Ewald sphere of peaks that are none."""
    rng = np.random.default_rng(seed)
    length = rng.uniform(0.05, 1 / d_min, count)
    angle = 2 * np.arcsin(length * WAVELENGTH / 2)
    turn = rng.uniform(0, 2 * np.pi, count)
    rays = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], 1)
    return (rays - [0, 0, 1]) / WAVELENGTH


@pytest.mark.parametrize("cell", [TETRAGONAL, TRICLINIC])
def test_few_peaks_among_many_false_ones_tell_the_orientation(cell):
    search = PairIndexing(cell, 3.0)
    for seed in range(3):
        axes = turned(cell, seed)
        true = excited(axes, seed, 14)
        vectors = np.concatenate([true, strewn(300, seed)])
        # Four peaks are plain, ten are as faint as the noise.
        probability = np.concatenate([np.full(4, 0.9), np.full(10, 0.15), np.full(300, 0.03)])
        found = search.search(vectors, probability, TOLERANCE, BAND)
        assert found is not None
        assert misorientation(found.axes, axes) < 0.1
        assert found.fits[:14].all()
        assert found.fits[14:].sum() <= 5
        placed = found.hkl[:14] @ found.axes
        across = np.linalg.norm(np.cross(placed, true), axis=1) / np.linalg.norm(true, axis=1)
        assert across.max() < TOLERANCE


def test_noise_alone_lies_on_no_lattice():
    search = PairIndexing(TETRAGONAL, 3.0)
    probability = np.concatenate([np.full(8, 0.4), np.full(200, 0.05)])
    for seed in range(2):
        assert search.search(strewn(208, seed), probability, TOLERANCE, BAND) is None


def test_another_cell_is_not_found():
    axes = turned(TETRAGONAL, 1)
    vectors = np.concatenate([excited(axes, 1, 14), strewn(100, 1)])
    probability = np.concatenate([np.full(14, 0.8), np.full(100, 0.05)])
    assert PairIndexing(TETRAGONAL, 3.0).search(vectors, probability, TOLERANCE, BAND) is not None
    assert PairIndexing(TRICLINIC, 3.0).search(vectors, probability, TOLERANCE, BAND) is None


def test_nothing_is_searched_among_too_few():
    search = PairIndexing(TETRAGONAL, 4.0)
    for count in (0, 1):
        vectors = strewn(count, 0)
        assert search.search(vectors, np.ones(count), TOLERANCE, BAND) is None


def test_lattice_points_fill_a_sphere_by_its_volume():
    basis = reciprocal_basis(CENTRED)
    sphere = 4 / 3 * np.pi * 3.0**-3 / abs(np.linalg.det(basis))
    every, half = len(lattice_points(basis, 3.0)), len(lattice_points(basis, 3.0, "I"))
    assert every == pytest.approx(sphere, rel=0.01)
    assert half == pytest.approx(sphere / 2, rel=0.01)
    assert (lattice_points(basis, 3.0, "I").sum(1) % 2 == 0).all()


def test_h_leaves_a_third_of_the_reflections():
    basis = reciprocal_basis((60.0, 60.0, 90.0, 90.0, 90.0, 120.0))
    every, third = len(lattice_points(basis, 3.0, "R")), len(lattice_points(basis, 3.0, "H"))
    assert third == pytest.approx(every / 3, rel=0.01)


def test_rotations_of_a_lattice_are_those_of_its_holohedry():
    assert len(lattice_rotations(reciprocal_basis(TETRAGONAL))) == 8
    assert len(lattice_rotations(reciprocal_basis(TRICLINIC))) == 1
    assert len(lattice_rotations(reciprocal_basis((60.0, 60.0, 90.0, 90.0, 90.0, 120.0)))) == 12
    hkl = lattice_points(reciprocal_basis(TETRAGONAL), 8.0)
    first = one_of_each(hkl, lattice_rotations(reciprocal_basis(TETRAGONAL)))
    # 422 leaves a general reflection eight times.
    assert len(hkl) / 8 < first.sum() < len(hkl) / 5


def test_misorientation_is_the_angle_of_the_turn():
    axes = turned(TETRAGONAL, 5)
    turn = Rotation.from_rotvec([0, np.radians(0.7), 0]).as_matrix()
    same = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert misorientation(same @ axes @ turn.T, axes) == pytest.approx(0.7, abs=1e-6)
    assert misorientation(turned(TRICLINIC, 5), axes) == 180


def test_blind_indexing_finds_the_lattice_and_bears_some_false_peaks():
    for seed in range(2):
        axes = turned(TETRAGONAL, seed)
        vectors = np.concatenate([excited(axes, seed, 24, d_min=4.0), strewn(6, seed, d_min=4.0)])
        found = index_blindly(vectors, TETRAGONAL, np.random.default_rng(0), Limits(triplets=6000))
        assert found is not None
        assert is_of_cell(found.axes, TETRAGONAL)
        assert misorientation(np.linalg.inv(found.axes).T, axes) < 0.5


def test_blind_indexing_of_noise_finds_no_such_cell():
    found = index_blindly(
        strewn(60, 3, d_min=4.0), TETRAGONAL, np.random.default_rng(0), Limits(triplets=4000)
    )
    assert found is None or found.fits.sum() < 30
    assert index_blindly(strewn(3, 3), TETRAGONAL, np.random.default_rng(0)) is None


def test_cells_are_compared_by_their_reduced_cells():
    axes = np.linalg.inv(turned(TETRAGONAL, 2)).T
    other = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ axes
    assert is_of_cell(other, TETRAGONAL)
    assert is_of_cell(1.03 * other, TETRAGONAL)
    assert not is_of_cell(1.08 * other, TETRAGONAL)
    assert not is_of_cell(np.diag([2, 1, 1]) @ axes, TETRAGONAL)
    # A centred cell is compared with the primitive one.
    primitive = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]]) @ np.diag(CENTRED[:3])
    assert is_of_cell(primitive, CENTRED, "I")
    assert not is_of_cell(primitive, CENTRED, "P")


def test_probability_of_a_spot_holds_on_drawn_ratios():
    rng = np.random.default_rng(0)
    said, right = [], []
    for _ in range(60):
        noise = 5 + rng.exponential(1.0, 2500)
        spots = np.exp(rng.uniform(np.log(5), np.log(200), 15))
        said.append(spot_probability(np.concatenate([noise, spots])))
        right.append(np.arange(2515) >= 2500)
    said, right = np.concatenate(said), np.concatenate(right)
    for low, high in ((0.05, 0.3), (0.3, 0.7), (0.7, 0.99)):
        own = (said >= low) & (said < high)
        # Within three standard deviations of counting, and a tenth for the law of strengths.
        slack = 3 * np.sqrt(0.25 / own.sum()) + 0.1
        assert right[own].mean() == pytest.approx(said[own].mean(), abs=slack)
    assert spot_probability(5 + rng.exponential(1.0, 2500)).sum() < 5
    assert spot_probability(np.empty(0)).shape == (0,)
