"""Numbers and shapes of interactive charts."""

import json

import numpy as np
import pytest

from spotmill.report.charts import MOST, Line, Panel, chart, decades, evenly, log_axis, number
from spotmill.report.figures_spread import POINTS, at_least
from spotmill.report.page import inert


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
