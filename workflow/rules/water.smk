rule water:
    """Compute the expected water image of a dataset, or measure it on blank frames."""
    input:
        detector=concept("detector"),
        response=concept("response"),
        beam=concept("beam"),
        solvent=concept("solvent"),
        # Measured frames are data: a new one remakes the background.
        measured=lambda wildcards: [
            local(file) for file in PLAN.measured_files(wildcards.dataset)
        ],
    output:
        "results/images/water/{dataset}.h5",
    log:
        "logs/water/{dataset}.log",
    benchmark:
        "results/benchmarks/water/{dataset}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1500),
        runtime=grows(15),
    params:
        recipe=RECIPES["water"],
        detector_says=says("detector"),
        response_says=says("response"),
        beam_says=says("beam"),
        solvent_says=says("solvent"),
        measured_says=measured_says,
        photon_energy=of_dataset("photon_energy"),
        clen=of_dataset("clen"),
    shell:
        r"""
        spotmill water --detector {input.detector:q} --response {input.response:q} \
            --beam {input.beam:q} --solvent {input.solvent:q} \
            {params.photon_energy} {params.clen} \
            --dataset {wildcards.dataset:q} --output {output:q} &>{log:q}
        """
