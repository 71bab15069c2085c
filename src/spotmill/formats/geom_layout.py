"""Which arrays of the data files the panels of a geometry lie in, and how a frame is made of them.

Most geometries describe one array [frame, ss, fs]. Others keep every module in an array of its
own, number the modules along an axis, or have a group for every event (`data = /%/data`). Their
modules are laid below one another, so that there is one frame [ss, fs] again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import PLACEHOLDER
from spotmill.formats.geom_detector import LARGEST_AREA
from spotmill.formats.geom_model import Geometry, GeomPanel

Dims = tuple[str | int, ...]
# What a reader that knows no geometry lays out as the geometry has it.
PLAIN: tuple[Dims, ...] = (("ss", "fs"), (PLACEHOLDER, "ss", "fs"))
MODULES = (PLACEHOLDER, "module", "ss", "fs")


@dataclass(frozen=True)
class Slab:
    """One two-dimensional part of the data files, from its first row and column on.

    Attributes
    ----------
    data
        Place of the array in the file.
    dims
        Meaning of its axes; a number selects one module.
    first
        Its first row in the frame.
    """

    data: str
    dims: Dims
    rows: int
    columns: int
    first: int


@dataclass(frozen=True)
class Layout:
    """How a frame [ss, fs] is put together.

    Attributes
    ----------
    geometry
        Of the frame so made; None where none is known.
    source
        Who asks for it, for messages.
    """

    slabs: tuple[Slab, ...]
    geometry: Geometry | None
    source: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the frame."""
        last = self.slabs[-1]
        return last.first + last.rows, max(slab.columns for slab in self.slabs)


def is_plain(geometry: Geometry) -> bool:
    """Return whether a reader that does not know the geometry makes the frames that it means."""
    panels = geometry.panels
    if PLACEHOLDER in panels[0].data or any(panel.data != panels[0].data for panel in panels):
        return False
    if all(panel.dims == panels[0].dims for panel in panels):
        return panels[0].dims in PLAIN
    named = {tuple("module" if isinstance(a, int) else a for a in one.dims) for one in panels}
    return named == {MODULES}


def layout_of(geometry: Geometry, data: str | None = None) -> Layout | None:
    """Return how frames are put together for a geometry; None where there is nothing to do.

    Parameters
    ----------
    data
        Place of the frames that the user gives; it stands for the geometry's.

    Raises
    ------
    SpotmillError
        When the panels ask for events of different kinds, or `data` for one array of many.
    """
    if data is not None and data != geometry.panels[0].data:
        if len({panel.data for panel in geometry.panels}) > 1:
            raise SpotmillError(
                f"--data: {geometry.source} names arrays of its own for its panels; leave --data "
                "out, or write the places into the geometry"
            )
        panels = tuple(replace(panel, data=data) for panel in geometry.panels)
        geometry = replace(geometry, panels=panels)
    if is_plain(geometry):
        return None
    check_events(geometry)
    slabs: dict[tuple[str, Dims], Slab] = {}
    for panel in geometry.panels:
        key = panel.data, panel.dims
        known = slabs.get(key, Slab(panel.data, panel.dims, 0, 0, 0))
        slabs[key] = replace(
            known,
            rows=max(known.rows, panel.max_ss + 1),
            columns=max(known.columns, panel.max_fs + 1),
        )
    first = 0
    for key, slab in slabs.items():
        slabs[key] = replace(slab, first=first)
        first += slab.rows
    laid = Layout(tuple(slabs.values()), None, geometry.source)
    if laid.shape[0] * laid.shape[1] > LARGEST_AREA:
        raise SpotmillError(
            f"{geometry.source}: its data arrays would be {laid.shape[0]} x {laid.shape[1]} "
            "pixels; check max_ss and max_fs"
        )
    shifts = {panel.name: slabs[panel.data, panel.dims].first for panel in geometry.panels}
    return replace(laid, geometry=moved(geometry, shifts))


def check_events(geometry: Geometry) -> None:
    """Raise SpotmillError where panels name events in different ways, as CrystFEL does."""
    first = geometry.panels[0]
    for panel in geometry.panels:
        for what, one, other in (
            ("data", first.data.count(PLACEHOLDER), panel.data.count(PLACEHOLDER)),
            ("dim", first.dims.count(PLACEHOLDER), panel.dims.count(PLACEHOLDER)),
        ):
            if one != other:
                raise SpotmillError(
                    f"{geometry.source}: {what}: panel {first.name} has {one} placeholders %, "
                    f"panel {panel.name} {other}; give all panels as many"
                )
        steps = panel.data.strip("/").split("/")
        if any(PLACEHOLDER in step and step != PLACEHOLDER for step in steps):
            raise SpotmillError(
                f"{geometry.source}: data: {panel.data}: a placeholder stands for a whole name, as "
                "in /%/data; correct it"
            )


def moved(geometry: Geometry, shifts: Mapping[str, int]) -> Geometry:
    """Return a geometry whose panels lie some rows farther down in one array [frame, ss, fs]."""

    def move(panel: GeomPanel) -> GeomPanel:
        shift = shifts[panel.name]
        return replace(
            panel,
            min_ss=panel.min_ss + shift,
            max_ss=panel.max_ss + shift,
            data=geometry.panels[0].data,
            dims=(PLACEHOLDER, "ss", "fs"),
        )

    regions = []
    for region in geometry.bad_regions:
        name = region.panel or geometry.panels[0].name
        shift = shifts[name] if region.axes == ("fs", "ss") else 0
        low, high = ((end[0], end[1] + shift) for end in (region.low, region.high))
        regions.append(replace(region, low=low, high=high) if shift else region)
    panels = tuple(move(panel) for panel in geometry.panels)
    return replace(geometry, panels=panels, bad_regions=tuple(regions))


def stacked(geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
    """Return a geometry whose modules lie below one another, as the reader lays them.

    Of data [frame, module, ss, fs] a geometry names the module by a number among the `dim`
    lines; module k is moved by k times the rows of one. Others are returned as they are.

    Raises
    ------
    SpotmillError
        When the rows of a frame are no multiple of a module's.
    """
    numbers = [[axis for axis in panel.dims if isinstance(axis, int)] for panel in geometry.panels]
    if not any(number != numbers[0] for number in numbers) or any(len(n) != 1 for n in numbers):
        return geometry
    rows = max(panel.max_ss for panel in geometry.panels) + 1
    if shape[0] % rows or max(number[0] for number in numbers) >= shape[0] // rows:
        raise SpotmillError(
            f"{geometry.source}: describes modules of {rows} rows, up to number "
            f"{max(number[0] for number in numbers)}, and frames have {shape[0]} rows; "
            "give the geometry of these frames"
        )
    names = [panel.name for panel in geometry.panels]
    return moved(geometry, {name: n[0] * rows for name, n in zip(names, numbers, strict=True)})
