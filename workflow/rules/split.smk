rule split:
    """Assign the frames of a task's datasets to training, validation and test."""
    input:
        task=lambda wildcards: ancient(PLAN.task_files[wildcards.task]),
        manifests=of_task("results/manifest/{dataset}.parquet"),
        checked=of_task("results/manifest/{dataset}.checked"),
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
        mem_mb=1000,
        runtime=15,
    params:
        recipe=RECIPES["split"],
        task_says=lambda wildcards: PLAN.task_digest(wildcards.task, BUT_SELECTION),
        train=PLAN.config.split.train,
        validation=PLAN.config.split.validation,
        test=PLAN.config.split.test,
    shell:
        r"""
        spotmill split --task {input.task:q} --manifest {input.manifests:q} \
            --train {params.train} --validation {params.validation} --test {params.test} \
            --output {output:q} &>{log:q}
        """
