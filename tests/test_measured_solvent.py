"""A solvent that is measured blank frames, from its keys to the workflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from blank_frames import SHAPE, blanks, refused, save, words
from conftest import ROOT, copy_tiny, simulate_words, water_words

from spotmill.concepts import Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.physics.artefacts import flawed_pixels
from spotmill.plan import read_plan

# ---- a solvent that is measured


def solvent(text, folder="."):
    path = Path(folder) / "config/solvents/thin.yaml"
    path.write_text(f"shape: measured\n{text}\n")
    return path


@pytest.mark.parametrize("use", ["mean", "frames"])
def test_a_measured_solvent_is_what_background_writes(tiny, spotmill, use):
    save(tiny / "a.h5", blanks())
    solvent(f"frames: [a.h5]\nuse: {use}\nkeep_all: true")
    words_of = water_words("water.h5")
    del words_of[words_of.index("--response") : words_of.index("--response") + 2]
    spotmill(*words_of)
    options = {"detector": "config/detectors/tiny.geom", "keep_all": True}
    if use == "frames":
        options["frames"] = True
    spotmill(*words("a.h5", output="background.h5", **options))
    assert Path("water.h5").read_bytes() == Path("background.h5").read_bytes()


def test_scale_headers_and_dead_pixels_of_a_measured_solvent(tiny, spotmill, capsys):
    save(tiny / "far.h5", blanks(), distance=0.3)
    Path("config/detectors/tiny.yaml").write_text("dead_pixels: 0.02\n")
    solvent("frames: [far.h5]")
    refused(capsys, water_words("water.h5"), "states clen 0.3, and 0.05 is given")
    solvent("frames: [far.h5]\nignore_header: true\nscale: 0.5")
    spotmill(*water_words("water.h5"))
    dead = flawed_pixels(SHAPE, Response(dead_pixels=0.02)).dead
    assert 200 < len(dead) < 700
    with Shard("water.h5") as shard:
        assert not shard.mask.ravel()[dead].any()
        half = np.where(shard.mask, blanks().mean(axis=0) / 2, 0)
        np.testing.assert_allclose(shard.read(0), half, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "frames is required by shape measured; name blank frames"),
        ({"frames": []}, "frames"),
        ({"frames": ["a"], "thickness": 1e-4}, "thickness does not belong to shape measured"),
        ({"frames": ["a"], "temperature": 25.0}, "temperature does not belong"),
        ({"frames": ["a"], "air_downstream": 0.1}, "air_downstream does not belong"),
        ({"frames": ["a"], "compton": False}, "compton does not belong"),
        ({"frames": ["a"], "use": "median"}, "use"),
        ({"frames": ["a"], "scale": 0.0}, "scale"),
        ({"frames": ["a"], "use": "frames", "scale": 2.0}, "scale does not belong to use frames"),
        ({"shape": "sheet", "thickness": 1e-4, "frames": ["a"]}, "frames does not belong"),
        ({"shape": "jet", "radius": 1e-4, "use": "mean"}, "use does not belong to shape jet"),
        ({"shape": "droplet", "radius": 1e-4, "scale": 1.0}, "scale does not belong"),
    ],
)
def test_keys_that_do_not_belong(values, word):
    with pytest.raises(SpotmillError, match=word):
        Solvent.parse({"shape": "measured"} | values, "solvent.yaml")


@pytest.mark.parametrize("use", ["mean", "frames"])
def test_from_blank_frames_to_checked_datasets(tiny, spotmill, use):
    """Pixels that the blanks lack are dead in the overlay, and the check still holds."""
    images = blanks(n=8, mean=0.4).astype(np.int32)
    images[:, 30:60, 20:60] = -1
    save(tiny / "a.h5", images)
    solvent(f"frames: [a.h5]\nuse: {use}")
    spotmill(*water_words())
    spotmill(*simulate_words("p00000"))
    ends = ["--water", "water.h5", "--seed", 7, "--output"]
    spotmill("overlay", *ends, "overlay/p00000.h5", "--peaks", "peaks/p00000.h5")
    spotmill("overlay", *ends, "overlay/e00000.h5", "--first", 10_000_000, "--count", 6)
    spotmill("labels", "--peaks", "peaks/p00000.h5", "--output", "labels/p00000.h5")
    overlays = ["--overlay", "overlay/p00000.h5", "overlay/e00000.h5"]
    files = ["--peaks", "peaks/p00000.h5", "--labels", "labels/p00000.h5"]
    files += ["--truth", "truth/p00000.parquet"]
    spotmill("manifest", *overlays, *files, "--output", "A.parquet")
    spotmill("check", "A.parquet")
    with Shard("overlay/p00000.h5") as overlay, Shard("peaks/p00000.h5") as peaks:
        hidden = 0
        for position in range(len(overlay)):
            image, signal = overlay.read(position), peaks.read(position)
            assert not image[30:60, 20:60].any()
            hidden += signal[30:60, 20:60].sum()
            if use == "frames":
                blank = (image - np.where(overlay.mask, signal, 0)).astype(int)
                matches = [(blank == np.where(overlay.mask, one, 0)).all() for one in images]
                assert sum(matches) == 1
        assert hidden > 0  # there were photons to hide


def test_measured_frames_are_not_scaled_or_moved(tiny, spotmill, capsys):
    save(tiny / "a.h5", blanks())
    spotmill(*words("a.h5", output="blank.h5", frames=True))
    spotmill(*words("a.h5", output="mean.h5"))
    empties = ["--first", "10000000", "--count", "2", "--seed", "1", "--randomise", "r.yaml"]
    for text, background, fails in [
        ("flux: 2", "blank.h5", True),
        ("background: {uniform: [1, 2]}", "blank.h5", True),
        ("clen: {uniform: [0, 0.001]}", "blank.h5", True),
        ("clen: {uniform: [0, 0.001]}", "mean.h5", True),
        ("signal: 2", "blank.h5", False),
        ("background: {uniform: [1, 2]}", "mean.h5", False),
    ]:
        Path("r.yaml").write_text(text)
        command = ["overlay", "--water", background, *empties, "--output", "o.h5"]
        if fails:
            refused(capsys, command, "measured")
        else:
            spotmill(*command)
            Path("o.h5").unlink()


# ---- in the workflow


def test_files_behind_measured_frames(tiny):
    for name in (
        "blanks/b.h5",
        "blanks/.hidden",
        "blanks/a.cbf",
        "one.tif",
        "far/x.h5",
        "far/y.h5",
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("some.lst").write_text("far/x.h5 //0\nfar/x.h5 //3\nfar/y.h5\n")
    path = solvent("frames: [blanks, one.tif, some.lst, one.tif]")
    shutil.copy(path, "again.yaml")  # what was read of a path is remembered
    expected = ("blanks/a.cbf", "blanks/b.h5", "one.tif", "some.lst", "far/x.h5", "far/y.h5")
    plan = read_plan({"datasets": "config/datasets.tsv", **CONFIG, "solvent": "again.yaml"})
    assert plan.measured_files("A") == expected
    Path("absent.yaml").write_text("shape: measured\nframes: [nowhere]\n")
    with pytest.raises(SpotmillError, match=r"absent.yaml: frames: nowhere: no such file"):
        read_plan({"datasets": "config/datasets.tsv", **CONFIG, "solvent": "absent.yaml"})


CONFIG = {
    "detector": "config/detectors/tiny.geom",
    "response": "config/detectors/tiny.yaml",
    "beam": "config/beams/weak.yaml",
}


def test_the_workflow_takes_measured_frames_for_data(tmp_path):
    """A new solvent file is all it needs; a frame that changes remakes the background."""
    copy_tiny(tmp_path)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for name in ("workflow", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "blanks").mkdir()
    for name in "ab":
        save(tmp_path / f"blanks/{name}.h5", blanks())
    solvent("frames: [blanks]", tmp_path)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def snakemake(*options):
        command = ["snakemake", "--profile", "profiles/local", *options]
        command.append("results/images/water/A.h5")
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "blanks/a.h5, blanks/b.h5" in snakemake("-n")
    snakemake()
    with Shard(tmp_path / "results/images/water/A.h5") as shard:
        assert len(shard.header.parameters["measured"]["frames"]) == 12
    assert "Nothing to be done" in snakemake("-n")
    save(tmp_path / "blanks/b.h5", blanks(seed=2))
    assert "rule water" in snakemake("-n")
