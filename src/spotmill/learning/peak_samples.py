"""What a network of candidates is trained on: frames as they are, and on more background.

Most candidates are noise that anyone tells from a spot. Of these only some are kept, each
standing for several: all weights together make up the whole frame, so that what the network
says remains a probability.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.learning.peak_candidates import (
    Candidates,
    block_background,
    find_candidates,
    interpolated,
)
from spotmill.physics.peak_scoring import Spots, assign

# Pixels between a candidate and its true spot in training; found peaks may be off by more.
TRAINING_RADIUS = 2.0
# Noise is kept always from so many standard deviations on, and below with a probability that
# falls on, but not further than this.
CLEAR_NOISE, FALL, LEAST_KEPT = 4.5, 1.5, 0.1


class Labelled(NamedTuple):
    """Candidates with their truth.

    Attributes
    ----------
    truth : [n] bool, whether there is a true spot
    place : [n, 2] fs, ss of it; the candidate's own where there is none
    weight : [n] of how many candidates it stands for
    """

    candidates: Candidates
    truth: NDArray[np.bool_]
    place: NDArray[np.float64]
    weight: NDArray[np.float64]


class Piece(NamedTuple):
    """A part of a frame on more background; true spots are those within and close by."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    true: Spots
    weight: float


def labelled(piece: Piece, count: int, size: int, rng: np.random.Generator) -> Labelled:
    """Return the candidates of a piece that are kept, with their truth."""
    found = find_candidates(piece.image, piece.mask, count, size)
    place = np.stack([found.fs, found.ss], axis=1).astype(np.float64) + 0.5
    partner, _ = assign(place, piece.true.place, TRAINING_RADIUS)
    right = partner >= 0
    place[right] = piece.true.place[partner[right]]
    beyond = np.minimum(found.deviance.max(1, initial=0.0) - CLEAR_NOISE, 0.0)
    kept = np.where(right, 1.0, np.maximum(np.exp(FALL * beyond), LEAST_KEPT))
    rows = np.flatnonzero(rng.uniform(size=len(kept)) < kept)
    return Labelled(found.of(rows), right[rows], place[rows], piece.weight / kept[rows])


def pieces(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    true: Spots,
    edge: int,
    most: int,
    background: tuple[float, float],
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Yield parts of a frame, each on a background of its own.

    Parameters
    ----------
    edge
        Of a part, pixels.
    most
        Parts at most; half of them with a true spot, as far as there are enough.
    background
        Photons a pixel drawn on top, from and to; even in logarithm.
    """
    size = [min(edge, n) for n in image.shape]
    corners = [
        np.linspace(0, n - part, max(n // part, 1)).astype(np.int64)
        for n, part in zip(image.shape, size, strict=True)
    ]
    grid = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, 2)
    own = [spots_within(true, corner, size) for corner in grid]
    holds = np.array([bool(len(spots.photons)) for spots in own])
    blocks = block_background(image, mask)
    low, high = np.log(background)
    for kind in (True, False):
        rows = np.flatnonzero(holds == kind)
        chosen = rng.permutation(rows)[: max(most // 2, 1)]
        for row in chosen.tolist():
            ss, fs = grid[row].tolist()
            part = np.s_[ss : ss + size[0], fs : fs + size[1]]
            level = interpolated(blocks, (size[0], size[1]), (ss, fs))
            added = np.exp(rng.uniform(low, high)) * level / level.mean()
            drawn = image[part].astype(np.int64) + rng.poisson(added)
            yield Piece(drawn, mask[part], own[row], len(rows) / len(chosen))


def spots_within(true: Spots, corner: NDArray[np.int64], size: list[int]) -> Spots:
    """Return the spots in a part of a frame or close by, from its corner (ss, fs)."""
    place = true.place - corner[::-1]
    beyond = np.array(size[::-1]) + TRAINING_RADIUS
    within = ((place >= -TRAINING_RADIUS) & (place < beyond)).all(1)
    return Spots(place[within], true.photons[within])
