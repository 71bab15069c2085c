rule check:
    """Re-open every file of a dataset and prove that its frames belong together."""
    input:
        "results/manifest/{dataset}.parquet",
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
        mem_mb=1000,
        runtime=60,
    params:
        recipe=RECIPES["check"],
        min_spots=PLAN.config.hit.min_spots,
        min_photons=PLAN.config.hit.min_photons,
    shell:
        r"""
        spotmill check {input:q} --min-spots {params.min_spots} \
            --min-photons {params.min_photons} --output {output:q} &>{log:q}
        """
