"""The interactive charts: there, of the same numbers as the tables beside, and of use."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from browser.gallery import Viewer, listed
from browser.pages import SCHEMES, WIDTHS, none_of

pytestmark = pytest.mark.browser


# Open what an element is folded up in.
OPEN = """(one) => {
    for (let at = one; at; at = at.parentElement) if (at.matches("details")) at.open = true;
}"""


@pytest.fixture
def page(visit, report):
    """Return the report, opened."""
    return visit(report / "index.html").page


def names(page) -> list[str]:
    """Return the figures that have a chart."""
    return page.eval_on_selector_all(
        "figure[data-height]", "all => all.map((one) => one.id.replace('figure-', ''))"
    )


def draw(page, name: str) -> Any:
    """Scroll to a figure and wait until its chart is drawn."""
    figure = page.locator(f"#figure-{name}")
    figure.evaluate(OPEN)
    figure.scroll_into_view_if_needed()
    page.locator(f"#figure-{name} .chart.ready").wait_for()
    return page.locator(f"#figure-{name} .chart")


def values(told: Any) -> list[Any]:
    """Return a column of a Plotly trace; NumPy's may travel as base64."""
    if isinstance(told, dict):
        return np.frombuffer(base64.b64decode(told["bdata"]), told["dtype"]).tolist()
    return list(told if told is not None else [])


def test_charts_take_the_place_of_pictures_when_scrolled_near(page) -> None:
    found = names(page)
    assert len(found) >= 10
    for name in found:
        chart = draw(page, name)
        assert chart.locator(".main-svg").count() > 0
        box = chart.bounding_box()
        assert box["width"] > 200 and box["height"] > 150, name
        assert not page.locator(f"#figure-{name} .still").is_visible()


def test_a_button_shows_the_picture_and_the_chart_again(page) -> None:
    name = names(page)[0]
    draw(page, name)
    button = page.locator(f"#figure-{name} .swap")
    button.click()
    assert page.locator(f"#figure-{name} .still img").is_visible()
    assert not page.locator(f"#figure-{name} .chart").is_visible()
    button.click()
    assert page.locator(f"#figure-{name} .chart .main-svg").first.is_visible()


def test_what_is_drawn_is_what_the_table_beside_says(page, report: Path) -> None:
    """Every number of a chart that has a value of its own is a number of its CSV."""
    bad = []
    for name in names(page):
        draw(page, name)
        drawn = page.evaluate(
            "(id) => JSON.stringify(document.querySelector(id).data)", f"#figure-{name} .chart"
        )
        table = pd.read_csv(report / f"figures/{name}.csv")
        known = np.sort(numbers(table))
        for trace in json.loads(drawn):
            if trace.get("meta") == "guide" or len(values(trace.get("y"))) <= 2:
                continue  # lines to guide the eye
            for axis in ("x", "y"):
                for value in values(trace.get(axis)):
                    if isinstance(value, int | float) and not is_in(known, value):
                        bad.append(f"{name}: {trace.get('name')}: {axis} {value}")
    none_of(bad[:40])


def numbers(table: pd.DataFrame) -> np.ndarray:
    """Return all numbers of a table, also those within words."""
    parts = table.astype(str).to_numpy().ravel()
    found = pd.to_numeric(pd.Series(parts), errors="coerce").dropna().to_numpy()
    return np.concatenate([found, np.arange(0)])


def is_in(known: np.ndarray, value: float) -> bool:
    """Say whether a value is among others, to four digits: a chart has the units of its CSV."""
    slack = 6e-4 * abs(value) + 1e-9
    first, last = np.searchsorted(known, [value - slack, value + slack])
    return bool(last > first) or not math.isfinite(value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_in_charts_stand_out(visit, report, scheme) -> None:
    opened = visit(report / "index.html", scheme=scheme)
    for name in names(opened.page):
        draw(opened.page, name)
    none_of(opened.run("contrast"))


@pytest.mark.parametrize("width", WIDTHS)
def test_charts_fit_every_width(visit, report, screenshots, width) -> None:
    opened = visit(report / "index.html", width=width)
    bad = []
    for name in names(opened.page):
        chart = draw(opened.page, name)
        box = chart.locator(".main-svg").first.bounding_box()
        if box["x"] < 0 or box["x"] + box["width"] > width:
            bad.append(f"{name}: {box}")
        bad += [f"{name}: {fault}" for fault in opened.run("words", f"#figure-{name} .chart")]
        if width in (400, 1300):
            shot = opened.page.locator(f"#figure-{name}").screenshot
            shot(path=screenshots / f"{width}_chart_{name}.png")
    none_of(bad + opened.run("overflow"))


def test_a_point_of_the_map_opens_its_frame(page, report) -> None:
    chart = draw(page, "map")
    held = {(line["dataset"], line["index"]) for line in listed(report)}
    points = page.evaluate(
        """() => {
            const chart = document.querySelector("#figure-map .chart");
            const out = [];
            chart.data.forEach((trace, curve) => {
                if ((trace.xaxis || "x") !== "x") return;
                const frames = trace.customdata || [];
                frames.forEach((frame, number) => out.push({ curve, number, frame }));
            });
            return out;
        }"""
    )
    known = [point for point in points if tuple(point["frame"][:2]) in held]
    assert len(known) > 10
    # The farthest from all others, so that a click is unambiguous.
    places = page.evaluate(
        """(points) => {
            const chart = document.querySelector("#figure-map .chart");
            const box = chart.getBoundingClientRect(), { xaxis, yaxis } = chart._fullLayout;
            return points.map(({ curve, number }) => [
                box.left + xaxis._offset + xaxis.d2p(chart._fullData[curve].x[number]),
                box.top + yaxis._offset + yaxis.d2p(chart._fullData[curve].y[number]),
            ]);
        }""",
        points,
    )
    where = np.array(places)
    apart = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    free = apart.min(axis=1)
    best = max((i for i, one in enumerate(points) if one in known), key=lambda i: free[i])
    assert chart.is_visible()
    page.mouse.move(*places[best])
    page.mouse.move(places[best][0] + 0.5, places[best][1])
    page.locator("#figure-map .hoverlayer .hovertext").first.wait_for()
    page.mouse.click(*places[best])
    viewer = Viewer(page)
    assert [viewer.told("dataset"), int(viewer.told("index"))] == points[best]["frame"][:2]


def test_the_map_works_by_keys(page) -> None:
    chart = draw(page, "map")
    chart.focus()
    page.keyboard.press("ArrowRight")
    said = page.locator("#figure-map .said")
    assert said.text_content()
    page.keyboard.press("Enter")
    opened = page.locator("#gallery-viewer").is_visible()
    assert opened or "does not hold" in (said.text_content() or "")


def test_names_of_the_worst_frames_open_them(page) -> None:
    links = page.locator("span[data-frame] a")
    links.first.wait_for(state="attached")
    for number in (0, links.count() - 1):
        link = links.nth(number)
        link.evaluate(OPEN)
        wanted = link.evaluate(
            "one => [one.parentElement.dataset.frame, one.parentElement.dataset.index]"
        )
        link.click()
        viewer = Viewer(page)
        assert [viewer.told("dataset"), viewer.told("index")] == wanted
        page.keyboard.press("Escape")
