"""Where the panels of a detector are, as NXmx says it: what dxtbx, DIALS and nxmx read.

NeXus has the axes of CrystFEL (the McStas convention): z along the beam, y upwards. Panels that
lie in space as they do in the data array are one NXdetector_module, gaps included, as the files of
such detectors have them; others are one each. Corner and directions of a module hang on the one
translation along the beam.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.geom import parse_geometry
from spotmill.physics.geometry import Detector, Panel

TRANSLATION = "/entry/instrument/detector/transformations/translation"
# No depth of a sensor is simulated, so that readers must not correct for one: as thin (m) as
# dxtbx takes it.
SENSOR = {"sensor_material": "Si", "sensor_thickness": 1e-6}


def detector_text(parameters: Mapping[str, Any]) -> str | None:
    """Return the geometry file that made a shard, or what it was drawn from; None without one."""
    text = parameters.get("detector")
    if isinstance(text, str):
        return text
    for name in ("water", "peaks"):
        within = parameters.get(name)
        if isinstance(within, Mapping):
            found = detector_text(within)
            if found is not None:
                return found
    return None


def describe_detector(
    entry: h5py.Group, parameters: Mapping[str, Any], clen: float, photon_energy: float
) -> None:
    """Write the panels of a shard's detector into its entry; nothing where no geometry is known.

    Parameters
    ----------
    clen, photon_energy
        m, eV.
    """
    text = detector_text(parameters)
    if text is None:
        return
    try:
        detector = parse_geometry(text, "detector").detector(clen, photon_energy)
    except SpotmillError:
        # What computes with it names the file and says what is wrong.
        return
    group = entry["instrument/detector"]
    put(group, "depends_on", TRANSLATION)
    for name, value in SENSOR.items():
        put(group, name, value, {"units": "m"} if name == "sensor_thickness" else {})
    centre = beam_centre(detector)
    if centre is not None:
        for axis, pixels in zip("xy", centre, strict=True):
            put(group, f"beam_center_{axis}", pixels, {"units": "pixel"})
    chain = group.create_group("transformations")
    chain.attrs["NX_class"] = np.bytes_("NXtransformations")
    put_axis(chain, "translation", clen, (0.0, 0.0, 1.0), ".")
    for panel in modules(detector):
        put_module(group, panel, clen)


def modules(detector: Detector) -> tuple[Panel, ...]:
    """Return the panels, as one where a single array of pixels holds them all."""
    first = detector.panels[0]
    origin = first.corner - first.min_fs * first.fs - first.min_ss * first.ss
    near = 1e-3 * detector.pixel_size
    for panel in detector.panels:
        for fs, ss in ((panel.min_fs, panel.min_ss), (panel.max_fs + 1, panel.max_ss + 1)):
            own = panel.corner + (fs - panel.min_fs) * panel.fs + (ss - panel.min_ss) * panel.ss
            if np.abs(own - (origin + fs * first.fs + ss * first.ss)).max() > near:
                return detector.panels
    rows, columns = detector.shape
    return (
        replace(
            first, name="0", min_fs=0, max_fs=columns - 1, min_ss=0, max_ss=rows - 1, corner=origin
        ),
    )


def put_module(detector: h5py.Group, panel: Panel, clen: float) -> None:
    """Write a panel as an NXdetector_module."""
    module = detector.create_group(f"module_{panel.name}")
    module.attrs["NX_class"] = np.bytes_("NXdetector_module")
    put(module, "data_origin", np.array([panel.min_ss, panel.min_fs]))
    size = [panel.max_ss - panel.min_ss + 1, panel.max_fs - panel.min_fs + 1]
    put(module, "data_size", np.array(size))
    corner = panel.corner - [0.0, 0.0, clen]
    length = float(np.linalg.norm(corner))
    direction = corner / length if length else np.array([0.0, 0.0, 1.0])
    put_axis(module, "module_offset", length, direction, TRANSLATION)
    for name, step in (("fast_pixel_direction", panel.fs), ("slow_pixel_direction", panel.ss)):
        side = float(np.linalg.norm(step))
        put_axis(module, name, side, step / side, f"{module.name}/module_offset")


def put_axis(
    group: h5py.Group, name: str, value: float, vector: ArrayLike, depends_on: str
) -> None:
    """Write a translation by `value` (m) along a direction."""
    put(
        group,
        name,
        value,
        {
            "units": "m",
            "transformation_type": "translation",
            "vector": np.asarray(vector, dtype=np.float64),
            "offset": np.zeros(3),
            "depends_on": depends_on,
        },
    )


def put(
    group: h5py.Group, name: str, value: Any, attributes: Mapping[str, Any] | None = None
) -> None:
    """Store a small value within its object's header, whose checksum covers it."""
    array: NDArray[Any] = np.asarray(np.bytes_(value) if isinstance(value, str) else value)
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    layout.set_obj_track_times(False)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    space = h5py.h5s.create_simple(array.shape) if array.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, layout))
    dataset[()] = array
    for key, known in (attributes or {}).items():
        dataset.attrs[key] = np.bytes_(known) if isinstance(known, str) else known


def beam_centre(detector: Detector) -> tuple[float, float] | None:
    """Return fs, ss of the beam in pixels of the data array, by the panel nearest to it.

    None where that panel is edge on.
    """
    best: tuple[float, tuple[float, float]] | None = None
    for panel in detector.panels:
        sides = np.array([panel.fs[:2], panel.ss[:2]]).T
        if abs(np.linalg.det(sides)) < 1e-3 * detector.pixel_size**2:
            continue
        fs, ss = np.linalg.solve(sides, -panel.corner[:2])
        width, height = panel.max_fs - panel.min_fs + 1, panel.max_ss - panel.min_ss + 1
        off = math.hypot(fs - min(max(fs, 0.0), width), ss - min(max(ss, 0.0), height))
        if best is None or off < best[0]:
            best = off, (float(panel.min_fs + fs), float(panel.min_ss + ss))
    return None if best is None else best[1]
