from snakemake.utils import min_version

from spotmill.errors import SpotmillError
from spotmill.model import read_yaml

min_version("9.1")

# Snakemake's own reader takes a key that stands twice, and is wordy where a file is no text.
try:
    read_yaml("config/config.yaml")
except SpotmillError as error:
    raise WorkflowError(str(error))


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/reflections.smk"
include: "workflow/rules/geometry.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/water.smk"
include: "workflow/rules/overlay.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    """Make everything up to the report."""
    default_target: True
    input:
        "results/report/index.html",
        expand("results/images/{dataset}.geom", dataset=PLAN.datasets),
