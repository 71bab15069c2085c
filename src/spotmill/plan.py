"""What a configuration asks for: which datasets, shards, crystals and tasks.

The Snakefile reads the configuration through this module at every parse, so it imports
neither NumPy nor torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotmill.config import FIRST_EMPTY, Config, Crystal, Dataset, read_datasets
from spotmill.errors import SpotmillError
from spotmill.tasks import Task


@dataclass(frozen=True)
class Plan:
    """A configuration with the files it names, read and checked."""

    config: Config
    datasets: dict[str, Dataset]
    crystals: dict[str, Crystal]  # by name of file
    tasks: dict[str, Task]  # by name of file
    task_files: dict[str, str]

    def concept(self, dataset: str, concept: str) -> str:
        """Return the file of a concept (beam, detector, ...) that a dataset uses."""
        own = getattr(self.datasets[dataset], concept)
        return str(own or getattr(self.config, concept))

    def crystal(self, dataset: str) -> str:
        """Return the name under which the reflections of a dataset's crystal are kept."""
        return Path(self.concept(dataset, "crystal")).stem

    def n_frames(self, dataset: str, kind: str) -> int:
        """Return how many frames of a kind (p: patterns, e: empties) a dataset has."""
        n_patterns = self.datasets[dataset].n_patterns
        return n_patterns if kind == "p" else int(n_patterns * self.config.empties)

    def shards(self, dataset: str, kinds: str = "pe") -> list[str]:
        """Return the names of a dataset's shards: p00000, p00001 ... and e00000 ...."""
        size = self.config.shard_size
        return [
            f"{kind}{number:05d}"
            for kind in kinds
            for number in range(-(-self.n_frames(dataset, kind) // size))
        ]

    def first(self, shard: str) -> int:
        """Return the index of the first frame of a shard."""
        offset = int(shard[1:]) * self.config.shard_size
        return offset + (FIRST_EMPTY if shard[0] == "e" else 0)

    def count(self, dataset: str, shard: str) -> int:
        """Return how many frames a shard holds."""
        before = int(shard[1:]) * self.config.shard_size
        return min(self.config.shard_size, self.n_frames(dataset, shard[0]) - before)

    def task_datasets(self, task: str) -> list[str]:
        """Return the datasets that a task selects, in the order of the sheet."""
        selected = self.tasks[task].datasets
        return [name for name in self.datasets if selected is None or name in selected]


def read_plan(values: Any, source: str = "config/config.yaml") -> Plan:
    """Read everything that a configuration names.

    Parameters
    ----------
    values
        The configuration as plain values.
    source
        Where they come from, for messages.

    Raises
    ------
    SpotmillError
        When a value or file is wrong; the message names it.
    """
    config = Config.parse(values, source)
    datasets = read_datasets(config.datasets)
    crystals: dict[str, Crystal] = {}
    for name, path in by_stem(
        (row.crystal or config.crystal for row in datasets.values()), "crystal"
    ).items():
        crystals[name] = Crystal.read(path)
    for row in datasets.values():
        for concept in ("detector", "response", "beam", "solvent"):
            path = getattr(row, concept) or getattr(config, concept)
            if not Path(path).is_file():
                raise SpotmillError(
                    f"{source}: {concept}: {path}: no such file (dataset {row.dataset});"
                    " check the name"
                )
    task_files = by_stem(config.tasks, "tasks")
    tasks = {name: Task.read(path) for name, path in task_files.items()}
    for name, task in tasks.items():
        for dataset in task.datasets or ():
            if dataset not in datasets:
                raise SpotmillError(
                    f"{task_files[name]}: datasets: {dataset!r} is not in {config.datasets};"
                    f" it has {', '.join(datasets)}"
                )
    return Plan(config, datasets, crystals, tasks, task_files)


def by_stem(paths: Iterable[str], key: str) -> dict[str, str]:
    """Return paths by stem; two files of one stem would share results and are refused."""
    found: dict[str, str] = {}
    for path in paths:
        stem = Path(path).stem
        if found.get(stem, path) != path:
            raise SpotmillError(f"{key}: {found[stem]} and {path} have one name; rename one")
        found[stem] = path
    return found
