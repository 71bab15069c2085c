rule evaluate:
    """Evaluate a model on test frames, beside baselines and controls."""
    input:
        task=lambda wildcards: given(PLAN.task_files[wildcards.task]),
        split="results/splits/{task}.parquet",
        weights="results/models/{task}/model.safetensors",
        card="results/models/{task}/model.json",
        water=evaluation_waters,
        reflections=evaluation_reflections,
        detector=of_first_dataset("detector"),
    output:
        evaluation="results/evaluation/{task}/evaluation.json",
        predictions="results/evaluation/{task}/predictions.parquet",
    log:
        "logs/evaluate/{task}.log",
    benchmark:
        "results/benchmarks/evaluate/{task}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows_with_model(lambda wildcards: wildcards.task),
        runtime=grows(120),
    params:
        recipe=RECIPES["evaluate"],
        task_says=task_says(),
        detector_says=says_of_first_dataset("detector"),
        model=subpath(input.weights, parent=True),
        folder=subpath(output.evaluation, parent=True),
        reflections=lambda wildcards, input: (
            ["--reflections", *input.reflections] if input.reflections else []
        ),
    shell:
        r"""
        spotmill evaluate --task {input.task:q} --split {input.split:q} --model {params.model:q} \
            --water {input.water:q} --detector {input.detector:q} {params.reflections:q} \
            --threads {threads} --output {params.folder:q} &>{log:q}
        """
