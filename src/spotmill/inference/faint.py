"""Faint peaks that lie on one lattice of a known cell: enough to index a frame by.

The models' threshold is made for spots of five photons and more. At a hundredth of the flux most
spots have two to four, and look like noise; an indexer needs at least ten, and few false ones. With
the cell of the crystal (`physics/pair_indexing`) one orientation tells them from noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.formats.cell import read_cell
from spotmill.inference.events import SOME_CLEN, Event
from spotmill.physics.faint_peaks import spot_probability
from spotmill.physics.geometry import Detector, positions
from spotmill.physics.pair_indexing import Oriented, PairIndexing
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import pairs_within
from spotmill.physics.units import wavelength_from_photon_energy

if TYPE_CHECKING:
    from spotmill.learning.marked import Marked

CANDIDATES, PATCH = 4096, 9
# Widths of the spots that are fitted, pixels.
NARROW, WIDE = 0.4, 1.0
# Pixels by which a peak may be off its reflection, and pixels between peaks that are one.
OFF, SAME = 1.0, 3.0
# Full relative width of the band where no geometry states it, and what lengths are off besides.
BANDWIDTH, SLACK = 0.01, 0.001
# Reflections at most, and how sharp they may be.
MOST_REFLECTIONS, FINEST = 300_000, 1.5


class Chosen(NamedTuple):
    """Peaks to index by, the lattice that they lie on (None: none), and what to know.

    `is_found`: whether there is a lattice; None where none was looked for.
    """

    peaks: Peaks
    lattice: Oriented | None
    remark: str = ""
    is_found: bool | None = False


@dataclass(frozen=True, eq=False)
class Faint:
    """Adds faint peaks on a lattice to those of the model."""

    indexing: PairIndexing

    @classmethod
    def of_cell(cls, path: Path) -> Faint:
        """Return what looks for the crystal of a CrystFEL unit cell file.

        Raises
        ------
        SpotmillError
            When the file is none.
        """
        known = read_cell(path)
        d_min = max(FINEST, (4 / 3 * np.pi * volume(known.cell) / MOST_REFLECTIONS) ** (1 / 3))
        return cls(PairIndexing(known.cell, float(d_min), known.centering))

    def choose(self, event: Event, marked: Marked, sure: Peaks) -> Chosen:
        """Return the peaks of a frame to index by, `sure` ones among them."""
        known = (event.stated.photon_energy, event.stated.clen)
        if not event.knows_radius or None in known:
            needed = "lattice: needs photon energy, clen, pixel size, beam centre"
            return Chosen(sure, None, needed, None)
        found = maxima(marked)
        stated, geometry = event.stated, event.geometry
        wavelength = wavelength_from_photon_energy(float(stated.photon_energy or 0))
        pixel = event.detector.pixel_size / float(stated.clen or 1) / wavelength
        band = (geometry.bandwidth if geometry else None) or BANDWIDTH
        lattice = self.indexing.search(
            scattering_vectors(event, found.place), found.score, OFF * pixel, band / 2 + SLACK
        )
        if lattice is None:
            return Chosen(sure, None)
        take = lattice.fits & ~beside(found.place, sure.place)
        joined = [np.concatenate((own, of[take])) for own, of in zip(sure, found, strict=True)]
        return Chosen(
            Peaks(*joined),
            lattice,
            f"lattice: {int(lattice.fits.sum())} maxima fit (log odds {lattice.log_odds:.0f})",
            True,
        )


def maxima(marked: Marked) -> Peaks:
    """Return the maxima of a frame; their score is the probability that each is a spot."""
    from spotmill.learning.models.peak_net import centre_of_mass, intensity
    from spotmill.learning.peak_candidates import candidates_of
    from spotmill.learning.peak_fit import fitted_spots

    candidates = candidates_of(marked, CANDIDATES, PATCH)
    ratio = np.maximum(*(fitted_spots(candidates, sigma)[0] for sigma in (NARROW, WIDE)))
    middle = np.stack([candidates.fs, candidates.ss], axis=1) + 0.5
    # Photons further away than a pixel are the background's as often as the spot's.
    place = middle + np.clip(centre_of_mass(candidates) - middle, -1, 1)
    return Peaks(place, intensity(candidates), spot_probability(ratio))


def scattering_vectors(event: Event, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reciprocal vectors [n, 3] (1/Å) of places (fs, ss).

    By the stated camera length and photon energy; zero, which is no reflection, off the panels.

    Raises
    ------
    ValueError
        When these are not stated.
    """
    stated = event.stated
    if stated.clen is None or stated.photon_energy is None:
        raise ValueError("camera length and photon energy are not stated")
    points = points_of(event.detector, place)
    points[:, 2] += stated.clen - SOME_CLEN
    rays = points / np.linalg.norm(points, axis=1, keepdims=True)
    wavelength = wavelength_from_photon_energy(stated.photon_energy)
    return np.nan_to_num((rays - [0.0, 0.0, 1.0]) / wavelength)


def points_of(detector: Detector, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points [n, 3] in m of places (fs, ss); NaN where there is no panel."""
    points = np.full((len(place), 3), np.nan)
    fs, ss = np.floor(place).astype(np.int64).T
    for panel in detector.panels:
        own = (fs >= panel.min_fs) & (fs <= panel.max_fs)
        own &= (ss >= panel.min_ss) & (ss <= panel.max_ss)
        points[own] = positions(panel, place[own, 0], place[own, 1])
    return points


def beside(place: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which places [n, 2] have one of others near by."""
    near = np.zeros(len(place), dtype=bool)
    near[pairs_within(place, others, SAME)[0]] = True
    return near


def volume(cell: tuple[float, float, float, float, float, float]) -> float:
    """Return the volume of a cell, Å³."""
    from spotmill.physics.reflections import reciprocal_basis

    return float(1 / abs(np.linalg.det(reciprocal_basis(cell))))
