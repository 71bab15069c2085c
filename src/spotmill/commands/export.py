r"""Hand trained models and datasets over to other programs.

Examples::

    spotmill export onnx --model results/models/hit --output hit.onnx
    spotmill export paper --datasets 01 02 --output tree
    spotmill export cxi --sides test --output for_crystfel
    spotmill export webdataset --output shards

`spotmill export FORMAT --help` tells more of each; docs/export.md what is in the files.
"""

import argparse

from spotmill.commands import export_data, export_onnx
from spotmill.errors import SpotmillError

FORMATS = {
    "onnx": ("a trained model, for ONNX Runtime and others", export_onnx),
    "paper": ("frames as one HDF5 file each, as Everett & Kurth laid them out", export_data),
    "cxi": ("frames as CXI files with their true peaks, for CrystFEL", export_data),
    "webdataset": ("frames as tar files of samples, for training", export_data),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill export`."""
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", title="formats")
    for name, (summary, module) in FORMATS.items():
        description = module.__doc__ if module is export_onnx else export_data.DESCRIPTIONS[name]
        own = formats.add_parser(
            name,
            help=summary,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module is export_onnx:
            export_onnx.add_arguments(own)
        else:
            export_data.add_arguments(own, name)
    # `spotmill export --model ...`, as it was before there were other formats.
    export_onnx.add_arguments(parser, shown=False)
    parser.add_argument("--format", dest="former", choices=("onnx",), help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    """Run `spotmill export`."""
    if args.format in (None, "onnx"):
        if args.model is None or args.output is None:
            raise SpotmillError(
                f"which format? give one of {', '.join(FORMATS)}; see spotmill export --help"
            )
        export_onnx.run(args)
    else:
        export_data.run(args)
