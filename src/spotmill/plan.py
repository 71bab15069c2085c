"""What a configuration asks for: which datasets, shards, crystals and tasks.

The Snakefile reads the configuration through this module at every parse, so it imports
neither NumPy nor torch.
"""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spotmill.concepts import Beam, Crystal, Response, Solvent
from spotmill.config import FIRST_EMPTY, Config, Dataset, read_datasets
from spotmill.errors import SpotmillError
from spotmill.model import Model, read_text
from spotmill.nearest import instead, nearest
from spotmill.randomise import Randomise
from spotmill.recipes import MODEL_RECIPES
from spotmill.tasks import TRUTH, Task, check_hold_out, task_name
from spotmill.tuning import Search, check_search

# As the columns of the sheet: least, most, unit, and a number in it.
RANGES = {
    "photon_energy": (100, 1e6, "eV", "1 keV is 1000"),
    "clen": (1e-3, 20, "m", "20 mm is 0.02"),
}

# Shards are called p00000 to p99999.
MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Plan:
    """A configuration with the files it names, read and checked."""

    config: Config
    datasets: dict[str, Dataset]
    crystals: dict[str, Crystal]  # by name of file
    tasks: dict[str, Task]  # by name of file
    task_files: dict[str, str]
    searches: dict[str, Search]  # by name of file
    search_files: dict[str, str]
    idle_searches: tuple[str, ...]  # why each search of a task that is not trained cannot run

    def concept(self, dataset: str, concept: str) -> str:
        """Return the file of a concept (beam, detector, ...) that a dataset uses."""
        own = getattr(self.datasets[dataset], concept)
        return str(own or getattr(self.config, concept) or "")

    def digest(self, dataset: str, concept: str) -> str:
        """Return a digest of what a concept's file says, comments and layout left out.

        The rules pass it as a parameter and take the file itself as `ancient`: a comment
        remakes nothing, a changed value does.
        """
        path = self.concept(dataset, concept)
        return meaning(concept, path) if path else "none"

    def task_digest(self, task: str, but: frozenset[str] = frozenset()) -> str:
        """Return a digest of a task, but for some of its keys."""
        return hashed(self.tasks[task].model_dump_json(exclude=set(but)))

    def search_digest(self, search: str) -> str:
        """Return a digest of a search."""
        return hashed(self.searches[search].model_dump_json())

    def measured_files(self, dataset: str) -> tuple[str, ...]:
        """Return the files of blank frames on which a dataset's background is measured."""
        return blank_files(self.concept(dataset, "solvent"))

    def structure_files(self, crystal: str) -> tuple[str, ...]:
        """Return the local files that a crystal names; none when it is fetched."""
        values = self.crystals[crystal]
        structure = None if values.is_remote else values.structure
        files = (structure, values.cell_file)
        return tuple(file for file in files if file and not file.startswith("pdb:"))

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

    def model_recipe(self, task: str) -> str:
        """Return the name and recipe of a task's model."""
        model = self.tasks[task].model
        return f"model {model} {MODEL_RECIPES[model]}"

    def task_datasets(self, task: str) -> list[str]:
        """Return the datasets that a task selects, in the order of the sheet."""
        selected = self.tasks[task].datasets
        return [name for name in self.datasets if selected is None or name in selected]

    def test_datasets(self, task: str) -> list[str]:
        """Return the datasets of a task's test frames: those held out, or else all it selects."""
        held_out = self.tasks[task].hold_out
        return [name for name in self.task_datasets(task) if not held_out or name in held_out]

    def training_datasets(self, task: str) -> list[str]:
        """Return the datasets that a task's model is trained on."""
        held_out = self.tasks[task].hold_out
        return [name for name in self.task_datasets(task) if name not in held_out]


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
    crystal_files = by_stem(
        (row.crystal or config.crystal for row in datasets.values()), f"{source}: crystal"
    )
    for row in datasets.values():
        for concept in ("detector", "response", "beam", "crystal", "solvent", "randomise"):
            own, path = getattr(row, concept), getattr(row, concept) or getattr(config, concept)
            if path:
                of = f"{config.datasets if own else source}: {concept}"
                check_named(path, of, f" (dataset {row.dataset})")
                meaning(concept, path)
        blank_files(row.solvent or config.solvent)
        if path := row.randomise or config.randomise:
            check_shifts(row, path)
    crystals = {name: Crystal.read(path) for name, path in crystal_files.items()}
    task_files = by_stem(config.tasks, f"{source}: tasks")
    for path in (*config.tasks, *config.tuning):
        check_named(path, f"{source}: {'tasks' if path in config.tasks else 'tuning'}")
    tasks = {task_name(path): Task.read(path) for path in task_files.values()}
    for name, task in tasks.items():
        for dataset in task.datasets or ():
            if dataset not in datasets:
                raise SpotmillError(
                    f"{task_files[name]}: datasets: {dataset!r} is not in {config.datasets}"
                    f"{instead(dataset, datasets)}"
                )
    search_files = by_stem(config.tuning, f"{source}: tuning")
    searches = {task_name(path): Search.read(path) for path in search_files.values()}
    # What is laid over the shipped configuration inherits its searches, not their tasks.
    idle = tuple(
        f"{search_files[name]}: task: {search.task!r} is not one of `tasks` in {source}; "
        "add its file there, or leave the search out of `tuning` (`tuning: []` is none)"
        for name, search in searches.items()
        if search.task not in tasks
    )
    searches = {name: search for name, search in searches.items() if search.task in tasks}
    for name, search in searches.items():
        check_search(search, search.task, tasks[search.task], search_files[name])
    plan = Plan(config, datasets, crystals, tasks, task_files, searches, search_files, idle)
    for name, task in tasks.items():
        # Elsewhere a class is a matter of frames (hit), or there is none.
        column = TRUTH[task.target] if task.scale == "classes" else ""
        selected = plan.task_datasets(name)
        values = {each: getattr(datasets[each], column, None) for each in selected}
        check_hold_out(task, values, task_files[name])
    for name, row in datasets.items():
        n_frames = max(plan.n_frames(name, kind) for kind in "pe")
        if n_frames >= FIRST_EMPTY or n_frames > MOST_SHARDS * config.shard_size:
            raise SpotmillError(
                f"{source}: shard_size: {config.shard_size} makes more than {MOST_SHARDS} shards "
                f"of {name} ({row.n_patterns} patterns, empties {config.empties:g}); raise it"
            )
    return plan


def check_shifts(row: Dataset, path: str) -> None:
    """Raise SpotmillError where shifts take a dataset out of the range of X-ray experiments.

    Of laws without an end (normal, lognormal) each draw is checked when it is drawn.
    """
    for name, (least, most, unit, example) in RANGES.items():
        law, own = getattr(read_randomise(path), name), getattr(row, name)
        for shift in () if law.normal or law.lognormal else law.bounds:
            if not least <= own + shift <= most:
                raise SpotmillError(
                    f"{path}: {name}: a shift of {shift:g} {unit} takes dataset {row.dataset} from "
                    f"{own:g} out of {least:g} to {most:g} {unit}; give it in {unit} ({example})"
                )


@cache
def read_randomise(path: str) -> Randomise:
    """Return what a file of what differs from frame to frame says."""
    return Randomise.read(path)


def check_named(path: str, where: str, of: str = "") -> None:
    """Raise SpotmillError where the configuration names a file that is not there."""
    # An endless name is no file either, but pathlib raises an OSError.
    if os.path.isfile(path):  # noqa: PTH113
        return
    folder, name = os.path.split(path)
    # Of another kind it cannot be meant.
    suffix = Path(name).suffix
    there = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []  # noqa: PTH112, PTH208
    near = nearest(name, [one for one in sorted(there) if Path(one).suffix == suffix])
    remedy = f"did you mean {os.path.join(folder, near)}?" if near else "check the name"  # noqa: PTH118
    raise SpotmillError(f"{where}: {path}: no such file{of}; {remedy}")


CONCEPTS: dict[str, type[Model]] = {
    "response": Response,
    "beam": Beam,
    "crystal": Crystal,
    "solvent": Solvent,
    "randomise": Randomise,
}


def hashed(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@cache
def meaning(concept: str, path: str) -> str:
    """Return a digest of what a concept's file says, and the files that it names in turn."""
    if concept == "detector":
        lines = (line.split(";")[0].split() for line in read_text(path).splitlines())
        return hashed("\n".join(" ".join(words) for words in lines if words))
    values = CONCEPTS[concept].read(path)
    spectrum_file = getattr(values, "spectrum_file", None)
    return hashed(values.model_dump_json() + (read_text(spectrum_file) if spectrum_file else ""))


WHOLE = 2**20  # bytes; of larger files, BLOCKS pieces of BLOCK bytes are read
BLOCK, BLOCKS = 4096, 16


@cache
def contents(paths: tuple[str, ...]) -> str:
    """Return a digest of what data files hold, whatever their times.

    Snakemake remakes what depends on a newer file; an older one that replaces it (a copy
    that keeps times, an archive unpacked) it does not see. Of large files the size and
    pieces spread over them are looked at, so that a parse stays quick. Files that cannot be
    read are left to Snakemake and the commands, which name them.
    """
    digest = hashlib.blake2b(digest_size=12)
    for name in paths:
        with suppress(OSError), Path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{name} {size} ".encode())
            if size <= WHOLE:
                digest.update(file.read())
                continue
            for number in range(BLOCKS):
                file.seek(number * (size - BLOCK) // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()


@cache
def blank_files(solvent: str) -> tuple[str, ...]:
    """Return the files behind the `frames` of a solvent file; none where it is a model.

    Of a folder these are all files but hidden ones, of a list it and the files that it names.

    Raises
    ------
    SpotmillError
        When a file or folder is absent or empty.
    """
    found: list[str] = []
    for name in Solvent.read(solvent).frames or ():
        path = Path(name)
        if os.path.isdir(name):  # noqa: PTH112 (an endless name is no folder)
            files = [str(file) for file in sorted(path.iterdir()) if file.is_file()]
            files = [file for file in files if not Path(file).name.startswith(".")]
        elif path.suffix == ".lst":
            # Readers of images are costly to import, and few configurations have lists.
            from spotmill.formats.images import sources

            files = [name, *(str(source.path) for source in sources(path))]
        else:
            files = [name] if os.path.isfile(name) else []  # noqa: PTH113
        if not files:
            raise SpotmillError(
                f"{solvent}: frames: {name}: no such file, or an empty folder; "
                "name files, folders or .lst lists of blank frames"
            )
        found += files
    return tuple(dict.fromkeys(found))


def by_stem(paths: Iterable[str], key: str) -> dict[str, str]:
    """Return paths by stem; two files of one stem would share results and are refused."""
    found: dict[str, str] = {}
    for path in paths:
        stem = Path(path).stem
        if found.get(stem, path) != path:
            raise SpotmillError(f"{key}: {found[stem]} and {path} have one name; rename one")
        found[stem] = path
    return found
