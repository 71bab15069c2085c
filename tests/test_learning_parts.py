"""The parts of learning against closed forms, brute force and independent libraries."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre as numpy_legendre
from scipy.stats import poisson

from spotmill.errors import SpotmillError
from spotmill.learning.candidates import block_means, find_candidates
from spotmill.learning.controls import Setting, judge, run_control
from spotmill.learning.curves import curves
from spotmill.learning.encoders import EncodedFrames, View, WholeFrame
from spotmill.learning.frames import class_names
from spotmill.learning.metrics import Outcome, choose_threshold, summary, wilson
from spotmill.learning.models import patch_counter, radial_profile
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.networks import build_network, probabilities
from spotmill.learning.profiles import radial_bins
from spotmill.learning.profiles import radial_profile as profile_of
from spotmill.learning.registry import MODELS, model_module
from spotmill.learning.training import class_weights
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.peak_scoring import Spots
from spotmill.tasks import Input, Task

RNG = np.random.default_rng(5)
SHAPE = (61, 47)


def view(shape: tuple[int, int] = SHAPE) -> View:
    """A panel whose corner is 20.25 pixels left of the beam and 30.5 below it."""
    p = 1e-4
    corner = np.array([-20.25 * p, -30.5 * p, 0.1])
    panel = Panel("p", 0, shape[1] - 1, 0, shape[0] - 1, corner, [p, 0, 0], [0, p, 0])
    return View(Detector((panel,), shape, np.ones(shape, dtype=bool), 0.1, None, 1.0))


def task(**changes: Any) -> Task:
    values = {"target": "hit", "model": "linear", "epochs": 1, "learning_rate": 0.1}
    return Task.parse(values | changes, "task")


def test_wilson_is_its_closed_form() -> None:
    z, n, k = 1.959963984540054, 108, 107
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson(k, n) == pytest.approx([middle - half, middle + half], rel=1e-9)
    assert wilson(0, 0) == [0.0, 1.0]


def test_threshold_is_the_best_there_is() -> None:
    score = RNG.integers(0, 12, 60).astype(float)
    truth = (score + RNG.normal(0, 3, 60) > 6).astype(np.int64)

    def balanced(threshold: float) -> float:
        said = score >= threshold
        return said[truth == 1].mean() + (~said)[truth == 0].mean()

    best = max(balanced(threshold) for threshold in np.arange(-1, 14, 0.25))
    assert balanced(choose_threshold(score, truth)) == pytest.approx(best)
    assert balanced(choose_threshold(score, truth, preferred=6.0)) == pytest.approx(best)


def test_threshold_stays_at_the_preferred_one_where_it_is_as_good() -> None:
    score, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    assert choose_threshold(score, truth, preferred=0.5) == 0.5
    assert 0.2 < choose_threshold(score, truth, preferred=0.1) <= 0.8
    assert choose_threshold(score, truth) == 0.5


def test_auroc_counts_pairs() -> None:
    score, truth = RNG.integers(0, 40, 50).astype(float), RNG.integers(0, 2, 50)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[truth == 1] for b in score[truth == 0]]
    assert curves(score, truth)["auroc"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert curves(score, np.ones(50, dtype=np.int64))["auroc"] is None


def test_summary_counts_as_one_does_by_hand() -> None:
    truth, said = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 0, 1, 0])
    outcome = Outcome("m", "model", said, score=said.astype(float), threshold=0.5)
    result = summary(outcome, truth, np.array(list("AABBB")), ("no hit", "hit"))
    assert result["confusion"] == [[2, 1], [1, 1]]
    assert (result["n"], result["correct"], result["accuracy"]) == (5, 3, 0.6)
    assert (result["recall"]["value"], result["recall"]["n"]) == (0.5, 2)
    assert result["specificity"]["value"] == pytest.approx(2 / 3)
    assert {k: (v["n"], v["correct"]) for k, v in result["per_dataset"].items()} == {
        "A": (2, 1),
        "B": (3, 2),
    }


def test_classes_have_units() -> None:
    assert class_names("photon_energy", [6000.0, 7000.5]) == ("6000 eV", "7000.5 eV")
    assert class_names("camera_length", [0.15]) == ("0.15 m",)


@pytest.mark.parametrize("shape", [(50, 64), (33, 20), (128, 31)])
def test_a_spot_of_one_pixel_is_the_first_candidate(shape: tuple[int, int]) -> None:
    image = RNG.poisson(0.05, shape).astype(np.uint16)
    mask = np.ones(shape, dtype=bool)
    mask[:, 10:12] = False
    image[17, 9] = 6
    image[20, 11] = 5000
    found = find_candidates(image, mask, count=5, block=16)
    assert (found.ss[0], found.fs[0]) == (17, 9)
    assert found.peak[0] == 6
    assert found.near_live[0] == 6
    assert np.all(np.diff(found.deviance) <= 0)


def test_candidates_are_those_of_brute_force() -> None:
    image = RNG.poisson(0.3, SHAPE)
    mask = RNG.random(SHAPE) > 0.1
    photons = np.pad(np.where(mask, image, 0), 2)

    def box(ss: int, fs: int, reach: int) -> int:
        middle = (ss + 2, fs + 2)
        rows, columns = (slice(at - reach, at + reach + 1) for at in middle)
        return int(photons[rows, columns].sum())

    expected = set()
    for ss, fs in np.argwhere(mask & (image > 0)).tolist():
        own = (box(ss, fs, 1), image[ss, fs], -ss * SHAPE[1] - fs)
        beside = [
            (box(a, b, 1), image[a, b], -a * SHAPE[1] - b)
            for a in range(max(ss - 1, 0), min(ss + 2, SHAPE[0]))
            for b in range(max(fs - 1, 0), min(fs + 2, SHAPE[1]))
            if mask[a, b] and image[a, b] and (a, b) != (ss, fs)
        ]
        if own[0] >= 2 and own > max(beside, default=(0,)):
            expected.add((ss, fs, image[ss, fs], own[0], box(ss, fs, 2)))
    found = find_candidates(image, mask, count=10_000, block=16)
    rows = zip(found.ss, found.fs, found.peak, found.near, found.wide, strict=True)
    assert {tuple(int(value) for value in row) for row in rows} == expected
    one_dtype = find_candidates(image.astype(np.uint16), mask, count=10_000, block=16)
    assert np.array_equal(one_dtype.deviance, found.deviance)


def test_block_means_are_shares_of_lit_pixels() -> None:
    image = RNG.poisson(0.2, SHAPE)
    mask = RNG.random(SHAPE) > 0.2
    means = block_means(image, mask, 20)
    part = (slice(20, 40), slice(40, 47))
    lit = ((image > 0) & mask)[part].sum()
    assert means.shape == (4, 3)
    assert means[1, 2] == pytest.approx((lit + 0.5) / mask[part].sum())


def test_profile_is_a_histogram_of_live_pixels() -> None:
    ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(ss + 0.5 - 30.5, fs + 0.5 - 20.25)
    assert np.allclose(view().radius, radius, atol=1e-4)
    bins = radial_bins(view().radius, 7)
    image, mask = RNG.poisson(0.1, SHAPE), RNG.random(SHAPE) > 0.1
    image[40, 20] = 30
    mask[40, 20] = True
    photons, pixels = profile_of(image, mask, bins, 7, spot_photons=4, spot_reach=1)
    live = mask.copy()
    live[39:42, 19:22] = False
    edges = np.linspace(0, float(view().radius.max()), 8)
    assert np.array_equal(pixels, np.histogram(view().radius[live], edges)[0])
    weighted = np.histogram(view().radius[live], edges, weights=image[live])[0]
    assert np.array_equal(photons, weighted)


def test_summed_frames_keep_every_photon() -> None:
    image = RNG.poisson(0.3, SHAPE).astype(np.uint16)
    image[0, 0] = 65535
    mask = np.ones(SHAPE, dtype=bool)
    for size in (1, 4):
        encoder = WholeFrame(Input(sum_bin=size), view())
        frame = encoder.batch([encoder.encode(image, mask)])[0, 0].numpy()
        padded = np.zeros([-(-side // size) * size for side in SHAPE])
        padded[: SHAPE[0], : SHAPE[1]] = image
        rows, columns = (side // size for side in padded.shape)
        expected = padded.reshape(rows, size, columns, size).sum((1, 3))
        assert np.array_equal(frame, expected)


def test_legendre_is_that_of_numpy() -> None:
    grid = torch.linspace(-1, 1, 9, dtype=torch.float64)
    expected = numpy_legendre.legvander(grid.numpy(), 5).T
    assert np.allclose(radial_profile.legendre(grid, 6).numpy(), expected)
    assert radial_profile.legendre(grid, 1).shape == (1, 9)


def test_fitted_profile_is_the_one_that_made_the_photons() -> None:
    basis = radial_profile.legendre(torch.linspace(-1, 1, 40, dtype=torch.float64), 4)
    wanted = torch.tensor([-4.0, 0.8, -0.5, 0.2], dtype=torch.float64)
    pixels = torch.linspace(100, 3000, 40, dtype=torch.float64)
    pixels[7] = 0
    photons = pixels * torch.exp(wanted @ basis)
    fitted = radial_profile.fit_profile(photons, pixels, basis)
    assert torch.allclose(fitted, wanted, atol=1e-4)


def test_radial_profile_starts_as_the_poisson_likelihood() -> None:
    rates = np.array([[0.02] * 12, [0.03] * 12, [0.05] * 12])
    pixels = np.full(12, 400.0)
    condition = np.repeat([0, 1, 2], 200)
    photons = RNG.poisson(rates[condition] * pixels)
    inputs = torch.from_numpy(np.stack([photons, np.broadcast_to(pixels, photons.shape)], 1))
    settings = radial_profile.Settings(bins=12, terms=1)
    network = radial_profile.Network(settings, Dimensions((2, 12), 3, 3))
    network.prepare(inputs, torch.from_numpy(condition), torch.from_numpy(condition))
    said = probabilities(network(inputs)).detach().numpy()
    fitted = np.array([photons[condition == c].sum() / (200 * 12 * 400) for c in range(3)])
    likelihood = poisson.logpmf(photons[:, None, :], fitted[:, None] * pixels).sum(2)
    shares = np.log((np.eye(3) * 200 + 1) / 600)
    mixed = np.logaddexp.reduce(likelihood[:, None, :] + shares[None], axis=2)
    expected = np.exp(mixed - np.logaddexp.reduce(mixed, axis=1, keepdims=True))
    assert np.allclose(said, expected, atol=1e-4)


def test_patch_counter_ignores_order_and_padding() -> None:
    network = patch_counter.Network(patch_counter.Settings(), Dimensions((64, 7), 1, 1))
    rows = torch.rand(3, 64, 7)
    rows[..., 0] = (torch.arange(64) < 40).float()
    shuffled = rows[:, torch.randperm(64)]
    other = rows.clone()
    other[:, 40:, 1:] = 9.0
    for changed in (shuffled, other, rows[:, :40]):
        assert torch.allclose(network(rows), network(changed), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # 2163 x 2069 pixels, as in the paper, and the bias of each class.
        ("linear", 3 * 2163 * 2069 + 3),
        # Convolutions 2 x 25 x 25 + 2; 215 x 205 places; linear.
        ("base_cnn", 2 * 625 + 2 + 3 * (2 * 215 * 205) + 3),
        # 8 x 10 x 10 + 8 and 16 x 8 x 9 + 16; two norms; 1078 x 1031 after pooling; linear.
        ("binary_cnn", 808 + 1168 + 2 * 8 + 2 * 16 + 3 * (16 * 1078 * 1031) + 3),
    ],
)
def test_the_papers_models_have_its_weights(model: str, expected: int) -> None:
    module = model_module(model)
    with torch.device("meta"):
        network = module.Network(module.Settings(), Dimensions((1, 2163, 2069), 3, 9))
    assert sum(weight.numel() for weight in network.parameters()) == expected


OF_PEAKS = [name for name, entry in MODELS.items() if "peaks" in entry.targets]
# Models of values are in tests/test_values.py.
OF_CLASSES = [n for n, entry in MODELS.items() if entry.scale == "classes" and n not in OF_PEAKS]


def learns(network: torch.nn.Module, loss: Callable[[], torch.Tensor], rate: float = 0.01) -> bool:
    """Say whether twenty steps on one batch lower its loss by a tenth."""
    optimiser = torch.optim.Adam(network.parameters(), rate)
    before = loss().item()
    for _ in range(20):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    return loss().item() < 0.9 * before


def with_spots(level: float, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a frame of this background and a spot of 2 x 2 pixels at each place [n, (ss, fs)]."""
    image = rng.poisson(level, SHAPE)
    for ss, fs in place:
        image[ss : ss + 2, fs : fs + 2] += rng.poisson(6.0, (2, 2))
    return image


@pytest.mark.parametrize("name", OF_CLASSES)
def test_every_model_of_classes_learns_one_batch(name: str) -> None:
    target = MODELS[name].targets[0]
    module = model_module(name)
    encoder = module.encoder(module.Settings(), Input(), view())
    mask = np.ones(SHAPE, dtype=bool)
    rng = np.random.default_rng(6)
    images = []
    for lit in (0, 1) * 3:
        # Hits differ by their spots, photon energies and camera lengths by their background.
        level, spots = (0.02, 4 * lit) if target == "hit" else (0.02 + 0.08 * lit, 0)
        images.append(with_spots(level, rng.integers(2, 44, (spots, 2)), rng))
    batch = encoder.batch([encoder.encode(image, mask) for image in images])
    truth = torch.tensor([0, 1] * 3)
    values = task(target=target, model=name)
    network = build_network(values, Dimensions(encoder.shape, 1, 2), "task")
    if hasattr(network, "prepare"):
        with torch.no_grad():
            network.prepare(batch, truth, truth)

    def loss() -> torch.Tensor:
        logits = network(batch)
        assert logits.shape == (6, 1)
        kind = torch.nn.functional.binary_cross_entropy_with_logits
        return kind(logits.squeeze(1), truth.to(logits.dtype))

    assert learns(network, loss)


@pytest.mark.parametrize("name", OF_PEAKS)
def test_every_model_of_peaks_learns_one_batch(name: str) -> None:
    place = np.array([[9, 9], [30, 20], [50, 38]])
    rng = np.random.default_rng(7)
    image = with_spots(0.05, place, rng)
    truth = Spots(place[:, ::-1] + 1.0, np.full(len(place), 24.0))
    settings = {"crop": 32, **({"crops": 4} if name == "heatmap_cnn" else {"candidates": 64})}
    values = task(target="peaks", model=name, settings=settings)
    network: Any = build_network(values, Dimensions((1, *SHAPE), 1, 1), "task")
    batch = network.samples(image, np.ones(SHAPE, dtype=bool), truth, rng)
    assert learns(network, lambda: network.loss(batch))


def test_models_of_single_pixels_refuse_binned_frames() -> None:
    for model, target in (("patch_counter", "hit"), ("radial_profile", "camera_length")):
        with pytest.raises(
            SpotmillError, match=f"{model} reads single pixels; leave input.sum_bin"
        ):
            task(model=model, target=target, input={"sum_bin": 2})


def test_weights_are_those_of_the_paper() -> None:
    weights = class_weights(np.array([0] * 30 + [1] * 10), 2)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert (weights[0] * 30 + weights[1] * 10) / 40 == pytest.approx(1.0)


def test_hits_are_judged_by_the_threshold_of_validation() -> None:
    given = {"validation": [0.2, 0.3, 0.7, 0.75], "test": [0.4, 0.72, 0.73]}
    both = {
        side: np.stack([1 - np.array(hit), np.array(hit)], axis=1) for side, hit in given.items()
    }
    said = judge(both.__getitem__, np.array([0, 0, 0, 1]), task())
    # Half way between 0.7 and 0.75.
    assert said.tolist() == [0, 0, 1]


class Frozen:
    """Images of one frozen noise image a class, as the paper had them."""

    mask = np.ones(SHAPE, dtype=bool)

    def __init__(self, truth: np.ndarray, fresh: bool) -> None:
        rng = np.random.default_rng(3)
        frozen = rng.poisson(0.05, (3, *SHAPE))
        self.images = rng.poisson(0.05, (len(truth), *SHAPE)) if fresh else frozen[truth]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[number], self.mask


@pytest.mark.parametrize("fresh", [False, True])
def test_control_tells_frozen_noise_from_fresh(fresh: bool) -> None:
    truth = np.random.default_rng(4).permutation(np.arange(180) % 3)
    encoder = WholeFrame(Input(), view())
    images = Frozen(truth, fresh)
    rows = {"train": np.arange(90), "validation": np.arange(90, 110), "test": np.arange(110, 180)}
    setting = Setting(
        EncodedFrames(images, encoder, truth), rows, truth, truth, Dimensions(encoder.shape, 3, 3)
    )
    linear = task(target="camera_length", epochs=12, learning_rate=0.05)
    control = run_control("equal_expectation", "noise", linear, setting, "task")
    assert control["chance"] == pytest.approx(1 / 3, abs=0.03)
    assert control["at_chance"] == fresh
    if not fresh:
        assert control["correct"] == control["n"] == 70
