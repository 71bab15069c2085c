"""Write files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spotmill.errors import SpotmillError


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
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            raise SpotmillError(f"{final}: is a folder; name a file to write")
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(final)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpotmillError(
            f"{final}: cannot be written ({reason}); check the folder, its permissions and space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
