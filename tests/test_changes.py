"""What changed since the last report: intervals of differences, what is kept, and the words."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from test_report import arguments, evaluation, production, workplace, write_task  # noqa: F401

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.report.changes import look_back, metric_words, value_words, what_changed
from spotmill.report.compare import Compared, compare, difference
from spotmill.report.figures_changes import draw_changes
from spotmill.report.past import MOST, Past, read_other, read_past
from spotmill.report.summary import DatasetSummary, Metric, Summary, TaskSummary, values_of


def share(hits: int, n: int) -> Metric:
    ends = binomtest(hits, n).proportion_ci(0.95, "wilson")
    return Metric(value=hits / n, interval=(ends.low, ends.high), n=n)


def summary(recall: Metric | None = None, **changes: object) -> Summary:
    metrics = {"recall": recall or share(78, 80), "accuracy": share(150, 160)}
    task = TaskSummary(
        model="patch_counter", good=True, n={"test": 160}, threshold=0.43, metrics=metrics
    )
    values: dict = {
        "version": "0.1.0",
        "recipes": {"simulate": "2"},
        "datasets": {"01": DatasetSummary(patterns=80, empties=40, hits=40)},
        "tasks": {"hit": task},
        "configuration": {"config.yaml": {"seed": 7, "hit": {"min_spots": 3}}},
    }
    return Summary(**(values | changes))


# Newcombe, Statist. Med. 17 (1998) 873, table II, method 10: counts, and the limits printed there.
PRINTED = [
    ((56, 70), (48, 80), 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.1705, 0.8090),
    ((6, 7), (2, 7), 0.0582, 0.8062),
    ((5, 56), (0, 29), -0.0381, 0.1926),
    ((0, 10), (0, 20), -0.1611, 0.2775),
    ((0, 10), (0, 10), -0.2775, 0.2775),
    ((10, 10), (0, 20), 0.6791, 1.0),
    ((10, 10), (0, 10), 0.6075, 1.0),
]


@pytest.mark.parametrize(("first", "second", "low", "high"), PRINTED)
def test_differences_of_shares_are_those_that_newcombe_printed(first, second, low, high) -> None:
    found = difference(share(*second), share(*first))
    assert found == pytest.approx((low, high), abs=6e-5)
    back = difference(share(*first), share(*second))
    assert back == pytest.approx((-high, -low), abs=6e-5)


def test_differences_of_normal_estimates_are_the_textbook_ones() -> None:
    """Standard errors add in quadrature."""

    def normal(value: float, error: float) -> Metric:
        ends = (value - 1.96 * error, value + 1.96 * error)
        return Metric(value=value, interval=ends, n=50, unit="eV", more_is_better=False)

    found = difference(normal(300.0, 6.0), normal(280.0, 8.0))
    assert found == pytest.approx((-20 - 1.96 * 10, -20 + 1.96 * 10))


def test_nineteen_of_twenty_intervals_hold_the_true_difference() -> None:
    rng = np.random.default_rng(3)
    held = []
    for p, q, n, m in ((0.9, 0.97, 60, 120), (0.5, 0.7, 40, 40)):
        for _ in range(1500):
            old, new = share(rng.binomial(n, p), n), share(rng.binomial(m, q), m)
            low, high = difference(old, new)
            held.append(low <= q - p <= high)
    assert 0.935 < np.mean(held) < 0.975


def compared(old: Metric, new: Metric) -> Compared:
    return Compared("hit", "recall", old, new, difference(old, new))


def test_better_and_worse_are_said_only_where_luck_does_not_do() -> None:
    # Though 0.975 and 0.991 differ: of 80 and 120 frames they need not.
    assert compared(share(78, 80), share(119, 120)).verdict == "no change shown"
    words = metric_words(compared(share(78, 80), share(119, 120)))
    assert words.startswith("hit: recall 0.975 (n 80) → 0.992 (n 120): no change shown")
    assert "difference +0.017, 95\u00a0% interval −0.02" in words
    assert compared(share(50, 80), share(110, 120)).verdict == "better"
    assert compared(share(110, 120), share(50, 80)).verdict == "worse"
    error = Metric(value=300, interval=(290, 310), n=9, unit="eV", more_is_better=False)
    less = error.model_copy(update={"value": 200.0, "interval": (190.0, 210.0)})
    assert compared(error, less).verdict == "better"
    # Each inside the other's interval is not asked for: intervals may overlap, and yet.
    overlap = compared(share(60, 100), share(75, 100))
    assert overlap.before.interval[1] > overlap.now.interval[0] and overlap.verdict == "better"


def test_metrics_of_another_unit_are_not_compared() -> None:
    old = summary(Metric(value=1.0, interval=(0.9, 1.1), n=5, unit="eV"))
    assert [one.name for one in compare(old.tasks, summary().tasks)] == ["accuracy"]


def test_a_first_report_has_none_before_it(tmp_path: Path) -> None:
    back = look_back(summary(), tmp_path / "reports.json", None)
    assert back.changes.earlier == "" and not back.changes.problem
    assert not (tmp_path / "reports.json").exists()
    back.keep()
    assert (tmp_path / "reports.json").exists()


def test_the_same_report_again_changes_no_byte(tmp_path: Path) -> None:
    """A killed, repeated or forced job: the page is compared with the same, the file the same."""
    path = tmp_path / "reports.json"
    first, second = summary(), summary(share(60, 80))
    for now in (first, second):
        look_back(now, path, None).keep()
    before = path.read_bytes()
    for _ in range(2):
        back = look_back(second, path, None)
        assert first.digest[:8] in back.changes.earlier
        back.keep()
        assert path.read_bytes() == before
    # A change taken back: the report between is the one before.
    look_back(first, path, None).keep()
    assert second.digest[:8] in look_back(first, path, None).changes.earlier
    assert len(json.loads(path.read_text())["reports"]) == 2


def test_so_many_reports_are_kept_and_only_files_that_they_name(tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    for seed in range(MOST + 3):
        configuration = {"config.yaml": {"seed": seed}, "beam.yaml": {"nphotons": 1e8}}
        look_back(summary(configuration=configuration), path, None).keep()
    told = json.loads(path.read_text())
    assert len(told["reports"]) == MOST
    assert len(told["files"]) == MOST + 1
    whole = read_past(path).before(summary())
    assert whole is not None and whole.configuration is not None
    assert whole.configuration["config.yaml"] == {"seed": MOST + 2}
    assert str(tmp_path) not in path.read_text()


def test_what_is_read_back_is_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    Past(path, read_past(path).archive).keep(summary())
    back = read_past(path).before(summary(version="0.2.0"))
    assert back == summary() and back.digest == summary().digest


DAMAGE = {
    "half a file": lambda text: text[: len(text) // 2],
    "another number": lambda text: text.replace("0.43", "0.53"),
    "no object": lambda _: "[]",
    "another key": lambda text: (
        text.replace('"model"', '"modle"').split('"sha256"')[0].rstrip(", \n") + "}"
    ),
    "nesting": lambda _: "[" * 100_000,
    "bytes": lambda _: "\0",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_told_and_left_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    look_back(summary(), path, None).keep()
    path.write_text(DAMAGE[name](path.read_text()))
    damaged = path.read_bytes()
    back = look_back(summary(share(60, 80)), path, None)
    assert back.changes.earlier == ""
    problem = back.changes.problem
    assert "\n" not in problem and str(path) in problem
    assert "delete" in problem and "--forcerun report" in problem
    back.keep()
    assert path.read_bytes() == damaged
    # Asked for by name, it is an error.
    with pytest.raises(SpotmillError, match=r"reports\.json: "):
        read_other(tmp_path)


def test_another_folder_of_results(tmp_path: Path) -> None:
    other = tmp_path / "other"
    look_back(summary(share(60, 80)), other / "reports.json", None).keep()
    changes = look_back(summary(), tmp_path / "reports.json", other).changes
    assert changes.earlier == f"the report of {other}"
    assert [verdict for verdict, _ in changes.shown] == ["better"]
    with pytest.raises(SpotmillError, match="holds no earlier report"):
        look_back(summary(), None, tmp_path / "nowhere")


def test_the_words_name_all_that_differs() -> None:
    old = summary(
        datasets={
            "01": DatasetSummary(patterns=80, empties=40, hits=40),
            "02": DatasetSummary(patterns=8, empties=4, hits=4),
        },
        configuration={
            "config.yaml": {"seed": 8, "hit": {"min_spots": 4}},
            "old.geom": values_of("old.geom", "clen = 0.1\n"),
            "sheet.tsv": values_of("sheet.tsv", "dataset\tclen\n01\t0.1\n02\t0.2\n"),
        },
        recipes={"simulate": "1"},
        version="0.0.9",
    )
    task = (
        summary()
        .tasks["hit"]
        .model_copy(update={"good": False, "threshold": 0.5, "model": "linear", "n": {"test": 170}})
    )
    now = summary(
        datasets={
            "01": DatasetSummary(patterns=80, empties=40, hits=75),
            "03": DatasetSummary(patterns=8, empties=4, hits=4),
        },
        configuration={
            "config.yaml": {"seed": 7, "hit": {"min_spots": 3}},
            "sheet.tsv": values_of("sheet.tsv", "dataset\tclen\n01\t0.3\n03\t0.2\n"),
        },
        tasks={"hit": task},
    )
    changes = what_changed(old, now, "x")
    assert changes.counted.startswith("Of 2 figures of merit in both reports 0 are better")
    assert changes.tasks == [
        "hit: holds → does not hold (see the verdict)",
        "hit: model patch_counter → linear",
        "hit: threshold 0.43 → 0.5",
        "hit: frames test 160 → 170",
    ]
    added, gone, grown = changes.datasets
    assert added == "03: new, 4 hits of 8 patterns and 4 empties"
    assert gone == "02: gone, it had 4 hits of 8 patterns and 4 empties"
    assert "0.500 → 0.938: more" in grown
    assert changes.configuration == [
        "old.geom: no longer used",
        "config.yaml: seed 8 → 7, hit.min_spots 4 → 3",
        "sheet.tsv: 01.clen 0.1 → 0.3",
    ]
    assert changes.versions == ["Spotmill 0.0.9 → 0.1.0", "recipe of simulate 1 → 2"]
    assert what_changed(now, now, "x").same


def test_changed_values_are_named_key_by_key() -> None:
    old = {"tasks": ["a.yaml", "b.yaml"], "order": ["x", "y"], "seed": 7}
    new = {
        "tasks": ["b.yaml", "a_rather_long_name_of_a_task.yaml"],
        "order": ["y", "x"],
        "seed": 7,
        "publication": {"licence": "CC0-1.0"},
    }
    assert value_words(old, new) == [
        "tasks with a_rather_long_name_of_a_task.yaml",
        "tasks without a.yaml",
        "order in another order",
        "publication.licence none → CC0-1.0",
    ]


def test_comments_and_how_a_report_is_made_are_no_configuration() -> None:
    plain = values_of("config.yaml", "seed: 7\n")
    assert values_of("config.yaml", "# why\nseed:   7\nreport: {earlier: x}\n") == plain
    assert values_of("a.geom", "; why\nclen = 0.1 ; here\n") == {"clen": "0.1"}


def test_the_figure_has_both_sides_and_their_numbers() -> None:
    metrics = {"recall": share(60, 80), "accuracy": share(150, 160)}
    error = Metric(value=300, interval=(290, 310), n=9, unit="eV", more_is_better=False)
    old = summary().tasks["hit"].model_copy(update={"metrics": metrics | {"error": error}})
    new = summary().tasks["hit"].model_copy(
        update={"metrics": metrics | {"recall": share(78, 80)}
                | {"error": error.model_copy(update={"value": 280.0})}}
    )  # fmt: skip
    pairs = compare({"hit": old}, {"hit": new})
    drawing = draw_changes(pairs, "another")
    assert drawing is not None and drawing.picture.png.startswith(b"\x89PNG")
    again = draw_changes(pairs, "another")
    assert again is not None and again.picture == drawing.picture
    table = drawing.data.set_index("metric")
    assert list(table["verdict"]) == ["better", "the same", "no change shown"]
    assert math.isclose(table.loc["recall", "difference"], 18 / 80)
    assert draw_changes(compare({"hit": old}, {"hit": old}), "another") is None


def make_report(*words: str, history: str = "reports.json") -> str:
    """Make the report with one task of hits, and return the text of its section."""
    assert main([*arguments(("hit",)), "--history", history, *words]) == 0
    page = Path("report/index.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="changes">') :]
    return " ".join(section[: section.index("</section>")].split())


def all_bytes() -> dict[str, bytes]:
    found = {str(path): path.read_bytes() for path in Path("report").rglob("*") if path.is_file()}
    return found | {"reports.json": Path("reports.json").read_bytes()}


def test_reports_one_after_the_other(
    workplace: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A first one, one with other numbers, that again, and one after the history was damaged."""
    assert "There is no earlier report" in make_report()
    assert not Path("report/figures/changes.png").exists()

    worse = evaluation()
    worse["results"][0]["recall"] = {"value": 0.5, "n": 50, "interval": [0.366, 0.634]}
    write_task(workplace, worse)
    config = Path("config/config.yaml")
    config.write_text("# a comment\n" + config.read_text() + "seed: 5\n")
    section = make_report()
    assert "1 is worse" in section and "recall 0.980 (n 50) → 0.500 (n 50): worse" in section
    assert "config.yaml: seed none → 5" in section
    assert 'src="figures/changes.png"' in section
    before = all_bytes()
    assert "report/figures/changes.csv" in before and "report/figures/changes.svg" in before
    make_report()
    assert all_bytes() == before
    assert str(workplace).encode() not in b"".join(before.values())

    write_task(workplace, evaluation())
    Path("reports.json").write_bytes(before["reports.json"][:-40])
    capsys.readouterr()
    section = make_report()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "reports.json: is not valid JSON; delete reports.json" in told
    assert "✗ not read" in section and "--forcerun report" in section
    # Nothing of the comparison before is left.
    assert not list(Path("report/figures").glob("changes.*"))


def test_results_of_a_version_that_kept_no_reports(
    workplace: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = workplace / "other"
    for folder in ("evaluation", "models"):
        (workplace / folder / "energy").rename(workplace / folder / ".energy")
        (workplace / folder / "low").rename(workplace / folder / ".low")
    (other / "manifest").mkdir(parents=True)
    for name, place in (("evaluation", "evaluation"), ("models", "models")):
        (other / name).symlink_to(workplace / place)
    (other / "manifest/all.parquet").symlink_to(workplace / "all.parquet")
    section = make_report("--earlier", "other")
    assert "What the earlier configuration said is not known." in section
    assert "0 are better, 0 are worse, 0 differ" in section
    capsys.readouterr()
    assert main([*arguments(("hit",)), "--earlier", "nowhere"]) == 1
    told = capsys.readouterr().err
    assert "nowhere: holds no earlier report" in told and told.count("\n") == 1
