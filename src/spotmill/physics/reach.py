"""How far a detector reaches: in all directions, and in its corners."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from spotmill.physics.geometry import Detector, max_scattering, positions


class Reach(NamedTuple):
    """Resolutions in Å: of the largest whole ring within the outline (nan: none), of a corner."""

    edge: float
    corner: float


def reach(detector: Detector, wavelength: float) -> Reach:
    """Return to which resolutions a detector reaches, whatever its gaps hide.

    Parameters
    ----------
    detector : Detector
    wavelength : float
        Å.

    Returns
    -------
    Reach
        Its edge is nan where the beam passes beside the detector, or panels stand behind the
        crystal.
    """
    corner = 1.0 / max_scattering(detector, wavelength)
    outline = np.concatenate(
        [
            positions(p, [p.min_fs, p.max_fs + 1], [[p.min_ss], [p.max_ss + 1]]).reshape(-1, 3)
            for p in detector.panels
        ]
    )
    if (outline[:, 2] <= 0).any():
        return Reach(float("nan"), corner)
    # On the plane at unit distance a ring is a circle and a straight edge stays straight.
    try:
        hull = ConvexHull(outline[:, :2] / outline[:, 2:])
    except QhullError:
        return Reach(float("nan"), corner)
    # Offsets are distances of the beam from the edges, negative within.
    nearest = float(-hull.equations[:, 2].max())
    if nearest <= 0:
        return Reach(float("nan"), corner)
    return Reach(float(wavelength / (2 * np.sin(np.arctan(nearest) / 2))), corner)
