"""Evaluation of tasks of values: the model, baselines, and controls."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from spotmill.learning.controls import FAIL_LEVEL
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.frames import WaterFrames
from spotmill.learning.metrics import LEVEL
from spotmill.learning.models.profile_likelihood import Network
from spotmill.learning.regression import fit_values, predict_values
from spotmill.learning.setup import Setup
from spotmill.learning.value_limits import Floats, by_part, limits_of_both, result, rms, runs_of
from spotmill.learning.values import Quantity, values_of
from spotmill.physics.photons import stream
from spotmill.physics.profile_limits import NAMES, maximum_likelihood, posterior
from spotmill.splits import SIDES

WORST = 6


def evaluate(
    setup: Setup, network: Network, water: Path, source: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate a network that tells a value.

    Parameters
    ----------
    water
        Shard with the expected water for the control of equal expectation.
    source
        Names the task in messages.

    Returns
    -------
    evaluation
        What `evaluation.json` holds.
    predictions
        Columns of `predictions.parquet`.
    """
    task, frames = setup.task, setup.frames
    everything = values_of(frames)
    quantity = Quantity(task.target)
    column, test = quantity.column, frames.rows("test")
    encoded = EncodedFrames(setup.images, setup.encoder, frames.truth)
    profiles = {
        side: encoded.inputs(frames.rows(side)).numpy().astype(np.float64)
        for side in ("train", "test")
    }
    said = predict_values(network, encoded, test, task.batch_size)
    values, truth = everything[test], everything[test, column]
    draws = [
        stream(task.seed, str(frames.dataset[row]), int(frames.index[row]), "limit")
        for row in test.tolist()
    ]
    limits = limits_of_both(network, profiles["test"], values, draws)[column]
    model = (task.model, "model", "mean of the likelihood of the radial profile")
    results = [
        result(model, said[:, 0], said[:, 1], truth, limits, quantity.step, task.seed),
        *(
            result(method, answer, None, truth, limits, quantity.step, task.seed)
            for method, answer in baselines(
                network,
                profiles["train"],
                everything[frames.rows("train")],
                profiles["test"],
                column,
            )
        ),
    ]
    error = said[:, 0] - truth
    results[0]["per_part"] = by_part(error, values, limits)
    results[0]["per_dataset"] = {
        str(name): {
            "n": int((rows := frames.dataset[test] == name).sum()),
            "rmse": rms(error[rows]),
            "limit": rms(limits["limit"][rows]),
        }
        for name in np.unique(frames.dataset[test])
    }
    ranges = network.ranges.tolist()
    physics = network.family(corrected=False)
    evaluation = {
        "kind": "values",
        "target": task.target,
        "model": task.model,
        "unit": quantity.unit,
        "step": quantity.step,
        "range": {name: list(ends) for name, ends in zip(NAMES, ranges, strict=True)},
        "n": {side: len(frames.rows(side)) for side in SIDES},
        "results": results,
        "bounds": {name: rms(limit) for name, limit in limits.items()},
        "runs": runs_of(physics, physics, network, values, quantity, task.seed),
        "controls": controls(setup, network, encoded, water, source),
        "worst": worst(setup, said, truth),
        "notes": list(task.notes),
    }
    predictions = {
        "dataset": frames.dataset[test],
        "index": frames.index[test],
        "truth": truth,
        "said": said[:, 0],
        "sigma": said[:, 1],
    }
    return evaluation, predictions


def baselines(
    network: Network, train: Floats, values: Floats, test: Floats, column: int
) -> list[tuple[tuple[str, str, str], Floats]]:
    """Return the baselines with their answers to test profiles [n, 2, bin]."""
    family, law = network.family(corrected=False), network.law()
    start = posterior(family, test[:, 0], test[:, 1], law, network.where())[0]
    likeliest = maximum_likelihood(family, test[:, 0], test[:, 1], law, start)
    shapes = [profiles[:, 0] / np.maximum(profiles[:, 1], 1) for profiles in (train, test)]
    known, asked = (shape / shape.sum(1, keepdims=True) for shape in shapes)
    nearest = ((asked[:, None] - known[None]) ** 2).sum(2).argmin(1)
    middle = np.full(len(test), values[:, column].mean())
    return [
        (
            (
                "maximum_likelihood",
                "baseline",
                "largest Poisson likelihood of the physics' profile, within the range",
            ),
            likeliest[:, column],
        ),
        (
            (
                "nearest_profile",
                "baseline",
                "value of the training frame with the nearest profile (scaled to one photon)",
            ),
            values[nearest, column],
        ),
        (("mean_value", "baseline", "the mean of the training frames, whatever the frame"), middle),
    ]


def worst(setup: Setup, said: Floats, truth: Floats) -> list[dict[str, Any]]:
    """Return the answers that are off by the most of their own deviations."""
    frames, test = setup.frames, setup.frames.rows("test")
    off = abs(said[:, 0] - truth) / said[:, 1]
    return [
        {
            "dataset": str(frames.dataset[test[row]]),
            "index": int(frames.index[test[row]]),
            "truth": float(truth[row]),
            "said": float(said[row, 0]),
            "sigma": float(said[row, 1]),
        }
        for row in np.argsort(-off, kind="stable")[:WORST].tolist()
    ]


def controls(
    setup: Setup, network: Network, encoded: EncodedFrames, water: Path, source: str
) -> list[dict[str, Any]]:
    """Train again where there is nothing to learn: what is said must not follow the truth."""
    task, frames = setup.task, setup.frames
    column, family = Quantity(task.target).column, network.family(corrected=False)
    limit = min(1.0, (task.controls.frames or len(frames)) / len(frames))
    epochs = min(task.epochs, task.controls.epochs or task.epochs)
    shorter = task.model_copy(update={"epochs": epochs})

    def run(
        name: str,
        what: str,
        data: EncodedFrames,
        rows: dict[str, NDArray[np.int64]],
        values: Floats,
    ) -> dict[str, Any]:
        trained = fit_values(
            shorter,
            data,
            (rows["train"], rows["validation"]),
            values,
            column,
            family,
            setup.dimensions,
            f"{source}: control {name}",
        )
        said = predict_values(trained.network, data, rows["test"], task.batch_size)[:, 0]
        return {"name": name, "what": what, "n_train": len(rows["train"]), "epochs": epochs} | (
            related(said, values[rows["test"], column])
        )

    rng = np.random.default_rng([task.seed, 1])
    values, rows = values_of(frames).copy(), {}
    for side in SIDES:
        own = frames.rows(side)
        rows[side] = np.sort(rng.permutation(own)[: max(4, round(limit * len(own)))])
        values[rows[side]] = values[rng.permutation(rows[side])]
    shuffled = run(
        "shuffled_labels",
        "the same frames under permuted values: off chance, test values leak into training",
        encoded,
        rows,
        values,
    )
    counts = {side: len(rows[side]) for side in SIDES}
    starts = dict(zip(SIDES, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    rows = {side: np.arange(starts[side], starts[side] + counts[side]) for side in SIDES}
    total = sum(counts.values())
    ranges = network.ranges.numpy()
    values = np.random.default_rng([task.seed, 2]).uniform(ranges[:, 0], ranges[:, 1], (total, 2))
    drawn = EncodedFrames(
        WaterFrames(water, total, task.seed), setup.encoder, np.zeros(total, dtype=np.int64)
    )
    equal = run(
        "equal_expectation",
        "fresh photons of one expected water image under random values: off chance, "
        "noise is learnt by heart",
        drawn,
        rows,
        values,
    )
    return [shuffled, equal]


def related(said: Floats, truth: Floats) -> dict[str, Any]:
    """Return the correlation of answers with the truth, and whether 0 lies in its interval."""
    n = len(said)
    if n < 4 or said.std() <= 1e-12 * max(abs(said.mean()), 1e-300):
        return {"n": n, "correlation": 0.0, "interval": [-1.0, 1.0], "at_chance": True}
    found = pearsonr(said, truth)
    wide = found.confidence_interval(FAIL_LEVEL)
    own = found.confidence_interval(LEVEL)
    return {
        "n": n,
        "correlation": float(found.statistic),
        "interval": [float(own.low), float(own.high)],
        "at_chance": bool(wide.low <= 0 <= wide.high),
    }


def complaint(evaluation: dict[str, Any]) -> str | None:
    """Return one sentence on the first control that is clearly off chance, or None."""
    for control in evaluation["controls"]:
        if not control["at_chance"]:
            return (
                f"control {control['name']}: what is said follows what is drawn at random "
                f"(correlation {control['correlation']:.2f}, {control['n']} frames); "
                f"{control['what'].partition(': ')[2]}"
            )
    return None
