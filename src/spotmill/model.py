"""What all configuration files have in common: how they are read and how they fail."""

import re
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from spotmill.errors import SpotmillError
from spotmill.plain_files import LARGEST_CONFIGURATION, LARGEST_TEXT, check_plain
from spotmill.problems import first_problem, no_keys


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
        return cls.parse(read_keys(path), path)

    @classmethod
    def parse(cls, values: Any, source: str | Path) -> Self:
        """Build the model from plain values; `source` names their origin in messages."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpotmillError(f"{source}: {first_problem(error, cls)}") from error


# Snakemake takes braces for wildcards, programs a leading - for an option.
UNFIT = re.compile(r"[{}\x00-\x1f\x7f]|^-")


def fit_name(value: Any) -> Any:
    """Return the name of a file, or names; raise ValueError where the workflow cannot pass one."""
    for name in value if isinstance(value, tuple | list) else (value,):
        if isinstance(name, str) and UNFIT.search(name):
            raise ValueError(
                "is a name with braces, a control character or a leading -, which cannot be passed "
                "on; rename the file"
            )
    return value


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; raise SpotmillError where that fails."""
    return parse_yaml(read_text(path, LARGEST_CONFIGURATION), path)


def read_keys(path: str | Path) -> dict[Any, Any]:
    """Read a YAML file that holds keys; raise SpotmillError where it holds none."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise SpotmillError(f"{path}: {no_keys(values)}")
    return values


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


# YAML 1.1 takes 010 for 8 and 1:30 for 90, which nobody means.
ODD_NUMBER = re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+(?::[0-9_.]+)+)")


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
            if key.tag == "tag:yaml.org,2002:merge":
                raise _Refused(
                    problem="holds a merge key (<<); write its values out",
                    problem_mark=key.start_mark,
                )
            if name in seen:
                raise _Refused(
                    problem=f"{name}: is given twice; keep one", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_plain_number(self, node: yaml.ScalarNode) -> Any:
        """Refuse what YAML reads as another number than it looks like."""
        if ODD_NUMBER.fullmatch(node.value):
            raise _Refused(
                problem=f"{node.value[:40]}: has a leading 0 or a colon, which YAML takes for "
                "another number; put a name in quotes, write a number plainly",
                problem_mark=node.start_mark,
            )
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_plain_number)


def read_text(path: str | Path, largest: int = LARGEST_TEXT) -> str:
    """Read a UTF-8 text file, without its byte order mark.

    Raises
    ------
    SpotmillError
        When there is none, it cannot be read, is no text, or holds more than `largest` bytes.
    """
    check_plain(path, largest)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except PermissionError as error:
        raise SpotmillError(f"{path}: cannot be read; check its permissions") from error
    except UnicodeDecodeError as error:
        raise SpotmillError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpotmillError(f"{path}: cannot be read ({reason}); check the name") from error
    if "\0" in text:
        raise SpotmillError(f"{path}: is not UTF-8 text, as it holds NUL bytes; save it as UTF-8")
    return text
