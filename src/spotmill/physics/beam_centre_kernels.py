"""Loops of the search for a background's centre: sums of cells, and profiles about a centre."""

from typing import Any

import numpy as np
from numba import njit

# Photons of a pixel that are never summed: no background is so bright.
MOST = np.int32(1_000_000)


@njit(cache=True, nogil=True)
def _seen_from(cells: Any, k: int, x: float, y: float, knot: float, scale: float) -> Any:
    """Return the knot below a cell's distance from a centre, how far past it, the twofold parts."""
    u, v = cells[k, 0] - x, cells[k, 1] - y
    square = u * u + v * v
    r = np.sqrt(square) / knot
    i = int(r)
    polar = cells[k, 4] / (square + scale * scale)
    return i, r - i, polar * (u * u - v * v), polar * 2 * u * v


@njit(cache=True, nogil=True)
def fit(cells: Any, x: float, y: float, knot: float, scale: float, off: Any) -> float:
    """Return chi² of the best profile about a centre; where there is room, residuals in `off`.

    Normal equations of the knots are tridiagonal; two columns beside them are the twofold parts.
    """
    most = 0.0
    for k in range(len(cells)):
        most = max(most, (cells[k, 0] - x) ** 2 + (cells[k, 1] - y) ** 2)
    knots = int(np.sqrt(most) / knot) + 2
    main, side, right = np.zeros(knots), np.zeros(knots), np.zeros((knots, 3))
    outer, heavy = np.zeros((3, 3)), 0.0
    values = np.empty(3)
    for k in range(len(cells)):
        i, b, values[1], values[2] = _seen_from(cells, k, x, y, knot, scale)
        a, w, values[0] = 1 - b, cells[k, 3], cells[k, 2]
        main[i] += w * a * a
        main[i + 1] += w * b * b
        side[i] += w * a * b
        heavy += w
        for m in range(3):
            right[i, m] += w * a * values[m]
            right[i + 1, m] += w * b * values[m]
            for n in range(m + 1):
                outer[m, n] += w * values[m] * values[n]
    # Knots without cells take what is beside them.
    faint = 1e-6 * heavy / len(cells)
    for i in range(knots - 1):
        main[i] += faint
        main[i + 1] += faint
        side[i] -= faint
    solved = right.copy()
    for i in range(1, knots):
        share = side[i - 1] / main[i - 1]
        main[i] -= share * side[i - 1]
        for m in range(3):
            solved[i, m] -= share * solved[i - 1, m]
    for m in range(3):
        solved[knots - 1, m] /= main[knots - 1]
        for i in range(knots - 2, -1, -1):
            solved[i, m] = (solved[i, m] - side[i] * solved[i + 1, m]) / main[i]
    for m in range(3):
        for n in range(m + 1):
            for i in range(knots):
                outer[m, n] -= right[i, m] * solved[i, n]
    # What is left of the photons along what is left of the two twofold parts.
    tiny = 1e-9 * (outer[1, 1] + outer[2, 2]) + 1e-300
    one, two, both = outer[1, 1] + tiny, outer[2, 2] + tiny, outer[2, 1]
    rest = one * two - both * both
    p = (outer[1, 0] * two - outer[2, 0] * both) / rest
    q = (outer[2, 0] * one - outer[1, 0] * both) / rest
    for k in range(len(off)):
        i, b, one_part, other_part = _seen_from(cells, k, x, y, knot, scale)
        gone = p * one_part + q * other_part
        for m, factor in ((0, 1.0), (1, -p), (2, -q)):
            gone += factor * ((1 - b) * solved[i, m] + b * solved[i + 1, m])
        off[k] = (cells[k, 2] - gone) * np.sqrt(cells[k, 3])
    return outer[0, 0] - p * outer[1, 0] - q * outer[2, 0]


@njit(cache=True, nogil=True)
def sums_of(image: Any, mask: Any, edge: int) -> Any:
    """Return rows of fs, ss (middle of live pixels), photons and pixels, of cells of a panel.

    Bright pixels are clipped away; cells that are less than a quarter live are left out.
    """
    n_ss, n_fs = image.shape
    cells = np.zeros((((n_ss - 1) // edge + 1) * ((n_fs - 1) // edge + 1), 4))
    k: Any = 0
    pixels: Any
    total: Any
    for top in range(0, n_ss, edge):
        for left in range(0, n_fs, edge):
            bottom, end = min(top + edge, n_ss), min(left + edge, n_fs)
            limit, few = MOST, (bottom - top + 3) // 4
            # Every fourth row tells from where on a pixel is bright, then all are summed.
            for _ in range(2):
                pixels, total = np.int64(0), np.int64(0)
                for n in range(few):
                    alive, row = mask[top + 4 * n, left:end], image[top + 4 * n, left:end]
                    some, here = np.int32(0), np.int32(0)
                    for fs in range(len(row)):
                        dim = np.int32(row[fs] <= limit)
                        some += np.int32(alive[fs]) * dim
                        here += row[fs] * dim
                    pixels, total = pixels + some, total + here
                mean = total / max(pixels, 1)
                limit = np.int32(min(mean + max(4 * np.sqrt(mean), 1.0), MOST))
            pixels, total = np.int64(0), np.int64(0)
            live, down, across = np.int64(0), np.int64(0), np.int64(0)
            for ss in range(top, bottom):
                alive, row = mask[ss, left:end], image[ss, left:end]
                some, kept, along, here = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
                for fs in range(len(row)):
                    one, dim = np.int32(alive[fs]), np.int32(row[fs] <= limit)
                    some += one
                    kept += one * dim
                    along += one * np.int32(fs)
                    here += row[fs] * dim
                live, pixels, total = live + some, pixels + kept, total + here
                down, across = down + some * (ss - top), across + along
            if 4 * live < (bottom - top) * (end - left):
                continue
            cells[k, 0], cells[k, 1] = left + across / live + 0.5, top + down / live + 0.5
            cells[k, 2], cells[k, 3] = total, pixels
            k += pixels > 0
    return cells[:k]
