"""Verdicts, and the table of all tasks, against evaluations made by hand."""

from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from report_production import evaluation, low_flux, make_task, quality, result

from spotmill.report.figures_data import judge_water
from spotmill.report.flux import FluxEvaluation, FluxTask
from spotmill.report.inputs import Inputs
from spotmill.report.peaks import PeakEvaluation, PeakTask
from spotmill.report.standings import Standing, in_one_breath, standings, table, telling_place
from spotmill.report.values import ValueEvaluation, ValueTask
from spotmill.report.verdict import Verdict, group_tasks, judge


def test_verdict_holds_when_controls_are_at_chance() -> None:
    verdict = judge(make_task())
    assert verdict.good
    assert "controls at chance" in verdict.reasons
    assert any("level with" in reason for reason in verdict.reasons)


def control_off_chance() -> list[dict]:
    return [evaluation()["controls"][0] | {"accuracy": 0.9, "at_chance": False}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"controls": []}, "no control was run"),
        (
            {"controls": control_off_chance()},
            "“shuffled_labels” scores 90.0\u00a0%",
        ),
        ({"results": [result("m", [[30, 20], [20, 30]], [0.5, 0.7])]}, "no better than always"),
        (
            {"results": [result("m", [[45, 5], [5, 45]], [0.8, 0.9], **quality(stretch=6.0))]},
            "probabilities are off by",
        ),
        (
            {
                "results": [
                    result("m", [[40, 10], [10, 40]], [0.71, 0.87]),
                    result("b", [[50, 0], [0, 50]], [0.96, 1.0]),
                ]
            },
            "below the classical baseline “b” (100.0\u00a0%)",
        ),
    ],
)
def test_verdict_falls_for_each_reason(changes: dict, reason: str) -> None:
    verdict = judge(make_task(**changes))
    assert not verdict.good
    assert len(verdict.reasons) == 1 and reason in verdict.reasons[0]


def test_groups_put_ours_first_and_baselines_once() -> None:
    (group,) = group_tasks([make_task(task="paper", model="binary_cnn"), make_task()])
    roles = [row.role for row in group.rows]
    assert roles == ["model", "paper", "baseline", "control", "control"]
    assert "97.5 %" in group.rows[1].paper
    assert "patch_counter is right on 98 of 100" in group.summary


def share(value: float) -> dict:
    return {"value": value, "n": 20, "interval": [value - 0.1, value + 0.1]}


def flux_task(ours: float = 0.9) -> FluxTask:
    """A task at three fluxes, whose blind bound is 1, 0.9 and 0.5."""
    counts = {"n_hit": 40, "n_no_hit": 60, "per_dataset": {}}

    def at(name: str, values: list[float]) -> dict:
        points = [
            counts | {"flux": flux, "auroc": value, "interval": [value - 0.02, value + 0.02]}
            for flux, value in zip((1.0, 0.1, 0.01), values, strict=True)
        ]
        return {"name": name, "flux": points}

    told = low_flux() | {
        "flux": [1.0, 0.1, 0.01],
        "results": [at("photon_statistics", [1.0, ours, 0.5]), at("total", [0.9, 0.7, 0.5])],
        "bounds": [at("blind", [1.0, 0.91, 0.5]), at("oracle", [1.0, 1.0, 0.9])],
    }
    return FluxTask(FluxEvaluation.parse(told, "test"), {}, pd.DataFrame())


def peak_task(f1: float = 0.97) -> PeakTask:
    def scored(name: str, f1: float) -> dict:
        ends = [f1 - 0.01, f1 + 0.01]
        scores = {"n": 12, "true": 100, "found": 100, "matched": 97}
        for key in ("precision", "recall", "f1"):
            scores |= {key: f1, f"{key}_interval": ends}
        place = {"n": 97, "median": 0.2, "within_0.3": 0.8}
        more = {"name": name, "what": "", "per_dataset": {}, "per_photons": [], "curve": []}
        return scores | more | {"localisation": place}

    control = {"name": "shuffled_truth", "what": "", "n": 12, "matched": 0, "found": 90,
               "true": 100, "chance": 0.0, "at_chance": True}  # fmt: skip
    told = {
        "kind": "peaks", "task": "peaks", "target": "peaks", "model": "peak_net",
        "min_photons": 5, "radius": 2, "n": {"test": 12}, "notes": [], "example": None,
        "results": [scored("peak_net", f1), scored("radial_background", 0.95)],
        "bounds": [{"name": "matched_likelihood", "explained": "", "f1": 0.98, "per_dataset": {}}],
        "controls": [control],
    }  # fmt: skip
    return PeakTask(PeakEvaluation.parse(told, "test"), {}, pd.DataFrame())


def value_task(correlation: float = 0.02) -> ValueTask:
    def scored(name: str, rmse: float) -> dict:
        ratio = {"value": 1.0, "interval": [0.9, 1.1]}
        return {
            "name": name, "what": "", "n": 50, "rmse": rmse, "interval": [0.9 * rmse, 1.1 * rmse],
            "bias": 0.0, "bias_interval": [-1, 1], "nearest": share(0.5), "over_limit": ratio,
            "over_cramer_rao": ratio,
        }  # fmt: skip

    control = {"name": "shuffled_labels", "what": "", "n": 50, "correlation": correlation,
               "interval": [-0.2, 0.2], "at_chance": correlation < 0.3}  # fmt: skip
    told = {
        "kind": "values", "task": "length", "target": "camera_length", "model": "profile",
        "unit": "m", "step": 0.01, "range": {}, "n": {"test": 50}, "notes": [],
        "results": [scored("profile", 0.002), scored("mean_value", 0.03)],
        "bounds": {"limit": 0.0019}, "controls": [control],
        "runs": {"frames": 10, "source": "", "n": 5, "rmse": 0.001, "nearest": share(0.9),
                 "nearest_at_bound": 0.95},
    }  # fmt: skip
    evaluation = ValueEvaluation.parse(told, "test")
    return ValueTask(evaluation, {}, pd.DataFrame(), pd.DataFrame())


def of(**tasks: list) -> list[Standing]:
    """Return the table of some tasks; of the inputs it reads nothing else."""
    found = {"tasks": [], "flux": [], "peaks": [], "values": []} | tasks
    return standings(cast(Inputs, SimpleNamespace(**found)))


def test_the_table_holds_tasks_of_every_kind_hits_first() -> None:
    energy = make_task(task="energy", target="photon_energy", model="linear")
    rows = of(
        tasks=[energy, make_task()],
        flux=[flux_task()],
        peaks=[peak_task()],
        values=[value_task()],
    )
    assert [row.task for row in rows] == ["hit", "low", "peaks", "energy", "length"]
    hit, low, peaks, linear, length = rows
    assert (hit.ours.value, hit.baseline.value) == ("98.0\u00a0%", "90.0\u00a0%")
    assert hit.ours.basis == "93.0 to 99.4\u00a0%, 98 of 100"
    assert hit.baseline.basis.startswith("largest pixel: 83.0 to 94.0\u00a0%")
    assert hit.paper.startswith("97.5 % of hits found") and "100 %" in linear.paper
    assert low.measure == "AUROC at 0.1 of the full flux"
    assert (low.ours.value, low.baseline.value) == ("0.900", "0.700")
    assert low.bound.value == "blind 0.910, oracle 1.000"
    assert low.bound.basis.startswith("blind 0.")
    assert peaks.bound.basis.endswith(", an estimate")
    assert (peaks.ours.value, peaks.bound.value) == ("0.9700", "0.9800")
    assert peaks.controls[0].words == "0 of 100 spots met"
    assert (length.ours.value, length.bound.value) == ("2 mm", "limit 1.9 mm")
    assert length.baseline.value == "30 mm"
    assert all(row.verdict.good for row in rows)
    written = table(rows)
    assert written["task"].tolist() == [row.task for row in rows]
    assert written["holds"].all() and written["reasons"].str.len().min() > 10


def test_the_flux_told_is_neither_easy_nor_hopeless() -> None:
    assert telling_place(flux_task().evaluation) == 1


def test_one_breath_says_what_holds_and_why_not() -> None:
    good = make_task()
    weak = make_task(task="weak", results=[result("m", [[30, 20], [20, 30]], [0.5, 0.7])])
    assert in_one_breath(of(tasks=[good])) == "The one trained model holds."
    assert in_one_breath(of(tasks=[good], peaks=[peak_task()])) == "All 2 trained models hold."
    words = in_one_breath(of(tasks=[good, weak], flux=[flux_task()]))
    assert words == (
        "2 of 3 trained models hold; not weak: on frames that they never saw they are too poor; "
        "their controls are at chance, so that nothing leaked."
    )
    words = in_one_breath(of(tasks=[good, weak], values=[value_task(correlation=0.8)]))
    assert words.startswith("1 of 3 trained models hold; not weak, length;")
    assert words.endswith("a control is off chance in length.")
    assert "No task was trained" in in_one_breath([])


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ({"flux": [flux_task(0.8)]}, "below the blind bound at flux 0.1"),
        ({"peaks": [peak_task(0.9)]}, "below the classical finder"),
        ({"values": [value_task(correlation=0.8)]}, "follows what was drawn at random"),
    ],
)
def test_the_table_says_why_a_model_of_any_kind_does_not_hold(tasks: dict, reason: str) -> None:
    (row,) = of(**tasks)
    assert not row.verdict.good and reason in row.verdict.reasons[0]


def judged(ratio: float, chi_square: float, randomise: str | None = None) -> Verdict | None:
    """Judge the water of three datasets, of which the last is as told."""
    water = pd.DataFrame(
        {
            "dataset": ["01", "02", "03"],
            "water_ratio": [1.001, 0.999, ratio],
            "water_ratio_sigma": 0.002,
            "water_chi_square": [38.0, 45.0, chi_square],
            "water_rings": 40,
        }
    )
    sets = {name: SimpleNamespace(randomise=None) for name in water["dataset"]}
    config = SimpleNamespace(randomise=randomise)
    inputs = cast(Inputs, SimpleNamespace(datasets=sets, config=config))
    return judge_water(inputs, water)


def test_water_is_judged_in_sum_and_ring_by_ring() -> None:
    good = judged(1.003, 50.0)
    assert good and good.good
    assert good.reasons == (
        "measured / expected water photons 0.9990 to 1.0030 in 3 datasets, at most 1.5 standard "
        "deviations from 1 (accepted: up to 3.1); ring by ring χ² / rings 0.95 to 1.25 (accepted: "
        "0.44 to 1.85)",
    )
    # Too far in sum, rings that scatter too much, and rings that scatter less than photons can.
    for bad in (judged(1.01, 40.0), judged(1.0, 90.0), judged(1.0, 12.0)):
        assert bad and not bad.good
        assert bad.reasons[1:] == ("dataset 03 is off by more than luck",)
    assert judged(1.01, 40.0, "config/randomise/wide.yaml") is None
