"""Write files whole or not at all."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from spotmill.errors import SpotmillError
from spotmill.orphans import refuse_orphans

HOST = re.sub("[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])
LEFT = re.compile(r"(?P<host>[A-Za-z0-9-]*)~(?P<pid>[0-9]{1,9})\.part(\.cif)?")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
UNTOUCHED = 3 * 86400  # s, longer than any job may run without writing


def make_folder(path: str | Path) -> None:
    """Make the folder of a file to be written; raise SpotmillError where that cannot be."""
    final = Path(path)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        is_folder = final.is_dir()
    except OSError as error:
        raise _unwritable(final, error) from error
    if is_folder:
        raise SpotmillError(f"{final}: is a folder; name a file to write")


def _unwritable(path: Path, error: OSError) -> SpotmillError:
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return SpotmillError(
            f"{path}: cannot be written, no space is left on the disk or in the quota of "
            f"{path.parent} ({reason}); make space and run snakemake again"
        )
    return SpotmillError(
        f"{path}: cannot be written ({reason}); check the folder, its permissions and space"
    )


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success flush it to disk and rename it.

    A killed or failed job leaves nothing under the final name. On an error the
    temporary file is removed; what a killed writer left goes when the next one starts.
    Of two writers each has its own temporary name, and the last to end wins, whole.

    Raises
    ------
    SpotmillError
        When the folder cannot be made or written to, the disk is full, or the workflow
        that started this process is gone.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{HOST}~{os.getpid()}.part")
    make_folder(final)
    _remove_left(final)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        refuse_orphans(final)
        temporary.replace(final)
    except OSError as error:
        raise _unwritable(final, error) from error
    finally:
        # An endless name cannot even be looked for.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_left(final: Path) -> None:
    """Remove temporary files of `final` whose writer is gone."""
    start = f".{final.name}."
    with suppress(OSError):
        for name in os.listdir(final.parent):  # noqa: PTH208 (names alone; folders are long)
            found = LEFT.fullmatch(name, len(start)) if name.startswith(start) else None
            if found:
                with suppress(OSError):
                    _remove_if_left(final.with_name(name), found["host"], int(found["pid"]))


def _remove_if_left(path: Path, host: str, pid: int) -> None:
    # A process of another machine cannot be asked for: only age tells.
    gone = host == HOST and not psutil.pid_exists(pid)
    if gone or time.time() - path.stat().st_mtime > UNTOUCHED:
        path.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
