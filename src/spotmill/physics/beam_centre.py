"""Where the background of a frame has its centre: rings about that are even.

Cells of pixels are fitted by a profile f(r) about each centre that is tried, piecewise linear in
the distance r, and a part of twofold symmetry, as polarisation makes. The centre is where that
leaves the least chi².
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotmill.physics.beam_centre_kernels import fit, sums_of
from spotmill.physics.geometry import Detector, positions

Array = NDArray[np.float64]

# Cells along an edge of a detector, the smallest one (pixels), and cells that are too few to tell.
CELLS, SMALLEST, FEWEST = 64, 8, 100
# Cells joined along an edge for the first search and for levels; between two knots of f(r).
JOINED, KNOT = 3, 2.0
# How far off the axis centres are tried, of the detector's longer side, in steps to either side.
REACH, STEPS = 0.15, 10
# A share by which no light is even; standard deviations of what is a shadow or stray light.
UNEVEN, OUTLIER = 0.02, 4.0
# Least distance off the axis that is told: of the longer side, and in standard deviations.
OFF, SIGMAS = 0.004, 5.0
# Sectors about the centre, each left out in turn.
SECTORS = 8
# Least chi², in units of what is left a cell, by which other centres must be worse.
SURE = 30.0
# Share of the light's unevenness beyond counting that rings may leave unexplained.
UNEXPLAINED = 0.15
# cos of the angle by which panels may be tilted; how far they may lie behind one another, of clen.
UPRIGHT, DEPTH = np.cos(np.deg2rad(3.0)), 0.02


@dataclass(frozen=True)
class BackgroundCentre:
    """Where the background of a frame has its centre.

    Attributes
    ----------
    x, y, sigma : m
        From the detector's axis; the larger one of two standard deviations.
    improvement
        By how much chi² is larger at the axis, in units of what is left a cell.
    """

    x: float
    y: float
    sigma: float
    improvement: float


def background_centre(
    image: NDArray[np.integer], mask: NDArray[np.bool_], detector: Detector
) -> BackgroundCentre | None:
    """Return the centre of a frame's background where that is plainly not on the axis, else None.

    None, too, where the background has no centre, or several do as well; `OFF`, `SIGMAS` and `SURE`
    are what is plain. Spots, shadows and gaps do not count. The centre may lie beside the panels,
    at most `REACH` of their longer side off the axis. Panels that are tilted or behind one another
    tell of none.

    Parameters
    ----------
    image, mask
        [ss, fs] photons, 0 where no pixel is live; True where one is.
    """
    depths = np.array([panel.corner[2] for panel in detector.panels])
    tilts = [abs(panel.normal[2]) / np.linalg.norm(panel.normal) for panel in detector.panels]
    if min(tilts) < UPRIGHT or np.ptp(depths) > DEPTH * depths.mean():
        return None
    edge = max(SMALLEST, round(image.size**0.5 / CELLS))
    size = detector.panels[0].pixel_size
    parts = []
    for panel in detector.panels:
        part = sums_of(image[panel.slab], mask[panel.slab], edge)
        part[:, :2] = positions(panel, *(part[:, :2] + (panel.min_fs, panel.min_ss)).T)[:, :2]
        parts.append(part / (size, size, 1, 1))
    sums = np.concatenate(parts)
    if len(sums) < FEWEST or not sums[:, 2].any():
        return None
    wide = float(JOINED * edge)
    coarse, group = _joined(sums, wide)
    levels = (coarse[:, 2] + 0.5) / coarse[:, 3]
    scale = float(np.ptp(sums[:, :2], axis=0).max())
    search = _Search(scale, wide)
    rough, centre = _weighted(coarse, levels), np.zeros(2)
    grid = np.linspace(-REACH * scale, REACH * scale, 2 * STEPS + 1)
    for tried in (grid[::2], grid):
        rough = search.even(rough, centre) if tried is grid else rough
        chi2 = search.chi2(rough, tried, tried)
        row, column = np.unravel_index(int(chi2.argmin()), chi2.shape)
        centre = np.array([tried[column], tried[row]])
    far = np.abs(np.indices(chi2.shape) - np.array([row, column])[:, None, None]).max(0) > 2
    unit = max(float(chi2.min()) / len(rough), 1.0)
    if {row, column} & {0, 2 * STEPS} or chi2[far].min() < chi2.min() + SURE * unit:
        return None
    centre, bent = search.lowest(rough, centre, wide / 2)
    if bent is None:
        return None
    # chi² is rough on scales below what it knows the centre to.
    step = float(np.clip(2 * np.sqrt(2 * unit / np.linalg.eigvalsh(bent)[0]), edge / 4, wide / 2))
    search, cells = _Search(scale, KNOT * edge), _weighted(sums, levels[group])
    cells = search.even(cells, centre)
    centre, bent = search.lowest(cells, centre, step)
    if bent is None or np.hypot(*centre) < OFF * scale:
        return None
    return _judged(search, cells, centre, bent, step, size)


def _judged(
    search: "_Search", cells: Array, centre: Array, bent: Array, step: float, size: float
) -> BackgroundCentre | None:
    """Return a centre with its standard deviation, where rings about it explain the light."""
    here, axis = (search.chi2(cells, *place[:, None])[0, 0] for place in (centre, np.zeros(2)))
    weight, unit = cells[:, 3], max(here / len(cells), 1.0)
    mean = np.average(cells[:, 2], weights=weight)
    flat = float((weight * (cells[:, 2] - mean) ** 2).sum())
    if here - len(cells) > UNEXPLAINED * max(flat - len(cells), 0.0) and unit > 1:
        return None
    counting = 2 * unit / np.linalg.eigvalsh(bent)[0]
    x, y = (cells[:, :2] - centre).T
    sector = np.floor((np.arctan2(y, x) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    others = []
    for number in np.unique(sector):
        other, bent_there = search.stepped(cells[sector != number], centre, step)
        if bent_there is None:
            return None
        others.append(other)
    n = len(others)
    spread = (n - 1) / n * ((others - np.mean(others, axis=0)) ** 2).sum(0)
    sigma = float(np.sqrt(max(counting, spread.max())))
    better = float(axis - here) / unit
    if better < SURE or np.hypot(*centre) < SIGMAS * sigma:
        return None
    x, y = (centre * size).tolist()
    return BackgroundCentre(x, y, sigma * size, better)


@dataclass(frozen=True)
class _Search:
    """Tries centres. Cells are rows of x, y (pixels), photons a pixel, weight, level."""

    scale: float
    knot: float

    def chi2(self, cells: Array, xs: Array, ys: Array) -> Array:
        """Return chi² [y, x] of the best profile about each centre."""
        off = np.empty(0)
        return np.array([[fit(cells, x, y, self.knot, self.scale, off) for x in xs] for y in ys])

    def even(self, cells: Array, centre: Array) -> Array:
        """Return the cells that are no shadow or stray light of rings about a centre."""
        off = np.empty(len(cells))
        fit(cells, *centre, self.knot, self.scale, off)
        return cells[np.abs(off) <= OUTLIER * max(1.4826 * float(np.median(np.abs(off))), 1e-9)]

    def stepped(self, cells: Array, centre: Array, step: float) -> tuple[Array, Array | None]:
        """Return the place of the least chi² near a centre, and how chi² is bent there."""
        around = np.array([-step, 0.0, step])
        c = self.chi2(cells, centre[0] + around, centre[1] + around)
        slope = np.array([c[1, 2] - c[1, 0], c[2, 1] - c[0, 1]]) / (2 * step)
        mixed = (c[2, 2] - c[2, 0] - c[0, 2] + c[0, 0]) / 4
        bent = np.array([[c[1, 2] + c[1, 0], mixed], [mixed, c[2, 1] + c[0, 1]]])
        bent = (bent - 2 * c[1, 1] * np.eye(2)) / step**2
        if np.linalg.eigvalsh(bent)[0] <= 0:
            row, column = np.unravel_index(int(c.argmin()), c.shape)
            return centre + np.array([around[column], around[row]]), None
        return centre - np.clip(np.linalg.solve(bent, slope), -2 * step, 2 * step), bent

    def lowest(self, cells: Array, centre: Array, least: float) -> tuple[Array, Array | None]:
        """Return the same after some steps."""
        bent = None
        for _ in range(3):
            centre, bent = self.stepped(cells, centre, least)
        return centre, bent


def _joined(sums: Array, edge: float) -> tuple[Array, NDArray[np.int64]]:
    """Return sums of larger cells, and to which of them each cell belongs."""
    column, row = np.floor((sums[:, :2] - sums[:, :2].min(0)) / edge).astype(np.int64).T
    _, group = np.unique(row * (column.max() + 1) + column, return_inverse=True)
    total, n = (np.bincount(group, sums[:, k]) for k in (2, 3))
    place = [np.bincount(group, sums[:, k] * sums[:, 3]) / n for k in (0, 1)]
    return np.column_stack([*place, total, n]), group


def _weighted(sums: Array, levels: Array) -> Array:
    """Return cells of sums, whose light is about so bright."""
    variance = levels / sums[:, 3] + (UNEVEN * levels) ** 2
    return np.column_stack([sums[:, :2], sums[:, 2] / sums[:, 3], 1 / variance, levels])
