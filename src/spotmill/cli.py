"""The console command `spotmill`: one subcommand a stage."""

import argparse
import errno
import importlib
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from spotmill import __version__
from spotmill.errors import SpotmillError
from spotmill.nearest import instead, nearest
from spotmill.orphans import watch

# Subcommand and the first line of its help, so that `--help` imports no stage.
COMMANDS = {
    "init": "make a project's folder: workflow, configuration, structures",
    "doctor": "check the installation, and what a project needs of this machine",
    "reflections": "compute or convert a crystal's reflections",
    "simulate": "simulate the Bragg spots of one shard",
    "water": "compute the expected water image of a dataset",
    "background": "measure the background on real blank frames",
    "overlay": "draw water photons over peaks, or alone",
    "materialise": "draw the images of a virtual overlay into a stored one",
    "geometry": "write the geometry of a dataset's shards, for CrystFEL",
    "labels": "mark the pixels that hold Bragg photons",
    "manifest": "list frames and their files in one table",
    "check": "re-open shards and prove that everything belongs together",
    "map": "map frames by their features, and tell which are odd",
    "split": "assign frames to training, validation and test",
    "train": "train the model of a task",
    "evaluate": "evaluate a model beside baselines and controls",
    "saliency": "show where a trained model looked in a few test frames",
    "tune": "search for better settings of a task",
    "export": "hand models (ONNX) and datasets (CXI, WebDataset, ...) to other programs",
    "predict": "tell hits, peaks and the beam of any frames by trained models",
    "mask": "find hot, noisy and dead pixels in many frames",
    "watch": "predict frames as they come into a folder, and tell when the stream drifts",
    "monitor": "show predictions against time, and tell when the stream drifted",
    "gallery": "write frames for the gallery of the report",
    "report": "make the report",
    "serve": "show a finished or running production in the browser",
    "cost": "tell what a run cost by rule, beside what was expected",
    "explain": "print all that made one frame, and make it again",
    "card": "describe a dataset for readers and machines",
    "crate": "record a run so that others can repeat it",
    "diff": "say what a run would do now, why and at what cost",
    "pattern-sim": "drop-in for CrystFEL's pattern_sim",
    "completion": "print what lets a shell complete these commands",
}


LONGEST = 900  # characters of a message
CHOICE = re.compile(r"(.*invalid choice: )'(.*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as everything else does."""

    _unknown: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        if self._meant() and message.startswith("the following arguments are required"):
            # Often it is there, misspelt.
            message = f"unrecognized arguments: {' '.join(self._unknown)}{self._meant()}"
        if wrong := CHOICE.fullmatch(message):
            choices = [word.strip("'") for word in wrong[3].split(", ")]
            message = f"{wrong[1]}{wrong[2]!r}{instead(wrong[2], choices)}"
        self.exit(2, f"{self.prog}: error: {one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments; name the likely option where one is unknown."""
        options = tuple(self._option_string_actions)
        names = [word.partition("=")[0] for word in args or () if word.startswith("--")]
        # argparse takes the beginning of an option for it.
        self._unknown = [
            name for name in names if name != "--" and not any(o.startswith(name) for o in options)
        ]
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._meant()}")
        return found, rest

    def _meant(self) -> str:
        near = nearest(self._unknown[0], self._option_string_actions) if self._unknown else None
        return f"; did you mean {near}?" if near else ""


def one_line(message: str) -> str:
    """Return a message with control characters, as a file's name may hold, written out."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    # An endless name would hide the remedy behind it.
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


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


# What a command reads one by one: what cannot be opened is told, and the others are read.
READ_ONE_BY_ONE = {"predict": ("sources",), "mask": ("sources",)}
# What a command writes besides its `--output`.
OUTPUTS = {
    "simulate": ("truth", "frames"),
    "reflections": ("hkl", "cell_output"),
    "report": ("figures", "history"),
    "mask": ("picture",),
}


def check_paths(args: argparse.Namespace) -> None:
    """Check the files that arguments name before any is opened.

    Raises
    ------
    SpotmillError
        When a name cannot be looked up, one is a pipe or device, which may never end, or a file
        to be written is one that another argument names.
    """
    written: list[tuple[str, str | Path]] = []
    if isinstance(getattr(args, "output", None), str | Path):
        check_kind(Path(args.output))
        written.append(("output", args.output))
    for name in OUTPUTS.get(args.command, ()):
        written += [(name, getattr(args, name))] if getattr(args, name, None) else []
    for name, value in vars(args).items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and name not in READ_ONE_BY_ONE.get(args.command, ()):
                check_kind(path)
            if not isinstance(path, str | Path):
                continue
            for key, output in written:
                named = name != key and (isinstance(path, Path) or os.path.exists(path))  # noqa: PTH110
                if named and os.path.realpath(path) == os.path.realpath(output):
                    raise SpotmillError(
                        f"--{key.replace('_', '-')}: {output} is named by "
                        f"--{name.replace('_', '-')} too; choose another name"
                    )


def check_kind(path: Path) -> None:
    """Raise SpotmillError where a path leads to a pipe or device, or is no possible name."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Whoever opens it says so.
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpotmillError(
            f"{str(path)[:80]}: cannot be read or written ({reason}); check the name"
        ) from error
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise SpotmillError(f"{path}: is a pipe or device; name a plain file")


UNPRINTABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)
CUT_SHORT = 128 + 13  # as a shell tells of a program whose reader (head, less) has left


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or 1 after printing one line that says what is wrong.

    A subcommand may return a code of its own (`predict`: 3 where some files failed).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [words[0]] if words and words[0] in COMMANDS else []
    try:
        args = parser(wanted).parse_args(words)
        check_paths(args)
        watch()
        code = args.run(args)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in UNPRINTABLE:
            raise
        # Files name themselves (formats/atomic.py): what is left is what was printed. Python
        # would try again at its end, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return CUT_SHORT
        print(
            f"spotmill {words[0]}: error: standard output: cannot be written ({error.strerror}); "
            "make space there, or send it elsewhere",
            file=sys.stderr,
        )
        return 1
    except SpotmillError as error:
        print(f"spotmill {words[0]}: error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"spotmill {words[0]}: stopped before its end", file=sys.stderr)
        return 130
    return int(code or 0)


if __name__ == "__main__":
    raise SystemExit(main())
