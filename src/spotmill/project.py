"""What a project's folder is made of, and where the program keeps it.

In a repository these files lie at its top. A build puts copies of them into the package, in
the folder `project_files`: setup.py reads this module for that, so it imports nothing of ours.
"""

from collections.abc import Iterator
from pathlib import Path

PACKAGED = "project_files"
# What belongs to the program and changes with its version, and what belongs to its user.
WIRING = (
    "Snakefile",
    "workflow",
    "envs/lock.txt",
    "envs/spotmill.yaml",
    "envs/spotmill.post-deploy.sh",
)
OWN = ("config", "profiles", "resources")
# What a record of a run needs besides, to install the program again.
PROGRAM = ("pyproject.toml", "setup.py", "Makefile", "LICENSE", "README.md")


def home() -> Path:
    """Return the folder that holds the files: of the package, else the repository's."""
    packaged = Path(__file__).parent / PACKAGED
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def files_below(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files that names stand for, relative to the folder; no by-products."""
    for name in names:
        place = folder / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in found:
            own = file.relative_to(folder)
            if file.is_file() and not any(part.startswith((".", "__")) for part in own.parts):
                yield own
