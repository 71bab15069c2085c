"""Whatever made a frame is told, and makes it again bit for bit."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import simulate_words, water_words

from spotmill.cli import main
from spotmill.overlays.opener import open_overlay

RANDOMISE = """
photon_energy: {normal: [0, 20]}
clen: {uniform: [-1.0e-3, 1.0e-3]}
beam_x: {normal: [0, 1.0e-4]}
flux: {lognormal: [1, 0.3]}
dead_modules: {choice: [0, 1]}
"""
OVERLAYS = "results/images/peaks_water_overlay/A"


@pytest.fixture
def project(tiny: Path, spotmill) -> Path:
    """Return a project with a shard of patterns and one of empties of dataset A."""
    make(spotmill)
    return tiny


def make(spotmill, first: int = 24, randomise: bool = False, **changes: object) -> None:
    """Make shards of patterns and empties as the workflow would lay them out."""
    images, drawn = "results/images", []
    if randomise:
        Path("config/randomise.yaml").write_text(RANDOMISE)
        drawn = ["--randomise", "config/randomise.yaml"]
    water = f"{images}/water/A.h5"
    spotmill(*water_words(water))
    words = simulate_words("p00002", first=first, count=4, **changes)
    peaks, truth = f"{images}/peaks/A/p00002.h5", "results/truth/A/p00002.parquet"
    places = {"peaks/p00002.h5": peaks, "truth/p00002.parquet": truth}
    words = [places.get(word, word) for word in words]
    spotmill(*words, *drawn)
    seed = ["--seed", 7, *drawn]
    spotmill(
        "overlay", "--water", water, "--peaks", peaks, *seed, "--output", f"{OVERLAYS}/p00002.h5"
    )
    empties = ["--first", 10_000_000, "--count", 3]
    spotmill("overlay", "--water", water, *empties, *seed, "--output", f"{OVERLAYS}/e00000.h5")
    labels = f"{images}/labels/A/p00002.h5"
    spotmill("labels", "--peaks", peaks, "--threshold", 2, "--output", labels)
    spotmill(
        "manifest", "--overlay", f"{OVERLAYS}/p00002.h5", f"{OVERLAYS}/e00000.h5",
        "--peaks", peaks, "--labels", labels, "--truth", truth,
        "--output", "results/manifest/A.parquet",
    )  # fmt: skip


def printed(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main(["explain", *map(str, words)]) == 0
    return capsys.readouterr().out


def remade(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the commands that were printed under "To make it again" in a folder."""
    after = text.split("To make it again, bit for bit\n")[1]
    commands = after.split("which, ")[0]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    folder.mkdir()
    return subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def image(path: str | Path, position: int) -> np.ndarray:
    with open_overlay(path) as shard:
        return shard.read(position)


def check_remade(capsys, shard: Path, position: int, folder: Path) -> None:
    text = printed(capsys, shard.resolve(), position)
    # A changed configuration must not matter: what was recorded does.
    shutil.rmtree("config", ignore_errors=True)
    done = remade(text, folder)
    assert done.returncode == 0, done.stdout
    assert "bit for bit" in done.stdout
    (made,) = folder.glob("*/overlay.h5")
    np.testing.assert_array_equal(image(made, 0), image(shard, position))
    assert image(made, 0).any()


@pytest.mark.parametrize("randomise", [False, True])
def test_printed_commands_make_the_frame_again(
    tiny, tmp_path_factory, spotmill, capsys, randomise
) -> None:
    make(spotmill, randomise=randomise)
    fresh = tmp_path_factory.mktemp("elsewhere")
    for name in ("p00002", "e00000"):
        check_remade(capsys, Path(f"{OVERLAYS}/{name}.h5"), 2, fresh / name)


def test_the_lattice_engine_too(tiny, tmp_path_factory, spotmill, capsys) -> None:
    path = Path("config/crystals/proteinase_k.yaml")
    path.write_text(path.read_text().replace("4.0e-6", "8.0e-8"))
    path = Path("config/beams/weak.yaml")
    path.write_text(path.read_text().replace("1.0e8", "1.0e13"))
    make(spotmill, engine="lattice", n_wavelengths=3)
    fresh = tmp_path_factory.mktemp("elsewhere") / "fresh"
    check_remade(capsys, Path(f"{OVERLAYS}/p00002.h5"), 1, fresh)


def test_spectrum_orientations_peaks_and_labels_are_exported(tiny, spotmill, capsys) -> None:
    spectrum = "\n".join(f"{energy} {1 + energy % 7}" for energy in range(5900, 6101, 10))
    Path("config/beams/measured.txt").write_text(spectrum + "\n")
    beam = Path("config/beams/weak.yaml")
    beam.write_text(beam.read_text() + "spectrum: file\nspectrum_file: config/beams/measured.txt\n")
    Path("turns.txt").write_text("".join(f"1 {n} 0 {n + 1}\n" for n in range(4)))
    text = "".join(
        " ".join(map(str, np.array([1, n, 0, n + 1]) / np.linalg.norm([1, n, 0, n + 1]))) + "\n"
        for n in range(4)
    )
    Path("turns.txt").write_text(f"# w x y z\n{text}")
    make(spotmill, orientations="turns.txt")
    for number, kind in enumerate(("peaks", "labels", "peaks_water_overlay")):
        path = f"results/images/{kind}/A/p00002.h5"
        told = json.loads(printed(capsys, f"{path}//3", "--json", "--export", f"again{number}"))
        assert told["image"]["sha256"] == told["commands"]["check"][-1]
        script = Path(f"again{number}/remake.sh").read_text()
        assert "--orientations orientation.txt" in script
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(["sh", f"again{number}/remake.sh"], env=environment, check=True)
        made = Path(f"again{number}") / told["commands"]["check"][2].removesuffix("//0")
        np.testing.assert_array_equal(image(made, 0), image(path, 3))
        assert image(made, 0).any()


def test_a_frame_has_many_names(project, capsys) -> None:
    shard = f"{OVERLAYS}/p00002.h5"
    first = printed(capsys, shard, 1)
    for words in ([f"{shard}//1"], [f"{shard} //1"], [shard, "//1"], ["A/25"]):
        assert printed(capsys, *words) == first
    empty = printed(capsys, "A/e2")
    assert empty == printed(capsys, "A/10000002") == printed(capsys, f"{OVERLAYS}/e00000.h5", 2)
    assert "no: there is no crystal" in empty and "empty 2 of dataset A" in empty
    water = printed(capsys, "results/images/water/A.h5", 0)
    assert "expected background" in water and "spotmill water" in water


def test_what_is_told_is_what_the_tables_hold(project, capsys) -> None:
    told = json.loads(printed(capsys, "A/26", "--json"))
    spots = pd.read_parquet("results/truth/A/p00002.parquet").query("index == 26")
    row = pd.read_parquet("results/truth/A/p00002.frames.parquet").query("index == 26").iloc[0]
    strongest = spots.sort_values("photons").iloc[-1]
    assert told["spots"][0]["photons"] == strongest["photons"] > 0
    assert [told["spots"][0][axis] for axis in "hkl"] == strongest[["h", "k", "l"]].tolist()
    assert told["content"]["n_spots"] == row["n_spots"] == (spots["photons"] >= 5).sum()
    np.testing.assert_array_equal(told["content"]["quaternion"], row["quaternion"])
    assert told["record"]["seed"] == {"overlay": 7, "peaks": 7}
    whole = image(f"{OVERLAYS}/p00002.h5", 2)
    assert told["image"]["photons"] == whole.sum()
    text = printed(capsys, "A/26")
    for part in ("6000 eV", "50 mm", "P 43 21 2", "4 µm", "water, a sheet"):
        assert part in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A/3"], "A/3: no such frame; there are crystal: 24 to 27, empty: e0 to e2"),
        (["B/3"], "B: no such dataset (there are A)"),
        ([f"{OVERLAYS}/p00002.h5", "9"], "holds 4 frames, numbered 0 to 3"),
        ([f"{OVERLAYS}/p00002.h5"], "which frame?"),
        ([f"{OVERLAYS}/p00007.h5", "0"], "no such shard"),
        (["nonsense"], "names no frame"),
        (["A/24", "more", "words"], "names no frame"),
        (["A/24", "--expect", "0" * 64], "is another image"),
        (["A/24", "--export", "config"], "config is not empty"),
    ],
)
def test_an_unknown_frame_is_one_line(project, capsys, words, message) -> None:
    capsys.readouterr()
    assert main(["explain", *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_another_image_is_noticed(project, spotmill, capsys) -> None:
    told = json.loads(printed(capsys, "A/25", "--json"))
    check = told["commands"]["check"]
    assert "bit for bit" in printed(capsys, "A/25", "--expect", check[-1])
    assert main(["explain", "A/24", "--expect", check[-1]]) == 1


def test_an_older_recipe_is_told(project, capsys, monkeypatch) -> None:
    monkeypatch.setitem(__import__("spotmill.recipes").recipes.RECIPES, "simulate", 1000)
    assert "simulate was recipe" in printed(capsys, "A/25")
    assert "simulate was recipe" not in printed(capsys, "A/e1")


def test_the_remedy_for_a_lost_structure(project, capsys) -> None:
    Path("resources").unlink()
    assert shlex.split(printed(capsys, "A/25").splitlines()[-3])[0] == "spotmill"
    assert main(["explain", "A/25", "--export", "again"]) == 1
    assert "is not there" in capsys.readouterr().err and not Path("again").exists()
