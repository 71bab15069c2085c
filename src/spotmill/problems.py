"""What is wrong with a value of the configuration, in plain words: key, value and remedy.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

import re
import types
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from spotmill.nearest import instead, nearest

LONGEST = 80  # characters of a value

DEMANDS = {
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "invalid_key": "a key must be text; put it in quotes, or leave it out",
    "dict_type": "must hold keys and values, such as {key: value}",
}
BOUNDS = {
    "greater_than": ("must be greater than {}", "gt"),
    "greater_than_equal": ("must be {} or more", "ge"),
    "less_than": ("must be less than {}", "lt"),
    "less_than_equal": ("must be {} or less", "le"),
}
NUMBERS = ("float", "int", "finite", "greater", "less")
COMMA = re.compile(r"[-+]?\d+(,\d+)+(\.\d*)?([eE][-+]?\d+)?")
UNIT = re.compile(r"[-+]?\.?\d[\d.]*([eE][-+]?\d+)?\s*[^\W\d][\w/%°]*|[-+]?[\d.]+\s*[%°]")


class Place(NamedTuple):
    """Where a problem is: the key as written, its type, and the field that describes it."""

    key: str
    kind: Any
    field: FieldInfo | None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Put the first problem of a validation into one line that names key, value and remedy.

    An unknown key comes before one that is missing, which is often the same, misspelt.
    """
    problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem: Any = (unknown or problems)[0]
    # An entry that is missing is a fault of its list.
    lacks_entry = problem["type"] == "missing" and isinstance(problem["loc"][-1], int)
    place = find(model, problem["loc"][:-1] if lacks_entry else problem["loc"])
    if problem["type"] == "extra_forbidden":
        owner = find(model, problem["loc"][:-1]).kind
        return f"{place.key}: unknown key{instead(str(problem['loc'][-1]), keys_of(owner))}"
    if problem["type"] == "missing" and not lacks_entry:
        return f"{place.key}: is required; add it{meaning(place, ': ')}"
    message = demand(problem, place)
    given = problem.get("input")
    # The message of a part with keys of its own names the key that is wrong.
    own = problem["type"] == "value_error" and isinstance(given, dict | BaseModel)
    told = own or not place.key or repr(given) in message
    value = "" if told else f" (given: {shown(given)})"
    lead = f"{place.key}: " if place.key else ""
    return f"{lead}{message}{value}{remedy(problem, place)}"


def find(model: type[BaseModel], path: Iterable[str | int]) -> Place:
    """Follow the path of a problem through the types; a last number is an entry of a list."""
    kind: Any = model
    field: FieldInfo | None = None
    parts: list[str | int] = []
    in_list = False
    for part in path:
        kind = bare(kind)
        origin, arguments = get_origin(kind), get_args(kind)
        place = part if isinstance(part, int) else -1
        in_list = origin in (tuple, list) and place >= 0
        if is_model(kind):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif in_list:
            same = origin is list or arguments[-1] is Ellipsis
            kind = arguments[0] if same else dict(enumerate(arguments)).get(place)
        elif origin is dict:
            kind = arguments[1]
        elif kind is not None:
            # One of several types of a union, which is named after it.
            in_list = bool(parts) and isinstance(parts[-1], int)
            break
        parts.append(part)
    entry = f": entry {int(parts.pop()) + 1}" if in_list else ""
    return Place(".".join(map(str, parts)) + entry, bare(kind), field)


def is_model(kind: Any) -> bool:
    """Return whether a type has keys of its own."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def bare(kind: Any) -> Any:
    """Return a type without what is annotated, and without None where that leaves one."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        left = [one for one in get_args(kind) if one is not type(None)]
        return bare(left[0]) if len(left) == 1 else kind
    return kind


def keys_of(kind: Any) -> list[str]:
    """Return the keys that a type has; none where it is no part with keys."""
    return list(kind.model_fields) if is_model(kind) else []


def demand(problem: Any, place: Place) -> str:
    """Return what a value must be."""
    kind, told = problem["type"], problem.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(problem["msg"].partition(", ")[2])
    if get_origin(place.kind) in (Union, types.UnionType):
        return "must be one value: text, a number, true, false or null"
    if kind in BOUNDS:
        words, name = BOUNDS[kind]
        return words.format(number(told[name]))
    if kind == "literal_error":
        # pydantic puts words in quotes, with an `or` before the last.
        return f"must be {told['expected'].replace(chr(39), '')}"
    if kind in ("model_type", "model_attributes_type"):
        if place.key:
            return f"must hold keys of its own: {', '.join(keys_of(place.kind))}"
        return no_keys(problem.get("input"))
    if kind in ("too_short", "too_long", "missing"):
        return length(told, place)
    if kind == "string_pattern_mismatch":
        examples = place.field.examples if place.field else None
        return f"must look like {examples[0]}" if examples else "is not in the form that is needed"
    return DEMANDS.get(kind) or str(problem["msg"]).replace("Input should", "must")


def no_keys(values: Any) -> str:
    """Return what is wrong with a file that holds no keys."""
    empty = "is empty; it " if values is None else ""
    return f"{empty}must hold keys and values, as in `key: value`"


def length(told: dict[str, Any], place: Place) -> str:
    """Return how many entries a list must have."""
    entries = get_args(bare(place.field.annotation)) if place.field else ()
    if entries and Ellipsis not in entries and get_origin(place.kind) is not dict:
        return f"must be a list of {len(entries)} values"
    if told.get("min_length") == 1:
        return "must not be empty"
    if "max_length" in told:
        return f"must have {told['max_length']} entries or fewer"
    return f"must have {told['min_length']} entries or more"


def remedy(problem: Any, place: Place) -> str:
    """Return what to write instead, as far as the value tells, and what the key means."""
    kind, given = problem["type"], problem.get("input")
    numeric = kind.startswith(NUMBERS) or "must be a number" in problem["msg"]
    if get_origin(place.kind) in (Union, types.UnionType):
        return ""
    said = ""
    if kind == "literal_error":
        choices = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        near = nearest(given, choices) if isinstance(given, str) else None
        return f"; did you mean {near}?" if near else ""
    if numeric and isinstance(given, str) and COMMA.fullmatch(given):
        said = "; write it without commas, with a point before decimals"
    elif numeric and isinstance(given, str) and UNIT.fullmatch(given):
        said = "; leave its unit out"
    elif kind in ("tuple_type", "list_type") and isinstance(given, str | int | float):
        said = f"; write [{given}]"
    elif kind == "string_type":
        needed = place.field is not None and place.field.is_required()
        left = "give it" if needed else "leave it out for its default"
        said = f"; {left}" if given is None else "; put it in quotes"
    elif kind == "model_type" and place.key and given is None:
        said = "; leave it out for its defaults"
    tells = numeric or kind.startswith(("string_pattern", "tuple", "list", "too", "missing"))
    return said + (meaning(place, "; its meaning: ") if tells else "")


def meaning(place: Place, before: str) -> str:
    """Return what a key means, with its unit."""
    described = place.field is not None and place.field.description
    return f"{before}{described}" if described else ""


def number(value: Any) -> str:
    """Return a bound as one would write it."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def shown(value: Any) -> str:
    """Return a value as it stands in YAML, cut where it is long."""
    text = _plain(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple | list):
        return (
            f"[{', '.join(entry if isinstance(entry, str) else _plain(entry) for entry in value)}]"
        )
    return str(value)
