"""What a detector counts without light, and pixels that count none: its flaws.

Which pixels are dead, hot and noisy belongs to the device (`Response.specimen`) and is the
same in every frame; what hot and noisy pixels and stray particles add is drawn anew for each.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Response
from spotmill.physics.geometry import ROWS, Detector, positions
from spotmill.physics.photons import stream
from spotmill.physics.response import shaded, shadow_plane


class FlawedPixels(NamedTuple):
    """Flat numbers of pixels in the data array, ascending; no pixel is of two kinds."""

    dead: NDArray[np.int64]
    hot: NDArray[np.int64]
    noisy: NDArray[np.int64]


def flawed_pixels(shape: tuple[int, int], response: Response) -> FlawedPixels:
    """Return which pixels of a data array (ss, fs) are dead, hot and noisy.

    Each pixel of the array draws its kind by itself, so that a larger share adds dead
    pixels and takes none away.
    """
    dead = response.dead_pixels
    hot = dead + response.hot_pixels
    noisy = hot + response.noisy_pixels
    if noisy == 0:
        none = np.empty(0, dtype=np.int64)
        return FlawedPixels(none, none, none)
    draws = stream(response.specimen, "detector", 0, "flaws").random(shape[0] * shape[1])
    return FlawedPixels(
        np.flatnonzero(draws < dead),
        np.flatnonzero((draws >= dead) & (draws < hot)),
        np.flatnonzero((draws >= hot) & (draws < noisy)),
    )


def live_mask(detector: Detector, response: Response) -> NDArray[np.bool_]:
    """Return the detector's mask without dead pixels and, if it is masked, the beamstop's shadow.

    Returns
    -------
    [ss, fs] bool
        True where a pixel is live.
    """
    mask = detector.mask.copy()
    mask.ravel()[flawed_pixels(detector.shape, response).dead] = False
    beamstop = response.beamstop
    if beamstop is None or not beamstop.masked:
        return mask
    plane = shadow_plane(detector)
    for panel in detector.panels:
        for first in range(panel.min_ss, panel.max_ss + 1, ROWS):
            last = min(first + ROWS, panel.max_ss + 1)
            ss, fs = np.ogrid[first:last, panel.min_fs : panel.max_fs + 1]
            points = positions(panel, fs + 0.5, ss + 0.5)
            lit = shaded(beamstop, points, plane, panel.pixel_size) == 0
            mask[first:last, panel.slab[1]] &= lit
    return mask


class Artefacts:
    """Draws what a detector counts without light, frame by frame.

    Parameters
    ----------
    detector
        With its own mask; what the response takes from it is taken here.
    response
        Shares and rates.
    """

    def __init__(self, detector: Detector, response: Response) -> None:
        self.live = live_mask(detector, response)
        self._response = response
        self._shape = detector.shape
        flaws = flawed_pixels(detector.shape, response)
        on = self.live.ravel()
        hot, noisy = flaws.hot[on[flaws.hot]], flaws.noisy[on[flaws.noisy]]
        self._pixels = np.concatenate([hot, noisy])
        self._rates = np.repeat([response.hot_rate, response.noisy_rate], [len(hot), len(noisy)])
        self._bounds = detector.flat_arrays().bounds
        sizes = np.array([panel.n_fs * panel.n_ss for panel in detector.panels])
        self._share = sizes / sizes.sum()
        self._tracks = np.array([response.zinger_length / p.pixel_size for p in detector.panels])

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return one frame's artefacts.

        Returns
        -------
        pixel, count : [n] int64
            Flat numbers in the data array (live pixels only; one may stand more than once),
            and photons counted there.
        """
        counts = rng.poisson(self._rates)
        struck = self._zingers(rng)
        pixels = np.concatenate([self._pixels[counts > 0], struck])
        return pixels, np.concatenate([counts[counts > 0], np.ones(len(struck), dtype=np.int64)])

    def _zingers(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the flat pixel of every photon that stray particles leave."""
        if self._response.zinger_photons is None:
            return np.empty(0, dtype=np.int64)
        n = int(rng.poisson(self._response.zingers))
        panel = rng.choice(len(self._share), size=n, p=self._share)
        min_fs, max_fs, min_ss, max_ss = self._bounds[panel].T
        start_fs = min_fs + rng.random(n) * (max_fs - min_fs + 1)
        start_ss = min_ss + rng.random(n) * (max_ss - min_ss + 1)
        angle = 2 * np.pi * rng.random(n)
        length = rng.exponential(1.0, n) * self._tracks[panel]
        photons = rng.geometric(1 / self._response.zinger_photons, n)
        particle = np.repeat(np.arange(n), photons)
        way = rng.random(len(particle)) * length[particle]
        fs = np.floor(start_fs[particle] + way * np.cos(angle[particle])).astype(np.int64)
        ss = np.floor(start_ss[particle] + way * np.sin(angle[particle])).astype(np.int64)
        # A track ends at the edge of its panel: what lies beside it in the array is elsewhere.
        on = (fs >= min_fs[particle]) & (fs <= max_fs[particle])
        on &= (ss >= min_ss[particle]) & (ss <= max_ss[particle])
        fs, ss = fs[on], ss[on]
        live = self.live[ss, fs]
        return ss[live] * self._shape[1] + fs[live]
