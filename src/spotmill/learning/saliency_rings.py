"""Where a model looked that tells photon energy or camera length: which rings say so."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill.learning.attribution import integrated_gradients
from spotmill.learning.profiles import radial_bins
from spotmill.learning.registry import MODELS
from spotmill.learning.saliency import Explained, record_of, row_of
from spotmill.learning.saliency_frames import choose
from spotmill.learning.setup import Setup

# Steps between frame and mean, of pixels and of profiles: the likelihood of a profile changes
# steeply, and costs little.
STEPS, PROFILE_STEPS, AT_ONCE = 10, 4096, 512
# Validation frames that a mean is over at most.
MEAN_OF = 30
# Rings where a model reads pixels; a model of profiles has its own.
RINGS = 96
# From the row of a frame, what the network reads of it and of its reference, and the change, to
# the columns of the rings.
ByRing = Callable[[Setup, int, Tensor, Tensor, NDArray[np.float64]], dict[str, NDArray[np.float64]]]


def explain_rings(setup: Setup, network: nn.Module, predicted: pd.DataFrame) -> Explained:
    """Explain answers to which photon energy or camera length a frame has.

    Parameters
    ----------
    predicted
        The predictions of the evaluation, of which a few are chosen.
    """
    network = network.eval()
    whole, values = MODELS[setup.task.model].whole_frames, setup.task.scale == "values"
    name = setup.task.target.replace("_", " ")
    explained = Explained(
        "rings",
        "integrated gradients",
        f"{name}, {unit_of(setup.task.target)}" if values else f"lead of the {name} said",
        "the mean of the validation frames"
        if values
        else "the mean of the validation frames of the next class, else alike",
    )
    steps = (STEPS, 1) if whole else (PROFILE_STEPS, AT_ONCE)
    by_ring: ByRing = _by_radius(setup) if whole else _by_bin
    means: dict[bytes, Tensor] = {}
    for why, said in choose(setup.task, predicted, None):
        row = row_of(setup.frames, said)
        inputs = encoded(setup, row)
        with torch.no_grad():
            first, second = (0, 0) if values else said_and_next(network(inputs)[0])
        like = setup.frames.rows("validation") if values else _alike(setup, row, second)
        mean = means.get(like.tobytes())
        if mean is None:
            mean = means[like.tobytes()] = mean_inputs(setup, like)
        reference = mean if whole else at_pixels(mean, inputs)

        def answer(shown: Tensor, first: int = first, second: int = second) -> Tensor:
            told: Tensor = network(shown)
            return told[:, 0] if values else lead(told, first, second)

        with torch.no_grad():
            answers = {"answer": float(answer(inputs)), "without": float(answer(reference))}
        change = integrated_gradients(answer, inputs, [reference], *steps)
        answers["sum"] = float(change.sum())
        record = record_of(why, said) | answers
        if not values:
            record["next"] = setup.frames.classes[second]
        explained.frames.append(record)
        explained.add(**by_ring(setup, row, inputs, reference, change))
    return explained


def unit_of(target: str) -> str:
    """Return the unit of a value that is told."""
    # Slow to import, and tasks of classes need none of it.
    from spotmill.learning.values import Quantity

    return Quantity(target).unit


def encoded(setup: Setup, row: int) -> Tensor:
    """Return what the network reads of a frame [1, ...]; of profiles in double precision."""
    inputs = setup.encoder.batch([setup.encoder.encode(*setup.images.read(row))])
    return inputs if MODELS[setup.task.model].whole_frames else inputs.to(torch.float64)


def said_and_next(logits: Tensor) -> tuple[int, int]:
    """Return the class of the largest logit [outputs] and the next one; of equals the nearest."""
    if len(logits) == 1:
        return (1, 0) if float(logits[0]) >= 0 else (0, 1)
    told = logits.to(torch.float64).tolist()
    first = int(np.argmax(told))
    rest = [number for number in range(len(told)) if number != first]
    best = max(told[number] for number in rest)
    close = [number for number in rest if told[number] > best - 1e-6]
    return first, min(close, key=lambda number: abs(number - first))


def lead(logits: Tensor, first: int, second: int) -> Tensor:
    """Return by how much the logit of one class leads that of another, [n]."""
    if logits.shape[1] == 1:
        return logits[:, 0] * (1.0 if first == 1 else -1.0)
    return logits[:, first] - logits[:, second]


def _alike(setup: Setup, row: int, number: int) -> NDArray[np.int64]:
    """Return validation frames of a class that are like a frame in all that is not asked for.

    That is of its camera length where the photon energy is asked for, and the reverse; where there
    are none, all of the class.
    """
    frames, held = setup.frames, other_value(setup)
    rows = frames.rows("validation")
    rows = rows[frames.truth[rows] == number]
    like = rows[
        [held[str(frames.dataset[other])] == held[str(frames.dataset[row])] for other in rows]
    ]
    return like if len(like) else rows if len(rows) else frames.rows("validation")


def other_value(setup: Setup) -> dict[str, float]:
    """Return what is not asked for, photon energy or camera length, by dataset."""
    column = "clen" if setup.task.target == "photon_energy" else "photon_energy"
    table = pq.read_table(setup.split, columns=["dataset", column]).to_pylist()
    return {line["dataset"]: float(line[column]) for line in table}


def mean_inputs(setup: Setup, rows: NDArray[np.int64]) -> Tensor:
    """Return the mean of what the network reads of some of these frames, [1, ...]."""
    some = np.unique(np.linspace(0, len(rows) - 1, min(MEAN_OF, len(rows))).astype(int))
    total = encoded(setup, int(rows[some[0]]))
    for row in rows[some[1:]].tolist():
        total += encoded(setup, row)
    return total / len(some)


def at_pixels(mean: Tensor, profiles: Tensor) -> Tensor:
    """Return a profile [1, 2, bins] of the mean's photons a pixel on another's live pixels."""
    rate = mean[:, 0] / mean[:, 1].clamp_min(1e-9)
    return torch.stack([rate * profiles[:, 1], profiles[:, 1]], dim=1)


def _by_bin(
    setup: Setup, row: int, inputs: Tensor, reference: Tensor, change: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    photons, pixels = inputs[0].to(torch.float64).numpy()
    count = len(photons)
    radius = (np.arange(count) + 0.5) * float(np.nanmax(setup.view.radius)) / count
    expected = reference[0, 0].to(torch.float64).numpy()
    return _columns(setup, row, radius, pixels, photons, expected, change.sum(0))


def _by_radius(setup: Setup) -> ByRing:
    """Return what gives the columns of a network that reads pixels, or blocks of them.

    A block lies in several rings: what it holds is shared out among its pixels.
    """
    radius = setup.view.radius
    # One more for what lies on no panel.
    ring = (radial_bins(radius, RINGS) + 1).astype(np.intp)
    middle = (np.arange(RINGS) + 0.5) * float(np.nanmax(radius)) / RINGS

    def columns(
        setup: Setup, row: int, inputs: Tensor, reference: Tensor, change: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        live = setup.images.read(row)[1]

        def sums(pixels: NDArray[Any]) -> NDArray[np.float64]:
            return np.bincount(ring.ravel(), pixels.ravel(), RINGS + 1)[1:].astype(np.float64)

        def shared(blocks: NDArray[Any]) -> NDArray[np.float64]:
            return sums(share_out(blocks, live, ring > 0))

        photons, expected = (shared(one[0].sum(0).numpy()) for one in (inputs, reference))
        return _columns(setup, row, middle, sums(live), photons, expected, shared(change.sum(0)))

    return columns


def share_out(
    blocks: NDArray[Any], live: NDArray[np.bool_], panels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return what blocks [ss, fs] hold, shared out evenly among the pixels [ss, fs] of each.

    Parameters
    ----------
    live, panels
        Pixels that share; where none of a block is live, those on a panel.
    """
    values = np.asarray(blocks, dtype=np.float64)
    scale = -(-live.shape[0] // values.shape[0])
    if scale == 1:
        return values

    def counts(pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums = pixels.astype(np.float64)
        for axis in range(2):
            sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], scale), axis=axis)
        return sums

    def spread(parts: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.repeat(parts, scale, axis=0)[: live.shape[0]]
        return np.repeat(rows, scale, axis=1)[:, : live.shape[1]]

    own, others = counts(live), counts(panels)
    return np.where(
        live,
        spread(values / np.maximum(own, 1)),
        np.where(panels, spread(np.where(own > 0, 0.0, values / np.maximum(others, 1))), 0.0),
    )


def _columns(
    setup: Setup,
    row: int,
    radius: NDArray[np.float64],
    pixels: NDArray[np.float64],
    photons: NDArray[np.float64],
    expected: NDArray[np.float64],
    change: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    view = setup.views.of(row)
    clen = _clen(setup, row)
    live = np.maximum(pixels, 1.0)
    return {
        "radius": radius,
        "two_theta": np.degrees(np.arctan2(radius * view.detector.pixel_size, clen)),
        "pixels": pixels,
        "photons": photons / live,
        "reference": expected / live,
        "change": change,
    }


def _clen(setup: Setup, row: int) -> float:
    """Return the camera length of a frame, m."""
    if setup.frames.values is not None:
        return float(setup.frames.values[row, 1])
    table = pq.read_table(setup.split, columns=["dataset", "clen"]).to_pylist()
    name = str(setup.frames.dataset[row])
    return float(next(line["clen"] for line in table if line["dataset"] == name))
