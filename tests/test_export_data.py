"""Exported frames: read back by others, pixel for pixel, with their truth and side of the split."""

import gc
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin  # noqa: F401 (the sources need it, exported files do not)
import numpy as np
import pandas as pd
import pytest
import torch
import webdataset
from export_frames import (
    DATASETS,
    FRAMES,
    contents,
    export,
    listed,
    manifest,
    source,
)
from torch.utils.data import DataLoader, Dataset

from spotmill.config import FIRST_EMPTY
from spotmill.formats.geom import read_geometry

KINDS = ("overlay", "peaks", "labels")
PLANCK_C = 12398.419843320026  # eV Å
JOULE = 1.602176634e-19


@pytest.fixture(scope="module")
def made(export_results: Path) -> Path:
    """Return a folder with results, exported in every layout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(export_results)
        assert export("paper", "paper") == 0
        assert export("cxi", "cxi", "--frames-per-file", 10, "--kinds", *KINDS, "water") == 0
        words = ["--frames-per-file", 8, "--kinds", *KINDS, "water"]
        assert export("webdataset", "shards", *words) == 0
    return export_results


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def load_h5(path: Path) -> np.ndarray:
    """Load an image as the paper's programs do."""
    with h5py.File(path, "r") as file:
        return np.array(file["entry/data/data"])


def retrieve_attributes(path: Path) -> dict[str, Any]:
    """Retrieve attributes as the paper's programs do."""
    with h5py.File(path, "r") as file:
        return {name: file.attrs.get(name) for name in file.attrs}


class PaperFrames(Dataset):
    """The tree as the paper's DataLoader had it, but joined by name."""

    def __init__(self, dataset: str) -> None:
        self.overlays = sorted(Path(f"paper/images/peaks_water_overlay/{dataset}").glob("*.h5"))
        self.labels = sorted(Path(f"paper/images/labels/{dataset}").glob("*.h5"))

    def __len__(self) -> int:
        return len(self.overlays)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        path = self.overlays[number]
        return load_h5(path), load_h5(self.labels[number]), retrieve_attributes(path)


def test_paper_tree_has_every_pixel_and_attribute(here: Path) -> None:
    frames, known = listed("paper"), manifest()
    assert len(frames) == FRAMES
    for row in frames.itertuples():
        truth = known.loc[row[1], row[2]]
        for kind in KINDS:
            path = Path("paper") / getattr(row, f"{kind}_file")
            image = load_h5(path)
            assert image.dtype == np.float32 and image.ndim == 2
            np.testing.assert_array_equal(image, source(truth, kind))
            said = retrieve_attributes(path)
            assert said["peak"] == truth.is_hit and said["peak"].dtype == bool
            assert (said["dataset"], said["index"], said["split"]) == (row[1], row[2], row.split)
            if row.dataset == "01":
                assert said["clen"] == 0.05 and said["photon_energy"] == 6000
                assert said["photon_energy"].dtype == np.int32
    assert 0 < frames.is_hit.sum() < FRAMES


def test_paper_tree_tells_own_conditions_of_each_frame(here: Path) -> None:
    with h5py.File("results/images/peaks/02/p00000.h5") as file:
        own = {name: file[f"entry/frames/{name}"][:] for name in ("photon_energy", "clen")}
    assert len(set(own["photon_energy"])) == 9
    for number in range(9):
        path = Path(f"paper/images/peaks/02/02_8keV_clen02_{number + 1:06d}.h5")
        said = retrieve_attributes(path)
        assert all(said[name] == own[name][number] for name in own)


def test_paper_tree_has_the_names_of_the_paper(here: Path) -> None:
    clen = {"01": "6keV_clen01", "02": "8keV_clen02"}
    for dataset, part in clen.items():
        names = {f"{dataset}_{part}_{n:06d}.h5" for n in range(1, 16)}
        names |= {f"empty_{dataset}_{part}_{n:06d}.h5" for n in range(1, 8)}
        for kind in ("peaks", "labels", "peaks_water_overlay"):
            assert set(os.listdir(f"paper/images/{kind}/{dataset}")) == names
        (water,) = Path(f"paper/images/water/{dataset}").iterdir()
        assert water.name == f"{dataset}_{part}_000001.h5"
        with h5py.File(f"results/images/water/{dataset}.h5") as file:
            np.testing.assert_array_equal(load_h5(water), file["entry/data/data"][0])
        assert not retrieve_attributes(water)["peak"]
    assert json.loads(Path("paper/export.json").read_text())["settings"]["clens"] == {
        "clen01": 0.05,
        "clen02": 0.09,
    }


def test_paper_tree_goes_through_a_data_loader(here: Path) -> None:
    """By name, all frames come together with their labels and truth."""
    known, seen = manifest(), 0
    for images, labels, said in DataLoader(PaperFrames("01"), batch_size=5):
        assert images.dtype == torch.float32 and said["photon_energy"].dtype == torch.int32
        for image, label, index, peak in zip(
            images, labels, said["index"], said["peak"], strict=True
        ):
            truth = known.loc["01", int(index)]
            np.testing.assert_array_equal(image.numpy(), source(truth, "overlay"))
            np.testing.assert_array_equal(label.numpy(), source(truth, "labels"))
            assert bool(peak) == truth.is_hit
            seen += 1
    assert seen == FRAMES // 2


def test_names_of_the_paper_s_programs(here: Path, tmp_path: Path) -> None:
    assert export("paper", tmp_path / "code", "--names", "code", "--datasets", "01") == 0
    images = tmp_path / "code/images"
    # As PathManager of these programs lists them.
    water = [name for name in os.listdir(images / "water/01") if name.startswith("water")]
    assert len(water) == 1
    labels = [
        name
        for name in os.listdir(images / "labels/01")
        if name.startswith("label") or name.startswith("empty")
    ]
    assert len(labels) == FRAMES // 2
    for kind, first in (("peaks", "img"), ("labels", "label_img"), ("overlay", "overlay_img")):
        folder = images / {"overlay": "peaks_water_overlay"}.get(kind, kind) / "01"
        one = load_h5(folder / f"{first}_6keV_clen01_00003.h5")
        np.testing.assert_array_equal(one, source(manifest().loc["01", 2], kind))
        word = {"peaks": "peak", "labels": "label"}.get(kind, kind)
        blank = load_h5(folder / f"empty_{word}_01_00002.h5")
        empty = manifest().loc["01", FIRST_EMPTY + 1]
        np.testing.assert_array_equal(blank, source(empty, kind))
        assert sum("empty" in name for name in os.listdir(folder)) == 7


def test_cxi_has_every_pixel(here: Path) -> None:
    """Through fabio, and through h5py without any plugin of HDF5."""
    known, frames = manifest(), listed("cxi")
    assert len(frames) == FRAMES and set(frames.groupby("file").size()) == {10, 2}
    for name, part in frames.groupby("file"):
        with h5py.File(f"cxi/{name}") as file:
            assert file["cxi_version"][()] == 160
            for number, kind in enumerate(KINDS, start=1):
                with fabio.open(f"cxi/{name}::/entry_1/data_{number}/data") as series:
                    assert series.nframes == len(part)
                    for row in part.itertuples():
                        truth = known.loc[row.dataset, row[2]]
                        image = series.getframe(row.event).data
                        assert np.array_equal(image, source(truth, kind))
                stack = file[f"entry_1/data_{number}/data"]
                assert stack.attrs["content"] == kind and stack.compression == "gzip"
            with h5py.File(f"results/images/water/{part.dataset.iloc[0]}.h5") as water:
                assert np.array_equal(file["entry_1/data_4/data"], water["entry/data/data"])
                live = water["entry/instrument/detector/pixel_mask"][:] == 0
            assert np.array_equal(file["entry_1/data_1/mask"][:] == 0, live)
            assert file["entry_1/instrument_1/detector_1/data"] == file["entry_1/data_1/data"]


def test_cxi_has_truth_and_sides(here: Path) -> None:
    known, spots = manifest(), pd.read_parquet("cxi/spots.parquet")
    shown = 0
    for name, part in listed("cxi").groupby("file"):
        with h5py.File(f"cxi/{name}") as file:
            result, instrument = file["entry_1/result_1"], file["entry_1/instrument_1"]
            names = file["entry_1/experiment_identifier"].asstr()[:]
            for row in part.itertuples():
                n, truth = row.event, known.loc[row.dataset, row[2]]
                assert names[n] == f"{row.dataset}/{row[2]}"
                assert file["entry_1/frames/split"].asstr()[n] == row.split
                assert file["entry_1/frames/is_hit"][n] == truth.is_hit == row.is_hit
                strong = spots.query("dataset == @row.dataset and index == @row[2]")
                strong = strong[strong.photons >= 5].sort_values("photons", ascending=False)
                count = int(result["nPeaks"][n])
                assert count == len(strong) == truth.n_spots
                for field, values in (
                    ("peakXPosRaw", strong.fs - 0.5),
                    ("peakYPosRaw", strong.ss - 0.5),
                    ("peakTotalIntensity", strong.photons),
                ):
                    assert sorted(result[field][n, :count]) == pytest.approx(
                        sorted(values), abs=1e-4
                    )
                    assert not result[field][n, count:].any()
                shown += count
                energy = instrument["source_1/energy"][n] / JOULE
                assert energy == pytest.approx(instrument["source_1/photon_energy"][n])
                assert energy == pytest.approx(row.photon_energy)
                assert instrument["detector_1/distance"][n] == row.clen
    assert shown > 50


def test_cxi_geometry_puts_spots_where_bragg_s_law_does(here: Path) -> None:
    """With the energy of each spot; beam, distance and panels are those of files and geometry."""
    spots, checked = pd.read_parquet("cxi/spots.parquet"), 0
    for name, part in listed("cxi").groupby("file"):
        dataset = str(part.dataset.iloc[0])
        geometry = read_geometry(f"cxi/{dataset}.geom")
        assert geometry.panels[0].data == "/entry_1/data_1/data"
        with h5py.File(f"cxi/{name}") as file:
            assert geometry.peak_list in file and geometry.panels[0].masks[0].data in file
            own = {
                key: np.full(len(part), quantity.value)
                if quantity and quantity.number is not None
                else file[quantity.location][:]
                if quantity
                else np.zeros(len(part))
                for key, quantity in (
                    ("clen", geometry.clen),
                    ("x", geometry.detector_shift_x),
                    ("y", geometry.detector_shift_y),
                )
            }
            moves = dataset == "02"
            assert (geometry.detector_shift_x is not None) == moves
            assert isinstance(geometry.clen.value, str) == moves
        for row in part[part.kind == "crystal"].itertuples():
            own_spots = spots.query("dataset == @dataset and index == @row[2]")
            for spot in own_spots[own_spots.live_fraction > 0.99].itertuples():
                panel = next(p for p in geometry.panels if p.min_fs <= spot.fs < p.max_fs + 1)
                x = (spot.fs - panel.min_fs + panel.corner_x) / panel.res + own["x"][row.event]
                y = (spot.ss - panel.min_ss + panel.corner_y) / panel.res + own["y"][row.event]
                angle = np.arctan2(np.hypot(x, y), own["clen"][row.event])
                d = PLANCK_C / spot.photon_energy / (2 * np.sin(angle / 2))
                assert d == pytest.approx(spot.d, rel=2e-3)
                checked += 1
    assert checked > 100


def test_cxi_lists_name_events_of_each_side(here: Path) -> None:
    frames = listed("cxi")
    for dataset in DATASETS:
        own = frames[frames.dataset == dataset]
        for side in ("train", "validation", "test"):
            part = own[own.split == side]
            lines = [f"{f} //{n}" for f, n in zip(part.file, part.event, strict=True)]
            assert Path(f"cxi/{dataset}_{side}.lst").read_text().splitlines() == lines
        hits = Path(f"cxi/{dataset}_hits.lst").read_text().splitlines()
        assert len(hits) == own.is_hit.sum()


def samples(folder: str, side: str) -> list[dict[str, Any]]:
    """Return the samples of a side, as the library webdataset decodes them."""
    urls = sorted(str(path) for path in Path(folder).glob(f"{side}-*.tar"))
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    # The library leaves its files to the collector, which must not blame another test.
    gc.collect()
    return found


leaves_files_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def check_samples(folder: str, suffix: str) -> dict[str, set[tuple[str, int]]]:
    known, spots, seen = manifest(), pd.read_parquet("cxi/spots.parquet"), {}
    for side in ("train", "validation", "test"):
        seen[side] = set()
        for sample in samples(folder, side):
            facts = sample["json"]
            identity = (facts["dataset"], facts["index"])
            assert sample["__key__"] == f"{identity[0]}-{identity[1]:08d}"
            assert facts["split"] == side and identity not in seen[side]
            seen[side].add(identity)
            truth = known.loc[identity]
            assert sample["hit.cls"] == int(truth.is_hit)
            for kind in KINDS:
                np.testing.assert_array_equal(sample[f"{kind}.npy{suffix}"], source(truth, kind))
            true = spots.query("dataset == @identity[0] and index == @identity[1]")
            assert sample["spots.npy"].shape == (11, len(true))
            np.testing.assert_array_equal(sample["spots.npy"][4:6], true[["fs", "ss"]].T)
            assert sample["crystals.npy"].shape == (15, int(truth.kind == "crystal"))
    return seen


@leaves_files_open
def test_webdataset_shards_load_and_do_not_leak(here: Path) -> None:
    seen = check_samples("shards", "")
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == FRAMES
    split = pd.read_parquet("results/splits/hit.parquet")
    for side, identities in seen.items():
        part = split[split.split == side]
        assert identities == set(zip(part["dataset"], part["index"], strict=True))
    # Mixed: no tar has frames of one dataset, or blanks alone.
    for _, part in listed("shards").groupby("file"):
        assert len(part) < 6 or (part.dataset.nunique() == 2 and part.kind.nunique() == 2)


@leaves_files_open
def test_webdataset_shards_are_plain_tars(here: Path, tmp_path: Path) -> None:
    """Read by tarfile, as by a loop of one's own, and compressed by the library."""
    with tarfile.open("shards/train-000000.tar") as tar:
        members = tar.getmembers()
        assert all((m.mtime, m.uid, m.gid, m.uname) == (0, 0, 0, "") for m in members)
        assert len(members) == 8 * 7
    assert np.load("shards/masks/01.npy").shape == (128, 166)
    words = ["--compression", "gzip", "--kinds", *KINDS]
    assert export("webdataset", tmp_path / "gzip", *words) == 0
    check_samples(str(tmp_path / "gzip"), ".gz")
    small, large = (
        sum(path.stat().st_size for path in Path(folder).glob("*.tar"))
        for folder in (tmp_path / "gzip", "shards")
    )
    assert small < large / 4


@pytest.mark.parametrize("what", ["paper", "cxi", "webdataset"])
def test_two_exports_have_the_same_bytes(what: str, here: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert export(what, tmp_path / name, "--sides", "validation", "test") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    sides = set(listed(tmp_path / "one").split)
    assert sides == {"validation", "test"}


def test_the_split_of_a_task_is_followed(here: Path, tmp_path: Path) -> None:
    """Of a task that holds a dataset out, test frames are that dataset's, and no others."""
    output = tmp_path / "held"
    assert export("webdataset", output, "--split", "held/held.parquet") == 0
    frames = listed(output)
    assert set(frames[frames.split == "test"].dataset) == {"02"}
    assert set(frames[frames.split != "test"].dataset) == {"01"}
    assert json.loads((output / "export.json").read_text())["split"]["hold_out"] == ["02"]
    assert (output / "train-000000.tar").exists()
