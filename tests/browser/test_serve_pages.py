"""`spotmill serve` in a browser: the live view of the production, and the report through it."""

import os
import shutil
import subprocess
from itertools import pairwise

import pytest
from conftest import ROOT, copy_tiny
from mill import BIN, PARTS

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


def test_without_scripts_the_report_shows_its_frames(visit, served) -> None:
    opened = visit(served + "report/", root=served, scripts=False)
    frame = opened.page.frame_locator("iframe.gallery-frame")
    assert frame.locator("img").count() > 3
    style = "one => getComputedStyle(one).listStyleType"
    assert frame.locator(".gallery-grid").evaluate(style) == "none", "without its style sheet"


def test_a_run_is_seen_to_go_on_and_to_end(visit, listen, tmp_path_factory, screenshots) -> None:
    folder = copy_tiny(tmp_path_factory.mktemp("running"))
    shutil.copy(ROOT / "Snakefile", folder)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name)
    (folder / "results").mkdir()
    address = listen(BIN / "spotmill", "serve", folder / "results", "--port", "0")
    opened = visit(address)
    said = opened.page.locator("[data-part=progress]")
    words = ["--profile", "profiles/local", "--cores", "1"]
    words += ["results/images/peaks_water_overlay/A/p00000.h5"]
    run = subprocess.Popen(
        [BIN / "snakemake", *words],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with run:
        said.get_by_text("Running now").first.wait_for()
        none_of(opened.run("frame") + opened.run("structure") + opened.run("contrast"))
        opened.page.screenshot(path=screenshots / "serve_running.png", full_page=True)
        said.get_by_text("Finished").first.wait_for()
    assert run.returncode == 0
    opened.page.locator("[data-part=frames] img").first.wait_for()
    none_of(opened.run("structure"))
    assert all(url.startswith((address, "data:")) for url in opened.requests)


def test_ticks_of_a_logarithmic_loss_stand_apart(visit, served) -> None:
    opened = visit(served)
    opened.page.locator("#charts .main-svg").first.wait_for()
    opened.page.locator("#log").check()
    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('#charts .chart')]"
        ".every((one) => one._fullLayout.yaxis.type === 'log')"
    )
    bad = []
    for chart in opened.page.locator("#charts .chart").all():
        boxes = [one.bounding_box() for one in chart.locator(".ytick text").all()]
        boxes.sort(key=lambda box: box["y"])
        assert boxes
        for above, below in pairwise(boxes):
            if above["y"] + above["height"] > below["y"] + 1:
                bad.append(f"{chart.get_attribute('id')}: {above} {below}")
    none_of(bad)
