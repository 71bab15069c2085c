"""Where a model looked that finds peaks: what pixels around a peak its score rests on."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotmill.learning.attribution import Part, pixel_occlusion
from spotmill.learning.peak_calibration import PeakCalibration
from spotmill.learning.peak_candidates import background_map
from spotmill.learning.peaks import PeakSetup
from spotmill.learning.saliency import Explained, record_of, row_of
from spotmill.learning.saliency_frames import choose

# Part of the frame that is looked at, pixels occluded on either side, how far a found peak may lie
# from the one that is asked for, and the logit where none is found (or a lower one).
CROP, AROUND, NEAR, NOTHING = 96, 5, 2.5, -10.0


def explain_peaks(
    setup: PeakSetup, network: Any, calibration: PeakCalibration, said: pd.DataFrame
) -> Explained:
    """Explain why a few peaks were taken for true ones.

    Parameters
    ----------
    said
        The predictions of the evaluation, of which a few are chosen.
    """
    explained = Explained(
        "peaks",
        "occlusion",
        f"logit of a true peak ({NOTHING:g} where none is found, or less)",
        "what the frame's own background gives most likely",
    )
    for why, peak in choose(setup.task, said, None):
        row = row_of(setup.frames, peak)
        image, mask = setup.images.read(row)
        record = record_of(why, peak) | {
            "fs": float(peak["fs"]),
            "ss": float(peak["ss"]),
            "matched": bool(peak["matched"]),
        }
        start = [
            min(max(int(peak[name]) - CROP // 2, 0), max(side - CROP, 0))
            for name, side in zip(("ss", "fs"), image.shape, strict=True)
        ]
        own = tuple(slice(at, at + CROP) for at in start)
        parts, answers = peak_parts(
            network,
            calibration,
            image[own],
            mask[own],
            (peak["fs"] - start[1], peak["ss"] - start[0]),
        )
        parts = [Part(p.ss + start[0], p.fs + start[1], p.edge, p.change) for p in parts]
        explained.frames.append(record | answers)
        explained.add_parts(parts)
    return explained


def peak_parts(
    network: Any,
    calibration: PeakCalibration,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    place: tuple[float, float],
) -> tuple[list[Part], dict[str, float]]:
    """Return the pixels around a peak (fs, ss) with what they add to its logit, and the answers."""

    def answer(shown: NDArray[Any]) -> float:
        found = network.find(shown, mask)
        near = np.hypot(*(found.place - np.array(place)).T) <= NEAR
        if not near.any():
            return NOTHING
        told = calibration.slope * float(found.score[near].max()) + calibration.offset
        return max(told, NOTHING)

    other = np.where(mask, np.floor(background_map(image, mask)), 0).astype(image.dtype)
    blank = image.copy()
    middle = int(place[1]), int(place[0])
    around = tuple(slice(max(at - AROUND, 0), at + AROUND + 1) for at in middle)
    blank[around] = other[around]
    answers = {"answer": answer(image), "without": answer(blank)}
    return pixel_occlusion(answer, image, other, middle, AROUND), answers
