"""Which file a visitor may have: one within the results, and none that is hidden."""

import stat
from pathlib import Path


def inside(root: Path, name: str) -> Path | None:
    """Return the file or folder that a visitor names, or None where it is none to be shown.

    Links are followed as long as they end within; hidden files (.checkpoints, .snakemake) are
    shown under no name.

    Parameters
    ----------
    root
        Folder that is served, resolved.
    name
        Path below it as in the address, decoded once.
    """
    parts = [part for part in name.split("/") if part]
    if any(hidden(part) or not part.isprintable() or "\\" in part for part in parts):
        return None
    try:
        real = root.joinpath(*parts).resolve(strict=True)
        kind = real.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        return None
    if not real.is_relative_to(root) or any(map(hidden, real.relative_to(root).parts)):
        return None
    # A pipe would never end.
    return real if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else None


def hidden(part: str) -> bool:
    """Return whether a part of a path is hidden, or leads upwards."""
    return part.startswith(".")


def file_inside(root: Path, name: str) -> Path | None:
    """Return the file that a visitor names, or None where it is none to be shown."""
    found = inside(root, name)
    return found if found is not None and found.is_file() else None


def folder_inside(root: Path, name: str) -> Path | None:
    """Return the folder that a visitor names, or None where it is none to be shown."""
    found = inside(root, name)
    return found if found is not None and found.is_dir() else None
