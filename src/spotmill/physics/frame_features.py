"""Physical features of a frame: what image, mask and geometry say, and no more.

An experiment has all of it before anything is known of crystal, photon energy or camera length,
so lengths are pixels on the detector. `resolution` turns them into Å where both are known.

The background of a pixel is the mean of its ring of one pixel about the beam, strong pixels
clipped away (`spotmill.physics.peak_finding`). Of a frame whose photons follow the Poisson law
of a background that depends on the radius alone, dispersions are 1, and excesses, in standard
deviations, of the order of 1.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from spotmill.physics.geometry import Detector, magnitude, pixel_positions
from spotmill.physics.peak_finding import CLIP_SIGMAS, CLIPPINGS, Criteria

SHELLS = 16
OVER = (2, 4, 8, 16, 64, 256)  # photons above the background
RANKS = (1, 2, 3, 5, 10)  # of peaks by their photons, the strongest first
FEWEST_PANELS = 4  # of fewer, the data array is parted into GRID x GRID regions
GRID = 8
OUTERMOST = 3  # peaks
NEAR, FAR = 1, 12  # rings to each side: of a ring that stands out, and of its surroundings
FEWEST_PIXELS = 100  # of a ring that is compared with its surroundings

Array = NDArray[np.float64]


class Feature(NamedTuple):
    """A column: its name, unit, meaning, and whether it spans decades."""

    name: str
    unit: str
    meaning: str
    spans_decades: bool = False


FEATURES: tuple[Feature, ...] = (
    Feature("photons", "photons", "on live pixels", True),
    Feature("largest_pixel", "photons", "in the brightest live pixel", True),
    Feature("saturated", "pixel", "live pixels at the largest value that there is", True),
    *(
        Feature(f"over_{k}", "pixel", f"pixels at least {k} photons above their background", True)
        for k in OVER
    ),
    *(
        Feature(f"background_{k}", "photons", f"background a pixel, shell {k} of {SHELLS}")
        for k in range(SHELLS)
    ),
    *(
        Feature(
            f"dispersion_{k}",
            "",
            f"variance about the background over the background, shell {k}; Poisson: 1",
            True,
        )
        for k in range(SHELLS)
    ),
    Feature("peaks", "", "number that the classical finder finds", True),
    Feature("peak_photons", "photons", "above the background, in all peaks", True),
    *(
        Feature(f"peak_{rank}", "photons", f"above the background, in peak {rank}", True)
        for rank in RANKS
    ),
    Feature("peak_snr", "", "signal over noise of the strongest peak", True),
    Feature("peak_pixels", "pixel", "mean of a peak"),
    Feature("peak_radius", "pixel", "from the beam to the peaks, median"),
    Feature("peak_outermost", "pixel", f"from the beam to the {OUTERMOST} outermost peaks, mean"),
    Feature("ring_radius", "pixel", "mean distance from the beam of the background's photons"),
    Feature("ring_width", "pixel", "standard deviation of that distance"),
    Feature("ring_skewness", "", "of that distance"),
    Feature("ring_excess", "", "of the ring that stands out most of its surroundings", True),
    Feature("dipole_fs", "", "first harmonic of the background along fs, relative"),
    Feature("dipole_ss", "", "first harmonic of the background along ss, relative"),
    Feature("quadrupole", "", "second harmonic of the background, fs against ss, relative"),
    Feature("region_high", "", "largest excess of a panel or region over the background", True),
    Feature("region_low", "", "smallest excess of a panel or region over the background", True),
)

NAMES = tuple(feature.name for feature in FEATURES)
_DECADES = np.array([feature.spans_decades for feature in FEATURES])


@dataclass(frozen=True, eq=False)
class Ground:
    """What geometry and mask say of the pixels, the same for all frames of a detector.

    Attributes
    ----------
    live : [ss, fs] bool
    ring : [ss, fs] int32, distance from the beam in whole pixels
    region : [ss, fs] int16, number of panel or region
    direction : [ss, fs, 2] float32, unit vector from the beam along fs and ss
    pixels : [ring] live pixels
    harmonics : [3, ring] sums of cos, sin and cos 2 of the azimuth over live pixels
    shared : [region, ring] live pixels
    shell : [ring] number of the shell
    saturation : photons, or None
    """

    live: NDArray[np.bool_]
    ring: NDArray[np.int32]
    region: NDArray[np.int16]
    direction: NDArray[np.float32]
    pixels: Array
    harmonics: Array
    shared: Array
    shell: NDArray[np.int64]
    saturation: int | None


def ground(detector: Detector, mask: NDArray[np.bool_]) -> Ground:
    """Return what a detector and a mask [ss, fs] say of the pixels."""
    radius = np.full(detector.shape, np.nan)
    direction = np.zeros((*detector.shape, 2), dtype=np.float32)
    region = np.zeros(detector.shape, dtype=np.int16)
    for number, panel in enumerate(detector.panels):
        place = pixel_positions(panel)[..., :2]
        across = np.hypot(place[..., 0], place[..., 1])
        radius[panel.slab] = across / detector.pixel_size
        # Along fs and ss of the panel, so that a shift is told where it is seen: in the array.
        for axis, step in enumerate((panel.fs, panel.ss)):
            unit = step[:2] / max(float(np.linalg.norm(step)), 1e-300)
            direction[(*panel.slab, axis)] = place @ unit / np.maximum(across, 1e-300)
        region[panel.slab] = number
    count = len(detector.panels)
    if count < FEWEST_PANELS:
        ss, fs = (np.arange(size) * GRID // size for size in detector.shape)
        region[:] = ss[:, None] * GRID + fs
        count = GRID**2
    live = mask & np.isfinite(radius)
    ring = np.where(live, radius, 0).astype(np.int32)
    rings = int(ring.max()) + 1
    on, cos, sin = ring[live], direction[live, 0], direction[live, 1]
    sums = (cos, sin, cos * cos - sin * sin)
    return Ground(
        live,
        ring,
        region,
        direction,
        np.bincount(on, minlength=rings).astype(np.float64),
        np.stack([np.bincount(on, values, rings) for values in sums]),
        np.bincount(region[live].astype(np.int64) * rings + on, minlength=count * rings)
        .reshape(count, rings)
        .astype(np.float64),
        np.arange(rings) * SHELLS // rings,
        detector.saturation,
    )


def measure(image: NDArray[np.integer], place: Ground, criteria: Criteria | None = None) -> Array:
    """Return the features of a frame, in the order of `FEATURES`.

    Parameters
    ----------
    image
        [ss, fs] photons.
    place
        Of the detector and the mask of this frame.
    criteria
        Of the finder of peaks.
    """
    chosen = criteria or Criteria()
    pixel = np.flatnonzero((image > 0) & place.live)
    value = image.ravel()[pixel].astype(np.float64)
    ring = place.ring.ravel()[pixel]
    level, deviation, calm = backgrounds(value, ring, place.pixels)
    limit = np.maximum(level + chosen.pixel_snr * deviation, chosen.pixel_photons)
    bright = value >= limit[ring]
    peaks = peaks_of(pixel[bright], value[bright], level[ring[bright]], image.shape[1], chosen)
    excess = value - level[ring]
    found = {
        "photons": value.sum(),
        "largest_pixel": value.max(initial=0),
        "saturated": np.count_nonzero(value >= (place.saturation or np.inf)),
        "peaks": len(peaks.photons),
        "peak_photons": peaks.photons.sum(),
        "peak_snr": peaks.snr.max(initial=0),
        "peak_pixels": peaks.pixels.mean() if len(peaks.pixels) else 0.0,
    }
    found |= {f"over_{k}": np.count_nonzero(excess >= k) for k in OVER}
    strongest = np.sort(peaks.photons)[::-1]
    found |= {f"peak_{k}": strongest[k - 1] if k <= len(strongest) else 0.0 for k in RANKS}
    away = np.sort(place.ring.ravel()[peaks.brightest]) + 0.5
    found["peak_radius"] = np.median(away) if len(away) else 0.0
    found["peak_outermost"] = away[-OUTERMOST:].mean() if len(away) else 0.0
    found |= _of_shells(value, ring, level, place)
    found |= _of_profile(level, place)
    found |= _of_azimuth(pixel[calm], value[calm], level, place)
    return np.array([found[name] for name in NAMES], dtype=np.float64)


def tamed(features: Array) -> Array:
    """Return features [..., feature] with those that span decades as ±log(1 + |x|)."""
    return np.where(_DECADES, np.sign(features) * np.log1p(np.abs(features)), features)


def resolution(radius: ArrayLike, pixel_size: float, clen: float, wavelength: float) -> Array:
    """Return the resolution d in Å at a distance from the beam in pixels.

    Parameters
    ----------
    radius
        [...] pixels, on a flat detector across the beam.
    pixel_size, clen
        m.
    wavelength
        Å.
    """
    across = np.asarray(radius, dtype=np.float64) * pixel_size
    points = np.stack([across, np.zeros_like(across), np.full_like(across, clen)], axis=-1)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / magnitude(points, wavelength))


def backgrounds(
    value: Array, ring: NDArray[np.int32], pixels: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return mean and standard deviation of each ring's background, and which pixels are of it.

    As `peak_finding.ring_statistics`, from the lit pixels alone.

    Parameters
    ----------
    value, ring
        [n] photons and ring of the lit pixels.
    pixels
        [ring] live pixels, lit and dark.
    """
    rings = len(pixels)
    calm = np.ones(len(value), dtype=bool)
    for turn in range(CLIPPINGS):
        on, own = ring[calm], value[calm]
        left = np.maximum(pixels - np.bincount(ring[~calm], minlength=rings), 1)
        total = np.bincount(on, own, rings)
        mean = (total + 0.5) / left
        square = np.bincount(on, own * own, rings)
        sigma = np.sqrt(np.maximum(square / left - (total / left) ** 2, mean))
        limit = mean + np.maximum(CLIP_SIGMAS * sigma, 1.0)
        before, calm = calm, value <= limit[ring]
        if turn and np.array_equal(before, calm):
            break
    return mean, sigma, calm


class Groups(NamedTuple):
    """Peaks: photons above the background, pixels, signal over noise, flat brightest pixel."""

    photons: Array
    pixels: Array
    snr: Array
    brightest: NDArray[np.int64]


def peaks_of(
    pixel: NDArray[np.int64], value: Array, level: Array, n_fs: int, criteria: Criteria
) -> Groups:
    """Return the peaks that bright pixels make where they touch, as the classical finder does.

    The background is that of the ring.

    Parameters
    ----------
    pixel, value, level
        [n] flat number (ascending), photons and background of the bright pixels.
    n_fs
        Pixels of a row.
    """
    label = _touching(pixel, n_fs)
    count = int(label.max(initial=-1)) + 1
    photons = np.bincount(label, np.maximum(value - level, 0), count).astype(np.float64)
    pixels = np.bincount(label, minlength=count).astype(np.float64)
    noise = np.sqrt(np.bincount(label, level, count) + 0.1)
    brightest = np.zeros(count, dtype=np.int64)
    order = np.argsort(value, kind="stable")
    brightest[label[order]] = pixel[order]
    low, high = criteria.pixels
    kept = (photons >= criteria.peak_photons) & (pixels >= low) & (pixels <= high)
    return Groups(photons[kept], pixels[kept], (photons / noise)[kept], brightest[kept])


@njit(cache=True)
def _touching(pixel: Any, n_fs: int) -> Any:
    """Return the group, from 0, of each of ascending flat pixels; those that touch share it."""
    parent = np.arange(len(pixel))
    for k in range(len(pixel)):
        fs = pixel[k] % n_fs
        for step in (-1, -n_fs - 1, -n_fs, -n_fs + 1):
            shift = step if step == -1 else step + n_fs
            if fs + shift < 0 or fs + shift >= n_fs:
                continue
            at = np.searchsorted(pixel, pixel[k] + step)
            if at >= k or pixel[at] != pixel[k] + step:
                continue
            a, b = k, at
            while parent[a] != a:
                a = parent[a]
            while parent[b] != b:
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    label = np.empty(len(pixel), np.int64)
    count = 0
    for k in range(len(pixel)):
        # A parent comes before its children, so that its label is known.
        if parent[k] == k:
            label[k] = count
            count += 1
        else:
            label[k] = label[parent[k]]
    return label


def _of_shells(
    value: Array, ring: NDArray[np.int32], level: Array, place: Ground
) -> dict[str, float]:
    """Return background and dispersion of each shell."""
    rings = len(level)
    # The sum of (n - b)^2 over all pixels of a ring, the dark ones included.
    lit = np.bincount(ring, value * (value - 2 * level[ring]), rings)
    square = lit + place.pixels * level**2
    expected = np.bincount(place.shell, place.pixels * level, SHELLS)
    pixels = np.bincount(place.shell, place.pixels, SHELLS)
    spread = np.bincount(place.shell, square, SHELLS)
    found = {}
    for k in range(SHELLS):
        known = pixels[k] > 0
        found[f"background_{k}"] = expected[k] / pixels[k] if known else 0.0
        found[f"dispersion_{k}"] = spread[k] / expected[k] if known else 1.0
    return found


def _of_profile(level: Array, place: Ground) -> dict[str, float]:
    """Return moments of the background on whole circles, and the ring that stands out most."""
    known = place.pixels > 0
    radius = np.arange(len(level)) + 0.5
    weight = np.where(known, level * radius, 0)
    weight = weight / weight.sum()
    centre = weight @ radius
    width = np.sqrt(weight @ (radius - centre) ** 2)
    skewness = weight @ (radius - centre) ** 3 / max(width, 1e-9) ** 3
    photons = np.where(known, level * place.pixels, 0)
    near, far = (_running(2 * reach + 1, photons, place.pixels) for reach in (NEAR, FAR))
    beside, pixels = far[0] - near[0], far[1] - near[1]
    enough = (near[1] >= FEWEST_PIXELS) & (pixels >= FEWEST_PIXELS)
    expected = beside / np.maximum(pixels, 1) * near[1]
    noise = np.sqrt(expected * (1 + near[1] / np.maximum(pixels, 1)) + 1e-9)
    excess = np.where(enough, (near[0] - expected) / noise, 0)
    return {
        "ring_radius": centre,
        "ring_width": width,
        "ring_skewness": skewness,
        "ring_excess": excess.max(initial=0),
    }


def _running(length: int, *values: Array) -> list[Array]:
    """Return sums over this many neighbours, an odd number."""
    ones = np.ones(length)
    return [np.convolve(part, ones)[length // 2 :][: len(part)] for part in values]


def _of_azimuth(
    pixel: NDArray[np.int64], value: Array, level: Array, place: Ground
) -> dict[str, float]:
    """Return harmonics of the background about the beam, and the excess of panels or regions."""
    total = max(float(level @ place.pixels), 1.0)
    cos, sin = place.direction.reshape(-1, 2)[pixel].T.astype(np.float64)
    first, second, double = place.harmonics @ level
    region = place.region.ravel()[pixel].astype(np.int64)
    expected = place.shared @ level
    seen = np.bincount(region, value, len(expected))
    known = expected > 0
    excess = (seen - expected)[known] / np.sqrt(expected[known])
    return {
        "dipole_fs": 2 * (value @ cos - first) / total,
        "dipole_ss": 2 * (value @ sin - second) / total,
        "quadrupole": 2 * (value @ (cos * cos - sin * sin) - double) / total,
        "region_high": excess.max(initial=0),
        "region_low": excess.min(initial=0),
    }
