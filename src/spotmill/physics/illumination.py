"""How much of a crystal the beam lights, and how much of it there is."""

import math

import numpy as np

from spotmill.errors import SpotmillError
from spotmill.physics.spectrum import FWHM

# Points on each axis of the grid over the crystal's cross-section.
GRID = 200

LARGEST_SIZE = 0.01  # m, of a crystal
LARGEST_BEAM = 0.1  # m


def check_length(name: str, length: float, most: float) -> float:
    """Return a length in m, or raise SpotmillError unless it is above 0 and below `most`."""
    if not 0 < length < most:
        raise SpotmillError(
            f"{name}: {length!r} is not between 0 and {most:g} m; give metres (1 µm is 1e-6)"
        )
    return float(length)


def crystal_volume(shape: str, size: float) -> float:
    """Return the volume in m^3 that scatters.

    `size` (m) is the edge of a box, the diameter of a sphere, or the full width at half
    maximum of a Gaussian density of height 1, whose integral is (2 pi)^(3/2) sigma^3.

    Raises
    ------
    SpotmillError
        When the size is not above 0 and below 0.01 m.
    """
    check_length("size", size, LARGEST_SIZE)
    if shape == "box":
        return size**3
    if shape == "sphere":
        return math.pi / 6 * size**3
    return float((2 * math.pi) ** 1.5 * (size / FWHM) ** 3)


def projected_width(shape: str, size: float) -> float:
    """Return the standard deviation in m, on one axis, of the crystal seen along the beam."""
    check_length("size", size, LARGEST_SIZE)
    if shape == "box":
        return size / math.sqrt(12)
    if shape == "sphere":
        return size / math.sqrt(20)
    return size / FWHM


def lit_fraction(
    shape: str, size: float, profile: str, beam_radius: float, offset: tuple[float, float]
) -> float:
    """Return the mean fluence over a crystal, over nphotons / (pi beam_radius^2).

    A flat beam has that fluence within its radius and none outside; a Gaussian one has
    2 exp(-2 r^2 / beam_radius^2) of it, as `beam_radius` is its 1/e^2 radius. The box is
    taken face-on. Integrated by the midpoint rule over the crystal's thickness as seen
    along the beam. `bathed` is 1 by definition.

    Raises
    ------
    SpotmillError
        When a length cannot be in m: size, beam_radius, or an offset of 0.1 m or more.
    """
    check_length("size", size, LARGEST_SIZE)
    check_length("beam_radius", beam_radius, LARGEST_BEAM)
    if not max(abs(offset[0]), abs(offset[1])) < LARGEST_BEAM:
        raise SpotmillError(f"offset: {offset} m is farther than {LARGEST_BEAM} m; give metres")
    if profile == "bathed":
        return 1.0
    half = {"box": size / 2, "sphere": size / 2, "gaussian": 4 * size / FWHM}[shape]
    axis = (np.arange(GRID) + 0.5) / GRID * 2 * half - half
    x, y = np.meshgrid(axis, axis)
    squared = x**2 + y**2
    if shape == "box":
        depth = np.ones_like(x)
    elif shape == "sphere":
        depth = np.sqrt(np.maximum(half**2 - squared, 0))
    else:
        depth = np.exp(-0.5 * squared / (size / FWHM) ** 2)
    distance = (x - offset[0]) ** 2 + (y - offset[1]) ** 2
    if profile == "flat":
        fluence = (distance <= beam_radius**2).astype(np.float64)
    else:
        fluence = 2 * np.exp(-2 * distance / beam_radius**2)
    return float((fluence * depth).sum() / depth.sum())
