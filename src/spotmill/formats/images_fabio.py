"""Frames in the detectors' own formats (CBF, TIFF, EDF, MAR, ADSC, NumPy ...), by fabio."""

import logging
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import fabio
import numpy as np
from fabio.fabioutils import NotGoodReader
from fabio.marccdimage import MarccdImage
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.images_headers import header_metadata
from spotmill.formats.images_model import (
    FrameFile,
    FrameMetadata,
    RawFrame,
    both,
    check_image,
    unflagged,
)
from spotmill.formats.images_times import header_time
from spotmill.plain_files import PACKED, check_plain, check_unpacked

# What fabio's readers raise on damaged files; it has no error of its own.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    NameError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    NotGoodReader,
)

SIGNATURES = (
    (b"###CBF: VERSION", "cbf"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"II+\0", "tif"),
    (b"MM\0+", "tif"),
    (b"{\nHEADER_BYTES", "dtrek"),
    (b"{", "edf"),
    (b"\r{", "edf"),
    (b"\n{", "edf"),
    (b"\r\n{", "edf"),
    (b"\x93NUMPY", "npy"),
    (b"FORMAT :", "bruker"),
    (b"OD SAPPHIRE", "oxd"),
    (b"R-AXIS", "raxis"),
    (b"ESPERANTO FORMAT", "esperanto"),
    (b"\\$FFF_START", "fit2d"),
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF8", "picture"),
)
CBF_SECTION, CBF_STARTER = b"--CIF-BINARY-FORMAT-SECTION--", b"\x0c\x1a\x04\xd5"
LARGEST_CBF_HEADER = 2**20  # bytes

RAW_SUFFIXES = {".f32", ".f64", ".raw", ".bin", ".dat", ".i16", ".u16", ".u32", ".i32"}


def image_kind(path: Path) -> str:
    """Return the format of a file by its first bytes, never by its name.

    Raises
    ------
    SpotmillError
        When the file is empty, of no known format, a picture, or numbers without a header.
    """
    start = _first_bytes(path, 4096)
    if not start:
        raise SpotmillError(f"{path}: is empty; give a detector's file")
    kind = next((kind for sign, kind in SIGNATURES if start.startswith(sign)), None)
    if kind == "picture":
        raise SpotmillError(f"{path}: is a picture, not a detector's counts; give the frame itself")
    if kind == "tif" and start[1028:1044].startswith((b"MMX", b"MARCCD")):
        return "marccd"
    if kind is None and b"mar research" in start[:256]:
        return "mar345"
    if kind is None and path.suffix.lower() in RAW_SUFFIXES:
        raise SpotmillError(
            f"{path}: is numbers without a header, which do not say their shape or type; "
            "convert it to HDF5 or TIFF first"
        )
    if kind is None:
        raise SpotmillError(
            f"{path}: is of no known image format; give HDF5, CBF, TIFF, EDF, MAR or ADSC"
        )
    return kind


def _first_bytes(path: Path, count: int) -> bytes:
    check_plain(path)
    try:
        with PACKED.get(path.suffix.lower(), open)(path, "rb") as handle:
            return bytes(handle.read(count))
    except (OSError, EOFError, zlib.error) as error:
        raise SpotmillError(f"{path}: cannot be read ({error}); check that it is whole") from error


def check_cbf(path: Path) -> None:
    """Raise SpotmillError where a CBF has no binary section: fabio looks for it without end."""
    try:
        with PACKED.get(path.suffix.lower(), open)(path, "rb") as handle:
            start = handle.read(LARGEST_CBF_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise SpotmillError(f"{path}: cannot be read ({error}); check that it is whole") from error
    section = start.find(CBF_SECTION)
    if section < 0 or start.find(CBF_STARTER, section) < 0:
        raise SpotmillError(f"{path}: is a CBF file without its image; check that it is whole")


class FabioFile(FrameFile):
    """A file that fabio reads; one frame of it is in memory at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kind = image_kind(path)
        check_unpacked(path)
        if self.kind == "cbf":
            check_cbf(path)
        with _mending_errors(path):
            if self.kind == "marccd":
                self._image = MarccdImage().read(str(path))
                with MarccdImage()._open(str(path)) as handle:
                    marccd = MarccdImage()
                    marccd._readheader(handle)
                self._marccd = marccd.header
            else:
                self._image = fabio.open(str(path))
            self._count = int(self._image.nframes)
        if self._count < 1:
            raise SpotmillError(f"{path}: holds 0 frames; give a file with frames")

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._count

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def _read(self, event: int) -> RawFrame:
        with _mending_errors(self.path):
            frame = self._image if self._count == 1 else self._image.getframe(event)
            data, header = frame.data, frame.header
        image = check_image(self.path, data)
        return RawFrame(
            path=self.path,
            event=event,
            image=image,
            mask=both(
                _plate(image.shape) if self.kind == "mar345" else None,
                unflagged(image, largest=image.dtype.itemsize >= 4),
            ),
            metadata=self._metadata(self._marccd if self.kind == "marccd" else header),
        )

    def _metadata(self, header: Mapping[str, Any]) -> FrameMetadata:
        taken = header_time(header, self.kind)
        return replace(header_metadata(header, self.kind), time=taken)


def _plate(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] of a MAR345's round plate, which is scanned in a square."""
    ss, fs = np.ogrid[: shape[0], : shape[1]]
    radius = min(shape) / 2
    across = (ss + 0.5 - shape[0] / 2) ** 2 + (fs + 0.5 - shape[1] / 2) ** 2
    return np.asarray(across <= radius**2)


class _Complaints(logging.Handler):
    """Collects what fabio logs as an error and goes on after, such as a wrong checksum."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.texts.append(record.getMessage())


@contextmanager
def _mending_errors(path: Path) -> Iterator[None]:
    """Turn whatever fabio raises or logs as an error into one line."""
    logger = logging.getLogger("fabio")
    complaints = _Complaints()
    propagate = logger.propagate
    logger.addHandler(complaints)
    logger.propagate = False
    try:
        with _Raised(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagate
    if complaints.texts:
        raise _damaged(path, complaints.texts[0])


class _Raised:
    """Turns what fabio raises into one line; some of its readers raise a bare Exception."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and (isinstance(error, DAMAGE) or kind is Exception):
            raise _damaged(self.path, str(error) or type(error).__name__) from error


def _damaged(path: Path, reason: str) -> SpotmillError:
    words = " ".join(reason.split())[:160]
    return SpotmillError(f"{path}: cannot be read as an image ({words}); check that it is whole")
