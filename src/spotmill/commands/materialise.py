r"""Draw the images of a virtual overlay into a stored one.

Example::

    spotmill materialise results/images/peaks_water_overlay/02/p00000.h5 --output p00000.h5

The file has the bytes that `spotmill overlay` writes without `--virtual`. To turn whole
datasets over, set `overlays: stored` in the configuration and run the workflow.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_output
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.overlays.opener import is_virtual
from spotmill.overlays.virtual import VirtualShard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill materialise`."""
    parser.add_argument("overlay", type=Path, help="virtual overlay (.h5)")
    add_output(parser, "stored overlay (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill materialise`."""
    if not is_virtual(args.overlay):
        with Shard(args.overlay):
            raise SpotmillError(f"{args.overlay}: holds its images already; use it as it is")
    with VirtualShard(args.overlay) as shard:
        shard.materialise(args.output)
