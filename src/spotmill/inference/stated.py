"""What is known of a frame before a model sees it, and who says so.

A value given by hand is trusted most, then the geometry file (its number, or the number at the
place in the data file that it names), then what the data file says by itself. The place of the
beam and the size of pixels are the geometry file's wherever there is one: its panels say where
every pixel is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.geom import Geometry, Quantity
from spotmill.formats.images import RawFrame
from spotmill.formats.images_hdf5_links import damage
from spotmill.physics.units import check_clen, check_photon_energy, photon_energy_from_wavelength

ORDER = "given by hand, then the geometry file, then the data file"
UNITS = {
    "photon_energy": "eV",
    "clen": "m",
    "pixel_size": "m",
    "beam_centre": "pixels",
    "saturation": "counts",
    "adu_per_photon": "counts",
}
# What the panels of a geometry say, whatever else is said.
BY_PANELS = ("pixel_size", "beam_centre")
# Pixels from the first one: the beam may pass beside the detector.
FARTHEST = 1e6
# Of a detector of X-rays a pixel is finer by far: the number is in another unit.
WIDEST_PIXEL = 1e-3  # m
# Sources that differ by more contradict one another.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Given:
    """What the user gives by hand for all frames; None where nothing is given.

    Attributes
    ----------
    photon_energy : eV
    clen, pixel_size : m
    beam_centre : (fs, ss) in pixels; the first pixel covers 0 to 1
    saturation : value from which a pixel is saturated
    adu_per_photon : counts of one photon
    geometry : geometry file, panels laid out as frames are read
    mask : [ss, fs] True where a pixel is live
    data : place of the frames in HDF5 files
    """

    photon_energy: float | None = None
    clen: float | None = None
    pixel_size: float | None = None
    beam_centre: tuple[float, float] | None = None
    saturation: float | None = None
    adu_per_photon: float | None = None
    geometry: Geometry | None = None
    mask: NDArray[np.bool_] | None = None
    mask_source: str = ""
    data: str | None = None

    def __post_init__(self) -> None:
        if self.photon_energy is not None:
            check_photon_energy(self.photon_energy)
        if self.clen is not None:
            check_clen(self.clen)
        if self.pixel_size is not None and not 0 < self.pixel_size < WIDEST_PIXEL:
            raise SpotmillError(
                f"--pixel-size: {self.pixel_size!r} is not above 0 and below {WIDEST_PIXEL:g} m; "
                "give it in metres, not micrometres (75 µm is 75e-6)"
            )
        for name, most in (("saturation", 1e300), ("adu_per_photon", 1e9)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= most:
                flag = name.replace("_", "-")
                raise SpotmillError(
                    f"--{flag}: {value!r} is not above 0 and at most {most:g} {UNITS[name]}; "
                    "correct it"
                )
        if self.beam_centre is not None and not all(
            abs(place) <= FARTHEST for place in self.beam_centre
        ):
            raise SpotmillError(
                f"--beam-centre: {self.beam_centre} is no place on or near a detector; give fs and "
                "ss in pixels"
            )


@dataclass(frozen=True)
class Stated:
    """What is known of one frame; None where nobody says.

    Attributes
    ----------
    beam_centre
        None, too, where a geometry of several panels says it.
    sources
        By name of a value, who said it: hand, geometry, file.
    remarks
        Contradictions, and values that could not be used.
    """

    photon_energy: float | None = None
    clen: float | None = None
    pixel_size: float | None = None
    beam_centre: tuple[float, float] | None = None
    saturation: float | None = None
    adu_per_photon: float | None = None
    sources: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def resolve(given: Given, frame: RawFrame) -> Stated:
    """Return what is known of a frame, each value from whom is trusted most.

    Raises
    ------
    SpotmillError
        When the geometry describes electrons, or a value that it names a place for cannot be
        used.
    """
    remarks = list(frame.metadata.remarks)
    said = [("hand", _by_hand(given)), ("geometry", _by_geometry(given, frame, remarks))]
    said.append(("file", _by_file(frame)))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, unit in UNITS.items():
        known = [(who, one[name]) for who, one in said if one.get(name) is not None]
        if name in BY_PANELS and given.geometry is not None:
            sources[name] = "geometry"
            if known and known[0][0] == "hand":
                remarks.append(
                    f"{name} is {_shown(known[0][1])} {unit} by hand, which is not used: the "
                    "panels of the geometry say it; correct them"
                )
            known = [one for one in known if one[0] != "hand"]
            if not known or known[0][0] != "geometry":
                # What a file says of one array is no place among several panels.
                continue
        if not known:
            continue
        sources[name], values[name] = known[0]
        for who, other in known[1:]:
            if _differ(values[name], other):
                remarks.append(
                    f"{name} is {_shown(values[name])} {unit} by {sources[name]}, "
                    f"{_shown(other)} by {who}"
                )
    return Stated(**values, sources=sources, remarks=tuple(remarks))


def _by_hand(given: Given) -> dict[str, Any]:
    return {
        **{name: getattr(given, name) for name in UNITS},
        "clen": None if given.clen is None else given.clen + offset(given.geometry),
    }


def _by_file(frame: RawFrame) -> dict[str, Any]:
    names = ("photon_energy", "clen", "pixel_size", "beam_centre", "saturation")
    return {name: getattr(frame.metadata, name) for name in names}


def _by_geometry(given: Given, frame: RawFrame, remarks: list[str]) -> dict[str, Any]:
    geometry = given.geometry
    if geometry is None:
        return {}
    energy = geometry.photon_energy
    if energy is None and geometry.radiation is not None:
        energy = _located(geometry.radiation, frame, remarks, _energy_of(geometry.radiation))
    clen = geometry.clen.number
    if clen is None:
        clen = _located(geometry.clen, frame, remarks, float)
    panel = geometry.panels[0]
    gain = panel.adu_per_photon
    if gain is None and panel.adu_per_eV is not None:
        best = given.photon_energy or energy or frame.metadata.photon_energy
        gain = None if best is None else panel.adu_per_eV * best
    limits = [panel.max_adu for panel in geometry.panels if panel.max_adu is not None]
    size = 1 / panel.res * (np.linalg.norm(panel.fs) + np.linalg.norm(panel.ss)) / 2
    return {
        "photon_energy": energy,
        "clen": None if clen is None else clen + offset(geometry),
        "pixel_size": float(size),
        "beam_centre": beam_of(geometry),
        "saturation": min(limits, default=None),
        "adu_per_photon": gain,
    }


def beam_of(geometry: Geometry) -> tuple[float, float] | None:
    """Return where the beam meets a geometry of one panel (fs, ss); None of several panels."""
    if len(geometry.panels) != 1:
        return None
    panel = geometry.panels[0]
    axes = np.stack([panel.fs[:2], panel.ss[:2]], axis=1)
    if not np.linalg.det(axes):
        # The panel lies along the beam.
        return None
    fs, ss = np.linalg.solve(axes, [-panel.corner_x, -panel.corner_y])
    return float(fs) + panel.min_fs, float(ss) + panel.min_ss


def offset(geometry: Geometry | None) -> float:
    """Return what is added to a geometry's clen to reach its first panel, m."""
    return geometry.panels[0].coffset if geometry else 0.0


def _energy_of(radiation: Quantity) -> Callable[[float], float]:
    return photon_energy_from_wavelength if radiation.directive == "wavelength" else float


def _located(
    quantity: Quantity, frame: RawFrame, remarks: list[str], convert: Callable[[float], float]
) -> float | None:
    """Return the number at the place in the data file that a geometry names."""
    if not h5py.is_hdf5(frame.path):
        return None
    name = frame.event_id
    try:
        place = name.place(str(quantity.location))
    except ValueError as error:
        remarks.append(str(error))
        return None
    try:
        value = read_number(frame.path, place, name.numbers)
        return None if value is None else convert(value * quantity.scale)
    except SpotmillError as error:
        remarks.append(str(error))
        return None


@lru_cache(maxsize=4096)
def read_number(path: Path, place: str, numbers: tuple[int, ...]) -> float | None:
    """Return the number of an event at a place in an HDF5 file; None where there is none.

    Parameters
    ----------
    numbers
        Of the event: the axes that are longer than 1 take one after the other, as in CrystFEL.
    """
    with damage(path, f"{place} "), h5py.File(path, "r") as file:
        item = file.get(place)
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or not item.size:
            return None
        left = iter(numbers)
        index = tuple(0 if size == 1 else next(left, size) for size in item.shape)
        if any(number >= size for number, size in zip(index, item.shape, strict=True)):
            return None
        return float(item[index])


def _differ(one: Any, other: Any) -> bool:
    first, second = np.atleast_1d(one), np.atleast_1d(other)
    return not np.allclose(first, second, rtol=TOLERANCE, atol=0)


def _shown(value: Any) -> str:
    return ", ".join(f"{one:.6g}" for one in np.atleast_1d(value))
