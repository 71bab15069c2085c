"""A classical finder of Bragg peaks: pixels that stand out of the background at their radius.

In purpose that of Cheetah's finder of radial background, peakfinder8 (Barty et al., J. Appl.
Cryst. 47, 1118, 2014), written from its description: mean and standard deviation of the
background by radius with outliers clipped away, pixels above a signal-to-noise ratio joined
where they touch, a local background around each group, its ratio of signal to noise and its
centre of mass. Where photons are few, the noise is that of counting, not the scatter of a ring
that holds almost no photon: the standard deviation is at least that of the Poisson law.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

CLIPPINGS = 5
CLIP_SIGMAS = 4.0
# Counts of a pixel that have a place of their own in the histogram of a ring.
BINS = 256


@dataclass(frozen=True)
class Criteria:
    """What makes a peak.

    Attributes
    ----------
    pixel_snr
        Standard deviations above the ring's mean from which a pixel belongs to a peak.
    pixel_photons
        Photons that such a pixel has at least.
    peak_photons
        Photons above the background that a peak has at least.
    pixels
        Least and most pixels of a peak.
    local_radius
        Half the edge, in pixels, of the square in which the local background is taken.
    """

    pixel_snr: float = 4.0
    pixel_photons: float = 1.0
    peak_photons: float = 2.0
    pixels: tuple[int, int] = (1, 200)
    local_radius: int = 5


class Peaks(NamedTuple):
    """Found peaks, in no particular order.

    Attributes
    ----------
    place : [n, 2] fs, ss in pixels; pixel k covers k to k + 1
    intensity : [n] photons above the background
    score : [n] the larger, the surer
    """

    place: NDArray[np.float64]
    intensity: NDArray[np.float64]
    score: NDArray[np.float64]

    def rows(self, take: NDArray[Any]) -> "Peaks":
        """Return some of the peaks, by a mask [n] or by their numbers."""
        return Peaks(self.place[take], self.intensity[take], self.score[take])


@njit(cache=True, nogil=True)
def deviance(photons: float, mean: float) -> float:
    """Return by how many standard deviations a count exceeds its mean; 0 where it does not."""
    if photons <= mean:
        return 0.0
    return float(np.sqrt(max(2.0 * (photons * np.log(photons / mean) - photons + mean), 0.0)))


def find_peaks(
    image: NDArray[np.integer],
    mask: NDArray[np.bool_],
    radius: NDArray[np.floating],
    criteria: Criteria,
) -> Peaks:
    """Return the peaks of a frame; their score is the ratio of signal to noise.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    radius
        [ss, fs] distance from the beam in pixels, NaN where there is no panel.
    """
    live = mask & np.isfinite(radius)
    ring = np.where(live, radius, 0).astype(np.int32)
    mean, sigma = ring_statistics(image, live, ring)
    rows = _groups(
        image,
        live,
        ring,
        np.maximum(mean + criteria.pixel_snr * sigma, criteria.pixel_photons),
        mean,
        criteria.peak_photons,
        criteria.pixels,
        criteria.local_radius,
    )
    return Peaks(rows[:, :2].copy(), rows[:, 2].copy(), rows[:, 3].copy())


def ring_statistics(
    image: NDArray[np.integer], live: NDArray[np.bool_], ring: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the background of each ring of one pixel.

    Pixels above the mean by `CLIP_SIGMAS` deviations (and by more than one photon) are left
    out, again and again. Half a photon is added to a ring: an empty one has a background, too.
    """
    rings = int(ring.max()) + 1
    limit = np.full(rings, np.inf)
    counted = _counted(image, live, ring, rings, BINS)
    for _ in range(CLIPPINGS):
        count, total, square = _ring_sums(*counted, limit)
        filled = np.maximum(count, 1)
        mean = (total + 0.5) / filled
        sigma = np.sqrt(np.maximum(square / filled - (total / filled) ** 2, mean))
        limit = mean + np.maximum(CLIP_SIGMAS * sigma, 1.0)
    return mean, sigma


@njit(cache=True, nogil=True)
def _counted(image: Any, live: Any, ring: Any, rings: int, bins: int) -> tuple[Any, Any, Any]:
    """Return the histogram [ring, count] of live pixels, and ring and value of all beyond it."""
    histogram = np.zeros((rings, bins), np.int64)
    beyond = 0
    for ss in range(image.shape[0]):
        for fs in range(image.shape[1]):
            if live[ss, fs]:
                value = image[ss, fs]
                whole = np.int64(value) if 0 <= value < bins else bins
                if whole < bins and whole == value:
                    histogram[ring[ss, fs], whole] += 1
                else:
                    beyond += 1
    places, values = np.empty(beyond, np.int64), np.empty(beyond)
    if beyond == 0:
        return histogram, places, values
    found = 0
    for ss in range(image.shape[0]):
        for fs in range(image.shape[1]):
            if live[ss, fs]:
                value = image[ss, fs]
                whole = np.int64(value) if 0 <= value < bins else bins
                if not (whole < bins and whole == value):
                    places[found], values[found] = ring[ss, fs], value
                    found += 1
    return histogram, places, values


@njit(cache=True, nogil=True)
def _ring_sums(histogram: Any, places: Any, values: Any, limit: Any) -> tuple[Any, Any, Any]:
    """Return number, sum and sum of squares of the pixels of each ring up to its limit."""
    count, total, square = np.zeros(len(limit)), np.zeros(len(limit)), np.zeros(len(limit))
    for k in range(len(limit)):
        for value in range(histogram.shape[1]):
            if value > limit[k]:
                break
            many = histogram[k, value]
            count[k] += many
            total[k] += many * value
            square[k] += many * value * value
    for number in range(len(places)):
        k, value = places[number], values[number]
        if value <= limit[k]:
            count[k] += 1
            total[k] += value
            square[k] += value * value
    return count, total, square


@njit(cache=True)
def _groups(
    image: Any,
    live: Any,
    ring: Any,
    threshold: Any,
    mean: Any,
    least: float,
    pixels: tuple[int, int],
    reach: int,
) -> Any:
    """Return fs, ss, intensity and ratio of signal to noise of each group of bright pixels."""
    n_ss, n_fs = image.shape
    seen = np.zeros(image.shape, np.bool_)
    peaks = []
    for ss in range(n_ss):
        for fs in range(n_fs):
            bright = live[ss, fs] and image[ss, fs] >= threshold[ring[ss, fs]]
            if not bright or seen[ss, fs]:
                continue
            seen[ss, fs] = True
            members = [(ss, fs)]
            done = 0
            while done < len(members):
                a, b = members[done]
                done += 1
                for c in range(max(a - 1, 0), min(a + 2, n_ss)):
                    for d in range(max(b - 1, 0), min(b + 2, n_fs)):
                        bright = live[c, d] and image[c, d] >= threshold[ring[c, d]]
                        if bright and not seen[c, d]:
                            seen[c, d] = True
                            members.append((c, d))
            if len(members) < pixels[0] or len(members) > pixels[1]:
                continue
            level = _local_level(image, live, ring, threshold, mean, members[0], reach)
            peak = _measure(image, members, level)
            if peak[2] >= least:
                peaks.append(peak)
    found = np.empty((len(peaks), 4))
    for row in range(len(peaks)):
        for column in range(4):
            found[row, column] = peaks[row][column]
    return found


@njit(cache=True)
def _local_level(
    image: Any, live: Any, ring: Any, threshold: Any, mean: Any, at: Any, reach: int
) -> float:
    """Return the background a pixel around a place: its ring's mean, corrected by its surroundings.

    The ring counts like as many pixels as there are around, so that few photons say little.
    """
    total, count = 0.0, 0
    for a in range(max(at[0] - reach, 0), min(at[0] + reach + 1, image.shape[0])):
        for b in range(max(at[1] - reach, 0), min(at[1] + reach + 1, image.shape[1])):
            if live[a, b] and image[a, b] < threshold[ring[a, b]]:
                total += image[a, b]
                count += 1
    prior = (2 * reach + 1) ** 2
    return float((total + prior * mean[ring[at]]) / (count + prior))


@njit(cache=True)
def _measure(image: Any, members: Any, level: float) -> tuple[float, float, float, float]:
    """Return centre of mass, photons above the background, and their ratio to the noise."""
    photons, x, y = 0.0, 0.0, 0.0
    for a, b in members:
        value = max(image[a, b] - level, 0.0)
        photons += value
        x += value * (b + 0.5)
        y += value * (a + 0.5)
    noise = np.sqrt(level * len(members) + 0.1)
    if photons == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    return x / photons, y / photons, photons, photons / noise
