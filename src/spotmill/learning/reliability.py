"""Reliability: whether of frames said to be hits with probability p a share p are.

The expected calibration error is the mean distance of the two over bins of the probability
(Naeini, Cooper & Hauskrecht, Proc. AAAI 29, 2901, 2015). Few frames make it too large, also
for perfect probabilities; its interval takes that into account, and may begin at 0.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spotmill.learning.calibration import Calibration
from spotmill.learning.metrics import LEVEL, wilson

BINS = 10
DRAWS = 2000
# Probabilities that are clearly (at the level beside it) further off than this do not hold.
MOST_ERROR, SURE = 0.05, 0.99


def before_and_after(
    calibration: Calibration,
    raw: NDArray[np.float64],
    truth: NDArray[np.int64],
    seed: int,
    group: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return what `evaluation.json` says of a calibration on the test frames.

    Parameters
    ----------
    raw
        Probabilities [n, classes] of the network itself.
    group : [n] number of the frame that a row shows, where one is shown several times
    """
    sides = {
        "before": reliability(*confidence(raw, truth), seed, group),
        "after": reliability(*confidence(calibration.apply(raw), truth), seed, group),
    }
    return {
        "method": calibration.method,
        "slope": calibration.slope,
        "offset": calibration.offset,
        "n_validation": calibration.n,
        "base_rate": calibration.base_rate,
        "of": "probability of a hit" if raw.shape[1] == 2 else "probability of the answer",
        **sides,
        "holds": sides["after"]["holds"],
    }


def confidence(
    probability: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what was said [n] and whether it was so [n].

    Of two classes that is the second's probability, of more that of the answer.
    """
    if probability.shape[1] == 2:
        return probability[:, 1], truth
    answer = probability.argmax(1)
    return probability.max(1), (answer == truth).astype(np.int64)


def reliability(
    said: NDArray[np.float64],
    true: NDArray[np.int64],
    seed: int,
    group: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return calibration error, its interval and the bins of the reliability curve.

    Parameters
    ----------
    said, true : [n] probability, and 1 where it came true
    group : [n] rows that are drawn together by the bootstrap; None draws each by itself
    """
    # Slow to import, and those who apply a calibration ask for no error.
    from torchmetrics.functional.classification import binary_calibration_error

    # A probability of exactly 1 belongs to the last bin.
    said = np.clip(said, 0.0, np.nextafter(1.0, 0.0))
    error = float(
        binary_calibration_error(torch.from_numpy(said), torch.from_numpy(true), n_bins=BINS)
    )
    place = (said * BINS).astype(np.int64)
    gap, draws = gap_draws(place, said - true, seed, group)
    bins = []
    for number in np.unique(place).tolist():
        own = place == number
        n, count = int(own.sum()), int(true[own].sum())
        bins.append(
            {
                "said": float(said[own].mean()),
                "n": n,
                "true": count,
                "share": count / n,
                "interval": wilson(count, n),
            }
        )
    return {
        "error": error,
        "n": len(said),
        "interval": error_interval(error, gap, draws, LEVEL),
        "holds": error_interval(error, gap, draws, SURE)[0] <= MOST_ERROR,
        "bins": bins,
    }


Floats = NDArray[np.float64]


def gap_draws(
    place: NDArray[np.int64], gap: Floats, seed: int, group: NDArray[np.int64] | None = None
) -> tuple[Floats, Floats]:
    """Return the gap of each bin and those of samples drawn with replacement, [draw, bin].

    The calibration error is the sum of their absolute values.

    Parameters
    ----------
    place, gap : [n] bin, and probability less truth
    """
    if group is None:
        group = np.arange(len(place))
    known, number = np.unique(group, return_inverse=True)
    # The sum of gaps of each group in each bin: a draw only adds up groups.
    sums = np.zeros((len(known), BINS))
    np.add.at(sums, (number, place), gap)
    size = np.bincount(number)
    rng = np.random.default_rng([seed, 5])
    found = np.empty((DRAWS, BINS))
    for draw in range(DRAWS):
        taken = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
        found[draw] = taken @ sums / (taken @ size)
    return sums.sum(0) / size.sum(), found


def error_interval(error: float, gap: Floats, draws: Floats, level: float) -> list[float]:
    """Return the interval of a calibration error, the value itself always within it.

    True gaps are taken to be t times those seen, and spread as the drawn ones do; within the
    interval lie the errors of all t under which the error seen is no surprise. At t = 0, where
    probabilities are perfect, a plain bootstrap would never reach 0.
    """
    noise, tail = draws - gap, (1 - level) / 2

    def share_below(t: float) -> float:
        return float((np.abs(t * gap + noise).sum(1) <= error).mean())

    ends = []
    for share in (1 - tail, tail):
        low, high = 0.0, 2.0
        while share_below(high) > share and high < 1e6:
            high *= 2
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if share_below(middle) > share else (low, middle)
        ends.append(low * error)
    return [min(ends[0], error), float(np.clip(ends[1], error, 1.0))]
