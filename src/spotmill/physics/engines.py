"""Engines that compute whole images: the lattice sum, and what its images have in common.

An image becomes spots by giving each pixel to one reflection (`owners`): of the lattice
points that the band brings near the pixel's centre, the one that scatters most there. The
pixels are shared out whole, so the photons of the spots add up to those of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import ndtr

from spotmill.concepts import Beam, Crystal
from spotmill.errors import SpotmillError
from spotmill.physics.diffraction import Spots
from spotmill.physics.engine_kernels import own_panel
from spotmill.physics.footprint import SPREAD_WIDTH, Footprint
from spotmill.physics.geometry import Detector
from spotmill.physics.lattice import Transform, lattice_image, resolved_size, whole_cells
from spotmill.physics.pattern import Scene, Shot
from spotmill.physics.pattern_sim_spectra import Spectrum as Sampled
from spotmill.physics.pattern_sim_spectra import equal_shares
from spotmill.physics.spectrum import Spectrum
from spotmill.physics.units import ANGSTROM

# Expected photons from which a spot is listed; a fainter one only if it drew a photon.
LEAST = 0.01

# Density, relative to its maximum, from which a wavenumber counts as part of a spectrum.
LIT = 0.01

SAMPLES = 4  # along each edge of a pixel


def check_perfect(engine: str, beam: Beam, crystal: Crystal) -> None:
    """Raise SpotmillError for what a lattice sum does not hold."""
    remedy = f"engine {engine} sums a perfect box in a parallel beam; set it to {{}}, or use \
engine integrated"
    if crystal.shape != "box":
        raise SpotmillError(f"crystal: shape {crystal.shape}: {remedy.format('box')}")
    if crystal.mosaicity.bounds[1] > 0:
        raise SpotmillError(f"crystal: mosaicity: {remedy.format('0')}")
    if beam.divergence > 0:
        raise SpotmillError(f"beam: divergence: {remedy.format('0')}")


def wavelength_samples(
    spectrum: Spectrum, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut a spectrum into n parts of equal photon number: the median of each (1/Å), and 1/n.

    Raises
    ------
    SpotmillError
        When a median falls where the spectrum has no photons, as between two lines.
    """
    wavenumbers, weights = equal_shares(Sampled(spectrum.low, spectrum.high, spectrum.density), n)
    density = spectrum.density(wavenumbers)
    if (density < 1e-4 * density.max()).any():
        raise SpotmillError(
            f"n_wavelengths: one of {n} samples falls between the lines of the spectrum; "
            "choose an even number"
        )
    return wavenumbers, weights


def sampled_gap(spectrum: Spectrum, n: int) -> float:
    """Return the mean distance of n samples over the lit part of a spectrum, 1/Å."""
    grid = np.linspace(spectrum.low, spectrum.high, 1 << 16)
    density = spectrum.density(grid)
    lit = float((density > LIT * density.max()).mean())
    return lit * (spectrum.high - spectrum.low) / n


def check_resolved(detector: Detector, spectrum: Spectrum, n: int, edge: float) -> None:
    """Raise SpotmillError where the samples miss spots of a crystal with this edge, m."""
    gap = sampled_gap(spectrum, n)
    pair = np.array([spectrum.high - gap, spectrum.high])
    limit = resolved_size(detector, pair, gap, SAMPLES)
    if edge > limit:
        raise SpotmillError(
            f"size: {n} wavelengths and the pixels resolve crystals up to {limit * 1e9:.0f} nm "
            f"here, this one has {edge * 1e9:.0f} nm; raise n_wavelengths, or use engine integrated"
        )


@dataclass(frozen=True)
class LatticeSum:
    """The lattice sum of `physics/lattice` in every pixel.

    Attributes
    ----------
    transform
        |F|^2 of all reflections.
    n_wavelengths
        Samples of the spectrum.
    """

    transform: Transform
    n_wavelengths: int
    least: float = LEAST

    def __call__(self, scene: Scene, shot: Shot) -> tuple[Spots, Footprint]:
        """Return the spots and where their expected photons fall."""
        axes = shot.axes
        cells = cells_of(shot)
        wavenumbers, weights = wavelength_samples(shot.spectrum, self.n_wavelengths)
        edge = float(np.max(np.linalg.norm(axes, axis=1) * cells)) * ANGSTROM
        check_resolved(shot.detector, shot.spectrum, self.n_wavelengths, edge)
        image = lattice_image(
            shot.detector,
            axes,
            cells,
            self.transform,
            wavenumbers,
            weights,
            shot.fluence,
            polarisation=scene.beam.polarisation,
            samples=SAMPLES,
        )
        image = spread_image(image, shot.detector, scene.spread)
        return share_out(image, shot, self.transform, cells, wavenumbers)


def cells_of(shot: Shot) -> tuple[int, int, int]:
    """Return how many whole cells the crystal holds along each axis."""
    return whole_cells(shot.axes, shot.size)


def pixel_spread(sigma: float) -> NDArray[np.float64]:
    """Return the shares of a pixel's photons on itself and its neighbours along one axis.

    The photons start evenly over the pixel and move by a Gaussian of `sigma` pixels: second
    differences of the second integral of the Gaussian, t Phi(t) + phi(t).
    """
    reach = int(np.ceil(SPREAD_WIDTH * sigma)) if sigma > 0 else 0
    if reach == 0:
        return np.ones(1)
    t = np.arange(-reach - 1, reach + 2) / sigma
    second = sigma * (t * ndtr(t) + np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi))
    return np.asarray(np.diff(second, 2))


def spread_image(
    image: NDArray[np.float32], detector: Detector, spread: Sequence[tuple[float, float]]
) -> NDArray[np.float32]:
    """Spread the photons of an image [ss, fs] within each panel; what leaves a panel is lost.

    Parameters
    ----------
    spread
        Components of the point spread: standard deviation (m) and weight.
    """
    if all(sigma == 0 for sigma, _ in spread):
        return image
    result = np.zeros_like(image)
    for panel in detector.panels:
        for sigma, weight in spread:
            part = image[panel.slab]
            for axis, step in ((0, panel.ss), (1, panel.fs)):
                shares = pixel_spread(sigma / float(np.linalg.norm(step)))
                part = correlate1d(part, shares, axis=axis, mode="constant")
            result[panel.slab] += np.float32(weight) * part
    return result


def owners(
    shot: Shot,
    transform: Transform,
    cells: tuple[int, int, int],
    wavenumbers: NDArray[np.float64],
) -> NDArray[np.int32]:
    """Return the indices hkl of the reflection that owns each pixel, [ss, fs, 3]; never 000."""
    detector = shot.detector
    found = np.zeros((*detector.shape, 3), dtype=np.int32)
    for panel in detector.panels:
        own_panel(
            panel.corner,
            panel.fs,
            panel.ss,
            shot.axes,
            np.array(cells, dtype=np.float64),
            np.array(transform.half),
            transform.parts[0],
            wavenumbers,
            found[panel.slab],
        )
    return found


def share_out(
    image: NDArray[np.float32],
    shot: Shot,
    transform: Transform,
    cells: tuple[int, int, int],
    wavenumbers: NDArray[np.float64],
) -> tuple[Spots, Footprint]:
    """Share the expected photons of an image [ss, fs] out to reflections.

    Returns
    -------
    Spots, Footprint
        `photons`, `fs`, `ss` of a spot are sum and centroid of its pixels, live or not,
        the centroid on the panel that holds most of it.
    """
    pixel = np.flatnonzero(image > 0)
    photons = image.ravel()[pixel].astype(np.float64)
    own = owners(shot, transform, cells, wavenumbers).reshape(-1, 3)[pixel]
    low = own.min(axis=0, initial=0)
    sides = own.max(axis=0, initial=0) - low + 1
    key = np.ravel_multi_index(tuple((own - low).T), tuple(sides))
    present = np.bincount(key, minlength=int(np.prod(sides))) > 0
    spot = (np.cumsum(present) - 1)[key]
    hkl = np.stack(np.unravel_index(np.flatnonzero(present), tuple(sides)), axis=1) + low
    live = shot.detector.mask.ravel()[pixel]
    total = np.bincount(spot, photons, minlength=len(hkl)).astype(np.float64)
    share = np.bincount(spot, photons * live, minlength=len(hkl)) / total
    panel, fs, ss = _centroids(shot.detector, spot, pixel, photons, len(hkl))
    where = Footprint(spot[live], pixel[live], photons[live], panel, fs, ss, share)
    return excited(hkl.astype(np.int32), total, shot), where


def excited(hkl: NDArray[np.int32], photons: NDArray[np.float64], shot: Shot) -> Spots:
    """Return spots without rays: k_res is brought into the band where the reflection is off it."""
    s = hkl @ shot.turned
    squared = np.einsum("ij,ij->i", s, s)
    # At s_z >= 0 no wavenumber fulfils the condition: the largest comes nearest.
    towards = np.maximum(-2 * s[:, 2], squared / shot.spectrum.high)
    wavenumber = np.maximum(squared / towards, shot.spectrum.low)
    direction = s / wavenumber[:, None] + np.array([0.0, 0.0, 1.0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    none = np.zeros(0)
    return Spots(
        hkl, s, wavenumber, photons, direction, none.astype(np.int64), none, none.reshape(0, 3)
    )


def _centroids(
    detector: Detector,
    spot: NDArray[np.int64],
    pixel: NDArray[np.int64],
    photons: NDArray[np.float64],
    n: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the panel of most photons of each spot, and their centroid there (fs, ss)."""
    ss, fs = np.divmod(pixel, detector.shape[1])
    panel, most = np.full(n, -1, dtype=np.int64), np.zeros(n)
    at_fs, at_ss = np.full(n, np.nan), np.full(n, np.nan)
    for number, p in enumerate(detector.panels):
        on = (fs >= p.min_fs) & (fs <= p.max_fs) & (ss >= p.min_ss) & (ss <= p.max_ss)
        own, weight = spot[on], photons[on]
        held = np.bincount(own, weight, minlength=n)
        better = held > most
        for at, position in ((at_fs, fs[on]), (at_ss, ss[on])):
            moment = np.bincount(own, weight * (position + 0.5), minlength=n)
            at[better] = moment[better] / held[better]
        panel[better], most[better] = number, held[better]
    return panel, at_fs, at_ss


def with_closed_form(
    owned: tuple[Spots, Footprint], closed: tuple[Spots, Footprint], shot: Shot
) -> tuple[Spots, Footprint]:
    """Give spots of an image the truth of the closed form: expectation, position, energy.

    Rows of the closed form that own no pixel follow; rows that it does not know expect 0.
    """
    spots, where = owned
    truth, place = closed
    rows = {tuple(hkl): row for row, hkl in enumerate(spots.hkl.tolist())}
    extra = [row for row, hkl in enumerate(truth.hkl.tolist()) if tuple(hkl) not in rows]
    hkl = np.concatenate([spots.hkl, truth.hkl[extra]])
    rows |= {tuple(truth.hkl[row].tolist()): len(rows) + n for n, row in enumerate(extra)}
    target = np.array([rows[tuple(hkl)] for hkl in truth.hkl.tolist()], dtype=np.int64)
    photons = np.zeros(len(hkl))
    photons[target] = truth.photons
    merged = excited(hkl, photons, shot)
    merged.wavenumber[target] = truth.wavenumber
    struck = place.panel >= 0
    columns = {}
    for name, none in (("panel", -1), ("fs", np.nan), ("ss", np.nan), ("live", 0.0)):
        column = np.concatenate([getattr(where, name), np.full(len(extra), none)])
        column[target[struck]] = getattr(place, name)[struck]
        columns[name] = column.astype(getattr(where, name).dtype)
    return merged, replace(where, **columns)
