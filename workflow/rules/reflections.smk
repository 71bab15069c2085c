rule reflections:
    """Compute or convert the reflections of a crystal."""
    input:
        structure_file,
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
        mem_mb=2000,
        runtime=30,
    params:
        recipe=RECIPES["reflections"],
        structure=lambda wildcards: PLAN.crystals[wildcards.crystal].structure,
        d_min=lambda wildcards: PLAN.crystals[wildcards.crystal].d_min,
        cell_file=cell_file_argument,
    shell:
        r"""
        spotmill reflections {params.structure:q} --d-min {params.d_min} {params.cell_file:q} \
            --cache results/structures --output {output:q} &>{log:q}
        """
