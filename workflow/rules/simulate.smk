# What a shard of each engine may take.
ENGINE_MINUTES = {"integrated": 60, "lattice": 240, "crystfel": 2880}


rule simulate:
    """Simulate the Bragg spots of one shard of patterns."""
    input:
        detector=concept("detector"),
        response=concept("response"),
        crystal=concept("crystal"),
        beam=concept("beam"),
        randomise=concept("randomise"),
        reflections=lambda wildcards: f"results/reflections/{PLAN.crystal(wildcards.dataset)}.mtz",
    output:
        peaks="results/images/peaks/{dataset}/{shard}.h5",
        truth="results/truth/{dataset}/{shard}.parquet",
        frames="results/truth/{dataset}/{shard}.frames.parquet",
    log:
        "logs/simulate/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/simulate/{dataset}/{shard}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=lambda wildcards, attempt: attempt
        * ENGINE_MINUTES[PLAN.concept(wildcards.dataset, "engine")],
    params:
        recipe=RECIPES["simulate"],
        detector_says=says("detector"),
        response_says=says("response"),
        crystal_says=says("crystal"),
        beam_says=says("beam"),
        randomise_says=says("randomise"),
        photon_energy=of_dataset("photon_energy"),
        clen=of_dataset("clen"),
        first=first_frame,
        frames=frame_count,
        seed=option("seed", PLAN.config.seed),
        engine=lambda wildcards: PLAN.config.engine_arguments(
            PLAN.concept(wildcards.dataset, "engine")
        ),
        randomise=randomise_argument,
        min_spots=option("min-spots", PLAN.config.hit.min_spots),
        min_photons=option("min-photons", PLAN.config.hit.min_photons),
    shell:
        r"""
        spotmill simulate --detector {input.detector:q} --response {input.response:q} \
            --reflections {input.reflections:q} --crystal {input.crystal:q} --beam {input.beam:q} \
            {params.photon_energy} {params.clen} \
            --dataset {wildcards.dataset:q} {params.first} {params.frames} \
            {params.seed} {params.engine:q} {params.randomise:q} \
            {params.min_spots} {params.min_photons} --output {output.peaks:q} \
            --truth {output.truth:q} --frames {output.frames:q} &>{log:q}
        """
