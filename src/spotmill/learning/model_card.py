"""The README of a model folder, for people, made of `model.json` alone."""

import json
from collections.abc import Iterator
from typing import Any

from spotmill.splits import SIDES

README = "README.md"

TELLS = {
    "hit": "whether a frame is a hit: shows enough Bragg spots of a crystal",
    "photon_energy": "the photon energy of a frame",
    "camera_length": "the camera length of a frame",
    "peaks": "where the Bragg peaks of a frame are",
}
ANSWERS = {
    "classes": "The network says logits, from which come probabilities of the classes",
    "values": "It says a mean and a standard deviation (eV or m)",
    "peaks": "It says for every candidate or pixel how likely a spot is there",
}
PURPOSE = {"train": "training", "validation": "validation", "test": "test"}
TRAINING = (
    *("optimiser", "learning_rate", "weight_decay", "momentum", "batch_size", "epochs"),
    *("precision", "balance", "schedule", "early_stopping", "gradient_clip", "seed"),
)


def readme(facts: dict[str, Any]) -> str:
    """Return the model card as Markdown, from the content of `model.json`."""
    parts = [
        heading(facts),
        frames_in(facts),
        training(facts),
        validation(facts),
        use(facts),
        loading(facts),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def kind_of(facts: dict[str, Any]) -> str:
    """Return what a card's model answers: classes, values or peaks."""
    return "peaks" if facts["target"] == "peaks" else str(facts.get("scale", "classes"))


def heading(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what the model is."""
    kind = kind_of(facts)
    yield f"# {facts['task']}"
    yield ""
    values = kind == "classes" and facts["target"] != "hit"
    classes = f", one of {', '.join(facts['classes'])}" if values else ""
    yield f"Tells {TELLS[facts['target']]}{classes}, by `{facts['model']}` (Spotmill"
    yield f"{facts['version']}, recipe {facts['recipe']}, of the model {facts['model_recipe']})."
    calibration = ", calibrated on validation frames" if "calibration" in facts else ""
    yield f"{ANSWERS[kind]}{calibration if kind != 'values' else ''}."
    yield ""
    shape = " x ".join(map(str, facts["dimensions"]["shape"]))
    yield "| | |"
    yield "|---|---|"
    yield f"| weights | {facts['parameters']} numbers, `model.safetensors` |"
    if facts.get("weights_sha256"):
        yield f"| SHA-256 of the weights | `{facts['weights_sha256']}` |"
    yield f"| input | {shape}, made of a frame in photons and its mask of live pixels |"
    yield f"| blocks of pixels summed | {facts['input']['sum_bin']} x {facts['input']['sum_bin']} |"
    yield f"| settings of the model | `{json.dumps(facts['settings'], sort_keys=True)}` |"
    if "training_frames" in facts:
        seen = facts["training_frames"]
        kinds = seen.get("detectors") or [(*seen["shape"], seen["pixel_size"])]
        words = [f"{ss} x {fs} pixels of {size * 1e6:.4g} µm" for ss, fs, size in kinds]
        yield f"| {'detectors' if len(words) > 1 else 'detector'} | {', '.join(words)} |"


def frames_in(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what it was trained on."""
    yield "## Frames"
    yield ""
    sides = ", ".join(f"{facts['n'][side]} for {PURPOSE[side]}" for side in SIDES)
    yield f"{sides}. The test frames were not used in training or to choose anything."
    if facts.get("hold_out"):
        yield f"Held out, for test alone: {', '.join(facts['hold_out'])}."
    if facts.get("flux", [1.0]) != [1.0]:
        shares = ", ".join(f"{share:g}" for share in facts["flux"])
        yield f"Each pattern is shown at {shares} of the full flux, and counts once for each."
    yield ""
    keys = "| dataset | crystal | photon energy, eV | camera length, m | photons a pulse |"
    yield f"{keys} {' | '.join(SIDES)} |"
    yield f"|{'---|' * (5 + len(SIDES))}"
    for row in facts.get("origins", []):
        cells = [row["dataset"], row["crystal"] or "not said"]
        cells += [numbers(row["photon_energy"]), numbers(row["clen"]), numbers(row["nphotons"])]
        cells += [str(row["n"][side]) for side in SIDES]
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    changing = sorted({key for row in facts.get("origins", []) for key in row["randomised"]})
    if changing:
        yield ""
        yield f"Differs from frame to frame: {', '.join(changing)}."


def numbers(value: Any) -> str:
    """Return a number or a range as text."""
    if value is None:
        return "not said"
    ends = value if isinstance(value, list) else [value]
    return " to ".join(f"{float(end):.6g}" for end in dict.fromkeys(ends))


def training(facts: dict[str, Any]) -> Iterator[str]:
    """Yield how it was trained."""
    yield "## Training"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for key in TRAINING:
        if facts.get(key) is not None:
            yield f"| {key} | {as_text(facts[key])} |"
    yield f"| epochs run | {facts['epochs_run']} |"
    yield f"| weights of epoch | {facts['best_epoch'] + 1}, of the lowest validation loss |"


def as_text(value: Any) -> str:
    """Return a setting as text."""
    return value if isinstance(value, str) else f"`{json.dumps(value, sort_keys=True)}`"


def validation(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what validation said."""
    yield "## Validation"
    yield ""
    yield f"On {facts['n']['validation']} frames, of the epoch whose weights these are:"
    yield ""
    yield "| figure | value |"
    yield "|---|---|"
    for key, value in facts.get("validation", {}).items():
        yield f"| {key.replace('_', ' ')} | {value:.6g} |"
    yield ""
    yield "The epoch was chosen by this loss, so it flatters a little. Figures of the test frames,"
    yield f"with intervals, baselines and controls: `results/evaluation/{facts['task']}/` and the"
    yield "report."


def use(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what it is for, what not, and under which licence."""
    yield "## Use and limits"
    yield ""
    yield "* Meant for frames like those above: same detector or one alike, photons as unit,"
    yield "  dead pixels masked. Energies, lengths, fluxes and backgrounds outside the table were"
    yield "  never seen."
    yield "* Where the frames above are simulated, nothing here says how it does on measured ones:"
    yield "  try it on frames of your own whose answer you know."
    if facts["target"] != "peaks" and kind_of(facts) == "classes":
        yield "* Probabilities are right for a share of hits (or classes) as in the validation"
        yield "  frames; where yours differs, choose a threshold of your own."
    yield "* Not meant to decide alone which data are deleted."
    yield "* Licence: Spotmill's code is BSD 3-Clause. The weights come from your data; what the"
    yield "  cards of the datasets (`results/cards/`) ask of their users holds here too."


def loading(facts: dict[str, Any]) -> Iterator[str]:
    """Yield how to use it."""
    name = facts["task"]
    yield "## Load it"
    yield ""
    yield "Nothing is unpickled; weights and card are checked against their digests."
    yield ""
    yield "```"
    yield f"spotmill predict frames.h5 --models results/models --tasks {name} --output predicted"
    yield f"spotmill export --model results/models/{name} --output {name}.onnx"
    yield "```"
