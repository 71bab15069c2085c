"""Blind indexing by projections: real-space vectors whose planes hold many peaks.

The principle of DirAx (Duisenberg, J. Appl. Cryst. 25, 92, 1992) with a Fourier transform in
place of its table of distances, as in CrystFEL's `asdf`; written from the principle. The normal of
three peaks is a likely direction of a real-space vector: projected on it, the peaks of a lattice
lie at multiples of one distance, whose inverse is the vector's length. Three such vectors whose
volume is that of the crystal's primitive cell make a lattice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill.physics.reflections import Cell

BINS = 1024
AT_ONCE = 2000
# A lattice that this share of the peaks of the best vector fit is looked for no further.
ENOUGH = 0.8
# Vectors that are tried three by three; more than that are copies of one another.
MOST_VECTORS = 40
# Peaks that a lattice has to fit, and volume of the smallest reciprocal cell, 1/Å^3.
FEWEST, SMALLEST = 6, 1e-12
# Vectors nearer than this share of their length are one.
SAME_VECTOR = 0.03


@dataclass(frozen=True)
class Limits:
    """How closely peaks have to fit, and when a lattice is accepted.

    Attributes
    ----------
    level
        Distance of a projection from a multiple, 1/Å.
    index
        Distance of a peak from a lattice point, 1/Å.
    triplets
        Triplets of peaks that are tried.
    fewest, share
        Peaks that a vector has to fit: more than so many and more than this share of all.
    volume
        Largest deviation of the volume from the known cell's, as a share.
    longest
        Of a real-space vector, in lengths of the cell's longest axis.
    """

    level: float = 1e-3
    index: float = 2e-3
    triplets: int = 20_000
    fewest: int = 6
    share: float = 1 / 3
    volume: float = 0.1
    longest: float = 3.0


class Lattice(NamedTuple):
    """Real-space axes [3, 3] (Å, rows) and which peaks [n] fit."""

    axes: NDArray[np.float64]
    fits: NDArray[np.bool_]


def index_blindly(
    vectors: NDArray[np.float64],
    cell: Cell,
    rng: np.random.Generator,
    limits: Limits | None = None,
    centred: int = 1,
) -> Lattice | None:
    """Return the lattice that most peaks fit; None where there is none.

    Parameters
    ----------
    vectors
        [n, 3] reciprocal vectors of the peaks, 1/Å.
    cell
        Of the crystal; only its volume and its longest axis are used.
    centred
        Lattice points a cell.
    """
    limits = limits or Limits()
    if len(vectors) < limits.fewest:
        return None
    volume = gemmi.UnitCell(*cell).volume / centred
    best: Lattice | None = None
    kept = np.empty((0, 3))
    fits = np.empty(0, dtype=np.int64)
    for normal in _normals(vectors, limits.triplets, rng):
        new, own = _real_vectors(normal, vectors, limits.longest * max(cell[:3]), limits)
        kept, fits = _distinct(np.concatenate([kept, new]), np.concatenate([fits, own]))
        best = _best(kept, vectors, volume, limits, best)
        if best is not None and best.fits.sum() > ENOUGH * fits.max():
            break
    return best


def _best(
    kept: NDArray[np.float64],
    vectors: NDArray[np.float64],
    volume: float,
    limits: Limits,
    best: Lattice | None,
) -> Lattice | None:
    """Return the lattice of three real-space vectors [m, 3] that most peaks fit."""
    if len(kept) < 3:
        return best
    threes = np.array(list(combinations(range(len(kept)), 3)))
    found = np.abs(np.linalg.det(kept[threes]))
    for three in threes[np.abs(found / volume - 1) <= limits.volume]:
        lattice = _refined(kept[three], vectors, limits.index)
        if lattice is not None and (best is None or lattice.fits.sum() > best.fits.sum()):
            best = lattice
    return best


def _normals(
    vectors: NDArray[np.float64], most: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield the normals [m, 3] of planes through three peaks, many at once."""
    count = len(vectors)
    if count * (count - 1) * (count - 2) // 6 <= most:
        triplets = rng.permutation(np.array(list(combinations(range(count), 3))))
    else:
        triplets = rng.integers(0, count, (most, 3))
    for at in range(0, len(triplets), AT_ONCE):
        a, b, c = (vectors[triplets[at : at + AT_ONCE, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1)
        yield normal[length > 1e-6] / length[length > 1e-6, None]


def _real_vectors(
    normal: NDArray[np.float64], vectors: NDArray[np.float64], longest: float, limits: Limits
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return real-space vectors [m, 3] along normals that many peaks fit, and how many [m]."""
    along = normal @ vectors.T
    period = _periods(along, longest)
    for _ in range(3):
        number = np.rint(along / period[:, None])
        near = np.abs(along - number * period[:, None]) < limits.level
        weight = (near * number**2).sum(1)
        better = (near * number * along).sum(1) / np.maximum(weight, 1)
        period = np.where(weight > 0, better, period)
    number = np.rint(along / period[:, None])
    near = np.abs(along - number * period[:, None]) < limits.level
    enough = near.sum(1) > max(limits.fewest, len(vectors) * limits.share)
    return normal[enough] / period[enough, None], near[enough].sum(1)


def _periods(along: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    """Return the distance [m] of which the projections [m, n] are multiples, by Fourier."""
    low = along.min(1, keepdims=True)
    extent = np.maximum(np.ptp(along, axis=1), 1e-6)
    place = ((along - low) / extent[:, None] * (BINS - 1)).astype(np.int64)
    rows = np.arange(len(along))[:, None] * BINS
    histogram = np.bincount((rows + place).ravel(), minlength=len(along) * BINS)
    power = np.abs(np.fft.rfft(histogram.reshape(len(along), BINS), axis=1))
    # The number of periods is at most what the longest vector allows.
    number = np.arange(power.shape[1])
    power[(number[None] < 1) | (number[None] > extent[:, None] * longest)] = 0
    return np.asarray(extent / np.maximum(power.argmax(1), 1))


def _distinct(
    vectors: NDArray[np.float64], fits: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vectors [m, 3] no two of which are alike or opposite, the best fitting, and fits."""
    kept: list[int] = []
    left = np.argsort(-fits, kind="stable")
    while len(left) and len(kept) < MOST_VECTORS:
        own, others = vectors[left[0]], vectors[left]
        kept.append(int(left[0]))
        apart = np.minimum(
            np.linalg.norm(others - own, axis=1), np.linalg.norm(others + own, axis=1)
        )
        left = left[apart > SAME_VECTOR * np.linalg.norm(own)]
    return vectors[kept], fits[kept]


def _refined(
    axes: NDArray[np.float64], vectors: NDArray[np.float64], reach: float
) -> Lattice | None:
    """Return a lattice fitted to the peaks within reach (1/Å) of its points, until no more do."""
    best: Lattice | None = None
    while True:
        index = np.rint(vectors @ axes.T)
        away = np.linalg.norm(vectors - index @ np.linalg.inv(axes).T, axis=1)
        fits = away < reach
        if best is not None and fits.sum() <= best.fits.sum():
            return best
        if fits.sum() < FEWEST or np.linalg.matrix_rank(index[fits]) < 3:
            return None
        best = Lattice(axes, fits)
        reciprocal = np.linalg.lstsq(index[fits], vectors[fits], rcond=None)[0]
        if abs(np.linalg.det(reciprocal)) < SMALLEST:
            return None
        axes = np.linalg.inv(reciprocal).T


def is_of_cell(
    axes: NDArray[np.float64],
    cell: Cell,
    centring: str = "P",
    length: float = 0.05,
    angle: float = 1.5,
) -> bool:
    """Tell whether axes [3, 3] (Å) span the lattice of a cell, by its reduced cell.

    Parameters
    ----------
    length, angle
        Largest deviations: of lengths as a share, of angles in degrees.
    """
    reduced = []
    for one, letter in ((_cell_of(axes), "P"), (gemmi.UnitCell(*cell), centring)):
        vector = gemmi.GruberVector(one, letter)
        vector.niggli_reduce(epsilon=1e-3)
        reduced.append(np.array(vector.cell_parameters()))
    own, known = reduced
    lengths = np.abs(own[:3] / known[:3] - 1) <= length
    # Close to 90 degrees either sign of a reduced cell may come out.
    angles = np.minimum(np.abs(own[3:] - known[3:]), np.abs(180 - own[3:] - known[3:])) <= angle
    return bool(lengths.all() and angles.all())


def _cell_of(axes: NDArray[np.float64]) -> gemmi.UnitCell:
    """Return the cell of axes [3, 3] (Å)."""
    length = np.linalg.norm(axes, axis=1)
    cosines = [axes[j] @ axes[k] / length[j] / length[k] for j, k in ((1, 2), (0, 2), (0, 1))]
    return gemmi.UnitCell(*length, *np.degrees(np.arccos(cosines)))
