r"""Choose frames and write them, lossless, for the gallery of the report.

Example::

    spotmill gallery --manifest results/manifest/all.parquet \
        --geometry results/images/01.geom results/images/02.geom \
        --map results/map/frames.parquet --evaluation results/evaluation/hit \
        --split results/splits/hit.parquet --output results/report/gallery

Writes a folder of scripts that the report opens without a network: `index.js` lists the frames
with small pictures, every other has one frame: its photons, true spots, found peaks and where
its pixels are. Which frames depends on their identity, on the answers that were most wrong, and
on which frames of the map are odd.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import whole
from spotmill.config import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill gallery`."""
    usual = Report()
    parser.add_argument("--manifest", type=Path, required=True, help="of all datasets (.parquet)")
    parser.add_argument(
        "--geometry",
        type=Path,
        nargs="+",
        required=True,
        help="geometry of every dataset, named after it (DATASET.geom)",
    )
    parser.add_argument("--map", type=Path, help="map of frames, for odd ones (.parquet)")
    parser.add_argument(
        "--evaluation", type=Path, nargs="*", default=[], help="evaluation folder of every task"
    )
    parser.add_argument(
        "--split", type=Path, nargs="*", default=[], help="split of every task (TASK.parquet)"
    )
    parser.add_argument(
        "--frames",
        type=whole("--frames", 1, 10_000),
        default=usual.gallery_frames,
        help=f"frames at most ({usual.gallery_frames})",
    )
    parser.add_argument(
        "--bytes",
        type=whole("--bytes", 1000, 10**10),
        default=usual.gallery_bytes,
        help=f"bytes of all frames at most ({usual.gallery_bytes})",
    )
    parser.add_argument(
        "--min-photons",
        type=whole("--min-photons", 1, 10**9),
        default=5,
        help="drawn photons from which a spot counts (5)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill gallery`."""
    from spotmill.gallery.answers import read_answers
    from spotmill.gallery.build import build, count_frames, write

    answers = read_answers(args.evaluation, args.split)
    geometries = {path.stem: path for path in args.geometry}
    gallery = build(
        args.manifest, geometries, answers, args.frames, args.bytes, args.min_photons, args.map
    )
    write(gallery, args.output)
    size = sum(len(text.encode()) for text in gallery.values())
    print(f"{args.output}: {count_frames(gallery)} frames, {size} bytes")
