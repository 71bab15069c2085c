"""What a report is made of, damaged: one line of error, and nothing is left behind."""

# Fixtures come by import.
# ruff: noqa: F401, F811

import shutil
from pathlib import Path

import pytest
from report_production import FILES, arguments, production, workplace

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.report.evaluations import read_tasks


def damage_evaluation(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace('"accuracy"', '"acuracy"'))


def damage_confusion(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace("[49, 1]", "[48, 1]", 1))


def name_unknown_frame(root: Path) -> None:
    path = root / "evaluation/hit/evaluation.json"
    path.write_text(path.read_text().replace('"index": 1,', '"index": 77,'))


DAMAGE = {
    "no evaluation": (lambda r: (r / "evaluation/hit/evaluation.json").unlink(), "evaluation.json"),
    "half an evaluation": (
        lambda r: (r / "evaluation/hit/evaluation.json").write_text('{"task": '),
        "line 1: is not valid JSON",
    ),
    "wrong key": (damage_evaluation, "results.0.accuracy: is required"),
    "wrong sum": (damage_confusion, "does not add up to n = 100"),
    "unknown frame": (name_unknown_frame, "has no frame 77 of dataset '01'"),
    "no model": (lambda r: (r / "models/hit/model.json").unlink(), "model.json: no such file"),
    "no history": (lambda r: (r / "models/hit/history.csv").unlink(), "history.csv: no such file"),
    "no water": (lambda r: (r / "water/02.h5").unlink(), "water/02.h5: no such shard"),
    "wrong water": (
        lambda r: shutil.copy(r / "overlay/01/c00000.h5", r / "water/01.h5"),
        "holds overlay, not expected water",
    ),
    "other sheet": (
        lambda r: (r / "config/datasets.tsv").write_text(
            FILES["config/datasets.tsv"].replace("\n02", "\n03")
        ),
        "dataset '02' is not in config/datasets.tsv",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGE[name]
    damage(workplace)
    assert main(arguments()) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (workplace / "report").exists()


def test_both_folders_of_a_task_are_required(workplace: Path) -> None:
    with pytest.raises(SpotmillError, match="has no model folder"):
        read_tasks([Path("evaluation/hit")], [])
    with pytest.raises(SpotmillError, match="has no evaluation folder"):
        read_tasks([], [Path("models/hit")])
