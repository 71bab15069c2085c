"""A sheet of water, and detectors of a few panels."""

import numpy as np

from spotmill.concepts import Solvent
from spotmill.physics.geometry import Detector

PIXEL = 75e-6
SHEET = Solvent(thickness=1e-4)


def detector_of(*panels, mask=None):
    shape = (max(p.max_ss for p in panels) + 1, max(p.max_fs for p in panels) + 1)
    live = np.zeros(shape, dtype=bool)
    for panel in panels:
        live[panel.slab] = True
    if mask is not None:
        live &= mask
    return Detector(panels, shape, live, 0.1, None, 1.0)
