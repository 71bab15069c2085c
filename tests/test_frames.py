"""Frames: pairing, independence of shards, round trips and broken files."""

import hashlib
import json
import os
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, simulate_words, water_words

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.recipes import RECIPES


def frames_of(path):
    with Shard(path) as shard:
        return {
            index: shard.read(position).tobytes()
            for position, index in enumerate(shard.indices.tolist())
        }


@pytest.fixture
def shard(tiny, spotmill):
    """One dataset of 12 patterns and 6 empties, made by the commands."""
    spotmill(*simulate_words("p00000"))
    spotmill(*water_words())
    spotmill(
        "overlay",
        "--water",
        "water.h5",
        "--peaks",
        "peaks/p00000.h5",
        "--seed",
        7,
        "--output",
        "overlay/p00000.h5",
    )
    spotmill(
        "overlay",
        "--water",
        "water.h5",
        "--first",
        10_000_000,
        "--count",
        6,
        "--seed",
        7,
        "--output",
        "overlay/e00000.h5",
    )
    spotmill("labels", "--peaks", "peaks/p00000.h5", "--output", "labels/p00000.h5")
    spotmill(
        "manifest",
        "--overlay",
        "overlay/p00000.h5",
        "overlay/e00000.h5",
        "--peaks",
        "peaks/p00000.h5",
        "--labels",
        "labels/p00000.h5",
        "--truth",
        "truth/p00000.parquet",
        "--output",
        "A.parquet",
    )
    return tiny


def test_frames_do_not_depend_on_shards(tiny, spotmill) -> None:
    spotmill(*simulate_words("whole", 0, 40))
    spotmill(*water_words())
    whole, parts, noisy_whole, noisy_parts = frames_of("peaks/whole.h5"), {}, {}, {}
    spotmill(
        "overlay",
        "--water",
        "water.h5",
        "--peaks",
        "peaks/whole.h5",
        "--seed",
        7,
        "--output",
        "overlay/whole.h5",
    )
    noisy_whole = frames_of("overlay/whole.h5")
    # In another order, and one shard twice as the others.
    for first in (30, 0, 20, 10):
        spotmill(*simulate_words(f"part{first}", first, 10))
        parts |= frames_of(f"peaks/part{first}.h5")
        spotmill(
            "overlay",
            "--water",
            "water.h5",
            "--peaks",
            f"peaks/part{first}.h5",
            "--seed",
            7,
            "--output",
            f"overlay/part{first}.h5",
        )
        noisy_parts |= frames_of(f"overlay/part{first}.h5")
    assert parts == whole
    assert noisy_parts == noisy_whole
    tables = [pd.read_parquet(f"truth/part{first}.parquet") for first in (0, 10, 20, 30)]
    pd.testing.assert_frame_equal(
        pd.concat(tables, ignore_index=True), pd.read_parquet("truth/whole.parquet")
    )


def test_the_same_command_writes_the_same_bytes(tiny, spotmill) -> None:
    spotmill(*simulate_words("one", 0, 3))
    spotmill(*simulate_words("two", 0, 3))
    for folder, suffix in (("peaks", ".h5"), ("truth", ".parquet"), ("truth", ".frames.parquet")):
        one, two = ((tiny / folder / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_noise_is_fresh_in_every_frame(shard) -> None:
    for path in ("overlay/p00000.h5", "overlay/e00000.h5"):
        frames = frames_of(path)
        assert len(set(frames.values())) == len(frames)


def test_truth_adds_up_to_the_image_and_decides_what_is_a_hit(shard) -> None:
    spots = pd.read_parquet("truth/p00000.parquet")
    frames = pd.read_parquet("truth/p00000.frames.parquet").set_index("index")
    with Shard("peaks/p00000.h5") as peaks:
        for position, index in enumerate(peaks.indices.tolist()):
            own = spots[spots["index"] == index]
            image = peaks.read(position)
            assert image.sum() == own["photons"].sum() == frames.loc[index, "photons"]
            n_spots = (own["photons"] >= 5).sum()
            assert frames.loc[index, "n_spots"] == n_spots
            assert frames.loc[index, "is_hit"] == (n_spots >= 3)
            bright = own.sort_values("photons").iloc[-1]
            assert image[int(bright["ss"]), int(bright["fs"])] > 0


def test_expected_images_hold_the_expected_photons(tiny, spotmill) -> None:
    spotmill(*simulate_words("exact", 0, 4, no_noise=True))
    spots = pd.read_parquet("truth/exact.parquet")
    with Shard("peaks/exact.h5") as peaks:
        assert peaks.dtype == np.float32
        for position, index in enumerate(peaks.indices.tolist()):
            own = spots[spots["index"] == index]
            expected = (own["expected_photons"] * own["live_fraction"]).sum()
            assert peaks.read(position).sum() == pytest.approx(expected, rel=1e-5)


def test_noisy_frames_converge_to_the_expected_one(tiny, spotmill) -> None:
    quaternion = tiny / "one.txt"
    quaternion.write_text("0.5 0.5 0.5 0.5\n" * 1000)
    spotmill(*simulate_words("noisy", 0, 1000, orientations=quaternion))
    quaternion.write_text("0.5 0.5 0.5 0.5\n")
    spotmill(*simulate_words("exact", 0, 1, orientations=quaternion, no_noise=True))
    with Shard("peaks/exact.h5") as exact:
        expected = exact.read(0).astype(float)
    with Shard("peaks/noisy.h5") as noisy:
        total = sum(noisy.read(i).astype(float) for i in range(1000))
    bright = expected > 0.05
    pull = (total[bright] - 1000 * expected[bright]) / np.sqrt(1000 * expected[bright])
    assert bright.sum() > 20
    assert abs((pull**2).mean() - 1) < 5 * np.sqrt(2 / bright.sum())
    assert total[expected == 0].sum() == 0


def test_shards_explain_themselves(shard) -> None:
    with Shard("overlay/p00000.h5") as overlay:
        parameters = overlay.header.parameters
        assert parameters["peaks"]["beam"] == (shard / "config/beams/weak.yaml").read_text()
        assert parameters["water"]["solvent"] == (shard / "config/solvents/thin.yaml").read_text()
        assert (overlay.header.seed, overlay.header.recipe) == (7, RECIPES["overlay"])
    with h5py.File("overlay/p00000.h5") as file:
        assert file["entry/instrument/detector/distance"][()] == 0.05
        assert file["entry/instrument/detector/distance"].attrs["units"] == b"m"
        assert file["entry/instrument/beam/incident_wavelength"][()] == pytest.approx(2.0664, 1e-4)
        assert file["entry/data/data"].chunks == (1, 128, 166)


def test_another_library_reads_the_shards(shard) -> None:
    import fabio

    with (
        fabio.open("overlay/p00000.h5::/entry/data/data") as image,
        Shard("overlay/p00000.h5") as ours,
    ):
        np.testing.assert_array_equal(image.data, ours.read(0))


def test_check_passes_on_whole_files(shard, spotmill, capsys) -> None:
    spotmill("check", "A.parquet")
    assert "18 frames whole and paired (12 patterns, 6 empties" in capsys.readouterr().out


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def set_pixel(path, value):
    with h5py.File(path, "r+") as file:
        image = file["entry/data/data"][3]
        image[60, 40] = value
        file["entry/data/data"][3] = image


def swap_frames(path):
    with h5py.File(path, "r+") as file:
        data = file["entry/data/data"]
        first, second = data[0], data[1]
        data[0], data[1] = second, first


def rename_index(path):
    with h5py.File(path, "r+") as file:
        file["entry/frames/index"][0] = 99


def zero_length(path):
    open(path, "w").close()


def drop_dataset(path):
    with h5py.File(path, "r+") as file:
        del file["entry/data/data"]


def flip_byte(path):
    with h5py.File(path) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(2)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0xFF]))


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("overlay/p00000.h5", truncate),
        ("overlay/p00000.h5", zero_length),
        ("overlay/p00000.h5", os.unlink),
        ("overlay/p00000.h5", drop_dataset),
        ("overlay/p00000.h5", swap_frames),
        ("overlay/e00000.h5", rename_index),
        ("overlay/e00000.h5", lambda path: set_pixel(path, 9)),
        ("overlay/e00000.h5", flip_byte),
        ("peaks/p00000.h5", truncate),
        ("peaks/p00000.h5", swap_frames),
        ("peaks/p00000.h5", lambda path: set_pixel(path, 500)),
        ("peaks/p00000.h5", flip_byte),
        ("labels/p00000.h5", swap_frames),
        ("labels/p00000.h5", rename_index),
        ("labels/p00000.h5", lambda path: set_pixel(path, 7)),
        ("truth/p00000.parquet", truncate),
        ("truth/p00000.parquet", zero_length),
        ("truth/p00000.parquet", os.unlink),
    ],
)
def test_check_catches_every_damage_in_one_line(shard, capsys, path, damage) -> None:
    damage(path)
    assert main(["check", "A.parquet", "--output", "checked"]) == 1
    message = capsys.readouterr().err.strip()
    assert "\n" not in message and message.startswith("spotmill check: error: ")
    assert path in message
    assert not (shard / "checked").exists()


def test_files_of_different_shards_are_never_paired(shard, spotmill, capsys) -> None:
    spotmill(*simulate_words("p00001", 12, 12))
    shutil.copy("peaks/p00001.h5", "peaks/p00000.h5")
    words = ["manifest", "--overlay", "overlay/p00000.h5", "--peaks", "peaks/p00000.h5"]
    words += ["--labels", "labels/p00000.h5", "--truth", "truth/p00000.parquet"]
    assert main([*words, "--output", "B.parquet"]) == 1
    assert "are not a pair" in capsys.readouterr().err
    assert not (shard / "B.parquet").exists()


def test_a_missing_column_is_told(shard) -> None:
    with Shard("overlay/e00000.h5") as empties, pytest.raises(SpotmillError, match="quaternion"):
        empties.column("quaternion")


def digest(path) -> str:
    """Hash what a stage computes: the photons, and the spots to six digits."""
    sha = hashlib.sha256()
    if str(path).endswith(".parquet"):
        table = pd.read_parquet(path)
        for name in table.columns:
            values = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in table[name].tolist()]
            sha.update("\n".join([name, *values]).encode())
    else:
        with Shard(path) as opened:
            for position in range(len(opened)):
                image = opened.read(position)
                rounded = np.char.mod("%.5g", image) if image.dtype.kind == "f" else image
                sha.update(np.ascontiguousarray(rounded).tobytes())
    return sha.hexdigest()


STAGES = {
    "simulate": ["peaks/p00000.h5", "truth/p00000.parquet"],
    "water": ["water.h5"],
    "overlay": ["overlay/p00000.h5", "overlay/e00000.h5"],
    "labels": ["labels/p00000.h5"],
}


def test_numbers_change_only_with_their_recipe(shard) -> None:
    """Compare with tests/golden.json; after raising a recipe, copy in the file named below."""
    found = {
        stage: {"recipe": RECIPES[stage], "sha256": [digest(path) for path in files]}
        for stage, files in STAGES.items()
    }
    (shard / "golden.json").write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads((ROOT / "tests/golden.json").read_text())
    assert found == golden, f"numbers changed: raise the recipe; new file: {shard}/golden.json"
