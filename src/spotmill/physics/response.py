"""What share of the photons a pixel counts: the sensor's efficiency, the beamstop's shadow.

Equations, sources and limits: docs/detector.md.
"""

import math
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spotmill.concepts import Beamstop, Response
from spotmill.errors import SpotmillError
from spotmill.physics.geometry import ROWS, Detector, Panel, positions
from spotmill.physics.units import check_photon_energy

Points = NDArray[np.float64]

# kg/m³. CRC Handbook of Chemistry and Physics, 97th ed. (2016), section 4.
MASS_DENSITY = {"silicon": 2329.0, "cadmium_telluride": 5850.0}


def spread_components(response: Response) -> list[tuple[float, float]]:
    """Return the Gaussians that make the point spread: standard deviation in m, and weight.

    The weights add up to 1. The first is the narrow one; without charge sharing it is alone.
    """
    if response.charge_sharing_spread is None:
        return [(response.point_spread, 1.0)]
    return [
        (response.point_spread, 1.0 - response.charge_sharing),
        (response.charge_sharing_spread, response.charge_sharing),
    ]


@cache
def _mass_absorption(sensor: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return photon energies [n] in eV and mass absorption coefficients [n] in m²/kg."""
    table = resources.files("spotmill").joinpath("data", f"{sensor}_absorption.csv")
    lines = [line for line in table.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    # cm²/g is 0.1 m²/kg.
    return rows[:, 0], 0.1 * rows[:, 1]


def sensor_absorption(sensor: str, photon_energy: ArrayLike) -> NDArray[np.float64]:
    """Return the linear photoelectric absorption coefficient of a sensor's material in 1/m.

    Photons that the sensor only scatters are not counted. Tables with their sources are in
    `spotmill/data`, linear in the logarithms; at an absorption edge the value above it.

    Parameters
    ----------
    sensor : str
        silicon or cadmium_telluride.
    photon_energy : [...] eV

    Raises
    ------
    SpotmillError
        When a photon energy is outside the table, or the material is unknown.
    """
    if sensor not in MASS_DENSITY:
        raise SpotmillError(f"sensor: {sensor!r} is unknown; choose of {', '.join(MASS_DENSITY)}")
    energy = np.asarray(photon_energy, dtype=np.float64)
    energies, values = _mass_absorption(sensor)
    lowest, highest = float(energies[0]), float(energies[-1])
    for extreme in (energy.min(initial=highest), energy.max(initial=lowest)):
        if not lowest <= check_photon_energy(float(extreme)) <= highest:
            raise SpotmillError(
                f"photon_energy: {extreme:g} eV is outside the absorption table of {sensor}, "
                f"{lowest:g} to {highest:g} eV; change it, or leave the `sensor` out"
            )
    per_mass = np.exp(np.interp(np.log(energy), np.log(energies), np.log(values)))
    return np.asarray(per_mass * MASS_DENSITY[sensor])


def sensor_efficiency(
    sensor: str, thickness: float, photon_energy: ArrayLike, cosine: ArrayLike
) -> NDArray[np.float64]:
    """Return the share of photons that a sensor absorbs, 1 - exp(-tau t / cos).

    Parameters
    ----------
    sensor : str
        silicon or cadmium_telluride.
    thickness : float
        Along the normal, m.
    photon_energy : [...] eV
    cosine : [...]
        Of the angle between ray and normal, above 0 and up to 1.

    Raises
    ------
    SpotmillError
        When thickness or cosine is impossible, or a photon energy is outside the table.
    """
    if not (math.isfinite(thickness) and 0 < thickness < 0.05):
        raise SpotmillError(f"sensor_thickness: {thickness!r} is not between 0 and 0.05 m")
    cosines = np.asarray(cosine, dtype=np.float64)
    if not ((cosines > 0) & (cosines <= 1 + 1e-9)).all():
        raise SpotmillError("sensor: a ray runs along its surface; check the geometry of the panel")
    return -np.expm1(-sensor_absorption(sensor, photon_energy) * thickness / cosines)


def shadow_plane(detector: Detector) -> float:
    """Return where along the beam the shadow of a beamstop is measured, z in m.

    At the centre of the panel whose centre lies nearest to the beam: on a flat detector
    normal to the beam, the detector's own plane.
    """
    centres = np.array([_centre(panel) for panel in detector.panels])
    nearest = int(np.argmin(np.hypot(centres[:, 0], centres[:, 1])))
    return float(centres[nearest, 2])


def _centre(panel: Panel) -> NDArray[np.float64]:
    return panel.corner + (panel.n_fs * panel.fs + panel.n_ss * panel.ss) / 2


def shaded(beamstop: Beamstop, points: Points, plane: float, pixel_size: float) -> Points:
    """Return how much of the pixels at points [..., 3] in m lies in a beamstop's shadow, 0 to 1.

    The shadow is cast from the interaction point. Pixels that its edge crosses are shaded in
    proportion to the distance of their centre from the edge.

    Parameters
    ----------
    plane : float
        z at which the shadow has its stated size, m (`shadow_plane`).
    pixel_size : float
        m.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    ahead = z > 0
    scale = np.where(ahead, plane / np.where(ahead, z, 1.0), 1.0)
    x, y = x * scale, y * scale
    outside = np.hypot(x, y) - beamstop.radius
    if beamstop.arm_width > 0:
        angle = math.radians(beamstop.arm_angle)
        along = x * math.cos(angle) + y * math.sin(angle)
        across = np.abs(y * math.cos(angle) - x * math.sin(angle)) - beamstop.arm_width / 2
        outside = np.minimum(outside, np.maximum(across, -along))
    return np.where(ahead, np.clip(0.5 - outside / (pixel_size * scale), 0.0, 1.0), 0.0)


def _counted(
    detector: Detector, response: Response, photon_energy: ArrayLike, panel: Panel, points: Points
) -> Points:
    """Return the share of photons that a panel's pixels at points [..., 3] in m count."""
    share = np.ones(points.shape[:-1])
    if response.sensor and response.sensor_thickness:
        reach = np.linalg.norm(points, axis=-1) * np.linalg.norm(panel.normal)
        cosine = np.abs(points @ panel.normal) / reach
        share *= sensor_efficiency(
            response.sensor, response.sensor_thickness, photon_energy, cosine
        )
    if response.beamstop:
        shade = shaded(response.beamstop, points, shadow_plane(detector), panel.pixel_size)
        share *= 1.0 - (1.0 - response.beamstop.transmission) * shade
    return share


def detection_map(
    detector: Detector, response: Response, photon_energy: float
) -> NDArray[np.float32]:
    """Return the share of photons that each pixel counts.

    The sensor's efficiency at the pixel's angle of incidence, times what the beamstop lets
    through. Multiply any expected image by it.

    Parameters
    ----------
    detector : Detector
    response : Response
    photon_energy : float
        eV.

    Returns
    -------
    [ss, fs] float32
        0 to 1; 1 everywhere for an ideal detector, and where no panel is.

    Raises
    ------
    SpotmillError
        When the photon energy is outside the sensor's table.
    """
    image = np.ones(detector.shape, dtype=np.float32)
    if response.sensor is None and response.beamstop is None:
        return image
    for panel in detector.panels:
        for first in range(panel.min_ss, panel.max_ss + 1, ROWS):
            last = min(first + ROWS, panel.max_ss + 1)
            ss, fs = np.ogrid[first:last, panel.min_fs : panel.max_fs + 1]
            points = positions(panel, fs + 0.5, ss + 0.5)
            share = _counted(detector, response, photon_energy, panel, points)
            image[first:last, panel.slab[1]] = share
    return image


def detection_at(
    detector: Detector, response: Response, photon_energy: ArrayLike, pixel: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the share of photons that some pixels count: `detection_map` for a few of them.

    Parameters
    ----------
    detector : Detector
    response : Response
    photon_energy : float or [n]
        eV; one for all or one a pixel.
    pixel : [n]
        Flat numbers in the data array.

    Returns
    -------
    [n]

    Raises
    ------
    SpotmillError
        When a photon energy is outside the sensor's table.
    """
    share = np.ones(pixel.shape)
    if response.sensor is None and response.beamstop is None:
        return share
    energies = np.broadcast_to(np.asarray(photon_energy, dtype=np.float64), pixel.shape)
    ss, fs = np.divmod(pixel, detector.shape[1])
    for panel in detector.panels:
        own = (fs >= panel.min_fs) & (fs <= panel.max_fs)
        own &= (ss >= panel.min_ss) & (ss <= panel.max_ss)
        if own.any():
            points = positions(panel, fs[own] + 0.5, ss[own] + 0.5)
            share[own] = _counted(detector, response, energies[own], panel, points)
    return share
