r"""Make a list of |F|^2 from a structure, or convert one.

Examples::

    spotmill reflections pdb:1IC6 --d-min 1.8 --output 1ic6.mtz
    spotmill reflections model.cif --d-min 2 --output model.mtz --hkl model.hkl
    spotmill reflections --crystal config/crystals/proteinase_k.yaml --output 1ic6.mtz

STRUCTURE is a PDB or mmCIF file, an MTZ file, a CrystFEL .hkl (with --cell-file), or
pdb:1IC6, which is fetched and cached; without it, the crystal file's `structure` is used.
"""

import argparse
import hashlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from spotmill.concepts import Crystal
from spotmill.errors import SpotmillError
from spotmill.recipes import RECIPES

if TYPE_CHECKING:
    from spotmill.physics.reflections import Reflections

FINEST, COARSEST = 0.5, 50.0  # Å


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `spotmill reflections`."""
    parser.add_argument(
        "structure",
        metavar="STRUCTURE",
        nargs="?",
        help=".pdb, .ent, .cif, .mmcif, .mtz or .hkl file, or pdb:1IC6",
    )
    parser.add_argument(
        "--d-min",
        type=float,
        metavar="Å",
        help="resolution limit; else the crystal file's, else the list's own",
    )
    parser.add_argument("--output", required=True, metavar="MTZ", help="MTZ file to write")
    parser.add_argument("--hkl", metavar="HKL", help="CrystFEL reflection list to write too")
    parser.add_argument("--cell-output", metavar="CELL", help="CrystFEL cell file to write too")
    parser.add_argument("--cell-file", metavar="CELL", help="CrystFEL cell file of a .hkl")
    parser.add_argument(
        "--crystal", metavar="YAML", help="crystal file whose cell and space group must agree"
    )
    parser.add_argument(
        "--sha256", metavar="HEX", help="digest of STRUCTURE, checked before it is used"
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        default="results/structures",
        help="where fetched entries are kept (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill reflections`."""
    from spotmill.formats.atomic import make_folder
    from spotmill.formats.cell import write_cell
    from spotmill.formats.reflections import write_hkl, write_mtz

    crystal = Crystal.read(args.crystal) if args.crystal else None
    source = args.structure or (crystal.structure if crystal else None)
    if source is None:
        raise SpotmillError("STRUCTURE: is required; name it, or a crystal file with --crystal")
    if not args.output.lower().endswith(".mtz"):
        raise SpotmillError(f"{args.output}: --output: must end in .mtz")
    _check_source(source, args.sha256 or (crystal.sha256 if crystal else None))
    named = [source, args.output, args.hkl, args.cell_output, args.cell_file, args.crystal]
    for path in filter(None, named):
        if named.count(path) > 1:
            raise SpotmillError(f"{path}: is named twice, once to be written; choose another name")
    reflections = _make(source, args, crystal, _d_min(args, crystal))
    history = [
        f"spotmill reflections: recipe {RECIPES['reflections']}",
        f"spotmill reflections: from {os.path.basename(source)[:50]}",  # noqa: PTH119
    ]
    for path in (args.hkl, args.cell_output, args.output):
        if path:
            make_folder(path)
    if args.hkl:
        write_hkl(args.hkl, reflections)
    if args.cell_output:
        write_cell(args.cell_output, reflections)
    # Last, as whoever finds the MTZ file takes the command for finished.
    write_mtz(args.output, reflections, history)


def _check_source(source: str, sha256: str | None) -> None:
    """Raise SpotmillError for a web address, or a file that has another digest than promised."""
    if source.lower().startswith(("http://", "https://")):
        raise SpotmillError(
            f"{source}: is an address, which only the workflow fetches; fetch it, name its file"
        )
    if sha256 is None:
        return
    if not Path(source).is_file():
        raise SpotmillError(f"{source}: no such file; check the name and the folder")
    with Path(source).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise SpotmillError(
            f"{source}: sha256: is {found}, not {sha256}; the file has changed or is damaged:"
            " look at it, then correct the crystal file"
        )


def _d_min(args: argparse.Namespace, crystal: Crystal | None) -> float | None:
    if args.d_min is None:
        return crystal.d_min if crystal else None
    if not (math.isfinite(args.d_min) and FINEST <= args.d_min <= COARSEST):
        raise SpotmillError(
            f"--d-min: {args.d_min:g} is not between {FINEST:g} and {COARSEST:g} Å; give it in Å"
        )
    return float(args.d_min)


def _make(
    source: str, args: argparse.Namespace, crystal: Crystal | None, d_min: float | None
) -> "Reflections":
    from spotmill.formats.reflections import is_reflection_list, read_reflections
    from spotmill.physics.reflections import check_same_crystal

    cell_file = args.cell_file or (crystal.cell_file if crystal else None)
    space_group = crystal.space_group if crystal else None
    if is_reflection_list(source):
        is_mtz = source.lower().endswith(".mtz")
        reflections = read_reflections(source, cell_file, d_min, None if is_mtz else space_group)
    elif cell_file:
        raise SpotmillError(f"{cell_file}: --cell-file: goes with a .hkl only; leave it out")
    else:
        reflections = _from_structure(source, args.cache, d_min)
    if crystal:
        check_same_crystal(
            source,
            reflections.cell,
            reflections.space_group,
            args.crystal,
            crystal.cell,
            crystal.space_group,
        )
    return reflections


def _from_structure(source: str, cache: str, d_min: float | None) -> "Reflections":
    from spotmill.formats.fetch import PDB_URL, fetch, is_entry
    from spotmill.formats.structures import read_structure
    from spotmill.physics.structure_factors import from_structure

    if d_min is None:
        raise SpotmillError(f"{source}: --d-min: is required with a structure; give it in Å")
    path = source
    if is_entry(source):
        path = str(fetch(source, cache, os.environ.get("SPOTMILL_PDB_URL", PDB_URL)))
    structure = read_structure(path)
    try:
        return from_structure(structure, d_min)
    except SpotmillError as error:
        raise SpotmillError(f"{source}: {error}") from error
