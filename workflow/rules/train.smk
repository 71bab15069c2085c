rule train:
    """Train the model of a task."""
    input:
        task=lambda wildcards: given(PLAN.task_files[wildcards.task]),
        split="results/splits/{task}.parquet",
        detector=of_first_dataset("detector"),
    output:
        weights="results/models/{task}/model.safetensors",
        card="results/models/{task}/model.json",
        history="results/models/{task}/history.csv",
        readme="results/models/{task}/README.md",
    log:
        "logs/train/{task}.log",
    benchmark:
        "results/benchmarks/train/{task}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    # One thread: sums in another order would change the last bits of the weights.
    threads: 1
    resources:
        mem_mb=grows_with_model(lambda wildcards: wildcards.task),
        runtime=grows(120),
        # What trains together, and what starts it (docs/slurm.md): no parameters, as they change
        # nothing that is to be made anew.
        devices=1,
        nodes=1,
        launcher="env",
    params:
        recipe=RECIPES["train"],
        model_recipe=lambda wildcards: PLAN.model_recipe(wildcards.task),
        task_says=task_says({"notes", "controls"}),
        detector_says=says_of_first_dataset("detector"),
        folder=subpath(output.weights, parent=True),
    shell:
        r"""
        {resources.launcher} spotmill train --task {input.task:q} --split {input.split:q} \
            --detector {input.detector:q} --threads {threads} --devices {resources.devices} \
            --nodes {resources.nodes} --output {params.folder:q} &>{log:q}
        """
