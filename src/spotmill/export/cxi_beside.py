"""What lies beside CXI files: a geometry for CrystFEL, and lists of frames in its form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spotmill.export.choice import Choice
from spotmill.export.folder import Step
from spotmill.export.paper import put
from spotmill.export.reader import Reader
from spotmill.formats.geom import (
    Geometry,
    Quantity,
    dataset_geometry,
    format_geometry,
    read_geometry,
)
from spotmill.inference.peak_file import DATA, DISTANCE, MASK, PHOTON_ENERGY, RESULT

FRAMES = "entry_1/frames"
# CrystFEL shifts the detector, and leaves the beam where it is.
SHIFTS = {"detector_shift_x": "beam_x", "detector_shift_y": "beam_y"}


def file_name(dataset: str, number: int) -> str:
    """Return the name of a CXI file."""
    return f"{dataset}_{number:05d}.cxi"


def place_of_frame(dataset: str, number: int, size: int) -> tuple[str, int]:
    """Return the file of a frame of a dataset, and its event there."""
    return file_name(dataset, number // size), number % size


@dataclass(frozen=True)
class Beside:
    """Geometry and lists of a dataset, `size` frames of which are in a file."""

    part: Choice
    reader: Reader
    size: int
    frames: int = 0

    @property
    def dataset(self) -> str:
        """The dataset of all its frames."""
        return str(self.part.table["dataset"][0].as_py())

    @property
    def name(self) -> str:
        """The name of the geometry."""
        return f"{self.dataset}.geom"

    def write(self, folder: Path, step: Step) -> list[Path]:
        """Write geometry and lists."""
        files = [folder / self.name]
        put(files[0], format_geometry(self._geometry()).encode())
        lists: dict[str, list[str]] = {"hits": []}
        for number, row in enumerate(self.part.rows()):
            file, event = place_of_frame(self.dataset, number, self.size)
            line = f"{file} //{event}\n"
            lists.setdefault(row.split, []).append(line)
            lists["hits"] += [line] if row.is_hit else []
        for name, lines in lists.items():
            files.append(folder / f"{self.dataset}_{name}.lst")
            put(files[-1], "".join(lines).encode())
        step(0)
        return files

    def _geometry(self) -> Geometry:
        known = read_geometry(self.part.geometry(self.dataset))
        photon_energy, clen = self.part.conditions[self.dataset]
        made = dataset_geometry(
            known, clen, photon_energy, known.bandwidth or 0.0, f"/{DATA}", f"/{MASK}"
        )
        made = replace(
            made, bandwidth=known.bandwidth, peak_list=f"/{RESULT}", peak_list_type="cxi"
        )
        own = [self.reader.conditions(row) for row in self.part.rows()]
        return replace(made, **places({"photon_energy": photon_energy, "clen": clen}, own))


def places(usual: dict[str, float], own: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return what differs between frames, as places in their files.

    Numbers stay where all frames share them: not every program reads them from the file.
    """
    found: dict[str, Any] = {}
    if any(frame["clen"] != usual["clen"] for frame in own):
        found["clen"] = Quantity("clen", f"/{DISTANCE}", "m")
    if any(frame["photon_energy"] != usual["photon_energy"] for frame in own):
        found["radiation"] = Quantity("photon_energy", f"/{PHOTON_ENERGY}", "eV")
    if any(frame["beam_x"] or frame["beam_y"] for frame in own):
        for name in SHIFTS:
            found[name] = Quantity(name, f"/{FRAMES}/{name}", "m")
    return found
