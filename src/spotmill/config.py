"""The configuration: frozen models, unknown keys forbidden; the only schema.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

import math
import re
from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from spotmill.concepts import Fraction
from spotmill.errors import SpotmillError
from spotmill.model import Model, fit_name, read_text
from spotmill.nearest import instead, nearest

# Pattern frames are numbered from 0 and empty frames from here, so that (dataset, index)
# names one frame for ever, however far a dataset grows.
FIRST_EMPTY = 10_000_000

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

ENGINES = ("integrated", "lattice", "crystfel")
Engine = Literal["integrated", "lattice", "crystfel"]
Overlays = Literal["stored", "virtual"]
N_WAVELENGTHS = 7


class Hit(Model):
    """When a frame counts as a hit: enough true spots with enough drawn photons."""

    min_spots: int = Field(3, ge=1, le=10**9, description="spots")
    min_photons: int = Field(5, ge=1, le=10**9, description="drawn photons in each of them")


class Split(Model):
    """Shares of training, validation and test frames."""

    train: Fraction = Field(0.7, description="share of the training frames")
    validation: Fraction = Field(0.1, description="share of the validation frames")
    test: Fraction = Field(0.2, description="share of the test frames")

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if not math.isclose(self.train + self.validation + self.test, 1.0, abs_tol=1e-9):
            raise ValueError("train, validation and test must add up to 1")
        return self


class Publication(Model):
    """Who made the datasets and how others may use them, for their cards."""

    creators: tuple[str, ...] = Field((), description="names of who made the data, to be cited")
    licence: str | None = Field(
        None, min_length=1, description="of the data: an SPDX name (CC-BY-4.0) or an address"
    )
    date: str | None = Field(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        examples=["2026-03-31"],
        description="of publication, year-month-day",
    )
    url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        examples=["https://doi.org/10.5281/zenodo.1234"],
        description="where the data are published (a DOI)",
    )

    @field_validator("date", mode="before")
    @classmethod
    def _date_as_text(cls, value: object) -> object:
        return value.isoformat() if isinstance(value, date) else value


class Report(Model):
    """What the report holds."""

    gallery_frames: int = Field(
        200, ge=1, le=10_000, description="frames of the gallery at most, each whole and lossless"
    )
    gallery_bytes: int = Field(
        10_000_000,
        ge=1000,
        le=10**10,
        description="bytes of all these frames at most; with the default the whole report stays "
        "below 30 MB",
    )
    earlier: str | None = Field(
        None,
        min_length=1,
        description="folder `results` of another run to compare with; null: the latest different "
        "report of this folder",
    )

    _names_fit = field_validator("earlier")(fit_name)


class Dataset(Model):
    """One row of the sheet of datasets."""

    dataset: str = Field(description="name; letters, digits, - and _")
    photon_energy: float = Field(ge=100, le=1e6, description="eV (8 keV is 8000)")
    clen: float = Field(ge=1e-3, le=20, description="camera length, m (150 mm is 0.15)")
    n_patterns: int = Field(ge=1, lt=FIRST_EMPTY, description="frames with a crystal")
    detector: str | None = Field(None, description="overrides `detector` of the configuration")
    response: str | None = Field(None, description="overrides `response`")
    beam: str | None = Field(None, description="overrides `beam`")
    crystal: str | None = Field(None, description="overrides `crystal`")
    solvent: str | None = Field(None, description="overrides `solvent`")
    randomise: str | None = Field(None, description="overrides `randomise`")
    engine: Engine | None = Field(None, description="overrides `engine`")
    overlays: Overlays | None = Field(None, description="overrides `overlays`")

    _names_fit = field_validator("detector", "response", "beam", "crystal", "solvent", "randomise")(
        fit_name
    )

    @field_validator("dataset")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("must be letters, digits, - and _ only (it names a folder)")
        return name


class Config(Model):
    """The whole of `config/config.yaml`: what to make."""

    datasets: str = Field("config/datasets.tsv", description="sheet of datasets")
    seed: int = Field(1, ge=0, lt=2**63, description="of everything that is drawn")
    shard_size: int = Field(50, ge=1, le=100_000, description="frames in a shard (one job)")
    empties: float = Field(0.5, ge=0, le=10, description="frames without a crystal per pattern")
    label_threshold: int = Field(
        1, ge=1, le=10**9, description="photons that make a pixel a labelled peak"
    )
    detector: str = Field("config/detectors/eiger4m.geom", description="CrystFEL geometry file")
    response: str = Field("config/detectors/eiger4m.yaml", description="detector response file")
    beam: str = Field("config/beams/cxls.yaml", description="beam file")
    crystal: str = Field("config/crystals/proteinase_k.yaml", description="crystal file")
    solvent: str = Field("config/solvents/water_sheet.yaml", description="solvent file")
    randomise: str | None = Field(
        None, description="file of what differs from frame to frame; null: nothing"
    )
    engine: Engine = Field(
        "integrated",
        description="what computes the spots: integrated (closed form), lattice (lattice sum, for "
        "nanocrystals), crystfel (runs a pattern_sim of your own)",
    )
    n_wavelengths: int = Field(
        N_WAVELENGTHS, ge=1, le=10_000, description="samples of the spectrum (lattice, crystfel)"
    )
    pattern_sim: str = Field(
        "pattern_sim",
        min_length=1,
        description="program of CrystFEL 0.10.2 or before, a path or a name to be found (crystfel)",
    )
    overlays: Overlays = Field(
        "stored",
        description="stored: frames with background are files of images, for any program; "
        "virtual: small files from which Spotmill draws them, bit for bit, whenever it reads them",
    )
    hit: Hit = Field(Hit(), description="what counts as a hit")
    split: Split = Field(Split(), description="shares of the frames")
    report: Report = Field(Report(), description="what the report holds")
    publication: Publication = Field(
        Publication(), description="who made the data and how others may use them"
    )
    tasks: tuple[str, ...] = Field((), description="task files to train, evaluate and report")
    tuning: tuple[str, ...] = Field(
        (), description="search files for `make tune`; a run without it leaves them out"
    )

    _names_fit = field_validator(
        *("datasets", "detector", "response", "beam", "crystal", "solvent", "randomise"),
        *("pattern_sim", "tasks", "tuning"),
    )(fit_name)

    def engine_arguments(self, engine: str) -> list[str]:
        """Return the arguments of `spotmill simulate` that an engine needs, and no other's."""
        words = ["--engine", engine]
        if engine != "integrated":
            words += ["--n-wavelengths", str(self.n_wavelengths)]
        if engine == "crystfel":
            words += ["--pattern-sim", self.pattern_sim]
        return words


REQUIRED = tuple(name for name, field in Dataset.model_fields.items() if field.is_required())


def meant(column: str) -> str:
    """Return what a column of the sheet means, with its unit."""
    return str(Dataset.model_fields[column].description)


def check_header(header: list[str], where: str) -> None:
    """Check the names of a sheet's columns; `where` names file and line in messages.

    Raises
    ------
    SpotmillError
        When one is unknown, stands twice or is missing, or none is known.
    """
    known = tuple(Dataset.model_fields)
    if len(header) == 1 and sum(column in header[0] for column in REQUIRED) > 1:
        raise SpotmillError(
            f"{where}: its columns are not separated by tabs; save the sheet as tab-separated text"
        )
    if not any(column in known or nearest(column, known) for column in header):
        raise SpotmillError(
            f"{where}: is not the header that must come first; name the columns there, separated "
            f"by tabs: {', '.join(known)} (the first {len(REQUIRED)} are required)"
        )
    for column in header:
        if column not in known:
            raise SpotmillError(f"{where}: unknown column {column!r}{instead(column, known)}")
        if header.count(column) > 1:
            raise SpotmillError(f"{where}: {column} stands twice; keep one column")
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        columns, them = ("column", "it") if len(missing) == 1 else ("columns", "them")
        raise SpotmillError(
            f"{where}: lacks the {columns} {', '.join(missing)}; add {them} to the header and a "
            f"value to every row: {'; '.join(f'{column}: {meant(column)}' for column in missing)}"
        )


def read_datasets(path: str | Path) -> dict[str, Dataset]:
    """Read the sheet of datasets (tab-separated, one header line).

    Returns
    -------
    dict
        Dataset by name, in the order of the sheet.

    Raises
    ------
    SpotmillError
        When a row is wrong, a column unknown, or a name stands twice.
    """
    text = read_text(path)
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise SpotmillError(f"{path}: has no rows; add a header line and a row for each dataset")
    rows = [line.split("\t") for _, line in lines]
    header = [column.strip() for column in rows[0]]
    check_header(header, f"{path}: line {lines[0][0]}")
    datasets: dict[str, Dataset] = {}
    folded: dict[str, str] = {}
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        where = f"{path}: line {number}"
        if len(row) != len(header):
            raise SpotmillError(
                f"{where}: has {len(row)} columns, the header {len(header)}; mend its tabs"
            )
        values = {key: cell.strip() for key, cell in zip(header, row, strict=True) if cell.strip()}
        for column in REQUIRED:
            if column not in values:
                raise SpotmillError(f"{where}: {column}: is empty; fill it in: {meant(column)}")
        dataset = Dataset.parse(values, where)
        twin = folded.get(dataset.dataset.casefold())
        if twin is not None:
            raise SpotmillError(
                f"{where}: dataset: the name {dataset.dataset!r} stands there twice"
                f" (with {twin!r}); give each dataset its own"
            )
        folded[dataset.dataset.casefold()] = dataset.dataset
        datasets[dataset.dataset] = dataset
    if not datasets:
        raise SpotmillError(f"{path}: has a header but no dataset; add a row for each")
    return datasets
