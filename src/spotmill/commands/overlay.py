r"""Draw water photons over peaks, or alone.

Example::

    spotmill overlay --water water.h5 --peaks peaks.h5 --seed 1 --output overlay.h5
    spotmill overlay --water water.h5 --first 10000000 --count 20 --seed 1 --output empty.h5

The photons of the water are drawn anew for every frame from its expected image; a stack of
measured blank frames (`spotmill background --frames`) in its place gives one of them to
every frame. Without `--peaks` the frames hold no crystal. What the detector adds of its own
(hot and noisy pixels, stray particles) is taken from the response that the water was made
with. With `--virtual` no image is written but what draws it, bit for bit, when it is read.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_frames, add_output, add_randomise
from spotmill.commands.simulate import check_range
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, Shard
from spotmill.model import read_text
from spotmill.overlays.drawing import (
    Drawing,
    check_belongs,
    check_content,
    check_randomise,
)
from spotmill.overlays.stored import write_stored
from spotmill.overlays.virtual import write_virtual
from spotmill.randomise import Randomise
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill overlay`."""
    parser.add_argument(
        "--water", type=Path, required=True, help="expected background, or stack of blanks (.h5)"
    )
    parser.add_argument("--peaks", type=Path, help="drawn peaks (.h5); none: empty frames")
    add_randomise(parser)
    add_frames(parser, required=False)
    parser.add_argument(
        "--virtual", action="store_true", help="write how to draw the images, not the images"
    )
    add_output(parser, "drawn peaks and water (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill overlay`."""
    with Shard(args.water) as water:
        check_content(water)
        if args.peaks:
            if args.first is not None or args.count is not None:
                raise SpotmillError(
                    "--first, --count: go without --peaks, which has its frames; leave them out"
                )
            with Shard(args.peaks) as peaks:
                check_belongs(peaks, water)
                write(args, water, peaks, peaks.indices)
        elif args.first is None or args.count is None:
            raise SpotmillError(
                "--peaks: is required, or --first and --count for empty frames; give either"
            )
        else:
            indices = check_range(water.header.dataset, args.first, args.count)
            write(args, water, None, indices)


def make_header(args: argparse.Namespace, water: Shard, peaks: Shard | None) -> Header:
    """Return the provenance of the shard."""
    parameters: dict[str, Any] = {"water": dict(water.header.parameters)}
    parameters["water_recipe"] = water.header.recipe
    if args.randomise:
        parameters["randomise"] = read_text(args.randomise)
    if peaks:
        parameters["peaks"] = dict(peaks.header.parameters)
        parameters["peaks_recipe"] = peaks.header.recipe
        parameters["peaks_seed"] = peaks.header.seed
    return Header(
        dataset=water.header.dataset,
        content="overlay",
        kind="crystal" if peaks else "empty",
        photon_energy=water.header.photon_energy,
        clen=water.header.clen,
        pixel_size=water.header.pixel_size,
        recipe=RECIPES["overlay"],
        seed=args.seed,
        parameters=parameters,
        saturation=water.header.saturation,
    )


def write(
    args: argparse.Namespace, water: Shard, peaks: Shard | None, indices: NDArray[np.int64]
) -> None:
    """Write the frames, drawn or to be drawn."""
    randomise = Randomise.read(args.randomise) if args.randomise else Randomise()
    if peaks:
        check_randomise(peaks, randomise)
    drawing = Drawing(water, randomise, args.seed)
    header = make_header(args, water, peaks)
    to_file = write_virtual if args.virtual else write_stored
    to_file(args.output, header, indices, drawing, peaks)
