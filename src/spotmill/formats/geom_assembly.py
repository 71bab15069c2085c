"""Put together the panels, bad regions and groups of a geometry file, and check them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from spotmill.errors import SpotmillError
from spotmill.formats.geom_model import BadRegion, GeomPanel, Group, Mask

PLAIN = (
    "coffset",
    "data",
    "adu_per_photon",
    "adu_per_eV",
    "max_adu",
    "no_index",
    "mask_edge_pixels",
    "flags",
    "saturation_map",
    "saturation_map_file",
)
REQUIRED = {
    "min_fs": "0",
    "max_fs": "1029",
    "min_ss": "0",
    "max_ss": "513",
    "corner_x": "-512.0",
    "corner_y": "-512.0",
    "fs": "x",
    "ss": "y",
    "res": "13333.3",
}


@dataclass(frozen=True)
class Entry:
    """A value and the line that gave it."""

    value: Any
    line: int


Entries = dict[str, Entry]


@dataclass(frozen=True)
class PanelEntries:
    """What stands in the file about a panel: its first line, the defaults there, its own."""

    name: str
    line: int
    inherited: Entries
    own: Entries


def override(defaults: Entries, later: Entries) -> Entries:
    """Return defaults with later values in their place; flags add up instead."""
    gains = {"adu_per_photon", "adu_per_eV"}
    merged = {k: e for k, e in defaults.items() if k not in gains or not later.keys() & gains}
    merged |= later
    if "flags" in defaults and "flags" in later:
        merged["flags"] = Entry(defaults["flags"].value + later["flags"].value, later["flags"].line)
    return merged


def build_panel(entries: PanelEntries, source: str) -> GeomPanel:
    """Return a panel from its own entries over the defaults that it inherited."""
    name = entries.name
    where = f"{source}: line {entries.line}: panel {name}"
    merged = override(entries.inherited, entries.own)
    for key, example in REQUIRED.items():
        if key not in merged:
            raise SpotmillError(f"{where}: lacks {key}; add {name}/{key} = {example}")
    if not merged.keys() & {"adu_per_photon", "adu_per_eV"}:
        raise SpotmillError(f"{where}: lacks adu_per_photon or adu_per_eV; add one of them")
    for axis in ("fs", "ss"):
        last = merged[f"max_{axis}"]
        if last.value < merged[f"min_{axis}"].value:
            raise SpotmillError(
                f"{source}: line {last.line}: {name}/max_{axis}: is below min_{axis}; swap the two"
            )
    return GeomPanel(
        name=name,
        dims=build_dims(merged, where),
        masks=build_masks(merged, where),
        **{key: merged[key].value for key in (*REQUIRED, *PLAIN) if key in merged},
    )


def build_dims(entries: Entries, where: str) -> tuple[str | int, ...]:
    """Return the meaning of the axes of a panel's data, slowest first."""
    dims: dict[int, str | int] = {0: "ss", 1: "fs"}
    dims |= {int(key[3:]): entry.value for key, entry in entries.items() if key.startswith("dim")}
    for number in range(len(dims)):
        if number not in dims:
            raise SpotmillError(f"{where}: lacks dim{number}; describe every axis of the data")
    axes = tuple(dims[number] for number in range(len(dims)))
    if axes.count("ss") != 1 or axes.count("fs") != 1 or axes.index("fs") < axes.index("ss"):
        shown = " ".join(map(str, axes))
        raise SpotmillError(
            f"{where}: its axes are {shown}; have one ss and, after it, one fs among the dim lines"
        )
    return axes


def build_masks(entries: Entries, where: str) -> tuple[Mask, ...]:
    """Return the masks of a panel, by number."""
    masks = []
    for number in range(8):
        prefix = f"mask{number}_"
        values = {
            key.removeprefix(prefix): entry.value
            for key, entry in entries.items()
            if key.startswith(prefix)
        }
        if values and "data" not in values:
            raise SpotmillError(f"{where}: mask {number} has no location; add {prefix}data")
        if values:
            masks.append(Mask(number=number, **values))
    return tuple(masks)


def check_panels(panels: tuple[GeomPanel, ...], lines: dict[str, int], source: str) -> None:
    """Raise SpotmillError where panels overlap, are flat as a line, or ask too much of a path."""
    for panel in panels:
        where = f"{source}: line {lines[panel.name]}: panel {panel.name}"
        fs, ss = np.array(panel.fs), np.array(panel.ss)
        # Scaled first, lest the squares of tiny or huge components leave the floating range.
        area = np.linalg.norm(np.cross(fs / np.abs(fs).max(), ss / np.abs(ss).max()))
        if area < 1e-2:
            raise SpotmillError(f"{where}: fs and ss are parallel; mend one of them")
        for path in (panel.saturation_map, *(mask.data for mask in panel.masks)):
            if path is not None and path.count("%") > panel.data.count("%"):
                raise SpotmillError(
                    f"{where}: {path[:60]!r} has more placeholders % than the image data; "
                    "remove some"
                )
        check_placeable(panel, where)
    ordered = sorted(panels, key=lambda panel: panel.min_ss)
    for number, panel in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if other.min_ss > panel.max_ss:
                break
            if panel.overlaps(other):
                first, last = sorted((panel, other), key=lambda one: lines[one.name])
                raise SpotmillError(
                    f"{source}: line {lines[last.name]}: panel {last.name} overlaps panel "
                    f"{first.name} (line {lines[first.name]}) in the data; min_ and max_ are both "
                    "inclusive"
                )


def check_placeable(panel: GeomPanel, where: str) -> None:
    """Raise SpotmillError where the numbers of a panel are no place in a laboratory."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        sizes = np.linalg.norm([panel.fs, panel.ss], axis=1) / panel.res
        corner = np.array([panel.corner_x / panel.res, panel.corner_y / panel.res, panel.coffset])
    if not (np.all(sizes > 1e-9) and np.all(sizes < 1.0)):
        raise SpotmillError(
            f"{where}: its pixels are {sizes[0]:g} x {sizes[1]:g} m; check res (pixels a metre), "
            "fs and ss"
        )
    if not np.all(np.abs(corner) < 1e4):
        raise SpotmillError(f"{where}: lies more than 10 km away; check corner_x/y and coffset")


def build_bad_region(
    name: str, entries: Entries, panels: tuple[GeomPanel, ...], source: str
) -> BadRegion:
    """Return a bad region, checked against the panels."""
    first = min(entry.line for entry in entries.values())
    where = f"{source}: line {first}: bad region {name}"
    axes = region_axes(entries, where)
    for key in (f"{end}_{axis}" for axis in axes for end in ("min", "max")):
        if key not in entries:
            raise SpotmillError(f"{where}: lacks {key}; add it")
    low = (float(entries[f"min_{axes[0]}"].value), float(entries[f"min_{axes[1]}"].value))
    high = (float(entries[f"max_{axes[0]}"].value), float(entries[f"max_{axes[1]}"].value))
    if low[0] > high[0] or low[1] > high[1]:
        raise SpotmillError(f"{where}: its minimum is above its maximum; swap the two")
    panel = entries.get("panel")
    region = BadRegion(name, axes, low, high, panel.value if panel else None)
    if panel is not None:
        check_region_panel(region, panels, f"{source}: line {panel.line}: {name}/panel")
    elif axes == ("fs", "ss") and len(panels) > 1:
        raise SpotmillError(f"{where}: names no panel; add {name}/panel = {panels[0].name}")
    return region


def region_axes(entries: Entries, where: str) -> tuple[str, str]:
    """Return the axes in which a bad region has its limits."""
    in_data = [key for key in entries if key.endswith(("_fs", "_ss"))]
    in_laboratory = [key for key in entries if key.endswith(("_x", "_y"))]
    if in_data and in_laboratory:
        raise SpotmillError(
            f"{where}: mixes {in_data[0]} (line {entries[in_data[0]].line}) with "
            f"{in_laboratory[0]} (line {entries[in_laboratory[0]].line}); use fs and ss, or x and y"
        )
    if in_laboratory and "panel" in entries:
        raise SpotmillError(
            f"{where}: names a panel (line {entries['panel'].line}), but a region in x and y holds "
            "for all of them; remove that line"
        )
    return ("x", "y") if in_laboratory else ("fs", "ss")


def check_region_panel(region: BadRegion, panels: tuple[GeomPanel, ...], where: str) -> None:
    """Raise SpotmillError unless a bad region lies within the panel that it names."""
    panel = next((panel for panel in panels if panel.name == region.panel), None)
    if panel is None:
        raise SpotmillError(f"{where}: there is no panel {region.panel!r}; name one of the file's")
    bounds = (panel.min_fs, panel.min_ss), (panel.max_fs, panel.max_ss)
    if any(low < limit for low, limit in zip(region.low, bounds[0], strict=True)) or any(
        high > limit for high, limit in zip(region.high, bounds[1], strict=True)
    ):
        raise SpotmillError(
            f"{where}: the region leaves panel {panel.name} (fs {panel.min_fs} to {panel.max_fs}, "
            f"ss {panel.min_ss} to {panel.max_ss}); keep it within"
        )


def build_group(kind: str, name: str, entry: Entry, known: Collection[str], source: str) -> Group:
    """Return a group whose members are all known."""
    for member in entry.value:
        if member not in known:
            raise SpotmillError(
                f"{source}: line {entry.line}: {kind}{name}: there is no {member[:40]!r}; "
                "name what the file defines"
            )
    return Group(name, entry.value)
