import re

from importlib.util import find_spec
from inspect import signature

from spotmill.learning.registry import MODELS
from spotmill.plan import contents, read_plan
from spotmill.recipes import RECIPES
from spotmill.tasks import Task

# What of a task decides which frames it uses.
BUT_SELECTION = frozenset(Task.model_fields) - {
    "target",
    "datasets",
    "hold_out",
    "scale",
}

try:
    PLAN = read_plan(config)
except SpotmillError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    dataset="|".join(PLAN.datasets),
    crystal="|".join(map(re.escape, PLAN.crystals)),
    task="|".join(PLAN.tasks) or "(?!)",
    search="|".join(PLAN.searches) or "(?!)",
    shard=r"[pe]\d{5}",


def quick(function):
    """Return a function that carries its signature.

    Snakemake asks for the signature of every function of every job: in a large workflow a
    sixth of the time of a dry run.
    """
    function.__signature__ = signature(function)
    return function


def option(name, value):
    """Return a parameter that is an option of a command with its name.

    Snakemake compares the *set* of a job's parameters, without their names: of plain
    numbers, two that trade places (or one that takes another's value) go unnoticed.
    """
    return [f"--{name}", value]


def grows(amount):
    """Return a resource function: this much at first, as much again for every further attempt."""
    return quick(lambda wildcards, attempt: amount * attempt)


def grows_with_model(task, least=0):
    """Return a resource function: memory to train the model of a task, given wildcards."""
    return quick(
        lambda wildcards, attempt: attempt
        * max(least, MODELS[PLAN.tasks[task(wildcards)].model].memory)
    )


def of_dataset(key):
    """Return a parameter function: an option, from the dataset's row in the sheet."""
    return quick(
        lambda wildcards: option(
            key.replace("_", "-"), getattr(PLAN.datasets[wildcards.dataset], key)
        )
    )


def given(path):
    """Mark a file that its user keeps: its time does not matter, and it lies in no storage."""
    return local(ancient(path))


def concept(key):
    """Return an input function: the file of a concept that the dataset uses.

    Its time and layout do not matter; `says` carries what it says.
    """

    @quick
    def of(wildcards):
        path = PLAN.concept(wildcards.dataset, key)
        return given(path) if path else []

    return of


def says(key):
    """Return a parameter function: a digest of what a concept's file says, with its name."""
    return quick(lambda wildcards: f"{key} {PLAN.digest(wildcards.dataset, key)}")


@quick
def randomise_argument(wildcards):
    path = PLAN.concept(wildcards.dataset, "randomise")
    return ["--randomise", path] if path else []


@quick
def first_frame(wildcards):
    return option("first", PLAN.first(wildcards.shard))


@quick
def frame_count(wildcards):
    return option("count", PLAN.count(wildcards.dataset, wildcards.shard))


def structure_file(wildcards):
    """The local files that a crystal names; none when it is fetched.

    Their time does not matter; `structure_says` carries what they hold.
    """
    return [given(file) for file in PLAN.structure_files(wildcards.crystal)]


def remote_structure(wildcards):
    """The file behind the http(s) address that a crystal names.

    Its time does not matter; `sha256` carries what it holds.
    """
    crystal = PLAN.crystals[wildcards.crystal]
    if not crystal.is_remote:
        return []
    if find_spec("snakemake_storage_plugin_http") is None:
        raise WorkflowError(
            f"{crystal.structure}: an http(s) address needs Snakemake's plugin for it;"
            " pip install snakemake-storage-plugin-http, or fetch the file and name it"
        )
    return ancient(storage.http(crystal.structure))


def structure_source(wildcards, input):
    """What the command reads: the file fetched, or what the crystal names."""
    return input.remote or PLAN.crystals[wildcards.crystal].structure


def sha256_argument(wildcards):
    sha256 = PLAN.crystals[wildcards.crystal].sha256
    return ["--sha256", sha256] if sha256 else []


def structure_says(wildcards):
    return f"structure {contents(PLAN.structure_files(wildcards.crystal))}"


def measured_says(wildcards):
    return f"measured {contents(PLAN.measured_files(wildcards.dataset))}"


def cell_file_argument(wildcards):
    cell_file = PLAN.crystals[wildcards.crystal].cell_file
    return ["--cell-file", cell_file] if cell_file else []


# Files of a shard, and of which kinds of shards: patterns, empties.
SHARD_FILES = {
    "results/images/peaks_water_overlay/{dataset}/{shard}.h5": "pe",
    "results/images/peaks/{dataset}/{shard}.h5": "p",
    "results/images/labels/{dataset}/{shard}.h5": "p",
    "results/truth/{dataset}/{shard}.parquet": "p",
    "results/truth/{dataset}/{shard}.frames.parquet": "p",
}


def of_shards(pattern, kinds):
    """Return an input function: a file for each of the dataset's shards of these kinds."""
    return quick(
        lambda wildcards: [
            pattern.format(dataset=wildcards.dataset, shard=shard)
            for shard in PLAN.shards(wildcards.dataset, kinds)
        ]
    )


def files_of_shards():
    """Return the files of all shards of all datasets."""
    return [
        pattern.format(dataset=dataset, shard=shard)
        for dataset in PLAN.datasets
        for pattern, kinds in SHARD_FILES.items()
        for shard in PLAN.shards(dataset, kinds)
    ]


def of_task(pattern):
    """Return an input function: a file for each dataset that the task selects."""
    return quick(
        lambda wildcards: [
            pattern.format(dataset=dataset)
            for dataset in PLAN.task_datasets(wildcards.task)
        ]
    )


def of_first_dataset(key):
    """Return an input function: the file of a concept of the task's first dataset."""
    return quick(
        lambda wildcards: given(
            PLAN.concept(PLAN.task_datasets(wildcards.task)[0], key)
        )
    )


def says_of_first_dataset(key):
    """Return a parameter function: as `says`, for the task's first dataset."""
    return quick(
        lambda wildcards: (
            f"{key} {PLAN.digest(PLAN.task_datasets(wildcards.task)[0], key)}"
        )
    )


def of_search(function):
    """Return an input or parameter function for the task that a search is of."""

    @quick
    def of(wildcards):
        return function(PLAN.searches[wildcards.search].task)

    return of


def all_searches(wildcards):
    """Results of all searches; one that cannot run is told when it is asked for."""
    for why in PLAN.idle_searches:
        raise WorkflowError(why)
    return expand("results/tuning/{search}/tuning.json", search=PLAN.searches)


def task_says(but=frozenset()):
    """Return a parameter function: a digest of what a task file says, but for some keys."""
    return quick(
        lambda wildcards: f"task {PLAN.task_digest(wildcards.task, frozenset(but))}"
    )


def folders_of(key):
    """Return a parameter function: the folders of an input's files, wherever they are stored."""
    return quick(
        lambda wildcards, input: [os.path.dirname(file) for file in input[key]]
    )


@quick
def virtual_argument(wildcards):
    return ["--virtual"] * (PLAN.concept(wildcards.dataset, "overlays") == "virtual")


def publication_arguments():
    """Return who made the data and how others may use them, as arguments."""
    said = PLAN.config.publication
    words = ["--creator", *said.creators] if said.creators else []
    for key in ("licence", "date", "url"):
        if getattr(said, key):
            words += [f"--{key}", getattr(said, key)]
    return words


def earlier_argument():
    """Return the folder of results that the report is compared with, as an argument."""
    earlier = PLAN.config.report.earlier
    return ["--earlier", earlier] if earlier else []


def evaluation_waters(wildcards):
    """Expected water of the test frames' first dataset, or of all of theirs at several fluxes."""
    names = PLAN.test_datasets(wildcards.task)
    dims = PLAN.tasks[wildcards.task].dims
    return [
        f"results/images/water/{name}.h5" for name in (names if dims else names[:1])
    ]


def evaluation_reflections(wildcards):
    """Reflections of the test frames' crystals, for the bounds at several fluxes; else none."""
    if not PLAN.tasks[wildcards.task].dims:
        return []
    crystals = {PLAN.crystal(name) for name in PLAN.test_datasets(wildcards.task)}
    return [f"results/reflections/{name}.mtz" for name in sorted(crystals)]


FIGURES = [
    "datasets",
    "frames",
    "frame_detail",
    "radial_profiles",
    "distributions",
    "map",
]
TASK_FIGURES = [
    f"{name}_{figure}"
    for name, task in PLAN.tasks.items()
    for figure in (*task.figures, "saliency")
]
