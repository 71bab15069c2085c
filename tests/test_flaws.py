"""Rings about a centre that nobody states, flaws of frames, faint gains and wrong headers."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from learning_data import make
from test_real_frames import SHAPE, event_of, frame, said_of, write

from spotmill.inference import Pipeline
from spotmill.inference.flaws import flaws, strangeness_of_flaws
from spotmill.inference.gain import counts_a_photon
from spotmill.inference.plausible import outstanding
from spotmill.inference.ridges import abound, fitted_centre, ridges
from spotmill.inference.verdict import leaked
from spotmill.learning.marked import mark
from spotmill.physics.peak_finding import Peaks

CENTRE = (130.0, 150.0)


@pytest.fixture(scope="module")
def pipeline(small_models: Path) -> Pipeline:
    return Pipeline.load(small_models / "models")


def radius(centre: tuple[float, float], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    ss, fs = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.hypot(fs - centre[0], ss - centre[1])


def rings(centre: tuple[float, float], shape: tuple[int, int], at: tuple[float, ...]) -> np.ndarray:
    """Return narrow rings of two photons a pixel."""
    own = radius(centre, shape)
    return sum(2.0 * np.exp(-((own - one) ** 2) / (2 * 1.5**2)) for one in at)


def maxima(image: np.ndarray, least: int) -> Peaks:
    """Return all places whose 3 x 3 pixels hold so many photons."""
    padded = np.pad(image, 1)
    total = sum(
        padded[a : a + image.shape[0], b : b + image.shape[1]] for a in range(3) for b in range(3)
    )
    ss, fs = np.nonzero(total >= least)
    return Peaks(np.stack([fs, ss], axis=1) + 0.5, np.ones(len(ss)), np.ones(len(ss)))


def test_the_brightest_pixels_of_rings_are_no_peaks_wherever_the_beam_is_said_to_be() -> None:
    rng = np.random.default_rng(1)
    shape, true = (700, 640), (300.0, 330.0)
    image = rng.poisson(0.05 + rings(true, shape, (90.0, 150.0, 230.0))).astype(np.int32)
    live = np.ones(shape, dtype=bool)
    spots = np.array([[50, 60], [560, 80], [600, 620], [40, 650], [420, 40]]) + 0.5
    for fs, ss in spots.astype(int):
        image[ss - 1 : ss + 2, fs - 1 : fs + 2] += np.array([[1, 2, 1], [2, 9, 2], [1, 2, 1]])
    found = maxima(image, 20)
    assert len(found.score) > 500
    stated = (true[0] + 31.0, true[1] - 38.0)
    wrong = radius(stated, shape)
    kept = outstanding(found, image, live, wrong, stated)
    near = np.hypot(*(kept.place[:, None] - spots).transpose(2, 0, 1))
    assert (near.min(0) < 1.5).all() and (near.min(1) > 3).sum() <= 5
    at = np.floor(found.place).astype(int)
    factors = ridges(image, live, at, np.full(len(at), 0.4))
    assert abound(factors)
    own = fitted_centre(found.place[factors > 1.3], stated)
    assert np.hypot(own[0] - true[0], own[1] - true[1]) < 2
    # Nor where nobody knows the centre, though there more are left.
    assert len(outstanding(found, image, live).score) < 0.1 * len(found.score)


def test_spots_in_a_row_are_no_ring() -> None:
    image = np.zeros((200, 200), dtype=np.int32)
    for place in range(20, 190, 12):
        image[99:102, place - 1 : place + 2] += np.array([[1, 3, 1], [3, 20, 3], [1, 3, 1]])
    at = np.stack([np.arange(20, 190, 12), np.full(15, 100)], axis=1)
    factors = ridges(image, image >= 0, at, np.full(len(at), 0.02))
    assert not abound(factors)
    peaks = Peaks(at + 0.5, np.ones(15), np.ones(15))
    assert len(outstanding(peaks, image, image >= 0).score) == 15


@pytest.mark.parametrize("spots", [0, 14])
def test_ice_about_another_centre_changes_no_verdict(
    pipeline: Pipeline, tmp_path: Path, spots: int
) -> None:
    one = frame(spots, seed=4)
    rng = np.random.default_rng(5)
    ice = rng.poisson(rings(CENTRE, SHAPE, (60.0, 85.0, 110.0))) * one.live
    said = said_of(pipeline, tmp_path, one.image + ice, one.live, (CENTRE[0] + 25, CENTRE[1] - 40))
    assert said.is_hit == (spots > 0), said.remarks


def test_of_many_refused_peaks_some_are_left() -> None:
    assert [leaked(count) for count in (0, 4)] == [0, 0]
    assert 0 < leaked(100) <= leaked(600) < 15


@pytest.mark.parametrize("rate", [0.001, 0.002, 0.01])
def test_single_photons_that_stand_apart_from_the_noise_tell_the_gain(rate: float) -> None:
    rng = np.random.default_rng(2)
    shape = (900, 800)
    counts = 14.7 * rng.poisson(rate, shape) + rng.normal(0, 2.0, shape)
    # Spots.
    for fs, ss in rng.integers(5, 790, (40, 2)):
        counts[ss, fs] += 14.7 * 30
    found = counts_a_photon(counts.astype(np.float32), np.ones(shape, dtype=bool))
    assert found == pytest.approx(14.7, rel=0.03)


def test_a_gain_known_badly_is_taken_high() -> None:
    shape, live = (900, 800), np.ones((900, 800), dtype=bool)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        # A photon is three standard deviations of the noise: none stands apart.
        counts = 6.0 * rng.poisson(0.004, shape) + rng.normal(0, 2.0, shape)
        assert counts_a_photon(counts.astype(np.float32), live) >= 5.9


def counted(image: np.ndarray, size: float | None = 75e-6) -> int:
    live = np.ones(image.shape, dtype=bool)
    marked = mark(image, live)
    return flaws(image, live, marked.levels, marked.block, None, size)


def test_flaws_are_single_pixels_and_tracks() -> None:
    one = frame(15, seed=3)
    assert counted(one.image) <= 1
    rng = np.random.default_rng(7)
    numbers = []
    for count in (5, 20, 60):
        image = one.image.copy()
        image[rng.integers(0, SHAPE[0], count), rng.integers(0, SHAPE[1], count)] = 40
        numbers.append(counted(image))
    assert numbers == sorted(numbers) and numbers[0] >= 4 and numbers[-1] >= 50
    track = one.image.copy()
    track[40, 30:42] += 9
    assert counted(track) == counted(one.image) + 1
    # On large pixels a spot may be in one alone.
    lone = np.zeros(SHAPE, dtype=np.int32)
    lone[[20, 50, 90], [20, 90, 60]] = 60
    assert counted(lone) == 3 and counted(lone, 172e-6) == 0
    # Equal neighbours are one maximum.
    flat = np.zeros(SHAPE, dtype=np.int32)
    flat[50:52, 50:52] = 30
    assert counted(flat) <= 1
    assert strangeness_of_flaws(0, 10**6) == 0 and strangeness_of_flaws(3, 1000) == 1
    assert strangeness_of_flaws(90, 10**7) == pytest.approx(9)


def test_flaws_raise_the_score_and_are_told(pipeline: Pipeline, tmp_path: Path) -> None:
    one = frame(12)
    usual = said_of(pipeline, tmp_path, one.image, one.live, CENTRE)
    rng = np.random.default_rng(3)
    image = one.image.copy()
    image[rng.integers(0, SHAPE[0], 40), rng.integers(0, SHAPE[1], 40)] = 300
    said = said_of(pipeline, tmp_path, image * one.live, one.live, CENTRE)
    assert usual.flaws <= 1 and said.flaws > 25
    assert said.out_of_distribution > 5 > usual.out_of_distribution
    assert any("spotmill mask" in remark for remark in said.remarks)
    assert said.is_hit and usual.is_hit


def test_a_wrong_header_raises_the_score(pipeline: Pipeline, tmp_path: Path) -> None:
    make(tmp_path)
    shard = next(tmp_path.glob("**/*.h5"))
    with h5py.File(shard, "r") as file:
        frames = file["entry/data/data"]
        image, live = frames[0], np.ones(frames.shape[1:], dtype=bool)
    low, high = pipeline.models["photon_energy"].ranges["photon_energy"]
    path = write(tmp_path / "one.h5", image, live, (image.shape[1] / 2, image.shape[0] / 2))
    found = []
    for factor in (1.0, 2.0, 4.0):
        with h5py.File(path, "r+") as file:
            if "entry/instrument/beam" in file:
                del file["entry/instrument/beam"]
            beam = file.create_group("entry/instrument/beam")
            beam["incident_energy"] = factor * (low + high) / 2
            beam["incident_energy"].attrs["units"] = "eV"
        found.append(pipeline.predict(event_of(path)).out_of_distribution)
    assert found[0] < found[1] < found[2]
    assert found[1] > 2


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 1.0, 4.0, 30.0])
def test_a_background_alone_has_no_flaws_however_bright_it_is(level: float) -> None:
    image = np.random.default_rng(6).poisson(level, (1000, 1000)).astype(np.int32)
    live = np.ones(image.shape, dtype=bool)
    marked = mark(image, live, 128)
    assert flaws(image, live, marked.levels, marked.block, None, 75e-6) == 0
    image[500, 300] = level + 12 * np.sqrt(level) + 14
    assert flaws(image, live, marked.levels, marked.block, None, 75e-6) == 1
