r"""Make the report.

Example::

    spotmill report --config config/config.yaml --manifest results/manifest/all.parquet \
        --map results/map/frames.parquet \
        --water results/images/water/01.h5 results/images/water/02.h5 \
        --evaluation results/evaluation/hit --model results/models/hit \
        --output results/report/index.html --figures results/report/figures

Writes one page that opens anywhere without a network, and every figure as PNG with its data
as CSV.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill report`."""
    parser.add_argument("--config", type=Path, required=True, help="configuration (.yaml)")
    parser.add_argument("--manifest", type=Path, required=True, help="of all datasets (.parquet)")
    parser.add_argument(
        "--water", type=Path, nargs="+", required=True, help="expected water of every dataset (.h5)"
    )
    parser.add_argument("--map", type=Path, help="map of frames (.parquet)")
    parser.add_argument(
        "--evaluation", type=Path, nargs="*", default=[], help="evaluation folder of every task"
    )
    parser.add_argument(
        "--model", type=Path, nargs="*", default=[], help="model folder of every task"
    )
    add_output(parser, "page (.html)")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figures")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill report`."""
    from spotmill.report.build import build, write
    from spotmill.report.inputs import read_inputs

    inputs = read_inputs(
        args.config, args.manifest, args.water, args.evaluation, args.model, args.map
    )
    write(build(inputs), args.output, args.figures)
