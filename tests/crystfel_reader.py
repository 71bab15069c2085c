"""Geometry files and frames read by the rules of CrystFEL's manuals, apart from our own reader.

Written from crystfel_geometry(5) and indexamajig(1) of CrystFEL 0.10 and what its reader was seen
to refuse (docs/crystfel.md); strict: what would be a warning there is an error here.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  CrystFEL reads bitshuffle by the same plugins
import numpy as np

NUMBER = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
WAVELENGTHS = {
    "photon_energy": {"eV": 1.0, "keV": 1e3, "": 1.0},
    "wavelength": {"m": 1e10, "A": 1.0},
    "electron_voltage": {"V": 1.0, "kV": 1e3},
}
NEEDED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss", "res")
PANEL_KEY = re.compile(
    r"min_fs|max_fs|min_ss|max_ss|corner_x|corner_y|fs|ss|res|coffset|data|dim\d|adu_per_photon|"
    r"adu_per_eV|max_adu|no_index|mask_edge_pixels|flag_(lessthan|morethan|equal)|"
    r"mask|mask_file|mask_good|mask_bad|mask[0-7]_(data|file|goodbits|badbits)|"
    r"saturation_map|saturation_map_file"
)
# The parser of directions stops at anything else, exponents among them.
DIRECTION = re.compile(r"([+-]?(\d+(\.\d*)?|\.\d+)?[xyz])([+-](\d+(\.\d*)?|\.\d+)?[xyz])*")


@dataclass
class Read:
    """A geometry file: values by name, of the file and of each panel."""

    top: dict[str, str] = field(default_factory=dict)
    panels: dict[str, dict[str, str]] = field(default_factory=dict)
    regions: dict[str, dict[str, str]] = field(default_factory=dict)


def read_geom(path: Path) -> Read:
    """Return what a geometry file says; AssertionError where CrystFEL would not take it."""
    read, defaults, unused = Read(), {}, False
    for line in path.read_text().splitlines():
        line = line.partition(";")[0].strip()
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        assert equals and key and value, line
        name, slash, rest = key.partition("/")
        if slash and name.startswith("bad"):
            read.regions.setdefault(name, {})[rest] = value
        elif slash:
            assert not name.startswith(("group", "rigid_group")), line
            assert PANEL_KEY.fullmatch(rest), line
            if name not in read.panels:
                read.panels[name], unused = dict(defaults), False
            read.panels[name][rest] = value
        elif key in (*WAVELENGTHS, "clen", "bandwidth", "peak_list", "peak_list_type") or (
            key.startswith(("detector_shift_", "rigid_group_", "group_"))
        ):
            assert key not in read.top, f"{key} twice"
            # In 0.10 it is a default for panels to come.
            assert key != "clen" or not read.panels, "clen comes too late"
            read.top[key] = value
        else:
            assert PANEL_KEY.fullmatch(key), line
            defaults[key], unused = value, True
    assert not unused, "defaults after the last panel"
    check(read)
    return read


def check(read: Read) -> None:
    """Raise AssertionError where the values are not as the manual asks."""
    assert read.panels
    known = [name for name in WAVELENGTHS if name in read.top]
    assert len(known) == 1, known
    for name, units in ((known[0], WAVELENGTHS[known[0]]), ("clen", {"m": 1, "mm": 1e-3, "": 1})):
        value, _, unit = read.top[name].partition(" ")
        assert re.fullmatch(NUMBER, value) or value.startswith("/"), read.top[name]
        assert unit in units, read.top[name]
        assert unit or not value.startswith("/"), "a place without a unit"
    if "bandwidth" in read.top:
        assert 0 <= float(read.top["bandwidth"]) < 1
    if "peak_list" in read.top:
        assert read.top["peak_list"].startswith("/") and read.top["peak_list_type"] == "cxi"
    taken: list[tuple[Any, ...]] = []
    for name, panel in read.panels.items():
        assert all(key in panel for key in NEEDED), name
        assert ("adu_per_photon" in panel) != ("adu_per_eV" in panel), name
        for key in ("fs", "ss"):
            assert DIRECTION.fullmatch(panel[key].replace(" ", "")), panel[key]
        dims = dims_of(panel)
        assert dims.count("ss") == dims.count("fs") == 1 and dims.index("ss") < dims.index("fs")
        assert panel["data"].startswith("/")
        limits = {key: int(panel[key]) for key in NEEDED[:4]}
        assert 0 <= limits["min_fs"] <= limits["max_fs"] and limits["min_ss"] >= 0
        assert limits["min_ss"] <= limits["max_ss"]
        # CXI peaks have no panel: the first and only one around the place is theirs.
        for other in taken:
            apart = limits["min_fs"] > other[1] or limits["max_fs"] < other[0]
            assert apart or limits["min_ss"] > other[3] or limits["max_ss"] < other[2], name
        taken.append(tuple(limits.values()))
        if "mask" in panel:
            assert panel["mask"].count("%") <= panel["data"].count("%")
            for key in ("mask_good", "mask_bad"):
                assert re.fullmatch(r"0x[0-9a-f]+", panel[key])
    for region in read.regions.values():
        assert region.get("panel", next(iter(read.panels))) in read.panels


def dims_of(panel: dict[str, str]) -> list[str]:
    """Return the meaning of the axes of a panel's data."""
    named = {int(key[3:]): value for key, value in panel.items() if re.fullmatch(r"dim\d", key)}
    dims = named or {0: "ss", 1: "fs"}
    assert sorted(dims) == list(range(len(dims)))
    return [dims[number] for number in sorted(dims)]


@dataclass
class Frame:
    """One event: images and masks by panel, peaks (panel, fs, ss, intensity), eV and m."""

    images: dict[str, np.ndarray]
    bad: dict[str, np.ndarray]
    peaks: list[tuple[str, float, float, float]]
    photon_energy: float
    clen: float


def read_list(path: Path) -> list[tuple[Path, str]]:
    """Return the files and events of a list."""
    lines = [line.rpartition(" ") for line in path.read_text().splitlines()]
    assert all("//" in event for _, _, event in lines)
    return [(Path(name), event) for name, _, event in lines]


def read_frame(read: Read, path: Path, event: str) -> Frame:
    """Return an event of a file as indexamajig --peaks=cxi would have it."""
    numbers = [int(one) for one in event.partition("//")[2].split("/") if one]
    assert not event.partition("//")[0], "no placeholders in places here"
    with h5py.File(path, "r") as file:
        images, bad = {}, {}
        for name, panel in read.panels.items():
            images[name] = cut(file[panel["data"]], panel, numbers, static=False).astype(np.float32)
            bad[name] = ~np.isfinite(images[name])
            if "mask" in panel:
                assert "mask_file" not in panel
                mask = cut(file[panel["mask"]], panel, numbers, static=True).astype(np.int32)
                good = int(panel["mask_good"], 16)
                bad[name] |= (mask & good) != good
                bad[name] |= (mask & int(panel["mask_bad"], 16)) != 0
        kind = next(name for name in WAVELENGTHS if name in read.top)
        return Frame(
            images,
            bad,
            list(peaks_of(read, file, numbers)) if "peak_list" in read.top else [],
            number(file, read.top[kind], WAVELENGTHS[kind], numbers),
            number(file, read.top["clen"], {"m": 1.0, "mm": 1e-3, "": 1.0}, numbers),
        )


def cut(
    dataset: h5py.Dataset, panel: dict[str, str], numbers: list[int], static: bool
) -> np.ndarray:
    """Return the pixels of a panel; a mask may lack the axes of events."""
    dims = dims_of(panel)
    if static and dataset.ndim == len(dims) - dims.count("%"):
        dims = [one for one in dims if one != "%"]
    assert dataset.ndim == len(dims), (dataset.ndim, dims)
    waiting = iter(numbers)
    where: list[Any] = []
    for one, size in zip(dims, dataset.shape, strict=True):
        if one in ("fs", "ss"):
            low, high = int(panel[f"min_{one}"]), int(panel[f"max_{one}"])
            assert high < size
            where.append(slice(low, high + 1))
        else:
            at = next(waiting) if one == "%" else int(one)
            assert at < size
            where.append(at)
    return np.asarray(dataset[tuple(where)])


def number(file: h5py.File, text: str, units: dict[str, float], numbers: list[int]) -> float:
    """Return a number, or the event's number at a place: each axis is of size 1 or the event's."""
    value, _, unit = text.partition(" ")
    if not value.startswith("/"):
        return float(value) * units[unit]
    dataset, waiting = file[value], iter(numbers)
    assert dataset.dtype.kind in "iuf"
    at = tuple(0 if size == 1 else next(waiting) for size in dataset.shape)
    return float(dataset[at]) * units[unit]


def peaks_of(read: Read, file: h5py.File, numbers: list[int]) -> Any:
    """Yield the peaks of an event, half a pixel moved, by panel."""
    group, line = file[read.top["peak_list"]], numbers[0]
    assert group["nPeaks"].ndim == 1
    columns = [group[name] for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity")]
    assert all(one.ndim == 2 for one in columns)
    count = int(group["nPeaks"][line])
    for fs, ss, intensity in zip(*(one[line, :count].tolist() for one in columns), strict=True):
        fs, ss = fs + 0.5, ss + 0.5
        found = [
            name
            for name, panel in read.panels.items()
            if int(panel["min_fs"]) <= fs < int(panel["max_fs"]) + 1
            and int(panel["min_ss"]) <= ss < int(panel["max_ss"]) + 1
        ]
        assert len(found) == 1, (fs, ss, found)
        panel = read.panels[found[0]]
        yield found[0], fs - int(panel["min_fs"]), ss - int(panel["min_ss"]), intensity
