r"""Make a project's folder: workflow, configuration, profiles and structures.

Examples::

    spotmill init mine
    cd mine
    snakemake --profile profiles/local -n
    spotmill init --update mine
    spotmill init --source spotmill-source

The folder has all that Snakemake needs; nothing else of Spotmill's source is used. `--update`
brings the workflow (Snakefile, workflow/, envs/) of a folder to the installed version, keeps a
file that differs beside the new one as FILE.old, and leaves config/, profiles/ and resources/
alone. `--source` writes the installed program as a folder that pip installs elsewhere; jobs under
`--sdm conda` get theirs in this way.
"""

import argparse
import filecmp
import shutil
from collections.abc import Callable
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.project import OWN, PACKAGED, PROGRAM, WIRING, files_below, home

IGNORED = "results/\nlogs/\n.snakemake/\n"
SHORT = "slurm"  # so that `snakemake --profile slurm` finds its profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill init`."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder to make, new or empty")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--update",
        action="store_true",
        help="bring the workflow of a project to the installed version",
    )
    ways.add_argument(
        "--source",
        action="store_true",
        help="write the source of the installed program instead, for pip",
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill init`."""
    source = home()
    if not (source / "Snakefile").is_file():
        raise SpotmillError(f"{source}: lacks the workflow; install Spotmill again, as a whole")
    try:
        if args.update:
            update(source, args.folder)
        elif args.source:
            make(args.folder, lambda part: write_source(source, part))
            print(f"{args.folder}: the source of the program; pip install {args.folder}")
        else:
            make(args.folder, lambda part: write_project(source, part))
            print(f"{args.folder}: a project. Change config/config.yaml, or try it as it is:")
            print(f"  cd {args.folder}")
            print("  spotmill doctor")
            print("  snakemake --profile profiles/local")
    except OSError as error:
        raise SpotmillError(
            f"{error.filename or args.folder}: cannot be written ({error.strerror}); choose "
            "another folder, or make room there"
        ) from error


def make(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder that is new or empty, whole or not at all."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        remedy = "choose another name, or say --update to renew the workflow of a project there"
        raise SpotmillError(f"{folder}: is there and not empty; {remedy}")
    place = folder.resolve()
    part = place.with_name(f".{place.name}.part")
    try:
        write(part)
        place.mkdir(exist_ok=True)
        # The Snakefile comes last: with it the folder is a project.
        for entry in sorted(part.iterdir(), key=lambda entry: entry.name == "Snakefile"):
            entry.rename(place / entry.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_project(source: Path, folder: Path) -> None:
    """Write what a project is made of."""
    copy(source, folder, WIRING + OWN)
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    (folder / SHORT).symlink_to("profiles/slurm")


def write_source(source: Path, folder: Path) -> None:
    """Write what the program is installed from."""
    copy(source, folder, WIRING + OWN + PROGRAM)
    shutil.copytree(
        Path(__file__).parents[1],
        folder / "src/spotmill",
        ignore=shutil.ignore_patterns("__pycache__", PACKAGED),
    )


def copy(source: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copy the files that names stand for."""
    for file in files_below(source, names):
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, target)


def outdated(source: Path, folder: Path) -> list[Path]:
    """Return the files of a project's workflow that are not the program's."""
    return [
        file
        for file in files_below(source, WIRING)
        if not (folder / file).is_file()
        or not filecmp.cmp(source / file, folder / file, shallow=False)
    ]


def update(source: Path, folder: Path) -> None:
    """Renew the workflow of a project."""
    if not (folder / "Snakefile").is_file():
        raise SpotmillError(f"{folder}: holds no Snakefile; leave --update out to make a project")
    if (folder / "src/spotmill").is_dir():
        raise SpotmillError(f"{folder}: is Spotmill's own repository; update it with git")
    files = outdated(source, folder)
    for file in files:
        target = folder / file
        if target.is_file():
            target.replace(target.with_name(f"{target.name}.old"))
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        shutil.copy(source / file, new)
        new.replace(target)
        print(f"{target}: renewed")
    print(f"{folder}: {len(files)} files renewed; `spotmill diff` says what a run would do now")
