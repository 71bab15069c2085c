"""A mask of bad pixels from frames of any source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.pixel_mask import combined
from spotmill.inference.events import Event, Maker, Refused
from spotmill.inference.gain import counts_a_photon
from spotmill.inference.sampled import Chosen, chosen, read
from spotmill.inference.stated import Given
from spotmill.physics.pixel_flaws import find_flaws
from spotmill.physics.pixel_sums import PixelSums

FEWEST_FRAMES = 20
# Frames whose counts tell what a photon makes where nobody says: the middle of them is taken.
FOR_GAIN = 9


@dataclass(frozen=True)
class Found:
    """A mask of pixels, and how it came about.

    Attributes
    ----------
    mask : [ss, fs] uint32
        Bits of `formats.pixel_mask.BITS`.
    mean : [ss, fs] float32
        Photons a frame.
    said : dict
        Counts, and what they rest upon.
    """

    mask: NDArray[np.uint32]
    mean: NDArray[np.float32]
    said: dict[str, Any]


def find_mask(
    paths: Sequence[Path], given: Given, frames: int, false_alarms: float, refused: Refused
) -> Found:
    """Return the bad pixels that frames of files, folders and lists show.

    Parameters
    ----------
    frames
        To be read at most, evenly spread over all.
    false_alarms
        Good pixels that may be called bad, expected in all.
    refused
        Told of each file or frame that cannot be read: path, event (None: the whole file), why.

    Raises
    ------
    SpotmillError
        When fewer than `FEWEST_FRAMES` can be read.
    """
    maker = Maker(given)
    some, count = chosen(paths, frames, maker, refused)
    gain = given.adu_per_photon
    stated = "hand" if gain else ""
    if gain is None:
        gain, stated = _gain(some, maker)
        if stated == "scatter":
            maker = Maker(replace(given, adu_per_photon=gain))
    sums = live = None
    slabs: list[tuple[slice, slice]] = []
    used = 0
    for event in read(some, maker, refused):
        if sums is None or live is None:
            sums, live = PixelSums.empty(_shape(event)), np.zeros(event.mask.shape, dtype=bool)
            slabs = [panel.slab for panel in event.detector.panels]
        if event.image.shape != live.shape:
            why = f"{event.path}: has frames of {event.image.shape} pixels, the first {live.shape}"
            refused(event.path, event.event, f"{why}; make a mask for each detector")
            continue
        sums.add(event.image, event.mask, slabs)
        live |= event.mask
        used += 1
    if sums is None or live is None or used < FEWEST_FRAMES:
        raise SpotmillError(
            f"{paths[0]}: {used} frames could be read, too few to tell a bad pixel from a spot; "
            f"give {FEWEST_FRAMES} or more of one detector"
        )
    flaws = find_flaws(sums, slabs, false_alarms)
    kinds = {"dead": flaws.dead, "hot": flaws.hot, "noisy": flaws.noisy, "known": ~live}
    mask = combined(kinds)
    mean = np.asarray(sums.light / np.maximum(sums.seen, 1), np.float32)
    dim = live & (sums.lit < flaws.needed) & ~flaws.dead
    said = {
        "frames": used,
        "frames_in_all": count,
        "pixels": int(mask.size),
        **{kind: int(pixels.sum()) for kind, pixels in kinds.items()},
        "good": int((mask == 0).sum()),
        "false_alarms": float(false_alarms),
        "lit_frames_to_tell_dead": round(flaws.needed, 2),
        "too_dark_to_tell_dead": int(dim.sum()),
        "frames_to_tell_noisy": flaws.frames,
        "adu_per_photon": float(gain),
        "adu_per_photon_by": stated,
    }
    return Found(mask, mean, said)


def _shape(event: Event) -> tuple[int, int]:
    return int(event.image.shape[0]), int(event.image.shape[1])


def _gain(some: Chosen, maker: Maker) -> tuple[float, str]:
    """Return counts a photon as stated, or by the scatter of some frames, and who says so."""
    listed = [(path, one) for path, wanted in some for one in wanted]
    step = max(1, len(listed) // FOR_GAIN)
    few: Chosen = [(path, [one]) for path, one in listed[::step][:FOR_GAIN]]
    told = []
    for event in read(few, maker, lambda *_: None):
        if event.stated.adu_per_photon is not None:
            return event.stated.adu_per_photon, event.stated.sources["adu_per_photon"]
        raw = event.image if event.raw is None else event.raw
        told.append(counts_a_photon(raw, event.mask))
    gain = float(np.median(told)) if told else 1.0
    return (1.0, "nobody") if gain == 1 else (gain, "scatter")
