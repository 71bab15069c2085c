"""What all configuration files have in common: how they are read and how they fail."""

from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from spotmill.errors import SpotmillError


class Model(BaseModel):
    """A part of the configuration that can be read from a YAML file of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_is_not_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true, yes and on where a number is meant; pydantic would take them for 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
            raise ValueError("is true or false (yes, no, on and off mean that too); give its value")
        return value

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the model from a YAML file.

        Raises
        ------
        SpotmillError
            When the file is missing, is not YAML, or has a wrong or unknown key.
        """
        return cls.parse(read_yaml(path), path)

    @classmethod
    def parse(cls, values: Any, source: str | Path) -> Self:
        """Build the model from plain values; `source` names their origin in messages."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpotmillError(f"{source}: {first_problem(error, cls)}") from error


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Put the first problem of a validation into one line that names key and remedy."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return f"{key}: unknown key; known here: {known}"
    if problem["type"] == "missing":
        return f"{key}: is required; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {str(given)[:80]!r})"
    return f"{key}: {message}{shown}"


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; raise SpotmillError where that fails."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, source: str | Path) -> Any:
    """Parse YAML text; `source` names its origin in messages."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        # Ours end in a remedy; the library's own problems are put more plainly.
        told = error.problem if isinstance(error, _Refused) else None
        raise SpotmillError(
            f"{source}:{line} {told or 'is not valid YAML; mend its indentation or quotes'}"
        ) from error
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise SpotmillError(
            f"{source}: holds a value that YAML cannot read (a date, a tag or too deep a "
            "nesting); write plain numbers and words"
        ) from error


class _Refused(yaml.MarkedYAMLError):
    """Say what is YAML but not taken here."""


class _Loader(yaml.SafeLoader):
    """Plain values alone: no alias (a few lines of them can fill the memory), no key twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases."""
        if self.check_event(yaml.AliasEvent):
            raise _Refused(
                problem="holds an alias (*name); write the value out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is given twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise _Refused(
                    problem=f"{name}: is given twice; keep one", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file; raise SpotmillError where that fails."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpotmillError(f"{path}: no such file; check the name and the folder") from error
    except IsADirectoryError as error:
        raise SpotmillError(f"{path}: is a folder; name a file") from error
    except PermissionError as error:
        raise SpotmillError(f"{path}: cannot be read; check its permissions") from error
    except UnicodeDecodeError as error:
        raise SpotmillError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpotmillError(f"{path}: cannot be read ({reason}); check the name") from error
