from snakemake.utils import min_version

from spotmill.errors import SpotmillError
from spotmill.model import read_keys

min_version("9.1")

# Jobs stop when the Snakemake that started them is gone.
shell.prefix("set -euo pipefail; export SPOTMILL_WORKFLOW=$PPID; ")

# Snakemake's own reader takes a key that stands twice, and is wordy where a file holds no keys.
try:
    read_keys("config/config.yaml")
except SpotmillError as error:
    raise WorkflowError(str(error))


configfile: "config/config.yaml"


# The image of all jobs under `--sdm apptainer`: docs/containers.md
container: os.environ.get("SPOTMILL_IMAGE")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/reflections.smk"
include: "workflow/rules/geometry.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/water.smk"
include: "workflow/rules/overlay.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/map.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/saliency.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/gallery.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/cards.smk"
include: "workflow/rules/cost.smk"


# Rules of seconds: on a cluster they run beside Snakemake, where a structure can be fetched, too.
localrules:
    reflections,
    geometry,
    manifest,
    manifest_all,
    split,
    check_all,
    card,
    crate,
    cost,


# A background that is measured reads many frames; one that is computed takes seconds.
if not any(PLAN.measured_files(dataset) for dataset in PLAN.datasets):

    localrules:
        water,


rule all:
    """Make everything up to the report."""
    default_target: True
    input:
        "results/report/index.html",
        "results/report/gallery",
        "results/manifest/all.checked",
        expand("results/cards/{dataset}/README.md", dataset=PLAN.datasets),
        "results/ro-crate-metadata.json",
        "results/report/cost/cost.csv",
        expand("results/images/{dataset}.geom", dataset=PLAN.datasets),
        # Named one by one: a frame file that went missing is made again.
        files_of_shards(),


rule tuning:
    """Run all searches of the configuration."""
    input:
        all_searches,
