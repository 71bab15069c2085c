"""Physical features of frames against closed forms."""

import math

import numpy as np
import pytest

from spotmill.physics.frame_features import (
    FEATURES,
    GRID,
    NAMES,
    SHELLS,
    ground,
    measure,
    resolution,
    tamed,
)
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.peak_finding import Criteria, find_peaks

SIZE = 400


def detector(max_adu: float | None = None, panels: int = 1) -> Detector:
    """Return a square detector around the beam, its panels one over the other."""
    high = SIZE // panels
    parts = tuple(
        Panel(
            f"p{k}",
            0,
            SIZE - 1,
            k * high,
            (k + 1) * high - 1,
            np.array([-SIZE / 2, k * high - SIZE / 2, 2000]) * 1e-4,
            np.array([1e-4, 0, 0]),
            np.array([0, 1e-4, 0]),
        )
        for k in range(panels)
    )
    mask = np.ones((SIZE, SIZE), dtype=bool)
    return Detector(parts, (SIZE, SIZE), mask, 0.2, max_adu, 1.0)


PLACE = ground(detector(), np.ones((SIZE, SIZE), dtype=bool))
SS, FS = np.mgrid[:SIZE, :SIZE] + 0.5
RADIUS = np.hypot(SS - SIZE / 2, FS - SIZE / 2)


def features(image: np.ndarray, place=PLACE) -> dict[str, float]:
    return dict(zip(NAMES, measure(image.astype(np.uint16), place), strict=True))


def flat(mean: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, (SIZE, SIZE))


def test_every_feature_has_a_name_of_its_own_and_a_meaning() -> None:
    assert len(set(NAMES)) == len(FEATURES) == len(measure(flat(0.1), PLACE))
    assert all(feature.meaning for feature in FEATURES)


@pytest.mark.parametrize("mean", [0.02, 0.5, 20.0])
def test_of_poisson_photons_backgrounds_are_the_mean_and_dispersions_one(mean: float) -> None:
    found = features(flat(mean))
    pixels = np.bincount(PLACE.shell, PLACE.pixels, SHELLS)
    for k in range(2, SHELLS):
        # Of a Poisson law the variance of (n - m)^2 is m + 2 m^2; clipping takes little off.
        sigma = math.sqrt((mean + 2 * mean**2) / pixels[k]) / mean
        assert found[f"dispersion_{k}"] == pytest.approx(1, abs=5 * sigma + 0.06)
        near = 5 * math.sqrt(mean / pixels[k]) + 0.08 * mean
        assert found[f"background_{k}"] == pytest.approx(mean, abs=near)
    assert abs(found["dipole_fs"]) < 5 * math.sqrt(2 / (mean * SIZE**2))
    assert found["region_high"] < 5
    assert found["region_low"] > -5
    assert found["ring_excess"] < 6


def test_photons_that_come_in_bursts_are_overdispersed() -> None:
    """A mean that varies as a gamma law of shape k gives a variance of m + m^2 / k."""
    rng = np.random.default_rng(2)
    found = features(rng.poisson(rng.gamma(2.0, 2.0, (SIZE, SIZE))))
    assert found["dispersion_12"] == pytest.approx(1 + 4 / 2, rel=0.2)


def test_counts_are_exact() -> None:
    image = np.zeros((SIZE, SIZE), dtype=int)
    image[100, 100], image[100, 101], image[300, 50], image[10, 390] = 7, 3, 300, 1
    found = features(image)
    assert found["photons"] == 311
    assert found["largest_pixel"] == 300
    over = {k: found[f"over_{k}"] for k in (2, 4, 8, 256)}
    assert over == {2: 3, 4: 2, 8: 1, 256: 1}
    assert found["peaks"] == 2
    assert found["peak_1"] == pytest.approx(300, abs=0.1)
    assert found["peak_2"] == pytest.approx(10, abs=0.1)
    assert (found["peak_3"], found["peak_pixels"]) == (0, 1.5)
    places = np.floor([RADIUS[100, 100], RADIUS[300, 50]]) + 0.5
    assert found["peak_outermost"] == pytest.approx(places.mean())


def test_dead_pixels_do_not_count() -> None:
    image = flat(0.2)
    mask = np.ones((SIZE, SIZE), dtype=bool)
    mask[:, 150:170] = False
    wild = np.where(mask, image, 60000)
    place = ground(detector(), mask)
    assert features(wild, place) == features(np.where(mask, image, 0), place)
    assert features(wild, place)["photons"] == image[mask].sum()


def test_saturated_pixels_are_those_at_the_limit() -> None:
    image = flat(0.1)
    image[20, 20:24] = 1000
    place = ground(detector(max_adu=1000.0), np.ones((SIZE, SIZE), dtype=bool))
    assert features(image, place)["saturated"] == 4
    assert features(image)["saturated"] == 0


def test_peaks_are_those_of_the_classical_finder() -> None:
    rng = np.random.default_rng(3)
    image = rng.poisson(0.05 + 0.4 * np.exp(-(((RADIUS - 120) / 20) ** 2)))
    for ss, fs in rng.integers(5, SIZE - 5, (40, 2)):
        image[ss - 1 : ss + 2, fs - 1 : fs + 2] += rng.poisson(rng.choice([2, 30]), (3, 3))
    finder = find_peaks(image, np.ones_like(image, dtype=bool), RADIUS, Criteria())
    found = features(image)
    assert len(finder.score) > 30
    # It takes the background of the surroundings, not of the ring: peaks at its limit may differ.
    assert found["peaks"] == pytest.approx(len(finder.score), abs=2)
    assert found["peak_1"] == pytest.approx(finder.intensity.max(), rel=0.02)
    assert found["peak_photons"] == pytest.approx(finder.intensity.sum(), rel=0.02)


def test_moments_of_a_gaussian_ring() -> None:
    """A ring of radius a and width w: on circles r exp(-(r - a)^2 / 2 w^2), of mean a + w^2 / a."""
    a, w = 120.0, 15.0
    rng = np.random.default_rng(4)
    found = features(rng.poisson(400 * np.exp(-((RADIUS - a) ** 2) / (2 * w * w))))
    assert found["ring_radius"] == pytest.approx(a + w * w / a, abs=0.5)
    assert found["ring_width"] == pytest.approx(w * math.sqrt(1 - (w / a) ** 2), rel=0.02)
    assert abs(found["ring_skewness"]) < 0.1


def test_harmonics_of_a_modulated_background() -> None:
    rng = np.random.default_rng(5)
    cos, sin = (FS - SIZE / 2) / RADIUS, (SS - SIZE / 2) / RADIUS
    # The corners take part: over them cos^2 and sin^2 still average to a half.
    image = rng.poisson(3 * (1 + 0.2 * cos - 0.1 * sin + 0.15 * (cos**2 - sin**2)))
    found = features(image)
    assert found["dipole_fs"] == pytest.approx(0.2, abs=0.01)
    assert found["dipole_ss"] == pytest.approx(-0.1, abs=0.01)
    # Of a square the average of cos^2 of twice the azimuth is a little below a half.
    twice = 2 * np.mean((cos**2 - sin**2) ** 2)
    assert found["quadrupole"] == pytest.approx(0.15 * twice, abs=0.01)


def test_a_ring_that_stands_out() -> None:
    ring = np.abs(RADIUS - 150) < 1.5
    found = features(np.random.default_rng(6).poisson(0.1 + 0.1 * ring))
    # Three rings of about 2 pi 150 pixels: 283 photons expected, as many again, less what the
    # surroundings hold of them.
    expected = 0.1 * ring.sum() / math.sqrt(0.1 * ring.sum() * (1 + 3 / 22))
    assert found["ring_excess"] == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("panels", [1, 4])
def test_a_region_with_more_photons(panels: int) -> None:
    """Of one panel the regions are a grid, of many the panels."""
    place = ground(detector(panels=panels), np.ones((SIZE, SIZE), dtype=bool))
    image = flat(0.1, 7)
    part = np.s_[: SIZE // GRID, : SIZE // GRID] if panels == 1 else np.s_[: SIZE // panels]
    pixels = image[part].size
    image[part] += np.random.default_rng(8).poisson(0.1, image[part].shape)
    excess = 0.1 * pixels / math.sqrt(0.1 * pixels)
    # The rings that cross it take part of the excess for background.
    assert 0.4 * excess < features(image, place)["region_high"] < 1.1 * excess


def test_an_empty_frame_has_features() -> None:
    assert np.isfinite(measure(np.zeros((SIZE, SIZE), dtype=np.uint16), PLACE)).all()


def test_resolution_is_braggs() -> None:
    wavelength, clen, size = 2.0663, 0.15, 75e-6
    radius = np.array([0.0, 500.0, 1500.0])
    two_theta = np.arctan(radius * size / clen)
    with np.errstate(divide="ignore"):
        d = wavelength / (2 * np.sin(two_theta / 2))
    assert resolution(radius, size, clen, wavelength) == pytest.approx(d)


def test_taming_keeps_sign_and_order() -> None:
    low, high = (np.full(len(NAMES), value) for value in (-5.0, 1e6))
    assert (tamed(low) < 0).all()
    assert (tamed(high) > tamed(np.full(len(NAMES), 10.0))).all()
