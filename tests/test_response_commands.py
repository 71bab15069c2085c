"""Response files, and what the commands make of them."""

import numpy as np
import pandas as pd
import pytest
from conftest import simulate_words, water_words

from spotmill.cli import main
from spotmill.concepts import Response
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.physics.artefacts import flawed_pixels, live_mask
from spotmill.physics.response import (
    detection_map,
)

# --- configuration --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("point_spread: -1.0e-5", "point_spread: "),
        ("gain: 2", "gain: unknown key"),
        ("charge_sharing: 0.2", "belong together"),
        ("charge_sharing: 1.2\ncharge_sharing_spread: 1.0e-4", "charge_sharing: "),
        ("charge_sharing: 0.1\ncharge_sharing_spread: 1.0e-5", "must exceed point_spread"),
        ("sensor: silicon", "belong together"),
        ("sensor: germanium\nsensor_thickness: 4.5e-4", "sensor: .*silicon"),
        ("sensor: silicon\nsensor_thickness: 450", "sensor_thickness: .*less than"),
        ("dead_pixels: 1.1", "dead_pixels: "),
        ("dead_pixels: .nan", "dead_pixels: "),
        ("hot_pixels: 0.1", "belong together"),
        ("noisy_rate: 0.1", "belong together"),
        ("hot_pixels: 0.1\nhot_rate: -1", "hot_rate: "),
        ("dead_pixels: 0.6\nhot_pixels: 0.6\nhot_rate: 5", "must not exceed 1"),
        ("specimen: -1", "specimen: "),
        ("zingers: 2", "belong together"),
        ("zingers: 2\nzinger_photons: 0.5", "zinger_photons: "),
        ("zinger_length: 1.0e-3", "zinger_length without zingers"),
        ("beamstop: {}", "beamstop.radius: is required"),
        ("beamstop: {radius: 0}", "beamstop.radius: "),
        ("beamstop: {radius: 1.0e-3, transmission: -0.1}", "beamstop.transmission: "),
        ("beamstop: {radius: 1.0e-3, arm_width: -1.0e-3}", "beamstop.arm_width: "),
        ("beamstop: {radius: 1.0e-3, arm_angle: 500}", "beamstop.arm_angle: "),
        ("beamstop: {radius: 1.0e-3, shape: square}", "beamstop.shape: unknown key"),
    ],
)
def test_a_wrong_response_file_is_one_line_with_file_and_key(tmp_path, text, says):
    path = tmp_path / "response.yaml"
    path.write_text(text + "\n")
    with pytest.raises(SpotmillError, match=says) as caught:
        Response.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# --- commands -------------------------------------------------------------------------------

FLAWS = """\
point_spread: 2.0e-4
sensor: silicon
sensor_thickness: 4.5e-4
hot_pixels: 1.0e-3
hot_rate: 30
noisy_pixels: 5.0e-3
noisy_rate: 0.5
zingers: 2
zinger_photons: 25
zinger_length: 2.0e-3
"""
MASKED = FLAWS + "dead_pixels: 0.01\nbeamstop: {radius: 4.0e-3, arm_width: 1.0e-3, masked: true}\n"


def overlay(spotmill, output, *words):
    spotmill(
        *("overlay", "--water", "water.h5", "--seed", 7, *words),
        *("--output", f"overlay/{output}.h5"),
    )


def test_water_is_what_the_detector_counts(tiny, spotmill):
    (tiny / "real.yaml").write_text(MASKED)
    response = Response.read("real.yaml")
    spotmill(*water_words("ideal.h5"))
    spotmill(*water_words(response="real.yaml"))
    detector = read_geometry("config/detectors/tiny.geom").detector(clen=0.05, photon_energy=6000.0)
    live = live_mask(detector, response)
    with Shard("ideal.h5") as ideal, Shard("water.h5") as water:
        np.testing.assert_array_equal(water.mask, live)
        expected = ideal.read(0) * detection_map(detector, response, 6000.0) * live
        np.testing.assert_allclose(water.read(0), expected, rtol=1e-6)
        assert water.header.parameters["response"] == MASKED


def test_a_response_without_flaws_changes_no_frame(tiny, spotmill):
    (tiny / "real.yaml").write_text("point_spread: 1.0e-5\n")
    empties = ("--first", 10_000_000, "--count", 3)
    spotmill(*water_words())
    overlay(spotmill, "ideal", *empties)
    spotmill(*water_words(response="real.yaml"))
    overlay(spotmill, "same", *empties)
    with Shard("overlay/ideal.h5") as ideal, Shard("overlay/same.h5") as same:
        for position in range(3):
            np.testing.assert_array_equal(ideal.read(position), same.read(position))
        assert not ideal.column("artefacts").any() and not same.column("artefacts").any()


def test_artefacts_do_not_depend_on_shards_and_add_up(tiny, spotmill):
    (tiny / "real.yaml").write_text(MASKED)
    spotmill(*water_words(response="real.yaml"))
    overlay(spotmill, "whole", "--first", 10_000_000, "--count", 12)
    with Shard("overlay/whole.h5") as whole:
        frames = {i: whole.read(n) for n, i in enumerate(whole.indices.tolist())}
        sums = whole.column("background_photons") + whole.column("artefacts")
        assert sums.tolist() == [frame.sum(dtype=int) for frame in frames.values()]
        assert (whole.column("artefacts") > 300).all()  # about 21 hot pixels of 30 counts
        assert len(set(whole.column("artefacts").tolist())) > 6
        for frame in frames.values():
            assert not frame[~whole.mask].any()
        # The same pixels glow in every frame.
        bright = [np.flatnonzero(frame > 12).tolist() for frame in frames.values()]
        flaws = flawed_pixels(whole.mask.shape, Response.read("real.yaml"))
        hot = set(flaws.hot[whole.mask.ravel()[flaws.hot]].tolist())
        assert hot and all(hot <= set(pixels) for pixels in bright)
    for first in (10_000_006, 10_000_000):
        overlay(spotmill, "part", "--first", first, "--count", 6)
        with Shard("overlay/part.h5") as part:
            for position, index in enumerate(part.indices.tolist()):
                np.testing.assert_array_equal(part.read(position), frames[index])


def test_check_proves_water_bragg_and_artefacts(tiny, spotmill, capsys):
    (tiny / "real.yaml").write_text(MASKED)
    spotmill(*water_words(response="real.yaml"))
    spotmill(*simulate_words("p00000", response="real.yaml"))
    overlay(spotmill, "p00000", "--peaks", "peaks/p00000.h5")
    overlay(spotmill, "e00000", "--first", 10_000_000, "--count", 4)
    spotmill("labels", "--peaks", "peaks/p00000.h5", "--output", "labels/p00000.h5")
    words = ["manifest", "--overlay", "overlay/p00000.h5", "overlay/e00000.h5"]
    words += ["--peaks", "peaks/p00000.h5", "--labels", "labels/p00000.h5"]
    spotmill(*words, "--truth", "truth/p00000.parquet", "--output", "A.parquet")
    spotmill("check", "A.parquet")
    assert "16 frames whole and paired" in capsys.readouterr().out
    photons = pd.read_parquet("truth/p00000.frames.parquet")["photons"].to_numpy()
    with Shard("overlay/p00000.h5") as frames:
        stray = frames.column("artefacts")
        assert (stray > 0).all()
        totals = [frames.read(n).sum(dtype=int) for n in range(12)]
        assert totals == (frames.column("background_photons") + stray + photons).tolist()


def test_peaks_and_water_of_different_responses_are_never_paired(tiny, spotmill, capsys):
    (tiny / "real.yaml").write_text(FLAWS)
    spotmill(*water_words(response="real.yaml"))
    spotmill(*simulate_words("p00000", 0, 1))
    words = ["overlay", "--water", "water.h5", "--peaks", "peaks/p00000.h5", "--seed", "7"]
    assert main([*words, "--output", "overlay/x.h5"]) == 1
    assert "different responses" in capsys.readouterr().err
    assert not (tiny / "overlay").exists()


def test_a_comment_in_the_response_does_not_part_a_pair(tiny, spotmill):
    (tiny / "real.yaml").write_text(FLAWS)
    spotmill(*water_words(response="real.yaml"))
    (tiny / "real.yaml").write_text("# seen again\n" + FLAWS)
    spotmill(*simulate_words("p00000", 0, 1, response="real.yaml"))
    overlay(spotmill, "p00000", "--peaks", "peaks/p00000.h5")
