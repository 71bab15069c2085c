r"""Record a run as an RO-Crate, so that others can repeat it.

Example::

    spotmill crate --config config/config.yaml --output results/ro-crate-metadata.json

Copies the workflow, the configuration with every file that it names, the structures, the lists
of versions and the program itself to `source/` beside the output, and describes them and all
that was made, each file with its SHA-256. Whoever has the folder can run it again: `make run` in
`source/`. Files that the cards of the datasets name are taken with the digests there.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spotmill.commands.arguments import add_output
from spotmill.errors import SpotmillError
from spotmill.progress import track
from spotmill.project import PACKAGED, PROGRAM, home

if TYPE_CHECKING:
    from spotmill.plan import Plan

SOURCE = "source"
# Of the folder in which Snakemake runs, and of the program's repository.
WORKFLOW = ("Snakefile", "workflow", "profiles", "envs")
CODE = "src/spotmill"
# Of the report, but made after the crate, and never the same twice.
TIMES = Path("report/cost")
KINDS = {
    *(".py", ".csv", ".j2", ".css", ".js", ".smk", ".rst", ".sh"),
    *(".yaml", ".yml", ".txt", ".toml", ".md", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill crate`."""
    parser.add_argument("--config", type=Path, required=True, help="configuration (.yaml)")
    add_output(parser, "description, named ro-crate-metadata.json, in the folder of results")


def run(args: argparse.Namespace) -> None:
    """Run `spotmill crate`."""
    from spotmill.formats.atomic import write_text
    from spotmill.model import read_yaml
    from spotmill.plan import read_plan
    from spotmill.provenance.crate import Run, describe

    if args.output.name != "ro-crate-metadata.json":
        raise SpotmillError(
            f"--output: {args.output}: must be called ro-crate-metadata.json; choose its folder"
        )
    results = args.output.parent
    plan = read_plan(read_yaml(args.config), str(args.config))
    outputs, parts = made(results, list(plan.datasets), list(plan.tasks))
    copied = copy_sources(results / SOURCE, [*WORKFLOW, str(args.config), *named_files(plan)])
    commit = commit_of(repository())
    write_text(
        args.output,
        describe(
            Run(
                results=results,
                workflow=f"{SOURCE}/Snakefile",
                sources=copied,
                outputs=outputs,
                parts=parts,
                commit=commit,
                publication=plan.config.publication,
            )
        ),
    )


def named_files(plan: "Plan") -> list[str]:
    """Return the files that a configuration names, directly or through another."""
    from spotmill.concepts import Beam

    config = plan.config
    names = [config.datasets, *config.tasks, *config.tuning]
    for dataset in plan.datasets:
        for concept in ("detector", "response", "beam", "crystal", "solvent", "randomise"):
            names.append(plan.concept(dataset, concept))
        names.append(Beam.read(plan.concept(dataset, "beam")).spectrum_file or "")
    for crystal in plan.crystals.values():
        names += [crystal.structure, crystal.cell_file or ""]
    return [name for name in dict.fromkeys(names) if name and not name.startswith("pdb:")]


def repository() -> Path:
    """Return the folder of the program's repository, or where it would be."""
    return Path(__file__).resolve().parents[3]


def commit_of(folder: Path) -> str | None:
    """Return the commit that a repository stands at, where it is one.

    Reads what Git keeps, so that nothing depends on a program `git`.
    """
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        for line in (git / "packed-refs").read_text().splitlines():
            if line.endswith(f" {name}"):
                return line.split()[0]
    except OSError:
        return None
    return None


def copy_sources(folder: Path, names: list[str]) -> list[str]:
    """Copy what made the run and return the copies' names, relative to the crate."""
    if folder.exists():
        shutil.rmtree(folder)
    copied = []
    pairs = [(Path(name), Path(name)) for name in names]
    pairs += [(home() / name, Path(name)) for name in PROGRAM]
    pairs.append((Path(__file__).parents[1], Path(CODE)))
    for source, place in pairs:
        if place.is_absolute() or ".." in place.parts:
            place = Path("elsewhere", place.name)
        for file in files_of(source):
            target = (
                folder / place / file.relative_to(source) if source.is_dir() else folder / place
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            copied.append(target.relative_to(folder.parent).as_posix())
    return sorted(set(copied))


def files_of(source: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder that are no by-products."""
    if source.is_file():
        yield source
    elif source.is_dir():
        for file in sorted(source.rglob("*")):
            hidden = any(
                part.startswith((".", "__")) or part == PACKAGED
                for part in file.relative_to(source).parts[:-1]
            )
            if file.is_file() and not hidden and file.suffix in KINDS:
                yield file


def made(
    results: Path, datasets: list[str], tasks: list[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the digests of all that was made by name, and what its folders are.

    Raises
    ------
    SpotmillError
        When the card of a dataset is missing or broken.
    """
    from spotmill.formats.digests import file_digest

    found: dict[str, str] = {}
    parts: dict[str, str] = {}
    for dataset in datasets:
        folder = results / "cards" / dataset
        for name, digest in digests_of(folder / "croissant.json", results).items():
            found[name] = digest
        parts[f"cards/{dataset}/"] = f"card of dataset {dataset}"
        parts[f"images/peaks_water_overlay/{dataset}/"] = f"frames of dataset {dataset}"
    others = ["cards", "reflections", "map", "splits", "report"]
    others += [f"{kind}/{task}" for kind in ("models", "evaluation", "saliency") for task in tasks]
    for name in others:
        folder = results / name
        for file in track(sorted(folder.rglob("*")), name, "file"):
            place = file.relative_to(results)
            hidden = any(part.startswith(".") for part in place.parts)
            if file.is_file() and not hidden and TIMES not in place.parents:
                found[place.as_posix()] = file_digest(file)
    parts |= {f"models/{task}/": f"model of task {task}" for task in tasks}
    parts |= {f"evaluation/{task}/": f"evaluation of task {task}" for task in tasks}
    looked = [task for task in tasks if (results / "saliency" / task).is_dir()]
    parts |= {f"saliency/{task}/": f"where the model of task {task} looked" for task in looked}
    if (results / "map").is_dir():
        parts["map/"] = "map of frames"
    return found, parts | {"report/": "report"}


def digests_of(croissant: Path, results: Path) -> dict[str, str]:
    """Return the digests that a card holds, by name relative to the results."""
    try:
        told = json.loads(croissant.read_text(encoding="utf-8"))
        files = [one for one in told["distribution"] if "sha256" in one]
        return {
            Path(os.path.relpath(croissant.parent / one["contentUrl"], results)).as_posix(): one[
                "sha256"
            ]
            for one in files
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpotmillError(f"{croissant}: is no whole card; delete it and remake it") from error
