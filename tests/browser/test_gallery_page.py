"""The gallery in a browser, against the shards, the truth and the geometry themselves."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from browser.gallery import Viewer, listed, read_frame
from browser.pages import SCHEMES, WIDTHS, none_of

pytestmark = pytest.mark.browser

PAGE = 24
TINY_PIXEL, TINY_CENTRE = 5e-4, (83.0, 64.0)  # m; fs, ss of the beam on the tiny detector


@pytest.fixture(scope="module")
def lines(report) -> list[dict]:
    """Return the gallery's list."""
    return listed(report)


@pytest.fixture
def gallery(visit, report):
    """Return the report, opened, with the gallery in view."""
    opened = visit(report / "index.html")
    opened.page.locator("#gallery-app").wait_for()
    opened.page.locator("#gallery").scroll_into_view_if_needed()
    return opened.page


@pytest.fixture
def viewer(gallery, bright):
    """Return the viewer with the frame of the most spots that the task of peaks was tested on."""
    assert gallery.evaluate("([a, b]) => spotmill.openFrame(a, b)", list(bright))
    return Viewer(gallery)


@pytest.fixture(scope="module")
def bright(lines) -> tuple[str, int]:
    """Return a frame with spots and found peaks."""
    tested = [line for line in lines if any("found" in said for said in line["told"])]
    best = max((line for line in tested if line["share"] == 1), key=lambda line: line["n_spots"])
    assert best["n_spots"] >= 3
    return best["dataset"], best["index"]


def tiles(page) -> list[tuple[str, int, float]]:
    """Return the frames that the grid shows."""
    return [
        (told["dataset"], int(told["index"]), float(told["share"]))
        for told in page.eval_on_selector_all(
            "#gallery-grid .gallery-tile", "all => all.map((one) => ({ ...one.dataset }))"
        )
    ]


def all_tiles(page) -> list[tuple[str, int, float]]:
    """Return the frames of all pages of the grid."""
    found = tiles(page)
    on = page.locator("#gallery-page-on")
    while on.is_visible() and on.is_enabled():
        on.click()
        found += tiles(page)
    return found


def key(line: dict) -> tuple[str, int, float]:
    return line["dataset"], line["index"], float(line["share"])


def count(page) -> int:
    """Return how many frames the page says are shown."""
    said = page.locator("#gallery-count").inner_text()
    return int(re.search(r"(\d+) shown", said)[1])


def test_the_grid_pages_through_all_frames_once(gallery, lines) -> None:
    assert count(gallery) == len(lines) > PAGE
    assert len(tiles(gallery)) == PAGE
    found = all_tiles(gallery)
    assert len(found) == len(set(found)) and set(found) == {key(line) for line in lines}
    gallery.locator("#gallery-page-back").click()
    assert len(tiles(gallery)) == PAGE
    assert "page" in gallery.locator("#gallery-page").inner_text()


FILTERS = {
    "dataset": lambda page: page.locator("#gallery-dataset").select_option("B"),
    "hits": lambda page: page.locator("#gallery-kind").select_option("hit"),
    "empties": lambda page: page.locator("#gallery-kind").select_option("empty"),
    "wrong": lambda page: page.locator("#gallery-answers").select_option("wrong"),
    "from 3 spots": lambda page: page.locator("#gallery-spots-from").fill("3"),
    "to 2 spots": lambda page: page.locator("#gallery-spots-to").fill("2"),
    "little flux": lambda page: page.locator("#gallery-flux-to").fill("0.5"),
}
MEANING = {
    "dataset": lambda line: line["dataset"] == "B",
    "hits": lambda line: line["hit"],
    "empties": lambda line: line["index"] >= 10_000_000,
    "wrong": lambda line: any(not said["right"] for said in line["told"]),
    "from 3 spots": lambda line: line["n_spots"] >= 3,
    "to 2 spots": lambda line: line["n_spots"] <= 2,
    "little flux": lambda line: line["flux"] <= 0.5,
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_what_it_says_and_nothing_else(gallery, lines, name) -> None:
    FILTERS[name](gallery)
    wanted = {key(line) for line in lines if MEANING[name](line)}
    assert 0 < len(wanted) < len(lines)
    assert count(gallery) == len(wanted)
    assert set(all_tiles(gallery)) == wanted
    gallery.locator("#gallery-reset").click()
    gallery.wait_for_function(
        f"() => document.getElementById('gallery-count').textContent.includes('{len(lines)} shown')"
    )


def test_filters_work_together_and_may_leave_nothing(gallery, lines) -> None:
    FILTERS["dataset"](gallery)
    FILTERS["hits"](gallery)
    both = {key(line) for line in lines if MEANING["dataset"](line) and MEANING["hits"](line)}
    assert set(all_tiles(gallery)) == both
    gallery.locator("#gallery-spots-from").fill("100000")
    assert count(gallery) == 0 and tiles(gallery) == []


def test_the_list_says_what_the_manifest_says(production, lines) -> None:
    manifest = pd.read_parquet(production / "results/manifest/all.parquet")
    manifest = manifest.set_index(["dataset", "index"])
    for line in lines:
        row = manifest.loc[line["dataset"], line["index"]]
        assert (row["is_hit"], row["n_spots"]) == (line["hit"], line["n_spots"])


def test_the_pixel_under_the_pointer_has_the_photons_of_the_shard(
    viewer, production, bright
) -> None:
    frame = read_frame(production, *bright)
    places = [divmod(int(n), frame.photons.shape[1]) for n in np.argsort(frame.photons.ravel())]
    live = [place for place in places if not 80 <= place[1] < 86]
    chosen = live[-12:] + live[:: len(live) // 12]
    for ss, fs in chosen:
        viewer.point_at(fs + 0.5, ss + 0.5)
        assert viewer.pixel_at_pointer() == (fs, ss)
        assert viewer.photons_at_pointer() == int(frame.photons[ss, fs])
    # The gap between the two panels.
    viewer.point_at(83.5, 60.5)
    assert viewer.photons_at_pointer() is None


def test_the_readout_has_the_resolution_of_the_pixel(viewer, production, bright) -> None:
    frame = read_frame(production, *bright)
    viewer.point_at(150.5, 100.5)
    said = float(re.search(r"([\d.]+) Å", viewer.readout)[1])
    radius = math.hypot(150.5 - TINY_CENTRE[0], 100.5 - TINY_CENTRE[1]) * TINY_PIXEL
    clen = 0.05  # m, of both datasets
    wanted = frame.wavelength / (2 * math.sin(math.atan2(radius, clen) / 2))
    assert said == pytest.approx(wanted, rel=6e-4)


def test_the_wheel_zooms_about_the_pointer(viewer) -> None:
    before = viewer.scale
    x, y = viewer.point_at(120.5, 30.5)
    place = viewer.place_of(x, y)
    assert viewer.pixel_at_pointer() == (120, 30)
    for turn in (-240, -400, 300):
        viewer.page.mouse.wheel(0, turn)
        viewer.page.wait_for_function(
            "(last) => document.getElementById('gallery-viewer').dataset.scale !== last",
            arg=f"{before:.4f}",
        )
        assert (viewer.scale > before) == (turn < 0)
        before = viewer.scale
        assert viewer.place_of(x, y) == pytest.approx(place, abs=0.03)
        # Asked anew at the same place of the screen.
        viewer.page.mouse.move(x + 1, y)
        viewer.page.mouse.move(x, y)
        assert viewer.pixel_at_pointer() == (120, 30)


def test_dragging_moves_the_frame_with_the_pointer(viewer) -> None:
    for _ in range(3):
        viewer.page.keyboard.press("+")
    viewer.painted()
    x, y = viewer.point_at(83.5, 64.5)
    place = viewer.place_of(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(x - 70, y + 40, steps=4)
    assert viewer.place_of(x - 70, y + 40) == pytest.approx(place, abs=0.03)
    assert viewer.pixel_at_pointer() == (83, 64)
    viewer.page.mouse.up()
    viewer.page.mouse.move(x, y)
    assert viewer.pixel_at_pointer() != (83, 64)
    # Let go, the pointer moves nothing.
    assert viewer.place_of(x - 70, y + 40) == pytest.approx(place, abs=0.03)


def test_the_keys_work(viewer, lines) -> None:
    page, whole = viewer.page, viewer.scale
    page.keyboard.press("+")
    assert viewer.scale == pytest.approx(1.5 * whole, rel=1e-3)
    x = float(viewer.told("x"))
    page.keyboard.press("ArrowRight")
    assert float(viewer.told("x")) > x
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("-")
    assert viewer.scale == pytest.approx(whole, rel=1e-3)
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert viewer.scale == pytest.approx(whole, rel=1e-3)
    page.keyboard.press("Shift+ArrowDown")
    fs, ss = viewer.pixel_at_pointer()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    assert viewer.pixel_at_pointer() == (fs + 1, ss + 1)
    # What the eye reads at the cursor, ears are told.
    assert page.locator("#gallery-said").text_content() == viewer.readout

    opened = (viewer.told("dataset"), int(viewer.told("index")), float(viewer.told("share")))
    order = [key(line) for line in lines]
    step = 1 if order.index(opened) < len(order) - 1 else -1
    page.keyboard.press("n" if step == 1 else "p")
    viewer.wait()
    other = (viewer.told("dataset"), int(viewer.told("index")), float(viewer.told("share")))
    assert other == order[order.index(opened) + step]
    page.keyboard.press("p" if step == 1 else "n")
    viewer.wait()
    assert int(viewer.told("index")) == opened[1]
    page.keyboard.press("Escape")
    assert not viewer.dialog.is_visible()


def test_a_tile_opens_its_frame_and_gets_the_focus_back(gallery) -> None:
    wanted = tiles(gallery)[2]
    tile = gallery.locator("#gallery-grid .gallery-tile").nth(2)
    tile.focus()
    gallery.keyboard.press("Enter")
    viewer = Viewer(gallery)
    opened = (viewer.told("dataset"), int(viewer.told("index")), float(viewer.told("share")))
    assert opened == wanted
    gallery.locator("#gallery-close").click()
    assert not viewer.dialog.is_visible()
    assert tile.evaluate("one => one === document.activeElement")


def test_a_frame_that_is_not_held_is_refused(gallery) -> None:
    assert gallery.evaluate("() => spotmill.openFrame('A', 12345)") is False
    assert not gallery.locator("#gallery-viewer").is_visible()


def test_rings_lie_where_bragg_says(visit, report, production, bright) -> None:
    """The labels are heard as they are drawn; the lines are seen on the canvas."""
    opened = visit(report / "index.html")
    page = opened.page
    page.evaluate(
        """() => {
            window.labels = [];
            const write = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
                window.labels.push([text, x, y]);
                return write.call(this, text, x, y);
            };
        }"""
    )
    assert page.evaluate("([a, b]) => spotmill.openFrame(a, b)", list(bright))
    viewer = Viewer(page)
    frame = read_frame(production, *bright)
    lit = viewer.drawn("rings")
    page.evaluate("() => { window.labels = []; }")
    viewer.show()
    viewer.show("rings")
    labels = page.evaluate("() => window.labels")
    assert 2 <= len({text for text, _, _ in labels}) <= 5
    clen = 0.05  # m, of both datasets
    x, y = viewer.on_canvas(*TINY_CENTRE)
    away = np.hypot(
        *np.meshgrid(np.arange(lit.shape[1]) + 0.5 - x, np.arange(lit.shape[0]) + 0.5 - y)
    )
    explained = np.zeros_like(lit)
    for text, left, top in labels:
        d = float(text.removesuffix(" Å"))
        radius = clen * math.tan(2 * math.asin(frame.wavelength / (2 * d))) / TINY_PIXEL
        radius *= viewer.scale
        assert math.hypot(left - x, top - y) == pytest.approx(radius, abs=3)
        # A line of one pixel with its rim, and dashes: some of the circle is lit at this radius,
        # none two pixels farther than its rim.
        ring = np.abs(away - radius) < 1
        assert lit[ring].mean() > 0.15
        explained |= np.abs(away - radius) < 4
        explained[
            max(0, int(top) - 14) : int(top) + 14, max(0, int(left) - 40) : int(left) + 40
        ] = True
    assert not (lit & ~explained).any()


def circle(x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of a circle."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return (y + radius * np.sin(angle)).astype(int), (x + radius * np.cos(angle)).astype(int)


def seen(lit, rows, columns) -> float:
    """Return the lit share of those pixels that are on the canvas, within one pixel."""
    inside = (rows > 1) & (rows < lit.shape[0] - 2) & (columns > 1) & (columns < lit.shape[1] - 2)
    near = np.zeros(inside.sum(), dtype=bool)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            near |= lit[rows[inside] + a, columns[inside] + b]
    return float(near.mean()) if len(near) else 1.0


@pytest.mark.parametrize("zooms", [0, 3])
def test_true_spots_are_ringed_where_the_truth_says(viewer, production, bright, zooms) -> None:
    spots = read_frame(production, *bright).spots
    strong = spots[spots["photons"] >= 5]
    first = strong.iloc[strong["photons"].argmax()]
    viewer.point_at(first["fs"], first["ss"])
    for _ in range(zooms):
        viewer.page.mouse.wheel(0, -200)
        viewer.painted()
    lit = viewer.drawn("true")
    radius = max(6, 3 * viewer.scale)
    explained = np.zeros_like(lit)
    ys, xs = np.mgrid[: lit.shape[0], : lit.shape[1]] + 0.5
    for _, spot in spots.iterrows():
        x, y = viewer.on_canvas(spot["fs"], spot["ss"])
        explained |= np.abs(np.hypot(xs - x, ys - y) - radius) < 4
        if spot["photons"] >= 5:
            assert seen(lit, *circle(x, y, radius)) > 0.95, spot["fs"]
    assert not (lit & ~explained).any()
    said = viewer.page.locator("#gallery-legend").text_content()
    assert f"true spots: {len(strong)} of at least 5 photons" in said


def test_found_peaks_are_marked_where_the_model_put_them(viewer, production, bright) -> None:
    found = read_frame(production, *bright).found
    assert len(found) > 0
    viewer.point_at(found["fs"].iloc[0], found["ss"].iloc[0])
    lit = viewer.drawn("found")
    half = 2 * max(6, 3 * viewer.scale)
    part = np.linspace(0.05, 0.95, 15)
    for _, peak in found.iterrows():
        x, y = viewer.on_canvas(peak["fs"], peak["ss"])
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            rows, columns = (
                (y + a * half * part).astype(int),
                (x + b * half * (1 - part)).astype(int),
            )
            assert seen(lit, rows, columns) > 0.9
    wrong = int((~found["matched"]).sum())
    said = viewer.page.locator("#gallery-legend").text_content()
    assert f"found by peaks: {len(found)}" in said
    assert (f"crossed: {wrong} at no true spot" in said) == (wrong > 0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_single_photon_shows_on_every_scale(visit, report, production, bright, scheme) -> None:
    page = visit(report / "index.html", scheme=scheme).page
    assert page.evaluate("([a, b]) => spotmill.openFrame(a, b)", list(bright))
    viewer = Viewer(page)
    viewer.show()
    photons = read_frame(production, *bright).photons
    ones, zeros = np.argwhere(photons == 1), np.argwhere(photons == 0)
    zeros = zeros[(zeros[:, 1] < 80) | (zeros[:, 1] > 85)]
    for level in ("1", "20", "100", "0"):
        page.locator("#gallery-levels").select_option(level)
        viewer.painted()
        picture = viewer.picture()

        for pair in zip(ones[:20], zeros[:20], strict=True):
            places = [viewer.on_canvas(fs + 0.5, ss + 0.5) for ss, fs in pair]
            one, zero = [picture[int(y), int(x)] for x, y in places]
            assert np.abs(one - zero).max() > 45, level


@pytest.mark.parametrize("width", [400, 1300, 2560])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_viewer_fits_the_screen_and_can_be_read(
    visit, report, screenshots, bright, width, scheme
) -> None:
    opened = visit(report / "index.html", width=width, scheme=scheme)
    assert opened.page.evaluate("([a, b]) => spotmill.openFrame(a, b)", list(bright))
    viewer = Viewer(opened.page)
    opened.page.screenshot(path=screenshots / f"{width}_{scheme}_viewer.png")
    none_of(opened.run("contrast", "#gallery-viewer") + opened.run("boxes", "#gallery-viewer"))
    none_of(opened.run("structure", "#gallery-viewer") + opened.run("overflow"))
    box = viewer.canvas.bounding_box()
    assert box["width"] > 0.6 * min(width, 900) and box["height"] > 300
    assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_viewer_keeps_the_focus_within(viewer) -> None:
    inside = "() => document.getElementById('gallery-viewer').contains(document.activeElement)"
    outside = 0
    for _ in range(25):
        viewer.page.keyboard.press("Tab")
        # A browser may stop once at its own bar.
        outside += not viewer.page.evaluate(inside)
        assert viewer.page.evaluate(
            "() => document.activeElement === document.body || "
            "document.getElementById('gallery-viewer').contains(document.activeElement)"
        )
    assert outside < 4


@pytest.mark.parametrize("width", WIDTHS)
def test_the_grid_has_columns_that_fit(gallery, width) -> None:
    gallery.set_viewport_size({"width": width, "height": 900})
    lefts, tops, rights = gallery.evaluate(
        """() => {
            const tiles = document.querySelectorAll("#gallery-grid li");
            const boxes = [...tiles].map((one) => one.getBoundingClientRect());
            return ["left", "top", "right"].map((side) => boxes.map((box) => box[side]));
        }"""
    )
    assert min(lefts) >= 0 and max(rights) <= width
    assert min(right - left for left, right in zip(lefts, rights, strict=True)) > 100
    assert tops.count(tops[0]) >= 2
