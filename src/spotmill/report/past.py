"""Earlier reports of a results folder, in numbers: a file that outlives the report itself.

Snakemake deletes a report before it makes the next one, but for files that no rule declares.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.digests import is_altered, signed_json
from spotmill.formats.tables import MANIFEST, read_table
from spotmill.model import read_text
from spotmill.report.evaluations import read_json, read_tasks
from spotmill.report.flux import is_of_flux, read_flux
from spotmill.report.peaks import is_of_peaks, read_peaks
from spotmill.report.stored import Stored
from spotmill.report.summary import Summary, count_datasets, digest, summarise_tasks
from spotmill.report.values import is_of_values, read_values

NAME = "reports.json"
MOST = 24  # distinct reports that are kept


class Kept(Stored):
    """One report; its configuration names files by the digest of what they say."""

    digest: str
    configuration: dict[str, str] | None = None
    summary: Summary


class Archive(Stored):
    """The whole of `reports.json`, the latest report last."""

    reports: list[Kept] = Field(default_factory=list)
    files: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def whole(self, kept: Kept) -> Summary:
        """Return a report with what its files say."""
        if kept.configuration is None:
            return kept.summary
        told = {name: self.files.get(key, {}) for name, key in kept.configuration.items()}
        return kept.summary.model_copy(update={"configuration": told})


@dataclass(frozen=True)
class Past:
    """Earlier reports, the latest last; `problem` says why they cannot be read, and what to do."""

    path: Path
    archive: Archive
    problem: str = ""

    def before(self, now: Summary) -> Summary | None:
        """Return the latest report that says something else; None where there is none."""
        others = [kept for kept in self.archive.reports if kept.digest != now.digest]
        return self.archive.whole(others[-1]) if others else None

    def keep(self, now: Summary) -> None:
        """Write the file with this report as the latest, once; a damaged file is left alone."""
        if self.problem:
            return
        others = [kept for kept in self.archive.reports if kept.digest != now.digest]
        files = dict(self.archive.files)
        named = None
        if now.configuration is not None:
            named = {name: digest(values) for name, values in now.configuration.items()}
            files |= {named[name]: values for name, values in now.configuration.items()}
        mine = Kept(
            digest=now.digest,
            configuration=named,
            summary=now.model_copy(update={"configuration": None}),
        )
        reports = [*others, mine][-MOST:]
        used = {key for kept in reports for key in (kept.configuration or {}).values()}
        archive = Archive(reports=reports, files={key: files[key] for key in sorted(used)})
        write_text(self.path, signed_json(archive.model_dump(mode="json")))


def read_past(path: Path) -> Past:
    """Read the earlier reports of a folder; none where there is no such file."""
    if not path.exists():
        return Past(path, Archive())
    try:
        return Past(path, read_archive(path))
    except SpotmillError as error:
        return Past(
            path,
            Archive(),
            f"{error}; delete {path}, and earlier reports are forgotten, or put back a copy of it;"
            " then type snakemake --profile profiles/local --forcerun report",
        )


def read_archive(path: Path) -> Archive:
    """Read `reports.json`; raise SpotmillError where it is damaged."""
    text = read_text(path)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpotmillError(f"{path}: is not valid JSON") from error
    if is_altered(text.encode()):
        raise SpotmillError(f"{path}: is not as it was written")
    return Archive.parse(values, path)


def read_other(results: Path) -> Summary:
    """Return the latest report of another folder of results.

    Without `reports.json`, as of a version that did not write it, tasks and frames are read from
    what the run left; what its configuration said is then not known.

    Raises
    ------
    SpotmillError
        When the folder holds neither, or something damaged.
    """
    path = results / NAME
    if path.is_file():
        archive = read_archive(path)
        if archive.reports:
            return archive.whole(archive.reports[-1])
    table = results / "manifest/all.parquet"
    evaluations = sorted((results / "evaluation").glob("*/evaluation.json"))
    if not table.is_file() or not evaluations:
        raise SpotmillError(
            f"{results}: holds no earlier report ({NAME}) and no whole run; name the folder"
            " `results` of a run that ended"
        )
    manifest = read_table(table, MANIFEST).to_pandas()
    folders = [file.parent for file in evaluations]
    models = [results / "models" / folder.name for folder in folders]
    version = str(read_json(models[0] / "model.json").get("version", "unknown"))
    return Summary(
        version=version,
        recipes=None,
        datasets=count_datasets(manifest, names_in(manifest)),
        tasks=summarise_tasks(read_all(folders, models)),
        configuration=None,
    )


def names_in(manifest: pd.DataFrame) -> list[str]:
    """Return the datasets of a manifest in its order."""
    return [str(name) for name in manifest["dataset"].unique()]


def read_all(folders: list[Path], models: list[Path]) -> list[Any]:
    """Read evaluations of all kinds with their models."""
    found: list[Any] = []
    for is_of, read in (
        (is_of_values, read_values),
        (is_of_peaks, read_peaks),
        (is_of_flux, read_flux),
        (lambda _: True, read_tasks),
    ):
        own = [number for number, folder in enumerate(folders) if is_of(folder)]
        found += read([folders[i] for i in own], [models[i] for i in own])
        folders = [folder for i, folder in enumerate(folders) if i not in own]
        models = [model for i, model in enumerate(models) if i not in own]
    return found
