"""Numbers and shapes of interactive charts."""

import json

import numpy as np
import pytest

from spotmill.report.charts import MOST, Line, Panel, chart, decades, evenly, log_axis, number
from spotmill.report.evaluations import Control
from spotmill.report.figures_spread import POINTS, at_least, bin_width
from spotmill.report.figures_values import error_interval
from spotmill.report.page import inert
from spotmill.report.style import legend_columns


@pytest.mark.parametrize(
    ("value", "told"),
    [(1, 1), (2.0, 2), (1 / 3, 0.333333), (1e-9, 1e-9), (np.nan, None), (np.inf, None),
     (None, None), (np.int64(7), 7), (123456789.0, 123457000), ("a", "a")],
)  # fmt: skip
def test_numbers_have_six_digits(value: object, told: object) -> None:
    assert number(value) == told


def test_even_samples_keep_both_ends_and_never_repeat() -> None:
    assert evenly(7) == list(range(7))
    kept = evenly(10_000)
    assert len(kept) == len(set(kept)) == MOST
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert set(np.diff(kept)) <= {3, 4, 5}
    assert kept == evenly(10_000)


def test_labels_are_written_and_points_are_read_by_a_pointer() -> None:
    line = Line("odd", [1], [2], mode="markers+text", points=["why"], labels=["1"])
    (told,) = json.loads(chart([Panel([line])]))["data"]
    assert (told["text"], told["hovertext"], told["hoverinfo"]) == (["1"], ["why"], "text")


def test_a_name_stands_once_in_the_legend_and_intervals_are_distances() -> None:
    line = Line("ours", [1, 2], [0.5, 0.75], low=[0.25, 0.5], high=[0.75, None])
    panels = [Panel([line], "x", "y", "first"), Panel([line], x=log_axis([0.1, 1]))]
    told = json.loads(chart(panels, height=300))
    first, second = told["data"]
    assert (first["showlegend"], second["showlegend"]) == (True, False)
    assert first["error_y"]["array"] == [0.25, None]
    assert first["error_y"]["arrayminus"] == [0.25, 0.25]
    assert told["layout"]["height"] == 300 and "template" not in told["layout"]
    assert told["layout"]["xaxis2"]["ticktext"] == ["0.1", "1"]
    assert chart(panels, height=300) == chart(panels, height=300)


def test_a_chart_ends_no_script_element() -> None:
    name = "</script><script>alert('&')"
    drawn = chart([Panel([Line(name, [1], [2])])])
    held = str(inert(drawn))
    assert "<" not in held and ">" not in held and "&" not in held
    assert json.loads(held)["data"][0]["name"] == name


def test_share_of_at_least_counts_ties() -> None:
    x, y = at_least([3, 1, 3, 8])
    assert x.tolist() == [1, 3, 8] and y.tolist() == [1, 0.75, 0.25]
    values = np.random.default_rng(5).integers(0, 5000, 3000)
    x, y = at_least(values)
    assert len(x) == POINTS and (x[0], x[-1]) == (values.min(), values.max())
    assert np.allclose(y, [(values >= value).mean() for value in x])


def test_logarithmic_axes_have_plain_numbers_and_short_ones_are_linear() -> None:
    axis = decades([0.03, 1.5, np.nan])
    assert axis["ticktext"] == ["0.05", "0.1", "0.2", "0.5", "1"]
    assert axis["tickvals"] == [0.05, 0.1, 0.2, 0.5, 1] and axis["type"] == "log"
    assert decades([0.9, 1.1]) == {}


def test_bins_are_as_wide_as_one_reads_and_about_two_dozen() -> None:
    assert bin_width(0.4) == 0.02 and bin_width(1.2) == 0.05
    for top in np.geomspace(0.01, 30, 200):
        width = bin_width(float(top))
        assert f"{width:e}"[0] in "125" and f"{width:.0e}" == f"{float(f'{width:.6g}'):.0e}"
        assert 15 < top / width < 39


def test_an_interval_of_an_error_holds_the_truth_in_95_of_100() -> None:
    errors = np.random.default_rng(4).normal(0, 3, (4000, 12))
    ends = [error_interval(float(rmse), 12) for rmse in np.sqrt((errors**2).mean(axis=1))]
    assert 0.94 < np.mean([low <= 3 <= high for low, high in ends]) < 0.96


def test_rows_of_a_legend_are_of_like_length() -> None:
    assert legend_columns([], 8) == 1
    assert legend_columns(["a"] * 5, 8) == 5
    assert legend_columns(["a name of twenty chars"] * 5, 8) == 3
    assert legend_columns(["x" * 500] * 2, 8) == 1


def test_chance_is_told_by_how_often_a_class_was_true_and_said() -> None:
    told = {"name": "a", "what": "b", "n": 128, "correct": 89, "accuracy": 0.7}
    told |= {"interval": [0.6, 0.8], "chance": 0.67, "at_chance": True}
    control = Control.parse(told | {"confusion": [[6, 30], [9, 83]]}, "here")
    words = control.chance_words(["no hit", "hit"])
    assert words == "no hit true 36 and said 15 times, hit true 92 and said 113 times"
    assert not Control.parse(told, "here").chance_words(["no hit", "hit"])
