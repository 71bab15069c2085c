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
        saliency=expand("results/saliency/{task}/saliency.json", task=PLAN.tasks),
        parts=expand("results/saliency/{task}/parts.parquet", task=PLAN.tasks),
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
        # The same in lines, and the numbers.
        others=expand(
            "results/report/figures/{figure}.{ending}",
            figure=FIGURES + TASK_FIGURES,
            ending=["svg", "csv"],
        ),
        tables="results/report/figures/tasks.csv",
        scripts=expand(
            "results/report/scripts/{script}.js", script=["plotly.min", "charts"]
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
        saliency=folders_of("saliency"),
        figures=lambda wildcards, output: os.path.dirname(output.data[0]),
        # Declared by no rule: Snakemake deletes outputs, and this is to outlive the report.
        history=lambda wildcards, output: os.path.join(
            os.path.dirname(os.path.dirname(output.page)), "reports.json"
        ),
        earlier=earlier_argument(),
    shell:
        r"""
        spotmill report --config {input.config:q} --manifest {input.manifest:q} \
            --map {input.map:q} --water {input.water:q} --evaluation {params.evaluations:q} \
            --model {params.models:q} --saliency {params.saliency:q} \
            --output {output.page:q} --figures {params.figures:q} \
            --history {params.history:q} {params.earlier:q} &>{log:q}
        """
