"""The engines that `spotmill simulate` can be given, and their options."""

import argparse
from dataclasses import dataclass
from typing import Any

from spotmill.commands.engine_crystfel import PatternSim, find_program
from spotmill.concepts import Beam, Crystal
from spotmill.config import ENGINES, N_WAVELENGTHS
from spotmill.errors import SpotmillError
from spotmill.physics.engines import LatticeSum, check_perfect
from spotmill.physics.lattice import FRIEDEL, Transform, intensity_transform
from spotmill.physics.pattern import Engine, Integrated
from spotmill.physics.reflections import Reflections, expand_to_hemisphere


@dataclass(frozen=True)
class Made:
    """An engine, and what it depends on, for the provenance of a shard."""

    engine: Engine
    parameters: dict[str, Any]


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` and the options of the engines."""
    parser.add_argument(
        "--engine", choices=ENGINES, default="integrated", help="what computes the spots"
    )
    parser.add_argument(
        "--n-wavelengths",
        type=int,
        default=N_WAVELENGTHS,
        help=f"samples of the spectrum (lattice, crystfel; default {N_WAVELENGTHS})",
    )
    parser.add_argument(
        "--pattern-sim",
        metavar="PROGRAM",
        default="pattern_sim",
        help="CrystFEL's program, 0.10.2 or before (crystfel; default: pattern_sim of the PATH)",
    )
    parser.add_argument(
        "--pattern-sim-timeout",
        type=float,
        default=7200.0,
        help="seconds that the program may take for one crystal (crystfel; default 7200)",
    )


def check_engine(engine: str, beam: Beam, crystal: Crystal) -> None:
    """Raise SpotmillError where an engine cannot compute what beam and crystal ask for."""
    if engine != "integrated":
        check_perfect(engine, beam, crystal)


def make_engine(args: argparse.Namespace, reflections: Reflections) -> Made:
    """Return the engine that `--engine` names.

    Raises
    ------
    SpotmillError
        When an option is out of range, or there is no program to run.
    """
    if args.engine == "integrated":
        return Made(Integrated(), {"engine": "integrated"})
    if not 1 <= args.n_wavelengths <= 10_000:
        raise SpotmillError(f"--n-wavelengths: {args.n_wavelengths} is not between 1 and 10000")
    parameters = {"engine": args.engine, "n_wavelengths": args.n_wavelengths}
    transform = transform_of(reflections)
    if args.engine == "lattice":
        return Made(LatticeSum(transform, args.n_wavelengths), parameters)
    if not args.pattern_sim_timeout > 0:
        raise SpotmillError("--pattern-sim-timeout: give seconds, more than 0")
    program = find_program(args.pattern_sim)
    engine = PatternSim(
        program, reflections, transform, args.n_wavelengths, args.pattern_sim_timeout
    )
    return Made(engine, parameters | {"crystfel_version": program.version})


def transform_of(reflections: Reflections) -> Transform:
    """Return |F|^2 of all equivalents."""
    hkl, intensity = expand_to_hemisphere(reflections)
    return intensity_transform(hkl, intensity, FRIEDEL)
