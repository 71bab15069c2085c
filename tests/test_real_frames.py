"""What real frames bring: types, turns, flaws of the detector, ice, counts that are no photons."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from spotmill.formats.images import open_file
from spotmill.inference import Pipeline, Prediction
from spotmill.inference.artefacts import apart, doubts
from spotmill.inference.events import Event, Maker, events
from spotmill.inference.gain import counts_a_photon, in_photons
from spotmill.inference.plausible import narrow_rings, outstanding
from spotmill.inference.second_look import peaks_of
from spotmill.inference.stated import Given
from spotmill.inference.values import radius_of
from spotmill.learning.frame_summary import features, strangeness
from spotmill.physics.peak_bound import profile
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.peak_scoring import assign

SHAPE = (300, 260)


@pytest.fixture(scope="module")
def pipeline(small_models: Path) -> Pipeline:
    return Pipeline.load(small_models / "models")


@dataclass(frozen=True)
class Frame:
    image: np.ndarray
    live: np.ndarray
    place: np.ndarray


def frame(spots: int, seed: int = 1, background: float = 0.05) -> Frame:
    """Return a frame with gaps and spots of 60 photons, apart from one another."""
    rng = np.random.default_rng(seed)
    live = np.ones(SHAPE, dtype=bool)
    live[140:150] = False
    live[:, 120:124] = False
    image = rng.poisson(np.full(SHAPE, background))
    place: list[tuple[float, float]] = []
    while len(place) < spots:
        fs, ss = rng.uniform(8, SHAPE[1] - 8), rng.uniform(8, SHAPE[0] - 8)
        part = np.s_[int(ss) - 2 : int(ss) + 3, int(fs) - 2 : int(fs) + 3]
        if live[part].all() and all(np.hypot(fs - x, ss - y) > 14 for x, y in place):
            place.append((fs, ss))
            image[part] += rng.poisson(60 * profile((fs % 1 - 0.5, ss % 1 - 0.5), 0.4))
    return Frame(image * live, live, np.array(place).reshape(-1, 2))


def write(path: Path, image: np.ndarray, live: np.ndarray, centre: Any = None) -> Path:
    """Write a NeXus file whose mask, and on request beam, are its own."""
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = image[None]
        detector = file.create_group("entry/instrument/detector")
        detector["pixel_mask"] = (~live).astype(np.uint32)
        if centre is not None:
            detector["beam_center_x"], detector["beam_center_y"] = centre
            for axis in "xy":
                detector[f"{axis}_pixel_size"] = 75e-6
                detector[f"{axis}_pixel_size"].attrs["units"] = "m"
    return path


def event_of(path: Path) -> Event:
    with open_file(path) as file:
        return Maker(Given()).event(file.read(0))


def said_of(
    pipeline: Pipeline, folder: Path, image: np.ndarray, live: np.ndarray, centre: Any = None
) -> Prediction:
    return pipeline.predict(event_of(write(folder / "frame.h5", image, live, centre)))


@pytest.mark.parametrize("name", ["int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_the_type_of_counts_changes_nothing(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    one = frame(12)
    usual = said_of(pipeline, tmp_path, one.image.astype(np.int64), one.live)
    said = said_of(pipeline, tmp_path, one.image.astype(name), one.live)
    assert usual.is_hit and len(usual.peaks.score) >= 11
    assert said.probability == usual.probability and said.hit_by == usual.hit_by
    assert said.out_of_distribution == usual.out_of_distribution
    for own, other in zip(said.peaks, usual.peaks, strict=True):
        assert np.array_equal(own, other)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turns_change_no_verdict(
    pipeline: Pipeline, tmp_path: Path, quarters: int, mirror: bool
) -> None:
    for spots in (0, 12):
        one = frame(spots)
        image, live = (np.rot90(array, quarters) for array in (one.image, one.live))
        # Where a pixel went is seen by turning its number.
        number = np.rot90(np.arange(one.image.size).reshape(SHAPE), quarters)
        if mirror:
            image, live, number = image[:, ::-1], live[:, ::-1], number[:, ::-1]
        said = said_of(pipeline, tmp_path, image.copy(), live.copy())
        assert said.is_hit == (spots > 0)
        at = np.floor(said.peaks.place).astype(int)
        ss, fs = np.divmod(number[at[:, 1], at[:, 0]], SHAPE[1])
        back = np.stack([fs + 0.5, ss + 0.5], axis=1)
        assert (assign(back, one.place, 1.5)[0] >= 0).sum() >= spots - 1
        assert len(back) <= spots + 1


def hot(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for value in np.geomspace(20, 30_000, 25).astype(int):
        image[rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])] = value
    return image


def zingers(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(6):
        ss, fs, angle = rng.uniform(20, 240), rng.uniform(20, 240), rng.uniform(0, 2 * np.pi)
        for step in rng.uniform(0, 7, 40):
            image[int(ss + step * np.sin(angle)), int(fs + step * np.cos(angle))] += 1
    return image


@pytest.mark.parametrize("add", [hot, zingers])
def test_flaws_make_no_hit_and_hide_none(
    pipeline: Pipeline, tmp_path: Path, add: Callable[..., np.ndarray]
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        blank, crystal = frame(0, seed), frame(12, seed)
        centre = (130.0, 150.0)
        said = said_of(pipeline, tmp_path, add(blank.image.copy(), rng), blank.live, centre)
        assert not said.is_hit
        said = said_of(pipeline, tmp_path, add(crystal.image.copy(), rng), crystal.live, centre)
        assert said.is_hit
        assert (assign(said.peaks.place, crystal.place, 2.0)[0] >= 0).sum() >= 10


def test_single_pixels_and_tracks_are_told_from_spots() -> None:
    image = np.random.default_rng(1).poisson(0.05, SHAPE)
    live = np.ones(SHAPE, dtype=bool)
    for fs, ss in ((40, 40), (60, 200), (200, 60)):
        block = 80 * profile((0.1, -0.2), 0.4)
        image[ss - 2 : ss + 3, fs - 2 : fs + 3] += np.rint(block).astype(int)
    image[100, 100] = 80
    for step in range(8):
        image[180 + step, 180 + step] += 12
    place = np.array([[40, 40], [60, 200], [200, 60], [100, 100], [184, 184]]) + 0.5
    peaks = Peaks(place, np.full(5, 80.0), np.full(5, 0.9))
    found = doubts(peaks, image, live, (184.0, 0.0), 75e-6)
    assert found.certain.tolist() == [False, False, False, True, True]
    assert found.likely.tolist() == found.certain.tolist()
    # A line towards the beam may be a spot of many colours.
    assert not doubts(peaks, image, live, (0.0, 0.0), 75e-6).certain[4]
    assert not doubts(peaks, image, live).certain[4]
    # Of large pixels a spot may be in one alone; all of them are not.
    coarse = doubts(peaks, image, live, None, 172e-6)
    assert not coarse.certain.any() and not coarse.likely[:4].any()
    lone = Peaks(*(np.repeat(column[3:4], 12, axis=0) for column in peaks))
    assert doubts(lone, image, live, None, 172e-6).likely.all()
    near = Peaks(place[[0, 0, 1]] + [[0, 0], [5, 0], [0, 0]], np.ones(3), np.array([0.5, 0.9, 0.7]))
    assert sorted(apart(near).score) == [0.7, 0.9]


def test_rings_of_ice_are_no_spots(pipeline: Pipeline, tmp_path: Path) -> None:
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(fs + 0.5 - 130, ss + 0.5 - 150)
    rings = sum(2.0 * np.exp(-((radius - r) ** 2) / (2 * 2.0**2)) for r in (60, 75, 100))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        blank, crystal = frame(0, seed), frame(12, seed)
        ice = rng.poisson(rings)
        said = said_of(pipeline, tmp_path, blank.image + ice, blank.live, (130.0, 150.0))
        assert not said.is_hit and len(said.peaks.score) <= 3
        said = said_of(pipeline, tmp_path, crystal.image + ice, crystal.live, (130.0, 150.0))
        assert said.is_hit
    event = event_of(write(tmp_path / "ice.h5", blank.image + ice, blank.live, (130.0, 150.0)))
    at = np.array([[130 + 60, 150], [130 + 87, 150]])
    factor = narrow_rings(event.image, event.mask, radius_of(event.detector), at)
    assert factor[0] > 1.3 and factor[1] < 1.2


def test_an_edge_of_a_shadow_is_no_spot() -> None:
    rng = np.random.default_rng(2)
    image = rng.poisson(15.0, SHAPE)
    image[:, 100:] = 0
    live = np.ones(SHAPE, dtype=bool)
    ss = np.arange(20, 280, 6)
    # 3 x 3 pixels at the edge, a little brighter than the lit side as the brightest of many are.
    place = np.stack([np.full(len(ss), 97.5), ss + 0.5], axis=1)
    peaks = Peaks(place, np.ones(len(ss)), np.ones(len(ss)))
    assert len(outstanding(peaks, image, live).score) <= 2


@pytest.mark.parametrize("gain", [0.05, 0.2, 1.0, 4.0, 14.7, 300.0])
@pytest.mark.parametrize("rate", [0.02, 0.5, 20.0])
def test_the_gain_is_told_by_the_scatter(gain: float, rate: float) -> None:
    rng = np.random.default_rng(3)
    shape = (500, 600)
    slope = np.linspace(0.5, 1.5, 600) * np.ones((500, 1))
    counts = rng.poisson(rate * slope) * gain
    counts[rng.integers(0, 500, 40), rng.integers(0, 600, 40)] += 500 * gain
    live = np.ones(shape, dtype=bool)
    live[200:215] = False
    found = counts_a_photon(counts.astype(np.float32), live)
    assert found == pytest.approx(gain, rel=0.1)
    noisy = counts + rng.normal(0, 0.15 * gain, shape)
    assert counts_a_photon(noisy.astype(np.float32), live) == pytest.approx(gain, rel=0.25)


def test_light_that_spreads_over_pixels_does_not_hide_the_gain() -> None:
    rng = np.random.default_rng(4)
    sharp = 5.0 * rng.poisson(60.0, (600, 600))
    counts = np.rint(gaussian_filter(sharp, 0.8))
    live = np.ones(counts.shape, dtype=bool)
    # Single pixels scatter as if a photon made one count or less.
    assert counts[:300].var() / counts[:300].mean() < 1.5
    assert 2.5 < counts_a_photon(counts, live) < 7


def test_a_stated_gain_is_trusted(pipeline: Pipeline, tmp_path: Path) -> None:
    one = frame(12)
    path = write(tmp_path / "counts.h5", (20.0 * one.image).astype(np.float32), one.live)
    with open_file(path) as file:
        raw = file.read(0)
    told, guessed = (Maker(given).event(raw) for given in (Given(adu_per_photon=20.0), Given()))
    assert in_photons(told) is told
    found = in_photons(guessed)
    assert found.stated.sources["adu_per_photon"] == "scatter"
    assert found.stated.adu_per_photon == pytest.approx(20, rel=0.15)
    assert abs(found.image - told.image).max() <= 0.15 * told.image.max()
    said = pipeline.predict(guessed)
    assert said.is_hit and said.out_of_distribution > 5
    assert any("give the gain" in remark for remark in said.remarks)


@pytest.mark.parametrize(("sigma", "height"), [(2.2, 300.0), (4.0, 3000.0)])
def test_wide_and_bright_spots_are_found_at_a_second_look(
    pipeline: Pipeline, sigma: float, height: float
) -> None:
    rng = np.random.default_rng(5)
    expected = np.full((320, 320), 100.0)
    place = np.array([(x, y) for x in range(40, 300, 40) for y in range(40, 300, 40)]) + 0.3
    ss, fs = np.mgrid[:320, :320] + 0.5
    for x, y in place:
        expected += height * np.exp(-((fs - x) ** 2 + (ss - y) ** 2) / (2 * sigma**2))
    image = rng.poisson(expected).astype(np.int32)
    live = np.ones(image.shape, dtype=bool)
    model = pipeline.models["peaks"]
    _, found = peaks_of(model, image, live)
    assert (assign(found.place, place, 3.0)[0] >= 0).sum() >= 0.9 * len(place)
    assert len(found.score) <= 1.1 * len(place)
    blank = rng.poisson(100.0, image.shape).astype(np.int32)
    assert len(peaks_of(model, blank, live)[1].score) == 0


def test_strangeness_rises_with_flux_ice_and_flaws(pipeline: Pipeline) -> None:
    known = pipeline.models["hit"].training
    rng = np.random.default_rng(6)
    ss, fs = np.mgrid[:256, :256]
    radius = np.hypot(ss - 128, fs - 128)
    live = np.ones(radius.shape, dtype=bool)

    def far(expected: np.ndarray) -> float:
        return max(strangeness(known, features(rng.poisson(expected), live)).values())

    even = np.full(radius.shape, 0.05)
    usual = far(even)
    assert usual < 2
    # A hundredth and a hundred times the flux; a ring that another camera length moves in.
    assert far(even / 100) > 2 > usual and far(100 * even) > 2
    ring = np.exp(-(((radius - 60) / 25) ** 2))
    rings = [far(even + level * ring) for level in (0.0, 0.2, 2.0)]
    assert rings[0] < rings[1] < rings[2]
    assert rings[2] > 2


# By eye and by two classical finders; peaks that two of these agree on, at least.
REAL = {
    "run2_1_00148.cbf.gz": (True, 200),
    "example.mar2300": (True, 1200),
    "jungfrau_module_0.f32": (True, 120),
    "jungfrau_module_1.f32": (True, 120),
    "00567_A1_Water_at_WAXS.tiff": (False, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_frames(shared: Path, pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    path = shared / "real" / name
    if not path.is_file():
        pytest.skip(f"no {name} in ../shared/real")
    if path.suffix == ".f32":
        image = np.fromfile(path, "<f4").reshape(512, 1024)
        path = write(tmp_path / "module.h5", image, np.ones(image.shape, dtype=bool))
    ((event, _),) = events([path], Given(), lambda *_: pytest.fail(f"{name} refused"))
    is_hit, peaks = REAL[name]
    gain = in_photons(event).stated.adu_per_photon
    # Photon counters and a module in photons need no gain; the image plate does.
    assert gain is None if "mar" not in name else 3 < gain < 12
    said = pipeline.predict(event)
    assert len(said.peaks.score) >= peaks
    assert said.is_hit == is_hit
