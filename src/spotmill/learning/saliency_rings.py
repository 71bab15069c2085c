"""Where a model looked that tells photon energy or camera length: which rings say so."""

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
from spotmill.learning.values import Quantity

# Steps between frame and mean, of pixels and of profiles: the likelihood of a profile changes
# steeply, and costs little.
STEPS, PROFILE_STEPS, AT_ONCE = 10, 4096, 512
# Validation frames that a mean is over at most.
MEAN_OF = 30
# Rings where a model reads pixels; a model of profiles has its own.
RINGS = 96


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
        f"{name}, {Quantity(setup.task.target).unit}" if values else f"lead of the {name} said",
        "the mean of the validation frames"
        if values
        else "the mean of the validation frames of the next class, else alike",
    )
    steps = (STEPS, 1) if whole else (PROFILE_STEPS, AT_ONCE)
    for why, said in choose(setup.task, predicted, None):
        row = row_of(setup.frames, said)
        inputs = encoded(setup, row)
        with torch.no_grad():
            first, second = (0, 0) if values else said_and_next(network(inputs)[0])
        like = setup.frames.rows("validation") if values else _alike(setup, row, second)
        mean = mean_inputs(setup, like)
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
        by_ring = _by_radius if whole else _by_bin
        explained.add(**by_ring(setup, row, inputs, reference, change))
    return explained


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


def _by_radius(
    setup: Setup, row: int, inputs: Tensor, reference: Tensor, change: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a network that reads pixels, or blocks of them: sums over rings."""
    scale = -(-setup.view.shape[0] // change.shape[-2])
    middles = tuple(
        np.minimum(np.arange(size) * scale + scale // 2, side - 1)
        for size, side in zip(change.shape[-2:], setup.view.shape, strict=True)
    )
    radius = setup.view.radius
    bins = radial_bins(radius, RINGS)[np.ix_(*middles)].ravel()
    live = setup.images.read(row)[1][np.ix_(*middles)].ravel() & (bins >= 0)

    def sums(values: Any) -> NDArray[np.float64]:
        flat = np.asarray(values, dtype=np.float64).ravel()
        counted = np.bincount(np.maximum(bins, 0), np.where(bins >= 0, flat, 0.0), RINGS)
        return counted.astype(np.float64)

    largest = float(np.nanmax(radius))
    return _columns(
        setup,
        row,
        (np.arange(RINGS) + 0.5) * largest / RINGS,
        sums(live * scale**2),
        sums(inputs[0].sum(0)),
        sums(reference[0].sum(0)),
        sums(change.sum(0)),
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
