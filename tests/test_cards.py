"""Cards of datasets and crates of runs: true, readable by others' programs, always the same."""

import datetime
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import matplotlib.image
import mlcroissant
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, copy_tiny
from scipy.stats import norm
from test_explain import make

from spotmill.cli import main
from spotmill.config import Publication
from spotmill.provenance.words import law, metres
from spotmill.randomise import Randomise

MANIFEST = "results/manifest/A.parquet"
CARD = "results/cards/A/README.md"
CRATE = "results/ro-crate-metadata.json"

# Of the libraries beneath mlcroissant, not of what we write.
pytestmark = pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph:DeprecationWarning", "ignore:The inplace keyword"
)


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def card(*more: object) -> list[object]:
    return [
        "card", "--manifest", MANIFEST, "--water", "results/images/water/A.h5",
        "--geometry", "results/images/A.geom", "--output", CARD, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of one small dataset with its card and its crate."""
    folder = copy_tiny(tmp_path_factory.mktemp("cards"))
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    sheet, config = folder / "config/datasets.tsv", folder / "config/config.yaml"
    sheet.write_text("\n".join(sheet.read_text().splitlines()[:2]) + "\n")
    told = config.read_text().split("tasks:")[0]
    config.write_text(
        f"{told}publication:\n  creators: [A. Person]\n  licence: CC-BY-4.0\n  date: 2026-01-02\n"
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        make(run)
        run(
            "geometry", "--detector", "config/detectors/tiny.geom", "--beam",
            "config/beams/weak.yaml", "--photon-energy", 6000, "--clen", 0.05, "--dataset", "A",
            "--output", "results/images/A.geom",
        )  # fmt: skip
        run(*card("--creator", "A. Person", "--licence", "CC-BY-4.0", "--date", "2026-01-02"))
        run("crate", "--config", "config/config.yaml", "--output", CRATE)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(mill: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the project, made the current folder, without a network."""

    def refuse(*_: object) -> None:
        raise AssertionError("reaches for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(mill)
    return mill


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_card_says_what_the_files_hold(here) -> None:
    text, rows = Path(CARD).read_text(), pd.read_parquet(MANIFEST)
    patterns = rows[rows["kind"] == "crystal"]
    assert f"{len(rows)} simulated frames" in text and "3 frames without a crystal" in text
    hits, n = int(patterns["is_hit"].sum()), len(patterns)
    z = norm.ppf(0.975)
    middle, half = (hits + z**2 / 2) / (n + z**2), z / (n + z**2)
    half *= np.sqrt(hits * (n - hits) / n + z**2 / 4)
    shown = re.search(r"hits \| (\d+) of (\d+) .*interval ([\d.]+)% to ([\d.]+)%", text)
    assert shown and (int(shown[1]), int(shown[2])) == (hits, n)
    assert float(shown[3]) == pytest.approx(100 * (middle - half), abs=0.06)
    assert float(shown[4]) == pytest.approx(100 * (middle + half), abs=0.06)
    assert f"mean {patterns['n_spots'].mean():.4g}" in text
    spots = pd.read_parquet("results/truth/A/p00002.parquet")
    finest = spots[spots["photons"] >= 5]["d"].min()
    assert f"finest {finest:.3g} Å" in text
    for part in ("6000 eV", "50 mm", "P 43 21 2", "cubes of edge 4 µm", "sheet 20 µm thick"):
        assert part in text
    assert "CC-BY-4.0" in text and "A. Person (2026)" in text
    for name in re.findall(r"\]\(([^:)]+)\)", text):
        assert (Path(CARD).parent / name).is_file(), name


def test_pictures_show_something(here) -> None:
    for name in ("frames", "water", "spots"):
        picture = matplotlib.image.imread(f"results/cards/A/{name}.png")
        assert picture.shape[1] > 900
        assert picture[..., :3].std() > 0.05


def test_mlcroissant_reads_every_record(here) -> None:
    dataset = mlcroissant.Dataset(jsonld="results/cards/A/croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    rows = pd.read_parquet(MANIFEST)
    records = list(dataset.records("frames"))
    for column in rows.columns:
        found = [record[f"frames/{column}"] for record in records]
        found = [x.decode() if isinstance(x, bytes) else x for x in found]
        assert found == rows[column].tolist(), column
    spots = pd.read_parquet("results/truth/A/p00002.parquet")
    found = [record["spots-p00002/photons"] for record in dataset.records("spots-p00002")]
    np.testing.assert_array_equal(found, spots["photons"])
    shards = list(dataset.records("shards"))
    assert sum(shard["shards/frames"] for shard in shards) == len(rows)


def test_digests_are_those_of_the_files_wherever_they_lie(here, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(here / "results", copy)
    told = json.loads((copy / "cards/A/croissant.json").read_text())
    manifest = next(one for one in told["distribution"] if one["@id"] == MANIFEST)
    assert manifest["sha256"] == sha256(MANIFEST)
    assert {one["@id"] for one in told["distribution"]} >= set(
        map(str, Path("results/images").rglob("*.h5"))
    )
    for one in told["distribution"]:
        path = copy / "cards/A" / one["contentUrl"]
        assert one["sha256"] == sha256(path) and one["contentSize"] == f"{path.stat().st_size} B"


def test_digests_that_check_wrote_are_taken(here, tmp_path) -> None:
    checked = tmp_path / "A.checked"
    shard = "results/images/peaks/A/p00002.h5"
    checked.write_text(f"{'0' * 64}  {shard}\n# words\n")
    words = card("--checked", checked)
    words[words.index(CARD)] = "results/cards/other/README.md"
    run(*words)
    told = json.loads(Path("results/cards/other/croissant.json").read_text())
    digests = {one["@id"]: one["sha256"] for one in told["distribution"]}
    assert digests.pop(shard) == "0" * 64
    assert all(digest == sha256(name) for name, digest in digests.items())
    assert "datePublished" not in told and "license" not in told
    assert "not stated" in Path("results/cards/other/README.md").read_text()
    shutil.rmtree("results/cards/other")


def test_the_same_run_has_the_same_bytes(here) -> None:
    files = [*Path("results/cards/A").iterdir(), Path(CRATE)]
    before = {path: path.read_bytes() for path in files}
    run(*card("--creator", "A. Person", "--licence", "CC-BY-4.0", "--date", "2026-01-02"))
    run("crate", "--config", "config/config.yaml", "--output", CRATE)
    assert {path: path.read_bytes() for path in files} == before


def entities() -> dict[str, dict]:
    told = json.loads(Path(CRATE).read_text())
    assert told["@context"] == [
        "https://w3id.org/ro/crate/1.1/context",
        "https://w3id.org/ro/terms/workflow-run/context",
    ]
    found = {one["@id"]: one for one in told["@graph"]}
    assert len(found) == len(told["@graph"])
    return found


def names(value: object) -> list[str]:
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_a_crate_keeps_what_its_profiles_demand(here) -> None:
    found = entities()
    root, metadata = found["./"], found["ro-crate-metadata.json"]
    assert metadata["@type"] == "CreativeWork" and names(metadata["about"]) == ["./"]
    assert "https://w3id.org/ro/crate/1.1" in names(metadata["conformsTo"])
    assert root["@type"] == "Dataset" and root["datePublished"] == "2026-01-02"
    assert root["name"] and root["description"] and names(root["license"])[0] in found
    for profile in names(root["conformsTo"]):
        assert found[profile]["@type"] == "CreativeWork"
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in names(root["conformsTo"])
    (workflow,) = names(root["mainEntity"])
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} == set(found[workflow]["@type"])
    assert found[names(found[workflow]["programmingLanguage"])[0]]["@type"] == "ComputerLanguage"
    (action,) = names(root["mentions"])
    assert found[action]["@type"] == "CreateAction"
    assert names(found[action]["instrument"]) == [workflow]
    # Whatever is referred to is described.
    for one in found.values():
        for key, value in one.items():
            for part in value if isinstance(value, list) else [value]:
                external = isinstance(part, dict) and part["@id"].startswith("http")
                if isinstance(part, dict) and not external:
                    assert part["@id"] in found, (one["@id"], key)


def test_a_crate_names_every_file_truly(here) -> None:
    found = entities()
    files = {name: one for name, one in found.items() if "sha256" in one}
    for name, one in files.items():
        path = Path("results") / unquote(name)
        assert one["sha256"] == sha256(path) and one["contentSize"] == str(path.stat().st_size)
    (action,) = names(found["./"]["mentions"])
    results = set(names(found[action]["result"]))
    assert "images/peaks_water_overlay/A/p00002.h5" in results
    assert {"cards/A/README.md", "manifest/A.parquet", "truth/A/p00002.parquet"} <= results
    objects = set(names(found[action]["object"]))
    made = ("config/config.yaml", "config/beams/weak.yaml", "config/detectors/tiny.geom")
    for name in (*made, "config/datasets.tsv", "resources/1ic6.mtz", "envs/lock.txt"):
        assert f"source/{name}" in objects
        original = ROOT / name if name.startswith(("resources", "envs")) else here / name
        assert files[f"source/{name}"]["sha256"] == sha256(original)
    assert "source/src/spotmill/physics/pattern.py" in objects
    assert set(names(found["./"]["hasPart"])) >= results | objects


def test_what_a_crate_holds_is_enough_to_run_again(here, tmp_path) -> None:
    shutil.copytree(here / "results/source", tmp_path / "source")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["snakemake", "--profile", "profiles/local", "-n"],
        cwd=tmp_path / "source",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"card +1", done.stdout) and re.search(r"simulate +2", done.stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["crate", "--config", "config/config.yaml", "--output", "r/x.json"],
            "must be called ro-crate",
        ),
        (
            ["crate", "--config", "config/config.yaml", "--output", "r/ro-crate-metadata.json"],
            "is no whole card",
        ),
        (card("--date", "2026"), "date"),
        (card("--url", "nowhere"), "url"),
    ],
)
def test_bad_input_is_one_line(here, capsys, words, message) -> None:
    assert main([str(word) for word in words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_words_have_units() -> None:
    lengths = {5e-6: "5 µm", 0.15: "150 mm", 1.5: "1.5 m", 8e-8: "80 nm", -1e-3: "-1 mm"}
    assert {value: metres(value) for value in lengths} == lengths
    drawn = Randomise.model_validate({"photon_energy": {"normal": [0, 20]}, "tilt_x": 2})
    assert law(drawn.photon_energy, "eV") == (
        "drawn from a normal law of mean 0 eV and standard deviation 20 eV"
    )
    assert law(drawn.tilt_x, "degrees") == "2 degrees"


def test_dates_may_be_written_as_yaml_has_them() -> None:
    day = datetime.date(2026, 1, 2)
    assert Publication.model_validate({"date": day}).date == "2026-01-02"
