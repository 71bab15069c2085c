rule card:
    """Describe a dataset for readers and for machines."""
    input:
        manifest="results/manifest/{dataset}.parquet",
        checked="results/manifest/{dataset}.checked",
        water="results/images/water/{dataset}.h5",
        geometry="results/images/{dataset}.geom",
    output:
        readme="results/cards/{dataset}/README.md",
        croissant="results/cards/{dataset}/croissant.json",
        pictures=expand(
            "results/cards/{{dataset}}/{picture}.png",
            picture=["frames", "water", "spots"],
        ),
    log:
        "logs/card/{dataset}.log",
    benchmark:
        "results/benchmarks/card/{dataset}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        recipe=RECIPES["card"],
        publication=publication_arguments(),
    shell:
        r"""
        spotmill card --manifest {input.manifest:q} --checked {input.checked:q} \
            --water {input.water:q} --geometry {input.geometry:q} {params.publication:q} \
            --output {output.readme:q} &>{log:q}
        """


rule crate:
    """Record the run as an RO-Crate, so that others can repeat it."""
    input:
        config=given(workflow.configfiles[0]),
        cards=expand(
            "results/cards/{dataset}/croissant.json", dataset=list(PLAN.datasets)
        ),
        report="results/report/index.html",
        gallery="results/report/gallery",
    output:
        crate="results/ro-crate-metadata.json",
        source=directory("results/source"),
    log:
        "logs/crate.log",
    benchmark:
        "results/benchmarks/crate.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        recipe=RECIPES["crate"],
        config_says=PLAN.config.model_dump_json(),
    shell:
        r"""
        spotmill crate --config {input.config:q} --output {output.crate:q} &>{log:q}
        """
