"""What every reader of real frames returns, and the units of what files declare."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import EventId
from spotmill.physics.units import (
    ELEMENTARY_CHARGE,
    check_clen,
    check_photon_energy,
    photon_energy_from_wavelength,
)

# In small letters: files write them in all ways.
LENGTHS = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("cm", "centimetre", "centimeter"), 1e-2),
    **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometre", "micrometer"), 1e-6),
    **dict.fromkeys(("nm", "nanometre", "nanometer"), 1e-9),
    **dict.fromkeys(("angstrom", "angstroms", "ang", "å", "a"), 1e-10),
    **dict.fromkeys(("pm", "picometre", "picometer"), 1e-12),
}
ENERGIES = {"ev": 1.0, "kev": 1e3, "j": 1 / ELEMENTARY_CHARGE}

# Of EIGER detectors, for gaps and dead pixels.
FLAG = 2**32 - 1

# Beyond this an image is a damaged header: 268 million pixels, 16 times the largest detectors.
LARGEST_AREA = 2**28


@dataclass(frozen=True)
class FrameMetadata:
    """What a file says of one of its frames; None where it says nothing.

    Attributes
    ----------
    photon_energy : float or None
        eV.
    clen : float or None
        Distance from the sample to the detector, m.
    pixel_size : float or None
        m.
    beam_centre : (fs, ss) or None
        Pixels in the array as read, as the file states them (whether a pixel's centre lies
        at 0 or at 0.5 is not declared by any of the formats).
    saturation : float or None
        Value from which on a pixel's count is not to be trusted.
    time : float or None
        When the frame was taken, s since 1970 (UTC).
    remarks : tuple of str
        Values that the file states and that were not used, with the reason.
    """

    photon_energy: float | None = None
    clen: float | None = None
    pixel_size: float | None = None
    beam_centre: tuple[float, float] | None = None
    saturation: float | None = None
    time: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawFrame:
    """One frame as a detector's file holds it.

    Attributes
    ----------
    event : int
        Number of the frame within its file, from 0.
    image : [ss, fs]
        In the file's own type and units. Nothing is flipped or turned: row 0 is the first
        in the file. Panels stacked in a third dimension lie below one another along ss.
    mask : [ss, fs] bool or None
        True where a pixel is live; None where all are.
    name : EventId or None
        The event's name where it is not its number.
    """

    path: Path
    event: int
    image: NDArray[Any]
    mask: NDArray[np.bool_] | None
    metadata: FrameMetadata
    name: EventId | None = None

    @property
    def event_id(self) -> EventId:
        """Return the event's name in CrystFEL's form."""
        return self.name or EventId((), (self.event,))

    @property
    def live(self) -> NDArray[np.bool_]:
        """Return the mask [ss, fs], all True where the file names no bad pixel."""
        return np.ones(self.image.shape, dtype=bool) if self.mask is None else self.mask


class FrameFile(ABC):
    """One open file of frames, read one by one in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def _read(self, event: int) -> RawFrame:
        """Return a frame whose number is known to be in range."""

    def number(self, event: int | EventId) -> int:
        """Return the number of an event that a list names, or raise SpotmillError."""
        if isinstance(event, EventId) and not event.parts and len(event.numbers) == 1:
            event = event.numbers[0]
        if isinstance(event, EventId):
            raise SpotmillError(
                f"{self.path}: has no event {event}; its events are numbered, //0 to "
                f"//{len(self) - 1} (events with names need a geometry, or --data, that has "
                "placeholders %)"
            )
        return event

    def read(self, event: int) -> RawFrame:
        """Return frame number `event`, or raise SpotmillError where there is none."""
        if not 0 <= event < len(self):
            raise SpotmillError(
                f"{self.path}: has no event {event}; it holds {len(self)} (0 to {len(self) - 1})"
            )
        return self._read(event)

    def __iter__(self) -> Iterator[RawFrame]:
        """Yield all frames in order."""
        for event in range(len(self)):
            yield self._read(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_image(path: Path, image: Any) -> NDArray[Any]:
    """Return an array as an image [ss, fs] of numbers, or raise SpotmillError."""
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.size == 0:
        shape = getattr(image, "shape", None)
        raise SpotmillError(f"{path}: is no image [ss, fs] but {shape}; give detector frames")
    if image.dtype.kind == "b":
        return image.view(np.uint8)
    if image.dtype.kind not in "iuf":
        raise SpotmillError(f"{path}: holds {image.dtype}, not real numbers; give detector frames")
    return image


def unflagged(
    image: NDArray[Any], largest: bool, underload: float | None = None
) -> NDArray[np.bool_] | None:
    """Return where no value is a flag in place of a count; None if that is everywhere.

    Parameters
    ----------
    image
        [ss, fs]. Signed integers: negative values are flags (PILATUS: -1 gap, -2 dead).
        Floats: NaN, infinities and exactly -1 and -2 are; other negative values are the noise
        of an integrating detector about zero and stay. In types that hold more, 2^32 - 1 is one
        too: EIGER's flag, converted.
    largest
        Whether the largest value of an unsigned type is a flag (EIGER: 2^32 - 1).
    underload
        Lowest trusted value, where the file declares one; replaces the rule for negative
        integers.
    """
    kind = image.dtype.kind
    if kind == "f":
        live = np.isfinite(image) & (image != -1) & (image != -2)
        if image.dtype.itemsize >= 4:
            live &= image != image.dtype.type(FLAG)
    elif kind == "i":
        live = image >= (0 if underload is None else underload)
        if image.dtype.itemsize == 8:
            live &= image != FLAG
    elif largest:
        live = image != np.iinfo(image.dtype).max
        if image.dtype.itemsize == 8:
            live &= image != FLAG
    else:
        return None
    return None if live.all() else live


def both(
    first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Return the pixels [ss, fs] that two masks both leave live; None stands for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def length(value: float, unit: str) -> float:
    """Return a length in m, or raise ValueError for a unit that is none."""
    return value * _factor(LENGTHS, unit)


def energy(value: float, unit: str) -> float:
    """Return an energy in eV, or raise ValueError for a unit that is none."""
    return value * _factor(ENERGIES, unit)


def _factor(units: dict[str, float], unit: str) -> float:
    if unit.lower() not in units:
        raise ValueError(f"unit {unit!r} is unknown")
    return units[unit.lower()]


def make_metadata(
    photon_energy: float | None = None,
    wavelength: float | None = None,
    clen: float | None = None,
    pixel_size: tuple[float, float] | None = None,
    beam_centre: tuple[float, float] | None = None,
    saturation: float | None = None,
    remarks: list[str] | None = None,
) -> FrameMetadata:
    """Return what a file states, without what cannot be true.

    Zero means that the file does not know. A value that no X-ray experiment has is left out
    with a remark, so that a wrong header does not hide an image.

    Parameters
    ----------
    photon_energy, wavelength : float, optional
        eV, Å. The wavelength is used where they contradict each other.
    clen : float, optional
        m.
    pixel_size : (fs, ss), optional
        m.
    beam_centre : (fs, ss), optional
        Pixels.
    """
    notes = list(remarks or [])
    side = None
    if pixel_size and min(pixel_size) > 0:
        if math.isclose(*pixel_size, rel_tol=1e-3):
            side = pixel_size[0]
        else:
            notes.append(f"pixels of {pixel_size[0]:g} x {pixel_size[1]:g} m are not square")
    if beam_centre and not (all(map(math.isfinite, beam_centre)) and any(beam_centre)):
        beam_centre = None
    if saturation is not None and not saturation > 0:
        saturation = None
    photon_energy = _checked(check_photon_energy, photon_energy, notes)
    other = _checked(photon_energy_from_wavelength, wavelength, notes)
    if photon_energy and other and not math.isclose(other, photon_energy, rel_tol=2e-3):
        notes.append(f"energy {photon_energy:g} eV contradicts wavelength {wavelength:g} Å")
        photon_energy = other
    return FrameMetadata(
        photon_energy=photon_energy or other,
        clen=_checked(check_clen, clen, notes),
        pixel_size=side,
        beam_centre=beam_centre,
        saturation=saturation,
        remarks=tuple(notes),
    )


def _checked(check: Any, value: float | None, notes: list[str]) -> float | None:
    if not value:
        return None
    try:
        return float(check(value))
    except SpotmillError as error:
        notes.append(str(error))
        return None
