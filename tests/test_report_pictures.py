"""Frames as pictures, and their means over rings."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_production import SHAPE

from spotmill.report.figures_frames import richest_window
from spotmill.report.pictures import (
    STEPS,
    levels,
    max_pool,
    pool_factor,
    show_frame,
    window_around,
)
from spotmill.report.radial import radial_profile


def test_pooling_keeps_single_photons_and_drops_dead_pixels() -> None:
    image = np.zeros((7, 9), dtype=np.uint16)
    mask = np.ones(image.shape, dtype=bool)
    image[4, 5] = 1
    image[0, 0], mask[0, 0] = 65535, False
    mask[:, 6:] = False
    small, live = max_pool(image, mask, 3)
    assert small.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert live.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert pool_factor((2167, 2070), 380) == 6


def test_levels_step_at_whole_photons() -> None:
    image = np.array([[0, 1, 2, 3, 4, 5, 9, 10, 99, 100, 65535]])
    steps = levels(image, np.ones(image.shape, dtype=bool))
    assert steps.tolist() == [[0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7]]
    assert len(STEPS) == 8


def test_what_is_drawn_over_a_frame_does_not_stretch_its_axes() -> None:
    axes = Figure().subplots()
    show_frame(axes, np.zeros(SHAPE), np.ones(SHAPE, dtype=bool), 1000, "")
    axes.scatter([0.0, SHAPE[1]], [0.0, SHAPE[0]])
    assert axes.get_xlim() == (0, SHAPE[1]) and axes.get_ylim() == (SHAPE[0], 0)


def test_window_stays_within_the_frame() -> None:
    window = window_around(2, 79, 20, SHAPE)
    assert (window.ss, window.fs) == (slice(0, 20), slice(60, 80))
    assert window_around(5, 5, 500, SHAPE).extent == (0, 80, 90, 0)


def test_window_goes_where_most_spots_are() -> None:
    spots = pd.DataFrame({"ss": [900.0, 300.0, 310.0, 330.0], "fs": [100.0, 500.0, 520.0, 540.0]})
    window = richest_window(spots, (1000, 1000))
    assert (window.ss, window.fs) == (slice(220, 380), slice(420, 580))
    # Of small frames it is a square of half a side.
    assert richest_window(spots.head(0), SHAPE).extent == (20, 60, 65, 25)


def test_radial_profile_of_a_known_image() -> None:
    rng = np.random.default_rng(3)
    s = np.linspace(0.1, 0.5, 40_000).reshape(200, 200)
    mask = rng.random(s.shape) < 0.9
    expected = 0.02 + 0.1 * s
    images = [np.where(mask, rng.poisson(expected), 60000) for _ in range(10)]
    profile = radial_profile(iter(images), expected, mask, s, bins=20)
    assert profile.pixels.sum() == mask.sum()
    assert profile.frames == 10
    # A straight line averages to its value in the middle of a ring.
    middle = 0.02 + 0.1 * profile.q / (2 * np.pi)
    assert np.allclose(profile.expected, middle, rtol=5e-3)
    chi_square = (((profile.measured - profile.expected) / profile.sigma) ** 2).sum()
    assert 4 < chi_square < 45  # 20 rings; 0.1 % on either side
    ratio, sigma = profile.ratio
    assert abs(ratio - 1) < 4 * sigma
    assert sigma == pytest.approx(1 / np.sqrt(10 * expected[mask].sum()), rel=0.02)
