"""What lies around a candidate tells a spot from light that changes over a few pixels."""

import numpy as np
import pytest

from spotmill.learning.candidates import find_candidates
from spotmill.learning.models import patch_counter
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.surroundings import COUNT, surroundings

SHAPE = (256, 256)
LEVEL = 0.1


def frame(halo: float, spots: int, seed: int) -> np.ndarray:
    """Draw a frame with a halo of so many photons a pixel and spots of 30 photons."""
    rng = np.random.default_rng(seed)
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mean = LEVEL + halo * np.exp(-np.hypot(ss - 128, fs - 128) / 12)
    image = rng.poisson(mean)
    for _ in range(spots):
        at = rng.integers(8, 100, 2)
        image[at[0] : at[0] + 2, at[1] : at[1] + 2] += rng.poisson(7.5, (2, 2))
    return image.astype(np.int32)


def told(image: np.ndarray) -> np.ndarray:
    found = find_candidates(image, np.ones(SHAPE, dtype=bool), 40, 128)
    return surroundings(image, found.ss, found.fs, found.background)


def test_spots_stand_out_of_their_ring_and_a_halo_does_not() -> None:
    spots, halo = told(frame(0, 12, 1))[:12], told(frame(20, 0, 2))
    # In standard deviations: 30 photons over 0.9 are 12 of them; of noise few exceed 4.
    assert np.expm1(spots[:, 0]).min() > 6
    assert np.median(np.expm1(halo[:, 0])) < 3
    # The ring of a spot is the background, that of a halo is brighter.
    assert np.median(np.abs(spots[:, 1])) < 1
    assert np.median(halo[:, 1]) > 2
    assert np.median(np.expm1(halo[:, 2])) > 3 * np.median(np.expm1(spots[:, 2]))


def test_a_ring_of_dead_pixels_counts_as_the_background() -> None:
    image = np.full((40, 40), -1, dtype=np.int32)
    image[18:23, 18:23] = 0
    image[20, 20] = 9
    place, level = np.array([20]), np.array([0.5])
    contrast, ring, neighbours = surroundings(image, place, place, level)[0]
    mean = 0.5 * 9
    assert np.expm1(contrast) == pytest.approx(np.sqrt(2 * (9 * np.log(9 / mean) - 9 + mean)))
    assert (ring, neighbours) == (0, 0)


def test_they_are_told_only_on_request() -> None:
    image, mask = frame(5, 3, 3), np.ones(SHAPE, dtype=bool)
    plain, more = (patch_counter.Settings(candidates=32, surroundings=on) for on in (False, True))
    before, after = (
        patch_counter.CandidateEncoder(settings).encode(image, mask)[0]
        for settings in (plain, more)
    )
    assert after.shape == (32, 7 + COUNT)
    np.testing.assert_array_equal(before, after[:, :7])
    network = patch_counter.Network(more, Dimensions((32, 7 + COUNT), 1, 1))
    assert network.judge[0].in_features == 6 + COUNT


def test_a_pixel_that_counts_by_itself_shares_nothing() -> None:
    image, mask = np.zeros(SHAPE, dtype=np.int32), np.ones(SHAPE, dtype=bool)
    image[60, 60] = 400
    image[160:162, 160:162] = 100
    settings = patch_counter.Settings(candidates=4, surroundings=True, sharing=True)
    rows = patch_counter.CandidateEncoder(settings).encode(image, mask)[0]
    assert rows.shape == (4, settings.features)
    hot, spot = rows[np.argsort(-rows[:2, 1])]
    assert hot[-2:] == pytest.approx([0, 0], abs=0.01)
    assert spot[-2:] == pytest.approx([np.log(4), 0], abs=0.03)
    plain = patch_counter.Settings(candidates=4, surroundings=True)
    np.testing.assert_array_equal(
        rows[:, :-2], patch_counter.CandidateEncoder(plain).encode(image, mask)[0]
    )
