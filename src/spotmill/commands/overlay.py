r"""Draw water photons over peaks, or alone.

Example::

    spotmill overlay --water water.h5 --peaks peaks.h5 --seed 1 --output overlay.h5
    spotmill overlay --water water.h5 --first 10000000 --count 20 --seed 1 --output empty.h5

The photons of the water are drawn anew for every frame from its expected image; without
`--peaks` the frames hold no crystal. With `--detector` and `--response`, those that the water
was made with, hot and noisy pixels and stray particles are added to every frame.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_frames, add_output
from spotmill.commands.simulate import check_range
from spotmill.config import Response
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, Shard, write_shard
from spotmill.formats.geom import read_geometry
from spotmill.model import parse_yaml, read_text
from spotmill.physics.artefacts import Artefacts
from spotmill.physics.photons import PhotonSampler, fit_counts, stream
from spotmill.recipes import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill overlay`."""
    parser.add_argument("--water", type=Path, required=True, help="expected water image (.h5)")
    parser.add_argument("--peaks", type=Path, help="drawn peaks (.h5); none: empty frames")
    parser.add_argument("--detector", type=Path, help="geometry file, goes with --response")
    parser.add_argument("--response", type=Path, help="detector response file (default: ideal)")
    add_frames(parser, required=False)
    add_output(parser, "drawn peaks and water (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill overlay`."""
    with Shard(args.water) as water:
        if water.header.content != "water":
            raise SpotmillError(f"{args.water}: holds {water.header.content}, not expected water")
        artefacts = read_artefacts(args, water)
        if args.peaks:
            if args.first is not None or args.count is not None:
                raise SpotmillError("--first, --count: go without --peaks, which has its frames")
            with Shard(args.peaks) as peaks:
                check_belongs(peaks, water)
                write(args, water, peaks, peaks.indices, artefacts)
        elif args.first is None or args.count is None:
            raise SpotmillError("--peaks: is required, or --first and --count for empty frames")
        else:
            indices = check_range(water.header.dataset, args.first, args.count)
            write(args, water, None, indices, artefacts)


def read_artefacts(args: argparse.Namespace, water: Shard) -> Artefacts | None:
    """Return what the detector adds to frames; None where the water was made for an ideal one."""
    made_with = water.header.parameters
    for name in ("detector", "response"):
        path = getattr(args, name)
        if path is None and "response" in made_with:
            raise SpotmillError(
                f"--{name}: is required, {args.water} was made with a response; give the same files"
            )
        if path is not None and read_text(path) != made_with.get(name):
            raise SpotmillError(
                f"{path}: is not the {name} that {args.water} was made with; remake the water"
            )
    if args.response is None:
        return None
    response = Response.parse(parse_yaml(read_text(args.response), args.response), args.response)
    detector = read_geometry(args.detector).detector(
        clen=water.header.clen, photon_energy=water.header.photon_energy
    )
    artefacts = Artefacts(detector, response)
    if not np.array_equal(artefacts.live, water.mask):
        raise SpotmillError(f"{args.water}: has another mask than its detector; remake the water")
    return artefacts


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
    responses = [shard.header.parameters.get("response") for shard in (peaks, water)]
    if responses[1] is not None and responses[0] != responses[1]:
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different responses; remake the older"
        )
    if not np.array_equal(peaks.mask, water.mask):
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different detectors; remake the older"
        )


def make_header(args: argparse.Namespace, water: Shard, peaks: Shard | None) -> Header:
    """Return the provenance of the shard."""
    parameters: dict[str, Any] = {"water": dict(water.header.parameters)}
    parameters["water_recipe"] = water.header.recipe
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
    args: argparse.Namespace,
    water: Shard,
    peaks: Shard | None,
    indices: NDArray[np.int64],
    artefacts: Artefacts | None,
) -> None:
    """Draw the frames and write them."""
    sampler = PhotonSampler(np.where(water.mask, water.read(0), 0))
    header = make_header(args, water, peaks)
    dtype = header.count_dtype
    background = np.zeros(len(indices), dtype=np.int64)
    stray = np.zeros(len(indices), dtype=np.int64)
    with write_shard(args.output, header, indices, water.shape[1:], dtype, water.mask) as shard:
        for position, index in enumerate(indices.tolist()):
            identity = (args.seed, water.header.dataset, index)
            drawn = sampler.draw(stream(*identity, "background"))
            background[position] = drawn.sum(dtype=np.int64)
            if artefacts:
                pixel, count = artefacts.draw(stream(*identity, "artefacts"))
                stray[position] = count.sum()
                np.add.at(drawn.ravel(), pixel, count.astype(drawn.dtype))
            if peaks:
                drawn += peaks.read(position)
            image, _ = fit_counts(drawn, dtype, header.saturation)
            shard.put(index, image)
        columns: dict[str, NDArray[Any]] = {"background_photons": background, "artefacts": stray}
        if peaks:
            columns |= {name: peaks.column(name) for name in peaks.columns() if name != "index"}
        shard.set_columns(
            columns, dict.fromkeys(("background_photons", "artefacts", "photons"), "photons")
        )
