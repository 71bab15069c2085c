"""A length in mm, a width in per cent or a photon energy in keV is refused, with the right one."""

from pathlib import Path
from typing import Any

import pytest
from conftest import copy_tiny

from spotmill.concepts import Beam
from spotmill.config import read_datasets
from spotmill.errors import SpotmillError
from spotmill.inference.stated import Given
from spotmill.model import read_yaml
from spotmill.physics.spectrum import gaussian, tophat
from spotmill.plan import read_plan

HEAD = "dataset\tphoton_energy\tclen\tn_patterns\n"


@pytest.mark.parametrize(
    ("given", "right", "says"),
    [
        ({"clen": 80.0}, {"clen": 0.08}, "80 mm is 0.08"),
        ({"clen": 20.1}, {"clen": 19.9}, "not millimetres"),
        ({"pixel_size": 75.0}, {"pixel_size": 75e-6}, "75 µm is 75e-6"),
        ({"pixel_size": 1e-3}, {"pixel_size": 9e-4}, "--pixel-size: .*metres"),
        ({"photon_energy": 8.0}, {"photon_energy": 8000.0}, "8 keV is 8000"),
    ],
)
def test_by_hand(given: dict[str, Any], right: dict[str, Any], says: str) -> None:
    with pytest.raises(SpotmillError, match=says):
        Given(**given)
    Given(**right)


def test_in_the_sheet(tmp_path: Path) -> None:
    path = tmp_path / "datasets.tsv"
    for clen, right in (("80", False), ("0.08", True), ("20", True), ("20.5", False)):
        path.write_text(f"{HEAD}A\t7000\t{clen}\t24\n")
        if right:
            assert read_datasets(path)["A"].clen == float(clen)
        else:
            with pytest.raises(SpotmillError, match=r"line 2: clen: .*150 mm is 0\.15"):
                read_datasets(path)


@pytest.mark.parametrize("spectrum", ["tophat", "gaussian"])
def test_bandwidths_are_fractions(spectrum: str) -> None:
    values = {"nphotons": 1e9, "beam_radius": 5e-6, "spectrum": spectrum}
    with pytest.raises(SpotmillError, match=r"beam\.yaml: bandwidth: .*0\.5 % is 0\.005"):
        Beam.parse(values | {"bandwidth": 0.5}, "beam.yaml")
    assert Beam.parse(values | {"bandwidth": 0.2}, "beam.yaml").bandwidth == 0.2
    with pytest.raises(SpotmillError, match="bandwidth"):
        {"tophat": tophat, "gaussian": gaussian}[spectrum](7000.0, 0.6)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        ("clen: {uniform: [-15, 20]}", r"clen: a shift of -15 m .*20 mm is 0\.02"),
        ("clen: {choice: [0, 30]}", "clen: a shift of 30 m "),
        ("clen: -0.2", r"clen: a shift of -0\.2 m takes dataset A from 0\.05 "),
        ("photon_energy: {uniform: [-7000, 0]}", "photon_energy: a shift of -7000 eV"),
        ("clen: {uniform: [-0.02, 0.02]}", None),
        ("photon_energy: {normal: [0, 100]}", None),
    ],
)
def test_shifts_stay_in_range(
    law: str, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_tiny(tmp_path)
    # What is read is kept by its path.
    name = f"config/{abs(hash(law))}.yaml"
    (folder / name).write_text(f"{law}\n")
    monkeypatch.chdir(folder)
    values = read_yaml("config/config.yaml") | {"randomise": name}
    if says is None:
        assert read_plan(values).config.randomise == name
        return
    with pytest.raises(SpotmillError, match=f"{name}: {says}"):
        read_plan(values)
