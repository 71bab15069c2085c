"""The page of the report on a small synthetic production of two datasets and three tasks."""

# Fixtures come by import.
# ruff: noqa: F401, F811

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_production import (
    FIGURES,
    HIT_FIGURES,
    SCRIPT,
    SHAPE,
    TASK_FIGURES,
    arguments,
    evaluation,
    production,
    report,
    workplace,
    write_task,
)

from spotmill.cli import main
from spotmill.tasks import Task as MillTask


class Page(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = frozenset(("meta", "link", "img", "br", "input"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes out of order"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page((report / "index.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_its_links_lead_somewhere(report: Path, page: Page) -> None:
    assert page.open == []
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    places = [link for link in links if not link.startswith(("#", "gallery/", "cost/"))]
    assert places and all((report / link).is_file() for link in places)
    inside = [link[1:] for link in links if link[0] == "#"]
    assert inside and set(inside) <= set(names)


def test_headings_come_in_order_and_the_first_link_skips_the_contents(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(low - high <= 1 for high, low in pairwise(levels))
    first = next(attributes for tag, attributes in page.tags if tag == "a")
    assert first["href"] == "#main"


def test_held_out_datasets_are_named(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    energy = text[text.index('<section id="task-energy">') :]
    assert "the test frames are all frames of 02," in energy
    assert text.count("Held out:") == 1


def test_page_needs_nothing_from_elsewhere(report: Path, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("object", "embed")
        place = str(attributes.get("src") or attributes.get("href") or "#")
        assert re.match(r"#|data:,|(figures|scripts|gallery|cost|saliency)/[\w./-]+$", place), place
        if tag == "script":
            assert "src" in attributes or attributes["type"] == "application/json"
    text = (report / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(text) < 1_000_000


def test_every_figure_is_shown_and_on_disk_with_its_data(report: Path, page: Page) -> None:
    names = {*FIGURES, *(f"{task}_{name}" for task in ("hit", "low") for name in HIT_FIGURES)}
    names |= {f"energy_{name}" for name in TASK_FIGURES}
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    shown = [p for p in pictures if str(p["src"]).startswith("figures/")]
    # Where there is nothing to draw, a sentence stands in the picture's place.
    empty = {"energy_errors", "energy_spots", "energy_calibration"}
    assert {p["src"] for p in shown} == {f"figures/{name}.png" for name in names - empty}
    assert "This evaluation lists none" in "".join(page.text)
    assert all(len(str(p["alt"])) > 20 for p in pictures)
    for attributes in shown:
        png = (report / str(attributes["src"])).read_bytes()
        assert int(str(attributes["width"])) == int.from_bytes(png[16:20])
        assert int(str(attributes["height"])) == int.from_bytes(png[20:24])
    for name in names:
        table = pd.read_csv(report / f"figures/{name}.csv")
        # Of that task nothing is known of these.
        assert (len(table) == 0) == (name in empty), name
        svg = (report / f"figures/{name}.svg").read_text(encoding="utf-8")
        assert svg.rstrip().endswith("</svg>") and "dc:date" not in svg
    written = {path.name for path in (report / "figures").iterdir()}
    named = {f"{name}.{ending}" for name in names for ending in ("png", "svg", "csv")}
    assert written == named | {"tasks.csv"}


def test_figures_and_page_are_small(report: Path) -> None:
    """Beside the gallery and Plotly's library, a task has 1 MB, and the data 2 MB."""
    tasks = 3
    files = [report / "index.html", *(report / "figures").iterdir()]
    assert sum(path.stat().st_size for path in files) < 1_000_000 * tasks + 2_000_000
    for path in (report / "figures").glob("*.png"):
        # Byte 25 of a PNG tells its kind: 3 is of indexed colours.
        assert path.read_bytes()[25] == 3, path.name


def test_texts_are_escaped(report: Path, page: Page) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "".join(page.text).count(SCRIPT) >= 5


def test_page_speaks_of_no_place_and_is_the_same_twice(report: Path, workplace: Path) -> None:
    assert main(arguments()) == 0
    for path in sorted(report.rglob("*.*")):
        twin = workplace / "report" / path.relative_to(report)
        assert path.read_bytes() == twin.read_bytes(), path.name
        assert str(report.parent).encode() not in path.read_bytes()


def charts(report: Path) -> dict[str, dict]:
    """Return the charts of the page by the names of their figures."""
    text = (report / "index.html").read_text(encoding="utf-8")
    found = re.findall(
        r'<figure id="figure-(\w+)" data-height="(\d+)">.*?'
        r'<script type="application/json">(.*?)</script>',
        text,
        re.DOTALL,
    )
    told = {name: json.loads(chart) for name, _, chart in found}
    assert all(told[name]["layout"]["height"] == int(height) for name, height, _ in found)
    return told


def test_figures_to_look_at_closely_have_charts(report: Path) -> None:
    expected = {"radial_profiles", "distributions", "map", "hit_training", "hit_curves"}
    expected |= {"energy_training", "low_training", "low_curves", "low_confusion"}
    assert set(charts(report)) == expected


def test_charts_show_what_the_tables_say(report: Path) -> None:
    told = charts(report)

    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(report / f"figures/{name}.csv", dtype={"dataset": str})

    losses = {trace["name"]: trace for trace in told["hit_training"]["data"]}
    history = table("hit_training")
    for column in ("train_loss", "validation_loss", "validation_accuracy"):
        trace = losses[column.replace("_", " ")]
        assert trace["x"] == history["epoch"].tolist()
        assert np.allclose(trace["y"], history[column], rtol=1e-5)

    curves = table("hit_curves")
    ours = curves[(curves["name"] == "patch_counter") & (curves["curve"] == "roc")]
    trace = next(t for t in told["hit_curves"]["data"] if t["name"].startswith("patch_counter"))
    assert np.allclose(trace["x"], ours["x"], rtol=1e-5)
    assert np.allclose(trace["y"], ours["y"], rtol=1e-5)

    flux = table("low_confusion")
    for name, rows in flux.groupby("name"):
        trace = next(t for t in told["low_confusion"]["data"] if t["name"] == name)
        assert np.allclose(trace["x"], rows["flux"], rtol=1e-5)
        assert np.allclose(trace["y"], rows["auroc"], rtol=1e-5)
        low = np.array(trace["y"]) - trace["error_y"]["arrayminus"]
        assert np.allclose(low, rows["low"], rtol=1e-5)

    water = table("radial_profiles")
    for column, name in (
        ("expected_photons_per_pixel", "expected water"),
        ("measured_photons_per_pixel", "measured in empties"),
    ):
        shown = [t["y"] for t in told["radial_profiles"]["data"] if t["name"] == name]
        rows = water[water["pixels"] > 0]
        assert np.allclose(np.concatenate(shown), rows[column], rtol=1e-5)

    lines = table("distributions")
    spots = lines[(lines["dataset"] == "01") & (lines["panel"] == "spots")]
    assert spots["x"].tolist() == [0, 3, 6, 9] and spots["y"].tolist() == [1, 0.75, 0.5, 0.25]
    assert told["distributions"]["data"][0]["y"] == spots["y"].tolist()

    frames = table("map")
    points = [tuple(f) for t in told["map"]["data"] if t["name"] != "odd" for f in t["customdata"]]
    each = list(zip(frames["dataset"], frames["index"], strict=True))
    assert sorted(points) == sorted(each * 2)
    odd = next(t for t in told["map"]["data"] if t["name"] == "odd")
    assert odd["customdata"] == [list(each[1])] and odd["marker"]["symbol"] == ["circle-open"]


def test_scripts_are_those_of_the_packages(report: Path) -> None:
    assert {path.name for path in (report / "scripts").iterdir()} == {"charts.js", "plotly.min.js"}
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    assert (report / "scripts/plotly.min.js").read_bytes() == plotly


def test_odd_frames_are_ringed_and_listed(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "16 of 99 frames" in text
    assert "Odd frames, the oddest first" in text
    assert "ring excess" in text and "of the ring that stands out most" in text


def test_data_table_counts_frames(report: Path) -> None:
    table = pd.read_csv(report / "figures/datasets.csv", dtype={"dataset": str})
    assert table["dataset"].tolist() == ["01", "02"]
    assert table["patterns"].tolist() == [4, 4]
    assert table["empties"].tolist() == [4, 4]
    assert table["hits"].tolist() == [3, 3]
    assert table["median_spots"].tolist() == [4.5, 4.5]
    assert (table["d_corner"] < table["d_edge"]).all()
    live = SHAPE[0] * (SHAPE[1] - 4)
    assert np.allclose(table["expected_water_photons"], 0.2 * live)
    # Gap pixels hold 60000 and must not be counted.
    far = (table["water_ratio"] - 1).abs() / table["water_ratio_sigma"]
    assert (far < 4).all()


def test_report_without_tasks(workplace: Path) -> None:
    assert main(arguments(tasks=())) == 0
    assert "No task was trained" in (workplace / "report/index.html").read_text()


def test_the_report_names_the_figures_that_are_drawn(report: Path) -> None:
    names = {"hit": HIT_FIGURES, "photon_energy": TASK_FIGURES}
    for target, expected in names.items():
        words = {"target": target, "model": "linear", "epochs": 1, "learning_rate": 0.1}
        assert set(MillTask.parse(words, "t").figures) == set(expected)


def test_the_page_tells_calibration_and_false_alarms(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "before calibration" in text
    # One in a hundred cannot be told from thirty.
    assert "recall above all 30 validation blanks" in text
    assert "from 30 validation blanks, too few to set 1.0 %; passed by 2.0 % of 50" in text


def test_the_page_tells_recall_at_every_flux(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    assert "recall hits found 50.0 % 35.0 to 65.0, n 40 50.0 % 35.0 to 65.0, n 40" in text
    assert "too few to set 1.0 % false alarms 90.0 % 80.0 to 96.0, n 50" in text
