"""Orientation of a crystal of known cell from few peaks among many false ones.

Two peaks that belong to reflections of known lengths and angle fix the orientation (SPIND: Li et
al., IUCrJ 6, 72, 2019; TakeTwo: Ginn et al., Acta Cryst. D72, 956, 2016). Pairs of the likeliest
peaks propose orientations; each is scored by all peaks, also those that alone would be taken for
noise. The direction of a peak's reciprocal vector does not depend on the wavelength, so that it is
held tightly, its length only to the width of the band.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.physics import pair_indexing_kernels as kernels
from spotmill.physics.reflections import Cell, reciprocal_basis

# Share of true peaks that fit the right orientation: others are of a second crystal, or off.
FITTING = 0.8
# Distances are refined from so many times the tolerance down to it.
WIDENED = (2.0, 1.5, 1.0, 1.0)
CENTRINGS = "PABCIFRH"
# By so much indices of one lattice in another may be off whole numbers.
NEAR = 0.2
# Pairs that are tried before what they propose is looked at, the likeliest first.
BATCHES = (8, 24, 96)
# Orientations are proposed at this many tolerances: two peaks alone place it badly.
PROPOSED_AT = 2.0


@dataclass(frozen=True)
class Effort:
    """How far to search.

    Attributes
    ----------
    seeds
        Likeliest peaks of which all pairs are tried.
    scored
        Likeliest peaks that score every orientation.
    kept
        Best orientations that all peaks score and refine.
    odds, sure
        Logarithm of the odds from which an orientation is believed, and from which no other is
        looked for.
    worth
        Probability, of both being spots, from which a pair is tried.
    pairs
        Pairs of two spots, as expected, after which there is no such crystal.
    """

    seeds: int = 32
    scored: int = 80
    kept: int = 24
    odds: float = 6.0
    sure: float = 15.0
    worth: float = 0.02
    pairs: float = 20.0


class Oriented(NamedTuple):
    """An orientation that was found.

    Attributes
    ----------
    axes : [3, 3] a*, b*, c* (rows, 1/Å) as the crystal lies
    hkl : [n, 3] nearest reflection of each peak
    fits : [n] whether the peak lies where that is
    log_odds
        Logarithm of the odds of this orientation against none.
    """

    axes: NDArray[np.float64]
    hkl: NDArray[np.int64]
    fits: NDArray[np.bool_]
    log_odds: float


class PairIndexing:
    """Searches peaks for one cell.

    Parameters
    ----------
    cell
        Å and degrees.
    d_min
        Of the reflections that may be peaks, Å.
    centring
        CrystFEL's letter: P, A, B, C, I, F, R (on its own axes) or H (on hexagonal ones, obverse);
        reflections that it forbids are none.
    """

    def __init__(
        self, cell: Cell, d_min: float, centring: str = "P", effort: Effort | None = None
    ) -> None:
        self.effort = effort or Effort()
        self.basis = reciprocal_basis(cell)
        self._direct = np.linalg.inv(self.basis).T
        self._volume = abs(float(np.linalg.det(self._direct)))
        self._d_min = d_min
        hkl = lattice_points(self.basis, d_min, centring)
        self._density = self._volume * len(hkl) / max(len(lattice_points(self.basis, d_min)), 1)
        vector = hkl @ self.basis
        order = np.argsort(np.linalg.norm(vector, axis=1), kind="stable")
        self._vector = np.ascontiguousarray(vector[order])
        self._length = np.linalg.norm(self._vector, axis=1)
        rotations = lattice_rotations(self.basis)
        self._orders = len(rotations)
        self._first = np.flatnonzero(one_of_each(hkl[order], rotations))
        self._allowed = kernels.allowed_table(centring_code(centring))

    def search(
        self,
        vectors: NDArray[np.float64],
        probability: NDArray[np.float64],
        tolerance: float,
        band: float,
    ) -> Oriented | None:
        """Return the orientation that the peaks speak for, or None.

        Parameters
        ----------
        vectors
            [n, 3] reciprocal vectors of the peaks at the mean wavelength, 1/Å.
        probability
            [n] that each is a spot, whatever the orientation.
        tolerance
            Of a peak's place, 1/Å.
        band
            Of its length on top, as a share: half the relative bandwidth.
        """
        length = np.linalg.norm(vectors, axis=1)
        there = length > 2 * tolerance
        usable = there & (length < 1 / self._d_min) & (probability > 0)
        rows = np.flatnonzero(usable)
        rows = rows[np.argsort(-probability[rows], kind="stable")]
        if len(rows) < 2:
            return None
        own = np.ascontiguousarray(vectors[rows])
        chance = self._chance(length[rows], tolerance, band)
        wide = self._chance(length[rows], PROPOSED_AT * tolerance, band)
        gain, loss = gains(probability[rows], chance)
        first = min(self.effort.scored, len(rows))
        proposed = gains(probability[rows[:first]], wide[:first])[0]
        many = self.log_orientations(length[rows], tolerance)
        best: tuple[float, NDArray[np.float64]] = (-math.inf, np.eye(3))
        seeds = rows[: self.effort.seeds]
        for pairs in batches(probability[seeds], length[seeds], self.effort):
            scores, turns = kernels.propose(
                pairs,
                own[:first],
                proposed,
                self._vector,
                self._length,
                self._first,
                self.basis,
                self._direct,
                self._allowed,
                PROPOSED_AT * tolerance,
                band,
            )
            for row in np.argsort(-scores, kind="stable")[: self.effort.kept].tolist():
                if scores[row] <= 0:
                    break
                turn = self._refined(turns[row], own, gain, tolerance, band)
                fits, _ = self._fits(turn, own, tolerance, band)
                score = float(np.where(fits, gain, loss).sum())
                if score > best[0]:
                    best = (score, turn)
            if best[0] - many >= self.effort.sure:
                break
        if best[0] - many < self.effort.odds:
            return None
        fits, hkl = self._fits(best[1], np.ascontiguousarray(vectors), tolerance, band)
        return Oriented(self.basis @ best[1].T, hkl, fits & there, best[0] - many)

    def log_orientations(self, length: NDArray[np.float64], tolerance: float) -> float:
        """Return the logarithm of the number of orientations that peaks can tell apart.

        The volume of all rotations, 8 pi^2, over that of a turn by a tolerance at the median
        peak about each axis, the lattice's own rotations counted once.
        """
        turn = 2 * tolerance / float(np.median(length))
        return math.log(8 * math.pi**2 / turn**3 / self._orders)

    def _chance(
        self, length: NDArray[np.float64], tolerance: float, band: float
    ) -> NDArray[np.float64]:
        """Return the probability that a peak fits some reflection by chance."""
        volume = math.pi * tolerance**2 * 2 * (band * length + tolerance)
        return np.asarray(1 - np.exp(-volume * self._density))

    def _fits(
        self, turn: NDArray[np.float64], vectors: NDArray[np.float64], tolerance: float, band: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        return kernels.fits(turn, vectors, self.basis, self._direct, self._allowed, tolerance, band)

    def _refined(
        self,
        turn: NDArray[np.float64],
        vectors: NDArray[np.float64],
        gain: NDArray[np.float64],
        tolerance: float,
        band: float,
    ) -> NDArray[np.float64]:
        """Return the turn [3, 3] that brings the reflections closest to the peaks that fit."""
        for factor in WIDENED:
            fits, hkl = self._fits(turn, vectors, factor * tolerance, band)
            if fits.sum() < 3:
                break
            predicted = hkl[fits] @ self.basis
            seen = vectors[fits]
            # The length is the wavelength's matter: only directions are brought together.
            seen = (
                seen * (np.linalg.norm(predicted, axis=1) / np.linalg.norm(seen, axis=1))[:, None]
            )
            left, _, right = np.linalg.svd((seen * gain[fits, None]).T @ predicted)
            turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        return np.ascontiguousarray(turn)


def batches(
    probability: NDArray[np.float64], length: NDArray[np.float64], effort: Effort
) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs [m, 2] of peaks that are worth it: the likeliest first, then the shortest.

    Short vectors belong to few reflections.
    """
    first, second = np.triu_indices(len(probability), 1)
    both = probability[first] * probability[second]
    order = np.lexsort((length[first] * length[second], -np.round(both, 1)))
    order = order[both[order] >= effort.worth]
    order = order[np.cumsum(both[order]) - both[order] < effort.pairs]
    pairs = np.stack([first, second], axis=1)[order].astype(np.int64)
    yield from (part for part in np.split(pairs, np.cumsum(BATCHES)) if len(part))


def gains(
    probability: NDArray[np.float64], chance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a peak says for an orientation that it fits, and for one that it does not.

    Logarithms of likelihood ratios to peaks that fit by chance alone.
    """
    fits = (1 - probability) + probability * (FITTING + (1 - FITTING) * chance) / chance
    misses = (1 - probability) + probability * (1 - FITTING)
    return np.log(fits), np.log(misses)


def lattice_points(
    basis: NDArray[np.float64], d_min: float, centring: str = "P"
) -> NDArray[np.int64]:
    """Return all hkl [n, 3] but the origin to a resolution that a centring allows."""
    direct = np.linalg.inv(basis).T
    most = np.floor(np.linalg.norm(direct, axis=1) / d_min).astype(int)
    grid = np.stack(
        np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    length = np.linalg.norm(grid @ basis, axis=1)
    table = kernels.allowed_table(centring_code(centring))
    take = (length > 0) & (length <= 1 / d_min) & kernels.allowed(grid, table)
    return np.asarray(grid[take])


def centring_code(centring: str) -> int:
    """Return the number of a centring's letter."""
    return CENTRINGS.index(centring)


def lattice_rotations(basis: NDArray[np.float64], degrees: float = 0.5) -> NDArray[np.int64]:
    """Return the proper rotations [n, 3, 3] of indices, h' = h @ R, that keep the lattice.

    Lengths may differ by what `degrees` allows, as reduced cells are measured.
    """
    metric = basis @ basis.T
    digits = np.indices((3,) * 9).reshape(9, -1).T.reshape(-1, 3, 3) - 1
    turned = digits @ metric @ digits.transpose(0, 2, 1)
    size = np.sqrt(np.diag(metric))
    near = np.abs(turned - metric) <= math.radians(degrees) * np.outer(size, size)
    keep = near.all((1, 2))
    rotations = digits[keep]
    return np.asarray(rotations[np.rint(np.linalg.det(rotations)) == 1], dtype=np.int64)


def one_of_each(hkl: NDArray[np.int64], rotations: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which reflections [n] are the first of those that rotations make of them."""
    base = 4 * int(np.abs(hkl).max()) + 1
    place = base ** np.arange(2, -1, -1)
    own = hkl @ place
    largest = own.copy()
    for rotation in rotations:
        largest = np.maximum(largest, (hkl @ rotation) @ place)
    return np.asarray(own == largest)


def misorientation(axes: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Return the angle (degrees) between two reciprocal bases [3, 3], the lattice's turns aside.

    180 where they do not span one lattice.
    """
    index = axes @ np.linalg.inv(true)
    whole = np.rint(index)
    if np.abs(index - whole).max() > NEAR or abs(abs(np.linalg.det(whole)) - 1) > 1e-6:
        return 180.0
    left, _, right = np.linalg.svd((np.linalg.inv(whole) @ axes).T @ true)
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return math.degrees(math.acos(min(max((np.trace(turn) - 1) / 2, -1.0), 1.0)))
