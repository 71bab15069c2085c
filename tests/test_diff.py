"""`spotmill diff`: words and figures of what a run would do."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from mill import Mill, replace

from spotmill.changes import differences
from spotmill.commands.diff import count, model_work, size, time
from spotmill.pending import Change, changes_in, files_in

pytestmark = pytest.mark.slow

SHEET = "config/datasets.tsv"


def test_nothing(mill) -> None:
    assert mill.diff() == "Nothing to do: everything is as the configuration asks.\n"
    said = json.loads(mill.diff("--json"))
    assert said["total"] == {
        "jobs": 0,
        "frames": 0,
        "core_hours": 0,
        "bytes": 0,
        "replaced_bytes": 0,
    }


def test_an_edited_row(mill) -> None:
    mill.edit(SHEET, replace("8000", "7900"))
    said = mill.diff()
    assert (
        "\n  B: photon_energy 8000 → 7900 eV\n    36 frames in 3 shards (p00000 … p00001, e00000): "
        in said
    )
    assert "\n  untouched: A, C\n" in said
    assert (
        "\n  hit, photon_energy_linear: frames of B change\n    each trained and evaluated\n"
        in said
    )
    assert "camera_length" not in said
    assert "\nAlso: table of all frames, " in said
    assert "Estimated from earlier runs here" in said
    assert all(len(line) < 130 for line in said.splitlines())


def test_figures_are_those_of_the_files_and_benchmarks(mill) -> None:
    mill.edit(SHEET, replace("8000", "7900"))
    said = json.loads(mill.diff("--json"))
    (part,) = said["datasets"]
    assert (part["name"], part["frames"]) == ("B", 36)
    assert part["jobs"]["simulate"] == 2 and part["shards"] == ["p00000", "p00001", "e00000"]
    files = [
        mill / f"results/{name}"
        for name in (
            "images/B.geom",
            "images/water/B.h5",
            "manifest/B.parquet",
            "manifest/B.checked",
        )
    ]
    files += (mill / "results/cards/B").iterdir()
    for folder in ("images/peaks", "images/peaks_water_overlay", "images/labels", "truth"):
        files += (mill / f"results/{folder}/B").iterdir()
    held = sum(path.stat().st_size for path in files)
    assert part["replaced_bytes"] == held and part["bytes"] == pytest.approx(held, abs=3)
    seconds = 0.0
    for rule in (
        "simulate",
        "overlay",
        "labels",
        "empty",
        "water",
        "geometry",
        "manifest",
        "check",
        "card",
    ):
        for path in (mill / f"results/benchmarks/{rule}").rglob("*.tsv"):
            if "B" in (path.stem, path.parent.name):
                seconds += float(path.read_text().splitlines()[1].split("\t")[0])
    assert part["core_hours"] == pytest.approx(seconds / 3600, abs=2e-6)
    parts = [*said["datasets"], *said["models"], said["other"]]
    assert said["total"]["core_hours"] == pytest.approx(
        sum(p["core_hours"] for p in parts), abs=1e-5
    )
    assert said["total"]["bytes"] == pytest.approx(sum(p["bytes"] for p in parts), abs=9)
    jobs = mill.pending()
    assert said["total"]["jobs"] == sum(len(found) for found in jobs.values())


def test_twice_the_frames_take_twice_the_time(mill) -> None:
    mill.edit(SHEET, lambda text: text + "D\t7000\t0.06\t24\nE\t7000\t0.06\t48\n")
    said = json.loads(mill.diff("--json"))
    one, two = said["datasets"]
    assert one["why"] == two["why"] == ["new"] and two["frames"] == 2 * one["frames"] == 72
    assert 1.5 < two["core_hours"] / one["core_hours"] < 2
    assert {m["name"]: m["why"] for m in said["models"]}["hit"] == ["with the frames of D, E"]


def test_more_and_fewer_patterns(mill) -> None:
    mill.edit(SHEET, replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t48"))
    assert (
        "  C: n_patterns 24 → 48; frames without a crystal 12 → 24\n    36 frames in 3 shards "
        in mill.diff()
    )
    mill.restore()
    mill.edit(SHEET, replace("C\t6000\t0.09\t24", "C\t6000\t0.09\t12"))
    assert (
        "  C: n_patterns 24 → 12; frames without a crystal 12 → 6\n    6 frames in 1 shard (e00000)"
        in mill.diff()
    )


def test_a_dataset_removed(mill) -> None:
    mill.edit(SHEET, replace("B\t8000\t0.05\t24\n", ""))
    # The others are of one photon energy.
    task = "config/tasks/photon_energy_linear.yaml"
    mill.edit("config/config.yaml", replace(f"  - {task}\n", ""))
    said = mill.diff()
    assert "\n  hit: without the frames of B\n" in said and "Datasets" not in said


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        (
            "config/beams/weak.yaml",
            replace("1.0e8", "1.1e8"),
            "A, B, C: beam (weak.yaml): nphotons 1e+08 → 1.1e+08",
        ),
        (
            "config/detectors/tiny.geom",
            replace("left/corner_x = -83", "left/corner_x = -84"),
            "detector (tiny.geom): left/corner_x -83 → -84",
        ),
        (
            "config/crystals/proteinase_k.yaml",
            replace("d_min: 2.5", "d_min: 2.6"),
            "proteinase_k: d_min 2.5 → 2.6 Å",
        ),
        (
            "config/solvents/thin.yaml",
            replace("2.0e-5", "3e-5"),
            "solvent (thin.yaml): thickness 2e-05 → 3e-05",
        ),
        (
            "config/tasks/hit.yaml",
            replace("epochs: 30", "epochs: 60"),
            "hit: hit.yaml: epochs 30 → 60\n    trained and evaluated",
        ),
        (
            "config/tasks/hit.yaml",
            lambda text: text + "notes: [Sunday]\n",
            "hit: hit.yaml: controls or notes\n    evaluated, not trained",
        ),
        (
            "config/config.yaml",
            lambda text: text + "label_threshold: 2\n",
            "A, B, C: label_threshold 1 → 2\n    each 24 frames in 2 shards ",
        ),
        (
            "config/config.yaml",
            lambda text: text + "engine: lattice\n",
            "engine integrated → lattice",
        ),
        (
            "config/config.yaml",
            lambda text: text + "split: {train: 0.6, validation: 0.2, test: 0.2}\n",
            "split.train 0.7 → 0.6; split.validation 0.1 → 0.2\n",
        ),
        (
            "config/config.yaml",
            replace("shard_size: 12", "shard_size: 24"),
            "shard_size is another",
        ),
    ],
)
def test_a_changed_value_is_named(mill, name, edit, words) -> None:
    mill.edit(name, edit)
    assert words in mill.diff()


def test_a_raised_recipe(mill) -> None:
    from spotmill.recipes import RECIPES

    said = mill.diff(recipes={"overlay": RECIPES["overlay"] + 3})
    assert (
        f"A, B, C: recipe of overlay raised from {RECIPES['overlay']} to {RECIPES['overlay'] + 3}\n"
        in said
    )
    said = mill.diff(models={"linear": 5})
    assert "photon_energy_linear: recipe of model linear raised from 1 to 5\n" in said
    assert "Datasets" not in said


def test_an_engine_without_earlier_runs_takes_typical_times(mill) -> None:
    mill.edit("config/config.yaml", lambda text: text + "engine: crystfel\n")
    said = json.loads(mill.diff("--json"))
    assert said["basis"].endswith("typical times of a laptop for 6")
    assert said["total"]["core_hours"] > 72 * 0.02 * 100 / 3600


def test_a_fresh_folder(finished_mill, dry_runs, tmp_path) -> None:
    mill = Mill(tmp_path / "fresh", dry_runs)
    away = shutil.ignore_patterns("results", ".snakemake", "logs")
    shutil.copytree(finished_mill, mill.folder, symlinks=True, ignore=away)
    said = mill.diff()
    assert "  proteinase_k: new\n" in said and "  A, B, C: new\n    each 36 frames" in said
    assert re.search(r"Total: 56 jobs, 108 frames, about .* core-hours", said)
    assert "typical times of a laptop" in said
    assert not (mill / "results").exists()


def test_targets_and_wrong_ones(mill) -> None:
    mill.edit(SHEET, replace("8000", "7900"))
    said = mill.diff("results/images/water/B.h5")
    assert "B: photon_energy 8000 → 7900 eV\n    water\n" in said and "Models" not in said


def test_a_reason_is_taken_apart() -> None:
    reason = (
        "Params have changed since last execution: Union of exclusive params before and now "
        "across all output: before: ['--seed', 7],1,'beam 0123456789abcdef01234567',"
        "['--engine', 'integrated'] now: ['--seed', 8],2,'beam 1123456789abcdef01234567',"
        "['--engine', 'lattice', '--n-wavelengths', '7'] "
    )
    assert changes_in(reason) == (
        Change("beam says", "0123456789abcdef01234567", "1123456789abcdef01234567"),
        Change("engine", "integrated", "lattice"),
        Change("n_wavelengths", None, "7"),
        Change("recipe", "1", "2"),
        Change("seed", "7", "8"),
    )
    assert files_in(
        "Missing output files: a, b; Updated input files: c", "Missing output files"
    ) == ("a", "b")


def test_values_and_figures_in_words() -> None:
    before = {"a": 1, "b": {"c": 2.0, "d": 3}, "e": None}
    assert differences(before, {"a": 1, "b": {"c": 2.5, "d": 3}, "e": [1]}) == [
        "b.c 2 → 2.5",
        "e none → [1]",
    ]
    assert (count(1, "job"), count(1234, "frame")) == ("1 job", "1 234 frames")
    assert [size(n) for n in (0, 999, 1000, 2_340_000, 5e9)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "2.3 MB",
        "5 GB",
    ]
    assert [time(s) for s in (36, 3600, 36000)] == [
        "0.01 core-hours (36 s)",
        "1 core-hours (60 min)",
        "10 core-hours",
    ]


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ({"split": 1, "train": 1, "evaluate": 1, "saliency": 1}, "trained and evaluated"),
        ({"evaluate": 1, "saliency": 1}, "evaluated, not trained"),
        ({"split": 1}, "frames assigned to training and test"),
        ({"saliency": 1}, "saliency; neither trained nor evaluated"),
    ],
)
def test_what_is_done_with_a_model_is_told_of_the_rules_that_run(
    jobs: dict[str, int], words: str
) -> None:
    assert model_work(SimpleNamespace(jobs=jobs)) == words
