r"""Draw water photons over peaks, or alone.

Example::

    spotmill overlay --water water.h5 --peaks peaks.h5 --seed 1 --output overlay.h5
    spotmill overlay --water water.h5 --first 10000000 --count 20 --seed 1 --output empty.h5

The photons of the water are drawn anew for every frame from its expected image; without
`--peaks` the frames hold no crystal.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_frames, add_output
from spotmill.commands.simulate import check_range
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, Shard, write_shard
from spotmill.physics.photons import PhotonSampler, fit_counts, stream
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill overlay`."""
    parser.add_argument("--water", type=Path, required=True, help="expected water image (.h5)")
    parser.add_argument("--peaks", type=Path, help="drawn peaks (.h5); none: empty frames")
    add_frames(parser, required=False)
    add_output(parser, "drawn peaks and water (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill overlay`."""
    with Shard(args.water) as water:
        if water.header.content != "water":
            raise SpotmillError(f"{args.water}: holds {water.header.content}, not expected water")
        if args.peaks:
            if args.first is not None or args.count is not None:
                raise SpotmillError("--first, --count: go without --peaks, which has its frames")
            with Shard(args.peaks) as peaks:
                check_belongs(peaks, water)
                write(args, water, peaks, peaks.indices)
        elif args.first is None or args.count is None:
            raise SpotmillError("--peaks: is required, or --first and --count for empty frames")
        else:
            indices = check_range(water.header.dataset, args.first, args.count)
            write(args, water, None, indices)


def check_belongs(peaks: Shard, water: Shard) -> None:
    """Raise SpotmillError unless peaks and water are of one dataset and detector."""
    if peaks.header.content != "peaks" or peaks.dtype.kind != "u":
        raise SpotmillError(
            f"{peaks.path}: holds no drawn peaks ({peaks.header.content}, {peaks.dtype}); "
            "simulate without --no-noise"
        )
    for name in ("dataset", "photon_energy", "clen", "pixel_size", "saturation"):
        left, right = getattr(peaks.header, name), getattr(water.header, name)
        if left != right:
            raise SpotmillError(
                f"{peaks.path} and {water.path}: {name} is {left!r} and {right!r}; "
                "give the water of the same dataset"
            )
    if not np.array_equal(peaks.mask, water.mask):
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different detectors; remake the older"
        )


def write(
    args: argparse.Namespace, water: Shard, peaks: Shard | None, indices: NDArray[np.int64]
) -> None:
    """Draw the frames and write them."""
    sampler = PhotonSampler(np.where(water.mask, water.read(0), 0))
    parameters: dict[str, Any] = {"water": dict(water.header.parameters)}
    parameters["water_recipe"] = water.header.recipe
    if peaks:
        parameters["peaks"] = dict(peaks.header.parameters)
        parameters["peaks_recipe"] = peaks.header.recipe
        parameters["peaks_seed"] = peaks.header.seed
    header = Header(
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
    dtype = header.count_dtype
    background = np.zeros(len(indices), dtype=np.int64)
    with write_shard(args.output, header, indices, water.shape[1:], dtype, water.mask) as shard:
        for position, index in enumerate(indices.tolist()):
            rng = stream(args.seed, water.header.dataset, index, "background")
            drawn = sampler.draw(rng)
            background[position] = drawn.sum(dtype=np.int64)
            if peaks:
                drawn += peaks.read(position)
            image, _ = fit_counts(drawn, dtype, header.saturation)
            shard.put(index, image)
        columns: dict[str, NDArray[Any]] = {"background": background}
        if peaks:
            columns |= {name: peaks.column(name) for name in peaks.columns() if name != "index"}
        shard.set_columns(columns, {"background": "photons", "photons": "photons"})
