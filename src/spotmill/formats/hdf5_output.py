"""A file under HDF5 that outlives a full disk."""

import io
from pathlib import Path
from types import TracebackType
from typing import Self


class Output:
    """A file for h5py to write to, in which a write never fails; `check` tells if one did.

    The HDF5 library cannot close a file that it failed to write, and ends the process with a
    segmentation fault. Here whatever the disk refuses is kept in memory until the file is
    closed, and the refusal is raised by `check`.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = io.FileIO(path, "w+")
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []
        self._at = 0

    def check(self) -> None:
        """Raise the OSError of the first write that the disk refused."""
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview | bytes) -> int:
        """Write at the current place; keep in memory what the disk refuses."""
        raw = bytes(data)
        if self._error is None:
            try:
                self._file.seek(self._at)
                done = 0
                while done < len(raw):
                    done += self._file.write(raw[done:])
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._kept.append((self._at, raw))
        self._at += len(raw)
        return len(raw)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer from the current place, with zeros where nothing was written."""
        self._file.seek(self._at)
        found = bytearray(self._file.read(len(buffer)).ljust(len(buffer), b"\0"))
        for place, raw in self._kept:
            first, last = max(place, self._at), min(place + len(raw), self._at + len(found))
            if first < last:
                found[first - self._at : last - self._at] = raw[first - place : last - place]
        buffer[:] = found
        self._at += len(found)
        return len(found)

    def read(self, size: int = -1) -> bytes:
        """Return bytes from the current place; h5py asks only whether files can do so."""
        buffer = bytearray(max(size, 0))
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; h5py asks for the end as well."""
        if whence == 2:
            size = max([self._file.seek(0, 2), *(at + len(raw) for at, raw in self._kept)])
            offset += size
        elif whence == 1:
            offset += self._at
        self._at = offset
        return offset

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Cut or stretch the file; a disk that refuses is told by `check`."""
        size = self._at if size is None else size
        if self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
