r"""Tell what a run cost: time, memory and bytes by rule, beside what was said of it before.

Example::

    spotmill cost --config config/config.yaml --output results/report/cost/cost.csv

Reads the benchmark files of Snakemake and the sizes of what the rules wrote, in the folder in
which Snakemake ran. Beside the table it writes the figure (`cost.png`, `cost.svg`) and `cost.js`,
which fills the section "Cost" of the report beside it. It changes nothing else.
"""

import argparse
from pathlib import Path

from spotmill.commands.arguments import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill cost`."""
    parser.add_argument("--config", type=Path, required=True, help="configuration (.yaml)")
    add_output(parser, "table (.csv); figure and script are written beside it")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill cost`."""
    from spotmill.errors import SpotmillError
    from spotmill.formats.atomic import atomic, write_text
    from spotmill.model import read_yaml
    from spotmill.plan import read_plan
    from spotmill.report.cost import measure, table
    from spotmill.report.cost_page import script
    from spotmill.report.cost_words import off_plan, sentences
    from spotmill.report.figures_cost import cost_chart, draw_cost

    if args.output.suffix != ".csv":
        raise SpotmillError(f"--output: {args.output}: must end in .csv; name the table")
    cost = measure(read_plan(read_yaml(args.config), str(args.config)))
    rows = table(cost)
    words, off = sentences(cost), off_plan(cost)
    picture = draw_cost(rows)
    told = script(rows, words, off, cost_chart(rows))
    for suffix, data in ((".png", picture.png), (".svg", picture.svg)):
        with atomic(args.output.with_suffix(suffix)) as temporary:
            temporary.write_bytes(data)
    write_text(args.output, rows.to_csv(index=False))
    write_text(args.output.with_suffix(".js"), told)
    print("\n".join([*words, *off]))
