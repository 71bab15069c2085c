"""The console command `spotmill`: one subcommand a stage."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from spotmill import __version__
from spotmill.errors import SpotmillError

# Subcommand and the first line of its help, so that `--help` imports no stage.
COMMANDS = {
    "reflections": "compute or convert a crystal's reflections",
    "simulate": "simulate the Bragg spots of one shard",
    "water": "compute the expected water image of a dataset",
    "background": "measure the background on real blank frames",
    "overlay": "draw water photons over peaks, or alone",
    "geometry": "write the geometry of a dataset's shards, for CrystFEL",
    "labels": "mark the pixels that hold Bragg photons",
    "manifest": "list frames and their files in one table",
    "check": "re-open shards and prove that everything belongs together",
    "split": "assign frames to training, validation and test",
    "train": "train the model of a task",
    "evaluate": "evaluate a model beside baselines and controls",
    "report": "make the report",
    "pattern-sim": "drop-in for CrystFEL's pattern_sim",
}


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}; see {self.prog} --help\n")


def one_line(message: str) -> str:
    """Return a message with control characters, as a file's name may hold, written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Return the argument parser with the arguments of the named subcommands filled in."""
    main_parser = Parser(
        prog="spotmill", description="Mill diffraction spots: labelled frames, models, reports."
    )
    main_parser.add_argument("--version", action="version", version=f"spotmill {__version__}")
    subparsers = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name in names:
            module = importlib.import_module(f"spotmill.commands.{name.replace('-', '_')}")
            subparser = subparsers.add_parser(
                name,
                help=summary,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    return main_parser


def check_output(args: argparse.Namespace) -> None:
    """Raise SpotmillError where `--output` would overwrite a file that another argument names."""
    output = getattr(args, "output", None)
    if not isinstance(output, Path):
        return
    for name, value in vars(args).items():
        for path in value if isinstance(value, list) else [value]:
            if name != "output" and isinstance(path, Path) and path.resolve() == output.resolve():
                raise SpotmillError(
                    f"--output: {output} is named by --{name.replace('_', '-')} too; "
                    "choose another name"
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or 1 after printing one line that says what is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [words[0]] if words and words[0] in COMMANDS else []
    try:
        args = parser(wanted).parse_args(words)
        check_output(args)
        args.run(args)
    except SpotmillError as error:
        print(f"spotmill {words[0]}: error: {one_line(str(error))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
