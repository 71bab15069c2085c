"""Calibration of finders of peaks: from the score of a peak to the probability that it is one.

Fitted on the validation frames when training ends, and kept in the model's card, as
`spotmill.learning.calibration` does for classes.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit, logit

from spotmill.errors import SpotmillError
from spotmill.learning.calibration import platt
from spotmill.learning.peak_results import Finder, threshold_of
from spotmill.learning.peaks import PeakSetup
from spotmill.learning.reliability import reliability
from spotmill.model import Model
from spotmill.physics.peak_scoring import Spots, assign

LEAST_SAID = 0.01  # probability from which a peak tells whether probabilities hold


class PeakCalibration(Model):
    """Parameters of the map, as the card has them.

    Attributes
    ----------
    slope, offset
        Of the score, which makes it a logit.
    n
        Peaks of validation frames that it was fitted on.
    threshold
        The score of the best F1 on validation frames.
    """

    method: Literal["platt"] = "platt"
    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)
    n: int = Field(ge=0)
    threshold: float = Field(allow_inf_nan=False)

    def probability(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probability that a peak is a true spot."""
        return np.asarray(expit(self.slope * score + self.offset))

    def score(self, probability: float) -> float:
        """Return the score that has a calibrated probability."""
        return float((logit(probability) - self.offset) / self.slope)


def calibrate_peaks(setup: PeakSetup, network: Any) -> PeakCalibration:
    """Fit the calibration of a trained network on the validation frames."""
    finder = Finder(setup.task.model, "model", "", network.find)
    rows = setup.frames.rows("validation").tolist()
    truth = {row: setup.strong(row) for row in rows}
    for row in rows:
        finder.found[row] = finder.find(*setup.images.read(row))
    score, right, _ = judged(finder, truth, rows)
    slope, offset = platt(score, right) if len(score) else (1.0, 0.0)
    return PeakCalibration(
        slope=slope, offset=offset, n=len(score), threshold=threshold_of(finder, truth, rows)
    )


def stored_peak_calibration(card: dict[str, Any], path: Path) -> PeakCalibration:
    """Return the calibration that a model's card holds; `path` names the card in messages.

    Raises
    ------
    SpotmillError
        When it holds none, or a broken one.
    """
    if "calibration" not in card:
        raise SpotmillError(f"{path}: calibration: is required; train the model again")
    return PeakCalibration.parse(card["calibration"], f"{path}: calibration")


def judged(
    finder: Finder, truth: dict[int, Spots], rows: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the score of all peaks of some frames, whether each is a true spot, and its frame."""
    right = [assign(finder.found[row].place, truth[row].place)[0] >= 0 for row in rows]
    score = [finder.found[row].score for row in rows]
    return (
        np.concatenate(score).astype(np.float64),
        np.concatenate(right).astype(np.int64),
        np.repeat(rows, [len(own) for own in score]),
    )


def peak_reliability(
    calibration: PeakCalibration,
    finder: Finder,
    truth: dict[int, Spots],
    rows: list[int],
    seed: int,
) -> dict[str, Any] | None:
    """Return what `evaluation.json` says of a calibration on test frames; None without a peak.

    Only peaks that are said to be a spot with `LEAST_SAID` count: of a thousand maxima of noise
    anyone says rightly that they are none. The bootstrap draws frames with all their peaks.
    """
    score, right, frame = judged(finder, truth, rows)
    likely = calibration.probability(score) >= LEAST_SAID
    score, right, frame = score[likely], right[likely], frame[likely]
    if not len(score):
        return None
    after = reliability(calibration.probability(score), right, seed, frame)
    return {
        "method": calibration.method,
        "slope": calibration.slope,
        "shift": calibration.offset,
        "n_validation": calibration.n,
        "of": "probability of a true spot, where that is at least 1 %",
        "before": reliability(np.asarray(expit(score)), right, seed, frame),
        "after": after,
        "holds": after["holds"],
    }
