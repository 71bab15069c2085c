"""The reference of all configuration files, made from the schema.

`python -m spotmill.reference > config/README.md`; a test keeps the two in step.
"""

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from spotmill.concepts import Beam, Beamstop, Crystal, Response, Solvent
from spotmill.config import Config, Dataset, Hit, Publication, Report, Split
from spotmill.distributions import Distribution
from spotmill.model import Model
from spotmill.randomise import Randomise
from spotmill.tasks import Controls, EarlyStopping, Input, Schedule, Task
from spotmill.tuning import Pruner, Search, Span

FILES: tuple[tuple[str, str, type[Model]], ...] = (
    ("config.yaml", "what to make", Config),
    ("config.yaml: `hit`", "when a frame counts as a hit", Hit),
    ("config.yaml: `split`", "shares of the frames", Split),
    ("config.yaml: `report`", "what the report holds", Report),
    ("config.yaml: `publication`", "for the cards of the datasets", Publication),
    ("datasets.tsv", "one row a dataset, columns separated by tabs", Dataset),
    ("beams/*.yaml", "the beam", Beam),
    ("crystals/*.yaml", "the crystal", Crystal),
    ("solvents/*.yaml", "the solvent", Solvent),
    ("detectors/*.yaml", "the detector's response (its geometry is a CrystFEL file)", Response),
    ("detectors/*.yaml: `beamstop`", "an absorber before the detector, and its arm", Beamstop),
    (
        "randomise/*.yaml",
        "what differs from frame to frame; a number or a distribution each: "
        "`{uniform: [low, high]}`, `{normal: [mean, deviation]}`, "
        "`{loguniform: [low, high]}`, `{lognormal: [median, deviation of the log]}`, "
        "`{choice: [...]}`",
        Randomise,
    ),
    ("tasks/*.yaml", "what to learn, and how", Task),
    ("tasks/*.yaml: `input`", "how frames enter a model that reads whole frames", Input),
    ("tasks/*.yaml: `schedule`", "how the learning rate changes", Schedule),
    ("tasks/*.yaml: `early_stopping`", "when training ends early", EarlyStopping),
    ("tasks/*.yaml: `controls`", "limits on the retraining for the controls", Controls),
    ("tuning/*.yaml", "which settings of a task to try", Search),
    ("tuning/*.yaml: `pruner`", "when a trial ends early", Pruner),
    ("tuning/*.yaml: values of `space`", "one of four kinds a key", Span),
)


def type_name(annotation: Any) -> str:
    """Return the name of a type as a user would say it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is not None and hasattr(annotation, "__metadata__"):
        return type_name(arguments[0])
    if origin is tuple:
        return "list"
    if origin is dict:
        return "keys of its own"
    if annotation is type(None):
        return "null"
    if annotation is Distribution:
        return "number or distribution"
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return "keys of its own"
    names = {float: "number", int: "whole number", str: "text", bool: "true or false"}
    return names.get(annotation, str(annotation))


def default_text(value: Any) -> str:
    """Return a default as it would stand in YAML."""
    if value is PydanticUndefined:
        return "**required**"
    if value is None:
        return "`null`"
    if isinstance(value, Distribution):
        return f"`{value.constant}`"
    if isinstance(value, Model):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`"


def render() -> str:
    """Return the reference as Markdown."""
    lines = [
        "# Every key of every configuration file",
        "",
        "Made from the schema by `python -m spotmill.reference > config/README.md`.",
        "Unknown keys are errors. Paths are relative to the folder in which Snakemake runs.",
        "The geometry of a detector is a CrystFEL geometry file (`detectors/*.geom`).",
    ]
    for file, meaning, model in FILES:
        lines += ["", f"## {file}", "", f"{meaning[0].upper()}{meaning[1:]}.", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            lines.append(
                f"| `{name}` | {type_name(field.annotation)} | {default_text(field.get_default())}"
                f" | {field.description or ''} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
