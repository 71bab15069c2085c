r"""Drop-in for CrystFEL's pattern_sim: its options, its files, its numbers where asked for.

Takes the options of CrystFEL 0.10.2's program and 0.9.1's --photon-energy,
--beam-bandwidth and --beam, and writes the same HDF5. Without --as-pattern-sim the image is
that of the `lattice` engine (exact interference function, centred samples, polarisation).
docs/from-pattern-sim.md lists every difference.

Example::

    spotmill pattern-sim -g detector.geom -p 1IC6.cell -i 1ic6.hkl -y 4/mmm -r --seed=1 \
        --min-size=150 --max-size=150 -s 7 -n 10 -o sim
"""

import argparse
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from spotmill import __version__
from spotmill.commands.pattern_sim_options import add_options
from spotmill.errors import SpotmillError
from spotmill.formats import pattern_sim as files
from spotmill.formats import pattern_sim_inputs as inputs
from spotmill.formats.geom import Geometry, read_geometry
from spotmill.formats.point_groups import as_array, point_group_operations
from spotmill.physics import lattice, pattern_sim
from spotmill.physics import pattern_sim_spectra as spectra
from spotmill.physics.geometry import Detector
from spotmill.physics.orientations import random_quaternion, turn_axes, unit_quaternion
from spotmill.physics.photons import PhotonSampler, stream
from spotmill.physics.reflections import find_space_group, rotations
from spotmill.physics.units import (
    ANGSTROM,
    check_photon_energy,
    wavenumber_from_photon_energy,
)
from spotmill.progress import print_beside, track

# CrystFEL's: a geometry file without a bandwidth means this one.
MONOCHROMATIC = 1e-8

INTENSITY_WITHOUT_LIST = 100.0
CELLS_WITHOUT_SIZE = (8, 8, 8)

# Beyond these a number is a slip of the pen, or of its unit.
LARGEST_SIZE = 1e6  # nm
LARGEST_BACKGROUND = 1e9  # photons per pixel

# The powder pattern is brought up to date at pattern 1 and every so many after it.
POWDER_EVERY = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pattern_sim`, and ours."""
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    """Simulate the patterns."""
    _check(args)
    job = _prepare(args)
    seed = secrets.randbits(63) if args.really_random else args.seed
    orientations = _orientations(args, job, seed)
    powder = np.zeros(job.detector.shape)
    for number in track(range(1, args.number + 1), "pattern-sim", "pattern"):
        pattern = _pattern(args, job, seed, number, next(orientations))
        if not args.no_images:
            name = _name(args, number)
            files.write_pattern(name, job.data, pattern)
            print_beside(f"{name}: {pattern.image.sum(dtype=np.float64):.6g}")
        if args.powder:
            powder += pattern.image
            if number % POWDER_EVERY == 1 or number == args.number:
                files.write_image(args.powder, job.data, powder)


@dataclass(frozen=True)
class _Job:
    """What all patterns have in common; lengths in Å but for the beam and the detector."""

    detector: Detector
    data: str
    axes: NDArray[np.float64]
    transform: lattice.Transform
    photon_energy: float
    wavenumber: float
    bandwidth: float
    nphotons: float
    beam_radius: float
    spectrum: spectra.Spectrum | None


def _check(args: argparse.Namespace) -> None:
    """Refuse contradictory options before anything is read."""
    if args.number < 1:
        raise SpotmillError(f"--number: {args.number}: give 1 or more")
    if (args.min_size is None) != (args.max_size is None):
        raise SpotmillError("--min-size, --max-size: give both, or neither for 8 x 8 x 8 cells")
    if args.min_size is not None and not 0 < args.min_size <= args.max_size:
        raise SpotmillError("--min-size: must be above 0 and at most --max-size (nm)")
    if args.max_size is not None and args.max_size > LARGEST_SIZE:
        raise SpotmillError(f"--max-size: {args.max_size:g} nm is too large; give nm")
    if not 0 <= args.background <= LARGEST_BACKGROUND:
        raise SpotmillError(
            f"--background: {args.background} is not between 0 and {LARGEST_BACKGROUND:g}; "
            "give photons per pixel"
        )
    for flag in ("--sase-spike-width", "--twocol-separation"):
        value = getattr(args, flag[2:].replace("-", "_"))
        if not 0 < value < float("inf"):
            raise SpotmillError(f"{flag}: {value} is not above 0; give 1/m")
    if (args.spectrum == "fromfile") != (args.spectrum_file is not None):
        raise SpotmillError(
            "--spectrum-file: goes with --spectrum=fromfile only; give both or neither"
        )
    if args.random_orientation and args.template:
        raise SpotmillError("-r, --template: choose one source of orientations")
    if args.seed < 0:
        raise SpotmillError(f"--seed: {args.seed}: give 0 or more")
    for name in [args.powder, *([] if args.no_images else [_name(args, 1)])]:
        if name:
            files.check_name(name)
    if args.gpu or args.gpu_dev is not None:
        print("--gpu has no effect: the images are computed on one CPU core", file=sys.stderr)


def _name(args: argparse.Namespace, number: int) -> str:
    if args.number == 1:
        return args.output or "sim.h5"
    return f"{args.output or 'sim'}-{number}.h5"


def _prepare(args: argparse.Namespace) -> _Job:
    geometry = read_geometry(args.geometry)
    beam = {"nphotons": 1e12, "beam_radius": 1e-6, "bandwidth": MONOCHROMATIC}
    beam |= _stated(geometry)
    if args.beam:
        beam |= inputs.read_beam(args.beam)
    options = {
        "photon_energy": args.photon_energy,
        "bandwidth": args.beam_bandwidth,
        "nphotons": args.nphotons,
        "beam_radius": args.beam_radius,
    }
    beam |= {key: value for key, value in options.items() if value is not None}
    if "photon_energy" not in beam:
        raise SpotmillError(f"{args.geometry}: has no photon_energy; add it or --photon-energy")
    _check_beam(beam)
    energy = check_photon_energy(beam["photon_energy"])
    convert = pattern_sim.wavenumber if args.as_pattern_sim else wavenumber_from_photon_energy
    wavenumber = convert(energy)
    cell, space_group = inputs.read_cell_or_pdb(args.pdb)
    spectrum = None
    if args.spectrum == "fromfile":
        energies, weights = inputs.read_spectrum(args.spectrum_file)
        spectrum = spectra.tabulated(energies * (wavenumber / energy), weights)
    return _Job(
        detector=geometry.detector(photon_energy=energy),
        data=geometry.panels[0].data,
        # gemmi's orthogonalisation: a along x, b in the xy plane, as in CrystFEL.
        axes=np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T,
        transform=_transform(args, cell, args.space_group or space_group),
        wavenumber=wavenumber,
        spectrum=spectrum,
        **beam,
    )


def _stated(geometry: Geometry) -> dict[str, float]:
    """Return what the geometry file says of the beam."""
    stated = {"photon_energy": geometry.photon_energy, "bandwidth": geometry.bandwidth}
    return {key: value for key, value in stated.items() if value is not None}


def _check_beam(beam: dict[str, float]) -> None:
    limits = {"nphotons": (0, 1e20), "beam_radius": (0, 1), "bandwidth": (0, 1)}
    for key, (low, high) in limits.items():
        if not low < beam[key] < high:
            raise SpotmillError(
                f"{key}: {beam[key]:g} is not between {low:g} and {high:g}; correct it"
            )


def _transform(
    args: argparse.Namespace, cell: inputs.Cell, space_group: str | None
) -> lattice.Transform:
    if args.intensities is None:
        return lattice.uniform_transform(INTENSITY_WITHOUT_LIST)
    listed = inputs.read_intensities(args.intensities)
    group = as_array(point_group_operations(args.symmetry or listed.symmetry))
    try:
        if args.gradients != "phased":
            return lattice.intensity_transform(listed.hkl, listed.intensity, group)
        if args.as_pattern_sim:
            angle = np.nan_to_num(listed.phase)
            parts = listed.intensity * np.array([np.cos(angle), np.sin(angle)])
            return lattice.expand(listed.hkl, parts, group)
        if space_group is None:
            raise SpotmillError("phases need the space group; give --space-group or a PDB file")
        found = find_space_group(space_group, cell)
        translations = np.array([op.tran for op in found.operations().sym_ops]) / gemmi.Op.DEN
        friedel = bool((group == -np.eye(3)).all(axis=(1, 2)).any())
        return lattice.amplitude_transform(
            listed.hkl, listed.intensity, listed.phase, rotations(found), translations, friedel
        )
    except SpotmillError as error:
        raise SpotmillError(f"{args.intensities}: {error}") from error


def _orientations(
    args: argparse.Namespace, job: _Job, seed: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield quaternion and turned axes a, b, c of pattern after pattern."""
    if args.template:
        for axes in inputs.stream_axes(args.template):
            yield np.full(4, np.nan), _reciprocal(axes)
        raise SpotmillError(f"{args.template}: has fewer crystals than --number")
    drawn: Iterator[NDArray[np.float64]]
    if args.random_orientation:
        drawn = (
            random_quaternion(stream(seed, "pattern-sim", number, "orientation"))
            for number in range(1, args.number + 1)
        )
    else:
        drawn = inputs.quaternions(sys.stdin, "standard input")
    for number, quaternion in enumerate(drawn, start=1):
        where = f"orientation {number}"
        if args.as_pattern_sim:
            yield quaternion, pattern_sim.turn_axes(job.axes, quaternion, where)
        else:
            yield quaternion, turn_axes(job.axes, unit_quaternion(quaternion, where))
    raise SpotmillError("standard input: ended early; give a line w x y z for each pattern, or -r")


def _reciprocal(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(axes).T, dtype=np.float64)


def _pattern(
    args: argparse.Namespace,
    job: _Job,
    seed: int,
    number: int,
    orientation: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> files.Pattern:
    quaternion, axes = orientation
    cells = _cells(args, axes, stream(seed, "pattern-sim", number, "size"))
    spectrum = _spectrum(args, job, stream(seed, "pattern-sim", number, "spectrum"))
    expected = _expected(args, job, axes, cells, spectrum)
    image = _measured(args, job, expected, stream(seed, "pattern-sim", number, "photons"))
    grid = np.linspace(spectrum.low, spectrum.high, files.SPECTRUM_POINTS)
    return files.Pattern(
        image=image,
        photon_energy=job.photon_energy,
        wavelength=1 / job.wavenumber,
        spectrum_wavelengths=1 / grid,
        spectrum_density=spectrum.density(grid) * ANGSTROM,
        quaternion=quaternion,
        reciprocal_axes=_reciprocal(axes),
        parameters={
            "program": f"spotmill pattern-sim {__version__}",
            "as_pattern_sim": args.as_pattern_sim,
            "seed": seed,
            "number": number,
            "cells": cells,
            "clen": job.detector.clen,
            "photon_energy": job.photon_energy,
            "bandwidth": job.bandwidth,
            "nphotons": job.nphotons,
            "beam_radius": job.beam_radius,
            "spectrum": args.spectrum,
            "sample_spectrum": args.sample_spectrum,
            "gradients": args.gradients,
            "fringes": _fringes(args),
            "noise": not args.no_noise,
            "background": args.background,
        },
    )


def _fringes(args: argparse.Namespace) -> lattice.Fringes:
    return "flat" if args.flat else "none" if args.no_fringes else "full"


def _cells(
    args: argparse.Namespace, axes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[int, int, int]:
    if args.min_size is None:
        return CELLS_WITHOUT_SIZE
    low, width = args.min_size * 1e-9, (args.max_size - args.min_size) * 1e-9
    edges = low + width * rng.random(3)
    return lattice.whole_cells(axes, (edges[0], edges[1], edges[2]))


def _spectrum(args: argparse.Namespace, job: _Job, rng: np.random.Generator) -> spectra.Spectrum:
    if job.spectrum is not None:
        return job.spectrum
    if args.spectrum == "tophat":
        return spectra.tophat(job.wavenumber, job.bandwidth)
    if args.spectrum == "gaussian":
        return spectra.gaussian(job.wavenumber, job.bandwidth)
    if args.spectrum == "twocolour":
        separation = args.twocol_separation * ANGSTROM
        return spectra.two_colour(job.wavenumber, job.bandwidth, separation)
    # The program documents 1/m and takes a fraction.
    unit = job.wavenumber if args.as_pattern_sim else ANGSTROM
    return spectra.sase(job.wavenumber, job.bandwidth, args.sase_spike_width * unit, rng)


def _expected(
    args: argparse.Namespace,
    job: _Job,
    axes: NDArray[np.float64],
    cells: tuple[int, int, int],
    spectrum: spectra.Spectrum,
) -> NDArray[np.float32]:
    """Return expected photons, [ss, fs]."""
    fluence = job.nphotons / (np.pi * job.beam_radius**2)
    cut = spectra.interior_points if args.as_pattern_sim else spectra.equal_shares
    samples = cut(spectrum, args.sample_spectrum)
    crystal = (job.detector, axes, cells, job.transform, *samples, fluence)
    kinds = {"gradients": args.gradients, "fringes": _fringes(args)}
    if args.as_pattern_sim:
        return pattern_sim.pattern_sim_image(*crystal, **kinds)
    limit = lattice.resolved_size(
        job.detector, samples[0], spectrum.high - spectrum.low, args.samples
    )
    if max(np.linalg.norm(axes, axis=1) * cells) * ANGSTROM > limit:
        print(
            f"the samples resolve crystals up to {limit * 1e9:.0f} nm: of this one they hit some "
            "spots and miss others; raise -s and --samples, or use `spotmill simulate`",
            file=sys.stderr,
        )
    image = lattice.lattice_image(
        *crystal, polarisation=args.polarisation, samples=args.samples, **kinds
    )
    return np.where(job.detector.mask, image, np.float32(0))


def _measured(
    args: argparse.Namespace, job: _Job, expected: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the image in ADU: noise, background, gain, saturation."""
    background = np.full(expected.shape, args.background)
    if not args.as_pattern_sim:
        background *= job.detector.mask
    image = expected.astype(np.float64)
    if not args.no_noise:
        image = PhotonSampler(image + background).draw(rng).astype(np.float64)
    elif args.as_pattern_sim:
        # The program draws its background even where it was told to draw no noise.
        image += rng.poisson(background)
    else:
        image += background
    image *= job.detector.adu_per_photon
    if job.detector.max_adu is not None:
        image = np.minimum(image, job.detector.max_adu)
    return image.astype(np.float32)
