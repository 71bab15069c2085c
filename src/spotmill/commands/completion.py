r"""Print what lets a shell complete spotmill's commands, options and file names.

Examples::

    spotmill completion bash > ~/.local/share/bash-completion/completions/spotmill
    spotmill completion zsh > ~/.zfunc/_spotmill
    spotmill completion fish > ~/.config/fish/completions/spotmill.fish
    eval "$(spotmill completion bash)"

The first three are for good, from the next shell on (of zsh, ~/.zfunc must stand in `fpath`
before `compinit`); the last is for the running bash alone.
"""

import argparse
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
# Arguments that may be files, but need not be.
NAMES = (
    "targets",
    "frame",
    "profile",
    "structure",
    "output",
    "cell_output",
    "cell_file",
    "crystal",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill completion`."""
    import shtab

    from spotmill.cli import COMMANDS, parser

    whole = parser(list(COMMANDS))
    mark_files(whole)
    print(shtab.complete(whole, shell=args.shell))


def mark_files(parser: argparse.ArgumentParser) -> None:
    """Say of every argument that is or may be a path that file names complete it."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                mark_files(subparser)
        elif action.type is Path or action.dest in NAMES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
