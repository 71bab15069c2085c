r"""Draw water photons over peaks, or alone.

Example::

    spotmill overlay --water water.h5 --peaks peaks.h5 --seed 1 --output overlay.h5
    spotmill overlay --water water.h5 --first 10000000 --count 20 --seed 1 --output empty.h5

The photons of the water are drawn anew for every frame from its expected image; a stack of
measured blank frames (`spotmill background --frames`) in its place gives one of them to
every frame. Without `--peaks` the frames hold no crystal. What the detector adds of its own
(hot and noisy pixels, stray particles) is taken from the response that the water was made
with.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.commands.arguments import add_frames, add_output, add_randomise
from spotmill.commands.background import draw_blank
from spotmill.commands.simulate import check_range
from spotmill.commands.water import expected_image
from spotmill.concepts import Beam, Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Header, Shard, write_shard
from spotmill.formats.geom import parse_geometry
from spotmill.model import parse_yaml, read_text
from spotmill.physics.artefacts import Artefacts
from spotmill.physics.conditions import (
    CONDITIONS,
    Conditions,
    dead_panels,
    draw_conditions,
    frame_mask,
    moved,
)
from spotmill.physics.geometry import Detector
from spotmill.physics.photons import Exposure, PhotonSampler, stream
from spotmill.randomise import Randomise
from spotmill.recipes import RECIPES

# Adds the background photons of one frame (identity, conditions) and returns their number.
Draw = Callable[[Exposure, tuple[int, str, int], Conditions], int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill overlay`."""
    parser.add_argument(
        "--water", type=Path, required=True, help="expected background, or stack of blanks (.h5)"
    )
    parser.add_argument("--peaks", type=Path, help="drawn peaks (.h5); none: empty frames")
    add_randomise(parser)
    add_frames(parser, required=False)
    add_output(parser, "drawn peaks and water (.h5)")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill overlay`."""
    with Shard(args.water) as water:
        if water.header.content not in ("water", "blank"):
            raise SpotmillError(
                f"{args.water}: holds {water.header.content}, not expected water; give that"
            )
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


def detector_of(shard: Shard) -> Detector:
    """Return the detector that a shard was made with."""
    header = shard.header
    geometry = parse_geometry(shard.parameter("detector"), f"{shard.path} (its detector)")
    return geometry.detector(clen=header.clen, photon_energy=header.photon_energy)


def response_of(shard: Shard) -> Response:
    """Return the detector response that a shard was made with."""
    text = shard.header.parameters.get("response")
    source = f"{shard.path} (its response)"
    return Response() if text is None else Response.parse(parse_yaml(text, source), source)


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
    measured = "measured" in water.header.parameters
    if not measured and response_of(peaks) != response_of(water):
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different responses; remake the older"
        )
    # A measured background may lack pixels that the detector has, never the reverse.
    same = (water.mask == peaks.mask) | (measured & peaks.mask)
    if water.shape[1:] != peaks.shape[1:] or not same.all():
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different detectors; remake the older"
        )


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


def background(water: Shard, randomise: Randomise) -> Draw:
    """Return how the background of a frame is drawn."""
    if water.header.content == "blank":
        if randomise.moves_geometry or randomise.scales_background:
            raise SpotmillError(
                f"{water.path}: holds measured frames, which stay as they are; "
                "randomise neither photon energy, geometry, flux nor background"
            )
        return blank_background(water)
    if randomise.moves_geometry:
        return moving_background(water)
    sampler = PhotonSampler(np.where(water.mask, water.read(0), 0))

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        factor = conditions.flux * conditions.background
        return sampler.expose(exposure, stream(*identity, "background"), factor)

    return draw


def blank_background(stack: Shard) -> Draw:
    """Return how the background is drawn from a stack of measured blank frames."""

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        blank = draw_blank(stack, stream(*identity, "blank"))
        exposure.add(blank)
        return int(blank.sum(dtype=np.int64))

    return draw


def moving_background(water: Shard) -> Draw:
    """Return how the background is drawn when every frame has its own energy or geometry."""
    made_with = water.header.parameters
    if "solvent" not in made_with:
        raise SpotmillError(
            f"{water.path}: is a measured background, which stays where it was measured; "
            "randomise neither photon energy nor geometry"
        )
    beam = Beam.parse(parse_yaml(made_with["beam"], water.path), water.path)
    solvent = Solvent.parse(parse_yaml(made_with["solvent"], water.path), water.path)
    detector, response = detector_of(water), response_of(water)

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        there = moved(detector, conditions)
        image = expected_image(there, response, conditions.photon_energy, beam, solvent)
        mean = np.where(water.mask, image, 0) * (conditions.flux * conditions.background)
        counts = stream(*identity, "background").poisson(mean)
        exposure.add(counts)
        return int(counts.sum())

    return draw


def write(
    args: argparse.Namespace, water: Shard, peaks: Shard | None, indices: NDArray[np.int64]
) -> None:
    """Draw the frames and write them."""
    randomise = Randomise.read(args.randomise) if args.randomise else Randomise()
    if (
        peaks
        and Randomise.parse(
            parse_yaml(peaks.header.parameters.get("randomise", "{}"), peaks.path), peaks.path
        )
        != randomise
    ):
        raise SpotmillError(f"{peaks.path}: was made with another --randomise; give the same file")
    draw_background = background(water, randomise)
    detector = detector_of(water)
    artefacts = Artefacts(detector, response_of(water))
    header = make_header(args, water, peaks)
    dtype = header.count_dtype
    exposure = Exposure(water.mask, dtype, header.saturation)
    bragg = np.empty(peaks.shape[1:], peaks.dtype) if peaks else None
    counted = np.zeros((2, len(indices)), dtype=np.int64)
    drawn_conditions = []
    with write_shard(args.output, header, indices, water.shape[1:], dtype, water.mask) as shard:
        for position, index in enumerate(indices.tolist()):
            identity = (args.seed, header.dataset, index)
            conditions = draw_conditions(randomise, header.photon_energy, header.clen, *identity)
            drawn_conditions.append(conditions)
            exposure.clear()
            counted[0, position] = draw_background(exposure, identity, conditions)
            pixel, count = artefacts.draw(stream(*identity, "artefacts"))
            live = frame_mask(detector, randomise, identity)
            if live is not None:
                counted[0, position] -= exposure.image[~live].sum(dtype=np.int64)
                exposure.image[~live] = 0
                count = np.where(live.ravel()[pixel], count, 0)
            counted[1, position] = exposure.add_at(pixel, count)
            if peaks:
                signal = peaks.read(position, bragg)
                exposure.add(signal if live is None else np.where(live, signal, 0))
            shard.put(index, exposure.image)
        columns: dict[str, NDArray[Any]] = {
            "background_photons": counted[0],
            "artefacts": counted[1],
        }
        if randomise.masks_panels:
            columns["dead_panels"] = np.array(
                [
                    dead_panels(detector, randomise, (args.seed, header.dataset, index))
                    for index in indices.tolist()
                ],
                dtype=np.uint8,
            )
        if peaks:
            columns |= {name: peaks.column(name) for name in peaks.columns() if name != "index"}
        else:
            columns |= {
                name: np.array([getattr(conditions, name) for conditions in drawn_conditions])
                for name in CONDITIONS
            }
        units = dict.fromkeys(("background_photons", "artefacts", "photons"), "photons")
        shard.set_columns(columns, units)
