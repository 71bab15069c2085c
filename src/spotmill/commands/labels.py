r"""Mark the pixels that hold Bragg photons.

Example::

    spotmill labels --peaks peaks.h5 --threshold 1 --output labels.h5

A label is 1 where the drawn peaks hold at least `--threshold` photons, else 0.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from spotmill.commands.arguments import add_output, whole
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard, write_shard
from spotmill.progress import track
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill labels`."""
    parser.add_argument("--peaks", type=Path, required=True, help="drawn peaks (.h5)")
    parser.add_argument(
        "--threshold",
        type=whole("--threshold", 1, 2**32 - 1),
        default=1,
        help="photons that make a label (1)",
    )
    add_output(parser, "labels (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill labels`."""
    with Shard(args.peaks) as peaks:
        if peaks.header.content != "peaks" or peaks.dtype.kind != "u":
            raise SpotmillError(
                f"{args.peaks}: holds {peaks.header.content}, not drawn peaks; give those"
            )
        header = replace(
            peaks.header,
            content="labels",
            recipe=RECIPES["labels"],
            parameters={
                "threshold": args.threshold,
                "peaks": dict(peaks.header.parameters),
                "peaks_recipe": peaks.header.recipe,
            },
        )
        with write_shard(
            args.output, header, peaks.indices, peaks.shape[1:], np.uint8, peaks.mask
        ) as shard:
            photons = np.empty(peaks.shape[1:], peaks.dtype)
            label = np.empty(peaks.shape[1:], bool)
            for position, index in enumerate(track(peaks.indices.tolist(), header.dataset)):
                np.greater_equal(peaks.read(position, photons), args.threshold, out=label)
                shard.put(index, label.view(np.uint8))
