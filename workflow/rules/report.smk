rule report:
    """Make the report."""
    input:
        config=given(workflow.configfiles[0]),
        datasets=given(PLAN.config.datasets),
        manifest="results/manifest/all.parquet",
        map="results/map/frames.parquet",
        water=expand("results/images/water/{dataset}.h5", dataset=PLAN.datasets),
        cards=expand("results/models/{task}/model.json", task=PLAN.tasks),
        histories=expand("results/models/{task}/history.csv", task=PLAN.tasks),
        evaluations=expand("results/evaluation/{task}/evaluation.json", task=PLAN.tasks),
        predictions=expand(
            "results/evaluation/{task}/predictions.parquet", task=PLAN.tasks
        ),
    output:
        page="results/report/index.html",
        data=report(
            expand("results/report/figures/{figure}.png", figure=FIGURES),
            caption="../report/data.rst",
            category="Data",
        ),
        tasks=report(
            expand("results/report/figures/{figure}.png", figure=TASK_FIGURES),
            caption="../report/tasks.rst",
            category="Tasks",
        ),
    log:
        "logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(3000),
        runtime=grows(30),
    params:
        recipe=RECIPES["report"],
        config_says=PLAN.config.model_dump_json(),
        models=folders_of("cards"),
        evaluations=folders_of("evaluations"),
        figures=lambda wildcards, output: os.path.dirname(output.data[0]),
    shell:
        r"""
        spotmill report --config {input.config:q} --manifest {input.manifest:q} \
            --map {input.map:q} --water {input.water:q} --evaluation {params.evaluations:q} \
            --model {params.models:q} --output {output.page:q} --figures {params.figures:q} \
            &>{log:q}
        """
