"""The passes over pixels that prediction spends its time in, against plain NumPy and SciPy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from predict_data import other_detector
from scipy.ndimage import convolve, maximum_filter

from spotmill.inference import Pipeline
from spotmill.inference.answers import Answer, Refusal, answers
from spotmill.inference.counts import photons, saturated_pixels
from spotmill.inference.events import Maker
from spotmill.inference.stated import Given
from spotmill.learning import candidates, peak_candidates
from spotmill.learning.background_moments import background_moments
from spotmill.learning.marked import BLOCK, DEAD, mark
from spotmill.learning.peak_candidates import background_map
from spotmill.learning.profiles import radial_profile

# Sides below, at and beyond a block, and few photons as well as many.
FRAMES = [
    ((1, 1), 0.5),
    ((2, 3), 3.0),
    ((40, 129), 0.02),
    ((128, 130), 0.3),
    ((257, 140), 7.0),
    ((90, 300), 400.0),
]


def drawn(shape: tuple[int, int], level: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    image = rng.poisson(rng.gamma(2.0, level / 2, shape))
    image[rng.random(shape) < 0.01] += 5000
    mask = rng.random(shape) > 0.1
    return image.astype(np.int32), mask


@pytest.mark.parametrize(("shape", "level"), FRAMES)
def test_blocks_are_counted(shape: tuple[int, int], level: float) -> None:
    image, mask = drawn(shape, level)
    frame = mark(image, mask)
    assert (frame.photons == np.where(mask, image, DEAD)).all()
    for i in range(frame.lit.shape[0]):
        for j in range(frame.lit.shape[1]):
            part = np.s_[i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK]
            own = image[part][mask[part]].astype(float)
            assert frame.live[i, j] == len(own)
            assert frame.lit[i, j] == (own > 0).sum()
            limit = np.inf
            for _ in range(3):
                left = own[own <= limit]
                mean = left.mean() if len(left) else 0.0
                limit = mean + max(4 * np.sqrt(mean), 1.0)
            assert (frame.total[i, j], frame.kept[i, j]) == (left.sum(), len(left))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64, ">u2", np.float32])
def test_no_type_of_numbers_matters(dtype: object) -> None:
    image, mask = drawn((150, 140), 2.0)
    image = np.minimum(image, 250)
    other = image.astype(dtype)
    assert (photons(other, mask, 1.0) == np.where(mask, image, 0)).all()
    assert saturated_pixels(other, mask, 2.5) == (mask & (image >= 3)).sum()
    if other.dtype.isnative:
        ours, theirs = (peak_candidates.find_candidates(one, mask, 50, 9) for one in (image, other))
        for one, two in zip(ours, theirs, strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize(("shape", "level"), FRAMES)
def test_candidates_of_hits_are_the_maxima(shape: tuple[int, int], level: float) -> None:
    image, mask = drawn(shape, level)
    lit = np.where(mask, image, 0)
    near = convolve(lit, np.ones((3, 3), int), mode="constant")
    # Largest sum, then largest count, then first place, as one number that orders them.
    order = np.lexsort((-np.arange(lit.size), lit.ravel(), near.ravel()))
    rank = np.empty(lit.size, int)
    rank[order] = np.arange(1, lit.size + 1)
    rank = np.where(lit > 0, rank.reshape(shape), 0)
    top = (rank == maximum_filter(rank, 3, mode="constant")) & (lit > 0) & (near > 1)
    found = candidates.find_candidates(image, mask, lit.size, BLOCK)
    assert set(zip(found.ss.tolist(), found.fs.tolist(), strict=True)) == set(
        map(tuple, np.argwhere(top).tolist())
    )
    assert (found.near == near[found.ss, found.fs]).all()
    assert (np.diff(found.deviance) <= 0).all()
    few = candidates.find_candidates(image, mask, 5, BLOCK)
    for one, every in zip(few, found, strict=True):
        assert np.array_equal(one, every[:5])


@pytest.mark.parametrize(("shape", "level"), FRAMES)
def test_candidates_of_peaks_are_maxima(shape: tuple[int, int], level: float) -> None:
    image, mask = drawn(shape, level)
    lit = np.where(mask, image, 0).astype(np.int64)
    weights = np.outer([1, 2, 1], [1, 2, 1])
    weighted = convolve(lit, weights, mode="constant")
    weighted[[0, -1]] = weighted[:, [0, -1]] = 0
    found = peak_candidates.find_candidates(image, mask, lit.size, 9)
    tops = maximum_filter(weighted, 5, mode="constant")
    assert (weighted[found.ss, found.fs] == tops[found.ss, found.fs]).all()
    assert mask[found.ss, found.fs].all()
    # All that stand far out of the brightest background around are there.
    levels = maximum_filter(mark(image, mask).levels, 3, mode="nearest")
    level_of = np.kron(levels, np.ones((BLOCK, BLOCK)))[: shape[0], : shape[1]]
    sure = mask & (weighted == tops) & (lit > level_of + 10 * np.sqrt(level_of) + 10)
    places = set(zip(found.ss.tolist(), found.fs.tolist(), strict=True))
    inner = {
        (ss, fs)
        for ss, fs in np.argwhere(sure).tolist()
        if 2 <= ss < shape[0] - 2
        and 2 <= fs < shape[1] - 2
        # Of equal sums close by the first place counts alone.
        and (weighted[ss - 2 : ss + 3, fs - 2 : fs + 3] == weighted[ss, fs]).sum() == 1
    }
    assert inner <= places
    assert inner or min(shape) < 40


@pytest.mark.parametrize(("shape", "level"), FRAMES)
def test_moments_of_the_background(shape: tuple[int, int], level: float) -> None:
    image, mask = drawn(shape, level)
    found = background_moments(image, mask, mark(image, mask).levels, 4.0, 7)
    mean = background_map(image, mask)
    inside = mask & (image <= mean + np.maximum(4 * np.sqrt(mean), 1.0))
    off = np.where(inside, image - mean, 0)
    assert found.pixels == inside.sum()
    assert found.pairs == (inside[:, 1:] & inside[:, :-1]).sum()
    assert found.total == pytest.approx(mean[inside].sum(), rel=1e-12)
    assert found.square == pytest.approx((off**2).sum(), rel=1e-12)
    assert found.beside == pytest.approx((off[:, 1:] * off[:, :-1]).sum(), rel=1e-9, abs=1e-9)
    assert np.array_equal(found.levels, mean[mask][::7])


@pytest.mark.parametrize(("shape", "level"), FRAMES)
def test_radial_profiles_leave_spots_out(shape: tuple[int, int], level: float) -> None:
    image, mask = drawn(shape, level)
    bins = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) // 9 % 12 - 1
    live = mask & (bins >= 0)
    hot = live & (image >= 40)
    live &= maximum_filter(hot, 5, mode="constant") == 0
    found = radial_profile(image, mask, bins.astype(np.int32), 11, 40, 2)
    assert found[0] == pytest.approx(np.bincount(bins[live], image[live], 11))
    assert found[1] == pytest.approx(np.bincount(bins[live], minlength=11))


def test_events_that_agree_on_live_pixels_share_them(tmp_path: Path) -> None:
    other_detector(tmp_path / "a.h5", 0.05, 4, seed=1, frames=3)
    maker = Maker(Given())
    with maker.open(tmp_path / "a.h5") as file:
        first, second = (maker.event(file.read(number)) for number in (0, 1))
        assert np.array_equal(first.mask, second.mask) and first.mask.sum() < first.mask.size
        place = file.place(2)
    assert place[2:] == (2, place[3]) and place[3].shape[0] == 3


def test_threads_change_no_answer(small_models: Path, tmp_path: Path) -> None:
    other_detector(tmp_path / "a.h5", 0.05, 12, seed=1, frames=5)
    (tmp_path / "b.h5").write_bytes(b"none")
    other_detector(tmp_path / "c.h5", 0.05, 0, seed=2, frames=4)
    given = Given()
    pipeline = Pipeline.load(small_models / "models")
    paths = [tmp_path / f"{name}.h5" for name in "abc"]

    def told(threads: int) -> list[object]:
        found: list[object] = []
        for one in answers(paths, given, lambda: pipeline, threads):
            if isinstance(one, Refusal):
                found.append((one.path.name, one.event, one.why))
                continue
            assert isinstance(one, Answer)
            said = one.said
            found.append((one.event.path.name, one.event.event, one.place, said.probability))
            found.append([column.tolist() for column in said.peaks])
        return found

    alone = told(1)
    assert len(alone) == 19 and [one[0] for one in alone if isinstance(one, tuple)] == (
        ["a.h5"] * 5 + ["b.h5"] + ["c.h5"] * 4
    )
    for threads in (2, 5):
        assert told(threads) == alone


def test_files_are_the_same_for_all_threads(
    small_models: Path, predict: Callable[..., int], tmp_path: Path
) -> None:
    for threads in (1, 3):
        words = ["--threads", threads]
        shard = small_models / "peaks/overlay/A/c00000.h5"
        assert predict(shard, *words, output=f"with{threads}") == 0
    for name in ("predictions.parquet", "predictions.csv", "peaks.cxi", "predict.json"):
        one, three = (tmp_path / f"with{threads}" / name for threads in (1, 3))
        assert one.read_bytes() == three.read_bytes()


def test_an_error_among_threads_is_raised_once(small_models: Path, tmp_path: Path) -> None:
    other_detector(tmp_path / "a.h5", 0.05, 12, seed=1, frames=3)
    whole = Pipeline.load(small_models / "models", tasks=["whole"])
    found = list(answers([tmp_path / "a.h5"], Given(), lambda: whole, 2))
    assert [one.event for one in found if isinstance(one, Refusal)] == [0, 1, 2]
    assert len(found) == 3
