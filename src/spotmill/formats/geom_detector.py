"""From a geometry file's words to a detector in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.units import check_clen, check_photon_energy

if TYPE_CHECKING:
    from spotmill.formats.geom_model import BadRegion, Geometry, GeomPanel
    from spotmill.formats.geom_values import Quantity

# Beyond this an image is a slip of the pen: 268 million pixels, 16 times the largest detectors.
LARGEST_AREA = 2**28


def build_detector(
    geometry: Geometry, clen: float | None = None, photon_energy: float | None = None
) -> Detector:
    """Return the detector that a geometry describes (see `Geometry.detector`)."""
    check_one_slab(geometry)
    shape = (
        max(panel.max_ss for panel in geometry.panels) + 1,
        max(panel.max_fs for panel in geometry.panels) + 1,
    )
    if shape[0] * shape[1] > LARGEST_AREA:
        raise SpotmillError(
            f"{geometry.source}: its data array would be {shape[0]} x {shape[1]} pixels; "
            "check max_ss and max_fs"
        )
    distance = camera_length(geometry, clen)
    shift = (
        shift_length(geometry, geometry.detector_shift_x),
        shift_length(geometry, geometry.detector_shift_y),
    )
    limits = [panel.max_adu for panel in geometry.panels if panel.max_adu is not None]
    return Detector(
        panels=tuple(place(panel, distance, shift) for panel in geometry.panels),
        shape=shape,
        mask=live_pixels(geometry, shape),
        clen=distance,
        max_adu=min(limits, default=None),
        adu_per_photon=gain(geometry, photon_energy),
    )


def place(panel: GeomPanel, clen: float, shift: tuple[float, float]) -> Panel:
    """Return a panel in space, with the camera length and the detector's shift in m."""
    return Panel(
        name=panel.name,
        min_fs=panel.min_fs,
        max_fs=panel.max_fs,
        min_ss=panel.min_ss,
        max_ss=panel.max_ss,
        corner=np.array(
            [
                panel.corner_x / panel.res + shift[0],
                panel.corner_y / panel.res + shift[1],
                clen + panel.coffset,
            ]
        ),
        fs=np.array(panel.fs) / panel.res,
        ss=np.array(panel.ss) / panel.res,
    )


def check_one_slab(geometry: Geometry) -> None:
    """Raise SpotmillError unless all panels lie in one two-dimensional array of the data."""
    first = geometry.panels[0]
    for panel in geometry.panels[1:]:
        for key, one, other in (
            ("data", first.data, panel.data),
            ("dim", " ".join(map(str, first.dims)), " ".join(map(str, panel.dims))),
        ):
            if one != other:
                raise SpotmillError(
                    f"{geometry.source}: {key}: panel {first.name} has {one!r}, panel "
                    f"{panel.name} {other!r}; panels must share one two-dimensional array "
                    "(stack them along ss and renumber min_ss and max_ss)"
                )


def camera_length(geometry: Geometry, clen: float | None) -> float:
    """Return the camera length in m: the one given, or else the file's."""
    value = geometry.clen.number if clen is None else clen
    if value is None:
        raise SpotmillError(
            f"{geometry.source}: clen: stands in the data files, at {geometry.clen.location}; "
            "give it with --clen, in m"
        )
    # Offsets count: a camera length may be the reading of an encoder, even a negative one.
    for panel in geometry.panels:
        try:
            check_clen(value + panel.coffset)
        except SpotmillError as error:
            raise SpotmillError(f"{geometry.source}: panel {panel.name}: {error}") from error
    return value


def shift_length(geometry: Geometry, shift: Quantity | None) -> float:
    """Return a shift of the detector in m."""
    if shift is None:
        return 0.0
    if shift.number is None:
        raise SpotmillError(
            f"{geometry.source}: {shift.directive}: stands in the data files, at "
            f"{shift.location}; write a number in its place"
        )
    return shift.number


def gain(geometry: Geometry, photon_energy: float | None) -> float:
    """Return adu_per_photon, which all panels must share."""
    values = {(panel.adu_per_photon, panel.adu_per_eV) for panel in geometry.panels}
    if len(values) > 1:
        raise SpotmillError(
            f"{geometry.source}: adu_per_photon or adu_per_eV: differs between panels; "
            "give all panels the same"
        )
    per_photon, per_energy = values.pop()
    if per_photon is not None:
        return per_photon
    if per_energy is None:
        raise SpotmillError(f"{geometry.source}: adu_per_photon: is missing; add it")
    energy = geometry.photon_energy if photon_energy is None else photon_energy
    if energy is None:
        raise SpotmillError(
            f"{geometry.source}: adu_per_eV: needs a photon energy, and the file has none as a "
            "number; give adu_per_photon instead, or a photon energy"
        )
    return per_energy * check_photon_energy(energy)


def live_pixels(geometry: Geometry, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] of panels that no bad region, edge or no_index excludes."""
    mask = np.zeros(shape, dtype=bool)
    for panel in geometry.panels:
        if panel.no_index:
            continue
        edge = panel.mask_edge_pixels
        mask[
            panel.min_ss + edge : max(panel.max_ss + 1 - edge, 0),
            panel.min_fs + edge : max(panel.max_fs + 1 - edge, 0),
        ] = True
    for region in geometry.bad_regions:
        for panel in geometry.panels:
            if region.panel in (None, panel.name):
                exclude(mask, region, panel)
    return mask


def exclude(mask: NDArray[np.bool_], region: BadRegion, panel: GeomPanel) -> None:
    """Mark the pixels of a panel that a bad region covers."""
    if region.axes == ("fs", "ss"):
        (low_fs, low_ss), (high_fs, high_ss) = region.low, region.high
        mask[
            max(int(low_ss), panel.min_ss) : min(int(high_ss), panel.max_ss) + 1,
            max(int(low_fs), panel.min_fs) : min(int(high_fs), panel.max_fs) + 1,
        ] = False
        return
    # CrystFEL compares the first corner of a pixel, not its centre, and excludes the limits.
    ss, fs = np.ogrid[: panel.max_ss - panel.min_ss + 1, : panel.max_fs - panel.min_fs + 1]
    x = panel.corner_x + fs * panel.fs[0] + ss * panel.ss[0]
    y = panel.corner_y + fs * panel.fs[1] + ss * panel.ss[1]
    covered = (x > region.low[0]) & (x < region.high[0])
    covered &= (y > region.low[1]) & (y < region.high[1])
    mask[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1][covered] = False
