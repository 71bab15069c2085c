"""The expected background of one shot: all that scatters but the crystal."""

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam, Response, Solvent
from spotmill.physics.air import expected_air
from spotmill.physics.geometry import Detector
from spotmill.physics.response import detection_map
from spotmill.physics.water import expected_water


def expected_image(
    detector: Detector, response: Response, photon_energy: float, beam: Beam, solvent: Solvent
) -> NDArray[np.float32]:
    """Return the photons [ss, fs] of water and air that the detector counts in one shot."""
    image = expected_water(
        detector, photon_energy, beam.nphotons, beam.beam_radius, beam.polarisation, solvent
    )
    if solvent.air_upstream or solvent.air_downstream:
        image += expected_air(
            detector,
            photon_energy,
            beam.nphotons,
            beam.polarisation,
            solvent.air_upstream,
            solvent.air_downstream,
            solvent.compton,
        )
    image *= detection_map(detector, response, photon_energy)
    return image
