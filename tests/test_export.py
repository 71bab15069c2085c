"""ONNX files: they answer as the program does, say what they are, and are not written otherwise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_data import EVERY
from kinds_data import DETECTOR, common, make_kinds
from learning_data import make, write_task
from safetensors.numpy import load_file, save_file

from spotmill.cli import main
from spotmill.formats.digests import file_digest, signed_json
from spotmill.learning import onnx_export
from spotmill.learning.encoders import EncodedFrames
from spotmill.learning.models.radial_profile import ProfileEncoder, Settings
from spotmill.learning.onnx_graphs import RadialProfiles, SummedFrames
from spotmill.learning.registry import MODELS
from spotmill.learning.setup import open_task
from spotmill.learning.store import load_card, load_network
from spotmill.tasks import Task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with frames and a task for every model."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_kinds(folder, EVERY)
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def trained(name: str) -> Path:
    """Return the model folder of a task, trained when it is first asked for."""
    folder = Path("models") / name
    if not (folder / "model.json").exists():
        assert main(["train", *common(name), "--output", str(folder)]) == 0
    return folder


def export(name: str, output: str, *words: str) -> int:
    given = ["--split", f"splits/{name}.parquet", *words]
    return main(["export", "onnx", "--model", str(trained(name)), *given, "--output", output])


def answer(path: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def properties(path: str) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


# The frames here have no classes of photon energy: see `test_profiles_are_exported`.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "radial_profile"])
def test_every_model_is_exported(name: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Besides its own check, which holds it against torch on frames."""
    assert EVERY[name]["model"] == name
    assert export(name, f"{name}.onnx") == 0
    onnx.checker.check_model(f"{name}.onnx", full_check=True)
    said = properties(f"{name}.onnx")
    assert json.loads(said["spotmill.card"]) == load_card(Path("models") / name)
    assert said["spotmill.weights_sha256"] == file_digest(f"models/{name}/model.safetensors")
    (domain,) = [entry for entry in onnx.load(f"{name}.onnx").opset_import if not entry.domain]
    assert str(domain.version) == said["spotmill.opset"] == str(onnx_export.OPSET)
    # Nothing of this machine.
    raw = Path(f"{name}.onnx").read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in raw
    assert str(here).encode() not in raw


@pytest.mark.parametrize("name", ["patch_counter", "binary_cnn", "linear"])
def test_answers_are_those_of_the_program(name: str, here: Path) -> None:
    """On test frames, which the export did not see; whole frames enter as they are stored."""
    if not Path(f"{name}.onnx").exists():
        assert export(name, f"{name}.onnx") == 0
    task = Task.read(f"{name}.yaml")
    setup = open_task(task, Path(f"splits/{name}.parquet"), Path(DETECTOR), f"{name}.yaml")
    rows = setup.frames.rows("test")[:7]
    network = load_network(Path("models") / name, task, "x")
    frames = EncodedFrames(setup.images, setup.encoder, setup.frames.truth)
    encoded = frames.inputs(rows)
    with torch.no_grad():
        wanted = network(encoded).numpy()
    if MODELS[name].whole_frames:
        read = [setup.images.read(row) for row in rows.tolist()]
        photons = np.stack([image for image, _ in read]).astype(np.float32)
        # What dead pixels hold does not matter.
        photons[:, ~read[0][1]] = 1e6
        inputs = {"photons": photons, "mask": read[0][1]}
    else:
        inputs = {"encoded": encoded.numpy()}
    found = answer(f"{name}.onnx", inputs)
    scale = np.abs(wanted).max()
    assert np.abs(found["logits"] - wanted).max() <= 1e-4 * scale
    facts = load_card(Path("models") / name)["calibration"]
    z = facts["slope"] * wanted[:, 0].astype(np.float64) + facts["offset"]
    assert found["probabilities"][:, 1] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-4)
    assert found["probabilities"].sum(1) == pytest.approx(1)
    setup.images.close()


def test_profiles_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole frames enter, and the graph makes their profiles."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path, patterns=20, datasets=("A", "B"))
    task = write_task(
        tmp_path / "energy.yaml",
        target="photon_energy",
        model="radial_profile",
        settings={"bins": 24, "terms": 5},
        epochs=2,
    )
    words = ["--manifest", "manifest/A.parquet", "manifest/B.parquet"]
    assert main(["split", "--task", str(task), *words, "--output", "splits/energy.parquet"]) == 0
    given = ["--split", "splits/energy.parquet", "--detector", "small.geom"]
    assert main(["train", "--task", str(task), *given, "--output", "models/energy"]) == 0
    assert main(["export", "--model", "models/energy", *given[2:], "--output", "e.onnx"]) == 0
    inputs = {entry.name for entry in onnx.load("e.onnx").graph.input}
    assert inputs == {"photons", "mask"}


def test_encoders_in_graphs_are_the_encoders(here: Path) -> None:
    """Block sums that do not divide the frame, and profiles with spots at every edge."""
    rng = np.random.default_rng(3)
    image = rng.poisson(0.5, (23, 31)).astype(np.uint16)
    image[[0, 22, 11, 5], [0, 30, 17, 30]] = [9, 9, 7, 6]
    mask = rng.random(image.shape) > 0.1
    photons, live = torch.from_numpy(image.astype(np.float32))[None], torch.from_numpy(mask)
    for size in (1, 2, 3, 8):
        summed = SummedFrames(image.shape, size)(photons, live)[0, 0].numpy()
        clean = np.where(mask, image, 0)
        for i in range(summed.shape[0]):
            for j in range(summed.shape[1]):
                block = clean[i * size : (i + 1) * size, j * size : (j + 1) * size]
                assert summed[i, j] == block.sum()
    radius = np.hypot(*np.mgrid[-11:12, -15:16]).astype(np.float32)
    radius[3] = np.nan
    settings = Settings(bins=8, spot_photons=4, spot_reach=2)
    encoder = ProfileEncoder(settings, SimpleNamespace(radius=radius))  # type: ignore[arg-type]
    (wanted,) = encoder.encode(image, mask)
    found = RadialProfiles(encoder)(photons, live)[0].numpy()
    assert np.array_equal(found, wanted)
    assert wanted[1].sum() < mask.sum() - 4


def test_the_same_bytes_twice(here: Path) -> None:
    assert export("patch_counter", "one.onnx") == 0
    assert export("patch_counter", "two.onnx", "--detector", DETECTOR) == 0
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()


def test_a_file_that_answers_otherwise_is_not_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the weights of the graph changed on their way."""
    whole = onnx_export.to_onnx

    def spoilt(case: Any, source: str) -> onnx.ModelProto:
        model = whole(case, source)
        for place, tensor in enumerate(model.graph.initializer):
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size > 1:
                changed = onnx.numpy_helper.from_array(values * 1.01, tensor.name)
                model.graph.initializer[place].CopyFrom(changed)
        return model

    monkeypatch.setattr(onnx_export, "to_onnx", spoilt)
    assert export("patch_counter", "spoilt.onnx") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "models/patch_counter: " in said and "differs from torch by" in said
    assert not Path("spoilt.onnx").exists()


def test_damaged_models_are_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained("patch_counter"), tmp_path / "patch_counter")

    def says() -> str:
        words = ["--split", "splits/patch_counter.parquet", "--output", str(tmp_path / "x.onnx")]
        assert main(["export", "--model", str(folder), *words]) == 1
        assert not (tmp_path / "x.onnx").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    weights, card = folder / "model.safetensors", folder / "model.json"
    whole = weights.read_bytes()
    weights.write_bytes(b"\x80\x04cposix\nsystem\n.")
    assert "does not hold this model" in says()
    values = load_file(trained("patch_counter") / "model.safetensors")
    save_file({key: np.asarray(value + 1) for key, value in values.items()}, weights)
    assert "is not the file that training wrote" in says()
    weights.write_bytes(whole)
    facts = json.loads(card.read_text())
    facts["dimensions"]["shape"] = [17, 7]
    card.write_text(signed_json({key: facts[key] for key in facts if key != "sha256"}))
    assert "which was made for (17, 7)" in says()
    card.write_text("{}")
    assert "is no model card" in says()
    card.unlink()
    assert "no such file" in says()


def test_without_its_libraries_it_says_what_to_install(here: Path) -> None:
    """In a process that cannot find onnxruntime."""
    code = (
        "import sys, importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda n, *a: None if n == 'onnxruntime' else find(n, *a); "
        "from spotmill.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["export", "--model", str(trained("patch_counter")), "--output", "none.onnx"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "onnx needs onnxruntime; pip install 'spotmill[export]'" in done.stderr
