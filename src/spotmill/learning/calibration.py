"""Calibration: how a network's answers become probabilities, and from which one a frame is a hit.

It is fitted on the validation frames when training ends, and kept in the model's card: whoever
loads the model says the same probabilities, and evaluation has nothing left to choose.

Both maps are monotone, so they change no order. Two classes take a line in the logit (Platt,
Advances in Large Margin Classifiers, 61, 1999), since weighted classes shift a network's
logits as a whole; more classes take one temperature (Guo et al., Proc. Mach. Learn. Res. 70,
1321, 2017).

Few validation frames tell badly how common hits are, and where a frame shows nothing, its
probability is just that. Of two classes, therefore, the share is counted over training and
validation labels, and the line moved to it (Saerens, Latinne & Decaestecker, Neural Comput. 14,
21, 2002); no prediction on a training frame enters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from scipy.special import expit, log_softmax, softmax

from spotmill.errors import SpotmillError
from spotmill.learning.frames import Frames
from spotmill.learning.metrics import choose_threshold
from spotmill.model import Model
from spotmill.problems import first_problem

# Share of the blanks (frames without a crystal) that the second threshold lets through.
ALARM_RATE = 0.01
# Standard deviations of the prior: of the logarithm of the slope, and of the offset.
LOOSE_SLOPE, LOOSE_OFFSET = 1.0, 2.0
# No slope beyond these, whatever the logits.
FLATTEST, STEEPEST = 1e-4, 1e4
# Smallest probability whose logarithm is taken.
TINY = 1e-300


class Alarm(Model):
    """The threshold at a fixed rate of false alarms."""

    rate: float = Field(gt=0, lt=1)
    threshold: float = Field(allow_inf_nan=False)
    n: int = Field(ge=1)


class Calibration(Model):
    """Parameters of the map, as the card has them.

    Attributes
    ----------
    slope, offset
        Of the logit; for a temperature T, 1/T and 0.
    n
        Validation frames that it was fitted on.
    base_rate
        Of two classes, share of the second in training and validation.
    threshold
        For hits, the calibrated probability from which a frame is one.
    alarm
        For hits, the same where only a given share of the blanks may pass; n counts blanks.
    """

    method: Literal["platt", "temperature"]
    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)
    n: int = Field(ge=1)
    base_rate: float | None = Field(None, gt=0, lt=1)
    threshold: float | None = Field(None, allow_inf_nan=False)
    alarm: Alarm | None = None

    def apply(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities [n, classes] from a network's own."""
        if probability.shape[1] == 2:
            hit = expit(self.slope * logit(probability) + self.offset)
            return np.column_stack([1.0 - hit, hit])
        return np.asarray(softmax(self.slope * np.log(probability + TINY), axis=1))

    def said(self, calibrated: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the class [n] of calibrated probabilities [n, classes]."""
        if self.threshold is None:
            return calibrated.argmax(1)
        return (calibrated[:, 1] >= self.threshold).astype(np.int64)


def calibrate(
    predicted: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    frames: Frames,
    target: str,
    threshold: float | None = None,
) -> Calibration:
    """Fit the calibration of a trained network on the validation frames.

    Parameters
    ----------
    predicted
        From rows of frames to the network's probabilities [n, classes].
    target
        Of the task; only hits have thresholds.
    threshold
        Of hits; None takes that of best balanced accuracy.
    """
    rows = frames.rows("validation")
    probability, truth = predicted(rows), frames.truth[rows]
    found = fit_map(probability, truth)
    if probability.shape[1] == 2:
        known = frames.truth[np.concatenate([frames.rows("train"), rows])]
        found = found.model_copy(
            update={
                "offset": found.offset + log_odds(known) - log_odds(truth),
                "base_rate": float(expit(log_odds(known))),
            }
        )
    if target != "hit":
        return found
    score = found.apply(probability)[:, 1]
    if threshold is None:
        threshold = choose_threshold(score, truth, preferred=0.5)
    return found.model_copy(
        update={
            "threshold": threshold,
            "alarm": choose_alarm(score, frames.blank[rows], ALARM_RATE),
        }
    )


def fit_map(probability: NDArray[np.float64], truth: NDArray[np.int64]) -> Calibration:
    """Return the calibration of best likelihood, without thresholds.

    Parameters
    ----------
    probability : [n, classes]
    truth : [n] number of the class
    """
    if probability.shape[1] == 2:
        slope, offset = platt(logit(probability), truth)
        return Calibration(method="platt", slope=slope, offset=offset, n=len(truth))
    slope = temperature(np.log(probability + TINY), truth)
    return Calibration(method="temperature", slope=slope, offset=0.0, n=len(truth))


def log_odds(truth: NDArray[np.int64]) -> float:
    """Return the logarithm of the odds of class 1 among truths [n], one more of each."""
    ones = int(truth.sum())
    return float(np.log((ones + 1) / (len(truth) - ones + 1)))


def logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits [n] of probabilities [n, 2]."""
    return np.asarray(np.log(probability[:, 1] + TINY) - np.log(probability[:, 0] + TINY))


def platt(told: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope and offset of the logits [n] that make them probabilities of best likelihood.

    A weak prior (`LOOSE_SLOPE`, `LOOSE_OFFSET`) holds them to 1 and 0, what the network says of
    itself, and keeps them finite where the classes do not overlap. Platt softened the labels to
    that end, which fails for logits with long tails: one frame far out on the right side would
    flatten the line for all. The slope stays positive.
    """

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(line[0])
        z = slope * told + line[1]
        off = expit(z) - truth
        prior = (line / (LOOSE_SLOPE, LOOSE_OFFSET)) ** 2 / 2
        value = (np.logaddexp(0, z) - truth * z).sum() + prior.sum()
        pull = line / (LOOSE_SLOPE**2, LOOSE_OFFSET**2)
        return float(value), np.array([(off * told).sum() * slope, off.sum()]) + pull

    line = descend(loss, 2)
    return float(np.exp(line[0])), float(line[1])


def temperature(told: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the factor on the logarithms of probabilities [n, classes] of best likelihood.

    With the same weak prior as `platt`.
    """
    rows = np.arange(len(truth))

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(line[0])
        law = log_softmax(slope * told, axis=1)
        value = -law[rows, truth].sum() + (line[0] / LOOSE_SLOPE) ** 2 / 2
        mean = (np.exp(law) * told).sum(1)
        pull = slope * (mean - told[rows, truth]).sum() + line[0] / LOOSE_SLOPE**2
        return float(value), np.array([pull])

    return float(np.exp(descend(loss, 1)[0]))


def descend(loss: Callable[..., Any], size: int) -> NDArray[np.float64]:
    """Return where a loss of value and gradient is least: the log of a slope, an offset."""
    bounds = [(np.log(FLATTEST), np.log(STEEPEST)), (None, None)][:size]
    # To many digits, so that two versions of the solver agree on all that matter.
    options = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500}
    # Slow to import, and those who apply a calibration fit none.
    from scipy.optimize import minimize

    found = minimize(
        loss, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return np.asarray(found.x)


def choose_alarm(score: NDArray[np.float64], blank: NDArray[np.bool_], rate: float) -> Alarm | None:
    """Return the lowest threshold that at most a share of the blanks reach; None without blanks.

    It lies half way to the next higher score of any frame.
    """
    blanks = np.sort(score[blank])[::-1]
    if not len(blanks):
        return None
    first_out = float(blanks[int(rate * len(blanks))])
    above = score[score > first_out]
    threshold = (first_out + float(above.min())) / 2 if len(above) else first_out
    # Between neighbours in floating point there is no half way.
    if threshold <= first_out:
        threshold = float(np.nextafter(first_out, np.inf))
    return Alarm(rate=rate, threshold=threshold, n=len(blanks))


def stored_calibration(card: dict[str, Any], path: Path) -> Calibration:
    """Return the calibration that a model's card holds; `path` names the card in messages.

    Raises
    ------
    SpotmillError
        When it holds none, or a broken one.
    """
    if "calibration" not in card:
        raise SpotmillError(f"{path}: calibration: is required; train the model again")
    try:
        return Calibration.model_validate(card["calibration"])
    except ValidationError as error:
        problem = first_problem(error, Calibration)
        raise SpotmillError(f"{path}: calibration: {problem}; train the model again") from error
