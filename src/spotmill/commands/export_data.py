"""Write frames of datasets in the layouts that other programs read: paper, cxi, webdataset."""

import argparse
import json
import sys
from pathlib import Path

from spotmill.commands.arguments import whole
from spotmill.errors import SpotmillError

DESCRIPTIONS = {
    "paper": r"""Write frames as the tree of Everett & Kurth: one HDF5 file a frame and kind.

Example::

    spotmill export paper --datasets 01 02 --output tree

Files are images/{peaks,labels,peaks_water_overlay,water}/01/01_6keV_clen01_000001.h5, with the
attributes clen, photon_energy and peak. Stopped, it goes on when the command is repeated.
""",
    "cxi": r"""Write frames as CXI files with their true peaks, a geometry and lists for CrystFEL.

Example::

    spotmill export cxi --sides test --output for_crystfel

Then, in for_crystfel: indexamajig -i 01_test.lst -g 01.geom --peaks=cxi ...
Stopped, it goes on when the command is repeated.
""",
    "webdataset": r"""Write frames as tar files of samples in the WebDataset convention.

Example::

    spotmill export webdataset --output shards

Each tar has frames of one side of the split (train-000000.tar ...), shuffled; each sample its
images, true spots, whether it is a hit, and its conditions. Stopped, it goes on when the
command is repeated.
""",
}
KINDS = ("overlay", "peaks", "labels", "water")
USUAL_KINDS = {
    "paper": ("peaks", "labels", "overlay", "water"),
    "cxi": ("overlay",),
    "webdataset": ("overlay",),
}
SIDES = ("train", "validation", "test")
FRAMES_PER_FILE = {"cxi": 1000, "webdataset": 256}
USUAL_COMPRESSION = {"paper": "gzip", "cxi": "gzip", "webdataset": "none"}
MOST_FRAMES = 1_000_000


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of `spotmill export NAME`."""
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (results)"
    )
    parser.add_argument(
        "--datasets", nargs="+", default=[], metavar="NAME", help="of these datasets (all)"
    )
    parser.add_argument(
        "--split",
        type=Path,
        help="split of a task (.parquet): its frames on its sides, which matters for tasks that "
        "hold datasets out (default: all frames, on the sides that all other tasks share)",
    )
    parser.add_argument(
        "--sides", nargs="+", choices=SIDES, default=list(SIDES), help="of these sides (all)"
    )
    usual = " ".join(USUAL_KINDS[name])
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=list(USUAL_KINDS[name]),
        help=f"images to write ({usual})",
    )
    if name == "paper":
        parser.add_argument(
            "--names",
            choices=("figure", "code"),
            default="figure",
            help="names of files as in the paper's figure 6 (figure), or as its programs write "
            "them, overlay_img_6keV_clen01_00001.h5 (code)",
        )
    else:
        most = FRAMES_PER_FILE[name]
        parser.add_argument(
            "--frames-per-file",
            type=whole("--frames-per-file", 1, MOST_FRAMES),
            default=most,
            help=f"frames in a file at most ({most})",
        )
    parser.add_argument(
        "--compression",
        choices=("gzip", "none"),
        default=USUAL_COMPRESSION[name],
        help=f"of images ({USUAL_COMPRESSION[name]})",
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON, for machines")
    parser.add_argument("--output", type=Path, required=True, help="new folder to write")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill export` for frames."""
    from spotmill.export.choice import choose
    from spotmill.export.reader import Reader
    from spotmill.export.run import Exported, hand_over

    kinds = [kind for kind in KINDS if kind in args.kinds]
    if args.format == "cxi" and kinds == ["water"]:
        raise SpotmillError("--kinds: water has no frames; add overlay, peaks or labels")
    choice = choose(args.results, args.datasets, args.sides, args.split)
    compress = args.compression == "gzip"
    with Reader(choice) as reader:
        layout: Exported
        if args.format == "paper":
            from spotmill.export.paper import Paper

            layout = Paper(choice, reader, kinds, args.names, compress)
        elif args.format == "cxi":
            from spotmill.export.cxi import Cxi

            layout = Cxi(choice, reader, kinds, args.frames_per_file, compress)
        else:
            from spotmill.export.webdataset import WebDataset

            layout = WebDataset(choice, reader, kinds, args.frames_per_file, compress)
        record = hand_over(layout, reader, args.output, args.format, kinds, tell)
    if args.json:
        print(json.dumps(record, indent=1))


def tell(line: str) -> None:
    """Say a line on stderr, so that stdout is for machines."""
    print(line, file=sys.stderr, flush=True)
