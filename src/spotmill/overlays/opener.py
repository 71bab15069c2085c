"""The one way to open a shard of overlays, whether its images are stored or drawn."""

from contextlib import suppress
from pathlib import Path

import h5py

from spotmill.formats.frames import Shard


def open_overlay(path: str | Path) -> Shard:
    """Open a shard for reading; where it is virtual, its frames are drawn as they are read.

    Raises
    ------
    SpotmillError
        When the shard is absent or broken, or a file that it draws from is absent or changed.
    """
    if is_virtual(path):
        # Stored shards need none of what draws.
        from spotmill.overlays.virtual import VirtualShard

        return VirtualShard(path)
    return Shard(path)


def is_virtual(path: str | Path) -> bool:
    """Return whether a file says that it is a virtual shard."""
    with suppress(OSError, KeyError), h5py.File(path, "r") as file:
        return "virtual" in file["/entry"].attrs
    return False
