"""The configuration: unknown keys, ranges, and the reference made from it."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from spotmill.concepts import Beam
from spotmill.config import Config, read_datasets
from spotmill.errors import SpotmillError
from spotmill.plan import read_plan
from spotmill.reference import render


def sheet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "datasets.tsv"
    path.write_text(text)
    return path


def test_reference_of_all_keys_is_in_step_with_the_schema() -> None:
    assert (ROOT / "config/README.md").read_text() == render(), (
        "run: python -m spotmill.reference > config/README.md"
    )


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert not [row for row in rows if row.endswith("|  |")]


def test_shipped_configuration_is_the_papers_table_1(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    datasets = read_datasets("config/datasets.tsv")
    table = [(row.photon_energy, row.clen) for row in datasets.values()]
    assert table == [(e, c) for c in (0.15, 0.25, 0.35) for e in (6000.0, 7000.0, 8000.0)]
    beam = Beam.read("config/beams/cxls.yaml")
    assert (beam.nphotons, beam.beam_radius, beam.bandwidth) == (3e8, 5e-6, 0.01)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "nphotons: 3e8\nbeam_radius: 5e-6\nbandwidth: 0.01\nflux: 3\n",
            r"beam\.yaml: flux: unknown",
        ),
        ("nphotons: 3e8\nbeam_radius: 5e-6\n", r"beam\.yaml: bandwidth: is required"),
        ("nphotons: -1\nbeam_radius: 5e-6\nbandwidth: 0.01\n", r"nphotons: .*greater than 0"),
        ("nphotons: .nan\nbeam_radius: 5e-6\nbandwidth: 0.01\n", r"nphotons: .*finite"),
        ("nphotons: 3e8\nbeam_radius: 5.0\nbandwidth: 0.01\n", r"beam_radius: .*less than 0.1"),
        ("nphotons: [1\n", r"beam\.yaml: line 2: is not valid YAML"),
        ("- 1\n", r"beam\.yaml"),
        ("", r"beam\.yaml"),
    ],
)
def test_a_wrong_beam_file_is_one_line_with_file_and_key(tmp_path, text, says) -> None:
    path = tmp_path / "beam.yaml"
    path.write_text(text)
    with pytest.raises(SpotmillError, match=says) as caught:
        Beam.read(path)
    assert "\n" not in str(caught.value)


HEAD = "dataset\tphoton_energy\tclen\tn_patterns\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "01\t6000\t0.15\t40\n01\t7000\t0.15\t40\n", r"line 3: dataset: .*twice"),
        (HEAD + "a\t6000\t0.15\t40\nA\t7000\t0.15\t40\n", r"line 3: dataset: .*twice"),
        (HEAD + "a/b\t6000\t0.15\t40\n", r"line 2: dataset: .*letters, digits"),
        (HEAD + "..\t6000\t0.15\t40\n", r"line 2: dataset: .*letters, digits"),
        (HEAD + "$(id)\t6000\t0.15\t40\n", r"line 2: dataset: .*letters, digits"),
        (HEAD + "01\t-6000\t0.15\t40\n", r"line 2: photon_energy: "),
        (HEAD + "01\tnan\t0.15\t40\n", r"line 2: photon_energy: "),
        (HEAD + "01\t6\t0.15\t40\n", r"line 2: photon_energy: .*100"),
        (HEAD + "01\t6000\t0\t40\n", r"line 2: clen: "),
        (HEAD + "01\t6000\t0.15\t0\n", r"line 2: n_patterns: "),
        (HEAD + "01\t6000\t0.15\t4.5\n", r"line 2: n_patterns: "),
        (HEAD + "01\t6000\t0.15\n", r"line 2: has 3 columns, the header 4"),
        (HEAD + "01\t6000\t\t40\n", r"line 2: clen: is empty; fill it in: camera length, m"),
        (
            "dataset\tphoton_energy\tn_patterns\n01\t6000\t40\n",
            r"line 1: lacks the column clen; add it .*camera length, m",
        ),
        (
            "dataset\tn_patterns\n01\t40\n",
            r"line 1: lacks the columns photon_energy, clen; add them",
        ),
        ("01\t6000\t0.15\t40\n", r"line 1: is not the header that must come first"),
        (HEAD, r"has a header but no dataset"),
        ("", r"has no rows"),
        ("dataset\tenergy\n01\t6000\n", r"line 1: unknown column 'energy'; .*mean photon_energy\?"),
        (
            "dataset,photon_energy\n01,6000\n",
            r"line 1: its columns are not separated by tabs; save",
        ),
    ],
)
def test_a_wrong_sheet_is_one_line_with_file_and_line(tmp_path, text, says) -> None:
    with pytest.raises(SpotmillError, match=says) as caught:
        read_datasets(sheet(tmp_path, text))
    assert "datasets.tsv" in str(caught.value) and "\n" not in str(caught.value)


def test_shards_cover_every_frame_once_and_growing_moves_none(tmp_path, monkeypatch) -> None:
    shutil.copytree(ROOT / "tests/tiny/config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    values = {"datasets": "config/datasets.tsv", "shard_size": 10} | {
        "detector": "config/detectors/tiny.geom",
        "response": "config/detectors/tiny.yaml",
        "beam": "config/beams/weak.yaml",
        "crystal": "config/crystals/proteinase_k.yaml",
        "solvent": "config/solvents/thin.yaml",
    }
    plan = read_plan(values)
    assert plan.shards("A") == ["p00000", "p00001", "p00002", "e00000", "e00001"]
    frames = [
        index
        for shard in plan.shards("A")
        for index in range(plan.first(shard), plan.first(shard) + plan.count("A", shard))
    ]
    assert frames == [*range(24), *range(10_000_000, 10_000_012)]


def test_a_task_that_selects_a_missing_dataset_is_refused(tmp_path, monkeypatch) -> None:
    shutil.copytree(ROOT / "tests/tiny/config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    task = tmp_path / "config/tasks/hit.yaml"
    task.write_text(task.read_text() + "\ndatasets: [A, Z]\n")
    from spotmill.model import read_yaml

    with pytest.raises(SpotmillError, match=r"hit\.yaml: datasets: 'Z' is not in"):
        read_plan(read_yaml("config/config.yaml"))


def test_a_search_of_a_task_that_is_left_out_says_how_to_leave_it_out_too(
    tmp_path, monkeypatch
) -> None:
    shutil.copytree(ROOT / "tests/tiny/config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    Path("config/search.yaml").write_text(
        "task: other\nspace: {learning_rate: {log: [0.1, 1]}}\n", encoding="utf-8"
    )
    from spotmill.model import read_yaml

    values = {**read_yaml("config/config.yaml"), "tuning": ["config/search.yaml"]}
    says = r"search\.yaml: task: 'other' is not one of `tasks` in mine\.yaml; .*`tuning: \[\]`"
    plan = read_plan(values, "mine.yaml")
    assert not plan.searches
    assert len(plan.idle_searches) == 1
    assert re.search(says, plan.idle_searches[0])


def test_split_shares_must_add_up() -> None:
    with pytest.raises(SpotmillError, match="add up to 1"):
        Config.parse({"split": {"train": 0.9, "validation": 0.1, "test": 0.2}}, "config.yaml")
