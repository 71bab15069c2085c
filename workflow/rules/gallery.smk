rule gallery:
    """Choose frames and write them, lossless, for the gallery of the report."""
    input:
        manifest="results/manifest/all.parquet",
        map="results/map/frames.parquet",
        # To wait for, not to follow: where these say something else, there are other frames.
        geometry=ancient(
            expand("results/images/{dataset}.geom", dataset=list(PLAN.datasets))
        ),
        splits=expand("results/splits/{task}.parquet", task=PLAN.tasks),
        evaluations=expand("results/evaluation/{task}/evaluation.json", task=PLAN.tasks),
        predictions=expand(
            "results/evaluation/{task}/predictions.parquet", task=PLAN.tasks
        ),
    output:
        directory("results/report/gallery"),
    log:
        "logs/gallery.log",
    benchmark:
        "results/benchmarks/gallery.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        recipe=RECIPES["gallery"],
        evaluations=folders_of("evaluations"),
        frames=option("frames", PLAN.config.report.gallery_frames),
        bytes=option("bytes", PLAN.config.report.gallery_bytes),
        min_photons=option("min-photons", PLAN.config.hit.min_photons),
    shell:
        r"""
        spotmill gallery --manifest {input.manifest:q} --geometry {input.geometry:q} \
            --map {input.map:q} --evaluation {params.evaluations:q} --split {input.splits:q} \
            {params.frames} {params.bytes} {params.min_photons} --output {output:q} &>{log:q}
        """
