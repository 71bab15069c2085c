"""Which edit of the configuration remakes what; the table is docs/what-reruns.md."""

import pytest
from mill import (
    EVERY_TASK,
    LAST,
    NOT_B,
    SELECTIVE,
    SHOWN,
    learnt,
    listed,
    patterns,
    replace,
    union,
    whole,
)

from spotmill.recipes import MODEL_RECIPES, RECIPES

pytestmark = pytest.mark.slow

ALL = ("A", "B", "C")
SHEET, CONFIG = "config/datasets.tsv", "config/config.yaml"
EMPTY = {"empty": {f"{dataset} e00000" for dataset in ALL}}


def add(text: str):
    return lambda before: before + text


def test_one_photon_energy(mill) -> None:
    mill.edit(SHEET, replace("8000", "7900"))
    assert mill.pending() == union(whole("B"), learnt(*NOT_B))
    reason = mill.reasons()["water B"]
    assert "before: ['--photon-energy', 8000.0] now: ['--photon-energy', 7900.0]" in reason


def test_one_camera_length(mill) -> None:
    mill.edit(SHEET, replace("0.09", "0.08"))
    assert mill.pending() == union(whole("C"), learnt(*EVERY_TASK))
    assert "before: ['--clen', 0.09] now: ['--clen', 0.08]" in mill.reasons()["water C"]


def test_a_number_that_another_parameter_had(mill) -> None:
    """Snakemake compares the values of a job as a set: each must say whose it is."""
    mill.edit(CONFIG, add("hit: {min_spots: 5, min_photons: 3}\n"))
    changed = union(patterns(*ALL), listed(*ALL), learnt(*EVERY_TASK))
    assert mill.pending() == changed
    mill.restore()
    mill.edit(CONFIG, add("split: {train: 0.7, validation: 0.2, test: 0.1}\n"))
    assert mill.pending() == learnt(*EVERY_TASK)


def test_more_patterns(mill) -> None:
    mill.edit(SHEET, replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t48"))
    assert mill.pending() == union(
        patterns("C", shards=("p00002", "p00003")),
        {"empty": {"C e00001"}},
        listed("C"),
        learnt(*EVERY_TASK),
    )


def test_fewer_patterns(mill) -> None:
    mill.edit(SHEET, replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t12"))
    # Six empties in place of twelve are another shard.
    assert mill.pending() == union({"empty": {"C e00000"}}, listed("C"), learnt(*EVERY_TASK))


def test_a_dataset_added(mill) -> None:
    mill.edit(SHEET, add("D\t7000\t0.06\t12\n"))
    assert mill.pending() == union(
        patterns("D", shards=("p00000",)),
        {"water": {"D"}, "geometry": {"D"}, "empty": {"D e00000"}},
        listed("D"),
        learnt(*NOT_B),
    )


def test_a_dataset_removed(mill) -> None:
    mill.edit(SHEET, replace("B\t8000\t0.05\t24\n", ""))
    assert mill.pending() == union(learnt(*NOT_B), {"manifest_all": {""}, "map": {""}})
    assert "Set of input files has changed" in mill.reasons()["split hit"]


def test_rows_in_another_order(mill) -> None:
    mill.edit(
        SHEET,
        replace("B\t8000\t0.05\t24\nC\t6000\t0.09\t24", "C\t6000\t0.09\t24\nB\t8000\t0.05\t24"),
    )
    assert mill.pending() == {}


def test_a_beam_of_two_datasets(mill) -> None:
    weak = (mill / "config/beams/weak.yaml").read_text()
    mill.write("config/beams/other.yaml", weak.replace("1.0e8", "1.1e8").encode())
    rows = [line.split("\t") for line in (mill / SHEET).read_text().splitlines()]
    beams = {
        "dataset": "beam",
        "A": "",
        "B": "config/beams/other.yaml",
        "C": "config/beams/other.yaml",
    }
    lines = ["\t".join([*row, beams[row[0]]]) for row in rows]
    mill.write(SHEET, ("\n".join(lines) + "\n").encode())
    assert mill.pending() == union(whole("B", "C"), learnt(*EVERY_TASK))


WATER_ONLY = union({"water": set(ALL)}, {"overlay": patterns(*ALL)["overlay"]}, EMPTY, listed(*ALL))


@pytest.mark.parametrize(
    ("name", "edit", "remade"),
    [
        ("config/beams/weak.yaml", replace("1.0e8", "1.1e8"), whole(*ALL)),
        ("config/detectors/tiny.geom", replace("res = 2000", "res = 1900"), whole(*ALL)),
        (
            "config/crystals/proteinase_k.yaml",
            replace("4.0e-6", "3e-6"),
            union(patterns(*ALL), listed(*ALL)),
        ),
        (
            "config/crystals/proteinase_k.yaml",
            replace("d_min: 2.5", "d_min: 2.6"),
            union({"reflections": {"proteinase_k"}}, patterns(*ALL), listed(*ALL)),
        ),
        ("config/solvents/thin.yaml", replace("2.0e-5", "3e-5"), WATER_ONLY),
        (
            "config/detectors/tiny.yaml",
            replace("2.0e-4", "1.0e-4"),
            union(WATER_ONLY, patterns(*ALL)),
        ),
        (CONFIG, add("engine: lattice\n"), union(patterns(*ALL), listed(*ALL))),
        (
            CONFIG,
            add("label_threshold: 2\n"),
            union({"labels": patterns(*ALL)["labels"]}, listed(*ALL)),
        ),
        (CONFIG, replace("seed: 7", "seed: 8"), union(patterns(*ALL), EMPTY, listed(*ALL))),
    ],
    ids=["beam", "geometry", "crystal", "d_min", "solvent", "response", "engine", "labels", "seed"],
)
def test_a_concept_remakes_the_stages_that_use_it(mill, name, edit, remade) -> None:
    mill.edit(name, edit)
    assert mill.pending() == union(remade, learnt(*EVERY_TASK))


TRAINED = {"train": {"hit"}, "evaluate": {"hit"}, "saliency": {"hit"}} | SHOWN


def test_overlays_drawn_when_they_are_read(mill) -> None:
    mill.edit(CONFIG, add("overlays: virtual\n"))
    assert mill.pending() == STAGES["overlay"]


def test_a_task_file(mill) -> None:
    mill.edit("config/tasks/hit.yaml", replace("epochs: 30", "epochs: 31"))
    assert mill.pending() == TRAINED


def test_notes_and_controls_of_a_task(mill) -> None:
    evaluated = {"evaluate": {"hit"}, "saliency": {"hit"}} | SHOWN
    mill.edit("config/tasks/hit.yaml", add("notes: [Seen on a Sunday.]\n"))
    assert mill.pending() == evaluated
    mill.edit("config/tasks/hit.yaml", add("controls: {epochs: 3}\n"))
    assert mill.pending() == evaluated


SEARCH = """\
task: hit
trials: 2
space:
  learning_rate: {log: [1.0e-3, 1.0e-2]}
"""


def test_a_search(mill) -> None:
    mill.write("config/hit_search.yaml", SEARCH.encode())
    mill.edit(CONFIG, add("tuning: [config/hit_search.yaml]\n"))
    # Report and record have the configuration in them; else a run knows nothing of searches.
    assert mill.pending() == LAST
    asked = {"tune": {"hit_search"}, "tuning": {""}}
    assert mill.pending(words=["tuning"]) == asked
    mill.edit("config/tasks/hit.yaml", replace("epochs: 30", "epochs: 31"))
    assert mill.pending(words=["tuning"]) == asked


def test_what_the_report_is_compared_with(mill) -> None:
    mill.edit(CONFIG, add("report: {earlier: ../before/results}\n"))
    assert mill.pending() == LAST


def test_the_datasets_of_a_task(mill) -> None:
    mill.edit(f"config/tasks/{SELECTIVE}.yaml", replace("[A, C]", "[A, B, C]"))
    assert mill.pending() == learnt(SELECTIVE)


def test_the_datasets_that_a_task_holds_out(mill) -> None:
    mill.edit("config/tasks/hit.yaml", add("hold_out: [B]\n"))
    assert mill.pending() == learnt("hit")
    assert "without the frames of B" in mill.diff()


def test_a_task_removed(mill) -> None:
    mill.edit(CONFIG, replace("  - config/tasks/photon_energy_linear.yaml\n", ""))
    assert mill.pending() == SHOWN


def test_the_frames_of_the_gallery(mill) -> None:
    mill.edit(CONFIG, add("report: {gallery_frames: 7}\n"))
    # The report has the configuration in it.
    assert mill.pending() == SHOWN


CHECKED = {"check": set(ALL), "card": set(ALL), "crate": {""}, "cost": {""}}
STAGES = {
    "reflections": union(
        {"reflections": {"proteinase_k"}}, patterns(*ALL), listed(*ALL), learnt(*EVERY_TASK)
    ),
    "geometry": union(CHECKED, {"geometry": set(ALL)}),
    "simulate": union(patterns(*ALL), listed(*ALL), learnt(*EVERY_TASK)),
    "water": union(WATER_ONLY, learnt(*EVERY_TASK)),
    "overlay": union(
        {"overlay": patterns(*ALL)["overlay"]}, EMPTY, listed(*ALL), learnt(*EVERY_TASK)
    ),
    "labels": union({"labels": patterns(*ALL)["labels"]}, listed(*ALL), learnt(*EVERY_TASK)),
    "manifest": union(listed(*ALL), learnt(*EVERY_TASK)),
    "check": CHECKED,
    "map": {"map": {""}} | SHOWN,
    "split": learnt(*EVERY_TASK),
    # No search is part of a run.
    "tune": {},
    "train": {rule: {*EVERY_TASK} for rule in ("train", "evaluate", "saliency")} | SHOWN,
    "evaluate": {rule: {*EVERY_TASK} for rule in ("evaluate", "saliency")} | SHOWN,
    "saliency": {"saliency": {*EVERY_TASK}} | LAST,
    "gallery": {rule: {""} for rule in ("gallery", "crate", "cost")},
    "report": LAST,
    "card": {"card": set(ALL), "crate": {""}, "cost": {""}},
    "crate": {"crate": {""}, "cost": {""}},
    "cost": {"cost": {""}},
}


@pytest.mark.parametrize("stage", sorted(RECIPES))
def test_a_raised_recipe(mill, stage) -> None:
    assert mill.pending(recipes={stage: 1000}) == STAGES[stage]


@pytest.mark.parametrize("model", sorted(MODEL_RECIPES))
def test_a_raised_recipe_of_a_model(mill, model) -> None:
    tasks = {
        "patch_counter": "hit",
        "linear": "photon_energy_linear",
        "radial_profile": SELECTIVE,
    }.get(model)
    rules = ("train", "evaluate", "saliency")
    remade = {rule: {tasks} for rule in rules} | SHOWN if tasks else {}
    assert mill.pending(models={model: 1000}) == remade


def test_every_model_has_a_recipe() -> None:
    from spotmill.learning.registry import MODELS

    assert MODELS.keys() == MODEL_RECIPES.keys()
