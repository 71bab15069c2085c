"""Write files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spotmill.errors import SpotmillError


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
    return SpotmillError(
        f"{path}: cannot be written ({reason}); check the folder, its permissions and space"
    )


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success flush it to disk and rename it.

    A killed or failed job leaves nothing under the final name. On an error the
    temporary file is removed.

    Raises
    ------
    SpotmillError
        When the folder cannot be made or written to, or the disk is full.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    make_folder(final)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(final)
    except OSError as error:
        raise _unwritable(final, error) from error
    finally:
        # An endless name cannot even be looked for.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
