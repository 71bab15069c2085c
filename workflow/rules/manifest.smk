rule manifest:
    """List the frames of a dataset and their files."""
    input:
        overlay=of_shards(
            "results/images/peaks_water_overlay/{dataset}/{shard}.h5", "pe"
        ),
        peaks=of_shards("results/images/peaks/{dataset}/{shard}.h5", "p"),
        labels=of_shards("results/images/labels/{dataset}/{shard}.h5", "p"),
        truth=of_shards("results/truth/{dataset}/{shard}.parquet", "p"),
    output:
        "results/manifest/{dataset}.parquet",
    log:
        "logs/manifest/{dataset}.log",
    benchmark:
        "results/benchmarks/manifest/{dataset}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        recipe=RECIPES["manifest"],
    shell:
        r"""
        spotmill manifest --overlay {input.overlay:q} --peaks {input.peaks:q} \
            --labels {input.labels:q} --truth {input.truth:q} --output {output:q} &>{log:q}
        """


rule manifest_all:
    """Put the manifests of all datasets together."""
    input:
        manifests=expand("results/manifest/{dataset}.parquet", dataset=PLAN.datasets),
        checked=ancient(
            expand("results/manifest/{dataset}.checked", dataset=PLAN.datasets)
        ),
    output:
        "results/manifest/all.parquet",
    log:
        "logs/manifest_all.log",
    benchmark:
        "results/benchmarks/manifest_all.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        recipe=RECIPES["manifest"],
    shell:
        r"""
        spotmill manifest --join {input.manifests:q} --output {output:q} &>{log:q}
        """
