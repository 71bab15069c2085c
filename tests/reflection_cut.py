"""One reflection of a finite crystal as the Ewald sphere cuts it: an oracle for positions.

Near a reflection s with resonant wavenumber k0 and direction u0, a ray u0 + t (t across u0)
of wavenumber k has q - s = (k/k0 - 1) s + k t to first order, and the crystal's interference
function is the product of N_j^2 sinc^2(N_j a_j.(q - s)). What the band cuts out of it lies
where u0 says plus a displacement that this gives; only (s, k0, u0) are taken from the engine.
"""

import gzip
import json
import math
from dataclasses import dataclass

import numpy as np

from spotmill.formats.geom import read_geometry
from spotmill.physics.diffraction import Source, diffract, reflection_table, scale
from spotmill.physics.geometry import project
from spotmill.physics.orientations import turn_axes
from spotmill.physics.reflections import reciprocal_basis
from spotmill.physics.spectrum import tophat

CELL = (67.288, 67.288, 106.582, 90.0, 90.0, 90.0)
SAMPLES = 4  # within a pixel, along each edge
OFFSET = 0.125  # px: pattern_sim's sub-pixel samples lie so far from the pixel's centre
BEAM = {"s": (1e12, 1e-6, 150e-9), "m": (3e8, 5e-6, 1e-6), "p": (3e8, 5e-6, 10e-6)}


@dataclass(frozen=True)
class Case:
    """A frame of pattern_sim [ss, fs] and what the integrated engine says of it."""

    image: np.ndarray
    detector: object
    light: Source
    spots: object
    direct: np.ndarray  # [3, 3] rows a, b, c as turned, Å
    cells: tuple[int, int, int]
    fs: np.ndarray
    ss: np.ndarray


def reference_hemisphere(shared):
    """Return hkl and |F|^2 that the frames were made with, one of each Friedel pair of 4/mmm."""
    with gzip.open(shared / "reference/pattern_sim/1ic6_solvent.hkl.gz", "rt") as handle:
        rows = [line.split() for line in handle]
    rows = [row for row in rows[3:] if len(row) == 7]
    hkl = np.array([[int(x) for x in row[:3]] for row in rows])
    intensity = np.array([float(row[3]) for row in rows])
    every = []
    for order in ((0, 1, 2), (1, 0, 2)):
        for signs in np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T:
            every.append(hkl[:, order] * signs)
    hkl = np.concatenate(every)
    unique, first = np.unique(hkl, axis=0, return_index=True)
    upper = np.array([tuple(row) > (0, 0, 0) for row in unique.tolist()])
    return unique[upper], np.tile(intensity, 16)[first][upper]


def read_case(shared, name: str, hemisphere) -> Case:
    """Read a frame of ../shared/reference/pattern_sim and predict its spots."""
    folder = shared / "reference/pattern_sim"
    entry = next(e for e in json.loads((folder / "index.json").read_text()) if name in e["file"])
    energy, clen = entry["energy_eV"], entry["clen_m"]
    stored = np.load(folder / entry["file"])
    image = np.zeros(int(np.prod(stored["shape"])))
    image[stored["index"]] = stored["value"]
    path = folder / f"Eiger4M_{energy}eV_{round(100 * clen)}cm.geom"
    detector = read_geometry(path).detector(clen=clen, photon_energy=energy)
    axes = reciprocal_basis(CELL)
    volume = 1 / abs(np.linalg.det(axes))
    nphotons, radius, size = BEAM[name[0]]
    cells = tuple(math.floor(size * 1e10 / edge) for edge in CELL[:3])
    factor = scale(nphotons / (math.pi * radius**2), math.prod(cells) * volume * 1e-30, volume)
    light = Source(tophat(energy, 0.01), factor, None)
    turned = turn_axes(axes, stored["quaternion_wxyz"].astype(np.float64))
    spots = diffract(reflection_table(*hemisphere, axes), turned, light)
    _, fs, ss = project(detector, spots.direction)
    direct = np.linalg.inv(turned).T
    return Case(image.reshape(stored["shape"]), detector, light, spots, direct, cells, fs, ss)


def wavenumbers(case: Case) -> np.ndarray:
    """Return pattern_sim's seven samples of a top-hat: the inner points of eight steps."""
    band = case.light.spectrum
    return band.low + (band.high - band.low) * np.arange(1, 8) / 8


def box(case: Case, row: int, half: int) -> tuple[slice, slice] | None:
    """Return the pixels (ss, fs) around a spot, or None where they leave the image."""
    first = int(case.ss[row]) - half, int(case.fs[row]) - half
    last = np.add(first, 2 * half)
    if min(first) < 0 or case.fs[row] < 0 or (last >= case.image.shape).any():
        return None
    return slice(first[0], first[0] + 2 * half + 1), slice(first[1], first[1] + 2 * half + 1)


def cut(case: Case, row: int, where: tuple[slice, slice]) -> np.ndarray:
    """Return the photons [ss, fs] that a reflection puts into the pixels, from its closed form."""
    k0, s, ray = (getattr(case.spots, n)[row] for n in ("wavenumber", "s", "direction"))
    e1 = np.cross(ray, [0.0, 1.0, 0.0])
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(ray, e1)
    small = 1e-4
    centre = np.array([case.fs[row], case.ss[row]])
    steps = [
        (np.ravel(project(case.detector, (ray + small * e)[None])[1:]) - centre) / small
        for e in (e1, e2)
    ]
    angles = np.linalg.inv(np.stack(steps, axis=1))  # radians across the ray per pixel
    inner = (np.arange(SAMPLES) + 0.5) / SAMPLES
    n = where[0].stop - where[0].start
    v = (where[0].start + np.arange(n)[:, None] + inner).ravel() - centre[1]
    u = (where[1].start + np.arange(n)[:, None] + inner).ravel() - centre[0]
    offset = np.stack(np.meshgrid(u, v), axis=-1) @ angles.T
    across = offset[..., :1] * e1 + offset[..., 1:] * e2
    total = np.zeros(across.shape[:2])
    for k in wavenumbers(case):
        x = ((k / k0 - 1) * s + k * across) @ case.direct.T
        total += np.prod(np.sinc(x * np.array(case.cells)) ** 2, axis=-1) / 7
    pixels = total.reshape(n, SAMPLES, n, SAMPLES).mean(axis=(1, 3)) * abs(np.linalg.det(angles))
    # photons = fluence r_e^2 |F|^2 sum N^2: the closed form is scale |F|^2 p / (|s|^2 / 2) with
    # scale = fluence r_e^2 N / V.
    density = case.light.spectrum.density(np.array([k0]))[0]
    per_scale = case.spots.photons[row] * (s @ s / 2) / density
    volume = abs(np.linalg.det(case.direct))
    return per_scale * volume * math.prod(case.cells) * pixels


def centroid(pixels: np.ndarray, where: tuple[slice, slice]) -> np.ndarray:
    """Return (fs, ss) of the photons' mean position, in data-array coordinates."""
    v, u = (np.arange(part.start, part.stop) + 0.5 for part in where)
    return np.array([(pixels * u).sum(), (pixels * v[:, None]).sum()]) / pixels.sum()
