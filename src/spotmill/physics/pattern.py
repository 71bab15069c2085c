"""One simulated pattern: the crystals of a frame, their spots, the photons they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam, Crystal
from spotmill.errors import SpotmillError
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.diffraction import ReflectionTable, Source, Spots, diffract, scale
from spotmill.physics.footprint import Footprint, footprint
from spotmill.physics.geometry import Detector
from spotmill.physics.illumination import crystal_volume, lit_fraction, projected_width
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.photons import fit_counts, stream
from spotmill.physics.rocking import rocking
from spotmill.physics.spectrum import (
    Spectrum,
    Tabulated,
    centred,
    gaussian,
    sase,
    tophat,
    two_colour,
)


@dataclass(frozen=True)
class Shot:
    """One crystal in the beam, as drawn.

    Attributes
    ----------
    detector
        Where it stood for the frame.
    spectrum, photon_energy
        Of the pulse; eV.
    quaternion, turned
        Orientation, and [3, 3] rows a*, b*, c* as turned, 1/Å.
    size, mosaicity
        m, degrees.
    fluence
        Mean over the crystal, photons per m^2.
    """

    detector: Detector
    spectrum: Spectrum
    photon_energy: float
    quaternion: NDArray[np.float64]
    turned: NDArray[np.float64]
    size: float
    mosaicity: float
    fluence: float

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows a, b, c as turned, [3, 3] Å."""
        return np.ascontiguousarray(np.linalg.inv(self.turned).T, dtype=np.float64)


class Engine(Protocol):
    """What computes the spots of one crystal and where their expected photons fall."""

    @property
    def least(self) -> float:
        """Return the expected photons below which a spot that drew none is not listed."""

    def __call__(self, scene: "Scene", shot: Shot) -> tuple[Spots, Footprint]:
        """Return the spots, and their photons on live pixels before the sensor counts them."""


@dataclass(frozen=True)
class Integrated:
    """The closed form of `physics/diffraction`, drawn by `physics/footprint`."""

    least: float = 0.0

    def __call__(self, scene: "Scene", shot: Shot) -> tuple[Spots, Footprint]:
        """Return the spots and where their expected photons fall."""
        beam, shape = scene.beam, scene.crystal.shape
        reach = shot.detector.clen / shot.detector.pixel_size
        light = Source(
            shot.spectrum,
            scale(shot.fluence, crystal_volume(shape, shot.size), scene.cell_volume),
            beam.polarisation,
            rocking(float(np.radians(shot.mosaicity)), beam.divergence, reach),
        )
        spots = diffract(scene.reflections, shot.turned, light)
        width = projected_width(shape, shot.size)
        spread = [(float(np.hypot(sigma, width)), weight) for sigma, weight in scene.spread]
        return spots, footprint(spots, shot.detector, spread)


@dataclass(frozen=True)
class Scene:
    """All that the patterns of a shard share.

    Attributes
    ----------
    detector
        At its nominal camera length; its mask is that of the frames.
    spread
        Components of the point spread: standard deviation (m) and weight.
    detected
        Function of a detector and flat pixel numbers: the share of photons counted there.
    reflections
        Of the crystal, in its own frame.
    beam, crystal
        Concepts; `crystal` gives the laws of size, mosaicity and number.
    table
        Spectrum read from a file, where the beam names one.
    engine
        Computes the spots of each crystal.
    """

    detector: Detector
    spread: Sequence[tuple[float, float]]
    detected: Callable[[Detector, float, NDArray[np.int64]], NDArray[np.float64]]
    reflections: ReflectionTable
    beam: Beam
    crystal: Crystal
    table: Tabulated | None = None
    engine: Engine = field(default_factory=Integrated)

    @property
    def cell_volume(self) -> float:
        """Volume of the unit cell, Å^3."""
        return 1.0 / abs(float(np.linalg.det(self.reflections.axes)))


@dataclass(frozen=True)
class Lattice:
    """One crystal of a frame: quaternion, turned axes [3, 3] (1/Å), size (m), mosaicity (deg)."""

    quaternion: NDArray[np.float64]
    turned: NDArray[np.float64]
    size: float
    mosaicity: float
    spots: Spots
    where: Footprint
    photons: NDArray[np.float64]  # [spot] recorded: drawn, or expected where no noise is asked


@dataclass(frozen=True)
class Pattern:
    """The image [ss, fs] of one frame and all its crystals."""

    lattices: tuple[Lattice, ...]
    image: NDArray[Any]
    n_saturated: int


Identity = tuple[int, str, int]  # seed, dataset, index


def draw_spectrum(scene: Scene, photon_energy: float, identity: Identity) -> Spectrum:
    """Return the spectrum of one pulse around a photon energy in eV."""
    beam = scene.beam
    if beam.spectrum == "tophat":
        return tophat(photon_energy, beam.bandwidth)
    if beam.spectrum == "gaussian":
        return gaussian(photon_energy, beam.bandwidth)
    if beam.spectrum == "twocolour":
        assert beam.separation is not None
        return two_colour(photon_energy, beam.bandwidth, beam.separation)
    if beam.spectrum == "sase":
        assert beam.n_spikes is not None and beam.spike_width is not None
        rng = stream(*identity, "spectrum")
        return sase(photon_energy, beam.bandwidth, beam.n_spikes, beam.spike_width, rng)
    assert scene.table is not None
    return centred(scene.table, photon_energy)


def draw_number(crystal: Crystal, identity: Identity) -> int:
    """Draw how many crystals a frame holds."""
    if max(crystal.per_frame) == 1.0:
        return crystal.per_frame.index(1.0)
    share = stream(*identity, "crystals").random()
    return int(min((np.cumsum(crystal.per_frame) <= share).sum(), len(crystal.per_frame) - 1))


def make_pattern(
    scene: Scene,
    conditions: Conditions,
    identity: Identity,
    quaternion: NDArray[np.float64] | None = None,
    dtype: Any = None,
) -> Pattern:
    """Simulate the pattern of an identity (seed, dataset, index).

    Parameters
    ----------
    quaternion
        Orientation of the one crystal; None draws number and orientations.
    dtype
        Integer type of drawn photons; None returns expected photons (float32).
    """
    detector = scene.detector
    if conditions != nominal(conditions, detector):
        detector = moved(detector, conditions)
    spectrum = draw_spectrum(scene, conditions.photon_energy, identity)
    number = draw_number(scene.crystal, identity) if quaternion is None else 1
    made = [
        _illuminate(scene, detector, conditions, spectrum, identity, which, quaternion)
        for which in range(number)
    ]
    if dtype is None:
        return _expected(detector, made)
    return _drawn(detector, made, identity, dtype)


def nominal(conditions: Conditions, detector: Detector) -> Conditions:
    """Return the conditions with the detector where its geometry has it."""
    return replace(conditions, clen=detector.clen, beam_x=0.0, beam_y=0.0, tilt_x=0.0, tilt_y=0.0)


def _illuminate(
    scene: Scene,
    detector: Detector,
    conditions: Conditions,
    spectrum: Spectrum,
    identity: Identity,
    which: int,
    quaternion: NDArray[np.float64] | None,
) -> Lattice:
    """Return one crystal with its spots and where their expected photons fall."""
    beam, crystal = scene.beam, scene.crystal
    # The first crystal's streams bear plain names, so a second one changes nothing of it.
    suffix = f"/{which}" if which else ""
    if quaternion is None:
        quaternion = random_quaternion(stream(*identity, f"orientation{suffix}"))
    size = crystal.size.draw(stream(*identity, f"size{suffix}"))
    mosaicity = crystal.mosaicity.draw(stream(*identity, f"mosaicity{suffix}"))
    if size <= 0 or mosaicity < 0:
        raise SpotmillError(f"crystal: drew size {size:g} m, mosaicity {mosaicity:g} degrees")
    lit = lit_fraction(crystal.shape, size, beam.profile, beam.beam_radius, beam.offset)
    fluence = beam.nphotons / (np.pi * beam.beam_radius**2)
    fluence *= lit * conditions.flux * conditions.signal
    turned = turn_axes(scene.reflections.axes, quaternion)
    energy = conditions.photon_energy
    shot = Shot(detector, spectrum, energy, quaternion, turned, size, mosaicity, fluence)
    spots, where = scene.engine(scene, shot)
    counted = scene.detected(detector, energy, where.pixel)
    where = replace(where, photons=where.photons * counted)
    return Lattice(quaternion, turned, size, mosaicity, spots, where, np.zeros(len(spots.photons)))


def _recorded(lattice: Lattice, photons: NDArray[np.floating | np.integer]) -> Lattice:
    """Return the crystal with the photons of its deposits summed by spot."""
    n = len(lattice.spots.photons)
    recorded = np.bincount(lattice.where.spot, photons, minlength=n).astype(np.float64)
    return replace(lattice, photons=recorded)


def _struck(made: Sequence[Lattice]) -> NDArray[np.int64]:
    """Return the flat numbers of all pixels that photons fall on, ascending."""
    none = np.empty(0, dtype=np.int64)
    pixel = np.concatenate([none, *(lattice.where.pixel for lattice in made)])
    # This sort gains from what is in order already, as the whole images of `lattice` are.
    pixel.sort(kind="stable")
    return pixel[np.diff(pixel, prepend=-1) > 0]


def _image(detector: Detector, pixel: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    image = np.zeros(detector.shape, dtype=values.dtype)
    image.ravel()[pixel] = values
    return image


def _expected(detector: Detector, made: Sequence[Lattice]) -> Pattern:
    pixel = _struck(made)
    total = np.zeros(len(pixel))
    for lattice in made:
        at = np.searchsorted(pixel, lattice.where.pixel)
        total += np.bincount(at, lattice.where.photons, minlength=len(pixel))
    lattices = tuple(_recorded(lattice, lattice.where.photons) for lattice in made)
    return Pattern(lattices, _image(detector, pixel, total.astype(np.float32)), 0)


def _drawn(detector: Detector, made: Sequence[Lattice], identity: Identity, dtype: Any) -> Pattern:
    pixel = _struck(made)
    counts = np.zeros(len(pixel), dtype=np.int64)
    lattices = []
    for which, lattice in enumerate(made):
        name = f"signal/{which}" if which else "signal"
        drawn = stream(*identity, name).poisson(lattice.where.photons)
        np.add.at(counts, np.searchsorted(pixel, lattice.where.pixel), drawn)
        lattices.append(_recorded(lattice, drawn))
    values, clipped = fit_counts(counts, dtype, detector.saturation)
    return Pattern(tuple(lattices), _image(detector, pixel, values), clipped)
