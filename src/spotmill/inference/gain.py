"""How many counts a photon makes, told by the scatter of the counts where nobody says.

Photons scatter by the Poisson law: the variance of their number is its mean. Counts of a detector
that makes g of each photon have a variance of g times their mean, whatever it looks at (photon
transfer: Janesick, Scientific Charge-Coupled Devices, SPIE 2001). The scatter is taken between
squares of pixels that are neighbours along both edges, where a slope along either drops out, and
squares are large enough that light spread over some pixels does not hide it.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spotmill.inference.counts import photons
from spotmill.inference.events import Event

# Edges of the squares, pixels. Those of 3 tell the gain; those of 1 and 6 whether light spreads.
SINGLE, FEW, MANY = 1, 3, 6
# Edge of a block, pixels, and blocks at most, evenly over the frame. The middle of all is taken.
BLOCK, MOST_BLOCKS = 96, 32
# Of a block: so many groups of four squares, and so many photons at least.
FEWEST_GROUPS, FEWEST_PHOTONS, FEWEST_BLOCKS = 16, 8.0, 4
# Groups that scatter by so much more than the middle one of their block hold a spot.
SPOT = 16.0
# Squares of 3 pixels scatter by so much more than single ones where light spreads over pixels.
SPREAD = 1.5
# Pixels looked at for the noise about zero; the share of them below zero from which it is one, and
# the median of the absolute value of a normal variable of unit width.
STRIDE, FEWEST_BELOW, HALF_NORMAL = 7, 0.02, 0.6745
# A photon stands out of the noise by so many standard deviations, or is not seen at all.
PLAIN = 3.0
# A pixel with less than this share of a photon's counts has none.
LESS = 0.6
# A gain within this factor of 1 is 1: a photon counter.
NEAR_ONE = 1.5
# Single photons are seen one by one where so many pixels and more stand out of the noise by so many
# standard deviations, hold nearly all of them one photon each (the share of pixels that are lit),
# and are alike (the range of their middle half over the median).
FEWEST_LIT, APART, LEAST_ALIKE, SPARSE = 100, 5.0, 0.4, 0.05
# A gain that the blocks know worse than to this share of itself is taken two standard errors
# higher: photons may be missed then, but noise is not taken for them.
KNOWN, ERRORS = 0.1, 2.0
# Standard error of a median of n over the standard deviation of one, times the root of n.
OF_MEDIAN = 1.2533


def in_photons(event: Event) -> Event:
    """Return a frame with its counts as photons, by their scatter where nobody states the gain.

    Who stated the gain is `scatter` then, and a remark says so.
    """
    if event.stated.adu_per_photon is not None:
        return event
    raw = event.image if event.raw is None else event.raw
    gain = counts_a_photon(raw, event.mask)
    if gain == 1:
        return event
    stated = event.stated
    remark = (
        f"the counts scatter as those of a detector that makes {gain:.3g} of a photon, and are "
        "read so; give the gain (--adu-per-photon) if it is known"
    )
    return replace(
        event,
        image=photons(raw, event.mask, gain),
        stated=replace(
            stated,
            adu_per_photon=gain,
            sources={**stated.sources, "adu_per_photon": "scatter"},
            remarks=(*stated.remarks, remark),
        ),
    )


def counts_a_photon(image: NDArray[Any], live: NDArray[np.bool_]) -> float:
    """Return the counts that a photon makes by the scatter of an image [ss, fs]; 1 if unclear.

    `live` is True where a pixel is live. Pedestals are not known: on them the gain comes out too
    small, by their share of the counts, and is the scale of the noise all the same.
    """
    noise = readout(image, live) if image.dtype.kind == "f" else 0.0
    if noise > 0:
        seen = one_by_one(image, live, noise)
        if seen > 0:
            return 1.0 if 1 / NEAR_ONE <= seen <= NEAR_ONE else seen
    gain, error = scatter(image, live, FEW, noise)
    if not np.isfinite(gain) or gain <= 0:
        # What lies in the noise is no photon.
        gain = PLAIN * noise**0.5
        return gain if gain > NEAR_ONE else 1.0
    single = scatter(image, live, SINGLE, noise)[0]
    if np.isfinite(single) and gain > SPREAD * single:
        many = scatter(image, live, MANY, noise)[0]
        gain = max(gain, many) if np.isfinite(many) else gain
    if noise > 0 and error > KNOWN * gain:
        gain += ERRORS * error
    gain = max(gain, PLAIN * noise**0.5)
    # Counts are photons only where one of them stands out of the noise.
    is_seen = PLAIN * noise**0.5 < 1
    if gain > NEAR_ONE and is_seen and _are_single(image, live, gain, noise):
        return 1.0
    return 1.0 if 1 / NEAR_ONE <= gain <= NEAR_ONE else gain


def one_by_one(image: NDArray[Any], live: NDArray[np.bool_], noise: float) -> float:
    """Return the counts of single photons where these stand apart from the noise; 0 elsewhere.

    `noise` is the variance of the noise about zero.
    """
    values = image[live]
    lit = values[values > APART * noise**0.5]
    if len(lit) < FEWEST_LIT or len(lit) > SPARSE * len(values):
        return 0.0
    low, middle, high = np.percentile(lit, [25, 50, 75])
    return float(middle) if high - low <= LEAST_ALIKE * middle else 0.0


def _are_single(image: NDArray[Any], live: NDArray[np.bool_], gain: float, noise: float) -> bool:
    """Return whether most pixels with light have less than such a gain makes of one photon.

    Then they hold single photons, and what scatters more are spots.
    """
    values = image[live][::STRIDE]
    lit = values[values > PLAIN * noise**0.5]
    return bool((lit < LESS * gain).sum() > len(lit) / 2)


def readout(image: NDArray[Any], live: NDArray[np.bool_]) -> float:
    """Return the variance of the noise about zero: the mean square of what lies below it.

    Photons only add; 0 where hardly a pixel lies below zero.
    """
    values = image[live][::STRIDE].astype(np.float64)
    below = values[values < 0]
    if len(below) < FEWEST_BELOW * len(values):
        return 0.0
    # Their mean square, as the root mean square about the middle one, without far-off pixels.
    return float((np.median(-below) / HALF_NORMAL) ** 2)


def scatter(
    image: NDArray[Any], live: NDArray[np.bool_], edge: int, noise: float = 0.0
) -> tuple[float, float]:
    """Return the variance over the mean of the counts in squares of `edge` pixels, and its error.

    The median of the blocks of a frame: spots are in few groups of a block, and bright ones in
    few blocks. Its standard error follows from how these differ. NaN if unclear. `noise` is a
    variance of single pixels that is no photons'.
    """
    tops, lefts = (np.arange(0, max(side - 2 * edge, 0) + 1, BLOCK) for side in image.shape)
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    if len(corners) > MOST_BLOCKS:
        corners = corners[np.linspace(0, len(corners) - 1, MOST_BLOCKS).round().astype(np.int64)]
    found = _ratios(image, live, corners, edge, BLOCK, FEWEST_GROUPS, FEWEST_PHOTONS, SPOT, noise)
    if len(found) < FEWEST_BLOCKS:
        return float("nan"), float("nan")
    return float(np.median(found)), OF_MEDIAN * float(np.std(found, ddof=1)) / len(found) ** 0.5


@njit(cache=True, nogil=True)
def _ratios(
    image: Any,
    live: Any,
    corners: Any,
    edge: int,
    block: int,
    fewest: int,
    photons: float,
    spot: float,
    noise: float,
) -> Any:
    """Return variance over mean of each block that has enough groups and counts."""
    n_ss, n_fs = image.shape
    step = 2 * edge
    per = block // step
    found = []
    squares, totals = np.empty(per * per), np.empty(per * per)
    for number in range(len(corners)):
        groups = 0
        for i in range(per):
            for j in range(per):
                row, column = corners[number, 0] + i * step, corners[number, 1] + j * step
                if row + step > n_ss or column + step > n_fs:
                    continue
                total, mixed, whole = 0.0, 0.0, True
                for a in range(step):
                    for b in range(step):
                        if live[row + a, column + b]:
                            value = float(image[row + a, column + b])
                            total += value
                            mixed += value if (a < edge) == (b < edge) else -value
                        else:
                            whole = False
                if whole:
                    squares[groups], totals[groups] = mixed * mixed, total
                    groups += 1
        if groups < fewest:
            continue
        # Of few photons most groups have none: those with some say what is usual.
        ratios, some = np.empty(groups), 0
        for k in range(groups):
            if totals[k] > 0 and squares[k] > 0:
                ratios[some] = squares[k] / totals[k]
                some += 1
        if some == 0:
            continue
        usual, floor = np.median(ratios[:some]), noise * step * step
        square, sum_, kept = 0.0, 0.0, 0
        for k in range(groups):
            if squares[k] <= spot * (usual * max(totals[k], 1.0) + floor):
                square += squares[k]
                sum_ += totals[k]
                kept += 1
        square -= kept * floor
        if sum_ > 0 and square > 0 and sum_ * sum_ >= photons * square:
            found.append(square / sum_)
    return np.array(found)
