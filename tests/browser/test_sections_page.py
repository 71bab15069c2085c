"""Where models looked, what changed and what it cost: the report beside its tasks."""

import pandas as pd
import pytest

from browser.pages import SCHEMES, none_of

pytestmark = pytest.mark.browser

PARTS = ("changes", "cost")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_can_be_read_and_asks_for_nothing_elsewhere(visit, report, scheme) -> None:
    opened = visit(report / "index.html", scheme=scheme)
    for part in PARTS:
        section = opened.page.locator(f"#{part}")
        section.scroll_into_view_if_needed()
        assert section.locator("h2").count() == 1
        for picture in section.locator("img").all():
            picture.evaluate("one => { one.loading = 'eager'; return one.decode(); }")
        for question in ("structure", "contrast", "boxes"):
            none_of([f"{part}: {fault}" for fault in opened.run(question, f"#{part}")])
    assert all(url.startswith((opened.root, "data:", "blob:")) for url in opened.requests)


def test_a_picture_shows_where_the_model_of_every_task_looked(visit, report, production) -> None:
    page = visit(report / "index.html").page
    tasks = {path.parent.name for path in (production / "results/saliency").glob("*/*.json")}
    sources = page.eval_on_selector_all("[id^=saliency-] img", "all => all.map((one) => one.src)")
    shown = {task for task in tasks if any(f"{task}_saliency" in source for source in sources)}
    assert shown == tasks and tasks


def test_the_cost_is_that_of_its_table(visit, report) -> None:
    page = visit(report / "index.html").page
    page.locator("#cost").scroll_into_view_if_needed()
    page.locator("#figure-cost .chart.ready .main-svg").first.wait_for()
    table = pd.read_csv(report / "cost/cost.csv")
    rows = page.eval_on_selector_all(
        "#cost tbody tr",
        "all => all.map((row) => [row.cells[0].innerText, row.cells[1].innerText])",
    )
    assert rows == [
        [rule, str(jobs)] for rule, jobs in zip(table["rule"], table["jobs"], strict=True)
    ]
