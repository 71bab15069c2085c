"""Our shards and their geometry in others' hands: CrystFEL's rules, nxmx, DIALS."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import nxmx
import pytest
from conftest import copy_tiny, simulate_words, water_words
from crystfel_reader import read_frame, read_geom, read_list
from test_crystfel import hand_over

from spotmill.cli import main
from spotmill.concepts import Beam
from spotmill.formats.geom import dataset_geometry, parse_geometry, read_geometry, write_geometry
from spotmill.formats.geom_values import format_vector, parse_vector
from spotmill.formats.nxmx import describe_detector
from spotmill.formats.tables import SPOTS as SPOTS_SCHEMA
from spotmill.formats.tables import read_table
from spotmill.inference.stated import Given
from spotmill.overlays.opener import open_overlay
from spotmill.physics import spectrum
from spotmill.physics.geometry import positions
from spotmill.physics.peak_scoring import assign
from spotmill.physics.units import ELEMENTARY_CHARGE, LIGHT_SPEED, PLANCK

# What DIALS found, by its own Python: frame, fs, ss.
SPOTS = """
import json
from dials.array_family import flex
found = flex.reflection_table.from_file("strong.refl")
fs, ss, _ = found["xyzobs.px.value"].parts()
print(json.dumps([list(map(float, row)) for row in zip(found["id"], fs, ss)]))
"""
RANDOMISE = "photon_energy: {uniform: [-60, 60]}\nclen: {uniform: [-0.001, 0.001]}\n"
DETECTOR = "config/detectors/tiny.geom"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a stored and a virtual overlay, and the geometry beside them."""
    folder = copy_tiny(tmp_path_factory.mktemp("shards"))
    (folder / "config/randomise.yaml").write_text(RANDOMISE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        randomise = {"randomise": "config/randomise.yaml"}
        assert main(simulate_words("p00000", **randomise)) == 0
        assert main(water_words()) == 0
        drawn = ["overlay", "--water", "water.h5", "--peaks", "peaks/p00000.h5", "--seed", "7"]
        drawn += ["--randomise", "config/randomise.yaml"]
        assert main([*drawn, "--output", "stored.h5"]) == 0
        assert main([*drawn, "--output", "virtual.h5", "--virtual"]) == 0
        words = ["--detector", DETECTOR, "--beam", "config/beams/weak.yaml", "--dataset", "A"]
        words += ["--photon-energy", "6000", "--clen", "0.05"]
        assert main(["geometry", *words, "--output", "A.geom"]) == 0
        words += ["--randomise", "config/randomise.yaml"]
        assert main(["geometry", *words, "--output", "own.geom"]) == 0
    return folder


def test_crystfel_reads_each_frames_own_energy_and_length(made: Path) -> None:
    nominal, own = read_geom(made / "A.geom"), read_geom(made / "own.geom")
    assert (nominal.top["photon_energy"], nominal.top["clen"]) == ("6000", "0.05")
    assert own.top["photon_energy"] == "/entry/frames/photon_energy eV"
    with open_overlay(made / "stored.h5") as shard:
        energies, lengths = shard.column("photon_energy"), shard.column("clen")
        assert len(set(energies)) == len(energies) > 3
        for event in (0, 3):
            frame = read_frame(own, made / "stored.h5", f"//{event}")
            assert (frame.photon_energy, frame.clen) == (energies[event], lengths[event])
            image = shard.read(event)
            for name, first in (("left", 0), ("right", 86)):
                np.testing.assert_array_equal(frame.images[name], image[:, first : first + 80])
                live = shard.mask[:, first : first + 80]
                assert frame.bad[name].tolist() == (~live).tolist()


def test_a_virtual_shard_is_handed_over_by_copies(made: Path, tmp_path: Path) -> None:
    given = Given(geometry=read_geometry(made / "own.geom"))
    said = hand_over(tmp_path / "bare", [made / "virtual.h5"], given)
    assert "run again with --write-frames" in said["why"]
    said = hand_over(tmp_path / "out", [made / "virtual.h5"], given, copy=True)
    assert not said["why"]
    read = read_geom(tmp_path / "out/predicted.geom")
    listed = read_list(tmp_path / "out/hits.lst")
    with open_overlay(made / "virtual.h5") as shard:
        energies = np.delete(shard.column("photon_energy"), 1)
        assert len(listed) == len(energies)
        for number, (path, event) in enumerate(listed):
            frame = read_frame(read, path, event)
            assert frame.photon_energy == energies[number]
            image = shard.read(number + (number > 0))
            np.testing.assert_array_equal(frame.images["right"], image[:, 86:])


@pytest.mark.parametrize(
    ("what", "drawn"),
    [
        ({"spectrum": "tophat"}, lambda: spectrum.tophat(7000, 0.02)),
        ({"spectrum": "gaussian"}, lambda: spectrum.gaussian(7000, 0.02)),
        (
            {"spectrum": "twocolour", "separation": 100.0},
            lambda: spectrum.two_colour(7000, 0.02, 100.0),
        ),
    ],
    ids=["tophat", "gaussian", "twocolour"],
)
def test_the_bandwidth_is_the_spectrums_standard_deviation(what: Any, drawn: Any) -> None:
    beam = Beam(nphotons=1e9, beam_radius=1e-6, bandwidth=0.02, **what)
    known = drawn()
    k = np.linspace(known.low, known.high, 200_001)[:-1]
    weight = known.density(k)
    weight = weight / weight.sum()
    mean = (k * weight).sum()
    deviation = np.sqrt((weight * (k - mean) ** 2).sum()) / mean
    assert beam.spread(7000.0) == pytest.approx(deviation, rel=1e-3)


def test_the_bandwidth_of_spikes_is_that_of_many_pulses() -> None:
    width = {"bandwidth": 0.02, "spike_width": 0.002}
    beam = Beam(nphotons=1e9, beam_radius=1e-6, spectrum="sase", n_spikes=40, **width)
    rng, centres = np.random.default_rng(1), []
    for _ in range(300):
        pulse = spectrum.sase(7000.0, 0.02, 40, 0.002, rng)
        picked = rng.choice(pulse.centres, 40, p=pulse.weights)
        centres.append(picked + pulse.sigma * rng.normal(size=40))
    k = np.concatenate(centres)
    assert beam.spread(7000.0) == pytest.approx(k.std() / k.mean(), rel=0.05)


def test_directions_have_no_exponents(tmp_path: Path) -> None:
    tilted = (0.9999999, 5e-05, -1.25e-07)
    assert format_vector(tilted) == "+0.9999999x +0.00005y -0.000000125z"
    assert parse_vector(format_vector(tilted)) == tilted
    text = (Path(__file__).parent / "tiny" / DETECTOR).read_text()
    text = text.replace("left/fs = x", "left/fs = +1.0x -0.00001y +0.00002z")
    made = dataset_geometry(parse_geometry(text, "a"), 0.1, 7000, 0.003)
    write_geometry(tmp_path / "a.geom", made)
    read_geom(tmp_path / "a.geom")
    # The checker itself is not blind.
    wrong = (tmp_path / "a.geom").read_text().replace("-0.00001y", "-1e-05y")
    (tmp_path / "b.geom").write_text(wrong)
    with pytest.raises(AssertionError):
        read_geom(tmp_path / "b.geom")


def corners(detector: nxmx.NXdetector) -> dict[tuple[int, ...], np.ndarray]:
    """Return the corner of the first pixel of each module in m, by its place in the array."""
    found = {}
    for module in detector.modules:
        chain = nxmx.get_dependency_chain(module.fast_pixel_direction.depends_on)
        place = nxmx.get_cumulative_transformation(chain)[0, :3, 3] / 1000
        found[tuple(module.data_origin)] = place
    return found


def test_nxmx_finds_beam_and_pixels_where_we_have_them(made: Path) -> None:
    expected = read_geometry(made / DETECTOR).detector(0.05, 6000)
    for name in ("stored.h5", "peaks/p00000.h5", "water.h5"):
        with h5py.File(made / name) as file:
            (entry,) = nxmx.NXmx(file).entries
            assert entry.definition == "NXmx" and entry.samples[0].depends_on is None
            instrument = entry.instruments[0]
            wavelength = instrument.beams[0].incident_wavelength.to("m").magnitude
            ours = PLANCK * LIGHT_SPEED / (6000 * ELEMENTARY_CHARGE)
            assert wavelength == pytest.approx(ours, rel=1e-9)
            detector = instrument.detectors[0]
            assert detector.distance.to("m").magnitude == pytest.approx(0.05)
            assert detector.saturation_value == 65535
            assert (detector.beam_center_x.magnitude, detector.beam_center_y.magnitude) == (83, 64)
            (module,) = detector.modules
            assert module.data_size.tolist() == [128, 166]
            fast, slow = module.fast_pixel_direction, module.slow_pixel_direction
            (corner,) = corners(detector).values()
            for panel in expected.panels:
                for fs, ss in ((panel.min_fs, panel.min_ss), (panel.max_fs, panel.max_ss)):
                    place = corner + fs * fast[0].to("m").magnitude * fast.vector
                    place = place + ss * slow[0].to("m").magnitude * slow.vector
                    wanted = positions(panel, np.array(fs), np.array(ss))
                    assert place == pytest.approx(wanted, abs=1e-9)
            assert (detector.pixel_mask[()] != 0).sum() == (~expected.mask).sum()


def test_panels_that_are_no_one_array_are_modules(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "tiny" / DETECTOR).read_text()
    text = text.replace("right/corner_x = 3", "right/corner_x = 3.7").replace(
        "right/fs = x\nright/ss = y", "right/fs = 0.8x +0.6y\nright/ss = -0.6x +0.8y"
    )
    text += "right/coffset = 0.004\n"
    expected = parse_geometry(text, "a").detector(0.05, 6000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("entry/instrument/detector")
        group.attrs["NX_class"] = np.bytes_("NXdetector")
        describe_detector(file["entry"], {"peaks": {"detector": text}}, 0.05, 6000)
        found = corners(nxmx.NXdetector(group))
        for panel in expected.panels:
            assert found[panel.min_ss, panel.min_fs] == pytest.approx(panel.corner, abs=1e-9)
        module = nxmx.NXdetector(group).modules[1]
        assert module.slow_pixel_direction.vector == pytest.approx([-0.6, 0.8, 0])
        describe_detector(file.create_group("other"), {}, 0.05, 6000)
        assert not list(file["other"])


@pytest.mark.skipif(
    shutil.which("dials.import") is None, reason="DIALS is not installed here (dials.import)"
)
def test_dials_imports_our_frames_and_finds_their_spots(made: Path, tmp_path: Path) -> None:
    # DIALS has a Python of its own.
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    known = {**kept, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH, "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "num stills: 12" in run("dials.import", str(made / "stored.h5"))
    said = run("dials.show", "imported.expt")
    assert "wavelength: 2.0664" in said and "distance: 50" in said
    assert "pixel_size:{0.5,0.5}" in said and "px: (83.00,64.00)" in said
    run("dials.find_spots", "imported.expt", "nproc=1", "spotfinder.filter.min_spot_size=1")
    python = Path(str(shutil.which("dials.import"))).read_text().splitlines()[0].removeprefix("#!")
    found = np.array(json.loads(run(*python.split(), "-c", SPOTS)))
    truth = read_table(made / "truth/p00000.parquet", SPOTS_SCHEMA).to_pandas()
    strong = truth[truth["photons"] >= 10]
    offsets, of = [], 0
    for index in range(12):
        own = strong[strong["index"] == index][["fs", "ss"]].to_numpy()
        spots = found[found[:, 0] == index, 1:]
        partner, _ = assign(spots, own, 2.0)
        offsets.append(spots[partner >= 0] - own[partner[partner >= 0]])
        of += len(own)
    offsets = np.concatenate(offsets)
    assert of > 30 and len(offsets) > 0.4 * of
    # In DIALS, too, a pixel's centre is at a half.
    assert np.abs(offsets.mean(axis=0)).max() < 0.15


def test_the_parser_of_crystfels_makers_reads_the_same_panels(made: Path, tmp_path: Path) -> None:
    """Read both geometries with cfel_fmt, which follows CrystFEL's own parser (pip install it)."""
    geometry = pytest.importorskip("cfel_fmt.geometry", reason="cfel_fmt is not installed here")
    given = Given(geometry=read_geometry(made / "A.geom"))
    hand_over(tmp_path, [made / "stored.h5"], given)
    for path, data in ((made / "A.geom", "/entry/"), (tmp_path / "predicted.geom", "/entry_1/")):
        found = geometry.load_crystfel_geometry(str(path))
        assert found.beam["photon_energy"] == 6000
        ours = read_geometry(path)
        assert list(found.detector["panels"]) == [panel.name for panel in ours.panels]
        for panel in ours.panels:
            theirs = found.detector["panels"][panel.name]
            assert (theirs["cnx"], theirs["cny"]) == (panel.corner_x, panel.corner_y)
            assert (theirs["fsx"], theirs["fsy"], theirs["fsz"]) == panel.fs
            assert (theirs["ssx"], theirs["ssy"], theirs["ssz"]) == panel.ss
            assert theirs["orig_min_fs"] == panel.min_fs and theirs["orig_max_ss"] == panel.max_ss
            assert theirs["clen"] == 0.05 and theirs["res"] == 2000
            assert theirs["data"].startswith(data) and theirs["mask"].startswith(data)
            assert theirs["dim_structure"] == ["%", "ss", "fs"]
            assert theirs["adu_per_photon"] == 1
