"""Spectra of `pattern_sim`'s options, and how they are cut into wavelength samples.

A spectrum is a probability density in wavenumber k = 1/lambda (1/Å) on a range.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError

Density = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# A Gaussian is followed over this many standard deviations.
GAUSSIAN_REACH = 5.0

HIGHEST = 100.0  # 1/Å; 1 MeV is 81

SPIKES = 15  # in a SASE spectrum

# Steps of the cumulative distribution from which samples are drawn.
STEPS = 1 << 16


@dataclass(frozen=True)
class Spectrum:
    """A density on [low, high], all in 1/Å (the density in Å, not necessarily normalised)."""

    low: float
    high: float
    density: Density

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < HIGHEST:
            raise SpotmillError(
                f"spectrum: reaches from {self.low:g} to {self.high:g} 1/Å; give 1/Å, "
                "or make it narrower (bandwidth, --sase-spike-width, --twocol-separation)"
            )


def tophat(centre: float, bandwidth: float) -> Spectrum:
    """Return a density constant over the full relative width `bandwidth`."""
    low, high = centre * (1 - bandwidth / 2), centre * (1 + bandwidth / 2)
    return Spectrum(low, high, lambda k: np.where((k > low) & (k <= high), 1 / (high - low), 0.0))


def gaussians(centres: NDArray[np.float64], areas: NDArray[np.float64], sigma: float) -> Spectrum:
    """Return a sum of Gaussians of one standard deviation, 1/Å."""
    reach = GAUSSIAN_REACH * sigma

    def density(k: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(k)
        for centre, area in zip(centres, areas, strict=True):
            total += area * np.exp(-0.5 * ((k - centre) / sigma) ** 2)
        return total / (areas.sum() * sigma * np.sqrt(2 * np.pi))

    return Spectrum(float(centres.min()) - reach, float(centres.max()) + reach, density)


def gaussian(centre: float, bandwidth: float) -> Spectrum:
    """Return a Gaussian whose standard deviation is `bandwidth` x centre."""
    return gaussians(np.array([centre]), np.ones(1), bandwidth * centre)


def two_colour(centre: float, bandwidth: float, separation: float) -> Spectrum:
    """Return two equal Gaussians `separation` (1/Å) apart, each of sigma bandwidth x centre."""
    centres = centre + separation * np.array([-0.5, 0.5])
    return gaussians(centres, np.ones(2), bandwidth * centre)


def sase(centre: float, bandwidth: float, spike_width: float, rng: np.random.Generator) -> Spectrum:
    """Return 15 Gaussian spikes of random position and area; `spike_width` (sigma) in 1/Å."""
    centres = centre * (1 + bandwidth * (rng.random(SPIKES) - 0.5))
    return gaussians(centres, rng.random(SPIKES), spike_width)


def tabulated(wavenumbers: NDArray[np.float64], weights: NDArray[np.float64]) -> Spectrum:
    """Return the linear interpolation of a table, 1/Å in any order and weights.

    Raises
    ------
    SpotmillError
        When there are fewer than two rows, a weight is negative, or all are zero.
    """
    order = np.argsort(wavenumbers)
    k, p = wavenumbers[order], weights[order]
    if len(k) < 2 or not (np.diff(k) > 0).all() or (p < 0).any() or not p.sum() > 0:
        raise SpotmillError(
            "spectrum: needs two or more rows of different energies, weights of 0 or more"
        )
    p = p / np.trapezoid(p, k)
    return Spectrum(float(k[0]), float(k[-1]), lambda at: np.interp(at, k, p, left=0, right=0))


def equal_shares(spectrum: Spectrum, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut a spectrum into n parts of equal photon number; return the median of each, and 1/n."""
    k = np.linspace(spectrum.low, spectrum.high, STEPS, dtype=np.float64)
    density = spectrum.density(k)
    parts = (density[1:] + density[:-1]) / 2
    cumulative = np.concatenate([[0.0], np.cumsum(parts)])
    shares = (np.arange(_count(n)) + 0.5) / n * cumulative[-1]
    return np.interp(shares, cumulative, k), np.full(n, 1 / n)


def interior_points(spectrum: Spectrum, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `pattern_sim`'s samples: n inner points of n + 1 steps, weighted by the density."""
    step = (spectrum.high - spectrum.low) / (_count(n) + 1)
    k = spectrum.low + step * np.arange(1, n + 1, dtype=np.float64)
    weights = spectrum.density(k)
    if not weights.sum() > 0:
        raise SpotmillError("spectrum: no sample has any photons; raise --sample-spectrum")
    return k, weights / weights.sum()


def _count(n: int) -> int:
    if n < 1:
        raise SpotmillError(f"--sample-spectrum: {n} is not a number of samples; give 1 or more")
    return n
