rule saliency:
    """Show where a trained model looked in a few test frames."""
    input:
        task=lambda wildcards: given(PLAN.task_files[wildcards.task]),
        split="results/splits/{task}.parquet",
        weights="results/models/{task}/model.safetensors",
        card="results/models/{task}/model.json",
        predictions="results/evaluation/{task}/predictions.parquet",
        detector=of_first_dataset("detector"),
    output:
        found="results/saliency/{task}/saliency.json",
        parts="results/saliency/{task}/parts.parquet",
    log:
        "logs/saliency/{task}.log",
    benchmark:
        "results/benchmarks/saliency/{task}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows_with_model(lambda wildcards: wildcards.task),
        runtime=grows(60),
    params:
        recipe=RECIPES["saliency"],
        task_says=task_says(),
        detector_says=says_of_first_dataset("detector"),
        model=subpath(input.weights, parent=True),
        evaluation=subpath(input.predictions, parent=True),
        folder=subpath(output.found, parent=True),
    shell:
        r"""
        spotmill saliency --task {input.task:q} --split {input.split:q} --model {params.model:q} \
            --evaluation {params.evaluation:q} --detector {input.detector:q} \
            --threads {threads} --output {params.folder:q} &>{log:q}
        """
