"""Two classical finders of peaks that share nothing with ours, and what both of them find.

One takes its background by radius, the other by the surroundings of each pixel:

* peakfinder8 (Barty et al., J. Appl. Cryst. 47, 1118, 2014) as compiled in OM (`ondamonitor`, GPL,
  not a dependency), given by the path of its `_crystallography` module;
* the threshold by local dispersion that XDS and DIALS find strong pixels with (Winter et al.,
  Acta Cryst. D74, 85, 2018): the surroundings of a strong pixel scatter more than photons do, and
  it stands out of their mean.

Both read counts. Where a detector counts several units a photon, `gain` says how many.
"""

import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import RADIUS, assign

MOST_PEAKS = 300_000
# peakfinder8: photons and signal to noise of a pixel, pixels of a peak, half the local square.
LEAST_PHOTONS, PIXEL_SNR, PIXELS, LOCAL = 1.5, 5.0, (2, 200), 5
# Local dispersion: half the square, standard deviations of the scatter and of the pixel above the
# mean (the defaults of DIALS), and the pixels of a peak.
REACH, SIGMA_BACKGROUND, SIGMA_STRONG, DIALS_PIXELS = 3, 6.0, 3.0, (2, 1000)


def peakfinder8(path: Path) -> Callable[..., Peaks]:
    """Return peakfinder8 as a function of image, mask, and radius [ss, fs] in pixels."""
    name = "om.algorithms._crystallography"
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    none = np.zeros(1, np.int32)

    def find(
        image: Any,
        mask: Any,
        radius: Any,
        snr: float = PIXEL_SNR,
        least: float = LEAST_PHOTONS,
        pixels: int = PIXELS[0],
    ) -> Peaks:
        inside = (mask & np.isfinite(radius)).astype(np.int8)
        numbers = (least, snr, pixels, PIXELS[1], LOCAL)
        rings = np.nan_to_num(radius).astype(np.float32)
        found = module.peakfinder_8(
            MOST_PEAKS,
            image.astype(np.float32),
            inside,
            rings,
            0,
            none,
            none,
            0,
            image.shape[1],
            image.shape[0],
            1,
            1,
            *numbers,
        )
        place = np.stack([found[0], found[1]], axis=1) + 0.5 if len(found[0]) else np.empty((0, 2))
        return Peaks(place, np.array(found[2], dtype=float), np.array(found[6], dtype=float))

    return find


def local_dispersion(image: NDArray[Any], mask: NDArray[np.bool_], gain: float = 1.0) -> Peaks:
    """Return groups of pixels that are strong by the dispersion of their surroundings."""
    values = np.where(mask, image, 0).astype(np.float64)
    edge = 2 * REACH + 1

    def summed(array: NDArray[Any]) -> NDArray[np.float64]:
        return ndimage.uniform_filter(array, edge, mode="constant") * edge**2

    pixels = np.rint(summed(mask.astype(np.float64)))
    total, square = summed(values), summed(values**2)
    count = np.maximum(pixels, 2)
    mean = total / count
    variance = np.maximum(square - total**2 / count, 0) / (count - 1)
    scatter = variance > gain * mean * (1 + SIGMA_BACKGROUND * np.sqrt(2 / (count - 1)))
    bright = values > mean + SIGMA_STRONG * np.sqrt(gain * np.maximum(mean, 0))
    strong = mask & (pixels >= 2) & (mean > 0) & scatter & bright
    label, groups = ndimage.label(strong, np.ones((3, 3)))
    if not groups:
        return Peaks(np.empty((0, 2)), np.empty(0), np.empty(0))
    numbers = np.arange(1, groups + 1)
    size = np.bincount(label.ravel(), minlength=groups + 1)[1:]
    excess = np.maximum(values - mean, 0) * strong
    total = ndimage.sum_labels(excess, label, numbers)
    centre = np.array(ndimage.center_of_mass(excess, label, numbers))[:, ::-1] + 0.5
    take = (size >= DIALS_PIXELS[0]) & (size <= DIALS_PIXELS[1]) & (total > 0)
    return Peaks(centre[take], total[take], total[take])


def consensus(first: Peaks, second: Peaks, within: float = RADIUS) -> NDArray[np.float64]:
    """Return the places (fs, ss) that two finders agree on, [n, 2]: the middle of each pair."""
    partner, _ = assign(first.place, second.place, within)
    paired = partner >= 0
    return np.asarray((first.place[paired] + second.place[partner[paired]]) / 2)
