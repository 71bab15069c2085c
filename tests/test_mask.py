"""`spotmill mask`: flaws of pixels that many frames show, and nothing that they do not."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_images_panels import COLUMNS, MODULES, ROWS, lcls

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.pixel_mask import BITS
from spotmill.inference.events import Maker, read_mask
from spotmill.inference.pixel_mask import find_mask
from spotmill.inference.sampled import chosen, evenly, read
from spotmill.inference.stated import Given
from spotmill.physics.pixel_flaws import Flaws, find_flaws, frames_needed
from spotmill.physics.pixel_sums import PixelSums

SHAPE = (200, 240)
# Two panels that lie below one another in the array.
SLABS = [(slice(0, 110), slice(0, 240)), (slice(110, 200), slice(0, 240))]
FRAMES = 100
N = 40


def spot(image: np.ndarray, rng: Any, photons: float) -> None:
    """Add a spot of 3 pixels' width at a random place."""
    ss, fs = rng.integers(3, SHAPE[0] - 3), rng.integers(3, SHAPE[1] - 3)
    reach = np.arange(-2, 3)
    shape = np.exp(-(reach[:, None] ** 2 + reach**2) / 2) / 6.28
    image[ss - 2 : ss + 3, fs - 2 : fs + 3] += rng.poisson(photons * shape)


def expected(background: float, ring: float = 0.0, width: float = 1.5) -> np.ndarray:
    """Return a background that falls off from the beam, with a ring."""
    ss, fs = np.ogrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(ss - 95, fs - 118)
    shape = 1 + np.exp(-radius / 60) + ring * np.exp(-((radius - 70) ** 2) / 2 / width**2)
    return np.asarray(background * shape)


def simulated(mean: np.ndarray, seed: int, spots: int = 0, frames: int = FRAMES) -> Any:
    """Yield frames whose brightness differs, every other one with spots of up to 10 000 photons."""
    rng = np.random.default_rng([seed, 1])
    for number in range(frames):
        image = rng.poisson(mean * rng.uniform(0.3, 2))
        for _ in range(spots * (number % 2)):
            spot(image, rng, 10 ** rng.uniform(1, 4))
        yield image.astype(np.int32)


def summed(images: Any, live: np.ndarray | None = None) -> PixelSums:
    sums = PixelSums.empty(SHAPE)
    live = np.ones(SHAPE, dtype=bool) if live is None else live
    for image in images:
        sums.add(image, live, SLABS)
    return sums


class Device:
    """Pixels that are hot, noisy and dead."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        pixels = self.rng.choice(SHAPE[0] * SHAPE[1], 3 * N, replace=False)
        self.hot, self.noisy, self.dead = pixels[:N], pixels[N : 2 * N], pixels[2 * N :]
        self.rate = 10 ** self.rng.uniform(1, 1.6, N)

    def spoilt(self, images: Any, burst: float = 20.0) -> Any:
        for image in images:
            image.flat[self.hot] += self.rng.poisson(self.rate).astype(np.int32)
            often = self.rng.random(N) < 0.2
            image.flat[self.noisy] += (often * self.rng.poisson(burst, N)).astype(np.int32)
            image.flat[self.dead] = 0
            yield image


def anything(flaws: Flaws) -> np.ndarray:
    return np.asarray(flaws.hot | flaws.noisy | flaws.dead)


@pytest.mark.parametrize("background", [0.003, 0.3, 1.0])
def test_known_flaws_are_found_under_spots_and_rings(background: float) -> None:
    loud = quiet = classed = 0
    for seed in range(2):
        device = Device(seed)
        mean = expected(background, ring=3.0)
        flaws = find_flaws(summed(device.spoilt(simulated(mean, seed, spots=10), 30)), SLABS)
        found = anything(flaws)
        loud += int(found.flat[device.hot].sum() + found.flat[device.noisy].sum())
        quiet += int(flaws.dead.flat[device.dead].sum())
        classed += int(flaws.hot.flat[device.hot].sum() + flaws.noisy.flat[device.noisy].sum())
        found.flat[np.concatenate([device.hot, device.noisy, device.dead])] = False
        assert found.sum() <= 2
    assert loud >= 0.99 * 4 * N
    # A spot that hits a hot pixel makes it scatter.
    assert classed >= 0.9 * 4 * N
    # Without light nothing tells a dead pixel, and nothing is guessed.
    assert quiet >= 0.99 * 2 * N if background >= 0.3 else quiet == 0


@pytest.mark.parametrize("background", [0.003, 0.1, 2.0])
def test_false_alarms_come_at_most_as_often_as_is_stated(background: float) -> None:
    stated, seeds = 10.0, 6
    false = 0
    for seed in range(seeds):
        sums = summed(simulated(expected(background), seed, frames=60))
        false += int(anything(find_flaws(sums, SLABS, stated)).sum())
    # Three standard deviations of a Poisson law.
    assert false <= stated * seeds + 3 * (stated * seeds) ** 0.5


@pytest.mark.parametrize("spots", [40, 200])
def test_strong_spots_make_no_hot_pixels(spots: int) -> None:
    sums = summed(simulated(expected(0.01), 3, spots))
    # Many pixels were hit more than once.
    assert (sums.bright > 3).sum() > 100
    assert anything(find_flaws(sums, SLABS)).sum() <= 2


@pytest.mark.parametrize("background", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("width", [1.0, 3.0])
def test_rings_make_no_flaws(background: float, width: float) -> None:
    sums = summed(simulated(expected(background, ring=20.0, width=width), 4))
    assert anything(find_flaws(sums, SLABS)).sum() <= 2


def test_edges_of_panels_and_shadows_make_no_flaws() -> None:
    mean = expected(1.0)
    mean[110:] *= 20
    mean[40:90, 100:150] = 0
    sums = summed(simulated(mean, 5))
    assert anything(find_flaws(sums, SLABS)).sum() <= 2


def test_hot_pixels_beside_one_another_are_found() -> None:
    rng = np.random.default_rng(6)
    pixels = [(50, 50), (50, 51), (80, 20), (81, 21), (0, 0), (199, 239), (150, 100), (151, 100)]
    images = []
    for image in simulated(expected(0.05), 6):
        for place in pixels:
            image[place] += rng.poisson(25)
        images.append(image)
    flaws = find_flaws(summed(images), SLABS)
    assert {tuple(place) for place in np.argwhere(flaws.hot)} == set(pixels)


def test_a_pixel_of_few_frames_is_told_by_their_lines() -> None:
    """As where only some files leave it live: its lines have seen more."""
    mean, sums = expected(0.05), PixelSums.empty(SHAPE)
    rng = np.random.default_rng(11)
    for number in range(200):
        image = rng.poisson(mean).astype(np.int32)
        live = np.ones(SHAPE, dtype=bool)
        live[60, 70] = number < 10
        image[60, 70] += 30 * (number % 2)
        sums.add(image, live, SLABS)
    assert (sums.seen[60, 70], sums.bright[60, 70]) == (10, 5)
    flaws = find_flaws(sums, SLABS)
    assert [tuple(place) for place in np.argwhere(anything(flaws))] == [(60, 70)]


def test_the_frames_that_tell_noisy_pixels_do() -> None:
    needed = frames_needed(1 / (2 * SHAPE[0] * SHAPE[1]))
    assert frames_needed(1e-8) > needed > frames_needed(1e-3)
    rng = np.random.default_rng(12)
    pixels = rng.choice(SHAPE[0] * SHAPE[1], N, replace=False)
    found = {}
    for frames in (20, needed):
        images = np.stack(list(simulated(expected(0.3), 12, frames=frames)))
        for pixel in pixels:
            seldom = rng.choice(frames, frames // 10, replace=False)
            images.reshape(frames, -1)[seldom, pixel] += 30
        flaws = find_flaws(summed(images), SLABS)
        assert flaws.frames == needed
        found[frames] = int(flaws.noisy.flat[pixels].sum())
    assert found[20] == 0 and found[needed] >= 0.9 * N


def write(path: Path, images: Any, mask: np.ndarray | None = None) -> Path:
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.stack(list(images))
        if mask is not None:
            file["entry/instrument/detector/pixel_mask"] = mask.astype(np.uint32)
    return path


def test_the_command_writes_a_mask_that_predict_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    device, declared = Device(7), np.zeros(SHAPE, dtype=bool)
    declared[100:104] = True
    images = device.spoilt(simulated(expected(0.3), 7))
    write(Path("run.h5"), images, declared)
    by_hand = np.zeros(SHAPE, np.uint8)
    by_hand[7, 8] = 1
    np.save("bad.npy", by_hand)
    words = ["mask", "run.h5", "--mask", "bad.npy", "--frames", "100", "--adu-per-photon", "1"]
    assert main([*words, "--output", "a.h5", "--json", "--picture", "a.png"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main([*words, "--output", "b.h5"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"frames 100 of {FRAMES}, pixels 48000: hot {said['hot']}, noisy")
    assert Path("a.h5").read_bytes() == Path("b.h5").read_bytes()
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    live = read_mask(Path("a.h5"))
    assert not live[100:104].any() and not live[7, 8]
    on = ~declared.ravel()
    assert not live.flat[device.hot[on[device.hot]]].any()
    with h5py.File("a.h5") as file:
        mask = file["entry/instrument/detector/pixel_mask"][()]
        assert file["entry/instrument/detector/pixel_mask"].attrs["bit_3"] == "hot"
    for kind, bit in BITS.items():
        assert ((mask >> bit) & 1).sum() == said[kind] > 0
    # What reads frames takes the mask away from them.
    maker = Maker(Given(mask=live, mask_source="a.h5"))
    (event,) = read([(Path("run.h5"), [3])], maker, pytest.fail)
    np.testing.assert_array_equal(event.mask, mask == 0)
    # A mask as the known one: nothing is lost, and nothing found again.
    again = ["mask", "run.h5", "--mask", "a.h5", "--output", "c.h5", "--json"]
    assert main([*again, "--frames", "100", "--adu-per-photon", "1"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["good"] >= said["good"] - 2 and known["known"] == 48000 - said["good"]


def test_panels_of_several_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    images = rng.poisson(1.0, (60, MODULES, ROWS, COLUMNS)).astype(np.int32)
    images[:, 2, 5, 6] += rng.poisson(20, 60).astype(np.int32)
    images[:, 1, ROWS - 1, 3] = 0
    # A bright module beside a dark one.
    images[:, 3] += rng.poisson(30.0, images[:, 3].shape).astype(np.int32)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        (tmp_path / "run.geom").write_text(lcls(file, images))
    words = ["mask", tmp_path / "run.h5", "--geometry", tmp_path / "run.geom"]
    assert main([*map(str, words), "--output", str(tmp_path / "m.h5")]) == 0
    with h5py.File(tmp_path / "m.h5") as file:
        mask = file["data/data"][()]
    bad = {(2 * ROWS + 5, 6): 1 << BITS["hot"], (2 * ROWS - 1, 3): 1 << BITS["dead"]}
    assert {tuple(place): mask[tuple(place)] for place in np.argwhere(mask)} == bad


def test_frames_are_spread_evenly(tmp_path: Path) -> None:
    assert evenly(10, 5) == [1, 3, 5, 7, 9] and evenly(3, 5) == [0, 1, 2]
    for name, count in (("a", 6), ("b", 2), ("c", 12)):
        write(tmp_path / f"{name}.h5", np.ones((count, 8, 8), np.int32))
    maker = Maker(Given())
    found, count = chosen([tmp_path], 10, maker, pytest.fail)
    assert count == 20
    assert [(path.stem, list(events)) for path, events in found] == [
        ("a", [1, 3, 5]),
        ("b", [1]),
        ("c", [1, 3, 5, 7, 9, 11]),
    ]
    found, count = chosen([tmp_path], 2, maker, pytest.fail)
    assert count == 3 and [len(events) for _, events in found] == [1, 1]


def test_counts_of_an_unknown_gain_are_read_as_photons(tmp_path: Path) -> None:
    device = Device(9)
    images = [14.0 * image for image in device.spoilt(simulated(expected(2.0), 9, frames=60))]
    write(tmp_path / "run.h5", np.array(images, np.float32))
    found = find_mask([tmp_path / "run.h5"], Given(), 300, 1.0, pytest.fail)
    assert found.said["adu_per_photon_by"] == "scatter"
    assert found.said["adu_per_photon"] == pytest.approx(14, rel=0.15)
    assert (found.mask.flat[device.hot] != 0).mean() >= 0.99


def test_what_cannot_be_read_is_told_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.h5", simulated(expected(0.3), 10, frames=20))
    write(tmp_path / "b.h5", np.ones((3, 8, 8), np.int32))
    (tmp_path / "c.cbf").write_text("no image")
    output = tmp_path / "out" / "m.h5"
    assert main(["mask", str(tmp_path), "--output", str(output)]) == 3
    printed, said = capsys.readouterr()
    assert "(8, 8) pixels, the first (200, 240); make a mask" in said and "c.cbf" in said
    assert f"{frames_needed(1 / 96000)} frames tell; give as many" in printed
    with pytest.raises(SpotmillError, match="too few to tell"):
        find_mask([good], Given(), 10, 1.0, lambda *_: None)
