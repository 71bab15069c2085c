"""Solvent files, and the command that writes the expected water."""

import argparse
import json

import numpy as np
import pytest
import yaml
from water_data import PIXEL, SHEET, detector_of

from spotmill.concepts import Solvent
from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Panel
from spotmill.physics.water import expected_water


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"shape": "jet", "thickness": 1e-4}, "thickness does not belong"),
        ({"shape": "droplet", "radius": 1e-4, "tilt": 0.0}, "tilt does not belong"),
        ({"thickness": 1e-4, "radius": 1e-4}, "radius does not belong"),
        ({"shape": "jet"}, "radius is required"),
        ({}, "thickness is required"),
        ({"thickness": 100.0}, "thickness"),
        ({"thickness": 1e-4, "tilt": 90.0}, "tilt"),
        ({"thickness": 1e-4, "temperature": 298.15}, "temperature"),
        ({"thickness": 1e-4, "shape": "mist"}, "shape"),
        ({"thickness": 1e-4, "depth": 1.0}, "depth: unknown key"),
    ],
)
def test_solvents_that_are_none(tmp_path, values, word):
    path = tmp_path / "solvent.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(SpotmillError, match=word) as error:
        Solvent.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


GEOMETRY = """\
clen = 0.15
photon_energy = 7000
adu_per_photon = 1
res = 13333.333333333334
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p0/min_fs = 0
p0/max_fs = 39
p0/min_ss = 0
p0/max_ss = 29
p0/fs = +1.0x
p0/ss = +1.0y
p0/corner_x = -20
p0/corner_y = -15
"""


@pytest.fixture
def options(tmp_path):
    (tmp_path / "d.geom").write_text(GEOMETRY)
    (tmp_path / "b.yaml").write_text("{nphotons: 3.0e8, beam_radius: 5.0e-6, bandwidth: 0.01}")
    (tmp_path / "s.yaml").write_text("thickness: 1.0e-4")
    return {
        "detector": tmp_path / "d.geom",
        "beam": tmp_path / "b.yaml",
        "solvent": tmp_path / "s.yaml",
        "photon_energy": 7000.0,
        "clen": 0.25,
        "dataset": "05",
        "output": tmp_path / "out" / "water.h5",
    }


def run_command(options):
    from spotmill.commands import water

    parser = argparse.ArgumentParser()
    water.add_arguments(parser)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    water.run(parser.parse_args(words))


def test_command(options):
    from spotmill.formats.frames import Shard

    run_command(options)
    with Shard(options["output"]) as shard:
        image = shard.read(0)
        assert shard.shape == (1, 30, 40)
        assert shard.dtype == np.float32
        assert list(shard.indices) == [0]
        assert (shard.header.content, shard.header.kind) == ("water", "empty")
        assert (shard.header.photon_energy, shard.header.clen) == (7000.0, 0.25)
        assert shard.header.seed == 0
        assert shard.header.parameters["solvent"] == "thickness: 1.0e-4"
        assert shard.header.parameters["detector"] == GEOMETRY
        assert shard.column("total")[0] == pytest.approx(image.sum(dtype=float))
        json.dumps(dict(shard.header.parameters))
    panel = Panel(
        "p0", 0, 39, 0, 29, [-20 * PIXEL, -15 * PIXEL, 0.25], [PIXEL, 0, 0], [0, PIXEL, 0]
    )
    expected = expected_water(detector_of(panel), 7000.0, 3e8, 5e-6, 1.0, SHEET)
    np.testing.assert_allclose(image, expected, rtol=1e-6)
    # The forward value of the nine sets' table, for this table's 6.208 in place of 6.502.
    assert image[15, 20] == pytest.approx(0.00465 * 6.208 / 6.502, rel=3e-3)


def test_command_is_deterministic(options):
    run_command(options)
    first = options["output"].read_bytes()
    run_command(options)
    assert options["output"].read_bytes() == first


@pytest.mark.parametrize(
    ("key", "value"),
    [("photon_energy", 7.0), ("clen", 0.0), ("dataset", "../05"), ("beam", "absent.yaml")],
)
def test_command_refuses_bad_input(options, key, value):
    with pytest.raises(SpotmillError):
        run_command(options | {key: value})
    assert not options["output"].parent.exists()
