"""Compiled loops of the `lattice` engine.

Each loop runs along one row of a panel over plain arrays, so that the compiler turns it
into vector instructions; three of them follow each other instead of one that branches.
"""

import math
from typing import Any

import numpy as np
from numba import njit

# sin(pi y) = y P(y^2) for |y| <= 1/2: P is the Chebyshev interpolant of degree 5 in y^2.
# Its relative error is below 3e-11 (tests/test_lattice.py), that of the lattice factor
# below 4e-10.
P0 = 3.141592653536129
P1 = -5.1677127645927206
P2 = 2.550163317932369
P3 = -0.5992521864819006
P4 = 0.08205035003144684
P5 = -0.007028303652380903

# Nearer to a lattice point than about 3e-11 the limit N^2 stands for 0/0.
NEAREST = 1e-20

MOSAIC, INTERPOLATE, PHASED = 0, 1, 2
FULL, NO_FRINGES, FLAT = 0, 1, 2

# No reassociation: the sums are those that are written. `numpy` error model: a division
# by zero gives infinity, not an exception that would forbid vector instructions.
OPTIONS = {"cache": True, "fastmath": {"contract", "nsz", "nnan"}, "error_model": "numpy"}


@njit(inline="always")
def _sine_squared(y: Any) -> Any:
    """Return sin^2(pi y) for |y| <= 1/2."""
    z = y * y
    p = P0 + z * (P1 + z * (P2 + z * (P3 + z * (P4 + z * P5))))
    return z * p * p


@njit(inline="always")
def _axis(x: Any, n: Any, shape: Any) -> tuple[Any, Any]:
    """Return numerator and denominator of the lattice factor squared along one axis."""
    f = x - np.rint(x)
    y = n * f
    y = y - np.rint(y)
    low = _sine_squared(f)
    high = _sine_squared(y)
    at_point = low < NEAREST
    high = n * n if at_point else high
    low = 1.0 if at_point else low
    if shape != FULL:
        inside = abs(f) * n <= 1.0
        if shape == FLAT:
            high = n * n * low
        high = high if inside else 0.0
    return high, low


@njit(**OPTIONS)
def _projections(start: Any, step: Any, offset: Any, axes: Any, out: Any) -> None:
    """Fill out [3, fs] with a.(s - z), b.(s - z), c.(s - z); times 1/lambda they are h, k, l."""
    ax, ay, az = axes[0]
    bx, by, bz = axes[1]
    cx, cy, cz = axes[2]
    x0, y0, z0 = start
    x1, y1, z1 = step
    for i in range(out.shape[1]):
        u = i + offset
        x = x0 + u * x1
        y = y0 + u * y1
        z = z0 + u * z1
        inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
        x *= inverse
        y *= inverse
        # z/r - 1 without the cancellation near the beam would cost a second division; the
        # rounding, 1e-16 of 1/lambda, moves h by less than 1e-13 for every cell below 1000 Å.
        z = z * inverse - 1.0
        out[0, i] = ax * x + ay * y + az * z
        out[1, i] = bx * x + by * y + bz * z
        out[2, i] = cx * x + cy * y + cz * z


@njit(**OPTIONS)
def _lattice_row(projected: Any, wavenumber: Any, cells: Any, shape: Any, out: Any) -> None:
    """Fill out [fs] with the product of the three lattice factors squared."""
    na, nb, nc = cells
    for i in range(out.size):
        top_a, bottom_a = _axis(wavenumber * projected[0, i], na, shape)
        top_b, bottom_b = _axis(wavenumber * projected[1, i], nb, shape)
        top_c, bottom_c = _axis(wavenumber * projected[2, i], nc, shape)
        out[i] = (top_a * top_b * top_c) / (bottom_a * bottom_b * bottom_c)


@njit(**OPTIONS)
def _add_mosaic(
    projected: Any, wavenumber: Any, half: Any, lattice: Any, transform: Any, weight: Any, row: Any
) -> None:
    """Add weight x lattice x the intensity at the nearest lattice point to row [fs]."""
    ha, hb, hc = float(half[0]), float(half[1]), float(half[2])
    stride_a = (2 * hb + 1) * (2 * hc + 1)
    stride_b = 2 * hc + 1
    table = transform[0]
    for i in range(row.size):
        h = np.rint(wavenumber * projected[0, i])
        k = np.rint(wavenumber * projected[1, i])
        m = np.rint(wavenumber * projected[2, i])
        # The outermost layer of the table is zero: an index beyond it is absent too.
        h = min(max(h, -ha), ha) + ha
        k = min(max(k, -hb), hb) + hb
        m = min(max(m, -hc), hc) + hc
        row[i] += weight * lattice[i] * table[np.int32(h * stride_a + k * stride_b + m)]


@njit(inline="always")
def _trilinear(table: Any, strides: Any, low: Any, high: Any, f: Any) -> Any:
    """Interpolate between the eight corners low, high (offsets along each axis)."""
    total = 0.0
    for p in range(2):
        weight_a = f[0] if p else 1.0 - f[0]
        at_a = (high[0] if p else low[0]) * strides[0]
        for q in range(2):
            weight_b = f[1] if q else 1.0 - f[1]
            at_b = at_a + (high[1] if q else low[1]) * strides[1]
            total += (
                weight_a
                * weight_b
                * ((1.0 - f[2]) * table[at_b + low[2]] + f[2] * table[at_b + high[2]])
            )
    return total


@njit(inline="always")
def _bracket(x: Any, half: Any) -> tuple[Any, Any, Any]:
    """Return the two table positions beside x and the fraction between them."""
    floor = math.floor(x)
    low = min(max(int(floor), -half), half) + half
    high = min(max(int(floor) + 1, -half), half) + half
    return low, high, x - floor


@njit(**OPTIONS)
def _add_interpolated(
    projected: Any, wavenumber: Any, half: Any, lattice: Any, transform: Any, weight: Any, row: Any
) -> None:
    """Add the same with the transform interpolated: intensities, or amplitudes then squared."""
    strides = ((2 * half[1] + 1) * (2 * half[2] + 1), 2 * half[2] + 1)
    for i in range(row.size):
        low_a, high_a, fa = _bracket(wavenumber * projected[0, i], half[0])
        low_b, high_b, fb = _bracket(wavenumber * projected[1, i], half[1])
        low_c, high_c, fc = _bracket(wavenumber * projected[2, i], half[2])
        low, high, f = (low_a, low_b, low_c), (high_a, high_b, high_c), (fa, fb, fc)
        value = _trilinear(transform[0], strides, low, high, f)
        if transform.shape[0] == 2:
            imaginary = _trilinear(transform[1], strides, low, high, f)
            value = value * value + imaginary * imaginary
        row[i] += weight * lattice[i] * value


@njit(**OPTIONS)
def _finish_row(
    start: Any, step: Any, normal: Any, polarisation: Any, scale: Any, row: Any, out: Any
) -> None:
    """Multiply by solid angle and polarisation at the pixels' centres."""
    for i in range(row.size):
        u = i + 0.5
        x = start[0] + u * step[0]
        y = start[1] + u * step[1]
        z = start[2] + u * step[2]
        square = x * x + y * y + z * z
        facing = abs(x * normal[0] + y * normal[1] + z * normal[2])
        factor = scale * facing / (square * math.sqrt(square))
        if polarisation >= 0:
            factor *= 1.0 - (polarisation * x * x + (1.0 - polarisation) * y * y) / square
        out[i] = row[i] * factor


@njit(cache=True)
def add_panel(
    corner: Any,
    fs: Any,
    ss: Any,
    axes: Any,
    cells: Any,
    half: Any,
    transform: Any,
    gradients: Any,
    shape: Any,
    wavenumbers: Any,
    weights: Any,
    samples: Any,
    polarisation: Any,
    scale: Any,
    out: Any,
) -> None:
    """Fill out [ss, fs] with the photons expected in each pixel of a panel.

    Parameters
    ----------
    corner, fs, ss
        [3] m.
    axes
        [3, 3] Å, rows a, b, c as turned.
    cells
        (Na, Nb, Nc), float.
    half, transform
        Largest index held along each axis, and [1 or 2, ...] the flat tables.
    wavenumbers, weights
        [n], 1/Å and fractions.
    samples
        Sub-pixel samples along each edge.
    polarisation
        Fraction along x; negative leaves the factor out.
    """
    n_ss, n_fs = out.shape
    projected = np.empty((3, n_fs))
    lattice = np.empty(n_fs)
    row = np.empty(n_fs)
    normal = np.cross(fs, ss)
    for line in range(n_ss):
        row[:] = 0.0
        for j in range(samples):
            start = corner + (line + (j + 0.5) / samples) * ss
            for i in range(samples):
                _projections(start, fs, (i + 0.5) / samples, axes, projected)
                for n in range(wavenumbers.size):
                    k = wavenumbers[n]
                    weight = weights[n] / (samples * samples)
                    _lattice_row(projected, k, cells, shape, lattice)
                    if gradients == MOSAIC:
                        _add_mosaic(projected, k, half, lattice, transform, weight, row)
                    else:
                        _add_interpolated(projected, k, half, lattice, transform, weight, row)
        _finish_row(corner + (line + 0.5) * ss, fs, normal, polarisation, scale, row, out[line])
