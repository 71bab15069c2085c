rule split:
    """Assign the frames of a task's datasets to training, validation and test."""
    input:
        task=lambda wildcards: given(PLAN.task_files[wildcards.task]),
        manifests=of_task("results/manifest/{dataset}.parquet"),
        # To wait for, not to follow: what a check reads may change where no frame does.
        checked=lambda wildcards: [
            ancient(file)
            for file in of_task("results/manifest/{dataset}.checked")(wildcards)
        ],
    output:
        "results/splits/{task}.parquet",
    log:
        "logs/split/{task}.log",
    benchmark:
        "results/benchmarks/split/{task}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(15),
    params:
        recipe=RECIPES["split"],
        task_says=task_says(BUT_SELECTION),
        train=option("train", PLAN.config.split.train),
        validation=option("validation", PLAN.config.split.validation),
        test=option("test", PLAN.config.split.test),
    shell:
        r"""
        spotmill split --task {input.task:q} --manifest {input.manifests:q} \
            {params.train} {params.validation} {params.test} \
            --output {output:q} &>{log:q}
        """
