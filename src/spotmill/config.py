"""The configuration: frozen models, unknown keys forbidden; the only schema.

Importing this module is cheap (no NumPy, no torch): the Snakefile does so at every parse.
"""

import csv
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spotmill.errors import SpotmillError

# Pattern frames are numbered from 0 and empty frames from here, so that (dataset, index)
# names one frame for ever, however far a dataset grows.
FIRST_EMPTY = 10_000_000

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Model(BaseModel):
    """A part of the configuration that can be read from a YAML file of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the model from a YAML file.

        Raises
        ------
        SpotmillError
            When the file is missing, is not YAML, or has a wrong or unknown key.
        """
        return cls.parse(read_yaml(path), path)

    @classmethod
    def parse(cls, values: Any, source: str | Path) -> Self:
        """Build the model from plain values; `source` names their origin in messages."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpotmillError(f"{source}: {first_problem(error, cls)}") from error


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Put the first problem of a validation into one line that names key and remedy."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return f"{key}: unknown key; known here: {known}"
    if problem["type"] == "missing":
        return f"{key}: is required; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {str(given)[:80]!r})"
    return f"{key}: {message}{shown}"


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; raise SpotmillError where that fails."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, source: str | Path) -> Any:
    """Parse YAML text; `source` names its origin in messages."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise SpotmillError(
            f"{source}:{line} is not valid YAML; mend its indentation or quotes"
        ) from error


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file; raise SpotmillError where that fails."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpotmillError(f"{path}: no such file; check the name and the folder") from error
    except IsADirectoryError as error:
        raise SpotmillError(f"{path}: is a folder; name a file") from error
    except PermissionError as error:
        raise SpotmillError(f"{path}: cannot be read; check its permissions") from error
    except UnicodeDecodeError as error:
        raise SpotmillError(f"{path}: is not UTF-8 text; save it as UTF-8") from error


class Beam(Model):
    """One pulse of the beam, but for its photon energy, which a dataset sets."""

    nphotons: PositiveFloat = Field(description="photons in one pulse")
    beam_radius: PositiveFloat = Field(lt=1, description="radius of the (flat, round) beam, m")
    bandwidth: PositiveFloat = Field(
        le=0.5, description="full width of the spectrum over its centre (0.01 is 1 %)"
    )
    spectrum: Literal["tophat"] = Field("tophat", description="shape of the spectrum")
    polarisation: Fraction | None = Field(
        1.0,
        description="fraction polarised along x (horizontal); 0.5 is unpolarised; "
        "null leaves the polarisation factor out",
    )


class Crystal(Model):
    """A crystal: where its reflections come from, and its size."""

    name: str = Field(min_length=1, description="what to call it in reports")
    structure: str = Field(
        min_length=1,
        description="its reflections or structure: a .mtz, .hkl (with `cell_file`), .pdb, .ent, "
        ".cif or .mmcif file, or `pdb:1IC6` to fetch an entry",
    )
    cell_file: str | None = Field(None, description="CrystFEL .cell file that goes with a .hkl")
    cell: tuple[float, float, float, float, float, float] | None = Field(
        None, description="a, b, c in Å and alpha, beta, gamma in degrees, checked against the file"
    )
    space_group: str | None = Field(
        None, description="Hermann-Mauguin name, checked against the file"
    )
    size: PositiveFloat = Field(lt=1e-2, description="edge of the cube-shaped crystal, m")
    d_min: float = Field(1.6, ge=0.5, le=50, description="resolution of the reflections, Å")

    @field_validator("cell")
    @classmethod
    def _cell_is_a_cell(cls, cell: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if cell and (min(cell[:3]) <= 0 or not all(0 < angle < 180 for angle in cell[3:])):
            raise ValueError("needs three lengths above 0 (Å) and three angles of 0 to 180 degrees")
        return cell


class Solvent(Model):
    """The water that surrounds the crystal and scatters diffusely."""

    shape: Literal["sheet", "jet", "droplet"] = Field(
        "sheet", description="form of the water: sheet, jet (axis vertical) or droplet"
    )
    thickness: PositiveFloat | None = Field(
        None, lt=0.1, description="of the sheet, along its normal, m (sheet only)"
    )
    radius: PositiveFloat | None = Field(
        None, lt=0.1, description="of the jet or droplet, m (jet and droplet only)"
    )
    tilt: float | None = Field(
        None,
        gt=-90,
        lt=90,
        description="of the sheet's normal from the beam, about the vertical, degrees (sheet only; "
        "0 if left out)",
    )
    temperature: float = Field(25.0, ge=1, le=77, description="of the water, °C")
    absorption: bool = Field(False, description="attenuate beam and scattering in the water")
    compton: bool = Field(False, description="add inelastic (Compton) scattering")

    @model_validator(mode="after")
    def _keys_belong_to_shape(self) -> Self:
        foreign = ["radius"] if self.shape == "sheet" else ["thickness", "tilt"]
        for key in foreign:
            if getattr(self, key) is not None:
                raise ValueError(f"{key} does not belong to shape {self.shape}; remove it")
        needed = "thickness" if self.shape == "sheet" else "radius"
        if getattr(self, needed) is None:
            raise ValueError(f"{needed} is required by shape {self.shape}; add it, in m")
        return self


class Response(Model):
    """How the detector spreads a spot."""

    point_spread: float = Field(
        3.0e-5, ge=0, lt=0.01, description="standard deviation of the Gaussian point spread, m"
    )


class Hit(Model):
    """When a frame counts as a hit: enough true spots with enough drawn photons."""

    min_spots: int = Field(3, ge=1, description="spots")
    min_photons: int = Field(5, ge=1, description="drawn photons in each of them")


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


class Dataset(Model):
    """One row of the sheet of datasets."""

    dataset: str = Field(description="name; letters, digits, - and _")
    photon_energy: float = Field(ge=100, le=1e6, description="eV")
    clen: float = Field(ge=1e-3, le=100, description="camera length, m")
    n_patterns: int = Field(ge=1, lt=FIRST_EMPTY, description="frames with a crystal")
    detector: str | None = Field(None, description="overrides `detector` of the configuration")
    response: str | None = Field(None, description="overrides `response`")
    beam: str | None = Field(None, description="overrides `beam`")
    crystal: str | None = Field(None, description="overrides `crystal`")
    solvent: str | None = Field(None, description="overrides `solvent`")

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
    label_threshold: int = Field(1, ge=1, description="photons that make a pixel a labelled peak")
    detector: str = Field("config/detectors/eiger4m.geom", description="CrystFEL geometry file")
    response: str = Field("config/detectors/eiger4m.yaml", description="detector response file")
    beam: str = Field("config/beams/cxls.yaml", description="beam file")
    crystal: str = Field("config/crystals/proteinase_k.yaml", description="crystal file")
    solvent: str = Field("config/solvents/water_sheet.yaml", description="solvent file")
    hit: Hit = Field(Hit(), description="what counts as a hit")
    split: Split = Field(Split(), description="shares of the frames")
    tasks: tuple[str, ...] = Field((), description="task files to train, evaluate and report")


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
    rows = list(csv.reader((line for _, line in lines), delimiter="\t"))
    header = [column.strip() for column in rows[0]]
    for column in header:
        if column not in Dataset.model_fields:
            raise SpotmillError(
                f"{path}: line {lines[0][0]}: unknown column {column!r}; known here: "
                f"{', '.join(Dataset.model_fields)} (separated by tabs)"
            )
    datasets: dict[str, Dataset] = {}
    folded: dict[str, str] = {}
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        where = f"{path}: line {number}"
        if len(row) != len(header):
            raise SpotmillError(f"{where}: has {len(row)} columns, the header {len(header)}")
        values = {key: cell.strip() for key, cell in zip(header, row, strict=True) if cell.strip()}
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
