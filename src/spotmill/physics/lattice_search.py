"""The search for a crystal of a known cell in a frame, whatever its orientation.

With few photons no spot stands out, but together they fit one orientation of the lattice.
The search proposes orientations and scores each by the oracle's log-likelihood ratio of
its predicted spots (`physics/detection`); the largest is the frame's statistic. Beam, cell,
|F|^2, detector, background and flux are known, the orientation is not.

1. Seeds: a window of 3 x 3 pixels with two photons and more may be a strong reflection that
   the band lets fall there. The likeliest pairs of window and reflection are kept.
2. A pair fixes the orientation but for a turn about its vector. Every strong reflection is
   excited, as the crystal turns, near two angles; what its predicted place on the detector
   says for or against is summed by angle, and the best angle is kept.
3. The best orientations are refined, by small turns that shrink, first on windows, then on
   the expected pattern itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.physics import lattice_search_kernels as kernels
from spotmill.physics.conditions import Conditions
from spotmill.physics.diffraction import (
    ReflectionTable,
    Source,
    diffract,
    polarisation_factor,
    scale,
)
from spotmill.physics.footprint import footprint
from spotmill.physics.geometry import Detector, project
from spotmill.physics.illumination import crystal_volume, lit_fraction
from spotmill.physics.pattern import Scene, draw_spectrum
from spotmill.physics.rocking import rocking

# Share of a spot's photons in the 3 x 3 pixels around the pixel it strikes, about.
CAPTURED = 0.9


@dataclass(frozen=True)
class Effort:
    """How far to search.

    Attributes
    ----------
    strongest
        Strong reflections (both Friedel mates) that a turn is scored by.
    pairs
        Pairs of window and reflection that are turned.
    step
        Of the turn, rad.
    kept, refined
        Orientations that are refined on windows, and of these on whole patterns.
    trials
        Small turns that each refinement tries.
    """

    strongest: int = 12_000
    pairs: int = 300
    step: float = 1e-3
    kept: int = 60
    refined: int = 4
    trials: int = 60


class Found(NamedTuple):
    """The best orientation: its log-likelihood ratio and turned axes [3, 3] (1/Å)."""

    score: float
    turned: NDArray[np.float64]


class LatticeSearch:
    """Searches frames of one scene at one flux.

    Parameters
    ----------
    scene, conditions
        As frames were made; the crystal's size and mosaicity are the middle of their bounds.
    background
        [ss, fs] expected photons without a crystal.
    flux
        Share of the full flux on the crystal.
    """

    def __init__(
        self,
        scene: Scene,
        conditions: Conditions,
        background: NDArray[np.floating],
        flux: float,
        effort: Effort | None = None,
    ) -> None:
        self.effort = effort or Effort()
        self._scene, self._detector = scene, scene.detector
        beam, crystal = scene.beam, scene.crystal
        size, mosaicity = sum(crystal.size.bounds) / 2, sum(crystal.mosaicity.bounds) / 2
        band = draw_spectrum(scene, conditions.photon_energy, (0, "", 0))
        self._low, self._high = float(band.low), float(band.high)
        lit = lit_fraction(crystal.shape, size, beam.profile, beam.beam_radius, beam.offset)
        fluence = flux * lit * beam.nphotons / (np.pi * beam.beam_radius**2)
        factor = scale(fluence, crystal_volume(crystal.shape, size), scene.cell_volume)
        reach = scene.detector.clen / scene.detector.pixel_size
        width = rocking(float(np.radians(mosaicity)), beam.divergence, reach)
        self._light = Source(band, factor, beam.polarisation, width)
        self._spread = list(scene.spread)
        self._detected = scene.detected(
            scene.detector, conditions.photon_energy, np.arange(scene.detector.mask.size)
        ).astype(np.float32)
        self._polarisation = -1.0 if beam.polarisation is None else beam.polarisation
        self._mask = np.ascontiguousarray(scene.detector.mask)
        self._background = np.where(self._mask, background, 0).astype(np.float64)
        self._window = np.ascontiguousarray(
            kernels.window_sums(self._background, self._mask).astype(np.float32)
        )
        self._log_window = np.log(np.maximum(self._window, 1e-6)).astype(np.float32)
        middle = (self._low + self._high) / 2
        self._strong = _strongest(scene.reflections, self._light, middle, self.effort.strongest)
        self._first = _one_of_each(self._strong, scene.reflections.axes)
        self._plane = _plane(scene.detector)

    def search(self, image: NDArray[np.integer]) -> Found:
        """Return the best orientation of a frame [ss, fs]."""
        counts = kernels.window_sums(np.where(self._mask, image, 0).astype(np.int32), self._mask)
        counts = np.minimum(counts, 255).astype(np.uint8)
        pairs = self._pairs(image, counts)
        best, angle = kernels.spin(
            pairs.direction,
            pairs.reflection,
            self._strong.vector,
            self._strong.photons,
            self._low,
            self._high,
            self._polarisation,
            self._plane,
            counts,
            self._log_window,
            self.effort.step,
        )
        order = np.argsort(-best, kind="stable")[: self.effort.kept]
        turns = [
            kernels.turn(pairs.direction[i], self._strong.vector[pairs.reflection[i]], angle[i])
            for i in order.tolist()
        ]
        rng = np.random.default_rng(0)
        steps = rng.standard_normal((self.effort.trials, 3))
        polished = [self._polish(turn, counts, steps) for turn in turns]
        polished.sort(key=lambda pair: -pair[0])
        return max(
            (self._refine(turn, image, steps) for _, turn in polished[: self.effort.refined]),
            key=lambda found: found.score,
        )

    def score(self, image: NDArray[np.integer], turned: NDArray[np.float64]) -> float:
        """Return the oracle's log-likelihood ratio of turned axes [3, 3] (1/Å)."""
        spots = diffract(self._scene.reflections, turned, self._light)
        where = footprint(spots, self._detector, self._spread)
        signal = where.photons * self._detected[where.pixel]
        return kernels.ratio(image.ravel(), where.pixel, signal, self._background.ravel())

    def _pairs(self, image: NDArray[np.integer], counts: NDArray[np.uint8]) -> "_Pairs":
        strong = self._strong
        own = self._first
        length = np.linalg.norm(strong.vector[own], axis=1)
        rows = own[np.argsort(length, kind="stable")]
        length = np.sort(length)
        seeds = kernels.seeds(image, self._mask, counts)
        direction = _directions(self._detector, image, self._mask, seeds)
        difference = direction - np.array([0.0, 0.0, 1.0])
        sine = np.linalg.norm(difference, axis=1)
        factor = polarisation_factor(direction, self._light.polarisation)
        ss, fs = seeds[:, 0], seeds[:, 1]
        _, which, row = kernels.best_pairs(
            sine * self._low,
            sine * self._high,
            counts[ss, fs].astype(np.float64),
            self._window[ss, fs].astype(np.float64),
            factor,
            length,
            strong.photons[rows],
            self.effort.pairs,
        )
        return _Pairs(difference[which] / sine[which, None], rows[row])

    def _polish(
        self, turn: NDArray[np.float64], counts: NDArray[np.uint8], steps: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        score, better = kernels.climb(
            turn,
            steps,
            2 * self.effort.step,
            self._strong.vector,
            self._strong.photons,
            self._low,
            self._high,
            self._polarisation,
            self._plane,
            counts,
            self._log_window,
        )
        return float(score), better

    def _refine(
        self, turn: NDArray[np.float64], image: NDArray[np.integer], steps: NDArray[np.float64]
    ) -> Found:
        axes = self._scene.reflections.axes
        best = Found(self.score(image, axes @ turn.T), axes @ turn.T)
        reach = self.effort.step
        for step in steps:
            tried = kernels.small_turn(reach * step) @ turn
            found = Found(self.score(image, axes @ tried.T), axes @ tried.T)
            if found.score > best.score:
                best, turn = found, tried
            reach *= 0.96
        return best


class _Strong(NamedTuple):
    """Strong reflections: hkl [n, 3], vectors [n, 3] (1/Å, not turned), expected photons [n]."""

    hkl: NDArray[np.int64]
    vector: NDArray[np.float64]
    photons: NDArray[np.float64]


class _Pairs(NamedTuple):
    """Unit vectors [n, 3] of windows and rows [n] of the reflections that may lie there."""

    direction: NDArray[np.float64]
    reflection: NDArray[np.int64]


class _Plane(NamedTuple):
    """Pixels by direction: flat number at [y, x] of a grid over x/z and y/z; -1 for none."""

    pixel: NDArray[np.int32]
    x: float
    y: float
    step: float


def _strongest(table: ReflectionTable, light: Source, middle: float, most: int) -> _Strong:
    """Return the reflections of most expected photons when excited."""
    density = float(light.spectrum.density(np.array([middle]))[0])
    photons = light.scale * table.intensity * density / (table.squared / 2) * CAPTURED
    order = np.argsort(-photons, kind="stable")[: most // 2]
    hkl = table.hkl[order].astype(np.int64)
    hkl = np.concatenate([hkl, -hkl])
    return _Strong(hkl, hkl @ table.axes, np.tile(photons[order], 2))


def _one_of_each(strong: _Strong, axes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return rows of reflections of which no other is the same crystal turned.

    A proper rotation that maps the lattice onto itself, photons and all, changes no pattern,
    so one reflection of each of its orbits is enough.
    """
    base = 4 * int(np.abs(strong.hkl).max()) + 1
    place = base ** np.arange(2, -1, -1)
    own = strong.hkl @ place
    order = np.argsort(own)
    known, keys = own[order], own
    for rotation in _proper_rotations(axes):
        image = (strong.hkl @ rotation) @ place
        at = order[np.minimum(np.searchsorted(known, image), len(known) - 1)]
        # Equivalents have equal photons; of those at the end of the list some may be missing.
        same = np.isclose(strong.photons[at], strong.photons, rtol=1e-6) & (own[at] == image)
        if same.mean() > 0.9:
            keys = np.where(same, np.maximum(keys, image), keys)
    return np.unique(keys, return_index=True)[1]


def _proper_rotations(axes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rotations [n, 3, 3] of indices, h' = h @ R, that keep all lengths and hands."""
    metric = axes @ axes.T
    digits = np.indices((3,) * 9).reshape(9, -1).T.reshape(-1, 3, 3) - 1
    turned = digits @ metric @ digits.transpose(0, 2, 1)
    keep = np.isclose(turned, metric, rtol=1e-3, atol=1e-3 * metric.max()).all((1, 2))
    rotations = digits[keep]
    return np.asarray(rotations[np.linalg.det(rotations) > 0], dtype=np.int64)


def _plane(detector: Detector) -> _Plane:
    """Return the live pixels by direction."""
    arrays = detector.flat_arrays()
    corners = []
    for corner, fs, ss, bound in zip(*arrays, strict=True):
        width, height = bound[1] - bound[0] + 1, bound[3] - bound[2] + 1
        corners += [corner + a * fs + b * ss for a in (0, width) for b in (0, height)]
    points = np.array([corner for corner in corners if corner[2] > 0])
    slopes = points[:, :2] / points[:, 2:]
    step = detector.pixel_size / detector.clen
    low, high = slopes.min(0), slopes.max(0)
    n_x, n_y = np.ceil((high - low) / step).astype(int) + 1
    x = low[0] + (np.arange(n_x) + 0.5) * step
    pixel = np.full((n_y, n_x), -1, dtype=np.int32)
    rays = np.ones((n_x, 3))
    rays[:, 0] = x
    for row in range(n_y):
        rays[:, 1] = low[1] + (row + 0.5) * step
        panel, fs, ss = project(detector, rays)
        column, line = np.floor(fs).astype(np.int64), np.floor(ss).astype(np.int64)
        hit = (panel >= 0) & detector.mask[line, column]
        pixel[row, hit] = (line * detector.shape[1] + column)[hit]
    return _Plane(pixel, float(low[0]), float(low[1]), float(step))


def _directions(
    detector: Detector,
    image: NDArray[np.integer],
    mask: NDArray[np.bool_],
    seeds: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return unit vectors [n, 3] to the mean place of the photons of each window."""
    weight = np.zeros(len(seeds))
    place = np.zeros((len(seeds), 2))
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            ss = np.clip(seeds[:, 0] + a, 0, image.shape[0] - 1)
            fs = np.clip(seeds[:, 1] + b, 0, image.shape[1] - 1)
            photons = np.where(mask[ss, fs], image[ss, fs], 0).astype(np.float64)
            weight += photons
            place += photons[:, None] * np.stack([ss + 0.5, fs + 0.5], axis=1)
    place /= weight[:, None]
    points = np.zeros((len(seeds), 3))
    for panel in detector.panels:
        inside = (seeds[:, 0] >= panel.min_ss) & (seeds[:, 0] <= panel.max_ss)
        inside &= (seeds[:, 1] >= panel.min_fs) & (seeds[:, 1] <= panel.max_fs)
        away = place[inside] - [panel.min_ss, panel.min_fs]
        points[inside] = panel.corner + away[:, 1:] * panel.fs + away[:, :1] * panel.ss
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))
