"""What differs from frame to frame: drawn by identity, told in the tables, obeyed by images."""

import numpy as np
import pandas as pd
import pytest
from conftest import simulate_words, water_words
from scipy import stats

from spotmill.cli import main
from spotmill.distributions import Distribution
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.physics.conditions import draw_conditions, moved
from spotmill.physics.geometry import beam_centre
from spotmill.physics.photons import stream
from spotmill.randomise import Randomise

ALL = """\
photon_energy: {normal: [0, 100]}
clen: {uniform: [-0.002, 0.002]}
beam_x: {normal: [0, 0.001]}
beam_y: {normal: [0, 0.001]}
tilt_x: {uniform: [-1, 1]}
tilt_y: {uniform: [-1, 1]}
flux: {uniform: [0.5, 1.5]}
signal: {lognormal: [1, 0.3]}
background: {choice: [0.5, 1, 2]}
dead_modules: {choice: [0, 1]}
"""


def frames(name="p00000"):
    return pd.read_parquet(f"truth/{name}.frames.parquet")


@pytest.mark.parametrize(
    ("law", "cdf"),
    [
        ({"uniform": (2.0, 5.0)}, stats.uniform(2, 3).cdf),
        ({"normal": (1.0, 0.5)}, stats.norm(1, 0.5).cdf),
        ({"lognormal": (3.0, 0.4)}, stats.lognorm(0.4, scale=3).cdf),
        ({"loguniform": (0.01, 5.0)}, stats.loguniform(0.01, 5.0).cdf),
    ],
)
def test_laws_are_what_they_say(law, cdf) -> None:
    drawn = Distribution(**law)
    values = [drawn.draw(stream(1, "law", i, "x")) for i in range(2000)]
    assert stats.kstest(values, cdf).pvalue > 1e-3
    low, high = drawn.bounds
    assert low <= min(values) and max(values) <= high


@pytest.mark.parametrize(
    "text",
    [
        "flux: {uniform: [2, 1]}",
        "flux: {normal: [1, -1]}",
        "flux: {normal: [1, 0.3]}",
        "flux: {lognormal: [0, 1]}",
        "flux: {loguniform: [0, 1]}",
        "flux: {loguniform: [2, 1]}",
        "flux: {uniform: [0, 1], normal: [0, 1]}",
        "flux: {}",
        "flux: {gamma: [1, 2]}",
        "flux: true",
        "flux: .nan",
        "flux: -1",
        "wobble: 1",
        "clen: {choice: []}",
    ],
)
def test_wrong_laws_are_refused_in_one_line(tmp_path, text) -> None:
    path = tmp_path / "randomise.yaml"
    path.write_text(text + "\n")
    with pytest.raises(SpotmillError, match=r"randomise\.yaml: \w+") as caught:
        Randomise.read(path)
    assert "\n" not in str(caught.value)


def test_conditions_depend_on_identity_and_on_no_other_condition() -> None:
    one = Randomise.model_validate({"flux": {"uniform": [0.5, 1.5]}})
    two = Randomise.model_validate({"flux": {"uniform": [0.5, 1.5]}, "clen": {"normal": [0, 0.01]}})
    first = draw_conditions(one, 7000, 0.15, 1, "A", 5)
    assert first == draw_conditions(one, 7000, 0.15, 1, "A", 5)
    assert first.flux == draw_conditions(two, 7000, 0.15, 1, "A", 5).flux
    assert first.flux != draw_conditions(one, 7000, 0.15, 1, "A", 6).flux
    assert (first.photon_energy, first.clen) == (7000, 0.15)


def test_the_detector_moves_as_told(tiny) -> None:
    detector = read_geometry("config/detectors/tiny.geom").detector(clen=0.05, photon_energy=6000.0)
    law = Randomise.model_validate({"beam_x": 0.004, "beam_y": -0.002, "clen": 0.01})
    there = moved(detector, draw_conditions(law, 6000, 0.05, 1, "A", 0))
    before, after = np.array(beam_centre(detector)), np.array(beam_centre(there))
    np.testing.assert_allclose(after - before, [0.004 / 5e-4, -0.002 / 5e-4], atol=1e-9)
    assert there.clen == pytest.approx(0.06)
    tilted = moved(
        detector, draw_conditions(Randomise.model_validate({"tilt_y": 30}), 6000, 0.05, 1, "A", 0)
    )
    # A turn about y carries +x towards -z.
    turned = [5e-4 * np.cos(np.pi / 6), 0, -5e-4 / 2]
    np.testing.assert_allclose(tilted.panels[0].fs, turned, atol=1e-12)


def test_randomised_frames_are_told_paired_and_independent_of_shards(tiny, spotmill) -> None:
    (tiny / "all.yaml").write_text(ALL)
    spotmill(*water_words())
    for name, first, count in (("p00000", 0, 8), ("late", 4, 4)):
        spotmill(*simulate_words(name, first, count, randomise="all.yaml"))
        spotmill(
            "overlay",
            "--water",
            "water.h5",
            "--peaks",
            f"peaks/{name}.h5",
            "--seed",
            7,
            "--randomise",
            "all.yaml",
            "--output",
            f"overlay/{name}.h5",
        )
    with Shard("overlay/p00000.h5") as whole, Shard("overlay/late.h5") as late:
        for position in range(4):
            np.testing.assert_array_equal(whole.read(position + 4), late.read(position))
        assert len(set(whole.column("photon_energy").tolist())) == 8
        assert set(whole.column("background")) <= {0.5, 1.0, 2.0}
        dead = whole.column("dead_panels").astype(bool)
        assert dead.any() and not dead.all(axis=1).any()
        for position, (left, right) in enumerate(dead):
            image = whole.read(position)
            assert (left, right) == (not image[:, :80].any(), not image[:, 86:].any())
    spotmill("labels", "--peaks", "peaks/p00000.h5", "--output", "labels/p00000.h5")
    spotmill(
        "manifest",
        "--overlay",
        "overlay/p00000.h5",
        "--peaks",
        "peaks/p00000.h5",
        "--labels",
        "labels/p00000.h5",
        "--truth",
        "truth/p00000.parquet",
        "--output",
        "A.parquet",
    )
    spotmill("check", "A.parquet")
    table = frames()
    named = [[side in names for side in ("left", "right")] for names in table["dead_panels"]]
    assert named == dead.tolist()
    assert table["photon_energy"].between(5400, 6600).all()
    spots = pd.read_parquet("truth/p00000.parquet")
    own = spots.merge(table[["index", "photon_energy"]], on="index", suffixes=("", "_frame"))
    assert ((own["photon_energy"] / own["photon_energy_frame"] - 1).abs() <= 0.00501).all()


def test_overlay_of_other_conditions_is_refused(tiny, spotmill, capsys) -> None:
    (tiny / "all.yaml").write_text(ALL)
    spotmill(*water_words())
    spotmill(*simulate_words("p00000", 0, 2, randomise="all.yaml"))
    words = ["overlay", "--water", "water.h5", "--peaks", "peaks/p00000.h5", "--seed", "7"]
    assert main([*words, "--output", "x.h5"]) == 1
    assert "another --randomise" in capsys.readouterr().err


def test_the_background_follows_its_factor_and_geometry(tiny, spotmill) -> None:
    (tiny / "thick.yaml").write_text("background: 3\n")
    (tiny / "far.yaml").write_text("clen: 0.02\n")
    spotmill(*water_words())
    spotmill(*water_words("far.h5", clen=0.07))
    base = ["overlay", "--water", "water.h5", "--first", 10_000_000, "--count", 60, "--seed", 7]
    totals = {}
    for name, extra in {
        "plain": [],
        "thick": ["--randomise", "thick.yaml"],
        "far": ["--randomise", "far.yaml"],
    }.items():
        spotmill(*base, *extra, "--output", f"overlay/{name}.h5")
        with Shard(f"overlay/{name}.h5") as shard:
            totals[name] = shard.column("background_photons").sum()
    with Shard("water.h5") as water, Shard("far.h5") as far:
        near_mean, far_mean = (s.read(0).sum(dtype=float) * 60 for s in (water, far))
    assert abs(totals["plain"] - near_mean) < 4 * near_mean**0.5
    assert abs(totals["thick"] - 3 * near_mean) < 4 * (3 * near_mean) ** 0.5
    assert abs(totals["far"] - far_mean) < 4 * far_mean**0.5


def test_number_size_and_mosaicity_of_crystals_follow_their_laws(tiny, spotmill) -> None:
    path = tiny / "config/crystals/proteinase_k.yaml"
    path.write_text(
        path.read_text().replace("size: 4.0e-6", "size: {lognormal: [4.0e-6, 0.2]}")
        + "per_frame: [0.2, 0.5, 0.3]\nmosaicity: {choice: [0, 0.02]}\n"
    )
    spotmill(*simulate_words("p00000", 0, 120))
    table = frames()
    counts = np.bincount(table["n_crystals"], minlength=3)
    assert stats.chisquare(counts, [24, 60, 36]).pvalue > 1e-3
    assert table["quaternion"].map(len).tolist() == (4 * table["n_crystals"]).tolist()
    sizes = np.concatenate(table["size"].tolist())
    assert stats.kstest(sizes, stats.lognorm(0.2, scale=4e-6).cdf).pvalue > 1e-3
    spots = pd.read_parquet("truth/p00000.parquet")
    two = table.loc[table["n_crystals"] == 2, "index"]
    assert set(spots.loc[spots["index"].isin(two), "crystal"]) == {0, 1}
    none = table[table["n_crystals"] == 0]
    assert not none["is_hit"].any() and not none["photons"].any()
    with Shard("peaks/p00000.h5") as peaks:
        assert peaks.column("quaternion").shape == (120, 8)


def test_a_second_crystal_changes_nothing_of_the_first(tiny, spotmill) -> None:
    spotmill(*simulate_words("one", 0, 3, no_noise=True))
    path = tiny / "config/crystals/proteinase_k.yaml"
    path.write_text(path.read_text() + "per_frame: [0, 0, 1]\n")
    spotmill(*simulate_words("two", 0, 3, no_noise=True))
    one, two = (pd.read_parquet(f"truth/{name}.parquet") for name in ("one", "two"))
    first = two[two["crystal"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, first)
    assert (two["crystal"] == 1).any()
