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
    for name in ("flux", "signal", "background"):
        if drawn[name] < 0:
            raise SpotmillError(f"randomise: {name}: drew {drawn[name]:g} for frame {index}")
    return Conditions(**drawn)


def turn(tilt_x: float, tilt_y: float) -> NDArray[np.float64]:
    """Return the matrix that turns about x, then about y (degrees), for column vectors."""
    a, b = np.radians([tilt_x, tilt_y])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(about_y @ about_x)


def moved(detector: Detector, conditions: Conditions) -> Detector:
    """Return the detector as it stood for a frame."""
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
