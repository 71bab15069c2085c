"""What differs from frame to frame besides orientation and noise."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector
from spotmill.physics.photons import stream
from spotmill.physics.units import check_clen, check_photon_energy
from spotmill.randomise import Randomise


@dataclass(frozen=True)
class Conditions:
    """The conditions of one frame.

    Attributes
    ----------
    photon_energy, clen
        eV, m.
    beam_x, beam_y
        Where the beam strikes the detector, from where its geometry says, m.
    tilt_x, tilt_y
        Turns of the detector about x, then y, through its nominal beam centre, degrees.
    flux, signal, background
        Factors on all photons, on the Bragg photons, on the background.
    """

    photon_energy: float
    clen: float
    beam_x: float
    beam_y: float
    tilt_x: float
    tilt_y: float
    flux: float
    signal: float
    background: float


FARTHEST_BEAM = 1.0  # m
LARGEST_TILT = 89.0  # degrees

CONDITIONS = tuple(field.name for field in fields(Conditions))


def draw_conditions(
    randomise: Randomise, photon_energy: float, clen: float, seed: int, dataset: str, index: int
) -> Conditions:
    """Draw the conditions of a frame around a dataset's photon energy (eV) and clen (m).

    Every quantity has a stream of its own, so randomising one changes no other. Patterns
    and their overlays draw the same conditions, as they depend on the identity alone.

    Raises
    ------
    SpotmillError
        When a draw leaves the range of X-ray experiments.
    """
    drawn = {
        name: getattr(randomise, name).draw(stream(seed, dataset, index, f"condition/{name}"))
        for name in CONDITIONS
    }
    drawn["photon_energy"] = check_photon_energy(photon_energy + drawn["photon_energy"])
    drawn["clen"] = check_clen(clen + drawn["clen"])
    check_move(drawn["beam_x"], drawn["beam_y"], drawn["tilt_x"], drawn["tilt_y"])
    for name in ("flux", "signal", "background"):
        if drawn[name] < 0:
            raise SpotmillError(f"randomise: {name}: drew {drawn[name]:g} for frame {index}")
    return Conditions(**drawn)


def dead_panels(
    detector: Detector, randomise: Randomise, identity: tuple[int, str, int]
) -> NDArray[np.bool_]:
    """Draw which panels of a detector count nothing in a frame.

    As many as `randomise.dead_modules` gives, rounded, at most all; each panel alike.

    Parameters
    ----------
    identity
        Seed, dataset and index.

    Returns
    -------
    [panel] bool
        In the order of the detector's panels.
    """
    dead = np.zeros(len(detector.panels), dtype=bool)
    rng = stream(*identity, "condition/dead_modules")
    number = min(max(round(randomise.dead_modules.draw(rng)), 0), len(dead))
    dead[rng.permutation(len(dead))[:number]] = True
    return dead


def frame_mask(
    detector: Detector, randomise: Randomise, identity: tuple[int, str, int]
) -> NDArray[np.bool_] | None:
    """Return the detector's mask [ss, fs] without a frame's dead panels.

    None where the configuration kills no panel, so that the detector's mask holds as it is.
    Patterns and their overlays draw the same panels, as they depend on the identity alone.
    """
    if not randomise.masks_panels:
        return None
    mask = detector.mask.copy()
    for panel, dead in zip(
        detector.panels, dead_panels(detector, randomise, identity), strict=True
    ):
        if dead:
            mask[panel.slab] = False
    return mask


def check_move(beam_x: float, beam_y: float, tilt_x: float, tilt_y: float) -> None:
    """Raise SpotmillError where shifts of the beam (m) or tilts (degrees) are impossible."""
    if not max(abs(beam_x), abs(beam_y)) < FARTHEST_BEAM:
        raise SpotmillError(
            f"randomise: beam_x, beam_y: {beam_x:g}, {beam_y:g} m are not below "
            f"{FARTHEST_BEAM:g} m; give metres (1 mm is 0.001)"
        )
    if not max(abs(tilt_x), abs(tilt_y)) <= LARGEST_TILT:
        raise SpotmillError(
            f"randomise: tilt_x, tilt_y: {tilt_x:g}, {tilt_y:g} degrees are beyond "
            f"{LARGEST_TILT:g}; give degrees"
        )


def turn(tilt_x: float, tilt_y: float) -> NDArray[np.float64]:
    """Return the matrix that turns about x, then about y (degrees), for column vectors."""
    a, b = np.radians([tilt_x, tilt_y])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(about_y @ about_x)


def moved(detector: Detector, conditions: Conditions) -> Detector:
    """Return the detector as it stood for a frame.

    Raises
    ------
    SpotmillError
        When clen, a shift or a tilt has a wrong unit.
    """
    check_clen(conditions.clen)
    check_move(conditions.beam_x, conditions.beam_y, conditions.tilt_x, conditions.tilt_y)
    matrix = turn(conditions.tilt_x, conditions.tilt_y)
    centre = np.array([0.0, 0.0, detector.clen])
    shift = np.array([-conditions.beam_x, -conditions.beam_y, conditions.clen - detector.clen])
    panels = tuple(
        replace(
            panel,
            corner=matrix @ (panel.corner - centre) + centre + shift,
            fs=matrix @ panel.fs,
            ss=matrix @ panel.ss,
        )
        for panel in detector.panels
    )
    return replace(detector, panels=panels, clen=conditions.clen)
