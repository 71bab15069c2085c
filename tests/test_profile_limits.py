"""Bounds on photon energy and camera length, against closed forms and against chance."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import chi2

from spotmill.concepts import Beam, Response, Solvent
from spotmill.formats.geom import read_geometry
from spotmill.learning.encoders import View
from spotmill.learning.profiles import radial_bins
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.expected import expected_image
from spotmill.physics.profile_family import profile_family
from spotmill.physics.profile_limits import (
    Brightness,
    cramer_rao,
    fisher_information,
    maximum_likelihood,
    points,
    posterior,
)

RADIUS = np.linspace(-6, 6, 241)
ONE = np.ones((1, len(RADIUS)))


@dataclass(frozen=True)
class Bell:
    """A Gaussian ring: its place is 'photon_energy', its width 'clen'."""

    photons: float
    energies: tuple[float, float] = (-1.0, 1.0)
    clens: tuple[float, float] = (0.7, 1.3)

    def log_rate(self, photon_energy: np.ndarray, clen: np.ndarray) -> np.ndarray:
        place, width = np.atleast_1d(photon_energy)[:, None], np.atleast_1d(clen)[:, None]
        step = RADIUS[1] - RADIUS[0]
        scaled = (RADIUS - place) / width
        return -0.5 * scaled**2 + np.log(self.photons * step / np.sqrt(2 * np.pi) / width)

    def slopes(self, photon_energy: np.ndarray, clen: np.ndarray) -> np.ndarray:
        place, width = np.atleast_1d(photon_energy)[:, None], np.atleast_1d(clen)[:, None]
        scaled = (RADIUS - place) / width
        return np.stack([scaled / width, (scaled**2 - 1) / width], axis=1)


def test_information_of_a_bell() -> None:
    """N/w² on the place, 2N/w² on the width, N on log a, nothing between them."""
    for width, level in ((1.0, 0.0), (0.8, 0.3)):
        found = fisher_information(Bell(500.0), np.array([[0.1, width, level]]), ONE)[0]
        n = 500 * np.exp(level)
        assert np.allclose(found, np.diag([n / width**2, 2 * n / width**2, n]), atol=1e-3 * n)
        bound = cramer_rao(found[None], Brightness())
        assert bound["photon_energy"] == pytest.approx(width / np.sqrt(n), rel=1e-3)
        assert bound["clen"] == pytest.approx(width / np.sqrt(2 * n), rel=1e-3)


@dataclass(frozen=True)
class Ramp:
    """Rates exp(E + L r): E is the brightness by another name."""

    energies: tuple[float, float] = (-1.0, 1.0)
    clens: tuple[float, float] = (-1.0, 1.0)

    def log_rate(self, photon_energy: np.ndarray, clen: np.ndarray) -> np.ndarray:
        level, slope = np.atleast_1d(photon_energy), np.atleast_1d(clen)
        return 1 + level[:, None] + slope[:, None] * RADIUS / 6

    def slopes(self, photon_energy: np.ndarray, clen: np.ndarray) -> np.ndarray:
        n = len(np.atleast_1d(clen))
        return np.stack([np.ones((n, len(RADIUS))), np.tile(RADIUS / 6, (n, 1))], axis=1)


def test_what_is_the_brightness_by_another_name_is_as_uncertain() -> None:
    """What is exchangeable with log a keeps its prior: s² + 1/N at slope 0."""
    at = np.array([[0.2, 0.0, 0.0]])
    information = fisher_information(Ramp(), at, ONE)
    n = len(RADIUS) * np.exp(1.2)
    known = cramer_rao(information, Brightness(0.0, 1e-6))["photon_energy"]
    loose = cramer_rao(information, Brightness(0.0, 0.163))["photon_energy"]
    assert known == pytest.approx(1 / np.sqrt(n), rel=1e-3)
    assert loose == pytest.approx(np.sqrt(0.163**2 + 1 / n), rel=1e-3)
    # A known value leaves the other one no worse, and here, at slope 0, no better.
    alone = cramer_rao(information, Brightness(0.0, 0.163), ("photon_energy",))
    assert list(alone) == ["clen"]


def test_maximum_likelihood_reaches_the_bound() -> None:
    family, truth, n = Bell(400.0), (0.2, 0.9), 1500
    rng = np.random.default_rng(1)
    level = rng.normal(0.0, 0.15, n)
    rate = np.exp(family.log_rate(*(np.full(n, value) for value in truth)) + level[:, None])
    photons = rng.poisson(rate).astype(float)
    pixels = np.ones_like(photons)
    law = Brightness(0.0, 0.15)
    start = np.tile([[0.5, 1.1]], (n, 1))
    said = maximum_likelihood(family, photons, pixels, law, start)
    at = np.column_stack([np.tile(truth, (n, 1)), level])
    bound = cramer_rao(fisher_information(family, at, pixels), law)
    for column, name in enumerate(("photon_energy", "clen")):
        ratio = ((said[:, column] - truth[column]) ** 2 / bound[name] ** 2).mean()
        low, high = chi2.ppf([0.001, 0.999], n) / n
        # Next to leading order the maximum is worse than the bound by order 1/N.
        assert low - 0.005 < ratio < high + 0.02
    fixed = maximum_likelihood(family, photons, pixels, law, start, ("clen",))
    assert (fixed[:, 1] == start[:, 1]).all()


def test_posterior_is_the_normal_law_where_photons_are_many() -> None:
    family, n = Bell(2000.0), 300
    rng = np.random.default_rng(2)
    truth = np.column_stack([rng.uniform(-0.5, 0.5, n), rng.uniform(0.85, 1.15, n)])
    level = rng.normal(0.0, 0.15, n)
    photons = rng.poisson(np.exp(family.log_rate(*truth.T) + level[:, None])).astype(float)
    pixels, law = np.ones_like(photons), Brightness(0.0, 0.15)
    where = points(family, ONE[0])
    assert np.exp(where.log_weight).sum() * 2.0 == pytest.approx(2 * 0.6, rel=1e-6)
    mean, deviation = posterior(family, photons, pixels, law, where)
    likeliest = maximum_likelihood(family, photons, pixels, law, mean)
    bound = cramer_rao(fisher_information(family, likeliest, pixels), law)
    for column, name in enumerate(("photon_energy", "clen")):
        assert np.abs(deviation[:, column] / bound[name] - 1).max() < 0.06
        assert np.abs(mean[:, column] - likeliest[:, column]).max() < 0.25 * bound[name].max()


def test_posterior_stays_in_its_range_where_photons_are_few() -> None:
    """One photon says next to nothing: mean and deviation are those of the uniform law."""
    family = Bell(1e-6)
    photons = np.zeros((1, len(RADIUS)))
    where = points(family, ONE[0])
    mean, deviation = posterior(family, photons, ONE, Brightness(0.0, 20.0), where)
    assert mean[0] == pytest.approx([0.0, 1.0], abs=0.02)
    assert deviation[0] == pytest.approx([2 / np.sqrt(12), 0.6 / np.sqrt(12)], rel=0.02)


def test_family_is_the_image_by_radius() -> None:
    whole = read_geometry("tests/tiny/config/detectors/tiny.geom").detector(clen=0.05)
    beam = Beam(nphotons=3e8, beam_radius=5e-6, bandwidth=0.01)
    parts = (Response(point_spread=3e-5), beam, Solvent(shape="sheet", thickness=1e-4))
    bin_of_pixel = radial_bins(View(whole).radius, 24)
    family = profile_family(whole, *parts, bin_of_pixel, 24, (5500, 8500), (0.03, 0.09))
    live = whole.mask & (bin_of_pixel >= 0)
    pixels = np.bincount(bin_of_pixel[live], minlength=24)
    for energy, clen in ((5600.0, 0.031), (7123.0, 0.05), (8400.0, 0.085)):
        there = moved(whole, Conditions(energy, clen, 0, 0, 0, 0, 1, 1, 1))
        image = expected_image(there, parts[0], energy, beam, parts[2])
        wanted = np.bincount(bin_of_pixel[live], image[live], 24)[pixels > 0]
        found = (np.exp(family.log_rate(energy, clen)[0]) * pixels)[pixels > 0]
        error = found / wanted - 1
        assert np.abs(error).max() < 2e-3
        assert np.sqrt((error**2).mean()) < 1e-3


def test_slopes_are_differences() -> None:
    whole = read_geometry("tests/tiny/config/detectors/tiny.geom").detector(clen=0.05)
    beam = Beam(nphotons=3e8, beam_radius=5e-6, bandwidth=0.01)
    parts = (Response(point_spread=3e-5), beam, Solvent(shape="sheet", thickness=1e-4))
    bins = radial_bins(View(whole).radius, 12)
    family = profile_family(whole, *parts, bins, 12, (5500, 8500), (0.03, 0.09), (8, 12))
    found = family.slopes(7000.0, 0.05)[0]
    for row, (de, dl) in enumerate(((0.02, 0.0), (0.0, 2e-7))):
        ahead = family.log_rate(7000 + de, 0.05 + dl)
        behind = family.log_rate(7000 - de, 0.05 - dl)
        assert np.allclose(found[row], (ahead - behind)[0] / 2 / (de + dl), rtol=1e-4, atol=1e-8)
