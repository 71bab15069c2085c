"""Train on all datasets of a production but one, test on that one; each in turn.

    python benchmarks/held_out.py --data FOLDER --work WORK [--tasks hit peaks] \
        [--datasets 01 02 ...] [--frames 60] [--detector FILE]

FOLDER holds `results/` of a finished run (manifests, shards, water). For every task
(`config/tasks/NAME.yaml`, or a file) and every dataset a task file with `hold_out` is written
under WORK, and `spotmill split`, `train` and `evaluate` run on it; once without `hold_out`, for
what the ordinary split gives on the same dataset. `--frames` uses this many frames of a dataset at
most, patterns and empties in their share, the first ones. What is finished under WORK is kept: a
run that was stopped goes on, and prints the whole table at its end.

Intervals are 95 %: Wilson's for shares, over frames drawn anew (bootstrap) for F1.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import measuring
import pandas as pd
import pyarrow.parquet as pq
import yaml

from spotmill.errors import SpotmillError
from spotmill.formats.tables import MANIFEST, read_table, write_table
from spotmill.learning.metrics import wilson
from spotmill.tasks import Task, task_name

ORDINARY = "ordinary"


class Case:
    """A task with one dataset held out, or none, and the folder of all that belongs to it."""

    def __init__(self, task: Path, held_out: str, args: argparse.Namespace) -> None:
        self.held_out, self.data = held_out, args.data.resolve()
        self.folder = args.work.resolve() / task_name(task) / (held_out or ORDINARY)
        self.task = self.folder / task.name
        values = yaml.safe_load(task.read_text(encoding="utf-8"))
        self.text = yaml.safe_dump(values | ({"hold_out": [held_out]} if held_out else {}))
        self.says = Task.parse(yaml.safe_load(self.text), task)
        self.detector = args.detector.resolve()

    @property
    def evaluation(self) -> dict[str, Any]:
        return json.loads((self.folder / "evaluation/evaluation.json").read_text())

    @property
    def predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "evaluation/predictions.parquet")

    def run(self, manifests: dict[str, Path]) -> None:
        """Split, train and evaluate, unless that was done from the same frames and task."""
        digest = hashlib.sha256(self.text.encode() + self.detector.read_bytes())
        for path in manifests.values():
            digest.update(path.read_bytes())
        progress = self.folder / "done.json"
        made_from, done = digest.hexdigest(), []
        if progress.is_file():
            before = json.loads(progress.read_text())
            done = before["done"] if before["made_from"] == made_from else []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.task.write_text(self.text, encoding="utf-8")
        split, model = self.folder / "split.parquet", self.folder / "model"
        common = ["--task", self.task, "--split", split, "--detector", self.detector]
        water = self.data / f"results/images/water/{self.held_out or next(iter(manifests))}.h5"
        output = self.folder / "evaluation"
        words: dict[str, list[object]] = {
            "split": ["--task", self.task, "--manifest", *manifests.values(), "--output", split],
            "train": [*common, "--output", model],
            "evaluate": [*common, "--model", model, "--water", water, "--output", output],
        }
        for step, given in words.items():
            if step in done:
                continue
            print(f"{self.folder}: {step}", file=sys.stderr, flush=True)
            if step == "evaluate":
                (output / "evaluation.json").unlink(missing_ok=True)
            self.command(step, *given)
            done = [*done, step]
            progress.write_text(json.dumps({"made_from": made_from, "done": done}))

    def command(self, *words: object) -> None:
        """Run a subcommand in the data's folder, from which its tables name their files."""
        call = [sys.executable, "-m", "spotmill.cli", *map(str, words)]
        log = self.folder / f"{words[0]}.log"
        with log.open("w", encoding="utf-8") as file:
            env = os.environ | measuring.ONE_THREAD
            status = subprocess.run(call, cwd=self.data, env=env, stdout=file, stderr=file)
        # A control off chance fails `evaluate`, but what it found is written, and shown here.
        written = words[0] == "evaluate" and (self.folder / "evaluation/evaluation.json").is_file()
        if status.returncode and not written:
            lines = log.read_text(encoding="utf-8").splitlines() or ["nothing was said"]
            raise SystemExit(f"{log}: spotmill {words[0]} failed: {lines[-1]}")


def shortened(path: Path, frames: int, folder: Path) -> Path:
    """Write the manifest of the first frames of a dataset, patterns and empties in their share."""
    rows = read_table(path, MANIFEST).to_pandas().sort_values("index", kind="stable")
    crystal = rows["kind"] == "crystal"
    patterns = round(frames * crystal.mean())
    kept = pd.concat([rows[crystal].head(patterns), rows[~crystal].head(frames - patterns)])
    output = folder / path.name
    write_table(output, kept.to_dict("list"), MANIFEST)
    return output


def shown(value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return "–"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def share(right: pd.Series) -> str:
    """Return a share with its interval and count."""
    n, correct = len(right), int(right.sum())
    return f"{shown(correct / n, wilson(correct, n))} of {n}" if n else "–"


def off_chance(case: Case) -> str:
    names = [one["name"] for one in case.evaluation["controls"] if not one["at_chance"]]
    return f"; control {', '.join(names)} off chance" if names else ""


def peaks_rows(cases: list[Case], ordinary: Case) -> list[str]:
    """Return the table of a task of peaks: F1, precision and recall on each held-out dataset."""
    lines = [
        "| held out | n | spots | F1 | precision | recall | classical F1 | bound "
        "| ordinary split: n | F1 | classical F1 |",
        "|" + "---|" * 11,
    ]

    def f1(scores: dict[str, Any] | None) -> str:
        return shown(scores["f1"], scores["f1_interval"]) if scores else "–"

    usual, usual_classical = (one["per_dataset"] for one in ordinary.evaluation["results"][:2])
    for case in cases:
        name = case.held_out
        ours, classical = case.evaluation["results"][:2]
        bound = case.evaluation["bounds"][0]["f1"]
        before = usual.get(name)
        lines.append(
            f"| {name}{off_chance(case)} | {ours['n']} | {ours['true']} | {f1(ours)} | "
            f"{shown(ours['precision'], ours['precision_interval'])} | "
            f"{shown(ours['recall'], ours['recall_interval'])} | {f1(classical)} | "
            f"{'–' if bound is None else f'{bound:.3f}'} | {before['n'] if before else 0} | "
            f"{f1(before)} | {f1(usual_classical.get(name))} |"
        )
    return lines


def hit_cells(rows: pd.DataFrame) -> str:
    right, hit = rows["truth"] == rows["said"], rows["truth"] == "hit"
    return f"{share(right)} | {share(right[hit])} | {share(right[~hit])}"


def class_rows(cases: list[Case], ordinary: Case) -> list[str]:
    """Return the table of a task of classes.

    The last columns are of one and the same frames: the test frames of the ordinary split.
    """
    hits = cases[0].says.target == "hit"
    columns = "right | recall | specificity" if hits else "right"
    lines = [
        f"| held out | {columns} | best baseline, right | "
        "on ordinary test frames: held out, right | ordinary split, right |",
        "|" + "---|" * (7 if hits else 5),
    ]
    usual = ordinary.predictions
    together = []
    for case in cases:
        told = case.predictions
        together.append(told)
        same = usual[usual["dataset"] == case.held_out]
        both = told.merge(same, on=["dataset", "index"], suffixes=("", "_usual"))
        cells = hit_cells(told) if hits else share(told["truth"] == told["said"])
        best = max(case.evaluation["results"][1:], key=lambda one: one["accuracy"])
        lines.append(
            f"| {case.held_out}{off_chance(case)} | {cells} | "
            f"{best['name']} {shown(best['accuracy'], best['interval'])} | "
            f"{share(both['truth'] == both['said'])} | "
            f"{share(both['truth_usual'] == both['said_usual'])} |"
        )
    told = pd.concat(together)
    cells = hit_cells(told) if hits else share(told["truth"] == told["said"])
    usual = usual[usual["dataset"].isin([case.held_out for case in cases])]
    both = told.merge(usual, on=["dataset", "index"], suffixes=("", "_usual"))
    return [
        *lines,
        f"| all | {cells} | | {share(both['truth'] == both['said'])} | "
        f"{share(usual['truth'] == usual['said'])} |",
    ]


def table(task: Path, cases: list[Case], ordinary: Case) -> str:
    model = cases[0].evaluation["model"]
    rows = peaks_rows if cases[0].says.target == "peaks" else class_rows
    return "\n".join([f"## {task_name(task)} ({model})", "", *rows(cases, ordinary), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds results/")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in")
    parser.add_argument(
        "--tasks", nargs="+", default=["hit", "peaks"], help="names in config/tasks, or files"
    )
    parser.add_argument("--datasets", nargs="+", help="to hold out in turn (default: each)")
    parser.add_argument("--frames", type=int, help="of a dataset at most")
    parser.add_argument(
        "--detector", type=Path, default=measuring.CONFIG / "detectors/eiger4m.geom"
    )
    args = parser.parse_args()
    folder = args.data.resolve() / "results/manifest"
    manifests = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    manifests.pop("all", None)
    if len(manifests) < 2:
        raise SystemExit(f"{folder}: holds {len(manifests)} manifests of datasets; run Spotmill")
    unknown = set(args.datasets or ()) - set(manifests)
    if unknown:
        raise SystemExit(f"--datasets: {', '.join(sorted(unknown))}: none of {list(manifests)}")
    if args.frames:
        short = args.work.resolve() / "manifest"
        manifests = {name: shortened(path, args.frames, short) for name, path in manifests.items()}
    frames = sum(pq.read_metadata(path).num_rows for path in manifests.values())
    print(f"{frames} frames of {len(manifests)} datasets; {measuring.machine()}\n")
    for name in args.tasks:
        task = Path(name) if name.endswith(".yaml") else measuring.CONFIG / f"tasks/{name}.yaml"
        ordinary = Case(task, "", args)
        cases = [Case(task, dataset, args) for dataset in args.datasets or manifests]
        if cases[0].says.scale == "values" or cases[0].says.dims:
            raise SystemExit(f"{task}: give a task of classes or of peaks, at full flux")
        for case in (ordinary, *cases):
            case.run(manifests)
        print(table(task, cases, ordinary), flush=True)


if __name__ == "__main__":
    try:
        main()
    except SpotmillError as error:
        raise SystemExit(str(error)) from error
