"""The paper's further models: their layers, what they are told, what they take of memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from learning_data import GEOMETRY, SHAPE, make, mask, water, write_task

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.geom import parse_geometry
from spotmill.learning import memory
from spotmill.learning.encoders import KEPT_BYTES, View
from spotmill.learning.memory import require_room, room_of_machine, sketch
from spotmill.learning.models import dncnn, dual_input_cnn, heatmap_cnn
from spotmill.learning.models.dimensions import Dimensions
from spotmill.learning.registry import MODELS, model_module
from spotmill.tasks import Input, Task

EIGER = (2163, 2069)


def task(model: str, **changes: Any) -> Task:
    target = "peaks" if model in ("dncnn", "heatmap_cnn") else "hit"
    values = {"target": target, "model": model, "epochs": 1, "learning_rate": 0.1}
    return Task.parse(values | changes, "task")


def view() -> View:
    return View(parse_geometry(GEOMETRY, "small.geom").detector(clen=0.1, photon_energy=7000.0))


@pytest.mark.parametrize(
    ("model", "channels", "expected"),
    [
        # 9.1 GB of weights in the paper: two branches of 32 x 540 x 517 places to 128.
        ("dual_input_cnn", 2, 2 * (25 * 32 + 32) + 2 * 32 * 540 * 517 * 128 + 128 + 128 + 1),
        # 25 557 032 (He et al., with three channels and 1000 classes), first and last layer less.
        ("resnet50", 1, 25_557_032 - 2 * 64 * 49 - 999 * 2049),
        # Zhang et al.: 1 to 64, 15 times 64 to 64 with a norm and without a bias, 64 to 1.
        ("dncnn", 1, 640 + 15 * (64 * 64 * 9 + 2 * 64) + 577),
        ("heatmap_cnn", 1, 416 + 32 + 4640 + 64 + 128 + 98 + 33),
    ],
)
def test_models_have_the_weights_of_their_papers(model: str, channels: int, expected: int) -> None:
    network = sketch(task(model), Dimensions((channels, *EIGER), 1, 1), "task")
    assert network is not None
    assert sum(weight.numel() for weight in network.parameters()) == expected


def test_a_resnet_halves_its_frames_five_times() -> None:
    module = model_module("resnet50")
    network = module.Network(module.Settings(), Dimensions((1, 271, 259), 1, 1))
    shapes = []
    for block in network.stages:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    assert network.eval()(torch.zeros(1, 1, 271, 259)).shape == (1, 1)
    sizes = [(256, 68, 65)] * 3 + [(512, 34, 33)] * 4 + [(1024, 17, 17)] * 6
    assert shapes == sizes + [(2048, 9, 9)] * 3


def test_the_second_input_is_made_from_the_frame() -> None:
    rng = np.random.default_rng(1)
    expected, live = water(6000.0, 0.1), mask()
    places = [(20, 20), (40, 90), (100, 33)]
    image = rng.poisson(expected)
    for ss, fs in places:
        image[ss : ss + 2, fs : fs + 2] += 10
    image[58:62] = 1000
    settings = dual_input_cnn.Settings(candidates=3, block=40)
    encoder = dual_input_cnn.encoder(settings, Input(sum_bin=1), view())
    assert encoder.shape == (2, *SHAPE)
    batch = encoder.batch([encoder.encode(image, live)] * 2)
    assert batch.shape == (2, *encoder.shape)
    frame, signal = batch[1].numpy()
    assert np.array_equal(frame, np.where(live, image, 0))
    # One value at each spot, of 40 photons and some background, and the background taken off.
    found = np.argwhere(signal)
    assert len(found) == len(places)
    for (ss, fs), place in zip(found.tolist(), places, strict=True):
        assert max(abs(ss - place[0]), abs(fs - place[1])) <= 1
        assert signal[ss, fs] == pytest.approx(40, abs=5)
    coarse = dual_input_cnn.encoder(settings, Input(sum_bin=8), view())
    summed = coarse.batch([coarse.encode(image, live)])[0]
    assert summed.shape == coarse.shape == (2, 15, 14)
    assert summed.sum((1, 2)).tolist() == pytest.approx([frame.sum(), signal.sum()])


@pytest.mark.parametrize("layers", [5, 17])
def test_a_map_put_together_of_crops_is_that_of_the_whole_frame(layers: int) -> None:
    torch.manual_seed(2)
    settings = dncnn.Settings(layers=layers, channels=4, tile=64)
    network = dncnn.Network(settings, Dimensions((1, *SHAPE), 1, 1))
    frame = np.random.default_rng(2).poisson(0.3, (200, 170)).astype(np.float32)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.normal_()
        whole = network.eval()(torch.from_numpy(frame)[None, None])[0].numpy()
    assert np.abs(network.heat_map(frame) - whole).max() < 1e-4
    assert np.ptp(whole) > 0.1


def test_a_heat_map_reads_frames_smaller_than_its_crops() -> None:
    network = heatmap_cnn.Network(heatmap_cnn.Settings(crop=128), Dimensions((1, *SHAPE), 1, 1))
    frame = np.random.default_rng(3).poisson(0.3, SHAPE).astype(np.float32)
    assert network.eval().heat_map(frame).shape == SHAPE


def test_what_training_keeps_is_what_torch_keeps() -> None:
    """Counted on the processor while the same network runs in earnest."""
    chosen = task("resnet50", batch_size=3)
    dimensions = Dimensions((1, 90, 80), 1, 1)
    network = sketch(chosen, dimensions, "task")
    assert network is not None
    told = memory.bytes_kept(network, (3, 1, 90, 80))
    module = model_module("resnet50")
    real = module.Network(module.Settings(), dimensions)
    own = {weight.data_ptr() for weight in real.state_dict().values()}
    kept: dict[int, Any] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if value.data_ptr() not in own:
            kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        said = real(torch.rand(3, 1, 90, 80))
    assert said.shape == (3, 1)
    assert told == pytest.approx(
        sum(value.untyped_storage().nbytes() for value in kept.values()), rel=0.02
    )


def test_what_does_not_fit_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.get_rng_state()
    full = Dimensions((2, *EIGER), 1, 1)
    monkeypatch.setattr(memory, "room_of_machine", lambda: 32 * 10**9)
    says = r"task: training dual_input_cnn on frames of \(2, 2163, 2069\) takes about 5\d.\d GB .*"
    with pytest.raises(SpotmillError, match=says + "9.1 GB.*32.0 GB: raise input.sum_bin, or low"):
        require_room(task("dual_input_cnn", batch_size=8), full, "task")
    # With the weights alone it can be told what a frame is.
    require_room(task("dual_input_cnn", batch_size=8), full, "task", training=False)
    with pytest.raises(SpotmillError, match=r"resnet50 .*; here are 32.0 GB: raise input.sum_bin"):
        require_room(task("resnet50", batch_size=8), Dimensions((1, *EIGER), 1, 1), "task")
    require_room(task("resnet50", batch_size=8), Dimensions((1, 271, 259), 1, 1), "task")
    with pytest.raises(SpotmillError, match=r"dncnn .*: lower settings.crop or batch_size"):
        require_room(task("dncnn", settings={"crop": 1024}), Dimensions((1, *EIGER), 1, 1), "task")
    require_room(task("dncnn"), Dimensions((1, *EIGER), 1, 1), "task")
    assert torch.equal(state, torch.get_rng_state())


def test_the_shipped_sizes_fit_what_their_jobs_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import ROOT

    for path in sorted((ROOT / "config/tasks").glob("*.yaml")):
        own = Task.read(path)
        # Beside it stand the libraries and the encoded frames.
        room = MODELS[own.model].memory * 10**6 - 10**9 - KEPT_BYTES
        monkeypatch.setattr(memory, "room_of_machine", lambda room=room: room)
        size = tuple(-(-side // own.input.sum_bin) for side in EIGER)
        channels = 2 if own.model == "dual_input_cnn" else 1
        require_room(own, Dimensions((channels, *size), 1, 1), path.name)


def test_a_machine_has_memory() -> None:
    assert 10**9 < room_of_machine() < 10**14


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    make(folder, patterns=20, datasets=("A",))
    for name, model in (("dual", "dual_input_cnn"), ("base", "base_cnn")):
        write_task(folder / f"{name}.yaml", model=model, epochs=1, input={"sum_bin": 4})
        words = ["--task", str(folder / f"{name}.yaml")]
        split = str(folder / f"{name}.parquet")
        table = str(folder / "manifest/A.parquet")
        assert main(["split", *words, "--manifest", table, "--output", split]) == 0
        words += ["--split", split, "--detector", str(folder / "small.geom")]
        assert main(["train", *words, "--output", str(folder / name)]) == 0
    return folder


def evaluate(folder: Path, model: Path, output: Path) -> int:
    words = ["--task", str(folder / "dual.yaml"), "--split", str(folder / "dual.parquet")]
    words += ["--detector", str(folder / "small.geom"), "--model", str(model)]
    words += ["--water", str(folder / "water/A.h5"), "--output", str(output)]
    return main(["evaluate", *words])


def test_weights_of_another_model_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(trained, trained / "base", tmp_path / "e") == 1
    assert "base/model.json: " in (says := capsys.readouterr().err)
    assert "train the model again" in says
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.json").write_bytes((trained / "dual/model.json").read_bytes())
    weights = (trained / "base/model.safetensors").read_bytes()
    (foreign / "model.safetensors").write_bytes(weights)
    assert evaluate(trained, foreign, tmp_path / "e") == 1
    assert "model.safetensors: does not hold this model; train it again" in capsys.readouterr().err
    # The same layers at another size.
    own = safetensors.torch.load_file(trained / "dual/model.safetensors")
    own["layers.0.weight"] = own["layers.0.weight"][:, :-1].contiguous()
    safetensors.torch.save_file(own, foreign / "model.safetensors")
    assert evaluate(trained, foreign, tmp_path / "e") == 1
    assert "model.safetensors: does not hold this model; train it again" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()
