r"""Make a project's folder: workflow, configuration, profiles and structures.

Examples::

    spotmill init mine
    cd mine
    snakemake --profile profiles/local -n
    spotmill init --update mine

The folder has all that Snakemake needs; nothing else of Spotmill's source is used. `--update`
brings the workflow (Snakefile, workflow/, envs/) of a folder to the installed version, keeps a
file that differs beside the new one as FILE.old, and leaves config/, profiles/ and resources/
alone.
"""

import argparse
import filecmp
import shutil
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.project import OWN, WIRING, files_below, home

IGNORED = "results/\nlogs/\n.snakemake/\n"
SHORT = "slurm"  # so that `snakemake --profile slurm` finds its profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill init`."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder to make, new or empty")
    parser.add_argument(
        "--update",
        action="store_true",
        help="bring the workflow of a project to the installed version",
    )


def run(args: argparse.Namespace) -> None:
    """Run `spotmill init`."""
    source = home()
    if not (source / "Snakefile").is_file():
        raise SpotmillError(f"{source}: lacks the workflow; install Spotmill again, as a whole")
    try:
        if args.update:
            update(source, args.folder)
        else:
            make(source, args.folder)
    except OSError as error:
        raise SpotmillError(
            f"{error.filename or args.folder}: cannot be written ({error.strerror}); choose "
            "another folder, or make room there"
        ) from error


def make(source: Path, folder: Path) -> None:
    """Make a project in a folder that is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        remedy = "choose another name, or say --update to renew the workflow of a project there"
        raise SpotmillError(f"{folder}: is there and not empty; {remedy}")
    place = folder.resolve()
    part = place.with_name(f".{place.name}.part")
    try:
        copy(source, part, WIRING + OWN)
        (part / ".gitignore").write_text(IGNORED, encoding="utf-8")
        (part / SHORT).symlink_to("profiles/slurm")
        place.mkdir(exist_ok=True)
        # The Snakefile comes last: with it the folder is a project.
        for entry in sorted(part.iterdir(), key=lambda entry: entry.name == "Snakefile"):
            entry.rename(place / entry.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"{folder}: a project. Change config/config.yaml, or try it as it is:")
    print(f"  cd {folder}")
    print("  spotmill doctor")
    print("  snakemake --profile profiles/local")


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
