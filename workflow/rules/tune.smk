rule tune:
    """Search for better settings of a task, judged by its validation frames."""
    input:
        search=lambda wildcards: given(PLAN.search_files[wildcards.search]),
        task=of_search(lambda task: given(PLAN.task_files[task])),
        split=of_search(lambda task: f"results/splits/{task}.parquet"),
        detector=of_search(
            lambda task: given(PLAN.concept(PLAN.task_datasets(task)[0], "detector"))
        ),
    output:
        trials="results/tuning/{search}/trials.csv",
        figure="results/tuning/{search}/history.png",
        task="results/tuning/{search}/{search}_tuned.yaml",
        summary="results/tuning/{search}/tuning.json",
    log:
        "logs/tune/{search}.log",
    benchmark:
        "results/benchmarks/tune/{search}.tsv"
    conda:
        "../../envs/spotmill.yaml"
    # One thread, as in training.
    threads: 1
    resources:
        # Frames under several settings stay in memory.
        mem_mb=grows_with_model(
            lambda wildcards: PLAN.searches[wildcards.search].task, least=4000
        ),
        runtime=grows(720),
    params:
        recipe=RECIPES["tune"],
        trained_by=option("trained-by", RECIPES["train"]),
        model_recipe=of_search(PLAN.model_recipe),
        search_says=lambda wildcards: f"search {PLAN.search_digest(wildcards.search)}",
        task_says=of_search(
            lambda task: f"task {PLAN.task_digest(task, frozenset({'controls'}))}"
        ),
        detector_says=of_search(
            lambda task: "detector "
            + PLAN.digest(PLAN.task_datasets(task)[0], "detector")
        ),
        folder=subpath(output.trials, parent=True),
    shell:
        r"""
        spotmill tune --search {input.search:q} --task {input.task:q} --split {input.split:q} \
            --detector {input.detector:q} --threads {threads} --output {params.folder:q} &>{log:q}
        """
