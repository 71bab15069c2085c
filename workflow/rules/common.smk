from spotmill.errors import SpotmillError
from spotmill.plan import read_plan
from spotmill.recipes import RECIPES

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
    """Return an input function: the file of a concept that the dataset uses."""
    return lambda wildcards: PLAN.concept(wildcards.dataset, key)


def first_frame(wildcards):
    return PLAN.first(wildcards.shard)


def frame_count(wildcards):
    return PLAN.count(wildcards.dataset, wildcards.shard)
