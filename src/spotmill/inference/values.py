"""Photon energy and camera length of a frame, told only where the models can know them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spotmill.inference.events import Event
from spotmill.physics.geometry import ROWS, Detector, positions

if TYPE_CHECKING:
    from spotmill.learning.applied import Applied

# As far outside what a model was trained on as stated values may lie, as a share.
EDGE = 0.02
# From this background (see `learning.frame_summary`) on a profile is of another experiment.
STRANGE = 2.0
# Standard deviations by which a profile may fit too badly.
WORST_FIT = 6.0
# A stated value this many standard deviations off disagrees.
SIGMAS = 3.0
NAMES = {"photon_energy": "photon_energy", "camera_length": "clen"}
UNITS = {"photon_energy": "eV", "clen": "m"}


@dataclass(frozen=True)
class Told:
    """A value with its standard deviation, eV or m.

    Attributes
    ----------
    sigma
        Of a model of classes at least that of all values which lie nearest to its class.
    agrees
        Whether it agrees with what is stated; of a model of classes, whether that lies nearest to
        this class. None where either is missing.
    remark
        Why it is NaN, where it is; of a model of classes, which these are.
    strange
        How far what is stated lies from what the frame tells, 1 being as far as agrees; or from
        the middle of what the model knows, 1 being the edge of that. 0 where nothing is stated.
    """

    value: float = math.nan
    sigma: float = math.nan
    agrees: bool | None = None
    remark: str = ""
    strange: float = 0.0


# Radial profiles of one frame, by how they were made.
Profiles = dict[tuple[Any, ...], NDArray[np.float64]]


def tell(
    model: Applied | None, event: Event, seen: Mapping[str, float], profiles: Profiles | None = None
) -> Told:
    """Return what a model says of a frame, or NaN and why.

    Parameters
    ----------
    seen
        What the frame is like (`learning.frame_summary.features`).
    profiles
        Of the frame, as far as other models have made them; takes those made here.
    """
    from spotmill.learning.frame_summary import strangeness

    if model is None:
        return Told(remark="no model")
    if not model.reads_profiles:
        return Told(remark=f"{model.task.model} is made for frames of one detector alone")
    if not event.knows_radius:
        return Told(remark="needs a geometry, or pixel size and beam centre")
    known = {name: getattr(event.stated, name) for name in UNITS}
    for name, (low, high) in model.ranges.items():
        stated = known[name]
        if stated is not None and not low * (1 - EDGE) <= stated <= high * (1 + EDGE):
            return Told(
                remark=f"{name} is {stated:g} {UNITS[name]}, the model knows {low:g} to {high:g}",
                strange=abs(stated - (low + high) / 2) / max((high - low) / 2, EDGE * high),
            )
    larger = area(model, event.detector)
    as_there = {**seen, "background": seen["background"] - math.log10(larger)}
    if strangeness(model.training, as_there)["background"] > STRANGE:
        return Told(remark="its background is not of the brightness that the model knows")
    profiles = {} if profiles is None else profiles
    kind = (*model.profile_kind, larger)
    if kind not in profiles:
        bins = bins_of(model, event.detector)
        profiles[kind] = model.profile(event.image, event.mask, bins, larger)
    profile = profiles[kind]
    if model.misfit(profile) > WORST_FIT:
        return Told(remark="its radial profile is of no background that the model knows")
    value, sigma = model.value(profile)
    name = NAMES[model.task.target]
    stated = known[name]
    if model.task.scale == "classes":
        return nearest_of(model.classes, value, sigma, UNITS[name], stated)
    if stated is None:
        return Told(value, sigma)
    off = abs(value - stated) / max(SIGMAS * sigma, 1e-6 * value)
    return Told(value, sigma, off <= 1, strange=off)


def nearest_of(
    classes: NDArray[np.float64], value: float, sigma: float, unit: str, stated: float | None
) -> Told:
    """Return what a model tells that knows some values alone, of which it told one.

    Its own certainty is that of the choice between them: the frame may be of any value in between.
    To its variance is added that of a uniform law over all values which lie nearest to the told one
    (a step's square over 12). What is stated agrees where it is one of these.

    Parameters
    ----------
    classes, value, sigma, stated
        All values, the told one, the standard deviation of the choice, and what is known
        beforehand; in `unit`.
    """
    every = np.sort(classes)
    remark = f"the nearest of {', '.join(f'{one:g}' for one in every)} {unit}, all that it can be"
    below, above = every[every < value], every[every > value]
    steps = [value - one for one in below[-1:]] + [one - value for one in above[:1]]
    # Beyond the first and the last class as far as towards the next one.
    low, high = float(steps[0]) / 2, float(steps[-1]) / 2
    sigma = math.hypot(sigma, (low + high) / math.sqrt(12))
    if stated is None:
        return Told(value, sigma, remark=remark)
    off = abs(stated - value) / (low if stated < value else high)
    return Told(value, sigma, off <= 1, remark, off)


def area(model: Applied, detector: Detector) -> float:
    """Return the area of a pixel over that of the training detector's."""
    return float((detector.pixel_size / model.training.pixel_size) ** 2)


@lru_cache(maxsize=2)
def radius_of(detector: Detector) -> NDArray[np.float32]:
    """Return the distance of every pixel from the beam across it, [ss, fs] in pixels.

    NaN where there is no panel. As `View.radius`, but a block of rows at a time.
    """
    radius = np.full(detector.shape, np.nan, dtype=np.float32)
    for panel in detector.panels:
        fs = np.arange(panel.min_fs, panel.max_fs + 1)
        for first in range(panel.min_ss, panel.max_ss + 1, ROWS):
            last = min(first + ROWS, panel.max_ss + 1)
            place = positions(panel, fs + 0.5, np.arange(first, last)[:, None] + 0.5)
            across = np.hypot(place[..., 0], place[..., 1]) / detector.pixel_size
            radius[first:last, panel.slab[1]] = across
    return radius


@lru_cache(maxsize=4)
def bins_of(model: Applied, detector: Detector) -> NDArray[np.int32]:
    """Return a model's radial bin of every pixel [ss, fs]; kept for the frames that follow."""
    return model.bins(detector, radius_of(detector))
