"""Measure the `lattice` engine: time of a full Eiger 4M, agreement with the closed form.

    OMP_NUM_THREADS=1 python benchmarks/lattice.py [--orientations 2048] [--sizes 50 150]

CrystFEL 0.10.2's pattern_sim needs 78 CPU-seconds for one wavelength sample on the same
detector and 545 for seven (measured once, on one core; not run here).
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
from scipy.stats import qmc

from spotmill.formats.reflections import read_reflections
from spotmill.physics import diffraction, lattice, pattern_sim
from spotmill.physics import pattern_sim_spectra as spectra
from spotmill.physics.geometry import Detector, Panel, project
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.photons import stream
from spotmill.physics.reflections import expand_to_hemisphere
from spotmill.physics.units import (
    ANGSTROM,
    CLASSICAL_ELECTRON_RADIUS,
    wavenumber_from_photon_energy,
)

ROOT = Path(__file__).resolve().parent.parent
ENERGY, BANDWIDTH, NPHOTONS, BEAM_RADIUS = 7000.0, 0.01, 1e12, 1e-6
CLEN = 0.25
SETS = 8  # of orientations, to tell the error of their mean
FLUENCE = NPHOTONS / (np.pi * BEAM_RADIUS**2)


def face(clen: float, pixel: float = 75e-6) -> Detector:
    """Return the face of an Eiger 4M (162 x 155 mm) in square pixels of a given edge, m."""
    shape = (round(2163 * 75e-6 / pixel), round(2069 * 75e-6 / pixel))
    corner = [-pixel * shape[1] / 2, -pixel * shape[0] / 2, clen]
    panel = Panel("p", 0, shape[1] - 1, 0, shape[0] - 1, np.array(corner), *(pixel * np.eye(3)[:2]))
    return Detector((panel,), shape, np.ones(shape, bool), clen, None, 1.0)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the least CPU time of a call, after one that compiles."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def time_table(axes: np.ndarray, transform: lattice.Transform) -> None:
    detector = face(CLEN)
    turned = turn_axes(axes, random_quaternion(stream(1, "benchmark", 0, "orientation")))
    cells = lattice.whole_cells(turned, 150e-9)
    band = spectra.tophat(wavenumber_from_photon_energy(ENERGY), BANDWIDTH)
    print("| engine | gradients | wavelengths | samples a pixel | CPU-seconds |")
    print("|---|---|---|---|---|")
    for gradients, n in (("mosaic", 1), ("mosaic", 7), ("interpolate", 1)):
        light = spectra.equal_shares(band, n)
        spent = seconds(
            lambda light=light, gradients=gradients: lattice.lattice_image(
                detector, turned, cells, transform, *light, FLUENCE, gradients=gradients
            )
        )
        print(f"| lattice | {gradients} | {n} | 16 | {spent:.2f} |")
    light = spectra.interior_points(band, 1)
    spent = seconds(
        lambda: pattern_sim.pattern_sim_image(detector, turned, cells, transform, *light, FLUENCE),
        repeats=1,
    )
    print(f"| lattice, as pattern_sim | mosaic | 1 | 16 | {spent:.2f} |")
    print("| CrystFEL 0.10.2 pattern_sim | mosaic | 1 | 16 | 78 (not run here) |")


def spread_orientations(set_number: int, count: int) -> np.ndarray:
    """Return quaternions [count, 4] spread evenly over SO(3): Sobol points, scrambled anew a set.

    Map from the unit cube: Shoemake, Graphics Gems III, 1992.
    """
    u, v, w = qmc.Sobol(3, rng=np.random.default_rng(set_number)).random(count).T
    v, w = 2 * np.pi * v, 2 * np.pi * w
    low, high = np.sqrt(1 - u), np.sqrt(u)
    return np.stack([low * np.sin(v), low * np.cos(v), high * np.sin(w), high * np.cos(w)], -1)


def closed_form_mean(
    detector: Detector, hkl: np.ndarray, intensity: np.ndarray, axes: np.ndarray
) -> float:
    """Return the photons per unit cell on the detector, averaged over all orientations.

    A reflection turned evenly about the origin meets k with the density |s| / (2 k^2) in k
    (half of it for each of a Friedel pair); what it then scatters falls evenly around the
    cone, of which the detector holds a part.
    """
    s = np.linalg.norm(hkl @ np.linalg.inv(axes).T, axis=1)
    k = wavenumber_from_photon_energy(ENERGY) * (1 + BANDWIDTH * (np.arange(-4, 5) / 9))
    azimuth = (np.arange(3600) + 0.5) / 3600 * 2 * np.pi
    cones = np.linspace(0, 0.6, 3001)
    held = []
    for two_theta in cones:
        ray = np.stack(
            [
                np.sin(two_theta) * np.cos(azimuth),
                np.sin(two_theta) * np.sin(azimuth),
                np.full(azimuth.size, np.cos(two_theta)),
            ],
            axis=-1,
        )
        factor = diffraction.polarisation_factor(ray, 1.0)
        held.append(np.mean(factor * (project(detector, ray)[0] >= 0)))
    total = 0.0
    for wavenumber in k:
        two_theta = 2 * np.arcsin(np.minimum(s / (2 * wavenumber), 1))
        share = np.interp(two_theta, cones, held, right=0.0)
        total += float((intensity / (s**2 / 2) * s / (2 * wavenumber**2) * share).sum()) / k.size
    electron = CLASSICAL_ELECTRON_RADIUS / ANGSTROM
    return FLUENCE * ANGSTROM**2 * electron**2 * total / abs(float(np.linalg.det(axes)))


def lattice_mean(
    axes: np.ndarray, transform: lattice.Transform, size: float, orientations: int
) -> tuple[float, float]:
    """Return the same of the lattice engine, and its standard error.

    Sampled finely enough to hold every fringe: |L|^2 has none narrower than 1/size, and
    0.8 of it lies between samples on the detector (four a pixel) and over the band.
    """
    wavenumber = wavenumber_from_photon_energy(ENERGY)
    detector = face(CLEN, 4 * 0.8 * CLEN / (wavenumber * 1e10 * size))
    # |s| reaches 0.19 1/Å on the face.
    n = int(np.ceil(0.19 * size * 1e10 * BANDWIDTH / 0.8)) + 1
    light = spectra.equal_shares(spectra.tophat(wavenumber, BANDWIDTH), n)
    cells = lattice.whole_cells(axes, size)
    means = []
    for number in range(SETS):
        totals = []
        for quaternion in spread_orientations(number, orientations // SETS):
            turned = turn_axes(axes, quaternion)
            image = lattice.lattice_image(detector, turned, cells, transform, *light, FLUENCE)
            totals.append(image.sum(dtype=float) / np.prod(cells))
        means.append(np.mean(totals))
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(SETS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orientations", type=int, default=2048, help="0 to leave this part out")
    parser.add_argument("--sizes", type=float, nargs="+", default=[25, 50, 100, 150], help="nm")
    args = parser.parse_args()
    reflections = read_reflections(ROOT / "resources" / "1ic6.mtz")
    hkl, intensity = expand_to_hemisphere(reflections)
    transform = lattice.intensity_transform(hkl, intensity, lattice.FRIEDEL)
    axes = np.array(gemmi.UnitCell(*reflections.cell).orth.mat.tolist()).T
    print(f"{platform.machine()}, one core, Eiger 4M (2163 x 2069), 1IC6, 150 nm, 7 keV\n")
    time_table(axes, transform)
    if not args.orientations:
        return
    closed = closed_form_mean(face(CLEN), hkl, intensity, axes)
    print(f"\nmean photons over {args.orientations} orientations, 1 % top-hat, {CLEN} m\n")
    print("| edge, nm | lattice / closed form | standard error |")
    print("|---|---|---|")
    for size in args.sizes:
        mean, spread = lattice_mean(axes, transform, size * 1e-9, args.orientations)
        print(f"| {size:g} | {mean / closed:.4f} | {spread / closed:.4f} |", flush=True)


if __name__ == "__main__":
    main()
