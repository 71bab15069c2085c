"""Spectra of the beam as densities in wavenumber.

A spectrum has a support [low, high] (1/Å) and a density p(k) (Å) whose integral over the
support is 1. The closed form of `physics/diffraction` needs nothing else: a reflection
diffracts with p at its own resonant wavenumber, so no spectrum is sampled.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from spotmill.errors import SpotmillError
from spotmill.physics.units import wavenumber_from_photon_energy

# Gaussians are cut at this many standard deviations (6e-7 lies outside) and renormalised.
GAUSSIAN_WIDTH = 5.0
# What is computed; a configuration is held to less (concepts.py).
WIDEST = 0.5
WIDEST_SPIKE = 0.1

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


class Spectrum(Protocol):
    """A density in wavenumber."""

    @property
    def low(self) -> float:
        """Return the lower end of the support, 1/Å."""

    @property
    def high(self) -> float:
        """Return the upper end of the support, 1/Å."""

    def density(self, wavenumber: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return p at wavenumbers in 1/Å, in Å; 0 outside the support."""


@dataclass(frozen=True)
class TopHat:
    """The same density from `low` to `high`."""

    low: float
    high: float

    def density(self, wavenumber: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return p at wavenumbers in 1/Å."""
        inside = (wavenumber >= self.low) & (wavenumber < self.high)
        return np.where(inside, 1.0 / (self.high - self.low), 0.0)


@dataclass(frozen=True)
class Gaussians:
    """A sum of Gaussians: centres, standard deviation (1/Å) and weights that add up to 1."""

    centres: tuple[float, ...]
    sigma: float
    weights: tuple[float, ...]

    @property
    def low(self) -> float:
        """Return the lower end of the support, 1/Å."""
        return min(self.centres) - GAUSSIAN_WIDTH * self.sigma

    @property
    def high(self) -> float:
        """Return the upper end of the support, 1/Å."""
        return max(self.centres) + GAUSSIAN_WIDTH * self.sigma

    def density(self, wavenumber: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return p at wavenumbers in 1/Å."""
        k = np.asarray(wavenumber, dtype=np.float64)[..., None]
        x = (k - np.array(self.centres)) / self.sigma
        whole = self.sigma * math.sqrt(2 * math.pi) * float(erf(GAUSSIAN_WIDTH / math.sqrt(2)))
        bells = np.where(np.abs(x) <= GAUSSIAN_WIDTH, np.exp(-0.5 * x * x), 0.0) / whole
        return np.asarray(bells @ np.array(self.weights))


@dataclass(frozen=True)
class Tabulated:
    """A density known at points and linear between them."""

    points: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def low(self) -> float:
        """Return the lower end of the support, 1/Å."""
        return float(self.points[0])

    @property
    def high(self) -> float:
        """Return the upper end of the support, 1/Å."""
        return float(self.points[-1])

    def density(self, wavenumber: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return p at wavenumbers in 1/Å."""
        return np.interp(wavenumber, self.points, self.values, left=0.0, right=0.0)


def check_width(name: str, width: float, most: float) -> float:
    """Return a relative width, or raise SpotmillError unless it is above 0 and up to `most`."""
    if not 0 < width <= most:
        raise SpotmillError(
            f"{name}: {width!r} is not between 0 and {most:g}; give a fraction (0.01 is 1 %)"
        )
    return float(width)


def tophat(photon_energy: float, bandwidth: float) -> TopHat:
    """Return a top-hat of full relative width `bandwidth` around a photon energy in eV."""
    centre = wavenumber_from_photon_energy(photon_energy)
    check_width("bandwidth", bandwidth, WIDEST)
    return TopHat(centre * (1 - bandwidth / 2), centre * (1 + bandwidth / 2))


def gaussian(photon_energy: float, bandwidth: float) -> Gaussians:
    """Return a Gaussian of relative full width at half maximum `bandwidth`, around eV."""
    centre = wavenumber_from_photon_energy(photon_energy)
    check_width("bandwidth", bandwidth, WIDEST)
    return positive(Gaussians((centre,), bandwidth * centre / FWHM, (1.0,)))


def two_colour(photon_energy: float, bandwidth: float, separation: float) -> Gaussians:
    """Return two equal Gaussians, `separation` (eV) apart around eV, each `bandwidth` wide."""
    centre = wavenumber_from_photon_energy(photon_energy)
    check_width("bandwidth", bandwidth, WIDEST)
    if not 0 < separation < photon_energy:
        raise SpotmillError(
            f"separation: {separation!r} eV is not between 0 and the photon energy; give eV"
        )
    half = 0.5 * separation / photon_energy
    centres = (centre * (1 - half), centre * (1 + half))
    return positive(Gaussians(centres, bandwidth * centre / FWHM, (0.5, 0.5)))


def sase(
    photon_energy: float,
    bandwidth: float,
    n_spikes: int,
    spike_width: float,
    rng: np.random.Generator,
) -> Gaussians:
    """Draw a spiky spectrum of self-amplified spontaneous emission.

    `n_spikes` Gaussians of relative full width at half maximum `spike_width`, their
    centres uniform over the relative full width `bandwidth`, their areas exponential (the
    energy of a single SASE mode; Saldin, Schneidmiller & Yurkov, Opt. Commun. 148, 383,
    1998).
    """
    centre = wavenumber_from_photon_energy(photon_energy)
    check_width("bandwidth", bandwidth, WIDEST)
    check_width("spike_width", spike_width, WIDEST_SPIKE)
    centres = centre * (1 + bandwidth * (rng.random(n_spikes) - 0.5))
    areas = rng.exponential(size=n_spikes)
    weights = tuple(float(area) for area in areas / areas.sum())
    return positive(
        Gaussians(tuple(float(k) for k in centres), spike_width * centre / FWHM, weights)
    )


def positive(spectrum: Gaussians) -> Gaussians:
    """Return the spectrum; raise SpotmillError when it reaches wavenumber 0."""
    if spectrum.low <= 0:
        raise SpotmillError(
            "bandwidth: the spectrum reaches photon energy 0; give relative widths (0.01 is 1 %)"
        )
    return spectrum


def tabulated(photon_energies: NDArray[np.float64], weights: NDArray[np.float64]) -> Tabulated:
    """Return the spectrum of a table of photon energies (eV) and densities per eV.

    Raises
    ------
    SpotmillError
        When there are fewer than two points, an energy stands twice, or a density is
        negative or not finite.
    """
    order = np.argsort(photon_energies)
    energies, values = photon_energies[order], weights[order].astype(np.float64)
    if len(energies) < 2:
        raise SpotmillError("spectrum: has fewer than two points")
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise SpotmillError("spectrum: a density is negative or not finite, or all are 0")
    if (np.diff(energies) <= 0).any():
        raise SpotmillError("spectrum: a photon energy stands twice")
    points = np.array([wavenumber_from_photon_energy(float(e)) for e in energies])
    return Tabulated(points, values / np.trapezoid(values, points))


def centred(spectrum: Tabulated, photon_energy: float) -> Tabulated:
    """Return a tabulated spectrum scaled so that its mean lies at a photon energy in eV."""
    mean = np.trapezoid(spectrum.values * spectrum.points, spectrum.points)
    factor = wavenumber_from_photon_energy(photon_energy) / mean
    return Tabulated(spectrum.points * factor, spectrum.values / factor)
