"""The last lines of a log."""

import re
from pathlib import Path

BYTES = 8192
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def tail(project: Path, name: str, lines: int) -> list[str] | None:
    """Return the last lines of a log that a run names, or None where it is none of the project's.

    Parameters
    ----------
    project
        Folder in which the run works, resolved.
    name
        As Snakemake tells it: below that folder, or whole.
    """
    try:
        path = (project / name).resolve(strict=True)
        # A pipe would never end.
        if not path.is_relative_to(project) or path.suffix != ".log" or not path.is_file():
            return None
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - BYTES, 0))
            text = file.read(BYTES).decode("utf-8", "replace")
    except (OSError, ValueError, RuntimeError):
        return None
    # Of a bar that was drawn over and over, the last state.
    found = [CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in text.split("\n")]
    return [line.rstrip() for line in found if line.strip()][-lines:]
