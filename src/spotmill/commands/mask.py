r"""Find hot, noisy and dead pixels in many frames, and write them as a mask.

Examples::

    spotmill mask run7/ --output mask.h5 --geometry detector.geom
    spotmill predict run7/ --models results/models --output predicted \
        --geometry detector.geom --mask mask.h5

Reads what `spotmill predict` reads, a sample of the frames, evenly spread. One frame cannot tell a
sharp spot from a hot pixel; many can, for spots of crystals rarely meet the same pixel. Frames
should show many orientations: the spots of a crystal that stands still are taken for hot pixels.

In the mask 0 is good; the bits are those of NXmx: 1 dead, 3 hot, 4 noisy, and 5 for what masks,
geometry or files call bad already.

Ends with 0 where all was read; with 3 where some files or frames could not be read; with 1 where
nothing could be done, and then nothing is written; with 2 where the arguments are wrong.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from spotmill.commands.arguments import add_output, whole
from spotmill.commands.given_arguments import (
    add_given_arguments,
    check_names,
    check_output,
    check_sources,
    given_by,
)
from spotmill.errors import SpotmillError

SOME_FAILED = 3
MOST_TOLD = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill mask`."""
    parser.add_argument(
        "sources", metavar="FRAMES", nargs="+", type=Path, help="files, folders or .lst lists"
    )
    add_output(parser, "HDF5 file to write")
    parser.add_argument(
        "--frames",
        type=whole("--frames", 20, 65535),
        default=300,
        metavar="N",
        help="frames to read, evenly spread (300)",
    )
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=1.0,
        metavar="N",
        help="good pixels that may be called bad, expected in the whole mask (1)",
    )
    add_given_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--picture", type=Path, help="PNG of the mean frame, bad pixels marked")


def run(args: argparse.Namespace) -> int:
    """Run `spotmill mask`; return 0, or 3 where some frames could not be read."""
    from spotmill.cli import one_line

    if not 0 < args.false_alarms <= 1e6:
        raise SpotmillError(
            f"--false-alarms: {args.false_alarms!r} is not above 0 and at most 1e6; correct it"
        )
    check_sources(args.sources)
    check_output("--output", args.output)
    if args.picture is not None:
        check_output("--picture", args.picture)
    check_names(args)
    given = given_by(args)
    from spotmill.formats.pixel_mask import write_mask
    from spotmill.inference.pixel_mask import find_mask

    failures: list[str] = []

    def refused(path: Path, event: int | None, why: str) -> None:
        if why not in failures:
            failures.append(why)

    try:
        found = find_mask(args.sources, given, args.frames, args.false_alarms, refused)
    except SpotmillError as error:
        # The only reason is the error itself.
        raise SpotmillError(failures[0]) if len(failures) == 1 else error from error
    for why in failures[:MOST_TOLD]:
        print(f"spotmill mask: error: {one_line(why)}", file=sys.stderr)
    said = {**found.said, "failed": len(failures)}
    write_mask(args.output, found.mask, found.said)
    if args.picture is not None:
        from spotmill.inference.mask_picture import draw_mask

        draw_mask(args.picture, found)
    print(json.dumps(said, indent=1) if args.json else "\n".join(told(said, args)))
    return SOME_FAILED if failures else 0


def told(said: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """Return lines that say what was found."""
    from spotmill.physics.pixel_flaws import SELDOM

    dark = said["too_dark_to_tell_dead"] / max(said["pixels"] - said["known"], 1)
    lines = [
        f"frames {said['frames']} of {said['frames_in_all']}, pixels {said['pixels']}: "
        f"hot {said['hot']}, noisy {said['noisy']}, dead {said['dead']}, "
        f"known before {said['known']}; by chance at most {said['false_alarms']:g} of them"
    ]
    if dark >= 0.005:
        lines.append(
            "dead pixels cannot be told where others count in fewer than "
            f"{said['lit_frames_to_tell_dead']:.0f} frames: {100 * dark:.0f} % of the pixels; more "
            "frames (--frames) tell more"
        )
    if said["frames"] < said["frames_to_tell_noisy"]:
        lines.append(
            "hot and noisy pixels that are bright now and then are missed: of those that are in "
            f"one of {1 / SELDOM:.0f} frames, {said['frames_to_tell_noisy']} frames tell; give as "
            "many (--frames)"
        )
    if said["adu_per_photon_by"] == "scatter":
        lines.append(
            f"the counts scatter as {said['adu_per_photon']:.3g} a photon; state it if it is known "
            "(--adu-per-photon)"
        )
    return [*lines, f"written: {args.output}; give it to predict and watch as --mask"]
