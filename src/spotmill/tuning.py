"""Searches for the settings of a task: which values may be tried, how many trials, which pruner.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

from itertools import combinations, product
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from spotmill.errors import SpotmillError
from spotmill.model import Model
from spotmill.nearest import instead
from spotmill.tasks import Task

Pair = tuple[float, float]
WholePair = tuple[int, int]
Plain = str | bool | int | float | None

# Keys of a task that a search may change; `settings.NAME` are those of its model.
SUM_BIN = "input.sum_bin"
KEYS = ("learning_rate", "batch_size", "optimiser", "weight_decay", "momentum", SUM_BIN)
SETTING = "settings."


class Span(Model):
    """The values of one key: one of four kinds."""

    float: Pair | None = Field(None, description="[low, high], even between them")
    log: Pair | None = Field(None, description="[low, high] above 0, even in the logarithm")
    int: WholePair | None = Field(None, description="[low, high], whole numbers, both included")
    categorical: tuple[Plain, ...] | None = Field(
        None, min_length=1, description="a list of values"
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        kinds = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                "give one of float: [low, high], log: [low, high], int: [low, high] and "
                "categorical: [...]"
            )
        pair = self.float or self.log or self.int
        if pair is not None and not pair[0] < pair[1]:
            raise ValueError(f"{kinds[0]}: the first number must be below the second")
        if self.log is not None and self.log[0] <= 0:
            raise ValueError("log: both numbers must be above 0")
        if self.categorical is not None and len(set(map(repr, self.categorical))) != len(
            self.categorical
        ):
            raise ValueError("categorical: a value stands twice; name it once")
        return self

    @property
    def ends(self) -> tuple[Plain, ...]:
        """The lowest and highest value, or all of a list."""
        return self.categorical or self.float or self.log or self.int or ()

    def holds(self, value: Plain) -> bool:
        """Return whether a value is one of these."""
        if self.categorical is not None:
            return repr(value) in map(repr, self.categorical)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.float or self.log or self.int or (0, 0)
        return low <= value <= high and (self.int is None or value == round(value))


class Pruner(Model):
    """End a trial that does worse than the median of earlier ones at the same epoch."""

    trials: int = Field(5, ge=1, description="trials that end by themselves before any is pruned")
    epochs: int = Field(5, ge=1, description="epochs of a trial before it can be pruned")


class Search(Model):
    """One search file of `config/tuning/`; the name of the file is the name of the search."""

    task: str = Field(description="name of the task, one of `tasks`")
    trials: int = Field(30, ge=1, le=100_000, description="settings that are tried")
    epochs: int | None = Field(
        None, ge=1, le=100_000, description="epochs of a trial, at most; null is those of the task"
    )
    seed: int = Field(1, ge=0, lt=2**32, description="of what is tried")
    pruner: Pruner | None = Field(Pruner(), description="null lets every trial end by itself")
    space: dict[str, Span] = Field(
        min_length=1,
        description="values by key: learning_rate, batch_size, optimiser, weight_decay, momentum, "
        "input.sum_bin or settings.NAME",
    )

    @field_validator("space")
    @classmethod
    def _keys_are_known(cls, space: dict[str, Span]) -> dict[str, Span]:
        for key in space:
            name = key.removeprefix(SETTING)
            if key not in KEYS and (name == key or not name.isidentifier()):
                known = (*KEYS, f"{SETTING}NAME")
                raise ValueError(f"{key!r} cannot be searched{instead(key, known)}")
        return space


def with_values(task: Task, values: dict[str, Plain], source: str) -> Task:
    """Return a task with some values changed; `source` names the search in messages.

    Raises
    ------
    SpotmillError
        When the task cannot take a value.
    """
    content: dict[str, Any] = task.model_dump()
    for key, value in values.items():
        part, _, name = key.partition(".")
        if name:
            content[part] = {**content[part], name: value}
        else:
            content[part] = value
    try:
        return Task.parse(content, f"{source}: space")
    except SpotmillError as error:
        remedy = "" if str(error).endswith("?") else "; choose other values"
        raise SpotmillError(f"{error}{remedy}") from error


def check_search(search: Search, name: str, task: Task, source: str) -> None:
    """Check that a search is of a task and that the task can take all of its values.

    Settings of models are looked at when the search runs, as that needs torch.

    Raises
    ------
    SpotmillError
        When it is of another task, or a value does not fit.
    """
    if search.task != name:
        raise SpotmillError(f"{source}: task is {search.task!r}, not {name!r}; name that task")
    if search.pruner is not None and task.target == "peaks":
        raise SpotmillError(
            f"{source}: pruner: peaks are judged by F1 when a trial ends, as losses under other "
            "settings do not compare; say pruner: null"
        )
    # Two keys may forbid each other's values, so all pairs are looked at.
    first = {key: span.ends[0] for key, span in search.space.items()}
    keys = list(search.space)
    for one, other in [*combinations(keys, 2), (keys[0], keys[0])]:
        for a, b in product(search.space[one].ends, search.space[other].ends):
            with_values(task, {**first, one: a, other: b}, source)
