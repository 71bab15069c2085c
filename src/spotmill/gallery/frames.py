"""One frame of the gallery: its image, what is true of it, and where its pixels are."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.tables import SPOTS, read_table
from spotmill.gallery.choose import Choice
from spotmill.learning.dimmed import DimmedFiles, DimmedFrames
from spotmill.physics.conditions import CONDITIONS, Conditions, moved
from spotmill.physics.geometry import Detector

KEPT_TABLES = 16
UNMOVED = dict.fromkeys(CONDITIONS, 0.0) | dict.fromkeys(("flux", "signal", "background"), 1.0)


@dataclass(frozen=True)
class Shown:
    """A frame as it is shown.

    Attributes
    ----------
    row
        Of the manifest.
    image, live : [ss, fs]
        Photons, and where a pixel counted in this frame.
    conditions, detector
        As they were for this frame.
    spots
        True spots with photons, as the table of spots has them; at full flux.
    """

    choice: Choice
    row: pd.Series
    image: NDArray[Any]
    live: NDArray[np.bool_]
    conditions: Conditions
    detector: Detector
    spots: pd.DataFrame


class Reader:
    """Reads frames of a list, each from its shard, as they were evaluated.

    Parameters
    ----------
    manifest
        One row a frame.
    choices
        The frames that may be asked for.
    geometries
        Geometry file by dataset.

    Raises
    ------
    SpotmillError
        When the manifest lacks one of them, or a dataset has no geometry.
    """

    def __init__(
        self, manifest: pd.DataFrame, choices: Sequence[Choice], geometries: Mapping[str, Path]
    ) -> None:
        for name in dict.fromkeys(manifest["dataset"]):
            if name not in geometries:
                raise SpotmillError(
                    f"--geometry: dataset {name!r} has none; give {name}.geom, as "
                    "`spotmill geometry` wrote it"
                )
        self._geometries = geometries
        self._detectors: dict[tuple[Path, float, float], Detector] = {}
        self._spots: OrderedDict[str, pd.DataFrame] = OrderedDict()
        numbers = {
            key: number
            for number, key in enumerate(
                zip(manifest["dataset"].tolist(), manifest["index"].tolist(), strict=True)
            )
        }
        for one in choices:
            if (one.dataset, one.index) not in numbers:
                raise SpotmillError(
                    f"manifest: has no frame {one.index} of dataset {one.dataset!r}, which an "
                    "evaluation names; evaluate again"
                )
        self._choices = choices
        self._rows = manifest.iloc[[numbers[one.dataset, one.index] for one in choices]]
        self._files = _Files(_frames(self._rows, choices))

    def read(self, number: int) -> Shown:
        """Return the frame of that number in the list of choices."""
        row, choice = self._rows.iloc[number], self._choices[number]
        image, mask = self._files.read(number)
        shard = self._files.shard(number)
        position = int(row["position"])
        conditions = conditions_of(shard, position)
        detector = self._detector(self._geometries[choice.dataset], shard)
        return Shown(
            choice,
            row,
            image,
            mask & ~dead_pixels(shard, position, detector),
            conditions,
            detector if conditions == _unmoved(shard) else moved(detector, conditions),
            self._true_spots(row),
        )

    def _detector(self, geometry: Path, shard: Shard) -> Detector:
        header = shard.header
        key = (geometry, header.clen, header.photon_energy)
        if key not in self._detectors:
            self._detectors[key] = read_geometry(geometry).detector(
                clen=header.clen, photon_energy=header.photon_energy
            )
        detector = self._detectors[key]
        if detector.shape != shard.mask.shape:
            raise SpotmillError(
                f"{geometry}: describes frames of {detector.shape} pixels, {shard.path} holds "
                f"{shard.mask.shape}; give the geometry that made it"
            )
        return detector

    def _true_spots(self, row: pd.Series) -> pd.DataFrame:
        """Return the true spots of a manifest row that gave photons, the strongest first."""
        path = row["truth"]
        if not path:
            return pd.DataFrame(columns=SPOTS.names)
        if path not in self._spots:
            self._spots[path] = read_table(Path(path), SPOTS).to_pandas()
            if len(self._spots) > KEPT_TABLES:
                self._spots.popitem(last=False)
        table = self._spots[path]
        found = table[(table["index"] == row["index"]) & (table["photons"] > 0)]
        return found.sort_values(["photons", "ss", "fs"], ascending=False)

    def close(self) -> None:
        """Close all files."""
        self._files.close()


class _Files(DimmedFiles):
    """Files of frames that hand out the shard of a frame."""

    def shard(self, number: int) -> Shard:
        """Return the shard of overlays that holds the frame."""
        return self._shard(str(self._frames.overlay[number]))


def _frames(rows: pd.DataFrame, choices: Sequence[Choice]) -> DimmedFrames:
    words = {
        name: np.asarray(rows[name].tolist(), dtype=np.str_)
        for name in ("dataset", "overlay", "peaks")
    }
    return DimmedFrames(
        dataset=words["dataset"],
        index=rows["index"].to_numpy(np.int64),
        side=np.full(len(rows), ""),
        truth=np.zeros(len(rows), dtype=np.int64),
        overlay=words["overlay"],
        position=rows["position"].to_numpy(np.int64),
        classes=(),
        flux=np.array([one.flux for one in choices], dtype=np.float64),
        peaks=words["peaks"],
    )


def conditions_of(shard: Shard, position: int) -> Conditions:
    """Return the conditions of a frame; those of its dataset where it has none of its own."""
    known = set(shard.columns())
    own = {name: float(shard.column(name)[position]) for name in CONDITIONS if name in known}
    return Conditions(**(_unmoved(shard).__dict__ | own))


def _unmoved(shard: Shard) -> Conditions:
    header = shard.header
    values = UNMOVED | {"photon_energy": header.photon_energy, "clen": header.clen}
    return Conditions(**values)


def dead_pixels(shard: Shard, position: int, detector: Detector) -> NDArray[np.bool_]:
    """Return the pixels [ss, fs] of panels that counted nothing in a frame."""
    dead = np.zeros(detector.shape, dtype=bool)
    if "dead_panels" in shard.columns():
        for panel, off in zip(
            detector.panels, shard.column("dead_panels")[position].tolist(), strict=True
        ):
            if off:
                dead[panel.slab] = True
    return dead
