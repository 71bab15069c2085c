"""The centre of a background: drawn by Poisson about a known place, and where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference.beam_doubt import doubt
from spotmill.inference.events import Maker, events, flat_detector
from spotmill.inference.stated import Given
from spotmill.physics.beam_centre import OFF, SIGMAS, background_centre
from spotmill.physics.geometry import Detector, Panel

SHAPE, SIZE = (960, 1000), 75e-6
STATED = (500.0, 480.0)
FS, SS = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
DETECTOR = flat_detector(SHAPE, SIZE, STATED)


def water(centre, level=0.5):
    """Return the mean photons [ss, fs] of a ring of water and of air about a centre (fs, ss)."""
    r = np.hypot(FS - centre[0], SS - centre[1])
    return level * (np.exp(-(((r - 300) / 90) ** 2)) + 0.7 * np.exp(-r / 250) + 0.1)


def seen(mean, seed=0, mask=None):
    """Return what is told (place in pixels off the axis, sigma) of a frame of a mean."""
    live = np.ones(mean.shape, bool) if mask is None else mask
    image = np.where(live, np.random.default_rng(seed).poisson(mean), 0).astype(np.int32)
    told = background_centre(image, live, DETECTOR)
    return None if told is None else (np.array([told.x, told.y]) / SIZE, told.sigma / SIZE)


@pytest.mark.parametrize("off", [(60.0, -35.0), (-20.0, 25.0), (0.0, 110.0)])
def test_centre_of_rings_is_found(off):
    place, sigma = seen(water(np.add(STATED, off)))
    assert np.hypot(*(place - off)) < max(2.0, 3 * sigma)
    assert sigma < 4


def test_gaps_shadow_and_spots_do_not_move_it():
    off = (60.0, -35.0)
    mean = water(np.add(STATED, off))
    mask = np.ones(SHAPE, bool)
    mask[::195] = mask[470:490] = mask[:, 300:312] = mask[:, 620:660] = False
    mean[500:540, :560] *= 0.05
    rng = np.random.default_rng(3)
    for ss, fs in zip(rng.integers(5, 950, 300), rng.integers(5, 990, 300), strict=True):
        mean[ss : ss + 3, fs : fs + 3] += 200
    place, sigma = seen(mean, mask=mask)
    assert np.hypot(*(place - off)) < max(3.0, 3 * sigma)


def test_standard_deviation_is_that_of_the_errors():
    off = (45.0, 30.0)
    told = [seen(water(np.add(STATED, off), 0.02), seed) for seed in range(16)]
    pulls = np.array([(place - off) / sigma for place, sigma in filter(None, told)])
    assert len(pulls) >= 10
    # The larger of two, taken for both: never much too small.
    assert 0.25 < np.sqrt((pulls**2).mean()) < 1.4


def test_right_centre_is_not_doubted():
    for seed in range(6):
        for level in (0.002, 0.02, 0.5, 20):
            assert seen(water(STATED, level), seed) is None


@pytest.mark.parametrize("level", [0.001, 0.1, 10.0])
def test_without_rings_nothing_is_told(level):
    flat, slope = np.ones(SHAPE), 0.5 + FS / SHAPE[1]
    halves = np.where(FS + 0.3 * SS < 600, 1.0, 0.4)
    for mean in (flat, slope, slope + SS / 500, halves):
        assert seen(level * mean) is None


def test_dark_frames_tell_nothing():
    assert seen(np.zeros(SHAPE)) is None
    assert seen(water(np.add(STATED, (60, 0)), 1e-5)) is None


def test_polarisation_does_not_move_it():
    for off in ((0.0, 0.0), (50.0, 20.0)):
        u, v = FS - STATED[0] - off[0], SS - STATED[1] - off[1]
        mean = water(np.add(STATED, off), 5.0) * (1 - u**2 / (u**2 + v**2 + 1200**2))
        told = seen(mean)
        if off == (0.0, 0.0):
            assert told is None
        else:
            assert np.hypot(*(told[0] - off)) < max(2.0, 3 * told[1])


def halves(tilt=0.0):
    """Return the detector as two panels, the second beside the first or tilted about ss."""
    left = Panel("a", 0, 499, 0, 959, DETECTOR.panels[0].corner, [SIZE, 0, 0], [0, SIZE, 0])
    corner = left.corner + 500 * left.fs
    fs = [SIZE * np.cos(tilt), 0, SIZE * np.sin(tilt)]
    right = Panel("b", 500, 999, 0, 959, corner, fs, [0, SIZE, 0])
    return Detector((left, right), SHAPE, np.ones(SHAPE, bool), 0.1, None, 1.0)


def test_panels_tell_the_same_and_tilted_ones_nothing():
    live = np.ones(SHAPE, bool)
    image = np.random.default_rng(0).poisson(water(np.add(STATED, (60, -35)))).astype(np.int32)
    one, two = (background_centre(image, live, of) for of in (DETECTOR, halves()))
    assert np.hypot(one.x - two.x, one.y - two.y) < 2 * (one.sigma + two.sigma)
    assert background_centre(image, live, halves(np.deg2rad(10))) is None


def event_of(mean, **given):
    image = np.random.default_rng(0).poisson(mean).astype(np.int32)
    frame = RawFrame(Path("frame"), 0, image, None, FrameMetadata())
    return Maker(Given(**given)).event(frame)


def test_words_name_both_places_and_the_remedy():
    mean = water((560.0, 445.0), 20.0)
    wrong = doubt(event_of(mean, beam_centre=STATED, pixel_size=SIZE))
    assert "beam centre by hand is (500, 480): check it, or give --beam-centre 5" in wrong
    fs, ss = map(int, wrong.split("--beam-centre ")[1].split())
    assert np.hypot(fs - 560, ss - 445) < 3
    assert wrong.startswith(f"background lies about ({fs}, {ss}) ± 1, ")
    assert doubt(event_of(mean, beam_centre=(fs, ss), pixel_size=SIZE)) == ""
    # Where nobody says where the beam is, nothing is contradicted.
    assert doubt(event_of(mean)) == ""


def test_shift_of_a_geometry_is_told_in_its_own_axes():
    event = event_of(water((560.0, 445.0), 20.0), beam_centre=STATED, pixel_size=SIZE)
    told = doubt(replace(event, geometry=object(), detector=halves()))
    x, y = (int(told.split(after)[1].split()[0]) for after in ("about ", "in x and "))
    assert np.hypot(x - 60, y + 35) < 3
    assert "subtract that from every corner_x and corner_y" in told


def test_real_header_that_is_wrong_by_a_hundred_pixels(shared, predict, tmp_path, capsys):
    path = shared / "real" / "run2_1_00148.cbf.gz"
    if not path.is_file():
        pytest.skip("needs ../shared/real")
    ((event, _),) = events([path], Given(), lambda *_: None)
    told = background_centre(event.image, event.mask, event.detector)
    assert told is not None
    # Shadow of the beamstop by eye: (1330, 1310), by file (1230.1, 1310.5).
    place = np.array([told.x, told.y]) / event.detector.panels[0].pixel_size
    assert np.hypot(*(place - (99.9, -0.5))) < 12
    assert "beam centre by file is (1230, 1310)" in doubt(event)
    right = Maker(Given(beam_centre=(1330.0, 1305.0)))
    with right.open(path) as file:
        assert doubt(right.event(file.read(0))) == ""
    assert predict(path) == 0
    (line,) = (one for one in capsys.readouterr().err.splitlines() if "warning:" in one)
    assert doubt(event) in line
    assert doubt(event) in pd.read_parquet(tmp_path / "out" / "predictions.parquet")["remark"][0]


def test_limits_are_those_of_the_documents():
    words = (Path(__file__).resolve().parents[1] / "docs" / "predict.md").read_text()
    assert f"{100 * OFF:g} %" in words and SIGMAS == 5 and "five standard deviations" in words
