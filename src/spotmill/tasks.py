"""Tasks: one target, one model, and how it is trained and put to the proof.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from spotmill.concepts import PositiveFloat
from spotmill.config import NAME
from spotmill.errors import SpotmillError
from spotmill.learning.registry import MODELS
from spotmill.model import Model
from spotmill.nearest import instead

Target = Literal["hit", "photon_energy", "camera_length", "peaks"]

# The manifest's column that holds the truth of each target.
TRUTH: dict[str, str] = {
    "hit": "is_hit",
    "photon_energy": "photon_energy",
    "camera_length": "clen",
    "peaks": "n_spots",
}


class Input(Model):
    """How a frame enters a model that reads whole frames."""

    sum_bin: int = Field(
        1, ge=1, le=64, description="sum blocks of this many pixels squared into one; 1 is full"
    )


class Schedule(Model):
    """How the learning rate changes while training goes on."""

    kind: Literal["plateau", "cosine"] = Field(
        "plateau",
        description="plateau lowers it when the validation loss stops falling "
        "(ReduceLROnPlateau); cosine lets it fall to nothing along half a cosine over all epochs",
    )
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: multiplies the learning rate")
    patience: int = Field(3, ge=0, description="plateau: epochs without improvement before that")
    threshold: float = Field(
        0.1, ge=0, description="plateau: relative fall that counts as improvement"
    )
    warm_up: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="cosine: share of the steps in which the rate first rises evenly (0.3: the "
        "one-cycle policy)",
    )

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> Self:
        own = {"plateau": {"factor", "patience", "threshold"}, "cosine": {"warm_up"}}
        for name in sorted(self.model_fields_set - own[self.kind] - {"kind"}):
            # As by default it says nothing, and a model's card names all keys.
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is not a key of kind {self.kind}; leave it out")
        return self


class EarlyStopping(Model):
    """Stop when the validation loss has not improved for some epochs."""

    patience: int = Field(10, ge=1, description="epochs without improvement")
    min_delta: float = Field(0.0, ge=0, description="fall of the loss that counts as improvement")


class Controls(Model):
    """Limits on the retraining for the controls; null is as much as the model itself had."""

    frames: int | None = Field(None, ge=30, description="frames at most, test frames included")
    epochs: int | None = Field(None, ge=1, description="epochs at most")


class Task(Model):
    """One task file of `config/tasks/`; the name of the file is the name of the task."""

    target: Target = Field(description="what to tell: hit, photon_energy, camera_length or peaks")
    scale: Literal["classes", "values"] = Field(
        "classes",
        description="photon_energy and camera_length: classes tells which of the datasets' "
        "values, values tells each frame's own with a standard deviation",
    )
    datasets: tuple[str, ...] | None = Field(
        None, min_length=1, description="names of the datasets to use; null is all"
    )
    hold_out: tuple[str, ...] = Field(
        (),
        description="names of datasets to test on alone: all their frames are test frames, and "
        "training and validation frames are those of the other datasets",
    )
    flux: tuple[float, ...] = Field(
        (1.0,),
        min_length=1,
        description="hit: shares of the full flux on the crystal at which every frame is shown; "
        "the background stays",
    )
    model: str = Field(description="name of the model")
    settings: dict[str, Any] = Field({}, description="settings of that model")
    input: Input = Field(Input(), description="how frames enter a model that reads whole frames")
    batch_size: int = Field(16, ge=1, le=65536, description="frames in a step")
    epochs: int = Field(ge=1, le=100_000, description="passes over the training frames, at most")
    optimiser: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="adam; adamw, which is adam with weight_decay; or sgd"
    )
    learning_rate: PositiveFloat = Field(description="of the optimiser")
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="adamw: share of a weight taken off in a step, over the learning rate; sgd: "
        "times the weight, added to the gradient",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="sgd: share of a step kept in the next")
    gradient_clip: PositiveFloat | None = Field(
        None, description="largest norm of a step's gradient, longer ones are cut; null cuts none"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="numbers in training: single precision, or half of it where that does no harm "
        "(16-mixed on GPUs alone)",
    )
    balance: bool = Field(
        False, description="weight classes inversely to their number of training frames"
    )
    schedule: Schedule | None = Field(None, description="of the learning rate; null keeps it")
    early_stopping: EarlyStopping | None = Field(None, description="null trains all epochs")
    seed: int = Field(1, ge=0, lt=2**32, description="of weights, order of frames and controls")
    controls: Controls = Field(Controls(), description="limits on the controls")
    notes: tuple[str, ...] = Field((), description="what a reader of the report should know")

    @field_validator("flux")
    @classmethod
    def _flux_is_a_share(cls, flux: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 1 for share in flux) or len(set(flux)) != len(flux):
            raise ValueError("give distinct shares above 0 and up to 1, such as [1, 0.1]")
        return flux

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, model: str) -> str:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}{instead(model, MODELS)}")
        return model

    @field_validator("hold_out")
    @classmethod
    def _held_out_is_selected(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        selected = info.data.get("datasets")
        for name in names:
            if selected is not None and name not in selected:
                raise ValueError(f"{name!r} is not in datasets; add it there, too")
            if names.count(name) > 1:
                raise ValueError(f"{name!r} stands there twice; name it once")
        return names

    @model_validator(mode="after")
    def _model_fits_target(self) -> Self:
        if self.target not in MODELS[self.model].targets:
            fitting = [name for name, entry in MODELS.items() if self.target in entry.targets]
            raise ValueError(
                f"model {self.model} does not tell {self.target}; use {' or '.join(fitting)}"
            )
        if MODELS[self.model].scale != self.scale:
            fitting = [
                name
                for name, entry in MODELS.items()
                if self.target in entry.targets and entry.scale == self.scale
            ]
            raise ValueError(
                f"model {self.model} does not tell {self.scale}; "
                + (f"use {' or '.join(fitting)}" if fitting else "leave scale out")
            )
        if self.dims and self.target != "hit":
            raise ValueError("flux: only hits are told at several fluxes; leave it out")
        if self.input.sum_bin != 1 and not MODELS[self.model].whole_frames:
            raise ValueError(f"{self.model} reads single pixels; leave input.sum_bin at 1")
        return self

    @model_validator(mode="after")
    def _optimiser_is_clear(self) -> Self:
        if self.optimiser == "adam" and self.weight_decay:
            raise ValueError(
                "weight_decay: adam may mean two things by it; say optimiser: adamw, which takes "
                "it off the weights themselves, or leave it out"
            )
        if self.optimiser != "sgd" and self.momentum:
            raise ValueError(
                f"momentum: is a key of sgd; {self.optimiser} has its own, leave it out"
            )
        if self.scale == "values" and self.precision != "32-true":
            raise ValueError(
                f"precision: {self.model} computes in double precision throughout; leave it out"
            )
        return self

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that the report draws of the task."""
        known = ("training", "confusion", "per_dataset", "errors")
        if self.scale == "values":
            return known
        if self.target == "peaks":
            return (*known, "calibration")
        return (*known, "spots", "calibration", *(["curves"] if self.target == "hit" else []))

    @property
    def dims(self) -> bool:
        """Whether frames are shown at other fluxes than the full one."""
        return self.flux != (1.0,)


def check_hold_out(task: Task, values: Mapping[str, float | None], source: str | Path) -> None:
    """Check that a task can be trained without the datasets that it holds out.

    Parameters
    ----------
    values
        Of all datasets that the task selects, by name: their class of the target (eV, m), or
        None where a dataset is no class.
    source
        Names the task in messages.

    Raises
    ------
    SpotmillError
        When a held-out dataset is unknown, none is left to train on, or one has a class that
        no other has.
    """
    for name in task.hold_out:
        if name not in values:
            raise SpotmillError(
                f"{source}: hold_out: {name!r} does not exist{instead(name, values)}"
            )
    left = {name: value for name, value in values.items() if name not in task.hold_out}
    if not left:
        raise SpotmillError(
            f"{source}: hold_out: names every dataset of the task; leave some to train on"
        )
    for name in task.hold_out:
        if values[name] is not None and values[name] not in left.values():
            raise SpotmillError(
                f"{source}: hold_out: no other dataset has the {task.target} {values[name]:.10g} "
                f"of {name!r}, so it cannot be learnt; hold out a dataset whose class another has"
            )


def task_name(path: str | Path) -> str:
    """Return the name of a task from its file's name.

    Raises
    ------
    SpotmillError
        When that name cannot name a folder.
    """
    stem = Path(path).stem
    if not NAME.fullmatch(stem):
        raise SpotmillError(
            f"{path}: the file's name is the task's; use letters, digits, - and _ only"
        )
    return stem
