"""What of a frame an answer rests on, where that is known beforehand."""

import numpy as np
import pytest
import torch
from learning_data import SHAPE, mask
from torch import nn

from spotmill.learning.attribution import (
    Part,
    gathered,
    integrated_gradients,
    occlusion,
    on_spots,
    pixel_occlusion,
)
from spotmill.learning.saliency_hits import blank_of
from spotmill.learning.saliency_rings import share_out


def test_integrated_gradients_of_a_linear_answer_are_its_weights() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(12, 1).double()
    inputs, reference = torch.rand(1, 12).double(), torch.rand(1, 12).double()
    found = integrated_gradients(lambda x: layer(x)[:, 0], inputs, [reference], steps=3)
    wanted = (layer.weight * (inputs - reference)).detach().numpy()[0]
    assert found == pytest.approx(wanted, rel=1e-12)
    both = [reference, 2 * reference]
    found = integrated_gradients(lambda x: layer(x)[:, 0], inputs, both, steps=4, at_once=3)
    wanted = (layer.weight * (inputs - 1.5 * reference)).detach().numpy()[0]
    assert found == pytest.approx(wanted, rel=1e-12)


def test_integrated_gradients_add_up_to_the_difference_of_the_answers() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 100, 1)
    ).double()
    inputs, reference = 30 * torch.rand(1, 1, 12, 12).double(), torch.rand(1, 1, 12, 12).double()

    def answer(x: torch.Tensor) -> torch.Tensor:
        return network(x)[:, 0]

    difference = float((answer(inputs) - answer(reference)).detach())
    off = {
        steps: abs(integrated_gradients(answer, inputs, [reference], steps).sum() - difference)
        for steps in (4, 400)
    }
    assert abs(difference) > 0.1
    assert off[400] < 0.01 * abs(difference) and off[400] < off[4]


def test_occlusion_gives_an_additive_answer_back_part_by_part() -> None:
    rng = np.random.default_rng(2)
    image, other = rng.poisson(3.0, (2, 120, 110)).astype(np.uint16)
    other[:40] = image[:40]
    weight = np.zeros((120, 110))
    weight[100, 20], weight[70:74, 90], weight[5, 5] = 2.0, -1.0, 7.0
    asked = []

    def answer(shown: np.ndarray) -> float:
        asked.append(1)
        return float((shown * weight).sum())

    parts = occlusion(answer, image, other, most=300)
    assert len(asked) <= 301
    covered = np.zeros((120, 110), dtype=int)
    difference = weight * (image.astype(float) - other)
    for ss, fs, edge, change in parts:
        own = np.s_[ss : ss + edge, fs : fs + edge]
        covered[own] += 1
        assert change == pytest.approx(difference[own].sum(), abs=1e-9)
    assert (covered == 1).all()
    # Where a part is as it was, nothing changes, whatever the weight.
    assert all(part.change == 0 for part in parts if part.ss + part.edge <= 40)
    # What matters was looked at most closely.
    spot = next(p for p in parts if p.ss <= 100 < p.ss + p.edge and p.fs <= 20 < p.fs + p.edge)
    assert spot.edge == min(part.edge for part in parts) == 4
    pixels = pixel_occlusion(answer, image, other, (100, 20), 3)
    lit = {(p.ss, p.fs): p.change for p in pixels if p.change}
    assert len(pixels) == 49 and lit == {(100, 20): pytest.approx(difference[100, 20])}


def test_shares_on_spots_count_area_and_sign() -> None:
    parts = [
        Part(0, 0, 10, 3.0),
        Part(0, 10, 10, -1.0),
        Part(10, 0, 10, 0.5),
        Part(10, 10, 10, 0.5),
    ]
    one = on_spots(parts, np.array([[5.0, 5.0]]), (20, 15), reach=2.0)
    assert one == (pytest.approx(0.6), pytest.approx(0.6), pytest.approx(1 / 3))
    # A spot at an edge belongs to both sides, and the frame ends at 15.
    both = on_spots(parts, np.array([[9.0, 5.0]]), (20, 15), reach=2.0)
    assert both == (pytest.approx(0.8), pytest.approx(0.4), pytest.approx(0.5))
    assert on_spots(parts, np.empty((0, 2)), (20, 15)) == (0.0, 0.0, 0.0)


def test_a_map_of_blocks_is_summed_into_squares() -> None:
    change = np.arange(12.0).reshape(3, 4)
    parts = gathered(change, 4, 8, (12, 14))
    assert [part[:3] for part in parts] == [(0, 0, 8), (0, 8, 8), (8, 0, 8), (8, 8, 8)]
    assert [part.change for part in parts] == [10.0, 18.0, 17.0, 21.0]


def test_a_blank_keeps_the_background_and_has_no_spot() -> None:
    rng = np.random.default_rng(3)
    image = np.where(mask(), rng.poisson(0.5, SHAPE), 0).astype(np.uint16)
    image[30:33, 40:43] += 200
    blank = blank_of(image, mask(), rng)
    assert blank.max() < 10 and not blank[~mask()].any() and blank.dtype == image.dtype
    # Within five standard deviations of a sum of half a photon a pixel.
    assert blank.sum() == pytest.approx(0.5 * mask().sum(), abs=5 * np.sqrt(0.5 * mask().sum()))


def test_what_blocks_hold_is_shared_out_among_their_live_pixels() -> None:
    live = np.ones((5, 6), dtype=bool)
    live[0, :2] = live[2:4, 4:] = False
    panels = np.ones((5, 6), dtype=bool)
    panels[4] = False
    blocks = np.array([[6.0, 4.0, 8.0], [4.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
    shared = share_out(blocks, live, panels)
    assert shared.sum() == blocks.sum()
    # Half of the first block is dead; all of the sixth, whose panel keeps what it held.
    assert shared[0].tolist() == [0, 0, 1, 1, 2, 2] and shared[1].tolist() == [3, 3, 1, 1, 2, 2]
    assert shared[2:4, 4:].tolist() == [[1, 1], [1, 1]]
    # The last row of blocks is cut off by the end of the frame.
    assert shared[4].tolist() == [0, 0, 1, 1, 0, 0]
    assert (share_out(live.astype(float), live, panels) == live).all()


def test_an_answer_to_the_same_parts_reads_none_of_them_again() -> None:
    rng = np.random.default_rng(4)
    image, other = rng.poisson(3.0, (2, 40, 40))
    read: list[int] = []
    known: dict[tuple[int, int, int], int] = {}

    def total(shown: np.ndarray) -> int:
        read.append(1)
        return int(shown.sum())

    first = occlusion(float, image, other, read=total, known=known)
    before = len(read)
    second = occlusion(lambda value: 2.0 * value, image, other, read=total, known=known)
    # But for the whole frame.
    assert len(read) == before + 1
    assert [part[:3] for part in first] == [part[:3] for part in second]
    assert [2 * part.change for part in first] == [part.change for part in second]
