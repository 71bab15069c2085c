"""The map of frames: odd frames rank first, and every run writes the same bytes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from learning_data import EMPTIES, GEOMETRY, SHAPE, header, make, mask, water

from spotmill.cli import main
from spotmill.config import FIRST_EMPTY
from spotmill.formats.frame_map import map_schema
from spotmill.formats.frames import write_shard
from spotmill.formats.tables import MANIFEST, provenance, read_table, write_table
from spotmill.learning.map_frames import choose

DATASETS = ("A", "D")
PATTERNS = 40


def planted(name: str, dataset: str, rng: np.random.Generator) -> np.ndarray:
    """Return a frame with something wrong."""
    expected = water(*{"A": (6000.0, 0.1), "D": (8000.0, 0.2)}[dataset])
    if name == "shifted":
        expected = np.roll(expected, (25, -25), (0, 1)) * mask()
    image = rng.poisson(expected)
    if name == "hot module":
        image[:50, :50] += rng.poisson(0.2, (50, 50))
    if name == "ring":
        ss, fs = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
        image += rng.poisson(0.8 * (np.abs(np.hypot(ss - 60, fs - 55) - 40) < 1.5))
    if name == "saturated":
        image[20:23, 30:33] = 65535
    return np.where(mask(), image, 0).astype(np.uint16)


KINDS = ("hot module", "shifted", "ring", "saturated")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    make(folder, patterns=PATTERNS, datasets=DATASETS)
    tables = []
    for dataset in DATASETS:
        (folder / f"{dataset}.geom").write_text(GEOMETRY)
        table = read_table(folder / f"manifest/{dataset}.parquet", MANIFEST).to_pandas()
        path, first = folder / f"overlay/{dataset}/e00001.h5", FIRST_EMPTY + EMPTIES
        numbers = np.arange(first, first + len(KINDS))
        with write_shard(
            path, header(dataset, "overlay", "empty"), numbers, SHAPE, np.uint16, mask()
        ) as shard:
            for index, kind in zip(numbers.tolist(), KINDS, strict=True):
                shard.put(index, planted(kind, dataset, np.random.default_rng(index)))
        row = (
            table[table["kind"] == "empty"]
            .iloc[[0] * len(KINDS)]
            .assign(index=numbers, position=range(len(KINDS)), overlay=str(path), shard="e00001")
        )
        tables += [table, row]
    whole = pd.concat(tables)
    write_table(folder / "all.parquet", whole.to_dict("list"), MANIFEST)
    return folder


def run(data: Path, output: Path, *words: str, datasets: tuple[str, ...] = DATASETS) -> int:
    geometry = [str(data / f"{name}.geom") for name in datasets]
    given = ["--manifest", str(data / "all.parquet"), "--geometry", *geometry]
    return main(["map", *given, "--output", str(output), *words])


@pytest.fixture(scope="module")
def table(data: Path) -> Path:
    assert run(data, data / "map/frames.parquet") == 0
    return data / "map/frames.parquet"


def test_odd_frames_rank_first(table: Path) -> None:
    frames = pq.read_table(table).to_pandas()
    rank = frames["oddness"].rank(ascending=False)
    odd = frames["index"] >= FIRST_EMPTY + EMPTIES
    assert odd.sum() == len(KINDS) * len(DATASETS)
    found = dict(zip(frames[odd]["index"], rank[odd], strict=True))
    assert (rank[odd] <= odd.sum() + 3).all(), found
    assert frames.loc[odd, "oddness"].median() > 1.5
    assert frames.loc[~odd, "odd"].mean() < 0.06


def test_every_run_writes_the_same_bytes(data: Path, table: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "again.parquet") == 0
    assert (tmp_path / "again.parquet").read_bytes() == table.read_bytes()


def test_table_is_as_documented(data: Path, table: Path) -> None:
    stored = read_table(table, map_schema())
    frames = stored.to_pandas()
    manifest = pd.read_parquet(data / "all.parquet").sort_values(["dataset", "index"])
    assert frames["index"].tolist() == manifest["index"].tolist()
    assert np.isfinite(frames.select_dtypes("number").drop(columns="outermost_d")).all(axis=None)
    said = provenance(pq.read_schema(table))
    assert said["n_manifest"] == len(manifest)
    assert 0 < sum(said["explained_variance"]) <= 1
    # Datasets of other conditions lie apart: no cluster mixes them.
    clustered = frames[frames["cluster"] >= 0]
    assert len(clustered) > 0.3 * len(frames)
    purity = clustered.groupby("cluster")["dataset"].agg(lambda own: own.value_counts().iloc[0])
    assert purity.sum() > 0.9 * len(clustered)


def test_a_sample_stays_while_others_come(data: Path) -> None:
    manifest = pd.read_parquet(data / "all.parquet")
    some = choose(manifest, 30)
    assert len(some) == 30
    fewer = choose(manifest.iloc[::2], 15)
    kept = fewer.merge(some, on=["dataset", "index"])
    # Of those that are in both, all that are among the first stay.
    assert len(kept) >= 10
    assert choose(manifest, 1000)["index"].tolist() == (
        manifest.sort_values(["dataset", "index"])["index"].tolist()
    )


@pytest.mark.parametrize("most", [1, 2, 4, 12])
def test_a_few_frames_are_enough(most: int, data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "few.parquet", "--most", str(most)) == 0
    assert pq.read_metadata(tmp_path / "few.parquet").num_rows == most


def test_a_dataset_without_geometry_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path / "no.parquet", datasets=("A",)) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--geometry: dataset 'D' has none; give D.geom" in message
    assert not (tmp_path / "no.parquet").exists()
