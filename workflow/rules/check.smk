rule check:
    """Re-open every file of a dataset, prove that its frames belong together, list digests."""
    input:
        manifest="results/manifest/{dataset}.parquet",
        geometry="results/images/{dataset}.geom",
        water="results/images/water/{dataset}.h5",
        reflections=lambda wildcards: f"results/reflections/{PLAN.crystal(wildcards.dataset)}.mtz",
    output:
        "results/manifest/{dataset}.checked",
    log:
        "logs/check/{dataset}.log",
    benchmark:
        "results/benchmarks/check/{dataset}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        recipe=RECIPES["check"],
        min_spots=option("min-spots", PLAN.config.hit.min_spots),
        min_photons=option("min-photons", PLAN.config.hit.min_photons),
    shell:
        r"""
        spotmill check {input.manifest:q} --also {input.geometry:q} {input.water:q} \
            {input.reflections:q} {params.min_spots} {params.min_photons} --output {output:q} &>{log:q}
        """


rule check_all:
    """List the digests of what is made of all datasets: tables, models, evaluations, report."""
    input:
        "results/manifest/all.parquet",
        "results/map/frames.parquet",
        expand("results/splits/{task}.parquet", task=PLAN.tasks),
        expand(
            "results/models/{task}/{file}",
            task=PLAN.tasks,
            file=["model.safetensors", "model.json", "history.csv", "README.md"],
        ),
        expand(
            "results/evaluation/{task}/{file}",
            task=PLAN.tasks,
            file=["evaluation.json", "predictions.parquet"],
        ),
        expand(
            "results/saliency/{task}/{file}",
            task=PLAN.tasks,
            file=["saliency.json", "parts.parquet"],
        ),
        rules.report.output,
    output:
        "results/manifest/all.checked",
    log:
        "logs/check_all.log",
    benchmark:
        "results/benchmarks/check_all.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        recipe=RECIPES["check"],
    shell:
        r"""
        spotmill check --also {input:q} --output {output:q} &>{log:q}
        """
