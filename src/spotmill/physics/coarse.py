"""Smooth images from few of their pixels: the expected background on a coarse grid.

Solid angle, polarisation, absorption, efficiency and air change little from one pixel to the
next. They are evaluated at nodes, some pixels apart on every panel, and carried to the
pixels by cubic interpolation (Lagrange, four nodes a direction, one-sided at the edges). What
is not smooth is evaluated at every pixel: the shadow of a beamstop, and the structure of water,
a table with corners.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam, Response, Solvent
from spotmill.physics.air import expected_air
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.expected import expected_image
from spotmill.physics.geometry import Detector, Panel, scattering_magnitude
from spotmill.physics.response import detection_map
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.physics.water import expected_water
from spotmill.physics.water_tables import incoherent_scattering, look_up, water_table

# Pixels between nodes at most, and nodes along a detector's longer side at least: so the largest
# relative error of a pixel is below 1e-4 (tests/test_coarse.py).
STEP = 16
NODES = 128
CUBIC = 4


def _weights(pixels: int, nodes: int) -> NDArray[np.float64]:
    """Return the matrix [pixel, node] that interpolates, the outermost pixels being nodes."""
    if nodes == 1:
        return np.ones((pixels, 1))
    place = np.arange(pixels) * ((nodes - 1) / max(pixels - 1, 1))
    order = min(CUBIC, nodes)
    first = np.clip(np.floor(place).astype(int) - (order - 1) // 2, 0, nodes - order)
    result = np.zeros((pixels, nodes))
    rows = np.arange(pixels)
    for own in range(order):
        weight = np.ones(pixels)
        for other in range(order):
            if other != own:
                weight *= (place - first - other) / (own - other)
        result[rows, first + own] = weight
    return result


def default_step(detector: Detector) -> int:
    """Return the pixels between nodes for a detector; 1 for one of few pixels."""
    return max(1, min(STEP, max(detector.shape) // NODES))


def _node_count(pixels: int, step: int) -> int:
    return 1 if pixels == 1 else min(pixels, max(-(-(pixels - 1) // step) + 1, CUBIC))


@dataclass(frozen=True)
class _Patch:
    """A panel with its nodes: rows and columns of the coarse array, and weights to pixels."""

    panel: Panel
    slab: tuple[slice, slice]
    to_ss: NDArray[np.float64]
    to_fs: NDArray[np.float64]


class CoarseGrid:
    """The nodes of a detector, as a detector of few pixels.

    Attributes
    ----------
    nodes : Detector
        Its pixels have their centres at the nodes, and the area of a pixel of the detector
        times `area`: what is proportional to a pixel's area must be divided by it.
    """

    def __init__(self, detector: Detector, step: int | None = None) -> None:
        self.detector = detector
        step = default_step(detector) if step is None else step
        self._patches: list[_Patch] = []
        panels, top, area, width = [], 0, [], 1
        for panel in detector.panels:
            n_ss, n_fs = _node_count(panel.n_ss, step), _node_count(panel.n_fs, step)
            every_ss = (panel.n_ss - 1) / (n_ss - 1) if n_ss > 1 else 1.0
            every_fs = (panel.n_fs - 1) / (n_fs - 1) if n_fs > 1 else 1.0
            fs, ss = panel.fs * every_fs, panel.ss * every_ss
            centre = panel.corner + (panel.fs + panel.ss) / 2
            slab = (slice(top, top + n_ss), slice(0, n_fs))
            panels.append(
                Panel(panel.name, 0, n_fs - 1, top, top + n_ss - 1, centre - (fs + ss) / 2, fs, ss)
            )
            self._patches.append(
                _Patch(panel, slab, _weights(panel.n_ss, n_ss), _weights(panel.n_fs, n_fs))
            )
            area.append((slab, every_ss * every_fs))
            top, width = top + n_ss, max(width, n_fs)
        mask = np.zeros((top, width), dtype=bool)
        self.area = np.ones((top, width))
        for patch, (slab, value) in zip(self._patches, area, strict=True):
            self.area[slab] = value
            live = detector.mask[patch.panel.slab].astype(np.float64)
            # Only nodes that a live pixel needs: masked ones may lie where nothing is known.
            mask[slab] = (abs(patch.to_ss) > 0).T @ live @ (abs(patch.to_fs) > 0) > 0
        self.nodes = replace(detector, panels=tuple(panels), shape=(top, width), mask=mask)

    def expected(
        self, response: Response, photon_energy: float, beam: Beam, solvent: Solvent
    ) -> NDArray[np.float64]:
        """Return `expected_image` at the nodes [ss, fs], photons a pixel, without a beamstop."""
        image = expected_image(self.nodes, _open(response), photon_energy, beam, solvent)
        return image / self.area

    def to_pixels(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the image [ss, fs] of values [ss, fs] at the nodes; 0 where no panel is."""
        image = np.zeros(self.detector.shape, dtype=np.float32)
        for patch in self._patches:
            rows = patch.to_ss @ values[patch.slab]
            image[patch.panel.slab] = rows.astype(np.float32) @ patch.to_fs.T.astype(np.float32)
        return image

    def bin_matrix(
        self, bin_of_pixel: NDArray[np.integer], weight: NDArray[np.floating], bins: int
    ) -> NDArray[np.float64]:
        """Return the matrix [bin, node] that takes values at the nodes to sums over pixels.

        Parameters
        ----------
        bin_of_pixel
            [ss, fs], below 0 where a pixel is in none.
        weight
            [ss, fs] of each pixel in the sum.
        """
        result = np.zeros((bins, *self.area.shape))
        for patch in self._patches:
            own = bin_of_pixel[patch.panel.slab]
            for number in range(bins):
                rows, columns = np.nonzero(own == number)
                if not len(rows):
                    continue
                ss = slice(rows.min(), rows.max() + 1)
                fs = slice(columns.min(), columns.max() + 1)
                chosen = np.where(own[ss, fs] == number, weight[patch.panel.slab][ss, fs], 0.0)
                result[number][patch.slab] += patch.to_ss[ss].T @ (chosen @ patch.to_fs[fs])
        return result.reshape(bins, -1)


class MovingImage:
    """The expected background of a detector whose geometry and photon energy change.

    The structure of water is a table, linear between its rows: it is looked up at every
    pixel, at the square of q carried there from the nodes. All else is carried as it is.

    Parameters
    ----------
    detector, response, beam, solvent
        As they stand without a frame's conditions.
    step
        Pixels between nodes; None: `default_step`.
    """

    def __init__(
        self,
        detector: Detector,
        response: Response,
        beam: Beam,
        solvent: Solvent,
        step: int | None = None,
    ) -> None:
        self._grid = CoarseGrid(detector, step)
        self._response, self._beam, self._solvent = response, beam, solvent
        self._structure = water_table(solvent.temperature)

    def at(self, conditions: Conditions) -> NDArray[np.float32]:
        """Return the expected photons [ss, fs] of a frame, without its factors."""
        grid, energy, solvent = self._grid, conditions.photon_energy, self._solvent
        there, live = moved(grid.nodes, conditions), grid.detector.mask
        wavelength = wavelength_from_photon_energy(energy)
        squares = np.where(
            there.mask, (2 * np.pi * scattering_magnitude(there, wavelength)) ** 2, 0.0
        )
        inelastic = incoherent_scattering(np.sqrt(squares)) if solvent.compton else 0.0
        water = expected_water(
            there,
            energy,
            self._beam.nphotons,
            self._beam.beam_radius,
            self._beam.polarisation,
            solvent,
        )
        electrons = look_up(np.sqrt(squares), self._structure) + inelastic
        # np.maximum: a cubic that touches 0 at the beam may pass below it.
        q = np.sqrt(np.maximum(grid.to_pixels(squares)[live], 0.0))
        seen = look_up(q, self._structure)
        if solvent.compton:
            seen += grid.to_pixels(np.broadcast_to(inelastic, squares.shape))[live]
        counted = detection_map(there, _open(self._response), energy) / grid.area
        image = np.zeros(grid.detector.shape, dtype=np.float32)
        image[live] = seen * grid.to_pixels(water / electrons * counted)[live]
        if solvent.air_upstream or solvent.air_downstream:
            air = expected_air(
                there,
                energy,
                self._beam.nphotons,
                self._beam.polarisation,
                solvent.air_upstream,
                solvent.air_downstream,
                solvent.compton,
            )
            image += np.where(live, grid.to_pixels(air * counted), 0)
        if self._response.beamstop is not None:
            shadow = self._response.model_copy(update={"sensor": None, "sensor_thickness": None})
            image *= detection_map(moved(grid.detector, conditions), shadow, energy)
        return image


def _open(response: Response) -> Response:
    """Return a response without its beamstop, whose shadow has an edge."""
    return response.model_copy(update={"beamstop": None})
