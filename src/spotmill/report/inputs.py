"""All that a report is made of, read and checked."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotmill import plan
from spotmill.concepts import Beam, Crystal
from spotmill.config import Config, Dataset, Hit, read_datasets
from spotmill.errors import SpotmillError
from spotmill.formats.frame_map import map_schema
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.tables import MANIFEST, SPOTS, provenance, read_table
from spotmill.model import read_text
from spotmill.overlays.opener import open_overlay
from spotmill.physics.frame_features import NAMES
from spotmill.physics.geometry import Detector
from spotmill.report.evaluations import Task, read_json, read_tasks
from spotmill.report.flux import FluxTask, is_of_flux, read_flux
from spotmill.report.peaks import PeakTask, is_of_peaks, read_peaks
from spotmill.report.values import ValueTask, is_of_values, read_values

# The files that the configuration names and a dataset may override.
CONCEPTS = ("detector", *plan.CONCEPTS)


@dataclass(frozen=True)
class Image:
    """A frame with its mask, [ss, fs] both."""

    photons: NDArray[Any]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class FrameMap:
    """A map of frames as `spotmill map` wrote it: its table, and what it says of itself."""

    frames: pd.DataFrame
    n_manifest: int
    n_features: int
    explained_variance: Sequence[float]
    odd_from: float


@dataclass(frozen=True)
class Inputs:
    """Configuration, frames and tasks of one production.

    Attributes
    ----------
    datasets
        Those of the sheet that have frames, in the order of the sheet.
    texts
        Text of every file of the configuration by its name, for the record.
    manifest
        One row a frame.
    waters
        Shard of the expected water image by dataset.
    """

    config: Config
    datasets: Mapping[str, Dataset]
    texts: Mapping[str, str]
    manifest: pd.DataFrame
    waters: Mapping[str, Path]
    tasks: Sequence[Task]
    values: Sequence[ValueTask] = ()
    peaks: Sequence[PeakTask] = ()
    flux: Sequence[FluxTask] = ()
    frame_map: FrameMap | None = None

    @property
    def hit(self) -> Hit:
        """What counts as a hit."""
        return self.config.hit

    def concept(self, dataset: str, name: str) -> str:
        """Return the file of a concept (detector, beam, ...) for a dataset."""
        return str(getattr(self.datasets[dataset], name) or getattr(self.config, name))

    def beam(self, dataset: str) -> Beam:
        """Return the beam of a dataset."""
        return Beam.read(self.concept(dataset, "beam"))

    def crystal(self, dataset: str) -> Crystal:
        """Return the crystal of a dataset."""
        return Crystal.read(self.concept(dataset, "crystal"))

    def detector(self, dataset: str) -> Detector:
        """Return the detector of a dataset at its camera length."""
        path = self.concept(dataset, "detector")
        return read_geometry(Path(path)).detector(clen=self.datasets[dataset].clen)

    def frames(self, dataset: str, kind: str | None = None) -> pd.DataFrame:
        """Return the rows of a dataset, of one kind (crystal or empty) or of both."""
        rows = self.manifest[self.manifest["dataset"] == dataset]
        return rows if kind is None else rows[rows["kind"] == kind]

    def frame(self, dataset: str, index: int) -> pd.Series:
        """Return the row of one frame."""
        rows = self.frames(dataset)
        rows = rows[rows["index"] == index]
        if len(rows) != 1:
            raise SpotmillError(
                f"manifest: has no frame {index} of dataset {dataset!r}, which an evaluation "
                "names; evaluate again"
            )
        return rows.iloc[0]

    def water(self, dataset: str) -> Image:
        """Return the expected water image of a dataset."""
        with Shard(self.waters[dataset]) as shard:
            return Image(shard.read(0), shard.mask)


def read_inputs(
    config: Path,
    manifest: Path,
    waters: Sequence[Path],
    evaluations: Sequence[Path],
    models: Sequence[Path],
    frame_map: Path | None = None,
) -> Inputs:
    """Read all that a report is made of.

    Raises
    ------
    SpotmillError
        When a file is missing, broken or belongs to something else.
    """
    settings = Config.read(config)
    rows = read_table(manifest, MANIFEST).to_pandas()
    sheet = read_datasets(settings.datasets)
    named = set(rows["dataset"])
    for name in sorted(named - sheet.keys()):
        raise SpotmillError(
            f"{manifest}: dataset {name!r} is not in {settings.datasets}; remake the manifest"
        )
    datasets = {name: dataset for name, dataset in sheet.items() if name in named}
    if not datasets:
        raise SpotmillError(f"{manifest}: holds no frame; remake it (name it to snakemake)")
    of_values = [folder for folder in evaluations if is_of_values(folder)]
    of_peaks = [folder for folder in evaluations if is_of_peaks(folder)]
    of_flux = [folder for folder in evaluations if is_of_flux(folder)]
    value_models, peak_models = _models_of(of_values, models), _models_of(of_peaks, models)
    flux_models = _models_of(of_flux, models)
    special = {*of_values, *of_peaks, *of_flux}
    special_models = {*value_models, *peak_models, *flux_models}
    return Inputs(
        settings,
        datasets,
        _texts(config, settings, datasets),
        rows,
        _waters(waters, datasets),
        read_tasks(
            [folder for folder in evaluations if folder not in special],
            [folder for folder in models if folder not in special_models],
        ),
        read_values(of_values, value_models),
        read_peaks(of_peaks, peak_models),
        read_flux(of_flux, flux_models),
        read_map(frame_map) if frame_map else None,
    )


def read_map(path: Path) -> FrameMap:
    """Read a map of frames."""
    table = read_table(path, map_schema())
    said = provenance(table if table.schema.metadata else pq.read_schema(path))
    try:
        share = [float(part) for part in said["explained_variance"]]
        found = FrameMap(
            table.to_pandas(),
            int(said["n_manifest"]),
            len(NAMES),
            share,
            float(said["odd_from"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpotmillError(f"{path}: does not say how it was made; remake it") from error
    return found


def _models_of(evaluations: Sequence[Path], models: Sequence[Path]) -> list[Path]:
    """Return the model folders of the tasks of some evaluation folders."""
    names = {read_json(folder / "evaluation.json").get("task") for folder in evaluations}
    return [folder for folder in models if read_json(folder / "model.json").get("task") in names]


def read_frame(row: pd.Series) -> Image:
    """Return the overlay of a manifest row; raise SpotmillError where it is not that frame."""
    with open_overlay(row["overlay"]) as shard:
        return _image(shard, row)


def read_frames(rows: pd.DataFrame) -> Iterator[NDArray[Any]]:
    """Yield the overlays [ss, fs] of manifest rows, each file opened once in a row."""
    for path, part in rows.groupby("overlay", sort=False):
        with ExitStack() as stack:
            shard = stack.enter_context(open_overlay(str(path)))
            for _, row in part.iterrows():
                yield _image(shard, row).photons


def read_spots(row: pd.Series) -> pd.DataFrame:
    """Return the true spots of a manifest row."""
    spots = read_table(row["truth"], SPOTS).to_pandas()
    return spots[spots["index"] == row["index"]]


def read_all_spots(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the true spots of manifest rows, each table read once."""
    parts = []
    for path, part in rows.groupby("truth", sort=False):
        spots = read_table(str(path), SPOTS).to_pandas()
        parts.append(spots[spots["index"].isin(part["index"])])
    return pd.concat(parts, ignore_index=True)


def _image(shard: Shard, row: pd.Series) -> Image:
    position = int(row["position"])
    if position >= len(shard) or shard.indices[position] != row["index"]:
        raise SpotmillError(
            f"{shard.path}: does not hold frame {row['index']} at {position}, as the manifest "
            "says; remake the manifest"
        )
    return Image(shard.read(position), shard.mask)


def _waters(paths: Sequence[Path], datasets: Mapping[str, Dataset]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        with Shard(path) as shard:
            if shard.header.content != "water":
                raise SpotmillError(f"{path}: holds {shard.header.content}, not expected water")
            found[shard.header.dataset] = path
    for name in datasets:
        if name not in found:
            raise SpotmillError(f"--water: dataset {name!r} has none; give its expected water")
    return found


def _texts(config: Path, settings: Config, datasets: Mapping[str, Dataset]) -> dict[str, str]:
    texts = {config.name: read_text(config), settings.datasets: read_text(settings.datasets)}
    for concept in CONCEPTS:
        for dataset in datasets.values():
            path = getattr(dataset, concept) or getattr(settings, concept)
            if path:
                texts.setdefault(path, read_text(path))
    for path in settings.tasks:
        texts.setdefault(path, read_text(path))
    return texts
