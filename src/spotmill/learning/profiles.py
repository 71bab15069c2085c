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
    live = mask & (bin_of_pixel >= 0)
    _shadow(live, image, spot_photons, spot_reach)
    return _sums(image, live, bin_of_pixel, bins)


@njit(cache=True)
def _shadow(live: Any, image: Any, photons: int, reach: int) -> None:
    """Mark the surroundings of hot pixels as dead."""
    hot = []
    for ss in range(image.shape[0]):
        for fs in range(image.shape[1]):
            if image[ss, fs] >= photons and live[ss, fs]:
                hot.append((ss, fs))
    for ss, fs in hot:
        live[max(ss - reach, 0) : ss + reach + 1, max(fs - reach, 0) : fs + reach + 1] = False


@njit(cache=True)
def _sums(image: Any, live: Any, bin_of_pixel: Any, bins: int) -> tuple[Any, Any]:
    """Return photons and number of the live pixels of each bin."""
    photons = np.zeros(bins)
    pixels = np.zeros(bins)
    for ss in range(image.shape[0]):
        for fs in range(image.shape[1]):
            if live[ss, fs]:
                photons[bin_of_pixel[ss, fs]] += image[ss, fs]
                pixels[bin_of_pixel[ss, fs]] += 1
    return photons, pixels
