rule reflections:
    """Compute or convert the reflections of a crystal."""
    input:
        local=structure_file,
        remote=remote_structure,
    output:
        "results/reflections/{crystal}.mtz",
    log:
        "logs/reflections/{crystal}.log",
    benchmark:
        "results/benchmarks/reflections/{crystal}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        recipe=RECIPES["reflections"],
        structure_says=structure_says,
        structure=lambda wildcards: PLAN.crystals[wildcards.crystal].structure,
        d_min=lambda wildcards: option("d-min", PLAN.crystals[wildcards.crystal].d_min),
        cell_file=cell_file_argument,
        sha256=sha256_argument,
        source=structure_source,
    shell:
        r"""
        spotmill reflections {params.source:q} {params.d_min} {params.cell_file:q} \
            {params.sha256} --cache results/structures --output {output:q} &>{log:q}
        """
