rule cost:
    """Tell what the run cost, when all else is done; nothing reads what it writes."""
    input:
        config=given(workflow.configfiles[0]),
        page="results/report/index.html",
        gallery="results/report/gallery",
        checked="results/manifest/all.checked",
        crate="results/ro-crate-metadata.json",
        cards=expand("results/cards/{dataset}/README.md", dataset=PLAN.datasets),
    output:
        table="results/report/cost/cost.csv",
        figure=report(
            "results/report/cost/cost.png",
            caption="../report/cost.rst",
            category="Cost",
        ),
        vector="results/report/cost/cost.svg",
        script="results/report/cost/cost.js",
    log:
        "logs/cost.log",
    benchmark:
        "results/benchmarks/cost.tsv"
    conda:
        "../../envs/spotmill.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        recipe=RECIPES["cost"],
    shell:
        r"""
        spotmill cost --config {input.config:q} --output {output.table:q} &>{log:q}
        """
