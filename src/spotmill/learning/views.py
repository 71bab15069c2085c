"""The detector behind each frame of a task, where its datasets have several."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.geom import parse_geometry
from spotmill.learning.encoders import View
from spotmill.learning.frames import Frames
from spotmill.learning.registry import MODELS
from spotmill.model import read_text
from spotmill.overlays.opener import open_overlay
from spotmill.tasks import Task

# What these tell stands in radial profiles, whose bins are those of one detector.
OF_PROFILES = ("photon_energy", "camera_length")


def geometry_of(path: str) -> str:
    """Return the geometry, without layout, that the frames of a shard were made with; or ""."""
    with open_overlay(path) as shard:
        water = shard.header.parameters.get("water")
    return plain(str(water.get("detector", ""))) if isinstance(water, dict) else ""


def first_of(frames: Frames, geometry: str | Path, among: NDArray[np.bool_] | None = None) -> int:
    """Return the first row whose frame was made with a geometry file; the first of all else."""
    wanted = plain(read_text(geometry))
    rows = np.arange(len(frames)) if among is None else np.flatnonzero(among)
    _, firsts = np.unique(frames.dataset[rows], return_index=True)
    for row in rows[np.sort(firsts)].tolist():
        if geometry_of(str(frames.overlay[row])) == wanted:
            return int(row)
    return int(rows[0])


class Views:
    """Views by dataset: the given one, or that of the geometry which a dataset was made with.

    Parameters
    ----------
    given, geometry
        The view that all frames share which were made with this geometry file.
    """

    def __init__(self, given: View, geometry: str | Path, frames: Frames) -> None:
        self._given, self._frames = given, frames
        self._views: dict[str, View] = {}
        known = {plain(read_text(geometry)): given}
        for name in np.unique(frames.dataset).tolist():
            first = int(np.argmax(frames.dataset == name))
            with open_overlay(str(frames.overlay[first])) as shard:
                water = shard.header.parameters.get("water")
                text = water.get("detector") if isinstance(water, dict) else None
                shape, header = shard.shape[1:], shard.header
            if not text:
                self._views[name] = given
                continue
            if plain(text) not in known:
                read = parse_geometry(text, f"{shard.path} (its detector)")
                known[plain(text)] = View(
                    read.detector(clen=header.clen, photon_energy=header.photon_energy)
                )
            self._views[name] = known[plain(text)]
            if self._views[name].shape != tuple(shape):
                raise SpotmillError(
                    f"{shard.path}: holds frames of {tuple(shape)} pixels, its geometry describes "
                    f"{self._views[name].shape}; remake it"
                )

    def of(self, row: int) -> View:
        """Return the view of the frame in a row."""
        return self._views[str(self._frames.dataset[row])]

    def kinds(self, rows: NDArray[np.int64]) -> list[list[float]]:
        """Return (ss, fs, pixel size in m) of the kinds of detectors behind rows; none for one."""
        views = {id(view): view for view in map(self.of, rows.tolist())}.values()
        found = sorted({(*view.shape, view.detector.pixel_size) for view in views})
        return [list(kind) for kind in found] if len(found) > 1 else []

    def check(self, task: Task, source: str) -> None:
        """Raise SpotmillError where a model that needs one detector is to see several."""
        whole = MODELS[task.model].whole_frames
        if not whole and task.target not in OF_PROFILES:
            return
        names = list(self._views)
        for name in names[1:]:
            one, other = self._views[names[0]], self._views[name]
            if one is not other and (one.shape != other.shape or not whole):
                reads = "whole frames" if whole else "radial profiles"
                raise SpotmillError(
                    f"{source}: model {task.model} reads {reads} of one detector; dataset "
                    f"{names[0]} has {one.shape} pixels of {one.detector.pixel_size:.3g} m, {name} "
                    f"{other.shape} of {other.detector.pixel_size:.3g} m: choose datasets of one, "
                    "or for hits and peaks patch_counter and peak_net"
                )


def plain(text: str) -> str:
    """Return a geometry without comments and layout."""
    lines = (line.split(";")[0].split() for line in text.splitlines())
    return "\n".join(" ".join(words) for words in lines if words)
