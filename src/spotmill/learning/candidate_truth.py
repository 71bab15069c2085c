"""Whether each candidate of a frame is a true spot: taught besides the frame's class.

A hundred frames with one answer each teach single candidates badly; their tables of spots have
an answer for each candidate.
"""

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.frames import read_split
from spotmill.learning.peak_samples import TRAINING_RADIUS
from spotmill.learning.peaks import read_spots
from spotmill.learning.registry import model_module
from spotmill.learning.setup import Setup
from spotmill.overlays.opener import open_overlay
from spotmill.physics.peak_scoring import Spots, assign
from spotmill.tasks import Task

NOISE, SPOT, UNKNOWN = 0, 1, -1
# Pixels around a true spot, too weak to count or found already, in which nothing is taught.
NEAR = 3.0


def candidate_truth(
    task: Task, setup: Setup, encoded: EncodedFrames, source: str
) -> NDArray[np.int8] | None:
    """Return what every candidate of the training and validation frames is, [frames, candidates].

    0 noise, 1 a true spot, -1 not known, as of all test frames; None where the settings of the
    task do not ask for it.

    Raises
    ------
    SpotmillError
        When a pattern has no table of true spots, or frames are shown dimmed.
    """
    settings = model_module(task.model).Settings.parse(task.settings, f"{source}: settings")
    if not getattr(settings, "candidate_truth", False):
        return None
    if task.dims:
        raise SpotmillError(
            f"{source}: candidate_truth: is of frames at full flux; leave out flux, or say false"
        )
    frames = setup.frames
    table = read_split(setup.split, tuple(np.unique(frames.side).tolist()))
    paths, crystal = table["truth"].to_pylist(), np.asarray(table["kind"].to_pylist()) == "crystal"
    with open_overlay(str(frames.overlay[np.argmax(crystal)])) as shard:
        least = float(shard.header.parameters.get("peaks", {}).get("min_photons", 5))
    known: dict[str, dict[int, Spots]] = {}
    truth = np.full((len(frames), setup.dimensions.shape[0]), UNKNOWN, dtype=np.int8)
    rows = np.flatnonzero(frames.side != "test").tolist()
    encoded.expect(rows)
    for row in rows:
        path, index = paths[row], int(frames.index[row])
        if crystal[row] and not path:
            raise SpotmillError(
                f"{setup.split}: frame {index} of dataset {frames.dataset[row]} has no table of "
                "true spots; choose datasets simulated here, or say candidate_truth: false"
            )
        if path and path not in known:
            known[path] = read_spots(path, str(frames.dataset[row]))
        spots = known[path].get(index) if path else None
        _, place = encoded.compact(row)
        truth[row, : len(place)] = judged(place, spots, least)
    return truth


def judged(place: NDArray[np.float64], spots: Spots | None, least: float) -> NDArray[np.int8]:
    """Return what candidates at some places [n, 2] (fs, ss) are, [n].

    Parameters
    ----------
    spots
        All true spots of the frame; None of an empty one.
    least
        Photons from which a spot counts.
    """
    truth = np.full(len(place), NOISE, dtype=np.int8)
    if spots is None or not len(spots.photons) or not len(place):
        return truth
    apart = np.hypot(*np.moveaxis(place[:, None] - spots.place[None], -1, 0))
    truth[apart.min(1) <= NEAR] = UNKNOWN
    partner, _ = assign(place, spots.at_least(least).place, TRAINING_RADIUS)
    truth[partner >= 0] = SPOT
    return truth
