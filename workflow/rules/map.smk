rule map:
    """Place frames by their physical features, gather them, and tell which are odd."""
    input:
        manifest="results/manifest/all.parquet",
        # To wait for, not to follow: where these say something else, there are other frames.
        geometry=ancient(
            expand("results/images/{dataset}.geom", dataset=list(PLAN.datasets))
        ),
        checked=ancient(
            expand("results/manifest/{dataset}.checked", dataset=list(PLAN.datasets))
        ),
    output:
        "results/map/frames.parquet",
    log:
        "logs/map.log",
    benchmark:
        "results/benchmarks/map.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        recipe=RECIPES["map"],
    shell:
        r"""
        spotmill map --manifest {input.manifest:q} --geometry {input.geometry:q} \
            --output {output:q} &>{log:q}
        """
