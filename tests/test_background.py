"""A measured background: the mean, its zingers, and the stack that frames are drawn from."""

import json
import shutil

import fabio
import numpy as np
import pytest
from blank_frames import SHAPE, TINY, blanks, refused, save, words
from fabio.edfimage import EdfImage
from scipy import stats

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.overlays.drawing import draw_blank
from spotmill.physics.background import BackgroundMean, frame_level
from spotmill.physics.photons import stream


def mean_of(frames, live=None):
    live = np.ones(frames.shape[1:], dtype=bool) if live is None else live
    background = BackgroundMean(frames.shape[1:])
    for frame in frames:
        background.add(frame, live)
    rejected = sum(background.reject(frame, live) for frame in frames)
    return *background.mean(), rejected


# ---- physics


@pytest.mark.parametrize(("mean", "n"), [(0.003, 200), (0.02, 20), (0.5, 5), (5.0, 12), (300, 8)])
def test_a_poisson_background_loses_nothing(mean, n):
    """At 1e-6 of the photons a loss of one or two in these would be a rare event."""
    frames = np.random.default_rng(n).poisson(mean, (n, 250, 300)).astype(float)
    measured, live, rejected = mean_of(frames)
    assert live.all()
    changed = ~np.isclose(measured, frames.mean(axis=0), rtol=1e-6, atol=1e-7)
    assert changed.sum() <= rejected
    assert rejected <= stats.poisson.ppf(1 - 1e-6, 1e-6 * frames.sum())
    assert measured.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / frames.size))


@pytest.mark.parametrize(("total", "n"), [(3, 10), (12, 5), (40, 7), (900, 30)])
def test_the_limit_is_that_of_the_binomial_law(total, n):
    """Against scipy's distribution, at each count that one frame could have of the total."""
    pixels = min(total, 120) + 1
    frames = np.full((n, 40, 4000), 4.0)  # so many equal pixels set one level for all frames
    frames[:, 0, :pixels] = 0
    for x in range(pixels):
        others = np.bincount(np.arange(total - x) % (n - 1), minlength=n - 1)
        frames[0, 0, x], frames[1:, 0, x] = x, others
    measured, _, _ = mean_of(frames)
    levels = [frame_level(frame, np.ones((40, 4000), dtype=bool)) for frame in frames]
    assert max(levels) == pytest.approx(min(levels), rel=1e-3)
    for x in range(pixels):
        cost = stats.binom.sf(x - 2, total - 1, 1 / n)
        if cost < 3e-7 and x > 2.1 * total / n:
            assert measured[0, x] == pytest.approx((total - x) / (n - 1), rel=1e-6)
        elif cost > 3e-6 and x >= (total - x) / (n - 1):
            assert measured[0, x] == pytest.approx(total / n, rel=1e-6)


@pytest.mark.parametrize(("mean", "size", "found"), [(0.02, 30, 1.0), (0.5, 30, 0.99), (5, 80, 1)])
def test_zingers_leave(mean, size, found):
    rng = np.random.default_rng(3)
    frames = rng.poisson(mean, (30, 200, 200)).astype(float)
    clean = frames.mean(axis=0)
    hit = rng.random(frames.shape) < 1e-4
    frames += np.where(hit, size, 0)
    measured, _, rejected = mean_of(frames)
    struck = hit.any(axis=0)
    assert rejected >= found * hit.sum()
    assert np.abs(measured - clean)[~struck].max() < 1e-5
    assert measured[struck].mean() == pytest.approx(clean[struck].mean(), abs=0.2 * np.sqrt(mean))
    # Without the rejection these pixels would be too high by size / 30.
    assert frames.mean(axis=0)[struck].mean() > measured[struck].mean() + 0.9 * size / 30


def test_a_beam_that_fluctuates_loses_nothing():
    rng = np.random.default_rng(5)
    flux = rng.gamma(2.0, 0.5, 40)
    ring = 20 * np.exp(-((np.hypot(*np.ogrid[-60:60, -70:70]) - 40) ** 2) / 50) + 0.1
    frames = rng.poisson(flux[:, None, None] * ring).astype(float)
    measured, _, rejected = mean_of(frames)
    assert rejected == 0
    np.testing.assert_allclose(measured, frames.mean(axis=0), rtol=1e-6)


def test_four_frames_reject_nothing():
    frames = np.zeros((4, 20, 20))
    frames[0, 3, 3] = 1e6
    assert mean_of(frames)[2] == 0
    assert mean_of(np.concatenate([frames, np.zeros((1, 20, 20))]))[2] == 1


def test_masked_values_do_not_count():
    frames = np.full((6, 4, 5), 2.0)
    background = BackgroundMean((4, 5))
    for number, frame in enumerate(frames):
        live = np.ones((4, 5), dtype=bool)
        live[0, 0] = number < 3  # live in half of the frames
        live[0, 1] = number < 2  # in fewer
        frame[~live] = 1e9
        background.add(frame, live)
    mean, live = background.mean()
    assert mean[0, 0] == 2
    assert np.argwhere(~live).tolist() == [[0, 1]]
    assert mean[0, 1] == 0


# ---- command


def test_mean_is_written_as_water_is(tmp_path, spotmill):
    images = blanks()
    images[2, 50, 20] = 500  # zinger
    output = tmp_path / "out/background.h5"
    # Two files, one of them as EDF, of which another reader agrees.
    save(tmp_path / "a.h5", images[:5])
    EdfImage(data=images[5]).write(str(tmp_path / "b.edf"))
    assert (fabio.open(str(tmp_path / "b.edf")).data == images[5]).all()
    spotmill(*words(tmp_path / "a.h5", tmp_path / "b.edf", output=output))
    expected = images.mean(axis=0)
    expected[50, 20] = np.delete(images[:, 50, 20], 2).mean()
    expected[:, 80:86] = 0
    with Shard(output) as shard:
        assert (shard.header.content, shard.header.kind) == ("water", "empty")
        assert (shard.shape, shard.dtype) == ((1, *SHAPE), np.float32)
        assert shard.indices.tolist() == [0]
        np.testing.assert_allclose(shard.read(0), expected, rtol=1e-6)
        assert shard.column("total")[0] == pytest.approx(expected.sum(), rel=1e-6)
        assert np.argwhere(~shard.mask.any(axis=0)).ravel().tolist() == list(range(80, 86))
        measured = shard.header.parameters["measured"]
    assert measured["rejected"] == 1
    assert measured["frames"] == [f"a.h5 //{number}" for number in range(5)] + ["b.edf //0"]
    assert str(tmp_path) not in json.dumps(measured)


def test_overlay_takes_it_for_water(tmp_path, spotmill):
    save(tmp_path / "a.h5", blanks(mean=0.3))
    spotmill(*words(tmp_path / "a.h5", output=tmp_path / "background.h5"))
    frames = ["--first", 10_000_000, "--count", 40, "--seed", 1]
    spotmill("overlay", "--water", tmp_path / "background.h5", *frames, "--output", tmp_path / "o")
    with Shard(tmp_path / "background.h5") as background, Shard(tmp_path / "o") as overlay:
        expected = background.read(0).sum(dtype=float)
        sums = [overlay.read(position).sum(dtype=float) for position in range(40)]
    assert np.mean(sums) == pytest.approx(expected, abs=4 * np.sqrt(expected / 40))


def test_output_depends_on_content_alone(tmp_path, spotmill):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "a.h5", blanks())
        spotmill(*words(tmp_path / name / "a.h5", output=tmp_path / f"{name}.h5"))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_scale_and_gain(tmp_path, spotmill):
    geometry = tmp_path / "gain.geom"
    geometry.write_text(TINY.read_text().replace("adu_per_photon = 1", "adu_per_photon = 4"))
    save(tmp_path / "a.h5", 4 * blanks())
    options = {"detector": geometry, "scale": 0.25}
    spotmill(*words(tmp_path / "a.h5", output=tmp_path / "o.h5", **options))
    with Shard(tmp_path / "o.h5") as shard:
        expected = np.where(shard.mask, blanks().mean(axis=0), 0)
        np.testing.assert_allclose(shard.read(0), expected / 4, rtol=1e-6)
        assert shard.header.saturation == 65535 // 4


def test_masks_flags_and_limits_are_kept(tmp_path, spotmill):
    images = blanks().astype(np.int32)
    images[:, 3, 3] = -2
    images[:, 4, 4] = 99999  # above max_adu
    images[:, 5, 5] = 777  # flagged by the geometry
    images[:, 6, 6] = 60000  # saturated, by the file
    mask = np.zeros(SHAPE, np.uint32)
    mask[7, 7] = 1
    save(tmp_path / "a.h5", images, pixel_mask=mask, saturation_value=60000)
    geometry = tmp_path / "flags.geom"
    geometry.write_text(TINY.read_text().replace("res =", "flag_equal = 777\nres ="))
    for options in ({}, {"frames": True}):
        output = tmp_path / "o.h5"
        spotmill(*words(tmp_path / "a.h5", output=output, detector=geometry, **options))
        with Shard(output) as shard:
            dead = np.argwhere(~shard.mask)
            values = shard.read(0)
        assert dead[dead[:, 1] < 80].tolist() == [[n, n] for n in range(3, 8)]
        assert not values[~shard.mask].any()


def test_stack_and_drawing_from_it(tmp_path, spotmill):
    images = blanks(n=4)
    output = tmp_path / "stack.h5"
    spotmill(*words(save(tmp_path / "a.h5", images), output=output, frames=True))
    images[:, :, 80:86] = 0
    with Shard(output) as stack:
        assert (stack.header.content, stack.header.kind) == ("blank", "empty")
        assert stack.dtype == stack.header.count_dtype
        np.testing.assert_array_equal([stack.read(n) for n in range(4)], images)
        assert stack.column("photons").tolist() == images.sum(axis=(1, 2)).tolist()
        drawn = [draw_blank(stack, stream(1, "A", index, "blank")) for index in range(200)]
        again = draw_blank(stack, stream(1, "A", 17, "blank"))
    assert drawn[0].dtype == np.uint32
    np.testing.assert_array_equal(drawn[17], again)
    which = [int(np.flatnonzero((images == frame).all(axis=(1, 2)))[0]) for frame in drawn]
    assert stats.chisquare(np.bincount(which, minlength=4)).pvalue > 1e-3


def test_only_blanks_are_drawn_from(tmp_path, spotmill):
    spotmill(*words(save(tmp_path / "a.h5", blanks()), output=tmp_path / "mean.h5"))
    with Shard(tmp_path / "mean.h5") as stack, pytest.raises(SpotmillError, match="not blank"):
        draw_blank(stack, np.random.default_rng(1))


def test_bad_input(tmp_path, capsys):
    good = save(tmp_path / "a.h5", blanks())
    small = save(tmp_path / "small.h5", blanks()[:, :100])
    far = save(tmp_path / "far.h5", blanks(), distance=0.3)
    dead = save(tmp_path / "dead.h5", np.full((3, *SHAPE), -1, np.int16))
    folder = tmp_path / "folder"
    folder.mkdir()
    for source, options, text in [
        (small, {}, "(100, 166) pixels [ss, fs]"),
        (far, {}, "states clen 0.3, and 0.05 is given"),
        (dead, {}, "leaves no live pixel"),
        (dead, {"frames": True}, "leaves no live pixel"),
        (folder, {}, "holds no images"),
        (tmp_path / "absent.h5", {}, "no such file"),
        (good, {"scale": 0}, "--scale"),
        (good, {"scale": "nan"}, "--scale"),
        (good, {"scale": 2, "frames": True}, "--scale: goes without --frames"),
        (good, {"dataset": "../A"}, "--dataset"),
        (good, {"photon_energy": 6}, "give it in eV"),
        (good, {"clen": 50000}, "give it in metres"),
        (good, {"detector": tmp_path / "no.geom"}, "no.geom"),
        (good, {"data": "/nowhere"}, "no array at /nowhere"),
    ]:
        refused(capsys, words(source, output=tmp_path / "o/b.h5", **options), text)
    assert main(words(far, output=tmp_path / "o/b.h5", ignore_header=True)) == 0


def test_real_blank_frames(shared, tmp_path, spotmill):
    """The water of a PILATUS 300K, four times the same frame: too few to reject anything."""
    source = shared / "real/00567_A1_Water_at_WAXS.tiff"
    folder = tmp_path / "blanks"
    folder.mkdir()
    for number in range(4):
        shutil.copy(source, folder / f"{number}.tiff")
    geometry = tmp_path / "pilatus300k.geom"
    geometry.write_text(
        "clen = 0.3\nadu_per_photon = 1\nmax_adu = 1067974\nres = 5813.953\n"
        "p/min_fs = 0\np/max_fs = 486\np/min_ss = 0\np/max_ss = 618\n"
        "p/corner_x = -243\np/corner_y = -309\np/fs = x\np/ss = y\n"
    )
    options = {"detector": geometry, "photon-energy": 8048, "clen": 0.3}
    spotmill(*words(folder, output=tmp_path / "o.h5", **options))
    stored = fabio.open(str(source)).data
    with Shard(tmp_path / "o.h5") as shard:
        np.testing.assert_array_equal(shard.mask, stored >= 0)
        np.testing.assert_array_equal(shard.read(0), np.maximum(stored, 0))
