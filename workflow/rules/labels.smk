rule labels:
    """Mark the pixels of one shard that hold Bragg photons."""
    input:
        "results/images/peaks/{dataset}/{shard}.h5",
    output:
        "results/images/labels/{dataset}/{shard}.h5",
    log:
        "logs/labels/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/labels/{dataset}/{shard}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        recipe=RECIPES["labels"],
        threshold=option("threshold", PLAN.config.label_threshold),
    shell:
        r"""
        spotmill labels --peaks {input:q} {params.threshold} --output {output:q} \
            &>{log:q}
        """
