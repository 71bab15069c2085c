"""Read CrystFEL geometry files: lines to entries, entries to a `Geometry`.

The vocabulary is that of the manual page crystfel_geometry(5). What CrystFEL refuses is
refused; so is what it passes over in silence: unknown words, and one word with two values.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from spotmill.errors import SpotmillError
from spotmill.formats.geom_assembly import (
    Entries,
    Entry,
    PanelEntries,
    build_bad_region,
    build_group,
    build_panel,
    check_panels,
    override,
)
from spotmill.formats.geom_model import Flag, Geometry, Group
from spotmill.formats.geom_values import (
    HIGHEST_AXIS,
    UNITS,
    parse_axis,
    parse_bandwidth,
    parse_bits,
    parse_index,
    parse_members,
    parse_number,
    parse_peak_list_type,
    parse_positive,
    parse_quantity,
    parse_switch,
    parse_text,
    parse_vector,
    parse_word,
)
from spotmill.model import read_text

PANEL_DIRECTIVES: dict[str, Callable[[str], Any]] = {
    "min_fs": parse_index,
    "max_fs": parse_index,
    "min_ss": parse_index,
    "max_ss": parse_index,
    "corner_x": parse_number,
    "corner_y": parse_number,
    "coffset": parse_number,
    "fs": parse_vector,
    "ss": parse_vector,
    "res": parse_positive,
    "data": parse_text,
    "adu_per_photon": parse_positive,
    "adu_per_eV": parse_positive,
    "max_adu": parse_positive,
    "no_index": parse_switch,
    "mask_edge_pixels": parse_index,
    "saturation_map": parse_text,
    "saturation_map_file": parse_text,
}
FLAG_DIRECTIVES = {
    "flag_lessthan": "lessthan",
    "flag_morethan": "morethan",
    "flag_equal": "equal",
}
MASK_DIRECTIVES: dict[str, Callable[[str], Any]] = {
    "data": parse_text,
    "file": parse_text,
    "goodbits": parse_bits,
    "badbits": parse_bits,
}
BAD_DIRECTIVES: dict[str, Callable[[str], Any]] = {
    "min_fs": parse_index,
    "max_fs": parse_index,
    "min_ss": parse_index,
    "max_ss": parse_index,
    "min_x": parse_number,
    "max_x": parse_number,
    "min_y": parse_number,
    "max_y": parse_number,
    "panel": parse_word,
}
FILE_DIRECTIVES: dict[str, Callable[[str], Any]] = {
    "bandwidth": parse_bandwidth,
    "peak_list": parse_text,
    "peak_list_type": parse_peak_list_type,
}
SYNONYMS = {
    "mask": "mask0_data",
    "mask_file": "mask0_file",
    "mask_good": "mask0_goodbits",
    "mask_bad": "mask0_badbits",
    "peak_info_location": "peak_list",
}
# Understood by earlier versions of CrystFEL and passed over by later ones; none of them
# says where a pixel is.
OBSOLETE = {"badrow_direction", "rail_direction", "clen_for_centering"}
RADIATION = ("photon_energy", "wavelength", "electron_voltage")
GROUPS = ("rigid_group_collection_", "rigid_group_", "group_")
ALTERNATIVES = {"adu_per_photon": "adu_per_eV", "adu_per_eV": "adu_per_photon"}

MASK_KEY = re.compile(r"mask([0-7])_(data|file|goodbits|badbits)", re.ASCII)
AXIS_KEY = re.compile(r"dim(0|[1-9][0-9]?)", re.ASCII)


def read_geometry(path: str | Path) -> Geometry:
    """Read a CrystFEL geometry file.

    Raises
    ------
    SpotmillError
        When the file is missing, or a line unknown, malformed or at odds with another;
        the message names file, line and remedy.
    """
    return parse_geometry(read_text(path), str(path))


def parse_geometry(text: str, source: str) -> Geometry:
    """Build a geometry from the text of a file; `source` names it in messages."""
    lines = _Lines(source)
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(plain.split("\n"), start=1):
        words = line.split(";", maxsplit=1)[0].strip()
        if words:
            lines.take(words, number)
    return lines.assemble()


@dataclass
class _Lines:
    """What the lines so far have said."""

    source: str
    file: Entries = field(default_factory=dict)
    defaults: Entries = field(default_factory=dict)
    pending: Entries = field(default_factory=dict)
    panels: dict[str, PanelEntries] = field(default_factory=dict)
    regions: dict[str, Entries] = field(default_factory=dict)
    groups: dict[str, Entries] = field(default_factory=lambda: {kind: {} for kind in GROUPS})

    def refuse(self, line: int, problem: str) -> NoReturn:
        raise SpotmillError(f"{self.source}: line {line}: {problem}")

    def take(self, words: str, line: int) -> None:
        """Take in one line without its comment."""
        left, equals, right = words.partition("=")
        key, text = left.strip(), right.strip()
        if not equals:
            self.refuse(line, f"{words[:60]!r} has no equals sign; write directive = value")
        if not text:
            self.refuse(line, f"{key}: has no value; give one or remove the line")
        owner, slash, directive = key.partition("/")
        try:
            if not slash:
                self.take_global(key, text, line)
            elif owner.startswith("bad"):
                self.take_bad(owner, directive, text, line)
            else:
                self.take_panel(owner, directive, text, line)
        except ValueError as error:
            self.refuse(line, f"{key}: {error}")

    def store(self, entries: Entries, key: str, value: Any, line: int) -> None:
        """Keep a value; raise ValueError where the same scope has another one."""
        before = entries.get(key)
        if before is not None and before.value != value:
            raise ValueError(f"contradicts line {before.line}; keep one of them")
        other = ALTERNATIVES.get(key, "")
        if other in entries:
            raise ValueError(f"stands beside {other} of line {entries[other].line}; keep one")
        entries[key] = Entry(value, line)

    def take_global(self, key: str, text: str, line: int) -> None:
        """Take in a directive of the whole file, a group, or a default for later panels."""
        key = SYNONYMS.get(key, key)
        for kind in GROUPS:
            if key.startswith(kind):
                self.take_group(kind, key.removeprefix(kind), text, line)
                return
        if key in UNITS:
            others = [other for other in RADIATION if other in self.file and other != key]
            if key in RADIATION and others:
                raise ValueError(
                    f"stands beside {others[0]} of line {self.file[others[0]].line}; keep one"
                )
            self.store(self.file, key, parse_quantity(key, text), line)
        elif key in FILE_DIRECTIVES:
            self.store(self.file, key, FILE_DIRECTIVES[key](text), line)
        elif key not in OBSOLETE:
            self.take_property(self.pending, key, text, line)

    def take_group(self, kind: str, name: str, text: str, line: int) -> None:
        if not name:
            raise ValueError(f"has no name; write {kind}name = members")
        members = parse_members(text)
        if kind == "group_":
            # CrystFEL reads these from top to bottom; rigid groups it never looked up so.
            known = self.groups[kind].keys() | self.panels.keys()
            for member in members:
                if member not in known:
                    raise ValueError(
                        f"{member[:40]!r} is no panel or group above this line; define it above"
                    )
        self.store(self.groups[kind], name, members, line)

    def take_panel(self, name: str, key: str, text: str, line: int) -> None:
        """Take in a directive of one panel."""
        if len(name.split()) != 1 or name != name.strip() or "," in name:
            raise ValueError("a panel's name must be one word without commas")
        if name.startswith(("group", "rigid_group")):
            raise ValueError("a panel's name must not begin with bad, group or rigid_group")
        if name not in self.panels:
            self.defaults = override(self.defaults, self.pending)
            self.pending = {}
            self.panels[name] = PanelEntries(name, line, self.defaults, {})
        key = SYNONYMS.get(key, key)
        if key == "clen":
            # Files of CrystFEL before 0.10 repeat it for every panel.
            self.store(self.file, key, parse_quantity(key, text), line)
        elif key in UNITS or key in FILE_DIRECTIVES or key.startswith(GROUPS):
            raise ValueError(f"holds for the whole file; write it as {key} = ..., without a panel")
        elif key not in OBSOLETE:
            self.take_property(self.panels[name].own, key, text, line)

    def take_property(self, entries: Entries, key: str, text: str, line: int) -> None:
        """Take in a property of a panel, or a default for one."""
        if key in FLAG_DIRECTIVES:
            flag = Flag(FLAG_DIRECTIVES[key], parse_number(text))  # type: ignore[arg-type]
            before = entries["flags"].value if "flags" in entries else ()
            entries["flags"] = Entry((*before, flag), line)
            return
        mask = MASK_KEY.fullmatch(key)
        axis = AXIS_KEY.fullmatch(key)
        if mask:
            value = MASK_DIRECTIVES[mask[2]](text)
        elif axis:
            if int(axis[1]) > HIGHEST_AXIS:
                raise ValueError(f"axes are numbered from 0 to {HIGHEST_AXIS}")
            value = parse_axis(text)
        elif key in PANEL_DIRECTIVES:
            value = PANEL_DIRECTIVES[key](text)
        else:
            raise ValueError(
                "is no directive of CrystFEL geometry files; check its spelling or remove the line"
            )
        self.store(entries, key, value, line)

    def take_bad(self, name: str, key: str, text: str, line: int) -> None:
        """Take in a directive of a bad region."""
        if len(name.split()) != 1 or name != name.strip():
            raise ValueError("a bad region's name must be one word")
        if key not in BAD_DIRECTIVES:
            raise ValueError(
                "is no directive of a bad region; use panel and min_/max_ with fs and ss, or x "
                "and y"
            )
        self.store(self.regions.setdefault(name, {}), key, BAD_DIRECTIVES[key](text), line)

    def assemble(self) -> Geometry:
        """Build the geometry from all lines; raise SpotmillError where they do not suffice."""
        if not self.panels:
            raise SpotmillError(f"{self.source}: describes no panels; add lines such as p0/fs = x")
        for key, entry in self.pending.items():
            self.refuse(
                entry.line, f"{key}: is a default for later panels, and none follows; move it up"
            )
        if "clen" not in self.file:
            raise SpotmillError(f"{self.source}: clen: is missing; add clen = 0.15 m, or its path")
        groups = self.groups["group_"].keys() | self.panels.keys()
        panels = tuple(build_panel(entries, self.source) for entries in self.panels.values())
        check_panels(panels, {p.name: p.line for p in self.panels.values()}, self.source)
        values = {key: entry.value for key, entry in self.file.items()}
        radiation = next((values.pop(key) for key in RADIATION if key in values), None)
        return Geometry(
            panels=panels,
            radiation=radiation,
            bad_regions=tuple(
                build_bad_region(name, entries, panels, self.source)
                for name, entries in self.regions.items()
            ),
            groups=self.assemble_groups("group_", groups),
            rigid_groups=self.assemble_groups("rigid_group_", self.panels.keys()),
            rigid_group_collections=self.assemble_groups(
                "rigid_group_collection_", self.groups["rigid_group_"].keys()
            ),
            source=self.source,
            **values,
        )

    def assemble_groups(self, kind: str, known: Collection[str]) -> tuple[Group, ...]:
        """Build the groups of one kind, whose members must be known."""
        return tuple(
            build_group(kind, name, entry, known, self.source)
            for name, entry in self.groups[kind].items()
        )
