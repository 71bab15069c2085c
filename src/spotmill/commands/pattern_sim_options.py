"""The options of `spotmill pattern-sim`: CrystFEL's, with its defaults, and ours."""

import argparse
from pathlib import Path

from spotmill.commands.arguments import LARGEST_SEED, whole
from spotmill.errors import SpotmillError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pattern_sim`, and ours."""
    _add_inputs(parser)
    _add_physics(parser)
    ours = parser.add_argument_group("not in CrystFEL")
    ours.add_argument(
        "--as-pattern-sim", action="store_true", help="compute CrystFEL 0.10.2's own numbers"
    )
    ours.add_argument(
        "--samples",
        type=whole("--samples", 1, 64),
        default=4,
        help="samples along each edge of a pixel",
    )
    ours.add_argument(
        "--polarisation",
        type=_fraction_or_none,
        default=1.0,
        help="fraction polarised along x, or `none` (default 1)",
    )
    ours.add_argument("--space-group", help="for --gradients=phased, where -p is a cell file")


def _fraction_or_none(text: str) -> float | None:
    try:
        value = None if text == "none" else float(text)
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value <= 1:
        raise SpotmillError(
            f"--polarisation: {text[:40]!r} is not `none` or a fraction; give 0 to 1"
        )
    return value


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-g", "--geometry", type=Path, required=True, help="CrystFEL geometry file")
    add("-p", "--pdb", type=Path, default=Path("molecule.pdb"), help="cell file or PDB file")
    add("-i", "--intensities", type=Path, help="CrystFEL reflection list (|F|^2)")
    add("-y", "--symmetry", help="point group of the list (default: what the list says)")
    add("-o", "--output", help="image, or its stem for several (default sim.h5, sim)")
    add("-n", "--number", type=whole("--number", 1, 10**9), default=1, help="patterns")
    add("-r", "--random-orientation", action="store_true", help="draw orientations")
    add("--template", type=Path, metavar="STREAM", help="take orientations from a stream")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument(
        "--seed",
        type=whole("--seed", 0, LARGEST_SEED),
        default=0,
        help="seed of all that is drawn (default 0)",
    )
    seeds.add_argument("--really-random", action="store_true", help="draw the seed; it is recorded")
    add("--powder", type=Path, help="write the sum of all patterns")
    add("--no-images", action="store_true", help="write no images but the powder")
    add("--gpu", action="store_true", help="accepted without effect")
    add("--gpu-dev", type=int, help="accepted without effect")


def _add_physics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-t", "--gradients", choices=("mosaic", "interpolate", "phased"), default="mosaic")
    add("--min-size", type=float, help="smallest edge of the crystal, nm")
    add("--max-size", type=float, help="largest edge of the crystal, nm")
    fringes = parser.add_mutually_exclusive_group()
    fringes.add_argument("--no-fringes", action="store_true", help="nothing beyond first minima")
    fringes.add_argument("--flat", action="store_true", help="N^2 up to first minima")
    add("--no-noise", action="store_true", help="write expected photons")
    add("--background", type=float, default=0.0, help="photons per pixel (default 0)")
    add(
        "-x",
        "--spectrum",
        "--type-spectrum",
        choices=("tophat", "gaussian", "sase", "twocolour", "fromfile"),
        default="tophat",
    )
    add(
        "-s",
        "--sample-spectrum",
        type=whole("--sample-spectrum", 1, 10**6),
        default=3,
        help="wavelength samples (default 3)",
    )
    add("--spectrum-file", type=Path, help="two columns, keV and weight")
    add("--sase-spike-width", type=float, default=2e6, help="1/m (default 2e6)")
    add("--twocol-separation", type=float, default=8e6, help="1/m (default 8e6)")
    add("--nphotons", type=float, help="photons in the pulse (default 1e12)")
    add("--beam-radius", type=float, help="m (default 1e-6)")
    add("--photon-energy", type=float, help="eV (default: the geometry file's)")
    add("--beam-bandwidth", type=float, help="full width (default: the geometry file's, or 1e-8)")
    add("--beam", type=Path, help="CrystFEL beam file (0.5 and before)")
