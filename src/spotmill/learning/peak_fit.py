"""The likelihood ratio of a spot of given width at a candidate, its place and strength fitted."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.learning.peak_candidates import Candidates
from spotmill.physics.peak_bound import profile

REACH = 2
# Centres that are tried, from the middle of the pixel; and steps towards the best strength.
OFFSETS = (-0.4, -0.2, 0.0, 0.2, 0.4)
STEPS = 4


def fitted_spots(
    candidates: Candidates, sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return logarithm of the likelihood ratio and photons of the best spot at each candidate.

    Parameters
    ----------
    sigma
        Width of the Gaussian spot before the pixels sum it up, pixels.

    Notes
    -----
    The centre is the one of `OFFSETS` squared that explains most of the excess over the
    background (least squares, alike noise in all pixels); there the Poisson likelihood
    sum_i n_i log(1 + s g_i / b) - s sum_i g_i is brought to its maximum in s.
    """
    shapes = np.array([profile((fs, ss), sigma, REACH).ravel() for ss in OFFSETS for fs in OFFSETS])
    middle = candidates.patch.shape[1] // 2
    inner = np.s_[:, middle - REACH : middle + REACH + 1, middle - REACH : middle + REACH + 1]
    count = (2 * REACH + 1) ** 2
    patch = candidates.patch[inner].reshape(-1, count).astype(np.float64)
    live = candidates.live[inner].reshape(-1, count)
    ratio, strength = _fitted(patch, live, candidates.background, shapes)
    return ratio, strength


@njit(cache=True, nogil=True)
def _fitted(patch: Any, live: Any, background: Any, shapes: Any) -> Any:
    """Return log ratio and photons of each candidate."""
    ratio, strength = np.zeros(len(patch)), np.zeros(len(patch))
    # All shapes side by side: each sum keeps the order of its pixels.
    beside = shapes.T.copy()
    along, square = np.empty(len(shapes)), np.empty(len(shapes))
    for row in range(len(patch)):
        level = background[row]
        along[:] = 0.0
        square[:] = 0.0
        for i in range(patch.shape[1]):
            if live[row, i]:
                excess, part = patch[row, i] - level, beside[i]
                for k in range(len(along)):
                    along[k] += excess * part[k]
                    square[k] += part[k] * part[k]
        best, first, shape = 0.0, 0.0, shapes[0]
        for k in range(len(shapes)):
            if along[k] > 0 and along[k] * along[k] > best * square[k]:
                best, first = along[k] * along[k] / square[k], along[k] / square[k]
                shape = shapes[k]
        if best == 0.0:
            continue
        s = first
        for _ in range(STEPS):
            slope, bend = 0.0, 0.0
            for i in range(patch.shape[1]):
                if live[row, i]:
                    if patch[row, i] > 0:
                        share = shape[i] / (level + s * shape[i])
                        slope += patch[row, i] * share - shape[i]
                        bend += patch[row, i] * share * share
                    else:
                        slope -= shape[i]
            # The likelihood is concave in s; a step may not leave what a spot can have.
            s = max(s + slope / max(bend, 1e-12), 0.1 * s)
        total = 0.0
        for i in range(patch.shape[1]):
            if live[row, i]:
                own = 0.0
                if patch[row, i] > 0:
                    own = patch[row, i] * np.log1p(s * shape[i] / level)
                total += own - s * shape[i]
        ratio[row], strength[row] = max(total, 0.0), s
    return ratio, strength
