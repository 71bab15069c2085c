"""Radial profiles: photons and live pixels by distance from the beam, Bragg spots left out."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def radial_bins(radius: NDArray[np.float32], bins: int) -> NDArray[np.int32]:
    """Return the bin of every pixel [ss, fs]: equal steps of radius, -1 where there is no panel."""
    known = np.isfinite(radius)
    largest = float(radius[known].max())
    scaled = np.where(known, radius, 0.0) * (bins / largest)
    return np.where(known, np.minimum(scaled.astype(np.int32), bins - 1), -1).astype(np.int32)


def radial_profile(
    image: NDArray[np.integer],
    mask: NDArray[np.bool_],
    bin_of_pixel: NDArray[np.int32],
    bins: int,
    spot_photons: int,
    spot_reach: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the photons and the live pixels in each radial bin.

    Parameters
    ----------
    image, mask
        [ss, fs] photons; True where a pixel is live.
    bin_of_pixel
        [ss, fs], from `radial_bins`.
    spot_photons, spot_reach
        Pixels within `spot_reach` pixels (rows and columns) of one of at least
        `spot_photons` photons count as dead: there a Bragg spot outshines the background.

    Returns
    -------
    photons, pixels : [bins]
    """
    photons, pixels = _sums(image, mask, bin_of_pixel, bins, spot_photons, spot_reach)
    return photons.astype(np.float64), pixels.astype(np.float64)


@njit(cache=True, nogil=True)
def _sums(image: Any, mask: Any, bin_of_pixel: Any, bins: int, least: int, reach: int) -> Any:
    """Return photons and number of the live pixels of each bin, surroundings of hot ones left out.

    Rows of the hot pixels' surroundings along fs are kept, as many as a surrounding has.
    """
    n_ss, n_fs = image.shape
    photons, pixels = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    hot = np.zeros(n_fs + 2 * reach, np.uint8)
    shadow = np.zeros((2 * reach + 1, n_fs), np.uint8)
    used = np.zeros(n_fs, np.uint8)
    for ahead in range(min(reach, n_ss)):
        _shade(image[ahead], mask[ahead], bin_of_pixel[ahead], least, reach, hot, shadow[ahead])
    for ss in range(n_ss):
        ahead = ss + reach
        out = shadow[ahead % len(shadow)]
        if ahead < n_ss:
            _shade(image[ahead], mask[ahead], bin_of_pixel[ahead], least, reach, hot, out)
        else:
            out[:] = 0
        counts, live, own = image[ss], mask[ss], bin_of_pixel[ss]
        for k in range(n_fs):
            used[k] = np.uint8(live[k]) & np.uint8(own[k] >= 0)
        for line in range(len(shadow)):
            dark = shadow[line]
            for k in range(n_fs):
                used[k] &= np.uint8(1) - dark[k]
        # Pixels of one bin follow one another: their sums wait until another comes.
        last, sum_, number = -1, np.int64(0), np.int64(0)
        for k in range(n_fs):
            if own[k] != last:
                if last >= 0:
                    photons[last] += sum_
                    pixels[last] += number
                last, sum_, number = own[k], np.int64(0), np.int64(0)
            sum_ += np.int64(counts[k]) * used[k]
            number += used[k]
        if last >= 0:
            photons[last] += sum_
            pixels[last] += number
    return photons, pixels


@njit(cache=True, nogil=True)
def _shade(counts: Any, live: Any, own: Any, least: int, reach: int, hot: Any, shadow: Any) -> None:
    """Mark the pixels of a row with a hot pixel within reach; `hot` is room for them."""
    for k in range(len(shadow)):
        bright = np.uint8(counts[k] >= least) & np.uint8(live[k]) & np.uint8(own[k] >= 0)
        hot[reach + k] = bright
    shadow[:] = 0
    for step in range(2 * reach + 1):
        part = hot[step : step + len(shadow)]
        for k in range(len(shadow)):
            shadow[k] |= part[k]
