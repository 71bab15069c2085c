"""Compare the engines `integrated` and `lattice`: mean photons over orientations.

    OMP_NUM_THREADS=1 python benchmarks/engines.py [--orientations 1024] [--sizes 50 100 200 400]

Both make frames as `spotmill simulate` does, for quaternions that are Sobol points on SO(3),
scrambled anew for each of eight sets. The detector's pixels and the wavelengths are as fine as
the crystal's fringes need; a beamstop hides the few strong spots near the beam, which would make
the means noisy. Photons are counted per unit cell, for `lattice` holds whole cells only. Small
crystals need fewer pixels and get more orientations; `integrated`, far quicker and noisier, gets
the most. The interval is 1.96 standard errors, from the spread of the sets.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from spotmill.concepts import Beam, Crystal
from spotmill.formats.reflections import read_reflections
from spotmill.physics.conditions import Conditions
from spotmill.physics.diffraction import ReflectionTable, reflection_table
from spotmill.physics.engines import LatticeSum
from spotmill.physics.geometry import Detector, Panel, max_scattering, scattering_magnitude
from spotmill.physics.lattice import FRIEDEL, intensity_transform, whole_cells
from spotmill.physics.pattern import Scene, make_pattern
from spotmill.physics.reflections import expand_to_hemisphere, reciprocal_basis
from spotmill.physics.units import ANGSTROM, wavenumber_from_photon_energy

ROOT = Path(__file__).resolve().parent.parent
ENERGY, BANDWIDTH, CLEN, FACE = 7000.0, 0.01, 0.15, 0.12
HIDDEN = 0.1  # |s| up to which the beamstop hides, 1/Å
SETS = 8
CHEAP = 32768
FINER = 0.9  # of the fringes' width, between samples


def face(edge: float, pixel: float, clen: float) -> Detector:
    """Return a square face around the beam, its middle hidden."""
    n = round(edge / pixel)
    corner = np.array([-n / 2 * pixel, -n / 2 * pixel, clen])
    panel = Panel("p", 0, n - 1, 0, n - 1, corner, *(pixel * np.eye(3)[:2]))
    bare = Detector((panel,), (n, n), np.ones((n, n), bool), clen, None, 1.0)
    s = scattering_magnitude(bare, 1 / wavenumber_from_photon_energy(ENERGY))
    return replace(bare, mask=s > HIDDEN)


def make_scenes(
    table: ReflectionTable, size: float, edge: float = FACE, clen: float = CLEN
) -> tuple[Scene, Scene]:
    """Return the scene of each engine for a crystal with this edge, m."""
    k = wavenumber_from_photon_energy(ENERGY) * (1 + BANDWIDTH / 2)
    detector = face(edge, 4 * FINER * clen / (k / ANGSTROM * size), clen)
    reach = max_scattering(detector, 1 / k)
    n = int(np.ceil(reach * size / ANGSTROM * BANDWIDTH / FINER)) + 1
    transform = intensity_transform(table.hkl, table.intensity, FRIEDEL)
    integrated = Scene(
        detector,
        [(0.0, 1.0)],
        lambda detector, energy, pixel: np.ones(len(pixel)),
        table.within(1.02 * reach),
        Beam(nphotons=1e12, beam_radius=1e-6, bandwidth=BANDWIDTH),
        Crystal.parse({"name": "crystal", "structure": "none", "size": size}, "benchmark"),
    )
    return integrated, replace(integrated, engine=LatticeSum(transform, n))


def orientations(set_number: int, count: int) -> np.ndarray:
    """Return quaternions [count, 4] spread evenly over SO(3) (Shoemake, Graphics Gems III)."""
    u, v, w = qmc.Sobol(3, rng=np.random.default_rng(set_number)).random(count).T
    v, w = 2 * np.pi * v, 2 * np.pi * w
    low, high = np.sqrt(1 - u), np.sqrt(u)
    return np.stack([low * np.sin(v), low * np.cos(v), high * np.sin(w), high * np.cos(w)], -1)


def mean_photons(scene: Scene, count: int, first_set: int) -> tuple[float, float]:
    """Return the photons of a frame, mean over so many orientations, and its standard error."""
    conditions = Conditions(ENERGY, scene.detector.clen, 0, 0, 0, 0, 1, 1, 1)
    means = []
    for number in range(first_set, first_set + SETS):
        quaternions = orientations(number, count // SETS)
        frames = (make_pattern(scene, conditions, (1, "b", 0), q) for q in quaternions)
        means.append(np.mean([frame.image.sum(dtype=np.float64) for frame in frames]))
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(SETS))


def compare(
    table: ReflectionTable, size: float, count: int, cheap: int, **place: float
) -> tuple[float, float]:
    """Return lattice / integrated, photons per unit cell, and its standard error.

    `count` orientations for `lattice`, `cheap` for `integrated`: SETS times a power of two.
    """
    integrated, lattice = make_scenes(table, size, **place)
    closed, closed_error = mean_photons(integrated, cheap, 0)
    summed, summed_error = mean_photons(lattice, count, SETS)
    cells = np.prod(whole_cells(np.linalg.inv(table.axes).T, size * (1 + 1e-9)))
    share = cells * integrated.cell_volume / (size / ANGSTROM) ** 3
    ratio = summed / closed / share
    return ratio, ratio * float(np.hypot(closed_error / closed, summed_error / summed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--orientations", type=int, default=1024, help="from 200 nm down four times as many"
    )
    parser.add_argument("--sizes", type=float, nargs="+", default=[50, 100, 200, 400], help="nm")
    args = parser.parse_args()
    reflections = read_reflections(ROOT / "resources" / "1ic6.mtz")
    axes = reciprocal_basis(reflections.cell)
    table = reflection_table(*expand_to_hemisphere(reflections), axes)
    print(f"1IC6, {ENERGY:g} eV, {BANDWIDTH:.0%} top-hat, {FACE} m face at {CLEN} m", end=", ")
    print(f"|s| > {HIDDEN} 1/Å; n for integrated: {CHEAP}\n")
    print("| edge, nm | n | lattice / integrated | 95 % interval |\n|---|---|---|---|")
    for size in args.sizes:
        count = min(args.orientations * (4 if size <= 200 else 1), CHEAP)
        ratio, error = compare(table, size * 1e-9, count, CHEAP)
        low, high = ratio - 1.96 * error, ratio + 1.96 * error
        print(f"| {size:g} | {count} | {ratio:.4f} | {low:.4f} to {high:.4f} |", flush=True)


if __name__ == "__main__":
    main()
