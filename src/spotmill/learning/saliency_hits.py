"""Where a model looked that tells hits: what squares of a frame its answer rests on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill.learning.attribution import (
    Part,
    Square,
    gathered,
    integrated_gradients,
    occlusion,
    on_spots,
    shuffled,
)
from spotmill.learning.encoders import Encoder
from spotmill.learning.peak_candidates import background_map
from spotmill.learning.peaks import read_spots
from spotmill.learning.registry import MODELS
from spotmill.learning.saliency import Explained, record_of, row_of
from spotmill.learning.saliency_frames import choose
from spotmill.learning.setup import Setup
from spotmill.overlays.opener import open_overlay
from spotmill.physics.peak_scoring import Spots
from spotmill.physics.photons import stream

# Draws of the background, and steps from each to the frame; blocks that integrated gradients are
# summed over, pixels. Of the maps of the CNNs more steps change 3 to 16 %, another draw 10 to 70 %
# (sums of sizes), nearly all of it where nothing stands out.
DRAWS, STEPS, EDGE = 2, 5, 16


def blank_of(
    image: NDArray[Any], mask: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[Any]:
    """Return what the background of a frame [ss, fs] gives when drawn anew."""
    drawn = rng.poisson(np.where(mask, background_map(image, mask), 0.0))
    return np.asarray(drawn.astype(image.dtype))


def explain_hits(
    setup: Setup, network: nn.Module, said: pd.DataFrame, threshold: float | None
) -> Explained:
    """Explain answers to whether a frame is a hit.

    Parameters
    ----------
    said
        The predictions of the evaluation, of which a few are chosen.
    """
    network = network.eval()
    whole = MODELS[setup.task.model].whole_frames
    explained = Explained(
        "map",
        "integrated gradients" if whole else "occlusion",
        "logit of a hit",
        "the frame's own background, drawn anew",
    )
    other = shuffled(network, setup.task.seed)
    truth = truth_of(setup)
    for why, one in choose(setup.task, said, threshold):
        row = row_of(setup.frames, one)
        image, mask = setup.images.read(row)
        # Occlusion takes parts of one.
        draws = range(DRAWS if whole else 1)
        blanks = [blank_of(image, mask, _stream(setup, row, draw)) for draw in draws]
        known: dict[Square, Tensor] = {}
        parts, answers = hit_parts(network, setup.encoder, whole, image, mask, blanks, known)
        record = record_of(why, one) | answers
        spots = truth(row)
        if spots is not None and len(spots.place):
            record["spots"] = _shares(parts, spots, image.shape)
        if not explained.frames:
            mixed, _ = hit_parts(other, setup.encoder, whole, image, mask, blanks[:1], known)
            record["shuffled"] = _compared(parts, mixed)
            if spots is not None and len(spots.place):
                record["shuffled"] |= _shares(mixed, spots, image.shape)
        explained.frames.append(record)
        explained.add_parts(parts)
    return explained


def hit_parts(
    network: nn.Module,
    encoder: Encoder,
    whole: bool,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    blanks: list[NDArray[Any]],
    known: dict[Square, Tensor] | None = None,
) -> tuple[list[Part], dict[str, float]]:
    """Return the parts of a frame with what they add to the logit of a hit, and the answers.

    Parameters
    ----------
    whole
        Whether the network reads pixels, which integrated gradients need.
    blanks
        Frames that stand in place of this one; occlusion takes parts of the first.
    known
        What was read of this frame and blank without a part, as `occlusion` keeps it.
    """

    def read(shown: NDArray[Any]) -> Tensor:
        return encoder.batch([encoder.encode(shown, mask)])

    @torch.no_grad()
    def answer(inputs: Tensor) -> float:
        return float(network(inputs)[0, 0])

    own, others = read(image), [read(blank) for blank in blanks]
    answers = {"answer": answer(own), "without": float(np.mean([answer(one) for one in others]))}
    if not whole:
        return occlusion(answer, image, blanks[0], read=read, known=known), answers
    change = integrated_gradients(lambda inputs: network(inputs)[:, 0], own, others, STEPS)
    answers["sum"] = float(change.sum())
    scale = -(-image.shape[0] // change.shape[-2])
    edge = scale * max(1, EDGE // scale) if max(image.shape) > 32 * EDGE else scale
    return gathered(change.sum(0), scale, edge, image.shape), answers


def _shares(parts: list[Part], spots: Spots, shape: tuple[int, ...]) -> dict[str, float]:
    return {"n": len(spots.place), **on_spots(parts, spots.place, shape)._asdict()}


def _compared(parts: list[Part], others: list[Part]) -> dict[str, float]:
    """Return the rank correlation of the sizes of changes in parts that both maps have."""
    one, other = ({part[:3]: abs(part.change) for part in some} for some in (parts, others))
    common = sorted(one.keys() & other.keys())
    # Spearman's is Pearson's of the ranks; those of scipy take half a second to import.
    a, b = (pd.Series([values[key] for key in common]).rank() for values in (one, other))
    varied = len(common) > 2 and a.nunique() > 1 and b.nunique() > 1
    return {"correlation": float(a.corr(b)) if varied else 0.0}


def truth_of(setup: Setup) -> Callable[[int], Spots | None]:
    """Return a function from a row to its frame's spots that count; None where none is known."""
    table = pq.read_table(setup.split, columns=["dataset", "index", "truth"]).to_pylist()
    files = {(line["dataset"], line["index"]): line["truth"] for line in table}
    frames = setup.frames

    def spots(row: int) -> Spots | None:
        dataset, index = str(frames.dataset[row]), int(frames.index[row])
        path = files[dataset, index]
        if not path:
            return None
        with open_overlay(str(frames.overlay[row])) as shard:
            least = float(shard.header.parameters.get("peaks", {}).get("min_photons", 5))
        empty = Spots(np.empty((0, 2)), np.empty(0))
        return read_spots(path, dataset).get(index, empty).at_least(least)

    return spots


def _stream(setup: Setup, row: int, draw: int) -> np.random.Generator:
    frames = setup.frames
    identity = str(frames.dataset[row]), int(frames.index[row])
    return stream(setup.task.seed, *identity, f"saliency {draw}")
