"""Arguments of commands that put models to frames: which models, and what is known of frames."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError
from spotmill.plain_files import check_plain


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which models to use, where they run, and what they give besides tables."""
    parser.add_argument("--models", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--tasks", nargs="+", help="names of the models to use, one a target")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument(
        "--threads", type=whole("--threads", 1, 1024), default=1, help="processor cores (default 1)"
    )
    parser.add_argument(
        "--cell", type=Path, help="CrystFEL cell file: also the faint peaks that lie on its lattice"
    )
    parser.add_argument(
        "--pictures",
        type=whole("--pictures", 0, 100_000),
        default=0,
        metavar="N",
        help="draw the first N hits, peaks circled",
    )


def check_models(args: argparse.Namespace) -> None:
    """Check the models and the cell that the arguments name, as far as that takes no torch.

    Raises
    ------
    SpotmillError
        When it is not clear which models to use, a card is damaged, or the cell cannot be read.
    """
    from spotmill.inference.chosen_models import choose

    choose(args.models, args.tasks)
    if args.cell is not None:
        from spotmill.formats.cell import read_cell

        read_cell(args.cell)


def check_sources(paths: Sequence[Path]) -> None:
    """Raise SpotmillError where nothing of what is named to be read is there."""
    if any(os.path.lexists(path) for path in paths):
        return
    try:
        check_plain(paths[0])
    except SpotmillError as error:
        others = f"; nor is any of the {len(paths) - 1} others there" if len(paths) > 1 else ""
        raise SpotmillError(f"{error}{others}") from error


def check_names(args: argparse.Namespace) -> None:
    """Raise SpotmillError where a file that arguments name is not there; opens none."""
    for name in ("geometry", "mask", "cell"):
        path = getattr(args, name, None)
        if path is not None:
            check_plain(path)


def check_output(flag: str, path: Path) -> None:
    """Raise SpotmillError where a file cannot be written, as far as its folder tells."""
    if os.path.isdir(path):  # noqa: PTH112
        raise SpotmillError(f"{flag}: {path} is a folder; name a file to write")
    check_folder(path.parent, flag)


def check_folder(folder: Path, flag: str = "--output") -> None:
    """Raise SpotmillError where a folder can neither be made nor written into."""
    places = (folder, *folder.absolute().parents)
    # What lies in a locked folder cannot even be looked at.
    place = next(one for one in places if os.path.exists(one))  # noqa: PTH110
    if not place.is_dir():
        raise SpotmillError(f"{flag}: {place} is a file; name a folder to write")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SpotmillError(
            f"{flag}: {place} cannot be written; check its permissions, or name another place"
        )


def pipeline_of(args: argparse.Namespace) -> Any:
    """Return the models that the arguments name (`inference.pipeline.Pipeline`).

    Raises
    ------
    SpotmillError
        When a model or the cell cannot be read.
    """
    from spotmill.inference.faint import Faint
    from spotmill.inference.pipeline import Pipeline

    pipeline = Pipeline.load(args.models, args.device, args.tasks)
    if args.cell is None:
        return pipeline
    return replace(pipeline, faint=Faint.of_cell(args.cell))


def add_given_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a user may know of frames beforehand."""
    parser.add_argument("--geometry", type=Path, help="CrystFEL geometry file of the frames")
    parser.add_argument("--mask", type=Path, help="image file; pixels that are not 0 are bad")
    parser.add_argument("--mask-good", action="store_true", help="in the mask, 0 is bad instead")
    parser.add_argument("--data", help="place of the frames in HDF5 files, if unusual")
    energy = parser.add_mutually_exclusive_group()
    energy.add_argument("--photon-energy", type=float, help="eV")
    energy.add_argument("--wavelength", type=float, help="angstrom")
    parser.add_argument(
        "--clen", type=float, help="camera length, m: 80 mm is 0.08 (coffset is added)"
    )
    parser.add_argument("--pixel-size", type=float, help="m: 75 µm is 75e-6")
    parser.add_argument(
        "--beam-centre",
        nargs=2,
        type=float,
        metavar=("FS", "SS"),
        help="of the beam, pixels (the first covers 0 to 1)",
    )
    parser.add_argument("--saturation", type=float, help="counts from which a pixel is saturated")
    parser.add_argument("--adu-per-photon", type=float, help="counts of one photon (default 1)")


def given_by(args: argparse.Namespace) -> Any:
    """Return what the arguments say of all frames (`inference.stated.Given`).

    Raises
    ------
    SpotmillError
        When a value cannot be true, or geometry or mask cannot be read.
    """
    import numpy as np

    from spotmill.formats.geom import read_geometry
    from spotmill.inference.events import read_mask
    from spotmill.inference.stated import Given
    from spotmill.physics.units import photon_energy_from_wavelength

    if args.mask_good and args.mask is None:
        raise SpotmillError("--mask-good: goes with --mask; give that, too")
    energy = args.photon_energy
    if args.wavelength is not None:
        energy = photon_energy_from_wavelength(args.wavelength)
    mask = None
    if args.mask is not None:
        mask = read_mask(args.mask, args.mask_good)
    return Given(
        photon_energy=energy,
        clen=args.clen,
        pixel_size=args.pixel_size,
        beam_centre=None if args.beam_centre is None else tuple(args.beam_centre),
        saturation=args.saturation,
        adu_per_photon=args.adu_per_photon,
        geometry=None if args.geometry is None else read_geometry(args.geometry),
        mask=None if mask is None else np.asarray(mask),
        mask_source=str(args.mask or ""),
        data=args.data,
    )
