"""`spotmill cost`: what is counted, what is said of what is missing, and the table of jobs."""

import csv
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT, copy_tiny
from mill import BIN

from spotmill.cli import main
from spotmill.commands.crate import made
from spotmill.model import read_yaml
from spotmill.orphans import VARIABLE
from spotmill.plan import Plan, read_plan
from spotmill.report.cost import measure
from spotmill.report.cost_jobs import APART, OWN, RULES, jobs, memory_asked
from spotmill.report.cost_words import off_plan, sentences

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
TABLE = Path("results/report/cost/cost.csv")


def benchmark(name: str, seconds: float, cores: object = None, memory: object = 100.0) -> Path:
    """Write a benchmark file as Snakemake does."""
    path = Path("results/benchmarks", f"{name}.tsv")
    path.parent.mkdir(parents=True, exist_ok=True)
    cores = seconds if cores is None else cores
    path.write_text(f"{HEAD}{seconds}\t0:00:01\t{memory}\t1\t1\t1\t0.0\t0.0\t99.0\t{cores}\n")
    return path


def write(name: str, size: int) -> None:
    path = Path("results", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.fixture
def plan(tiny: Path) -> Plan:
    return read_plan(read_yaml("config/config.yaml"))


def cost() -> dict[str, dict[str, str]]:
    """Run the command and return its table by rule."""
    assert main(["cost", "--config", "config/config.yaml", "--output", str(TABLE)]) == 0
    with TABLE.open(newline="") as file:
        return {row["rule"]: row for row in csv.DictReader(file)}


def test_sums_are_those_of_the_files(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    for number, shard in enumerate(("A/p00000", "A/p00001", "B/p00000")):
        benchmark(f"simulate/{shard}", 10.0 + number, 8.0, 200.0 + number)
        write(f"images/peaks/{shard}.h5", 1000)
        write(f"truth/{shard}.parquet", 20)
        write(f"truth/{shard}.frames.parquet", 3)
    row = cost()["simulate"]
    assert (row["jobs"], row["timed"]) == ("6", "3")
    assert (float(row["seconds"]), float(row["longest_seconds"])) == (33.0, 12.0)
    assert float(row["core_seconds"]) == 24.0
    # Snakemake's megabytes of processes are of 2^20 bytes.
    assert float(row["memory_mb"]) == pytest.approx(202 * 1.048576, abs=0.1)
    assert int(row["bytes"]) == 3 * 1023
    said = capsys.readouterr().out
    assert "3 jobs took 24 s of core time (33 s as clocks count" in said
    # Of the three jobs that were timed: 2 s each to start, and next to nothing for 12 small frames.
    assert float(row["plan_seconds"]) == pytest.approx(6.0, abs=0.1)
    assert float(row["seconds_to_plan"]) == pytest.approx(33 / float(row["plan_seconds"]), rel=1e-3)
    assert float(row["plan_memory_mb"]) == 1000


def test_what_is_missing_earlier_or_stray_is_told(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in jobs(plan):
        benchmark(work.benchmark.removeprefix("results/benchmarks/").removesuffix(".tsv"), 1.0)
    run = measure(plan)
    assert run.missing == [] and run.strays == 0 and run.total("earlier") == 0
    Path("results/benchmarks/train/hit.tsv").unlink()
    # A job that was killed while its benchmark was written.
    Path("results/benchmarks/water/B.tsv").write_text(HEAD)
    benchmark("simulate/gone/p00000", 5.0)
    benchmark("tune/hit_search", 70.0)
    benchmark(OWN, 3.0)
    monkeypatch.setenv(VARIABLE, str(os.getpid()))
    os.utime("results/benchmarks/water/A.tsv", (1e9, 1e9))
    run = measure(plan)
    assert run.missing == ["water B", "train hit"]
    assert (run.strays, run.total("earlier"), run.apart) == (1, 1, {"tune": 70.0})
    n_jobs = len(list(jobs(plan)))
    assert run.total("timed") == run.total("seconds") == n_jobs - 2
    said = " ".join(sentences(run))
    assert f"2 jobs of {n_jobs} have no benchmark file and are not in these times" in said
    assert "water B, train hit" in said
    assert "1 of the" in said and "taken in earlier runs" in said
    assert "1 benchmark file is of a job that the configuration no longer asks for" in said
    assert "not in the sums: tune 70 s" in said
    assert "2001-09-09 01:46" in said


def test_a_run_without_benchmarks_says_so(plan: Plan) -> None:
    row = cost()["train"]
    assert (row["jobs"], row["timed"], row["memory_mb"], row["seconds_to_plan"]) == (
        "3",
        "0",
        "",
        "",
    )
    n_jobs = len(list(jobs(plan)))
    assert sentences(measure(plan)) == [
        f"None of the {n_jobs} jobs of this run has a benchmark file."
    ]
    assert TABLE.with_suffix(".png").stat().st_size > 10_000


def test_what_snakemake_could_not_measure_counts_as_unknown(plan: Plan) -> None:
    """A job that ends before the first look has `NA`, or 0 s and the memory of its shell."""
    benchmark("map", 0.4, "NA", "NA")
    benchmark("manifest_all", 0.3, 0.0, 3.1)
    rows = cost()
    for rule, seconds in (("map", 0.4), ("manifest_all", 0.3)):
        assert rows[rule]["memory_mb"] == rows[rule]["memory_to_plan"] == ""
        assert float(rows[rule]["core_seconds"]) == seconds


def test_the_longest_chain(plan: Plan) -> None:
    """Of jobs that wait for each other: here over dataset B, though A's shards took more."""
    for shard in ("p00000", "p00001"):
        benchmark(f"simulate/A/{shard}", 50.0)
    benchmark("reflections/proteinase_k", 7.0)
    benchmark("simulate/B/p00001", 60.0)
    benchmark("overlay/B/p00001", 5.0)
    benchmark("labels/B/p00001", 4.0)
    benchmark("water/B", 30.0)
    benchmark("train/hit", 100.0)
    benchmark("train/photon_energy_linear", 90.0)
    benchmark("report", 2.0)
    run = measure(plan)
    assert run.chain_seconds == 7 + 60 + 5 + 100 + 2
    assert [name for name in run.chain if name.split()[0] in ("simulate", "overlay", "train")] == [
        "simulate B p00001",
        "overlay B p00001",
        "train hit",
    ]
    assert run.chain[0] == "reflections proteinase_k"


def test_the_plan_is_told_where_it_is_off_by_more_than_twice(plan: Plan) -> None:
    benchmark("map", 500.0)
    benchmark("report", 3.0, memory=9000.0)
    (time, memory, under) = off_plan(measure(plan))
    assert time.startswith("Time, beside typical times of a laptop: map ")
    assert "report 3.1 times" in memory
    assert "map asked for more than twice" in under


def test_the_script_fills_the_section_with_the_table_and_a_chart(plan: Plan) -> None:
    benchmark("simulate/A/p00000", 10.0)
    cost()
    text = TABLE.with_suffix(".js").read_text()
    told = json.loads(text[text.rindex("spotmill.cost(") + len("spotmill.cost(") : -3])
    cells: list[str] = []

    class Cells(HTMLParser):
        def handle_data(self, data: str) -> None:
            cells.append(data.strip())

    Cells().feed(told["html"])
    assert set(RULES) <= set(cells) and "Plan and fact by rule" in cells
    facts = [trace for trace in told["chart"]["data"] if trace["name"] == "fact"]
    assert len(facts) == 3
    assert facts[0]["x"][facts[0]["y"].index("simulate")] == 10
    assert str(Path.cwd()) not in text


def test_bad_words(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", "--config", "config/config.yaml", "--output"]
    assert main([*words, "results/cost.txt"]) == 1
    assert "must end in .csv" in capsys.readouterr().err
    assert main(["cost", "--config", "no.yaml", "--output", str(TABLE)]) == 1
    assert "no.yaml: no such file" in capsys.readouterr().err
    assert not Path("results").exists()


def test_no_digest_of_it_is_kept(tiny: Path) -> None:
    write("report/index.html", 3)
    write("report/cost/cost.csv", 3)
    found, _ = made(Path("results"), [], [])
    assert list(found) == ["report/index.html"]


def rules_written() -> dict[str, str]:
    """Return the text of every rule of the workflow."""
    found = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for part in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            found[part.partition(":")[0]] = part
    return found


def test_the_table_of_jobs_is_that_of_the_rules(plan: Plan) -> None:
    """Names of rules, their benchmark files, memory, and the files that they say they write."""
    written = rules_written()
    assert written.keys() == {*RULES, *APART, OWN}
    of = {name: [work for work in jobs(plan) if work.rule == name] for name in RULES}
    for name, rule in RULES.items():
        text = written[name]
        pattern = re.search(r'benchmark:\s+"(.+?)"', text)
        assert pattern
        wildcards = dict(of[name][0].wildcards)
        assert of[name][0].benchmark == pattern[1].format(**wildcards)
        memory = re.search(r"mem_mb=grows\((\d+)\)", text)
        assert memory_asked(name, plan) == (float(memory[1]) if memory else 3000), name
        outputs = text[text.index("output:") : text.index("log:")]
        own = set(rule.outputs)
        for file in re.findall(r'"(results/[^"]+)"', outputs):
            file = file.replace("{{", "{").replace("}}", "}")
            known = any(
                file == place
                or ("*" in place and Path(file).parent == Path(place).parent)
                or f"{file}/" == place
                for place in own
            )
            assert known, f"{name}: {file}"


@pytest.mark.slow
def test_jobs_wait_for_each_other_as_snakemake_says(tmp_path: Path) -> None:
    """Its graph of rules, and what `simulate` and the others have jobs for."""
    copy_tiny(tmp_path)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    words = [str(BIN / "snakemake"), "--profile", "profiles/local"]

    def ask(*more: str) -> str:
        done = subprocess.run(
            [*words, *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    graph = ask("--rulegraph", "dot")
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    edges: dict[str, set[str]] = {name: set() for name in RULES}
    for first, then in re.findall(r"(\d+) -> (\d+)", graph):
        if names[then] in RULES:
            edges[names[then]].add(names[first])
    assert edges == {name: set(rule.after) for name, rule in RULES.items()}
    counted = dict(re.findall(r"^(\w+) +(\d+)$", ask("--dry-run"), re.MULTILINE))
    mill = read_plan_in(tmp_path)
    ours = [work.rule for work in jobs(mill)]
    assert {name: int(counted[name]) for name in RULES} == {
        name: ours.count(name) for name in RULES
    }


def read_plan_in(folder: Path) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return read_plan(read_yaml("config/config.yaml"))
