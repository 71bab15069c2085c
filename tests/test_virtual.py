"""Virtual overlays: the same frames as stored ones, bit for bit, from files that hold none."""

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import copy_tiny, simulate_words, water_words

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.overlays.opener import is_virtual, open_overlay
from spotmill.overlays.virtual import VirtualShard
from spotmill.recipes import RECIPES

RANDOMISE = {
    "nothing": "{}\n",
    "factors": "flux: {uniform: [0.5, 2.0]}\nbackground: {uniform: [0.5, 2.0]}\n",
    "geometry": "beam_x: {normal: [0, 2.0e-4]}\nclen: {uniform: [-1.0e-3, 1.0e-3]}\n",
    "modules": "dead_modules: 1\n",
}


def overlay(output: str, *words: object) -> None:
    given = ["--water", "water.h5", "--seed", "7", "--output", output, *words]
    assert main(["overlay", *(str(word) for word in given)]) == 0


def pair(stored: str, virtual: str, *words: object) -> None:
    overlay(stored, *words)
    overlay(virtual, *words, "--virtual")


def assert_alike(stored: str, virtual: str) -> None:
    assert is_virtual(virtual) and not is_virtual(stored)
    with open_overlay(stored) as one, open_overlay(virtual) as two:
        assert isinstance(two, VirtualShard) and type(one) is Shard
        assert (one.shape, one.dtype, len(one)) == (two.shape, two.dtype, len(two))
        np.testing.assert_array_equal(one.indices, two.indices)
        np.testing.assert_array_equal(one.mask, two.mask)
        # In another order than written, and one twice.
        for position in [*reversed(range(len(one))), 0]:
            assert one.read(position).tobytes() == two.read(position).tobytes()
        assert one.columns() == two.columns()
        for name in one.columns():
            left, right = one.column(name), two.column(name)
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with peaks and water of one dataset."""
    folder = copy_tiny(tmp_path_factory.mktemp("virtual"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (simulate_words("p00000"), water_words()):
            assert main(words) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, made the current folder."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("what", RANDOMISE)
def test_frames_and_columns_are_those_of_the_stored_shard(what: str, here: Path) -> None:
    (here / "randomise.yaml").write_text(RANDOMISE[what])
    assert main(simulate_words("r", count=4, randomise="randomise.yaml")) == 0
    pair("s/p.h5", "v/p.h5", "--peaks", "peaks/r.h5", "--randomise", "randomise.yaml")
    first = ["--first", 10_000_000, "--count", 4]
    pair("s/e.h5", "v/e.h5", *first, "--randomise", "randomise.yaml")
    for name in ("p", "e"):
        assert_alike(f"s/{name}.h5", f"v/{name}.h5")
    with open_overlay("v/p.h5") as shard:
        assert shard.read(0).tobytes() != shard.read(1).tobytes()


def test_frames_of_measured_blanks_are_the_same(here: Path) -> None:
    with Shard("water.h5") as water:
        images = np.random.default_rng(1).poisson(0.3, (3, *water.shape[1:])).astype(np.uint16)
    with h5py.File("blanks.h5", "w") as file:
        file["/entry/data/data"] = images
    words = ["--detector", "config/detectors/tiny.geom", "--photon-energy", "6000"]
    words += ["--clen", "0.05", "--dataset", "A", "--output", "water.h5", "--frames"]
    assert main(["background", *words, "blanks.h5"]) == 0
    pair("s/p.h5", "v/p.h5", "--peaks", "peaks/p00000.h5")
    assert_alike("s/p.h5", "v/p.h5")


def test_materialised_bytes_are_those_of_the_stored_file(here: Path) -> None:
    pair("s/p.h5", "v/p.h5", "--peaks", "peaks/p00000.h5")
    pair("s/e.h5", "v/e.h5", "--first", 10_000_000, "--count", 3)
    for name in ("p", "e"):
        assert main(["materialise", f"v/{name}.h5", "--output", f"m/{name}.h5"]) == 0
        assert Path(f"m/{name}.h5").read_bytes() == Path(f"s/{name}.h5").read_bytes()


def test_a_stored_shard_is_not_materialised(here: Path, capsys) -> None:
    overlay("s/e.h5", "--first", 10_000_000, "--count", 1)
    assert main(["materialise", "s/e.h5", "--output", "m.h5"]) == 1
    assert "holds its images already" in capsys.readouterr().err
    assert not Path("m.h5").exists()


def test_virtual_shards_are_small_and_repeatable(here: Path) -> None:
    for folder in ("one", "two"):
        overlay(f"{folder}/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    overlay("s/p.h5", "--peaks", "peaks/p00000.h5")
    assert Path("one/p.h5").read_bytes() == Path("two/p.h5").read_bytes()
    assert Path("one/p.h5").stat().st_size < 0.5 * Path("s/p.h5").stat().st_size


def test_other_programs_find_no_image_and_are_told_why(here: Path) -> None:
    overlay("v/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    with h5py.File("v/p.h5") as file:
        assert "data" not in file["entry"]
        assert "spotmill materialise" in file["entry"].attrs["virtual"]
    with pytest.raises(SpotmillError, match=r"v/p\.h5"):
        Shard("v/p.h5")


def test_names_of_sources_are_relative_so_the_folder_can_move(here: Path) -> None:
    overlay("v/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    before = frames_digest("v/p.h5")
    shutil.copytree(here, here.parent / "moved", symlinks=True)
    shutil.rmtree(here / "peaks")
    assert frames_digest(here.parent / "moved/v/p.h5") == before


def frames_digest(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open_overlay(path) as shard:
        for position in range(len(shard)):
            digest.update(shard.read(position).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("source", ["water.h5", "peaks/p00000.h5"])
def test_a_changed_source_is_refused(source: str, here: Path, capsys) -> None:
    overlay("v/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    frames_digest("v/p.h5")
    kept = Path(source).read_bytes()
    # Another water and other peaks, both whole files of the same dataset.
    if source == "water.h5":
        Path("config/solvents/thin.yaml").write_text(
            Path("config/solvents/thin.yaml").read_text() + "\n# thinner\n"
        )
        assert main(water_words()) == 0
    else:
        assert main(simulate_words("p00000", seed=8)) == 0
    assert main(["materialise", "v/p.h5", "--output", "m.h5"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "v/p.h5" in error and source in error
    assert "has changed since" in error
    Path(source).write_bytes(kept)
    frames_digest("v/p.h5")
    Path(source).unlink()
    with pytest.raises(SpotmillError, match="no such shard"):
        open_overlay("v/p.h5")


def test_broken_virtual_shards_are_refused(here: Path) -> None:
    overlay("v/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    kept = Path("v/p.h5").read_bytes()

    def without_sources(file: h5py.File) -> None:
        attributes = file["/entry/spotmill"].attrs
        parameters = json.loads(attributes["parameters"])
        del parameters["virtual"]
        attributes["parameters"] = json.dumps(parameters)

    def without_index(file: h5py.File) -> None:
        del file["/entry/frames/index"]

    for spoil in (without_sources, without_index):
        Path("v/p.h5").write_bytes(kept)
        with h5py.File("v/p.h5", "r+") as file:
            spoil(file)
        with pytest.raises(SpotmillError, match=r"v/p\.h5: lacks parts of a virtual shard"):
            open_overlay("v/p.h5")
    Path("v/p.h5").write_bytes(kept[: len(kept) // 2])
    with pytest.raises(SpotmillError, match=r"v/p\.h5"):
        open_overlay("v/p.h5")


def test_another_recipe_draws_other_frames_and_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay("v/p.h5", "--peaks", "peaks/p00000.h5", "--virtual")
    monkeypatch.setitem(RECIPES, "overlay", RECIPES["overlay"] + 1)
    with pytest.raises(SpotmillError, match=r"v/p\.h5: is to be drawn by recipe"):
        open_overlay("v/p.h5")


def test_what_cannot_be_drawn_is_refused_before_a_file_is_written(here: Path, capsys) -> None:
    Path("randomise.yaml").write_text("flux: 2.0\n")
    given = ["--water", "water.h5", "--seed", "7", "--output", "v/p.h5", "--virtual"]
    words = ["overlay", *given, "--peaks", "peaks/p00000.h5", "--randomise", "randomise.yaml"]
    assert main(words) == 1
    assert "--randomise" in capsys.readouterr().err
    assert not Path("v/p.h5").exists()


def dataset(name: str, photon_energy: float, virtual: bool) -> str:
    """Make a dataset in results/; return its manifest."""
    light = {"photon_energy": photon_energy, "dataset": name}
    folder = Path("results/images/peaks_water_overlay") / name
    peaks, water = f"results/images/peaks/{name}/p00000.h5", f"results/images/water/{name}.h5"
    labels, truth = (
        f"results/images/labels/{name}/p00000.h5",
        f"results/truth/{name}/p00000.parquet",
    )
    words = simulate_words("-", count=20, **light)
    assert main([*words, "--output", peaks, "--truth", truth]) == 0
    assert main(water_words(water, **light)) == 0
    assert main(["labels", "--peaks", peaks, "--output", labels]) == 0
    drawn = ["overlay", "--water", water, "--seed", "7", *["--virtual"] * virtual]
    outputs = [str(folder / f"{kind}00000.h5") for kind in "pe"]
    assert main([*drawn, "--peaks", peaks, "--output", outputs[0]]) == 0
    assert main([*drawn, "--first", "10000000", "--count", "20", "--output", outputs[1]]) == 0
    words = ["--overlay", *outputs, "--peaks", peaks, "--labels", labels, "--truth", truth]
    manifest = f"results/manifest/{name}.parquet"
    assert main(["manifest", *words, "--output", manifest]) == 0
    assert main(["check", manifest, "--output", f"results/manifest/{name}.checked"]) == 0
    return manifest


def learn(virtual: bool) -> dict[str, bytes]:
    """Make two datasets, train and evaluate; return every file that must not differ."""
    manifests = [dataset("A", 6000, virtual), dataset("B", 8000, virtual)]
    common = ["--task", "config/tasks/hit.yaml", "--split", "split.parquet"]
    assert main(["split", *common[:2], "--manifest", *manifests, "--output", "split.parquet"]) == 0
    common += ["--detector", "config/detectors/tiny.geom"]
    assert main(["train", *common, "--output", "model"]) == 0
    given = ["--model", "model", "--water", "results/images/water/A.h5", "--output", "evaluation"]
    # So few frames may leave a control off chance; the evaluation is written all the same.
    main(["evaluate", *common, *given])
    files = [Path("split.parquet"), *map(Path, manifests)]
    files += [*Path("model").iterdir(), *Path("evaluation").iterdir()]
    return {path.as_posix(): path.read_bytes() for path in files}


def test_training_and_evaluation_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for virtual in (False, True):
        folder = copy_tiny(tmp_path / str(virtual))
        task = folder / "config/tasks/hit.yaml"
        task.write_text(task.read_text().replace("epochs: 30", "epochs: 4"))
        monkeypatch.chdir(folder)
        found.append(learn(virtual))
    stored, virtual_files = found
    assert {"model/model.safetensors", "evaluation/predictions.parquet"} <= stored.keys()
    assert stored.keys() == virtual_files.keys()
    for name, content in stored.items():
        assert virtual_files[name] == content, name
