"""Trained models as ONNX files: made, described and held against torch before they are written."""

import contextlib
import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spotmill import __version__
from spotmill.errors import SpotmillError
from spotmill.learning.bench import SIDES
from spotmill.learning.calibration import Calibration, stored_calibration
from spotmill.learning.onnx_graphs import Answer, encoder_graph
from spotmill.learning.registry import model_module
from spotmill.learning.store import CARD
from spotmill.tasks import Task

# The operators that the exporter of torch makes without converting them to another version.
OPSET = 18
TOLERANCE = 1e-4
# Real frames on which file and torch are compared.
FRAMES = 12
# Peaks: at most so many candidates or crops of them.
MOST = 64

DETECTOR_FRAMES = "photons [batch, ss, fs] float32 as stored, mask [ss, fs] bool, true where live"
# What enters a network whose encoder no graph holds; made by `spotmill.learning.models.NAME`.
ENCODED = {
    "patch_counter": "candidates [batch, candidates, 7]: the most significant local maxima, each "
    "1, log(1 + photons of the pixel), log(1 + photons above the background in 3 x 3 pixels), the "
    "same in 5 x 5, log(background), log(1 + deviance), live pixels of 3 x 3 over 9; 0 beyond the "
    "last (spotmill.learning.candidates); with `surroundings` three more "
    "(spotmill.learning.surroundings), with `sharing` two: the second of these logarithms less the "
    "first, the third less the second",
    "photon_statistics": "windows [batch, 2, window, zone, photons]: counted and expected windows "
    "of 1 and 2 x 2 pixels by zone of background and photons (spotmill.learning.windows)",
    "dual_input_cnn": "frames and signals [batch, 2, ss, fs]: photons of live pixels, and at the "
    "most significant local maxima those of 3 x 3 pixels above the background",
    "peak_net": "planes [candidates, 4, size, size] and numbers [candidates, 10] of the candidates "
    "of a frame (spotmill.learning.models.peak_net.inputs, learning.peak_candidates)",
    "heatmap_cnn": "crops [batch, 1, ss, fs] of photons, 0 on dead pixels; margins of 8 pixels "
    "overlap where a frame is put together of crops",
    "dncnn": "crops [batch, 1, ss, fs] of photons, 0 on dead pixels; margins overlap where a frame "
    "is put together of crops",
}
ANSWERS = {
    "classes": "logits [batch, outputs] of the network; probabilities [batch, classes]",
    "values": "mean [batch] and standard deviation sigma [batch], eV or m",
    "peaks": "peak_net: logit, shift along fs and ss in pixels [candidates, 3]; heat maps: logits "
    "[batch, ss, fs]",
}


@dataclass(frozen=True)
class Case:
    """What is exported, with real frames to try it on.

    Attributes
    ----------
    graph
        What becomes the file.
    inputs
        Names and tensors of real frames; `batched` says which of them have a batch axis.
    wanted
        What the command-line program itself says of these frames, by name of the answer.
    """

    graph: Answer
    inputs: dict[str, Tensor]
    batched: tuple[bool, ...]
    wanted: dict[str, NDArray[Any]]


def kind_of(task: Task) -> str:
    """Return what a task's models answer: classes, values or peaks."""
    return "peaks" if task.target == "peaks" else task.scale


def open_case(
    task: Task, network: nn.Module, facts: dict[str, Any], folder: Path, split: Path, geometry: Path
) -> Case:
    """Return what is exported of a model, with training and validation frames of its split.

    Raises
    ------
    SpotmillError
        When frames cannot be read, or are not of the sizes that the model was made for.
    """
    name = str(facts.get("task"))
    if task.target == "peaks":
        return peak_case(task, network, split, geometry, name)
    from spotmill.learning.setup import open_task

    setup = open_task(task, split, geometry, name, SIDES)
    shape = tuple(facts["dimensions"]["shape"])
    if setup.encoder.shape != shape:
        raise SpotmillError(
            f"{split}: its frames enter the model as {setup.encoder.shape}, which was made for "
            f"{shape}; give the split and detector that it was trained with"
        )
    rows = setup.frames.rows("validation")
    rows = rows[np.linspace(0, len(rows) - 1, min(FRAMES, len(rows))).round().astype(np.int64)]
    read = [setup.images.read(row) for row in rows.tolist()]
    encoded = setup.encoder.batch([setup.encoder.encode(*each) for each in read])
    calibration = None
    if kind_of(task) == "classes":
        calibration = stored_calibration(facts, folder / CARD)
    mask = read[0][1]
    encoder = encoder_graph(setup.encoder, setup.view.shape, task.input.sum_bin)
    graph = Answer(network, kind_of(task), encoder, calibration).eval()
    wanted = expected(network, encoded, kind_of(task), calibration)
    if encoder is None:
        return Case(graph, {"encoded": encoded}, (True,), wanted)
    if not all(np.array_equal(other, mask) for _, other in read):
        raise SpotmillError(f"{split}: its frames differ in their masks; choose fewer datasets")
    photons = torch.from_numpy(np.stack([image for image, _ in read]).astype(np.float32))
    inputs = {"photons": photons, "mask": torch.from_numpy(mask)}
    return Case(graph, inputs, (True, False), wanted)


@torch.no_grad()
def expected(
    network: nn.Module, encoded: Tensor, kind: str, calibration: Calibration | None
) -> dict[str, NDArray[Any]]:
    """Return what the program says of encoded frames, by name of the answer."""
    from spotmill.learning.networks import probabilities

    said = network(encoded)
    if kind == "values":
        return {"mean": said[:, 0].numpy(), "sigma": said[:, 1].numpy()}
    own = probabilities(said).numpy()
    return {
        "logits": said.numpy(),
        "probabilities": own if calibration is None else calibration.apply(own),
    }


def peak_case(task: Task, network: Any, split: Path, geometry: Path, name: str) -> Case:
    """Return what is exported of a model that finds peaks.

    Its inputs are what the network is asked when it looks for the peaks of a frame.
    """
    from spotmill.learning.peaks import open_peaks

    setup = open_peaks(task, split, geometry, name, SIDES)
    asked: list[tuple[Tensor, ...]] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: asked.append(inputs))
    for row in setup.frames.rows("validation").tolist():
        network.find(*setup.images.read(row))
        if sum(len(inputs[0]) for inputs in asked) >= MOST:
            break
    hook.remove()
    if not asked:
        raise SpotmillError(f"{split}: no validation frame has a candidate; give another split")
    parts = [torch.cat(part)[:MOST] for part in zip(*asked, strict=True)]
    names = ("planes", "numbers") if len(parts) == 2 else ("crops",)
    graph = Answer(network, "peaks").eval()
    with torch.no_grad():
        wanted = {"answer": network(*parts).numpy()}
    return Case(graph, dict(zip(names, parts, strict=True)), (True,) * len(parts), wanted)


def to_onnx(case: Case, source: str) -> onnx.ModelProto:
    """Return a case as an ONNX model, the same bytes every time."""
    inputs = tuple(case.inputs.values())
    with torch.no_grad():
        # Some networks make tables when they are first asked.
        case.graph(*inputs)
    batch: Any = [{0: "batch"} if has else None for has in case.batched]
    with quiet():
        program = torch.onnx.export(
            case.graph,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(case.inputs),
            output_names=list(case.graph.outputs),
            dynamic_shapes=(tuple(batch),),
            verbose=False,
        )
    if program is None:
        raise SpotmillError(f"{source}: torch made nothing of it; report this")
    model: onnx.ModelProto = program.model_proto
    forget_origin(model.graph)
    for function in model.functions:
        forget_origin(function)
    return model


def forget_origin(graph: Any) -> None:
    """Remove what the exporter says of files of this machine."""
    for part in (*graph.node, *graph.value_info, *getattr(graph, "input", ())):
        part.doc_string = ""
        if not isinstance(part, str):
            del part.metadata_props[:]
    graph.doc_string = ""
    del graph.metadata_props[:]


@contextlib.contextmanager
def quiet() -> Any:
    """Silence what the exporter says of libraries that are not here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def describe(model: onnx.ModelProto, case: Case, task: Task, facts: dict[str, Any]) -> None:
    """Write into a model what it is, what enters it and what comes out."""
    whole = case.graph.encoder is not None
    kind = kind_of(task)
    model.producer_name, model.producer_version = "spotmill", __version__
    model.doc_string = f"{facts['task']}: tells {task.target} by {task.model}"
    onnx.helper.set_model_props(
        model,
        {
            "spotmill.task": str(facts["task"]),
            "spotmill.target": task.target,
            "spotmill.model": task.model,
            "spotmill.classes": json.dumps(facts["classes"]),
            "spotmill.opset": str(OPSET),
            "spotmill.encoder": "in the graph" if whole else "not in the graph",
            "spotmill.input": DETECTOR_FRAMES if whole else encoding(task),
            "spotmill.output": ANSWERS[kind],
            "spotmill.calibration": json.dumps(facts.get("calibration")),
            "spotmill.weights_sha256": str(facts.get("weights_sha256")),
            "spotmill.card": json.dumps(facts),
        },
    )


def encoding(task: Task) -> str:
    """Return in words what enters a network whose encoder is not in the graph."""
    module = model_module(task.model)
    said = ENCODED.get(task.model, (module.__doc__ or "").split("\n\n")[0])
    settings = module.Settings.parse(task.settings, "settings").model_dump_json()
    return f"{said}; settings {settings}"


def check(content: bytes, case: Case, source: str) -> dict[str, float]:
    """Return by how much ONNX Runtime differs from torch, by answer; a share of its scale.

    Raises
    ------
    SpotmillError
        When it is more than `TOLERANCE`, or a single frame is answered otherwise than a batch.
    """
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        whole = ask(session, case, len(next(iter(case.inputs.values()))))
        one = ask(session, case, 1)
    except (RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0][:200]
        raise SpotmillError(
            f"{source}: ONNX Runtime cannot run it ({told}); not written"
        ) from error
    worst = {}
    for name, wanted in case.wanted.items():
        scale = float(np.abs(wanted).max()) or 1.0
        said = [(whole[name], wanted), (one[name], wanted[:1])]
        same = all(a.shape == b.shape and np.isfinite(a).all() for a, b in said)
        off = max(float(np.abs(a - b).max()) for a, b in said) / scale if same else np.inf
        if not off <= TOLERANCE:
            raise SpotmillError(
                f"{source}: {name}: ONNX Runtime differs from torch by {off:.2g} of its scale, "
                f"where {TOLERANCE:g} is allowed; not written"
            )
        worst[name] = off
    return worst


def ask(session: Any, case: Case, count: int) -> dict[str, NDArray[Any]]:
    """Return the answers of ONNX Runtime to the first frames."""
    given = {
        name: (value[:count] if batched else value).numpy()
        for (name, value), batched in zip(case.inputs.items(), case.batched, strict=True)
    }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))
