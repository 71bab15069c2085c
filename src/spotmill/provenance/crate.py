"""A run as an RO-Crate: what others need to repeat it, described by its own files.

Profiles: RO-Crate 1.1, Workflow RO-Crate 1.0 and Workflow Run Crate 0.5
(https://w3id.org/ro/wfrun/workflow/0.5).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from spotmill import __version__
from spotmill.config import Publication
from spotmill.formats.digests import file_digest, fingerprint
from spotmill.provenance.publication import licence_url
from spotmill.recipes import RECIPES

PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
RUN_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
RELEASED = "2026-11-21"  # of this version; the date of a run that states none
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
SPOTMILL = "#spotmill"
FORMATS = {
    ".h5": "application/x-hdf5",
    ".parquet": "application/x-parquet",
    ".json": "application/json",
    ".md": "text/markdown",
    ".html": "text/html",
    ".png": "image/png",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class Run:
    """A run, as its files tell.

    Attributes
    ----------
    results
        Folder of the crate; all names are relative to it.
    workflow
        The Snakefile, within the crate.
    sources
        Files that made the run, the workflow included, within the crate.
    outputs
        SHA-256 of what was made, by its name within the crate.
    parts
        Folder and description of each dataset and task.
    commit
        Of the program's repository, where it is known.
    """

    results: Path
    workflow: str
    sources: Iterable[str]
    outputs: Mapping[str, str]
    parts: Mapping[str, str]
    commit: str | None
    publication: Publication


def describe(run: Run) -> str:
    """Return the text of `ro-crate-metadata.json`; the same for the same files."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(RUN_CONTEXT)
    _root(crate, run)
    for address, name, version in PROFILES:
        _add(crate, address, "CreativeWork", name=name, version=version)
    maker = _maker(crate, run)
    sources = _sources(crate, run)
    outputs = [_file(crate, run, name, digest) for name, digest in sorted(run.outputs.items())]
    for folder, what in sorted(run.parts.items()):
        part = crate.add_dataset(dest_path=folder, properties={"name": what, "description": what})
        part["hasPart"] = [file for file in outputs if file.id.startswith(folder)]
    _action(crate, run, maker, sources, outputs)
    return json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False) + "\n"


def _add(crate: ROCrate, address: str, kind: Any, **properties: Any) -> ContextEntity:
    return crate.add(ContextEntity(crate, address, properties={"@type": kind} | properties))


def _root(crate: ROCrate, run: Run) -> None:
    root, publication = crate.root_dataset, run.publication
    root["name"] = "Simulated serial-crystallography frames, and what was learnt from them"
    root["description"] = (
        "Datasets of simulated frames with their truth, models trained on them and a report, made "
        f"by Spotmill {__version__}; with the workflow, configuration and program that made them."
    )
    root["datePublished"] = publication.date or RELEASED
    address = licence_url(publication.licence) or "#licence"
    told = publication.licence or "not stated; ask who made the data"
    root["license"] = _add(crate, address, "CreativeWork", name=told, description=told)
    root["conformsTo"] = [{"@id": address} for address, _, _ in PROFILES]
    if publication.url:
        root["identifier"] = publication.url
    crate.metadata["conformsTo"] = [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]


def _maker(crate: ROCrate, run: Run) -> list[ContextEntity]:
    people = [
        _add(crate, f"#{name.replace(' ', '-')}", "Person", name=name)
        for name in run.publication.creators
    ]
    if people:
        crate.root_dataset["creator"] = people
        crate.root_dataset["author"] = people
    return people


def _file(crate: ROCrate, run: Run, name: str, digest: str | None = None) -> Any:
    path = run.results / name
    properties: dict[str, Any] = {
        "name": name,
        "sha256": digest or file_digest(path),
        "contentSize": str(path.stat().st_size),
        "encodingFormat": FORMATS.get(path.suffix, "text/plain"),
    }
    if name == run.workflow:
        properties["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    return crate.add_file(dest_path=name, properties=properties)


def _sources(crate: ROCrate, run: Run) -> list[Any]:
    language = _add(
        crate,
        SNAKEMAKE,
        "ComputerLanguage",
        name="Snakemake",
        identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        url={"@id": "https://snakemake.readthedocs.io"},
    )
    recipes = ", ".join(f"{stage} {number}" for stage, number in RECIPES.items())
    program = _add(
        crate,
        SPOTMILL,
        "SoftwareApplication",
        name="Spotmill",
        softwareVersion=__version__,
        description=f"Recipes: {recipes}" + (f". Commit {run.commit}" if run.commit else ""),
    )
    files = []
    for name in sorted(run.sources):
        file = _file(crate, run, name)
        if name == run.workflow:
            file["name"] = "Spotmill: structure, detector and beam to frames, models and report"
            file["programmingLanguage"] = language
            file["version"] = __version__
            file["softwareRequirements"] = program
            crate.root_dataset["mainEntity"] = file
        files.append(file)
    return files


def _action(
    crate: ROCrate, run: Run, people: list[Any], sources: list[Any], outputs: list[Any]
) -> None:
    """Add the run; its name comes from what it made, so that the same run has the same."""
    workflow = crate.root_dataset["mainEntity"]
    inputs = [file for file in sources if file.id != workflow.id]
    identifier = f"#run-{fingerprint(file['sha256'] for file in [*sources, *outputs])[:32]}"
    source = Path(run.workflow).parent.as_posix()
    action = _add(
        crate,
        identifier,
        "CreateAction",
        name="Run of Spotmill",
        description=f"In {source}: make run, or snakemake --profile profiles/local",
        instrument=workflow,
        object=inputs,
        result=outputs,
        actionStatus={"@id": "http://schema.org/CompletedActionStatus"},
    )
    if people:
        action["agent"] = people[0]
    crate.root_dataset["mentions"] = [action]
