from spotmill.plan import read_plan
from spotmill.recipes import RECIPES
from spotmill.tasks import Task

# What of a task decides which frames it uses.
BUT_SELECTION = frozenset(Task.model_fields) - {"target", "datasets"}

try:
    PLAN = read_plan(config)
except SpotmillError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    dataset="|".join(PLAN.datasets),
    crystal="|".join(PLAN.crystals),
    task="|".join(PLAN.tasks) or "(?!)",
    shard=r"[pe]\d{5}",


def of_dataset(key):
    """Return an input or parameter function: a field of the dataset's row in the sheet."""
    return lambda wildcards: getattr(PLAN.datasets[wildcards.dataset], key)


def concept(key):
    """Return an input function: the file of a concept that the dataset uses.

    Its time and layout do not matter; `says` carries what it says.
    """

    def of(wildcards):
        path = PLAN.concept(wildcards.dataset, key)
        return ancient(path) if path else []

    return of


def says(key):
    """Return a parameter function: a digest of what a concept's file says."""
    return lambda wildcards: PLAN.digest(wildcards.dataset, key)


def randomise_argument(wildcards):
    path = PLAN.concept(wildcards.dataset, "randomise")
    return ["--randomise", path] if path else []


def first_frame(wildcards):
    return PLAN.first(wildcards.shard)


def frame_count(wildcards):
    return PLAN.count(wildcards.dataset, wildcards.shard)


def structure_file(wildcards):
    """The local file that a crystal names; nothing when it is fetched."""
    crystal = PLAN.crystals[wildcards.crystal]
    files = [crystal.structure, crystal.cell_file]
    return [file for file in files if file and not file.startswith("pdb:")]


def cell_file_argument(wildcards):
    cell_file = PLAN.crystals[wildcards.crystal].cell_file
    return ["--cell-file", cell_file] if cell_file else []


def of_shards(pattern, kinds):
    """Return an input function: a file for each of the dataset's shards of these kinds."""
    return lambda wildcards: [
        pattern.format(dataset=wildcards.dataset, shard=shard)
        for shard in PLAN.shards(wildcards.dataset, kinds)
    ]


def of_task(pattern):
    """Return an input function: a file for each dataset that the task selects."""
    return lambda wildcards: [
        pattern.format(dataset=dataset)
        for dataset in PLAN.task_datasets(wildcards.task)
    ]


def of_first_dataset(key):
    """Return an input function: the file of a concept of the task's first dataset."""
    return lambda wildcards: ancient(
        PLAN.concept(PLAN.task_datasets(wildcards.task)[0], key)
    )


FIGURES = ["datasets", "frames", "frame_detail", "radial_profiles"]
TASK_FIGURES = ["training", "confusion", "per_dataset", "errors"]
