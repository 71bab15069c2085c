"""Errors of told values beside what counting statistics allow.

Two limits are stated. The **Cramér-Rao bound** is the least deviation of an unbiased
estimate; far from the detector energy and length are told apart so badly that it exceeds the
range of the experiment itself. The **limit** is the least error of any estimate, biased or
not, that knows the range: the deviation of the posterior of photons drawn from the physics
at each test frame's conditions, photon energy and camera length alike anywhere in the range.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from spotmill.learning.metrics import LEVEL, share
from spotmill.learning.models.profile_likelihood import Network
from spotmill.learning.values import Quantity
from spotmill.physics.profile_family import ProfileFamily
from spotmill.physics.profile_limits import (
    NAMES,
    Brightness,
    cramer_rao,
    fisher_information,
    maximum_likelihood,
    posterior,
)

RESAMPLES = 1000
PARTS = 4
RUN = 100
RUNS = 200
COVERED = (0.68, 0.95)

Floats = NDArray[np.float64]


def resampled(statistic: Any, columns: tuple[Floats, ...], seed: int) -> list[float]:
    """Return the 95 % interval of a statistic of rows, by drawing rows anew (bootstrap)."""
    rng = np.random.default_rng([seed, 3])
    n = len(columns[0])
    values = []
    for _ in range(RESAMPLES):
        rows = rng.integers(n, size=n)
        values.append(statistic(*(column[rows] for column in columns)))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def rms(values: Floats) -> float:
    """Return the root mean square."""
    return float(np.sqrt((values**2).mean()))


def ratio(error: Floats, limit: Floats) -> float:
    """Return the root mean square of errors over that of limits."""
    return rms(error) / max(rms(limit), 1e-300)


def result(
    method: tuple[str, str, str],
    said: Floats,
    sigma: Floats | None,
    truth: Floats,
    limits: dict[str, Floats],
    step: float,
    seed: int,
) -> dict[str, Any]:
    """Return what `evaluation.json` says of one method.

    Parameters
    ----------
    method
        Name; model or baseline; one sentence on it.
    limits
        `limit` and `cramer_rao` of each frame [n].
    step
        What an answer must be near to, 1 keV or 1 cm: half of it counts as right.
    """
    error = said - truth
    n = len(error)
    reach = norm.ppf((1 + LEVEL) / 2) * error.std(ddof=1) / np.sqrt(n)
    found: dict[str, Any] = {
        "name": method[0],
        "what": method[1],
        "explained": method[2],
        "n": n,
        "rmse": rms(error),
        "interval": resampled(rms, (error,), seed),
        "bias": float(error.mean()),
        "bias_interval": [float(error.mean() - reach), float(error.mean() + reach)],
        "nearest": share(int((abs(error) <= step / 2).sum()), n),
    }
    for name, limit in limits.items():
        found[f"over_{name}"] = {
            "value": ratio(error, limit),
            "interval": resampled(ratio, (error, limit), seed),
        }
    if sigma is not None:
        found["coverage"] = {
            f"{level:g}": share(int((abs(error) <= norm.ppf((1 + level) / 2) * sigma).sum()), n)
            for level in COVERED
        }
    return found


def by_part(
    error: Floats, values: Floats, limits: dict[str, Floats], parts: int = PARTS
) -> list[dict[str, Any]]:
    """Return errors and limits in equal parts of the range of photon energy and camera length."""
    found = []
    for column, name in enumerate(NAMES):
        own = values[:, column]
        edges = np.linspace(own.min(), own.max(), parts + 1)
        which = np.clip(np.searchsorted(edges, own, side="right") - 1, 0, parts - 1)
        for part in range(parts):
            rows = which == part
            if rows.any() and edges[-1] > edges[0]:
                found.append(
                    {
                        "of": name,
                        "low": float(edges[part]),
                        "high": float(edges[part + 1]),
                        "n": int(rows.sum()),
                        "rmse": rms(error[rows]),
                        "bias": float(error[rows].mean()),
                        **{key: rms(limit[rows]) for key, limit in limits.items()},
                    }
                )
    return found


def limits_of_both(
    network: Network, profiles: Floats, values: Floats, draws: list[np.random.Generator]
) -> list[dict[str, Floats]]:
    """Return limits and Cramér-Rao bounds [n] of photon energy and camera length of frames.

    From the physics alone: photons are drawn from it anew.

    Parameters
    ----------
    profiles, values
        [n, 2, bin]; [n, 2] true photon energy and camera length.
    draws
        One generator a frame.
    """
    family, law, where = network.family(corrected=False), network.law(), network.where()
    pixels = profiles[:, 1]
    rate = pixels * np.exp(family.log_rate(values[:, 0], values[:, 1]))
    level = np.log(np.maximum(profiles[:, 0].sum(1), 1) / rate.sum(1))
    information = fisher_information(family, np.column_stack([values, level]), pixels)
    bound = cramer_rao(information, law)
    mean = rate * np.exp(level)[:, None]
    photons = np.array([rng.poisson(m) for rng, m in zip(draws, mean, strict=True)], dtype=float)
    deviation = posterior(family, photons, pixels, law, where)[1]
    return [
        {"limit": deviation[:, column], "cramer_rao": bound[name]}
        for column, name in enumerate(NAMES)
    ]


def runs_of(
    drawn_from: ProfileFamily,
    family: ProfileFamily,
    network: Network,
    values: Floats,
    quantity: Quantity,
    seed: int,
    frames: int = RUN,
) -> dict[str, Any]:
    """Return how well runs of frames of one photon energy and camera length are told.

    The profiles of a run are added up: at one truth their sum holds all that they say, and its
    likelihood is closer to a normal law than theirs, which an average of answers would need.

    Parameters
    ----------
    drawn_from, family
        Whence the photons are drawn, and what the estimate takes the profile to be.
    values
        [n, 2] truths to make runs at.
    """
    law, pixels, column = network.law(), network.pixels.numpy(), quantity.column
    rng = np.random.default_rng([seed, 4])
    chosen = values[rng.permutation(len(values))[:RUNS]]
    level = rng.normal(law.mean, law.spread, (len(chosen), frames))
    rate = pixels * np.exp(drawn_from.log_rate(chosen[:, 0], chosen[:, 1]))
    photons = rng.poisson(rate * np.exp(level).sum(1)[:, None]).astype(np.float64)
    said, bound = of_runs(family, law, photons, np.tile(pixels, (len(chosen), 1)), frames, network)
    error = said[:, column] - chosen[:, column]
    half = quantity.step / 2
    return {
        "frames": frames,
        "source": "photons drawn from the physics at the test frames' conditions",
        "n": len(chosen),
        "rmse": rms(error),
        "nearest": share(int((abs(error) <= half).sum()), len(error)),
        "nearest_at_bound": float((2 * norm.cdf(half / bound[:, column]) - 1).mean()),
    }


def of_runs(
    family: ProfileFamily,
    law: Brightness,
    photons: Floats,
    pixels: Floats,
    frames: int,
    network: Network,
) -> tuple[Floats, Floats]:
    """Return values and Cramér-Rao bounds [n, 2] of summed profiles [n, bin]."""
    # log of the mean of a log-normal brightness.
    mean = Brightness(law.mean + law.spread**2 / 2, law.spread).of_mean(frames)
    many = pixels * frames
    start = posterior(family, photons, many, mean, network.where())[0]
    said = maximum_likelihood(family, photons, many, mean, start)
    bound = cramer_rao(fisher_information(family, said, many), mean)
    return said[:, :2], np.column_stack([bound[name] for name in NAMES])
