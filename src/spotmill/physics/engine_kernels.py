"""Compiled loop that gives each pixel of a panel to a reflection."""

import math
from typing import Any

import numpy as np
from numba import njit

from spotmill.physics.lattice_kernels import FULL, _axis

# Stands for |F|^2 where a reflection is absent: it owns a pixel only if no other comes near.
ABSENT = 1e-12


@njit(inline="always")
def _strength(x: Any, cells: Any, half: Any, intensity: Any) -> tuple[Any, Any, Any, Any]:
    """Return what scatters at fractional indices x, and the nearest indices."""
    top_a, bottom_a = _axis(x[0], cells[0], FULL)
    top_b, bottom_b = _axis(x[1], cells[1], FULL)
    top_c, bottom_c = _axis(x[2], cells[2], FULL)
    h, k, m = int(np.rint(x[0])), int(np.rint(x[1])), int(np.rint(x[2]))
    value = ABSENT
    if abs(h) <= half[0] and abs(k) <= half[1] and abs(m) <= half[2]:
        side_b, side_c = 2 * half[1] + 1, 2 * half[2] + 1
        value += intensity[((h + half[0]) * side_b + k + half[1]) * side_c + m + half[2]]
    lattice = (top_a * top_b * top_c) / (bottom_a * bottom_b * bottom_c)
    # A zero of the lattice factor must not leave a pixel without owner.
    return value * (lattice + ABSENT), h, k, m


@njit(cache=True)
def own_panel(
    corner: Any,
    fs: Any,
    ss: Any,
    axes: Any,
    cells: Any,
    half: Any,
    intensity: Any,
    wavenumbers: Any,
    out: Any,
) -> None:
    """Fill out [ss, fs, 3] with the indices that scatter most at each pixel's centre.

    Parameters
    ----------
    corner, fs, ss
        [3] m.
    axes
        [3, 3] Å, rows a, b, c as turned.
    cells, half
        [3] cells along each axis, float; largest indices of the table.
    intensity
        Flat table of |F|^2.
    wavenumbers
        [n], 1/Å.
    """
    x = np.empty(3)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            u, v = j + 0.5, i + 0.5
            px = corner[0] + u * fs[0] + v * ss[0]
            py = corner[1] + u * fs[1] + v * ss[1]
            pz = corner[2] + u * fs[2] + v * ss[2]
            inverse = 1.0 / math.sqrt(px * px + py * py + pz * pz)
            px, py, pz = px * inverse, py * inverse, pz * inverse - 1.0
            best = -1.0
            for wavenumber in wavenumbers:
                for n in range(3):
                    x[n] = wavenumber * (axes[n, 0] * px + axes[n, 1] * py + axes[n, 2] * pz)
                strength, h, k, m = _strength(x, cells, half, intensity)
                if h == 0 and k == 0 and m == 0:
                    # The direct beam is no spot: its surroundings go to the nearest axis.
                    n = int(np.argmax(np.abs(x)))
                    step = 1 if x[n] >= 0 else -1
                    h, k, m = step * (n == 0), step * (n == 1), step * (n == 2)
                if strength > best:
                    best = strength
                    out[i, j, 0], out[i, j, 1], out[i, j, 2] = h, k, m
