"""What counting statistics allow: photon energy and camera length from a radial profile.

The photons of a frame's radial bins are independent Poisson variables of mean

    m_r a mu_r(photon_energy, clen)

with live pixels m_r, the expected profile mu_r of a `ProfileFamily`, and a brightness a. Flux
and thickness of the water multiply the same profile, so that only their product a can be told
(an absorbing sheet changes the profile, too, but `background` of a randomise file does not).
What is known of a beforehand enters as a normal law of log a.

Parameters are photon_energy (eV), clen (m) and log a, in this order.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NAMES = ("photon_energy", "clen")
# Steps of scoring; from a start near the maximum a handful suffices.
STEPS = 40
# Points of a posterior lie this many standard errors of a frame apart. The trapezoidal sum of
# a normal law of deviation s at steps h is exact but for 2 exp(-2 pi² s² / h²): 3e-4 for 1.5.
SPACING = 1.5


class Family(Protocol):
    """Expected profiles with their slopes; `ProfileFamily` is one."""

    @property
    def energies(self) -> tuple[float, float]:
        """Return the range in eV."""

    @property
    def clens(self) -> tuple[float, float]:
        """Return the range in m."""

    def log_rate(self, photon_energy: Floats, clen: Floats) -> Floats:
        """Return log(photons a live pixel) [n, bin]."""

    def slopes(self, photon_energy: Floats, clen: Floats) -> Floats:
        """Return [n, 2, bin]: per eV, per m."""


@dataclass(frozen=True)
class Brightness:
    """What is known of log a before a frame is seen: a normal law."""

    mean: float = 0.0
    spread: float = np.inf

    @property
    def precision(self) -> float:
        """1 / spread²."""
        return float(self.spread**-2)

    def of_mean(self, frames: int) -> "Brightness":
        """Return the law of the mean of so many frames."""
        return Brightness(self.mean, self.spread / np.sqrt(frames))


def fisher_information(family: Family, at: Floats, pixels: Floats) -> Floats:
    """Return the information of one frame on its parameters.

    sum_r m_r a mu_r (d log mu_r)(d log mu_r)ᵀ, exact for independent Poisson counts.

    Parameters
    ----------
    at
        [n, 3] photon_energy, clen, log a.
    pixels
        [n, bin] live pixels.

    Returns
    -------
    [n, 3, 3]
    """
    mean = pixels * np.exp(family.log_rate(at[:, 0], at[:, 1]) + at[:, 2:])
    slopes = np.concatenate([family.slopes(at[:, 0], at[:, 1]), np.ones_like(mean)[:, None]], 1)
    return np.einsum("nir,njr,nr->nij", slopes, slopes, mean)


def cramer_rao(
    information: Floats, brightness: Brightness, known: tuple[str, ...] = ()
) -> dict[str, Floats]:
    """Return the least standard deviation [n] of an unbiased estimate of each parameter.

    Square roots of the diagonal of the inverse information (Rao, Bull. Calcutta Math. Soc. 37,
    81, 1945), with the precision of log a added to its own (van Trees, 1968, section 2.4.3).

    Parameters
    ----------
    known
        Of photon_energy and clen, those that are given and not estimated.
    """
    total = information.copy()
    total[:, 2, 2] += brightness.precision
    asked = [number for number, name in enumerate(NAMES) if name not in known]
    free = [*asked, 2]
    part = total[:, free][:, :, free]
    # Scaled to ones on the diagonal: eV and m differ by many powers of ten.
    scale = np.sqrt(np.einsum("nii->ni", part))
    inverse = np.linalg.inv(part / scale[:, :, None] / scale[:, None, :])
    deviation = np.sqrt(np.einsum("nii->ni", inverse)) / scale
    return {NAMES[number]: deviation[:, place] for place, number in enumerate(asked)}


def maximum_likelihood(
    family: Family,
    photons: Floats,
    pixels: Floats,
    brightness: Brightness,
    start: Floats,
    known: tuple[str, ...] = (),
) -> Floats:
    """Return the parameters [n, 3] of largest likelihood, within the family's ranges.

    Fisher's scoring with step halving; the normal law of log a counts as a further measurement.

    Parameters
    ----------
    photons, pixels
        [n, bin].
    start
        [n, 2] photon_energy and clen to begin from.
    known
        Of photon_energy and clen, those that keep their start.
    """
    low = np.array([family.energies[0], family.clens[0]])
    high = np.array([family.energies[1], family.clens[1]])
    asked = [number for number, name in enumerate(NAMES) if name not in known]
    at = np.clip(start, low, high).astype(np.float64)
    best = profile_likelihood(family, photons, pixels, brightness, at)
    for _ in range(STEPS):
        log_rate = family.log_rate(at[:, 0], at[:, 1])
        level = _brightest(photons, pixels, log_rate, brightness)
        mean = pixels * np.exp(log_rate + level[:, None])
        slopes = family.slopes(at[:, 0], at[:, 1])
        score = np.einsum("nir,nr->ni", slopes, photons - mean)
        both = np.einsum("nir,njr,nr->nij", slopes, slopes, mean)
        # log a is at its best for each pair: its part of the information is taken out.
        with_level = np.einsum("nir,nr->ni", slopes, mean)
        rest = mean.sum(1) + brightness.precision
        both -= with_level[:, :, None] * with_level[:, None, :] / rest[:, None, None]
        # A parameter at the end of its range that wants out stays there.
        held = ((at <= low) & (score < 0)) | ((at >= high) & (score > 0))
        held[:, [n for n in range(2) if n not in asked]] = True
        step = _solve(both, score, held)
        moved = np.zeros(len(at), dtype=bool)
        for _ in range(12):
            trial = np.where(moved[:, None], at, np.clip(at + step, low, high))
            value = profile_likelihood(family, photons, pixels, brightness, trial)
            better = ~moved & (value > best)
            at[better], best[better] = trial[better], value[better]
            moved |= better
            if moved.all():
                break
            step = np.where(moved[:, None], step, step / 4)
        if not moved.any():
            break
    level = _brightest(photons, pixels, family.log_rate(at[:, 0], at[:, 1]), brightness)
    return np.column_stack([at, level])


def _solve(information: Floats, score: Floats, held: NDArray[np.bool_]) -> Floats:
    """Return the step [n, 2] of scoring in what is not held."""
    diagonal = np.maximum(np.einsum("nii->ni", information), 1e-300)
    scale = 1 / np.sqrt(diagonal)
    matrix = information * scale[:, :, None] * scale[:, None, :]
    cross = np.where(held.any(1), 0.0, np.clip(matrix[:, 0, 1], -1 + 1e-9, 1 - 1e-9))
    wanted = np.where(held, 0.0, score * scale)
    determinant = 1 - cross**2
    solved = (wanted - cross[:, None] * wanted[:, ::-1]) / determinant[:, None]
    return np.where(held, 0.0, solved) * scale


def _brightest(photons: Floats, pixels: Floats, log_rate: Floats, brightness: Brightness) -> Floats:
    """Return the log a [n] of largest likelihood at given profiles, by Newton's steps."""
    total = photons.sum(1)
    expected = (pixels * np.exp(log_rate)).sum(1)
    level = np.log(np.maximum(total, 0.5) / expected)
    if brightness.precision > 0:
        for _ in range(20):
            mean = expected * np.exp(level)
            slope = total - mean - (level - brightness.mean) * brightness.precision
            level = level + slope / (mean + brightness.precision)
    return level


def profile_likelihood(
    family: Family, photons: Floats, pixels: Floats, brightness: Brightness, at: Floats
) -> Floats:
    """Return the log-likelihood [n] at [n, 2] with log a at its best, up to a constant."""
    log_rate = family.log_rate(at[:, 0], at[:, 1])
    level = _brightest(photons, pixels, log_rate, brightness)
    mean = pixels * np.exp(log_rate + level[:, None])
    value = (photons * (log_rate + level[:, None])).sum(1) - mean.sum(1)
    if brightness.precision > 0:
        value = value - 0.5 * (level - brightness.mean) ** 2 * brightness.precision
    return np.asarray(value)


@dataclass(frozen=True)
class Points:
    """Pairs of photon energy and camera length that stand for their neighbourhood.

    Attributes
    ----------
    energy, clen : [point] eV, m
    log_weight : [point] logarithm of the area that each stands for
    """

    energy: Floats
    clen: Floats
    log_weight: Floats


def points(family: Family, pixels: Floats, spacing: float = SPACING) -> Points:
    """Return points that cover a family's ranges as densely as one frame can tell.

    Parameters
    ----------
    pixels
        [bin] live pixels of a frame.
    """
    energies = np.linspace(*family.energies, 9)

    def errors(clen: float) -> tuple[float, float]:
        at = np.column_stack([energies, np.full(9, clen), np.zeros(9)])
        information = fisher_information(family, at, np.broadcast_to(pixels, (9, len(pixels))))
        flat = Brightness()
        return (
            float(cramer_rao(information, flat, ("clen",))["photon_energy"].min()),
            float(cramer_rao(information, flat, ("photon_energy",))["clen"].min()),
        )

    edges, last = [family.clens[0]], family.clens[1]
    width = last - family.clens[0]
    while edges[-1] < last:
        edges.append(edges[-1] + min(spacing * errors(edges[-1])[1], width / 16))
    edges[-1] = last
    rows = []
    for low, high in pairwise(edges):
        clen = (low + high) / 2
        span = family.energies[1] - family.energies[0]
        count = int(np.ceil(span / min(spacing * errors(clen)[0], span / 16)))
        energy = family.energies[0] + span * (np.arange(count) + 0.5) / count
        rows.append((energy, np.full(count, clen), np.full(count, np.log((high - low) / count))))
    return Points(*(np.concatenate(part) for part in zip(*rows, strict=True)))


def posterior(
    family: Family, photons: Floats, pixels: Floats, brightness: Brightness, where: Points
) -> tuple[Floats, Floats]:
    """Return mean and standard deviation [n, 2] of both, all pairs in range being alike before.

    No other estimate has a smaller mean square error over frames of those ranges. log a is
    integrated out: at N photons its likelihood is normal with variance 1/N, which costs
    1/N of a standard error.

    Parameters
    ----------
    photons, pixels
        [n, bin].
    """
    log_rate = family.log_rate(where.energy, where.clen)
    middle = log_rate.mean(0)
    rate, relative = np.exp(log_rate), log_rate - middle
    means, deviations = [], []
    values = np.column_stack([where.energy, where.clen])
    for counted, live in zip(photons, pixels, strict=True):
        total = max(float(counted.sum()), 1.0)
        level = np.log(total / (rate @ live))
        value = relative @ counted + total * level
        variance = brightness.spread**2 + 1 / total
        value = value - 0.5 * (level - brightness.mean) ** 2 / variance + where.log_weight
        share = np.exp(value - value.max())
        share /= share.sum()
        mean = share @ values
        means.append(mean)
        deviations.append(np.sqrt(share @ (values - mean) ** 2))
    return np.array(means), np.array(deviations)
