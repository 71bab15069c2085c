"""Forms of water in the beam: how much of it is lit, and what it absorbs.

The beam is a flat disc along z through the middle of the water. A sheet is wider than the
beam; a jet is a cylinder along y (vertical); a droplet is a sphere.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.special import hyp2f1

from spotmill.concepts import Solvent
from spotmill.errors import SpotmillError

Vectors = NDArray[np.float64]

# Nodes over the lit water and steps over directions: errors of the mean below 1e-4 up to
# an absorption of exp(-1) along the diameter.
NODES = 16
AZIMUTHS = 16
DIRECTIONS = 181


def lit_length(solvent: Solvent, beam_radius: float) -> float:
    """Return the lit volume of water over the area of the beam, in m.

    It is the mean length of water along the beam, for a sheet t / cos(tilt). For the jet
    the lit volume is 2 pi R a² F(-1/2, 1/2; 2; a²/R²) with the larger radius R and the
    smaller a of beam and jet and the hypergeometric function F, which is the chord
    integral 4 ∫ √(a²-u²) √(R²-u²) du in closed form. For the droplet it is
    4 pi/3 [R³ - (R²-a²)^(3/2)], and the whole sphere where the beam is wider.

    Parameters
    ----------
    solvent : Solvent
    beam_radius : float
        m.
    """
    if not (math.isfinite(beam_radius) and 0 < beam_radius < 1):
        raise SpotmillError(
            f"beam_radius: {beam_radius!r} is not between 0 and 1 m; give it in metres"
        )
    if solvent.shape == "sheet":
        return _size(solvent) / math.cos(math.radians(solvent.tilt or 0.0))
    radius = _size(solvent)
    area = math.pi * beam_radius**2
    if solvent.shape == "jet":
        small, large = sorted((beam_radius, radius))
        ratio = (small / large) ** 2
        return 2 * math.pi * large * small**2 * float(hyp2f1(-0.5, 0.5, 2.0, ratio)) / area
    lit = min(beam_radius, radius)
    rest = math.sqrt(radius**2 - lit**2)
    # R³ - w³ as (R - w)(R² + R w + w²) with R - w = a²/(R + w), which does not cancel.
    return 4 * math.pi / 3 * lit**2 / (radius + rest) * (radius**2 + radius * rest + rest**2) / area


def _size(solvent: Solvent) -> float:
    """Return the thickness of a sheet or the radius of a jet or droplet, m."""
    size = solvent.thickness if solvent.shape == "sheet" else solvent.radius
    if size is None:
        raise ValueError(f"a {solvent.shape} without its size passed the configuration")
    return size


def transmission(
    solvent: Solvent, beam_radius: float, attenuation: float
) -> Callable[[Vectors], NDArray[np.float64]]:
    """Return the function that gives the transmission of scattered light.

    Transmission is the mean of exp(-mu (way in + way out)) over all lit water.

    Parameters
    ----------
    solvent : Solvent
    beam_radius : float
        m.
    attenuation : float
        mu, 1/m.

    Returns
    -------
    callable
        Takes unit vectors [n, 3] towards the pixels, gives [n] between 0 and 1.
    """
    if solvent.shape == "sheet":
        tilt = math.radians(solvent.tilt or 0.0)
        return lambda directions: sheet_transmission(directions, _size(solvent) * attenuation, tilt)
    if solvent.shape == "jet":
        return _jet_transmission(_size(solvent), beam_radius, attenuation)
    return _droplet_transmission(_size(solvent), beam_radius, attenuation)


def sheet_transmission(directions: Vectors, depth: float, tilt: float) -> NDArray[np.float64]:
    """Return the mean transmission of an endless sheet, [n].

    With the ways a = mu t / cos(tilt) along the beam and b = mu t / |cos(exit angle)|, light
    that leaves behind the sheet has [exp(-a) - exp(-b)] / (b - a), light that leaves on
    the side of the source [1 - exp(-a - b)] / (a + b).

    Parameters
    ----------
    directions : [n, 3]
        Unit vectors.
    depth : float
        mu t.
    tilt : float
        Of the normal from the beam, about y, rad.
    """
    along = depth / math.cos(tilt)
    exit_cosine = directions @ np.array([math.sin(tilt), 0.0, math.cos(tilt)])
    # Along the sheet the way out is endless and the transmission 0; 1e-12 stands for it.
    out = depth / np.maximum(np.abs(exit_cosine), 1e-12)
    forward = exit_cosine > 0
    way = np.where(forward, out - along, out + along)
    mean = np.ones_like(way)
    np.divide(-np.expm1(-way), way, out=mean, where=np.abs(way) > 1e-12)
    return np.where(forward, math.exp(-along) * mean, mean)


def _half_sphere_nodes(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the nodes and weights of Gauss and Legendre on 0 to pi/2."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) * math.pi / 4, weights * math.pi / 4


def _chords(
    radius: float, beam_radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets u from the middle, half chords there, and weights du.

    u = m sin(psi) with the smaller radius m takes the square roots out of the ends.
    """
    lit = min(radius, beam_radius)
    psi, weights = _half_sphere_nodes(NODES)
    u = lit * np.sin(psi)
    return u, np.sqrt(radius**2 - u**2), weights * lit * np.cos(psi)


def _way_out(
    x: NDArray[np.float64], z: NDArray[np.float64], rest: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Return the way from points to the surface of a circle or sphere.

    The direction lies in the x-z plane, `angle` from z; `rest` is R² less the distance
    of the point from the middle squared.
    """
    along = x * math.sin(angle) + z * math.cos(angle)
    return np.asarray(np.sqrt(along**2 + rest) - along)


def _droplet_transmission(
    radius: float, beam_radius: float, attenuation: float
) -> Callable[[Vectors], NDArray[np.float64]]:
    rho, half, weights = (part[:, np.newaxis, np.newaxis] for part in _chords(radius, beam_radius))
    depth, depth_weights = np.polynomial.legendre.leggauss(NODES)
    azimuth = (np.arange(AZIMUTHS) + 0.5) * (2 * math.pi / AZIMUTHS)
    z = half * depth[:, np.newaxis]
    x = rho * np.cos(azimuth)
    weight = weights * rho * half * depth_weights[:, np.newaxis] * np.ones(AZIMUTHS)
    weight = weight / weight.sum()
    rest = half**2 - z**2
    angles = np.linspace(0, math.pi, DIRECTIONS)
    means = np.array(
        [
            (weight * np.exp(-attenuation * (half + z + _way_out(x, z, rest, angle)))).sum()
            for angle in angles
        ]
    )
    return lambda directions: np.interp(
        np.arctan2(np.hypot(directions[:, 0], directions[:, 1]), directions[:, 2]), angles, means
    )


def _jet_transmission(
    radius: float, beam_radius: float, attenuation: float
) -> Callable[[Vectors], NDArray[np.float64]]:
    u, half, weights = _chords(radius, beam_radius)
    # Both signs of u: the way out depends on the side.
    x = np.concatenate([u, -u])[:, np.newaxis]
    half = np.concatenate([half, half])[:, np.newaxis]
    height = np.sqrt(np.maximum(beam_radius**2 - x**2, 0.0))
    depth, depth_weights = np.polynomial.legendre.leggauss(NODES)
    z = half * depth
    weight = np.concatenate([weights, weights])[:, np.newaxis] * height * half * depth_weights
    weight = weight / weight.sum()
    rest = half**2 - z**2
    angles = np.linspace(0, math.pi, DIRECTIONS)
    elevations = np.linspace(0, math.pi / 2, (DIRECTIONS + 1) // 2)
    # At elevation pi/2 the way along the endless jet has no end; 1e-9 stands for cos = 0.
    stretch = 1 / np.maximum(np.cos(elevations), 1e-9)
    means = np.empty((len(angles), len(elevations)))
    for row, angle in enumerate(angles):
        out = _way_out(x, z, rest, float(angle))
        for column, factor in enumerate(stretch):
            ways = half + z + factor * out
            means[row, column] = (weight * np.exp(-attenuation * ways)).sum()
    table = RegularGridInterpolator((angles, elevations), means)

    def look_up(directions: Vectors) -> NDArray[np.float64]:
        across = np.abs(np.arctan2(directions[:, 0], directions[:, 2]))
        elevation = np.arcsin(np.minimum(np.abs(directions[:, 1]), 1.0))
        return np.asarray(table(np.stack([across, elevation], axis=-1)))

    return look_up
