"""The background's expected radial profile as a smooth function of photon energy and camera length.

It is computed at the nodes of Chebyshev in the logarithms of both and interpolated between
them, so that a likelihood can ask for thousands of profiles and their slopes at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from spotmill.concepts import Beam, Response, Solvent
from spotmill.physics.coarse import CoarseGrid
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.expected import expected_image
from spotmill.physics.geometry import Detector, pixel_positions
from spotmill.physics.units import (
    check_clen,
    check_photon_energy,
    wavelength_from_photon_energy,
)
from spotmill.physics.water_tables import water_table

Range = tuple[float, float]

# Terms in photon energy and in camera length; with them a profile of an Eiger 4M is met
# within 1e-3 in every bin (tests/test_profile_limits.py).
TERMS = (8, 16)
# Below this a bin is empty: no pixel, or none that water reaches.
LEAST_RATE = 1e-12
# Points across a bin at which the structure of water is looked up.
ACROSS = 7
# Pairs evaluated at once, for the sake of memory.
AT_ONCE = 4096


@dataclass(frozen=True)
class ProfileFamily:
    """Expected photons of one live pixel in each radial bin at unit flux and thickness.

    Attributes
    ----------
    energies, clens
        Ranges in eV and m, outside which the family is not known.
    radius : [bin]
        Mean distance of each bin's pixels from the beam, m.
    coefficients : [energy term, clen term, bin]
        Chebyshev polynomials in the logarithms, of the logarithm of the rate over the
        structure of water at 25 °C at those radii: what is left has no corners.
    """

    energies: Range
    clens: Range
    radius: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    def log_rate(self, photon_energy: ArrayLike, clen: ArrayLike) -> NDArray[np.float64]:
        """Return log(photons a live pixel) [n, bin] at n pairs of eV and m."""
        x, y, _, _ = self._scaled(photon_energy, clen)
        energy, length = _columns(photon_energy, clen)
        result = np.empty((len(x), len(self.radius)))
        for first in range(0, len(x), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            result[part] = _evaluate(self.coefficients, x[part], y[part])
            result[part] += _structure(self.radius, energy[part], length[part])[0]
        return result

    def slopes(self, photon_energy: ArrayLike, clen: ArrayLike) -> NDArray[np.float64]:
        """Return how log_rate changes [n, 2, bin]: per eV, per m."""
        x, y, per_energy, per_clen = self._scaled(photon_energy, clen)
        by_energy = _evaluate(np.asarray(chebyshev.chebder(self.coefficients, axis=0)), x, y)
        by_clen = _evaluate(np.asarray(chebyshev.chebder(self.coefficients, axis=1)), x, y)
        slopes = np.stack([by_energy * per_energy[:, None], by_clen * per_clen[:, None]], axis=1)
        return slopes + _structure(self.radius, *_columns(photon_energy, clen))[1]

    def _scaled(self, photon_energy: ArrayLike, clen: ArrayLike) -> tuple[NDArray[np.float64], ...]:
        energy, length = _columns(photon_energy, clen)
        result = []
        for value, limits in ((energy, self.energies), (length, self.clens)):
            low, high = np.log(limits)
            result += [(2 * np.log(value) - low - high) / (high - low), 2 / (high - low) / value]
        return result[0], result[2], result[1], result[3]


def _evaluate(
    coefficients: NDArray[np.floating], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    of_x = chebyshev.chebvander(x, coefficients.shape[0] - 1)
    of_y = chebyshev.chebvander(y, coefficients.shape[1] - 1)
    products = (of_x[:, :, None] * of_y[:, None, :]).reshape(len(x), -1)
    return np.asarray(products @ coefficients.reshape(-1, coefficients.shape[2]))


def _columns(
    photon_energy: ArrayLike, clen: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    energy = np.atleast_1d(np.asarray(photon_energy, dtype=np.float64))
    return energy, np.atleast_1d(np.asarray(clen, dtype=np.float64))


def _structure(
    radius: NDArray[np.float64], energy: NDArray[np.float64], clen: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logarithm of the structure of water in each bin [n, bin], and its slopes."""
    q_table, squares = water_table(25.0)
    steepness = np.diff(squares) / np.diff(q_table)
    width = float(np.median(np.diff(radius))) if len(radius) > 1 else 0.0
    per_angle: NDArray[np.float64] = (
        4e-3 * np.pi / wavelength_from_photon_energy(1000.0) * energy
    )[:, None]
    length = clen[:, None]
    value = np.zeros((len(energy), len(radius)))
    by_energy, by_clen = np.zeros_like(value), np.zeros_like(value)
    for place in (np.arange(ACROSS) + 0.5) / ACROSS - 0.5:
        r = np.abs(radius + place * width)
        half = np.arctan2(r, length) / 2
        q = per_angle * np.sin(half)
        own: NDArray[np.float64] = np.interp(q, q_table, squares)
        row = np.clip(np.searchsorted(q_table, q, side="right") - 1, 0, len(steepness) - 1)
        slope = np.where(q < q_table[-1], steepness[row], 0.0)
        value += own
        by_energy += slope * q / energy[:, None]
        by_clen = by_clen - slope * per_angle * np.cos(half) / 2 * r / (length**2 + r**2)
    return np.log(value / ACROSS), np.stack([by_energy / value, by_clen / value], axis=1)


def _nodes(limits: Range, terms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values in a range, and the matrix [term, node] that makes coefficients of values."""
    low, high = np.log(limits)
    points = np.cos(np.pi * (np.arange(terms, dtype=np.float64) + 0.5) / terms)
    values = np.asarray(np.exp((low + high + points * (high - low)) / 2), np.float64)
    return values, np.asarray(np.linalg.inv(chebyshev.chebvander(points, terms - 1)), np.float64)


def profile_family(
    detector: Detector,
    response: Response,
    beam: Beam,
    solvent: Solvent,
    bin_of_pixel: NDArray[np.integer],
    bins: int,
    energies: Range,
    clens: Range,
    terms: tuple[int, int] = TERMS,
) -> ProfileFamily:
    """Compute the family of a detector, beam and solvent.

    Parameters
    ----------
    detector
        At any camera length within the range.
    bin_of_pixel
        [ss, fs], below 0 where a pixel is in none. Pixels of the mask alone count.
    energies, clens
        Ranges in eV and m that can be asked for.

    Raises
    ------
    SpotmillError
        When a range has a wrong unit or leaves the tables of water.
    """
    grid = CoarseGrid(detector)
    weight = detector.mask.astype(np.float64)
    sums = grid.bin_matrix(bin_of_pixel, weight, bins)
    known = bin_of_pixel >= 0
    pixels = np.bincount(bin_of_pixel[known], weights=weight[known], minlength=bins)
    radius = mean_radius(detector, bin_of_pixel, bins)
    open_beam = response.model_copy(update={"beamstop": None})
    for limits in (energies, clens):
        if not limits[0] < limits[1]:
            raise ValueError("a range needs a lower and an upper end")
    at_energy, from_energy = _nodes(energies, terms[0])
    at_clen, from_clen = _nodes(clens, terms[1])
    values = np.empty((*terms, bins))
    for row, energy in enumerate(at_energy):
        for column, clen in enumerate(at_clen):
            where = Conditions(
                check_photon_energy(float(energy)), check_clen(float(clen)), 0, 0, 0, 0, 1, 1, 1
            )
            there = moved(grid.nodes, where)
            image = expected_image(there, open_beam, float(energy), beam, solvent) / grid.area
            rate = (sums @ image.ravel()) / np.maximum(pixels, 1.0)
            structure = _structure(radius, *_columns(energy, clen))[0][0]
            values[row, column] = np.log(np.maximum(rate, LEAST_RATE)) - structure
    coefficients = np.einsum("ai,bj,ijk->abk", from_energy, from_clen, values)
    return ProfileFamily(energies, clens, radius, coefficients)


def mean_radius(
    detector: Detector, bin_of_pixel: NDArray[np.integer], bins: int
) -> NDArray[np.float64]:
    """Return the mean distance of each bin's pixels from the beam, m; empty bins lie between."""
    total, count = np.zeros(bins), np.zeros(bins)
    for panel in detector.panels:
        place = pixel_positions(panel)
        own = bin_of_pixel[panel.slab]
        known = own >= 0
        distance = np.hypot(place[..., 0], place[..., 1])[known]
        total += np.bincount(own[known], weights=distance, minlength=bins)
        count += np.bincount(own[known], minlength=bins)
    full = np.flatnonzero(count)
    return np.interp(np.arange(bins), full, total[full] / count[full])
