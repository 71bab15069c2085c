"""Which detector of a NeXus file took the frames, and where its chain of axes puts it.

Axes are translations and rotations, each of which depends on another until one depends on none
("."); a module has an offset and the directions of its fast and slow axis (NXtransformations and
NXdetector_module of the NeXus manual). The beam travels along +z from the origin, the sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.formats.images_model import length

LONGEST = 32  # axes in a chain
Value = Callable[[h5py.Dataset], float | None]


@dataclass(frozen=True)
class Place:
    """Where a detector stands; None where its axes do not tell.

    Attributes
    ----------
    clen : m, along the normal of the module
    pixel_size : (fs, ss) in m
    beam_centre : (fs, ss) in pixels from the first corner
    """

    clen: float | None = None
    pixel_size: tuple[float, float] | None = None
    beam_centre: tuple[float, float] | None = None


def text(value: Any) -> str:
    """Return the text of an attribute, however it is stored."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def detector_of(instrument: Any, array: Any) -> Any:
    """Return the NXdetector that took the frames; {} where there is none to be found.

    Parameters
    ----------
    instrument
        Group of the instrument, or {}.
    array
        The frames, if they lie in the same file.
    """
    children = [instrument.get(name) for name in instrument or {}]
    found = [
        child
        for child in children
        if isinstance(child, h5py.Group) and text(child.attrs.get("NX_class", "")) == "NXdetector"
    ]
    for child in found:
        if any(isinstance(item, h5py.Dataset) and item == array for item in map(child.get, child)):
            return child
    for name in ("x_pixel_size", "depends_on"):
        for child in found:
            if name in child:
                return child
    return found[0] if found else {}


def place_of(detector: Any, value: Value) -> Place:
    """Return where the chains of axes put a detector.

    Parameters
    ----------
    detector
        Group, or {}.
    value
        Returns the number of a field for the frame in question, None where it has none.
    """
    try:
        return _module_place(detector, value) or _bare_place(detector, value)
    except (KeyError, ValueError, np.linalg.LinAlgError):
        # A chain that breaks off tells nothing.
        return Place()


def _module_place(detector: Any, value: Value) -> Place | None:
    modules = [
        child
        for child in map(detector.get, detector)
        if isinstance(child, h5py.Group)
        and text(child.attrs.get("NX_class", "")) == "NXdetector_module"
    ]
    # Several modules have no common centre.
    if len(modules) != 1 or "fast_pixel_direction" not in modules[0]:
        return None
    sides: list[float] = []
    edges: list[NDArray[np.float64]] = []
    corner = np.zeros(3)
    for name in ("fast_pixel_direction", "slow_pixel_direction"):
        field = modules[0][name]
        # What a direction depends on puts the first pixel in its place.
        turned, corner = _chain(modules[0], text(field.attrs.get("depends_on", ".")), value)
        side = value(field)
        if side is None:
            return None
        sides.append(length(side, text(field.attrs.get("units", "m"))))
        edges.append(turned @ _vector(field) * sides[-1])
    beam = np.array([0.0, 0.0, 1.0])
    fs, ss, _ = np.linalg.solve(np.column_stack([*edges, -beam]), -corner)
    normal = np.cross(edges[0], edges[1])
    clen = abs(normal @ corner) / np.linalg.norm(normal)
    return Place(float(clen), (sides[0], sides[1]), (float(fs), float(ss)))


def _bare_place(detector: Any, value: Value) -> Place:
    if "depends_on" not in detector:
        return Place()
    _, origin = _chain(detector, text(detector["depends_on"][()]), value)
    return Place(clen=abs(float(origin[2])) or None)


def _chain(
    group: h5py.Group, name: str, value: Value
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rotation and the translation (m) of a chain of axes."""
    turned, moved = np.eye(3), np.zeros(3)
    for _ in range(LONGEST):
        if name in (".", ""):
            return turned, moved
        field = group[name]
        number = value(field)
        if number is None:
            raise ValueError(f"{field.name} has no value for the frame")
        step, turn = np.zeros(3), np.eye(3)
        unit = text(field.attrs.get("units", ""))
        if text(field.attrs.get("transformation_type", "")) == "rotation":
            angle = number if unit.startswith("rad") else np.deg2rad(number)
            turn = _rotation(_vector(field), angle)
        else:
            step = length(number, unit or "m") * _vector(field)
        if "offset" in field.attrs:
            units = text(field.attrs.get("offset_units", unit or "m"))
            offset = np.asarray(field.attrs["offset"], dtype=float).ravel()
            if offset.any():
                step = step + length(1.0, units) * offset
        turned, moved = turn @ turned, turn @ moved + step
        name, group = text(field.attrs.get("depends_on", ".")), field.parent
    raise ValueError("the chain of axes has no end")


def _vector(field: h5py.Dataset) -> NDArray[np.float64]:
    vector = np.asarray(field.attrs["vector"], dtype=float).ravel()
    size = np.linalg.norm(vector)
    if vector.shape != (3,) or not np.isfinite(size) or size == 0:
        raise ValueError(f"{field.name} has no direction")
    return np.asarray(vector / size)


def _rotation(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Return the rotation about an axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
