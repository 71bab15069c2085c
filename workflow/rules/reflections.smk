def structure_file(wildcards):
    """The local file that a crystal names; nothing when it is fetched."""
    crystal = PLAN.crystals[wildcards.crystal]
    files = [crystal.structure, crystal.cell_file]
    return [file for file in files if file and not file.startswith("pdb:")]


def cell_file_argument(wildcards):
    cell_file = PLAN.crystals[wildcards.crystal].cell_file
    return ["--cell-file", cell_file] if cell_file else []


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
