"""Write CrystFEL geometry files that read back as the same `Geometry`."""

from collections.abc import Iterator
from pathlib import Path

from spotmill.formats.atomic import write_text
from spotmill.formats.geom_model import BadRegion, Geometry, GeomPanel, Mask
from spotmill.formats.geom_values import format_number, format_quantity, format_vector

Line = tuple[str, str]

# What says where a panel is stands with the panel, even where panels agree.
PLACE = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "coffset", "fs", "ss")


def write_geometry(path: str | Path, geometry: Geometry) -> None:
    """Write a CrystFEL geometry file, whole or not at all.

    Properties that all panels share stand once, above the panels.
    """
    write_text(path, format_geometry(geometry))


def format_geometry(geometry: Geometry) -> str:
    """Return the text of a geometry file."""
    own = {panel.name: list(panel_lines(panel)) for panel in geometry.panels}
    shared = [line for line in own[geometry.panels[0].name] if all(line in x for x in own.values())]
    # Flags add up from defaults to panels and may repeat, so they move all or not at all.
    if len({panel.flags for panel in geometry.panels}) > 1:
        shared = [line for line in shared if not line[0].startswith("flag_")]
    shared = [line for line in shared if line[0] not in PLACE]
    blocks = [list(file_lines(geometry)), shared]
    blocks += [
        [(f"{name}/{key}", value) for key, value in lines if (key, value) not in shared]
        for name, lines in own.items()
    ]
    blocks += [list(region_lines(region)) for region in geometry.bad_regions]
    blocks.append(list(group_lines(geometry)))
    return "\n".join(
        "".join(f"{key} = {value}\n" for key, value in block) for block in blocks if block
    )


def file_lines(geometry: Geometry) -> Iterator[Line]:
    """Yield what holds for the whole file."""
    for quantity in (
        geometry.clen,
        geometry.radiation,
        geometry.detector_shift_x,
        geometry.detector_shift_y,
    ):
        if quantity is not None:
            yield quantity.directive, format_quantity(quantity)
    if geometry.bandwidth is not None:
        yield "bandwidth", format_number(geometry.bandwidth)
    for key, text in (
        ("peak_list", geometry.peak_list),
        ("peak_list_type", geometry.peak_list_type),
    ):
        if text is not None:
            yield key, text


def panel_lines(panel: GeomPanel) -> Iterator[Line]:
    """Yield the properties of a panel."""
    yield "data", panel.data
    for number, axis in enumerate(panel.dims):
        yield f"dim{number}", str(axis)
    for mask in panel.masks:
        yield from mask_lines(mask)
    yield "res", format_number(panel.res)
    for key in ("adu_per_photon", "adu_per_eV", "max_adu"):
        value = getattr(panel, key)
        if value is not None:
            yield key, format_number(value)
    for key in ("saturation_map", "saturation_map_file"):
        if getattr(panel, key) is not None:
            yield key, getattr(panel, key)
    for flag in panel.flags:
        yield f"flag_{flag.kind}", format_number(flag.value)
    if panel.no_index:
        yield "no_index", "1"
    if panel.mask_edge_pixels:
        yield "mask_edge_pixels", str(panel.mask_edge_pixels)
    for key in ("min_fs", "max_fs", "min_ss", "max_ss"):
        yield key, str(getattr(panel, key))
    yield "corner_x", format_number(panel.corner_x)
    yield "corner_y", format_number(panel.corner_y)
    if panel.coffset:
        yield "coffset", format_number(panel.coffset)
    yield "fs", format_vector(panel.fs)
    yield "ss", format_vector(panel.ss)


def mask_lines(mask: Mask) -> Iterator[Line]:
    """Yield the lines of a mask; number 0 in the words that all versions of CrystFEL know."""
    old = {"data": "mask", "file": "mask_file", "goodbits": "mask_good", "badbits": "mask_bad"}

    def key(part: str) -> str:
        return old[part] if mask.number == 0 else f"mask{mask.number}_{part}"

    yield key("data"), mask.data
    if mask.file is not None:
        yield key("file"), mask.file
    yield key("goodbits"), f"{mask.goodbits:#x}"
    yield key("badbits"), f"{mask.badbits:#x}"


def region_lines(region: BadRegion) -> Iterator[Line]:
    """Yield the lines of a bad region."""
    for number, axis in enumerate(region.axes):
        yield f"{region.name}/min_{axis}", format_number(region.low[number])
        yield f"{region.name}/max_{axis}", format_number(region.high[number])
    if region.panel is not None:
        yield f"{region.name}/panel", region.panel


def group_lines(geometry: Geometry) -> Iterator[Line]:
    """Yield the lines of all groups, each after its members."""
    for kind, groups in (
        ("rigid_group_", geometry.rigid_groups),
        ("rigid_group_collection_", geometry.rigid_group_collections),
        ("group_", geometry.groups),
    ):
        for group in groups:
            yield f"{kind}{group.name}", ",".join(group.members)
