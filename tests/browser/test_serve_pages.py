"""`spotmill serve` in a browser: the live view of the production, and the report through it."""

import pytest
from mill import BIN

from browser.pages import SCHEMES, WIDTHS, none_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(production, listen) -> str:
    """Return the address of the live view."""
    return listen(BIN / "spotmill", "serve", production / "results", "--port", "0")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_overview_shows_progress_frames_and_curves(visit, served, screenshots, scheme) -> None:
    opened = visit(served, scheme=scheme)
    page = opened.page
    page.locator("#charts .main-svg").first.wait_for()
    tasks = page.locator("#charts .chart").count()
    assert tasks == 5
    none_of(opened.run("frame") + opened.run("structure") + opened.run("contrast"))
    none_of(opened.run("boxes"))
    pictures = page.locator("[data-part=frames] img")
    assert pictures.count() > 3
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 20
    page.screenshot(path=screenshots / f"serve_{scheme}.png", full_page=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_sideways(visit, served, width) -> None:
    opened = visit(served, width=width)
    opened.page.locator("#charts .main-svg").first.wait_for()
    none_of(opened.run("overflow"))


def test_every_link_of_the_overview_answers(visit, served) -> None:
    opened = visit(served)
    links = opened.page.eval_on_selector_all("a[href]", "all => all.map((a) => a.href)")
    bad = []
    for link in sorted({link.split("#")[0] for link in links}):
        answer = opened.page.request.get(link)
        if answer.status != 200:
            bad.append(f"{answer.status}: {link}")
    none_of(bad)


@pytest.mark.parametrize("part", ["[data-part=frames] a", "[data-part=made] a"])
def test_a_click_leads_to_a_page_that_can_be_read(visit, served, screenshots, part) -> None:
    opened = visit(served)
    opened.page.locator(part).first.click()
    opened.page.wait_for_load_state("load")
    assert opened.page.url != served
    path = opened.page.url.removeprefix(served).split("/")[0]
    opened.page.screenshot(path=screenshots / f"serve_{path}.png", full_page=True)
    none_of(visit(opened.page.url, root=served).run("structure"))


def test_the_report_works_through_it(visit, served) -> None:
    opened = visit(served + "report/", root=served)
    assert opened.page.locator("h1").count() == 1
    none_of(opened.run("overflow"))
