"""Masks that differ from frame to frame: dead modules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, water_words
from scipy import stats

from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.physics.conditions import dead_panels, frame_mask
from spotmill.randomise import Randomise

TWO = {"choice": (0, 1, 2)}


@pytest.fixture(scope="module")
def eiger():
    geometry = read_geometry(ROOT / "config/detectors/eiger4m.geom")
    return geometry.detector(clen=0.15, photon_energy=7000)


def randomise(number):
    return Randomise.parse({"dead_modules": number}, "randomise.yaml")


def test_no_dead_modules_leave_the_mask_alone(eiger):
    assert frame_mask(eiger, Randomise(), (1, "A", 0)) is None
    assert not dead_panels(eiger, Randomise(), (1, "A", 0)).any()


def test_numbers_and_panels_are_drawn_alike(eiger):
    drawn = np.array([dead_panels(eiger, randomise(TWO), (1, "A", n)) for n in range(1500)])
    assert stats.chisquare(np.bincount(drawn.sum(axis=1), minlength=3)).pvalue > 1e-3
    assert drawn.shape == (1500, len(eiger.panels))
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > 1e-3
    again = dead_panels(eiger, randomise(TWO), (1, "A", 77))
    np.testing.assert_array_equal(drawn[77], again)
    for other in ((2, "A", 77), (1, "B", 77)):
        many = [dead_panels(eiger, randomise(TWO), (*other[:2], n)) for n in range(40)]
        assert (np.array(many) != drawn[:40]).any()


@pytest.mark.parametrize(("number", "dead"), [(1, 1), (1.6, 2), (8, 8), (50, 8), (0.2, 0)])
def test_numbers_are_rounded_and_limited(eiger, number, dead):
    assert len(eiger.panels) == 8
    assert dead_panels(eiger, randomise(number), (1, "A", 3)).sum() == dead


def test_the_mask_lacks_the_dead_panels_and_nothing_else(eiger):
    mask = eiger.mask.copy()
    mask[10, 10] = False
    detector = replace(eiger, mask=mask)
    identity = (3, "A", 5)
    live = frame_mask(detector, randomise(2), identity)
    dead = dead_panels(detector, randomise(2), identity)
    assert dead.sum() == 2
    expected = mask.copy()
    for number in np.flatnonzero(dead):
        expected[detector.panels[number].slab] = False
    np.testing.assert_array_equal(live, expected)
    assert mask[0, 0] == eiger.mask[0, 0]  # the detector's own mask is as it was


@pytest.mark.parametrize("number", [-1, {"uniform": [-1, 1]}, {"normal": [1, 1]}, "many"])
def test_impossible_numbers(number):
    with pytest.raises(SpotmillError, match="dead_modules"):
        randomise(number)


def test_dead_modules_of_empty_frames(tiny, spotmill):
    """No photon lies on them, the table says which they are, and the counts add up."""
    Path("config/detectors/tiny.yaml").write_text("hot_pixels: 0.01\nhot_rate: 5.0\n")
    Path("r.yaml").write_text("dead_modules: {choice: [0, 1, 2]}\n")
    spotmill(*water_words())
    words = ["overlay", "--water", "water.h5", "--first", 10_000_000, "--count", 24, "--seed", 7]
    spotmill(*words, "--output", "plain/e00000.h5")
    spotmill(*words, "--randomise", "r.yaml", "--output", "e00000.h5")
    spotmill("manifest", "--overlay", "e00000.h5", "--output", "A.parquet")
    spotmill("check", "A.parquet")
    slabs = [np.s_[:, :80], np.s_[:, 86:]]
    with Shard("e00000.h5") as shard, Shard("plain/e00000.h5") as plain:
        assert "dead_panels" not in plain.columns()
        dead = shard.column("dead_panels")
        assert set(dead.sum(axis=1)) == {0, 1, 2}
        for position in range(24):
            image, whole = shard.read(position), plain.read(position)
            for slab, off in zip(slabs, dead[position], strict=True):
                np.testing.assert_array_equal(image[slab], 0 if off else whole[slab])
