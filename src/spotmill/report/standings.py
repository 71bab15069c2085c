"""All tasks of every kind in one table: ours, bound, baseline, the paper, controls, verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from spotmill.report.evaluations import Control, Result, Task
from spotmill.report.flux import AtFlux, FluxEvaluation, FluxTask, judge_flux
from spotmill.report.inputs import Inputs
from spotmill.report.peaks import PeakEvaluation, PeakTask, judge_peaks
from spotmill.report.stored import Interval
from spotmill.report.values import ValueEvaluation, ValueTask, judge_values
from spotmill.report.verdict import (
    PAPER,
    TITLES,
    Verdict,
    best_baseline,
    claim,
    judge,
    percent,
)
from spotmill.report.words import number

# Everett & Kurth (2024): the best that the paper reports of a question, by (kind, target).
PAPER_BEST = {
    ("classes", "hit"): PAPER["hit", "binary_cnn"],
    ("classes", "photon_energy"): PAPER["photon_energy", "linear"],
    ("classes", "camera_length"): PAPER["camera_length", "linear"],
    ("flux", "hit"): "one class wholly right, of the other 25 %; the noise-free image was an input",
    ("peaks", "peaks"): "no peak is ever found",
    ("values", "photon_energy"): "named as a wish: to the nearest keV",
    ("values", "camera_length"): "named as a wish: to the nearest cm",
}
# Of several fluxes the one is told at which the blind bound comes nearest to this: not easy, not
# hopeless.
TELLING_AUROC = 0.9
NOT_COMPUTED = "not computed"
RING_LIKELIHOOD = "poisson_likelihood"


@dataclass(frozen=True)
class Told:
    """A number in words, with what it rests on in smaller print."""

    value: str
    basis: str = ""


@dataclass(frozen=True)
class Checked:
    """A control, and whether it came out as it must."""

    name: str
    good: bool
    what: str
    words: str


@dataclass(frozen=True)
class Standing:
    """One task in the table of all."""

    task: str
    model: str
    title: str
    measure: str
    ours: Told
    bound: Told
    baseline: Told
    paper: str
    controls: tuple[Checked, ...]
    verdict: Verdict
    of_paper: bool = False


def standings(inputs: Inputs) -> list[Standing]:
    """Return a row for every task: hits, hits at low flux, peaks, values, other classes."""
    classes = sorted(inputs.tasks, key=lambda task: task.evaluation.target != "hit")
    hits = [_of_classes(task) for task in classes if task.evaluation.target == "hit"]
    others = [_of_classes(task) for task in classes if task.evaluation.target != "hit"]
    return [
        *hits,
        *(_of_flux(task) for task in inputs.flux),
        *(_of_peaks(task) for task in inputs.peaks),
        *others,
        *(_of_values(task) for task in inputs.values),
    ]


def in_one_breath(rows: Sequence[Standing]) -> str:
    """Say in one sentence what holds and what does not."""
    if not rows:
        return "No task was trained: the configuration names none."
    failed = [row for row in rows if not row.verdict.good]
    if not failed:
        return f"{_all(len(rows))} {'hold' if len(rows) > 1 else 'holds'}."
    sound = [row for row in failed if all(control.good for control in row.controls)]
    names = ", ".join(row.task for row in failed)
    words = f"{len(rows) - len(failed)} of {len(rows)} trained models hold; not {names}"
    if failed and len(sound) == len(failed) and all(row.controls for row in failed):
        whose = ", the paper's models" if all(row.of_paper for row in failed) else ""
        return (
            f"{words}{whose}: on frames that they never saw they are too poor; their controls are "
            "at chance, so that nothing leaked."
        )
    dishonest = ", ".join(row.task for row in failed if row not in sound)
    return f"{words}; a control is off chance in {dishonest}." if dishonest else f"{words}."


def _all(count: int) -> str:
    return f"All {count} trained models" if count > 1 else "The one trained model"


def table(rows: Sequence[Standing]) -> pd.DataFrame:
    """Return the same as a table of texts."""
    columns = ["task", "model", "question", "measure", "ours", "ours_basis", "bound",
               "baseline", "baseline_basis", "paper", "controls", "holds", "reasons"]  # fmt: skip
    return pd.DataFrame(
        [
            [row.task, row.model, row.title, row.measure, row.ours.value, row.ours.basis,
             row.bound.value, row.baseline.value, row.baseline.basis, row.paper,
             "; ".join(f"{one.name}: {one.words}" for one in row.controls),
             row.verdict.good, "; ".join(row.verdict.reasons)]
            for row in rows
        ],
        columns=columns,
    )  # fmt: skip


def _span(interval: Interval | None, scale: float = 1.0) -> str:
    if interval is None:
        return ""
    return f"{number(scale * interval[0])} to {number(scale * interval[1])}"


def _of_classes(task: Task) -> Standing:
    evaluation = task.evaluation
    best = best_baseline(task)
    # The likelihood of a frame's rings, given those of the training frames of each class.
    rings = next((one for one in evaluation.results[1:] if one.name == RING_LIKELIHOOD), None)

    def told(result: Result, name: str = "") -> Told:
        low, high = (100 * end for end in result.interval)
        basis = f"{low:.1f} to {high:.1f}\u00a0%, {result.correct} of {result.n}"
        return Told(percent(result.accuracy), f"{name}: {basis}" if name else basis)

    return Standing(
        task.name,
        evaluation.model,
        TITLES.get(evaluation.target, evaluation.target.replace("_", " ").capitalize()),
        "test frames answered rightly",
        told(evaluation.ours),
        told(rings, f"best that rings allow, {rings.name}")
        if rings
        else Told("–", NOT_COMPUTED),
        told(best, best.name) if best else Told("–"),
        claim(task) or PAPER_BEST.get(("classes", evaluation.target), ""),
        _counted(evaluation.controls),
        judge(task),
        bool(claim(task)),
    )  # fmt: skip


def _counted(controls: Sequence[Control]) -> tuple[Checked, ...]:
    """Return controls that count right answers."""
    return tuple(
        Checked(
            one.name,
            one.at_chance,
            one.what,
            f"{percent(one.accuracy)} of {one.n}, chance {percent(one.chance)}",
        )
        for one in controls
    )


def telling_place(evaluation: FluxEvaluation) -> int:
    """Return the place of the flux that the table tells: where the blind bound is nearest 0.9."""
    blind = next((bound for bound in evaluation.bounds if bound.name == "blind"), None)
    places = range(len(evaluation.flux))
    if blind is None:
        return len(evaluation.flux) // 2

    def distance(place: int) -> float:
        auroc = blind.flux[place].auroc
        return abs(auroc - TELLING_AUROC) if auroc is not None else 1.0

    return min(places, key=distance)


def _of_flux(task: FluxTask) -> Standing:
    evaluation = task.evaluation
    place = telling_place(evaluation)

    def auroc(point: AtFlux) -> str:
        return "–" if point.auroc is None else f"{point.auroc:.3f}"

    def basis(point: AtFlux) -> str:
        counts = f"{point.n_hit} hits, {point.n_no_hit} others"
        if point.interval is None:
            return counts
        return f"{point.interval[0]:.3f} to {point.interval[1]:.3f}, {counts}"

    ours = evaluation.ours.flux[place]
    others = evaluation.results[1:]
    best = max(others, key=lambda one: one.flux[place].auroc or 0.0, default=None)
    bounds = [f"{bound.name} {auroc(bound.flux[place])}" for bound in evaluation.bounds]
    spans = [
        f"{bound.name} {point.interval[0]:.3f} to {point.interval[1]:.3f}"
        for bound in evaluation.bounds
        if (point := bound.flux[place]).interval
    ]
    return Standing(
        task.name,
        evaluation.model,
        "Hits at low flux",
        f"AUROC at {evaluation.flux[place]:g} of the full flux",
        Told(auroc(ours), basis(ours)),
        Told(", ".join(bounds), ", ".join(spans)) if bounds else Told("–", NOT_COMPUTED),
        Told(auroc(best.flux[place]), f"{best.name}: {basis(best.flux[place])}")
        if best
        else Told("–"),
        PAPER_BEST.get(("flux", evaluation.target), ""),
        _counted(evaluation.controls),
        judge_flux(evaluation),
    )  # fmt: skip


def _of_peaks(task: PeakTask) -> Standing:
    evaluation: PeakEvaluation = task.evaluation
    best = max(evaluation.results[1:], key=lambda result: result.f1 or 0.0, default=None)

    def f1(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    def basis(interval: Interval | None, frames: int) -> str:
        ends = f"{interval[0]:.4f} to {interval[1]:.4f}, " if interval else ""
        return f"{ends}{frames} frames"

    ours = evaluation.ours
    return Standing(
        task.name,
        evaluation.model,
        "Locating peaks",
        "F1 of found peaks",
        Told(f1(ours.f1), basis(ours.f1_interval, ours.n)),
        Told(f1(evaluation.bound), f"{evaluation.bounds[0].name.replace('_', ' ')}, an estimate")
        if evaluation.bounds
        else Told("–", NOT_COMPUTED),
        Told(f1(best.f1), f"{best.name}: {basis(best.f1_interval, best.n)}")
        if best
        else Told("–"),
        PAPER_BEST.get(("peaks", evaluation.target), ""),
        tuple(
            Checked(one.name, one.at_chance, one.what,
                    f"{one.matched} of {one.true} spots met" if one.true
                    else f"{one.found} peaks in {one.n} frames")
            for one in evaluation.controls
        ),
        judge_peaks(evaluation),
    )  # fmt: skip


def _of_values(task: ValueTask) -> Standing:
    evaluation: ValueEvaluation = task.evaluation
    factor, unit = {"m": (1e3, "mm")}.get(evaluation.unit, (1.0, evaluation.unit))
    ours = evaluation.ours
    best = min(evaluation.results[1:], key=lambda result: result.rmse, default=None)
    bounds = [
        f"{name.replace('_', ' ')} {number(factor * value)} {unit}"
        for name, value in evaluation.bounds.items()
    ]
    return Standing(
        task.name,
        evaluation.model,
        f"{TITLES.get(evaluation.target, evaluation.target)} as a value",
        f"root mean square error, {unit} (less is better)",
        Told(f"{number(factor * ours.rmse)} {unit}",
             f"{_span(ours.interval, factor)}, {ours.n} frames"),
        Told(", ".join(bounds)) if bounds else Told("–", NOT_COMPUTED),
        Told(f"{number(factor * best.rmse)} {unit}",
             f"{best.name}: {_span(best.interval, factor)}")
        if best
        else Told("–"),
        PAPER_BEST.get(("values", evaluation.target), ""),
        tuple(
            Checked(one.name, one.at_chance, one.what,
                    f"correlation {one.correlation:.2f} on {one.n}")
            for one in evaluation.controls
        ),
        judge_values(evaluation),
    )  # fmt: skip
