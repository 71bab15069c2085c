"""Files as users name them: plain ones alone are opened, and none that cannot be meant.

A pipe waits and a device such as /dev/zero never ends; a few kilobytes of a packed file may
unpack to more than any memory holds.
"""

import bz2
import gzip
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spotmill.errors import SpotmillError

MEBI = 2**20
LARGEST_TEXT = 256 * MEBI  # bytes
LARGEST_CONFIGURATION = 4 * MEBI
LARGEST_PACKED = 2048 * MEBI  # once unpacked
CHUNK = 4 * MEBI

PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}


def check_plain(path: str | Path, largest: int | None = None) -> int:
    """Return the size of a plain file in bytes.

    Raises
    ------
    SpotmillError
        When there is none, it is a folder, a pipe or a device, or it holds more than `largest`.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError as error:
        raise SpotmillError(f"{path}: no such file; check the name and the folder") from error
    except PermissionError as error:
        raise SpotmillError(f"{path}: cannot be read; check its permissions") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpotmillError(f"{path}: cannot be read ({reason}); check the name") from error
    if stat.S_ISDIR(found.st_mode):
        raise SpotmillError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(found.st_mode):
        raise SpotmillError(f"{path}: is a pipe or device; save what it gives and name that file")
    if largest is not None and found.st_size > largest:
        raise SpotmillError(
            f"{path}: holds {found.st_size / MEBI:.0f} MiB, more than the {largest / MEBI:.0f} MiB "
            "that such a file may have; check that it is the right one"
        )
    return found.st_size


def check_unpacked(path: str | Path, largest: int = LARGEST_PACKED) -> None:
    """Raise SpotmillError where a .gz or .bz2 file is damaged or unpacks to more than `largest`."""
    opener = PACKED.get(Path(path).suffix.lower())
    if opener is None:
        return
    check_plain(path)
    size = 0
    try:
        with opener(path, "rb") as handle:
            while block := handle.read(CHUNK):
                size += len(block)
                if size > largest:
                    raise SpotmillError(
                        f"{path}: unpacks to more than {largest / MEBI:.0f} MiB; "
                        "check that it is the right file"
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise SpotmillError(f"{path}: cannot be unpacked ({error}); copy it again") from error
