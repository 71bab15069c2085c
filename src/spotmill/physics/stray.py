"""Stray light: what a frame holds besides water, air and the crystal's spots.

Light from the edges of slits and of the beamstop leaves a halo around the beam with lobes and
streaks; ice leaves rings at the spacings of its lattice; fluorescence and scatter from further
away leave a slope. Their brightness is drawn for every frame (`Randomise`), their shape with it.
All are expected photons, so that they scatter as photons do.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Response
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.geometry import Detector, pixel_positions, scattering_magnitude
from spotmill.physics.photons import stream
from spotmill.physics.response import detection_map
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.randomise import STRAY, Randomise

# Cell of hexagonal ice, Å, at 250 K (Rottger et al., Acta Cryst. B50, 644, 1994), and the
# reflections of the outermost ring that is drawn.
ICE_A, ICE_C = 4.5117, 7.3447
ICE_LEAST_D = 1.5
# How far the halo reaches and how wide a streak is, m; both even in logarithm.
HALO_REACH = (2e-4, 3e-3)
STREAK_WIDTH = (5e-5, 3e-4)
MOST_STREAKS = 3
# Lobes of the halo: cosines of so many orders about the beam, in its logarithm.
LOBES, LOBE_DEPTH = 6, 1.0
# Standard deviation of a ring, 1/Å, even in logarithm; and of the logarithm of its strength.
RING_WIDTH = (1e-3, 8e-3)
RING_SPREAD = 0.7
# Below this expectation a pixel is dark.
DARK = 1e-4


def ice_rings() -> NDArray[np.float64]:
    """Return 1/d of the rings of hexagonal ice, [n] in 1/Å, ascending.

    Reflections hh(-2h)l with odd l are absent by the glide plane of P 6_3/m m c.
    """
    found = set()
    for h, k, l in product(range(5), range(5), range(8)):  # noqa: E741 (Miller's name)
        square = 4 / 3 * (h * h + h * k + k * k) / ICE_A**2 + (l / ICE_C) ** 2
        if not 0 < square <= ICE_LEAST_D**-2 or (h == k and l % 2):
            continue
        found.add(round(float(np.sqrt(square)), 6))
    return np.array(sorted(found))


def even_in_log(
    rng: np.random.Generator, between: tuple[float, float], size: int
) -> NDArray[np.float64]:
    """Draw numbers [size] from and to, all magnitudes alike."""
    low, high = between
    return low * (high / low) ** rng.random(size)


class StrayLight:
    """Draws the stray light of frames.

    Parameters
    ----------
    detector
        As it stands without a frame's conditions, with the mask of its live pixels.
    response
        Beamstop and sensor.
    randomise
        How bright it is.
    """

    def __init__(self, detector: Detector, response: Response, randomise: Randomise) -> None:
        self._detector, self._response, self._randomise = detector, response, randomise

    def expected(
        self, identity: tuple[int, str, int], conditions: Conditions
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the lit pixels of a frame (flat numbers, ascending) and photons expected there.

        Parameters
        ----------
        identity
            Seed, dataset and index, of which everything drawn depends.
        """
        level = {
            name: getattr(self._randomise, name).draw(stream(*identity, f"condition/{name}"))
            for name in STRAY
        }
        nothing = np.empty(0, dtype=np.int64), np.empty(0)
        if not any(level.values()):
            return nothing
        there = moved(self._detector, conditions)
        live = self._detector.mask
        total = np.zeros(there.shape, dtype=np.float64)
        for name, draw in (("halo", self._halo), ("ice", self._ice), ("slope", self._slope)):
            if level[name] > 0:
                shape = draw(there, conditions, stream(*identity, f"stray/{name}"))
                total += level[name] * shape
        total *= self._counted(there, conditions.photon_energy) * conditions.flux
        total[~live] = 0
        pixel = np.flatnonzero(total > DARK)
        return pixel, total.ravel()[pixel]

    def _counted(self, there: Detector, photon_energy: float) -> NDArray[np.floating]:
        """Return the share of photons that pixels count, relative to the best of them."""
        shadow = self._response.model_copy(update={"sensor": None, "sensor_thickness": None})
        return detection_map(there, shadow, photon_energy)

    def _halo(
        self, there: Detector, conditions: Conditions, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return a halo around the beam, 1 at its brightest pixel that is not shaded."""
        reach = float(even_in_log(rng, HALO_REACH, 1)[0])
        beamstop = self._response.beamstop
        start = 0.0 if beamstop is None else beamstop.radius
        depth = LOBE_DEPTH * rng.normal(size=LOBES) / np.sqrt(np.arange(1, LOBES + 1))
        phase = rng.uniform(0, 2 * np.pi, LOBES)
        streaks = int(rng.integers(MOST_STREAKS + 1))
        turn = rng.uniform(0, np.pi, streaks)
        width = even_in_log(rng, STREAK_WIDTH, streaks)
        length = 2 * even_in_log(rng, HALO_REACH, streaks)
        strength = rng.uniform(0.2, 1.0, streaks)
        image = np.zeros(there.shape)
        for panel in there.panels:
            x, y, _ = np.moveaxis(pixel_positions(panel), -1, 0)
            radius, angle = np.hypot(x, y), np.arctan2(y, x)
            lobes = np.zeros_like(radius)
            near = radius < start + 12 * reach
            for order in range(LOBES):
                lobes[near] += depth[order] * np.cos((order + 1) * angle[near] + phase[order])
            part = np.where(near, np.exp(lobes - np.maximum(radius - start, 0) / reach), 0.0)
            for own in range(streaks):
                along = x * np.cos(turn[own]) + y * np.sin(turn[own])
                across = y * np.cos(turn[own]) - x * np.sin(turn[own])
                line = np.exp(-np.maximum(abs(along) - start, 0) / length[own])
                part += strength[own] * line * np.exp(-0.5 * (across / width[own]) ** 2)
            image[panel.slab] = part
        seen = image * self._counted(there, conditions.photon_energy)
        brightest = float(seen[self._detector.mask].max(initial=0.0))
        return image / brightest if brightest > 0 else image

    def _ice(
        self, there: Detector, conditions: Conditions, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return rings of ice, 1 at the brightest; some grains make a ring uneven."""
        rings = ice_rings()
        strength = np.exp(RING_SPREAD * rng.normal(size=len(rings)))
        width = float(even_in_log(rng, RING_WIDTH, 1)[0])
        depth = rng.uniform(0, 0.7, len(rings))
        phase = rng.uniform(0, 2 * np.pi, len(rings))
        order = rng.integers(1, 7, len(rings))
        inverse_d = scattering_magnitude(
            there, wavelength_from_photon_energy(conditions.photon_energy)
        )
        angle = np.zeros(there.shape)
        for panel in there.panels:
            x, y, _ = np.moveaxis(pixel_positions(panel), -1, 0)
            angle[panel.slab] = np.arctan2(y, x)
        image = np.zeros(there.shape)
        for own, place in enumerate(rings):
            near = abs(inverse_d - place) < 5 * width
            line = np.exp(-0.5 * ((inverse_d[near] - place) / width) ** 2)
            uneven = 1 + depth[own] * np.cos(order[own] * angle[near] + phase[own])
            image[near] += strength[own] * line * uneven
        brightest = float(image[self._detector.mask].max(initial=0.0))
        return image / brightest if brightest > 0 else image

    def _slope(
        self, there: Detector, conditions: Conditions, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return light that rises evenly across the detector, from 0 to 1."""
        turn = rng.uniform(0, 2 * np.pi)
        image = np.zeros(there.shape)
        for panel in there.panels:
            x, y, _ = np.moveaxis(pixel_positions(panel), -1, 0)
            image[panel.slab] = x * np.cos(turn) + y * np.sin(turn)
        seen = image[self._detector.mask]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        return np.clip((image - low) / max(high - low, 1e-9), 0.0, 1.0)
