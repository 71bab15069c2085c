"""Radial profiles: photons and live pixels by distance from the beam, Bragg spots left out."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from typing import Any


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
    hot = np.argwhere(np.where(live, image, 0) >= spot_photons)
    if len(hot):
        live = live.copy()
        _shadow(live, hot, spot_reach)
    where = bin_of_pixel[live]
    pixels = np.bincount(where, minlength=bins).astype(np.float64)
    photons = np.bincount(where, weights=image[live], minlength=bins)
    return photons, pixels


@njit(cache=True)
def _shadow(live: Any, hot: Any, reach: int) -> None:
    """Mark the surroundings of hot pixels as dead."""
    for i in range(hot.shape[0]):
        ss, fs = hot[i]
        live[max(ss - reach, 0) : ss + reach + 1, max(fs - reach, 0) : fs + reach + 1] = False
