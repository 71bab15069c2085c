"""What CrystFEL 0.10.2's `pattern_sim` computed, defects included, for comparison.

A restatement of its numbers, not of its code: amplitudes of the interference function from
a table of 4096 steps, 4 x 4 sub-pixel samples that are not centred, the solid angle at a
pixel's corner, its constants, no polarisation. It agrees with frames that the program
made to 2e-6 relative (tests/test_pattern_sim.py). For physics use `lattice`.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.lattice import Fringes, Gradients, Transform
from spotmill.physics.orientations import rotation_matrix
from spotmill.physics.units import check_photon_energy

# The program's own constants, not CODATA's of today.
PLANCK = 6.62606896e-34
LIGHT_SPEED = 299792458.0
ELEMENTARY_CHARGE = 1.6021773e-19
CLASSICAL_ELECTRON_RADIUS = 2.81794e-15

TABLE_STEPS = 4096
SAMPLES = 4
LARGEST_INDEX = 130

# Rows computed at once, to bound memory.
ROWS = 64


def wavenumber(photon_energy: float) -> float:
    """Return 1/lambda in 1/Å of a photon energy in eV, with the program's constants."""
    return ELEMENTARY_CHARGE * check_photon_energy(photon_energy) / (PLANCK * LIGHT_SPEED) * 1e-10


def turn_axes(
    axes: NDArray[np.float64], quaternion: NDArray[np.floating], where: str
) -> NDArray[np.float64]:
    """Return rows a, b, c turned as the program does: from float32, not renormalised.

    Raises
    ------
    SpotmillError
        When the modulus of the quaternion is not within 0.001 of 1; `where` names it.
    """
    rounded = np.asarray(quaternion, dtype=np.float32).astype(np.float64)
    if not 0.999 < np.linalg.norm(rounded) < 1.001:
        raise SpotmillError(
            f"{where}: the quaternion's modulus is not 1; give w x y z of modulus 1"
        )
    return np.asarray(axes @ rotation_matrix(rounded))


def amplitude_table(cells: int, fringes: Fringes) -> NDArray[np.float64]:
    """Return |sin(pi N x) / sin(pi x)| at x = 0, 1/4096 ... 4095/4096."""
    x = np.arange(TABLE_STEPS) / TABLE_STEPS
    table = np.full(TABLE_STEPS, float(cells))
    if cells == 1:
        return table
    if fringes != "flat":
        table[1:] = np.abs(np.sin(np.pi * cells * x[1:]) / np.sin(np.pi * x[1:]))
    if fringes != "full":
        table[np.minimum(x, 1 - x) > 1 / cells] = 0.0
    return table


@njit(inline="always")
def _amplitude(table: Any, x: Any) -> Any:
    position = (abs(x) % 1.0) * TABLE_STEPS
    low = int(position)
    high = (low + 1) % TABLE_STEPS
    return table[low] + (position - low) * (table[high] - table[low])


@njit(inline="always")
def _at(table: Any, half: Any, h: Any, k: Any, m: Any) -> Any:
    h = min(max(h, -half[0]), half[0]) + half[0]
    k = min(max(k, -half[1]), half[1]) + half[1]
    m = min(max(m, -half[2]), half[2]) + half[2]
    return table[(h * (2 * half[1] + 1) + k) * (2 * half[2] + 1) + m]


@njit(cache=True)
def _molecular(parts: Any, half: Any, interpolate: Any, a: Any, b: Any, c: Any) -> Any:
    """Return the molecular transform at index (a, b, c)."""
    if not interpolate:
        h, k, m = int(np.rint(a)), int(np.rint(b)), int(np.rint(c))
        if max(abs(h), abs(k), abs(m)) > LARGEST_INDEX:
            return 0.0
        return float(_at(parts[0], half, h, k, m))
    h, k, m = math.floor(a), math.floor(b), math.floor(c)
    first, second = 0.0, 0.0
    for corner in range(8):
        i, j, n = corner >> 2, (corner >> 1) & 1, corner & 1
        weight = abs(1 - i - (a - h)) * abs(1 - j - (b - k)) * abs(1 - n - (c - m))
        first += weight * _at(parts[0], half, h + i, k + j, m + n)
        if len(parts) == 2:
            second += weight * _at(parts[1], half, h + i, k + j, m + n)
    return math.sqrt(first * first + second * second) if len(parts) == 2 else first


@njit(cache=True)
def _fill(
    fs: Any,
    ss: Any,
    corner: Any,
    step_fs: Any,
    step_ss: Any,
    axes: Any,
    tables: Any,
    parts: Any,
    half: Any,
    interpolate: Any,
    wavenumbers: Any,
    weights: Any,
    out: Any,
) -> None:
    """Fill out [n] with the weighted mean of L^2 M over samples and wavenumbers."""
    for n in range(out.size):
        mean = 0.0
        for sample in range(SAMPLES * SAMPLES):
            u = fs[n] + (sample % SAMPLES) / SAMPLES
            v = ss[n] + (sample // SAMPLES) / SAMPLES
            x = corner[0] + u * step_fs[0] + v * step_ss[0]
            y = corner[1] + u * step_fs[1] + v * step_ss[1]
            z = corner[2] + u * step_fs[2] + v * step_ss[2]
            r = math.sqrt(x * x + y * y + z * z)
            x, y, z = x / r, y / r, z / r - 1.0
            for k, weight in zip(wavenumbers, weights):  # noqa: B905 - compiled without `strict`
                a = k * (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z)
                b = k * (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z)
                c = k * (axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z)
                lattice = _amplitude(tables[0], a) * _amplitude(tables[1], b)
                lattice *= _amplitude(tables[2], c)
                molecular = _molecular(parts, half, interpolate, a, b, c)
                mean += weight * lattice * lattice * molecular
        out[n] = mean / (SAMPLES * SAMPLES)


def _solid_angle(
    panel: Panel, fs: NDArray[np.integer], ss: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the program's solid angle: at the corner, tilt left out, and fs.y taken with ss."""
    x = panel.corner[0] + fs * panel.fs[0] + ss * panel.ss[0]
    y = panel.corner[1] + ss * panel.fs[1] + ss * panel.ss[1]
    square = x * x + y * y + panel.corner[2] ** 2
    return np.asarray(panel.pixel_size**2 * panel.corner[2] / square**1.5)


def expected_photons(
    panel: Panel,
    fs: NDArray[np.integer],
    ss: NDArray[np.integer],
    axes: NDArray[np.float64],
    cells: tuple[int, int, int],
    transform: Transform,
    wavenumbers: NDArray[np.float64],
    weights: NDArray[np.float64],
    fluence: float,
    *,
    gradients: Gradients = "mosaic",
    fringes: Fringes = "full",
) -> NDArray[np.float32]:
    """Compute the program's expected photons in some pixels of a panel.

    Parameters
    ----------
    fs, ss : [n]
        Pixels, counted from the panel's first.
    axes : [3, 3]
        Rows a, b, c of `turn_axes`, Å.
    transform : Transform
        Of `expand`: one part I; for gradients "phased" the two parts I cos(phase) and
        I sin(phase) (the program multiplies phases by intensities).
    wavenumbers, weights : [n]
        1/Å, and the weight of each.
    fluence : float
        Photons per m^2.

    Returns
    -------
    [n] float32

    Raises
    ------
    SpotmillError
        When the list holds an index above 130, or interpolation would need one: the program
        ends itself there.
    """
    highest = float(np.max(wavenumbers)) * _longest(panel, fs, ss, axes)
    if max(transform.half) > LARGEST_INDEX + 1 or (
        gradients != "mosaic" and highest > LARGEST_INDEX
    ):
        raise SpotmillError(
            f"as pattern_sim: an index exceeds {LARGEST_INDEX}, where the program aborts; "
            "choose a lower resolution or leave out --as-pattern-sim"
        )
    raw = np.empty(len(fs))
    _fill(
        np.asarray(fs, dtype=np.float64),
        np.asarray(ss, dtype=np.float64),
        panel.corner,
        panel.fs,
        panel.ss,
        np.ascontiguousarray(axes),
        np.stack([amplitude_table(n, fringes) for n in cells]),
        transform.parts,
        transform.half,
        gradients != "mosaic",
        np.asarray(wavenumbers, dtype=np.float64),
        np.asarray(weights, dtype=np.float64),
        raw,
    )
    scale = fluence * CLASSICAL_ELECTRON_RADIUS**2
    return (raw.astype(np.float32) * (scale * _solid_angle(panel, fs, ss))).astype(np.float32)


def _longest(
    panel: Panel, fs: NDArray[np.integer], ss: NDArray[np.integer], axes: NDArray[np.float64]
) -> float:
    """Return the largest |a.(s - z)|, |b.(s - z)| or |c.(s - z)| over the pixels, Å."""
    points = panel.corner + np.outer(fs, panel.fs) + np.outer(ss, panel.ss)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return float(np.abs((points - [0, 0, 1]) @ axes.T).max())


def pattern_sim_image(
    detector: Detector,
    axes: NDArray[np.float64],
    cells: tuple[int, int, int],
    transform: Transform,
    wavenumbers: NDArray[np.float64],
    weights: NDArray[np.float64],
    fluence: float,
    *,
    gradients: Gradients = "mosaic",
    fringes: Fringes = "full",
) -> NDArray[np.float32]:
    """Compute the program's whole image, [ss, fs] float32; see `expected_photons`."""
    image = np.zeros(detector.shape, dtype=np.float32)
    for panel in detector.panels:
        part = image[panel.slab]
        for first in range(0, panel.n_ss, ROWS):
            block = part[first : first + ROWS]
            ss, fs = np.indices(block.shape)
            block[:] = expected_photons(
                panel,
                fs.ravel(),
                ss.ravel() + first,
                axes,
                cells,
                transform,
                wavenumbers,
                weights,
                fluence,
                gradients=gradients,
                fringes=fringes,
            ).reshape(block.shape)
    return image
