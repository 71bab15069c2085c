"""The report in a browser: nothing said, nothing asked for, and made for eyes, ears and fingers."""

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest
from PIL import Image
from playwright.sync_api import Page

from browser.pages import LIMIT, SCHEMES, WIDTHS, Opened, dead_links, none_of, unfold

pytestmark = pytest.mark.browser

Visit = Callable[..., Opened]
SECTIONS = ("verdict", "data", "provenance", "reading")
TASK_KINDS = ("hit", "photon_energy", "photon_energy_values", "hit_low_flux", "peaks")


@pytest.fixture
def index(report: Path) -> Path:
    """Return the report's page."""
    return report / "index.html"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_opens_without_a_word_and_asks_for_nothing_outside(visit, index, scheme) -> None:
    opened = visit(index, scheme=scheme)
    scroll_through(opened.page)
    assert all(url.startswith((opened.root, "data:", "blob:")) for url in opened.requests)
    size = sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file())
    print(f"\nreport: {size / 1e6:.1f} MB, open after {opened.seconds:.2f} s ({scheme})")
    assert size < 30e6 and opened.seconds < LIMIT / 1000


def scroll_through(page: Page) -> None:
    """Bring every part of a page into view once, unfolded, so that all that waits for it loads."""
    unfold(page)
    page.evaluate(
        """async () => {
            for (let y = 0; y < document.body.scrollHeight; y += innerHeight) {
                scrollTo(0, y);
                const next = (then) => requestAnimationFrame(then);
                await new Promise((done) => next(() => next(done)));
            }
            const pictures = [...document.images].map((one) => one.decode().catch(() => 0));
            await Promise.all(pictures);
            scrollTo(0, 0);
        }"""
    )


def test_the_sections_are_there_in_order(visit, index) -> None:
    found = visit(index).run("sections")
    assert [name for name in found if name in SECTIONS] == list(SECTIONS)
    assert {f"task-{name}" for name in TASK_KINDS} <= set(found)
    assert found[0] == "verdict"


def test_the_structure_of_the_whole_page(visit, index) -> None:
    opened = visit(index)
    scroll_through(opened.page)
    none_of(opened.run("frame") + opened.run("structure"))


def test_every_link_leads_somewhere(visit, index) -> None:
    opened = visit(index)
    none_of(dead_links(opened, index))
    there = opened.page.eval_on_selector_all("nav a", "all => all.map((a) => a.hash.slice(1))")
    missing = {name for name in opened.run("sections") if name not in there}
    assert missing == set(), "sections that the contents leave out"


def test_every_control_has_a_name(visit, index) -> None:
    opened = visit(index)
    session = opened.page.context.new_cdp_session(opened.page)
    tree = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "combobox", "slider", "checkbox", "radio", "searchbox"}
    roles |= {"spinbutton", "img", "image", "region", "navigation", "dialog", "application"}
    unnamed = [
        node["role"]["value"]
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value", "").strip()
    ]
    none_of(unnamed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_stand_out_from_their_ground(visit, index, scheme) -> None:
    opened = visit(index, scheme=scheme)
    none_of(opened.run("contrast"))
    unfold(opened.page)
    none_of(opened.run("contrast"))


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_sideways(visit, index, width) -> None:
    opened = visit(index, width=width)
    scroll_through(opened.page)
    none_of(opened.run("overflow"))


@pytest.mark.parametrize("folded", [True, False])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit, index, folded) -> None:
    opened = visit(index)
    if not folded:
        unfold(opened.page)
    wanted = opened.run("reachable")
    seen: dict[int, str] = {}
    bad, last = [], -1
    for _ in range(2 * len(wanted) + 200):
        opened.page.keyboard.press("Tab")
        at = opened.run("focused")
        if at is None or at["stop"] in seen:
            break
        if at["stop"] is None:
            continue
        if not at["ring"]:
            bad.append(f"no focus to be seen: {at['name']}")
        if not at["inView"]:
            bad.append(f"focused out of sight: {at['name']}")
        if at["stop"] < last:
            bad.append(f"out of order: {at['name']}")
        last = at["stop"]
        seen[last] = at["name"]
    none_of(bad)
    none_of([f"never reached: {name}" for stop, name in enumerate(wanted) if stop not in seen])


def test_it_prints_with_every_heading(visit, index, tmp_path) -> None:
    opened = visit(index)
    headings = opened.page.eval_on_selector_all("h2", "all => all.map((h) => h.innerText)")
    opened.page.pdf(path=tmp_path / "report.pdf", format="A4")
    pages = pypdf.PdfReader(tmp_path / "report.pdf").pages
    printed = plain_text(" ".join(page.extract_text() for page in pages))
    none_of([one for one in headings if plain_text(one) not in printed])
    pictures = sum(len(page.images) for page in pages)
    assert pictures >= opened.page.locator("figure[id]").count()
    # Of every task what is folded up on the screen.
    terms = opened.page.eval_on_selector_all(
        ".fold li strong, .fold dt", "all => all.map((one) => one.textContent)"
    )
    assert len(terms) > 20
    none_of([one for one in terms if plain_text(one) not in printed])


def test_it_opens_short_and_every_verdict_is_in_sight(visit, index) -> None:
    page = visit(index).page
    height = page.evaluate("document.body.scrollHeight")
    for section in page.locator("[id^=task-]").all():
        assert section.locator(".mark").first.is_visible()
        assert not section.locator("table").first.is_visible()
    button = page.get_by_role("button", name="Open all")
    button.click()
    assert page.evaluate("document.body.scrollHeight") > 2 * height
    assert all(table.is_visible() for table in page.locator("[id^=task-] table.results").all())
    page.get_by_role("button", name="Fold all").click()
    assert page.evaluate("document.body.scrollHeight") == pytest.approx(height, rel=0.2)
    assert button.is_visible()


def test_links_and_keys_open_what_is_folded_up(visit, index) -> None:
    page = visit(index).page
    fold = page.locator("#task-peaks > details.fold")
    page.locator("nav.contents a[href='#task-peaks']").click()
    assert fold.evaluate("one => one.open")
    assert page.locator("#task-peaks table").first.is_visible()
    assert abs(page.locator("#task-peaks").bounding_box()["y"]) < 300
    fold.locator("> summary").press("Enter")
    assert not fold.evaluate("one => one.open")
    # The same link again, though the address does not change.
    page.locator("nav.contents a[href='#task-peaks']").click()
    assert fold.evaluate("one => one.open")
    page.evaluate("location.hash = '#figure-hit_spots'")
    page.locator("#figure-hit_spots img").wait_for()
    assert page.locator("#task-hit > details.fold").evaluate("one => one.open")


def test_an_address_with_a_place_opens_it(visit, index) -> None:
    page = visit(f"{index.as_uri()}#figure-peaks_confusion").page
    figure = page.locator("#figure-peaks_confusion")
    figure.wait_for()
    assert -100 < figure.bounding_box()["y"] < 900


def plain_text(text: str) -> str:
    """Return a text without spaces and ligatures."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def test_without_scripts_the_pictures_and_tables_are_there(visit, index) -> None:
    plain = visit(index, scripts=False)
    with_scripts = visit(index)
    none_of(plain.run("structure"))
    # What a run cost is written after the page, which shows it by a script, or its picture.
    assert plain.page.locator("#cost img").is_visible()
    for part in ("figure[id]:not(#cost *)", "table:not(#cost *)", "h2"):
        count = plain.page.locator(part).count()
        assert count == with_scripts.page.locator(part).count() > 0
    # What is folded up opens without scripts.
    plain.page.eval_on_selector_all("details", "all => all.forEach((one) => one.open = true)")
    scroll = "all => all.forEach((one) => one.loading = 'eager')"
    plain.page.eval_on_selector_all("img", scroll)
    for figure in plain.page.locator("main figure[id]").all():
        picture = figure.locator("img").first
        picture.scroll_into_view_if_needed()
        assert picture.is_visible() and picture.evaluate("one => one.decode().then(() => true)")


@pytest.mark.parametrize("scheme,width", [("light", 1300), ("dark", 1300), ("light", 400)])
def test_every_section_looks_like_one(visit, index, screenshots, scheme, width) -> None:
    opened = visit(index, scheme=scheme, width=width)
    scroll_through(opened.page)
    bad = []
    for name in opened.run("sections"):
        section = opened.page.locator(f"#{name}")
        shot = section.screenshot(path=screenshots / f"{width}_{scheme}_{name}.png")
        if is_plain(shot):
            bad.append(f"{name}: a single colour")
        bad += [f"{name}: {fault}" for fault in opened.run("boxes", f"#{name}")]
        # Once will do: their pictures are the same ones.
        once = (width, scheme) == (1300, "light")
        for figure in opened.run("figures", f"#{name}") if once else ():
            for picture in opened.page.locator(f"#{figure} :is(img, svg.main-svg, canvas)").all():
                if not picture.is_visible():
                    continue
                if is_plain(picture.screenshot()):
                    bad.append(f"{name}: {figure} is of a single colour")
                break
    none_of(bad)


def is_plain(png: bytes) -> bool:
    """Say whether a picture is next to one colour: fewer than four that cover anything."""
    colours = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 24)
    return colours is None or sum(count > 5 for count, _ in colours) < 4
