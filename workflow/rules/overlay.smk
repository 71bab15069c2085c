rule overlay:
    """Draw water photons over the peaks of one shard."""
    input:
        randomise=concept("randomise"),
        water="results/images/water/{dataset}.h5",
        peaks="results/images/peaks/{dataset}/{shard}.h5",
    output:
        "results/images/peaks_water_overlay/{dataset}/{shard}.h5",
    log:
        "logs/overlay/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/overlay/{dataset}/{shard}.tsv"
    wildcard_constraints:
        shard=r"p\d{5}",
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        recipe=RECIPES["overlay"],
        randomise_says=says("randomise"),
        randomise=randomise_argument,
        seed=option("seed", PLAN.config.seed),
        virtual=virtual_argument,
    shell:
        r"""
        spotmill overlay --water {input.water:q} --peaks {input.peaks:q} {params.randomise:q} \
            {params.seed} {params.virtual} --output {output:q} &>{log:q}
        """


rule empty:
    """Draw one shard of frames that hold water and no crystal."""
    input:
        randomise=concept("randomise"),
        water="results/images/water/{dataset}.h5",
    output:
        "results/images/peaks_water_overlay/{dataset}/{shard}.h5",
    log:
        "logs/empty/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/empty/{dataset}/{shard}.tsv"
    wildcard_constraints:
        shard=r"e\d{5}",
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        recipe=RECIPES["overlay"],
        randomise_says=says("randomise"),
        randomise=randomise_argument,
        seed=option("seed", PLAN.config.seed),
        virtual=virtual_argument,
        first=first_frame,
        frames=frame_count,
    shell:
        r"""
        spotmill overlay --water {input.water:q} {params.randomise:q} {params.first} \
            {params.frames} {params.seed} {params.virtual} --output {output:q} &>{log:q}
        """
