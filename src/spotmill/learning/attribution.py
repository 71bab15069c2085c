"""What of a frame an answer rests on: occlusion, and integrated gradients.

Occlusion asks any model at all: a part of the frame is replaced by what its background would have
given there, and the answer looked at again. Integrated gradients are for networks that read the
pixels (or a profile) themselves.
"""

import copy
import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Blocks across a frame that occlusion starts from, into how many a side of one may be split, and
# how often a model is asked at most.
ACROSS, SPLIT, MOST_ASKED = 8, 8, 120
# Pixels by which a spot reaches beyond its place.
REACH = 2.0


# First ss and fs, and edge.
Square = tuple[int, int, int]


class Part(NamedTuple):
    """A square of pixels, and by how much it raises the answer."""

    ss: int
    fs: int
    edge: int
    change: float


def integrated_gradients(
    answer: Callable[[Tensor], Tensor],
    inputs: Tensor,
    references: Sequence[Tensor],
    steps: int,
    at_once: int = 1,
) -> NDArray[np.float64]:
    """Return what each number of an input adds to the answer, over that of the references.

    Sundararajan, Taly & Yan, ICML 2017; mean over the references (Erion et al., Nature Mach.
    Intell. 3, 620, 2021). The sum is the difference of the answers, up to the rule of midpoints:
    exactly so where the answer is linear. Steps are closer together near the reference, where
    networks that normalise what they read change most. References that are draws of one background
    share the steps: they differ by noise, so together they are as good as many more.

    Parameters
    ----------
    answer
        From inputs [n, ...] to numbers [n].
    inputs, references
        [1, ...] each.
    steps
        From each reference.
    at_once
        Steps that the network is shown together.
    """
    total = torch.zeros(inputs.shape[1:], dtype=torch.float64)
    for number, reference in enumerate(references):
        slopes = torch.zeros_like(inputs[0])
        # Steps from one reference lie between those from the others.
        first = (number + 0.5) / len(references)
        middle = (torch.arange(steps, dtype=torch.float64) + first) / steps
        weights = middle / middle.sum()
        for part, own in zip(middle.split(at_once), weights.split(at_once), strict=True):
            share = (part**2).view(-1, *[1] * (inputs.ndim - 1)).to(inputs.dtype)
            place = torch.lerp(reference, inputs, share).requires_grad_()
            (slope,) = torch.autograd.grad(answer(place).sum(), place)
            for one, weight in zip(slope, own.tolist(), strict=True):
                slopes.add_(one, alpha=weight)
        total += ((inputs - reference)[0] * slopes).to(torch.float64)
    return np.asarray((total / len(references)).numpy())


def as_it_is(frame: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return a frame for answers that are of its pixels."""
    return frame


def occlusion(
    answer: Callable[[Any], float],
    image: NDArray[np.integer],
    other: NDArray[np.integer],
    most: int = MOST_ASKED,
    read: Callable[[NDArray[np.integer]], Any] = as_it_is,
    known: dict[Square, Any] | None = None,
) -> list[Part]:
    """Return parts that tile a frame, each with the answer as it is less that without the part.

    The part of the largest change is split into four, again and again, until the model was asked
    `most` times (Zeiler & Fergus, ECCV 2014, on a tree of squares).

    Parameters
    ----------
    answer
        Of what is read of a frame.
    other
        [ss, fs] what stands in place of a part.
    read
        Reads a frame [ss, fs], whose numbers change afterwards.
    known
        What was read without each part, for other answers to the same; None keeps nothing.
    """
    first = 1 << max(int(max(image.shape) / ACROSS).bit_length() - 1, 2)
    least = max(first // SPLIT, 4)
    whole = answer(read(image))
    shown = image.copy()
    asked = 0

    def ask(ss: int, fs: int, edge: int) -> Part:
        nonlocal asked
        own = np.s_[ss : ss + edge, fs : fs + edge]
        if np.array_equal(image[own], other[own]):
            return Part(ss, fs, edge, 0.0)
        asked += 1
        if known is not None and (ss, fs, edge) in known:
            return Part(ss, fs, edge, whole - answer(known[ss, fs, edge]))
        shown[own] = other[own]
        without = read(shown)
        told = answer(without)
        shown[own] = image[own]
        if known is not None:
            known[ss, fs, edge] = without
        return Part(ss, fs, edge, whole - told)

    rows, columns = (range(0, side, first) for side in image.shape)
    waiting = [(0.0, part) for part in (ask(ss, fs, first) for ss in rows for fs in columns)]
    waiting = [(-abs(part.change), part) for _, part in waiting]
    heapq.heapify(waiting)
    done: list[Part] = []
    while waiting and asked + 4 <= most:
        change, part = heapq.heappop(waiting)
        half = part.edge // 2
        if half < least or change == 0:
            done.append(part)
            continue
        for ss in range(part.ss, min(part.ss + part.edge, image.shape[0]), half):
            for fs in range(part.fs, min(part.fs + part.edge, image.shape[1]), half):
                quarter = ask(ss, fs, half)
                heapq.heappush(waiting, (-abs(quarter.change), quarter))
    return sorted([*done, *(part for _, part in waiting)])


def pixel_occlusion(
    answer: Callable[[NDArray[np.integer]], float],
    image: NDArray[np.integer],
    other: NDArray[np.integer],
    place: tuple[int, int],
    reach: int,
) -> list[Part]:
    """Return the pixels (ss, fs) up to `reach` from a place, each replaced by itself."""
    whole = answer(image)
    parts = []
    for ss in range(max(place[0] - reach, 0), min(place[0] + reach + 1, image.shape[0])):
        for fs in range(max(place[1] - reach, 0), min(place[1] + reach + 1, image.shape[1])):
            change = 0.0
            if image[ss, fs] != other[ss, fs]:
                changed = image.copy()
                changed[ss, fs] = other[ss, fs]
                change = whole - answer(changed)
            parts.append(Part(ss, fs, 1, change))
    return parts


def gathered(
    change: NDArray[np.float64], scale: int, edge: int, shape: tuple[int, ...]
) -> list[Part]:
    """Return a map [ss, fs] of what blocks of `scale` pixels add, summed into squares.

    Parameters
    ----------
    edge
        Pixels of the frame, a multiple of `scale`.
    shape
        (ss, fs) of the frame.
    """
    step = edge // scale
    sums = change
    for axis in range(2):
        sums = np.add.reduceat(sums, np.arange(0, change.shape[axis], step), axis=axis)
    return [
        Part(ss * edge, fs * edge, edge, float(value))
        for (ss, fs), value in np.ndenumerate(sums)
        if ss * edge < shape[0] and fs * edge < shape[1]
    ]


class OnSpots(NamedTuple):
    """How much of what raises and lowers an answer lies on true spots.

    Attributes
    ----------
    share
        Of all change, whatever its sign.
    net
        Raising less lowering on spots, as a share of all change: 1 where all of it lies on spots
        and raises the answer.
    area
        Of the parts with a spot, as a share of the frame.
    """

    share: float
    net: float
    area: float


def on_spots(
    parts: Sequence[Part], place: NDArray[np.float64], shape: tuple[int, ...], reach: float = REACH
) -> OnSpots:
    """Return how much of all change falls on parts with a spot.

    Parameters
    ----------
    place
        [n, 2] fs, ss of the spots.
    shape
        (ss, fs) of the frame, beyond which a part has no area.
    reach
        A part has a spot that lies in it or within so many pixels of it.
    """
    table = np.array(parts, dtype=np.float64).reshape(-1, 4)
    low = table[:, :2]
    high = np.minimum(low + table[:, 2:3], np.array(shape, dtype=np.float64))
    lit = np.zeros(len(table), dtype=bool)
    for fs, ss in place:
        spot = np.array([ss, fs])
        lit |= ((spot >= low - reach) & (spot < high + reach)).all(1)
    area, change = (high - low).prod(1), table[:, 3]
    total = float(np.abs(change).sum()) or 1.0
    return OnSpots(
        float(np.abs(change[lit]).sum()) / total,
        float(change[lit].sum()) / total,
        float(area[lit].sum() / area.sum()),
    )


def shuffled(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy whose weights each changed places within their layer.

    What it still looks at is due to how it is built and fed, not to what it learnt (Adebayo et
    al., NeurIPS 2018).
    """
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in other.parameters():
            order = torch.randperm(weights.numel(), generator=generator)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return other
