r"""Photon energy and camera length beside what counting statistics allow, on profiles in memory.

    python benchmarks/energy_and_length.py [--test 2000] [--train 700] [--only values]

Profiles of water are drawn from the expected image of the Eiger 4M at photon energies of 5500
to 8500 eV, camera lengths of 0.12 to 0.38 m, flux +-20 % and thickness of water +-20 %; the
expected image is evaluated for every frame, not by the family that the model starts from.
No crystal: what Bragg photons do to it is measured on frames (docs/energy-and-length.md).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from measuring import CONFIG
from numpy.typing import NDArray
from scipy.stats import norm

from spotmill.concepts import Beam, Response, Solvent
from spotmill.formats.geom import read_geometry
from spotmill.learning.encoders import EncodedFrames, View
from spotmill.learning.metrics import share, wilson
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.models.profile_likelihood import Network
from spotmill.learning.profiles import radial_bins
from spotmill.learning.regression import fit_values, predict_values
from spotmill.learning.training import fit, predict
from spotmill.learning.value_limits import by_part, limits_of_both, of_runs, result, rms
from spotmill.learning.values import Quantity
from spotmill.physics.coarse import CoarseGrid
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.expected import expected_image
from spotmill.physics.profile_family import profile_family
from spotmill.physics.profile_limits import (
    NAMES,
    Brightness,
    cramer_rao,
    fisher_information,
    maximum_likelihood,
    posterior,
)
from spotmill.report import style
from spotmill.report.figures_values import plain_log
from spotmill.tasks import Task

BINS, ENERGIES, CLENS = 96, (5500.0, 8500.0), (0.12, 0.38)
RUNS, FRAMES = 300, 100
Floats = NDArray[np.float64]


class Experiment:
    """The shipped detector, beam and water, and the profiles that they give."""

    def __init__(self, seed: int) -> None:
        self.detector = read_geometry(CONFIG / "detectors/eiger4m.geom").detector(
            clen=0.25, photon_energy=7000.0
        )
        self.parts = (
            Response.read(CONFIG / "detectors/eiger4m.yaml"),
            Beam.read(CONFIG / "beams/cxls.yaml"),
            Solvent.read(CONFIG / "solvents/water_sheet.yaml"),
        )
        bins = radial_bins(View(self.detector).radius, BINS)
        self.bin_of_pixel = np.where(self.detector.mask, bins, -1)
        live = self.bin_of_pixel[self.bin_of_pixel >= 0]
        self.pixels = np.bincount(live, minlength=BINS).astype(np.float64)
        self._grid = CoarseGrid(self.detector)
        weight = self.detector.mask.astype(np.float64)
        self._sums = self._grid.bin_matrix(self.bin_of_pixel, weight, BINS)
        self.rng = np.random.default_rng(seed)

    def expected(self, energy: float, clen: float) -> Floats:
        response, beam, solvent = self.parts
        at = Conditions(energy, clen, 0, 0, 0, 0, 1, 1, 1)
        image = expected_image(moved(self._grid.nodes, at), response, energy, beam, solvent)
        return np.asarray(self._sums @ (image / self._grid.area).ravel())

    def jitter(self, shape: Any) -> Floats:
        return self.rng.uniform(0.8, 1.2, shape) * self.rng.uniform(0.8, 1.2, shape)

    def draw(self, values: Floats, frames: int = 1) -> Floats:
        """Return photons and live pixels [n, 2, bin], of sums of so many frames."""
        factor = self.jitter((len(values), frames)).sum(1)
        mean = np.array([self.expected(*pair) for pair in values.tolist()]) * factor[:, None]
        photons = self.rng.poisson(mean).astype(np.float64)
        return np.stack([photons, np.broadcast_to(self.pixels, photons.shape)], axis=1)

    def anywhere(self, n: int) -> Floats:
        return np.column_stack([self.rng.uniform(*ENERGIES, n), self.rng.uniform(*CLENS, n)])


class Kept(EncodedFrames):
    """Profiles that need no file."""

    def __init__(self, profiles: Floats, truth: NDArray[np.int64]) -> None:
        self._profiles = torch.from_numpy(profiles.astype(np.float32))
        self._truth = truth
        self._stream = None

    def inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return self._profiles[rows]

    def relabel(self, truth: NDArray[Any]) -> "Kept":
        other = Kept.__new__(Kept)
        other._profiles, other._truth, other._stream = self._profiles, truth, None
        return other

    def expect(self, rows: Any) -> None:
        pass

    def __len__(self) -> int:
        return len(self._truth)

    def __getitems__(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self._profiles[numbers], torch.from_numpy(self._truth[numbers])


def values(experiment: Experiment, args: argparse.Namespace) -> dict[str, Any]:
    counts = (args.train, args.train // 7, args.test)
    truth = experiment.anywhere(sum(counts))
    profiles = experiment.draw(truth)
    data = Kept(profiles, np.zeros(len(truth), dtype=np.int64))
    train, validation, test = np.split(np.arange(len(truth)), np.cumsum(counts)[:-1])
    fam = profile_family(
        experiment.detector, *experiment.parts, experiment.bin_of_pixel, BINS, ENERGIES, CLENS
    )
    found: dict[str, Any] = {}
    shared: tuple[Any, Any] | None = None
    run_truth = experiment.anywhere(RUNS)
    run_profiles = experiment.draw(run_truth, FRAMES)
    for target in ("photon_energy", "camera_length"):
        quantity = Quantity(target)
        task = Task(
            target=target,
            scale="values",
            model="profile_likelihood",
            epochs=args.epochs,
            learning_rate=0.05,
            batch_size=32,
        )
        trained = fit_values(
            task,
            data,
            (train, validation),
            truth,
            quantity.column,
            fam,
            Dimensions((2, BINS), 2, 1),
            "benchmark",
        )
        network = trained.network
        assert isinstance(network, Network)
        said = predict_values(network, data, test, 32)
        own, column = truth[test], quantity.column
        draws = [np.random.default_rng([2, row]) for row in test.tolist()]
        physics, law = network.family(corrected=False), network.law()
        if shared is None:
            shared = (
                limits_of_both(network, profiles[test], own, draws),
                posterior(physics, profiles[test, 0], profiles[test, 1], law, network.where())[0],
            )
        limits, start = shared[0][column], shared[1]
        ours = result(
            (task.model, "model", ""),
            said[:, 0],
            said[:, 1],
            own[:, column],
            limits,
            quantity.step,
            1,
        )
        likeliest = maximum_likelihood(physics, profiles[test, 0], profiles[test, 1], law, start)
        answer = of_runs(
            network.family(), law, run_profiles[:, 0], run_profiles[:, 1], FRAMES, network
        )
        error = answer[0][:, column] - run_truth[:, column]
        right = abs(error) <= quantity.step / 2
        near = run_truth[:, 1] < 0.25
        at_bound = 2 * norm.cdf(quantity.step / 2 / answer[1][:, column]) - 1
        other = (NAMES[1 - column],)
        begin = np.where(np.arange(2) == column, start, own)
        alone = maximum_likelihood(physics, profiles[test, 0], profiles[test, 1], law, begin, other)
        information = fisher_information(
            physics, np.column_stack([own, alone[:, 2]]), profiles[test, 1]
        )
        alone_bound = {"cramer_rao": cramer_rao(information, law, other)[NAMES[column]]}
        run_begin = np.where(np.arange(2) == column, answer[0], run_truth)
        many = Brightness(law.mean + law.spread**2 / 2, law.spread).of_mean(FRAMES)
        run_alone = maximum_likelihood(
            physics, run_profiles[:, 0], run_profiles[:, 1] * FRAMES, many, run_begin, other
        )
        run_right = abs(run_alone[:, column] - run_truth[:, column]) <= quantity.step / 2
        found[target] = {
            "model": ours,
            "per_part": by_part(said[:, 0] - own[:, column], own, limits),
            "maximum_likelihood": result(
                ("maximum_likelihood", "baseline", ""),
                likeliest[:, column],
                None,
                own[:, column],
                limits,
                quantity.step,
                1,
            ),
            "runs": {
                "frames": FRAMES,
                "rmse": rms(error),
                "nearest": share(int(right.sum()), RUNS),
                "nearest_at_bound": float(at_bound.mean()),
                "nearest_with_the_other_known": share(int(run_right.sum()), RUNS),
                "nearest_below_0.25_m": share(int(right[near].sum()), int(near.sum())),
            },
            "other_known": result(
                ("maximum_likelihood", "baseline", ""),
                alone[:, column],
                None,
                own[:, column],
                alone_bound,
                quantity.step,
                1,
            ),
            "history": trained.history[-1],
        }
    return found


def classes(experiment: Experiment, args: argparse.Namespace) -> dict[str, Any]:
    """Return the accuracy of radial_profile on jittered frames of the nine settings."""
    grid = np.array([(e, m) for e in (6000.0, 7000.0, 8000.0) for m in (0.15, 0.25, 0.35)])
    each = -(-(args.train + args.train // 7 + args.test) // len(grid))
    condition = np.repeat(np.arange(len(grid)), each)
    profiles = np.concatenate(
        [
            np.stack(
                [
                    experiment.rng.poisson(
                        experiment.expected(*pair) * experiment.jitter((each, 1))
                    ).astype(np.float64),
                    np.broadcast_to(experiment.pixels, (each, BINS)),
                ],
                axis=1,
            )
            for pair in grid.tolist()
        ]
    )
    order = experiment.rng.permutation(len(condition))
    profiles, condition = profiles[order], condition[order]
    rows = np.split(np.arange(len(condition)), np.cumsum([args.train, args.train // 7]))
    bound = class_bound(experiment, grid, profiles[rows[2]])
    found = {}
    for column, target in enumerate(("photon_energy", "camera_length")):
        truth = np.unique(grid[:, column], return_inverse=True)[1][condition].astype(np.int64)
        task = Task(
            target=target,
            model="radial_profile",
            epochs=60,
            learning_rate=0.03,
            batch_size=32,
            early_stopping={"patience": 15},
        )
        data = Kept(profiles, truth)
        trained = fit(
            task, data, (rows[0], rows[1]), truth, condition, Dimensions((2, BINS), 3, 9), "classes"
        )
        said = predict(trained.network, data, rows[2], 32).argmax(1)
        right = int((said == truth[rows[2]]).sum())
        of_class = np.unique(grid[:, column], return_inverse=True)[1]
        shares = np.stack([bound[:, of_class == k].sum(1) for k in range(3)], axis=1)
        best = int((shares.argmax(1) == truth[rows[2]]).sum())
        n = len(rows[2])
        found[target] = {
            "n": n,
            "accuracy": right / n,
            "interval": wilson(right, n),
            "bound": best / n,
            "bound_interval": wilson(best, n),
        }
    return found


def class_bound(experiment: Experiment, grid: Floats, profiles: Floats) -> Floats:
    """Return the probabilities [n, setting] under the law of the photons and of the jitter."""
    level = np.random.default_rng(5)
    sample = level.uniform(0.8, 1.2, 20000) * level.uniform(0.8, 1.2, 20000)
    middle = np.quantile(sample, (np.arange(200) + 0.5) / 200)
    expected = np.array([experiment.expected(*pair) for pair in grid.tolist()])
    photons = profiles[:, 0]
    shape = photons @ np.log(np.maximum(expected, 1e-300)).T
    total, sums = photons.sum(1), expected.sum(1)
    value = total[:, None, None] * np.log(middle) - sums[None, :, None] * middle + shape[:, :, None]
    peak = value.max((1, 2), keepdims=True)
    likelihood = np.exp(value - peak).mean(2)
    return np.asarray(likelihood / likelihood.sum(1, keepdims=True))


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw errors beside their limits, by camera length, for single frames."""
    with style.styled():
        figure = style.new_figure(9.2, 3.6)
        panels = figure.subplots(1, 2)
        for axes, (target, scale, unit) in zip(
            panels, (("photon_energy", 1.0, "eV"), ("camera_length", 1e3, "mm")), strict=True
        ):
            of_target = found["values"][target]
            parts = [part for part in of_target["per_part"] if part["of"] == "clen"]
            middle = [(part["low"] + part["high"]) / 2 for part in parts]
            for key, label, colour, marker in (
                ("rmse", "model", style.BLUE, "o"),
                ("limit", "limit of any estimate", style.VERMILION, "_"),
                ("cramer_rao", "Cramér-Rao bound", style.GREY, "x"),
            ):
                values = [scale * part[key] for part in parts]
                axes.plot(middle, values, color=colour, marker=marker, linewidth=1, label=label)
            plain_log(axes)
            axes.set_xlabel("camera length, m")
            axes.set_ylabel(f"root mean square error, {unit}")
            axes.set_title(f"{target.replace('_', ' ')}, n {of_target['model']['n']}")
        panels[0].legend()
        path.write_bytes(style.to_png(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--train", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("values", "classes"))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--figure", type=Path, help="draw this")
    parser.add_argument("--found", type=Path, help="with --figure: draw an earlier --output")
    args = parser.parse_args()
    if args.found:
        draw(json.loads(args.found.read_text()), args.figure)
        return
    torch.set_num_threads(1)
    experiment = Experiment(args.seed)
    found: dict[str, Any] = {"machine": measuring.machine()}
    if args.only != "values":
        found["classes"] = classes(experiment, args)
    if args.only != "classes":
        found["values"] = values(experiment, args)
    text = json.dumps(found, indent=1)
    if args.output:
        args.output.write_text(text + "\n")
    print(text)
    if args.figure:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
