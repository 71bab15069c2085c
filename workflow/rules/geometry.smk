rule geometry:
    """Write the geometry of a dataset's shards, for CrystFEL."""
    input:
        detector=concept("detector"),
        beam=concept("beam"),
        randomise=concept("randomise"),
    output:
        "results/images/{dataset}.geom",
    log:
        "logs/geometry/{dataset}.log",
    benchmark:
        "results/benchmarks/geometry/{dataset}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(15),
    params:
        recipe=RECIPES["geometry"],
        detector_says=says("detector"),
        beam_says=says("beam"),
        randomise_says=says("randomise"),
        randomise=randomise_argument,
        photon_energy=of_dataset("photon_energy"),
        clen=of_dataset("clen"),
    shell:
        r"""
        spotmill geometry --detector {input.detector:q} --beam {input.beam:q} \
            {params.photon_energy} {params.clen} {params.randomise:q} \
            --dataset {wildcards.dataset:q} --output {output:q} &>{log:q}
        """
