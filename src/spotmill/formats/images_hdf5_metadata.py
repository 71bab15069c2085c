"""What the instrument groups of an HDF5 file say: NeXus (NXmx), CXI, and our shards.

Units are read where the file declares them. Where it does not: NeXus wavelengths are in Å,
energies in eV, lengths in m; the CXI format keeps to the SI (energies in J).
"""

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.images_hdf5_detector import detector_of, place_of, text
from spotmill.formats.images_model import FrameMetadata, energy, length, make_metadata

WAVELENGTHS = ("beam/incident_wavelength", "beam/wavelength", "monochromator/wavelength")
ENERGIES = (
    "beam/photon_energy",
    "beam/incident_energy",
    "monochromator/energy",
    "detector/detectorSpecific/photon_energy",
    "detector/photon_energy",
    "source/energy",
)
DISTANCES = ("distance", "detector_distance")
SATURATIONS = (
    "saturation_value",
    "detectorSpecific/saturation_value",
    "detectorSpecific/countrate_correction_count_cutoff",
    "count_rate_correction_cutoff",
)
MASKS = ("pixel_mask", "detectorSpecific/pixel_mask")

PIXEL_UNITS = {"", "pixel", "pixels", "px"}

# CXI format 1.6: invalid, hot, dead, shadowed, to be ignored, bad, missing, noisy. Its other
# bits (saturated, in a peak, outside a resolution range ...) speak of signal, not of pixels.
CXI_BAD = 0x0001 | 0x0004 | 0x0008 | 0x0010 | 0x0040 | 0x0080 | 0x0200 | 0x0400

# No photon has more joules than this, none has fewer electronvolts.
JOULES_BELOW = 1e-10


class Instrument:
    """The groups of an HDF5 file that describe beam and detector.

    Parameters
    ----------
    place
        Place of the frames; its first part is the entry.
    count
        Number of frames: a field with as many values has one a frame.
    channels
        Whose masks go before that of the detector.
    """

    def __init__(
        self, file: h5py.File, place: str, count: int, channels: Sequence[str] = ()
    ) -> None:
        self._count = count
        self._mask_places = *(f"{name}_channel/{MASKS[0]}" for name in channels), *MASKS
        self._remarks: list[str] = []
        self._file = file
        entries = [place.strip("/").split("/")[0] or "entry", "entry", "entry_1"]
        groups = (file[name] for name in entries if isinstance(file.get(name), h5py.Group))
        self._entry: Any = next(groups, {})
        instrument = _child(self._entry, "NXinstrument", "instrument", "instrument_1")
        self._groups = {
            "beam": _child(instrument, "NXbeam", "beam", "beam_1")
            or _child(_child(self._entry, "NXsample", "sample", "sample_1"), "NXbeam", "beam"),
            "monochromator": _child(instrument, "NXmonochromator", "monochromator"),
            "source": _child(instrument, "NXsource", "source", "source_1"),
            "detector": detector_of(instrument, file.get(place))
            or _child(instrument, "NXdetector", "detector", "detector_1"),
        }
        self._masks: dict[str, NDArray[np.bool_]] = {}
        # What all frames share, once it is known that they do.
        self._shared: FrameMetadata | None = None
        self._is_shared = True

    def metadata(self, event: int) -> FrameMetadata:
        """Return what the file says of a frame."""
        if self._shared is not None:
            return self._shared
        self._remarks = []
        self._is_shared = True
        sides = [self._length(f"detector/{axis}_pixel_size", event) for axis in "xy"]
        pixel_size = (sides[0], sides[1]) if sides[0] and sides[1] else None
        clen = self._first([f"detector/{name}" for name in DISTANCES], event, self._length)
        centre = self._centre(event, pixel_size)
        if None in (clen, pixel_size, centre):
            # What is not said outright, the chain of axes may say.
            there = place_of(self._groups["detector"], lambda field: self._plain(field, event))
            clen, pixel_size = clen or there.clen, pixel_size or there.pixel_size
            centre = centre or there.beam_centre
        found = make_metadata(
            photon_energy=self._first(ENERGIES, event, self._energy)
            or self._plain(self._file.get("LCLS/photon_energy_eV"), event),
            wavelength=self._first(WAVELENGTHS, event, self._wavelength),
            clen=clen,
            pixel_size=pixel_size,
            beam_centre=centre,
            saturation=self._first(
                [f"detector/{name}" for name in SATURATIONS],
                event,
                lambda place, event: self._plain(self._field(place), event),
            ),
            remarks=self._remarks,
        )
        self._shared = found if self._is_shared else None
        return found

    def underload(self, event: int) -> float | None:
        """Return the lowest value that the detector vouches for."""
        return self._plain(self._field("detector/underload_value"), event)

    def live(self, event: int, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the live pixels [ss, fs] by the file's own mask; None where it has none."""
        for place in self._mask_places:
            field = self._field(f"detector/{place}")
            if field is not None:
                return self._mask(field, event, shape, None)
        for field in (self._entry.get("data_1/mask"), self._field("detector/mask")):
            if isinstance(field, h5py.Dataset):
                return self._mask(field, event, shape, CXI_BAD)
        return None

    def _mask(
        self, field: h5py.Dataset, event: int, shape: tuple[int, int], bad_bits: int | None
    ) -> NDArray[np.bool_] | None:
        area = shape[0] * shape[1]
        per_frame = field.size != area
        if per_frame and (field.size != area * self._count or field.shape[0] != self._count):
            self._remarks.append(f"{field.name}: is of another shape than the frames, {shape}")
            return None
        if not per_frame and field.name in self._masks:
            return self._masks[field.name]
        values = np.asarray(field[event] if per_frame else field[()]).reshape(shape)
        bad = values != 0 if bad_bits is None else (values.astype(np.int64) & bad_bits) != 0
        if not per_frame:
            self._masks[field.name] = ~bad
        return ~bad

    def _field(self, place: str) -> h5py.Dataset | None:
        group, _, name = place.partition("/")
        field = self._groups[group].get(name) if self._groups[group] else None
        return field if isinstance(field, h5py.Dataset) else None

    def _first(self, places: Any, event: int, read: Any) -> float | None:
        values = (read(place, event) for place in places)
        return next((value for value in values if value), None)

    def _plain(self, field: Any, event: int) -> float | None:
        """Return a field's number for a frame."""
        if not isinstance(field, h5py.Dataset) or field.dtype.kind not in "iuf":
            return None
        if field.size == 1:
            return float(np.asarray(field[()]).ravel()[0])
        if field.shape and field.shape[0] == self._count == field.size:
            self._is_shared = False
            return float(np.asarray(field[event]).ravel()[0])
        self._remarks.append(f"{field.name}: has {field.size} values for {self._count} frames")
        return None

    def _length(self, place: str, event: int, default: str = "m") -> float | None:
        field = self._field(place)
        return self._converted(field, self._plain(field, event), length, default)

    def _wavelength(self, place: str, event: int) -> float | None:
        metres = self._length(place, event, default="angstrom")
        return None if metres is None else metres * 1e10

    def _energy(self, place: str, event: int) -> float | None:
        field = self._field(place)
        value = self._plain(field, event)
        default = "J" if value is not None and value < JOULES_BELOW else "eV"
        return self._converted(field, value, energy, default)

    def _converted(
        self, field: h5py.Dataset | None, value: float | None, convert: Any, default: str
    ) -> float | None:
        if field is None or value is None:
            return None
        try:
            return float(convert(value, _units(field) or default))
        except ValueError as error:
            self._remarks.append(f"{field.name}: {error}")
            return None

    def _centre(
        self, event: int, pixel_size: tuple[float, float] | None
    ) -> tuple[float, float] | None:
        """Return the beam's centre (fs, ss) in pixels; NeXus also allows a length."""
        values = []
        for number, axis in enumerate("xy"):
            field = self._field(f"detector/beam_center_{axis}")
            value = self._plain(field, event)
            if field is None or value is None:
                return None
            if _units(field) not in PIXEL_UNITS:
                metres = self._converted(field, value, length, "m")
                if metres is None or pixel_size is None:
                    return None
                value = metres / pixel_size[number]
            values.append(value)
        return values[0], values[1]


def _units(field: h5py.Dataset) -> str:
    return text(field.attrs.get("units", ""))


def _child(group: Any, nx_class: str, *names: str) -> Any:
    """Return the first subgroup of a class, or else of a name; {} where there is none."""
    for name in group or {}:
        child = group.get(name)
        if isinstance(child, h5py.Group):
            found = child.attrs.get("NX_class", "")
            if (found.decode() if isinstance(found, bytes) else str(found)) == nx_class:
                return child
    children = (group.get(name) for name in names) if group else ()
    return next((child for child in children if isinstance(child, h5py.Group)), {})
