r"""Make the report.

Example::

    spotmill report --config config/config.yaml --manifest results/manifest/all.parquet \
        --map results/map/frames.parquet \
        --water results/images/water/01.h5 results/images/water/02.h5 \
        --evaluation results/evaluation/hit --model results/models/hit \
        --output results/report/index.html --figures results/report/figures \
        --history results/reports.json

Writes a page that opens without a network, beside it the scripts of its charts, and every figure
as PNG and SVG with its data as CSV. The folder is one: move it whole.
With `--history` or `--earlier` it says what changed since an earlier report.
"""

import argparse
import sys
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
    parser.add_argument(
        "--saliency", type=Path, nargs="*", default=[], help="saliency folder of every task"
    )
    add_output(parser, "page (.html)")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figures")
    parser.add_argument(
        "--history", type=Path, help="file of earlier reports, which this one is added to (.json)"
    )
    parser.add_argument(
        "--earlier", type=Path, help="folder of other results to compare with (results)"
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill report`."""
    from spotmill.report.build import build, write
    from spotmill.report.changes import look_back
    from spotmill.report.inputs import read_inputs
    from spotmill.report.page import recipes
    from spotmill.report.saliency import read_saliencies
    from spotmill.report.summary import summarise

    inputs = read_inputs(
        args.config, args.manifest, args.water, args.evaluation, args.model, args.map
    )
    back = look_back(summarise(inputs, recipes(inputs.manifest)), args.history, args.earlier)
    if back.changes.problem:
        print(f"spotmill report: {back.changes.problem}", file=sys.stderr)
    seen = read_saliencies(args.saliency)
    looks_back = args.history or args.earlier
    write(build(inputs, back.changes if looks_back else None, seen), args.output, args.figures)
    if back.changes.drawing is None:
        for ending in ("png", "svg", "csv"):
            (args.figures / f"changes.{ending}").unlink(missing_ok=True)
    back.keep()
