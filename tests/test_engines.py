"""The engines `lattice` and `crystfel` through `spotmill simulate`, and their agreement.

The stand-in for CrystFEL's program proves the plumbing only: its images are our own.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, simulate_words, water_words
from scipy.integrate import quad
from scipy.special import ndtr

from spotmill.cli import main
from spotmill.formats.frames import Shard
from spotmill.physics import engines, spectrum
from spotmill.physics.diffraction import reflection_table
from spotmill.physics.geometry import Detector, Panel

SMALL = "name: small\nstructure: resources/1ic6.mtz\nsize: 60.0e-9\nd_min: 2.5\n"
STRONG = "nphotons: 1.0e+14\nbeam_radius: 1.0e-6\nbandwidth: 0.01\n"


@pytest.fixture
def small(tiny):
    """The tiny configuration with a nanocrystal in a strong beam."""
    (tiny / "small.yaml").write_text(SMALL)
    (tiny / "strong.yaml").write_text(STRONG)
    return tiny


def words(output, engine, first=0, count=2, **changes):
    given = {"crystal": "small.yaml", "beam": "strong.yaml", "engine": engine} | changes
    return simulate_words(output, first, count, **given)


def images(output):
    with Shard(f"peaks/{output}.h5") as shard:
        return np.array([shard.read(i) for i in range(len(shard))])


def truth(output):
    return pd.read_parquet(f"truth/{output}.parquet")


def one_line(capsys, folder, output="bad"):
    """Return the message of a command that failed; nothing is left of what it began."""
    message = capsys.readouterr().err.strip()
    assert message and "\n" not in message
    for sub in ("peaks", "truth"):
        assert not list((folder / sub).glob(f"*{output}*")), sub
    return message


# Point spread ---------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.2, 0.4, 1.3])
def test_pixel_spread_is_the_integral_over_the_pixel(sigma):
    shares = engines.pixel_spread(sigma)
    half = len(shares) // 2
    for j, share in enumerate(shares, start=-half):
        exact, _ = quad(
            lambda u, j=j: ndtr((j + 1 - u) / sigma) - ndtr((j - u) / sigma), 0, 1, epsabs=1e-10
        )
        assert share == pytest.approx(exact, abs=1e-8)
    assert shares.sum() == pytest.approx(1, abs=2e-6)


def test_photons_spread_within_their_panel_and_over_no_gap():
    panels = tuple(
        Panel(name, first, first + 9, 0, 19, np.array([x, 0, 0.1]), [1e-4, 0, 0], [0, 1e-4, 0])
        for name, first, x in (("left", 0, -1e-3), ("right", 10, 0.0))
    )
    detector = Detector(panels, (20, 20), np.ones((20, 20), bool), 0.1, None, 1.0)
    image = np.zeros((20, 20), np.float32)
    image[10, 4], image[5, 10] = 100, 50
    spread = engines.spread_image(image, detector, [(5e-5, 0.75), (2e-4, 0.25)])
    assert spread[:, :10].sum() == pytest.approx(100, rel=0.01)
    assert spread[:, 10:].sum() < 40  # what goes over the edge is lost
    assert spread[10, 4] == spread[10, :10].max() and spread[10, 3] == spread[10, 5] > 1
    np.testing.assert_array_equal(engines.spread_image(image, detector, [(0.0, 1.0)]), image)


# Wavelengths ------------------------------------------------------------------------------


def test_a_sample_between_two_lines_is_refused():
    lines = spectrum.two_colour(7000, 0.001, 100)
    wavenumbers, weights = engines.wavelength_samples(lines, 4)
    assert (lines.density(wavenumbers) > 0).all() and weights.sum() == pytest.approx(1)
    with pytest.raises(engines.SpotmillError, match=r"n_wavelengths: .* even number"):
        engines.wavelength_samples(lines, 5)


def test_gap_counts_the_lit_part_alone():
    band = spectrum.tophat(7000, 0.01)
    assert engines.sampled_gap(band, 5) == pytest.approx((band.high - band.low) / 5, rel=1e-4)
    one, two = spectrum.gaussian(7000, 0.001), spectrum.two_colour(7000, 0.001, 100)
    assert engines.sampled_gap(two, 4) == pytest.approx(engines.sampled_gap(one, 2), rel=0.01)


# lattice ----------------------------------------------------------------------------------


def test_lattice_truth_adds_up_to_the_image(small, spotmill):
    spotmill(*words("noisy", "lattice"))
    spotmill(*words("exact", "lattice", no_noise=True))
    frames = pd.read_parquet("truth/noisy.frames.parquet")
    spots, exact = truth("noisy"), truth("exact")
    for row in (0, 1):
        own, expected = spots[spots["index"] == row], exact[exact["index"] == row]
        assert images("noisy")[row].sum() == own["photons"].sum() == frames["photons"][row] > 1000
        assert not own.duplicated(["h", "k", "l"]).any()
        assert ((own["expected_photons"] >= engines.LEAST) | (own["photons"] >= 1)).all()
        sums = [images("exact")[row].sum(), expected["photons"].sum()]
        live = (expected["expected_photons"] * expected["live_fraction"]).sum()
        assert sums == pytest.approx([live, live], rel=1e-4)
        total = own["photons"].sum()
        assert abs(total - live) < 5 * np.sqrt(live)
    spotmill(*words("again", "lattice", first=1, count=1))
    np.testing.assert_array_equal(images("again")[0], images("noisy")[1])


def test_lattice_spots_are_those_of_the_closed_form(small, spotmill):
    """Well inside a wide band a spot of either engine has one place and one intensity."""
    (small / "small.yaml").write_text(SMALL.replace("60.0e-9", "80.0e-9"))
    (small / "strong.yaml").write_text(STRONG.replace("0.01", "0.03"))
    (small / "sharp.yaml").write_text("point_spread: 0\n")
    for engine in ("integrated", "lattice"):
        extra = {"n_wavelengths": 21} if engine == "lattice" else {}
        spotmill(*words(engine, engine, no_noise=True, response="sharp.yaml", **extra))
    key = ["index", "h", "k", "l"]
    both = truth("integrated").merge(truth("lattice"), on=key, suffixes=("", "_lattice"))
    inside = both["photon_energy"].between(5970, 6030) & (both["d"] < 5)
    bright = both[inside].nlargest(40, "photons")
    assert len(bright) == 40
    for axis in ("fs", "ss"):
        difference = bright[axis] - bright[f"{axis}_lattice"]
        assert abs(difference).median() < 0.3 and abs(difference).max() < 1
    np.testing.assert_allclose(bright["photon_energy"], bright["photon_energy_lattice"])
    # The closed form has 80 nm cubed, the lattice sum 11 x 11 x 7 whole cells.
    whole = 11 * 11 * 7 * 67.288**2 * 106.582 / 800**3
    ratio = bright["photons_lattice"] / bright["photons"] / whole
    # Fringes under stronger spots count for those; the central maximum holds 0.903 an axis.
    assert 0.903**3 < ratio.median() < 1
    assert ratio.between(0.6, 1.05).mean() > 0.9


def test_shards_of_the_lattice_engine_pass_the_check(small, spotmill):
    spotmill(*words("p00000", "lattice"))
    spotmill(*water_words(beam="strong.yaml"))
    overlay, peaks, labels = (f"{name}/p00000.h5" for name in ("overlay", "peaks", "labels"))
    spotmill("overlay", "--water", "water.h5", "--peaks", peaks, "--seed", 7, "--output", overlay)
    spotmill("labels", "--peaks", peaks, "--output", labels)
    spotmill(
        *("manifest", "--overlay", overlay, "--peaks", peaks, "--labels", labels),
        *("--truth", "truth/p00000.parquet", "--output", "A.parquet"),
    )
    spotmill("check", "A.parquet")


def test_crystals_of_a_frame_add_up(small, spotmill):
    (small / "two.yaml").write_text(SMALL + "per_frame: [0, 0, 1]\n")
    spotmill(*words("one", "lattice", count=1, no_noise=True))
    spotmill(*words("two", "lattice", count=1, no_noise=True, crystal="two.yaml"))
    spots = truth("two")
    assert set(spots["crystal"]) == {0, 1}
    first = spots[spots["crystal"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, truth("one"))
    second = spots[spots["crystal"] == 1]["photons"].sum()
    assert images("two").sum() == pytest.approx(images("one").sum() + second, rel=1e-4)


@pytest.mark.parametrize("engine", ["lattice", "crystfel"])
@pytest.mark.parametrize(
    ("crystal", "beam", "extra", "says"),
    [
        ("mosaicity: 0.1\n", "", {}, "mosaicity"),
        ("", "divergence: 1.0e-3\n", {}, "divergence"),
        ("shape: sphere\n", "", {}, "shape"),
        ("", "", {"n_wavelengths": 0}, "--n-wavelengths"),
    ],
)
def test_what_a_lattice_sum_does_not_hold_is_refused(
    small, capsys, engine, crystal, beam, extra, says
):
    (small / "small.yaml").write_text(SMALL + crystal)
    (small / "strong.yaml").write_text(STRONG + beam)
    assert main(words("bad", engine, **extra)) == 1
    assert says in one_line(capsys, small)


def test_a_crystal_too_large_for_the_samples_is_refused(small, capsys):
    (small / "small.yaml").write_text(SMALL.replace("60.0e-9", "4.0e-6"))
    assert main(words("bad", "lattice")) == 1
    assert "raise n_wavelengths, or use engine integrated" in one_line(capsys, small)


# Agreement --------------------------------------------------------------------------------


def test_engines_agree_on_the_mean_over_orientations():
    place = importlib.util.spec_from_file_location(
        "engines_benchmark", ROOT / "benchmarks/engines.py"
    )
    benchmark = importlib.util.module_from_spec(place)
    place.loader.exec_module(benchmark)
    axes = np.diag([1 / 30, 1 / 40, 1 / 50])
    grid = np.arange(-16, 17)
    hkl = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[len(hkl) // 2 + 1 :]
    s = np.linalg.norm(hkl @ axes, axis=1)
    hkl, s = hkl[s < 0.32], s[s < 0.32]
    # Spots of like strength make a steady mean.
    table = reflection_table(hkl, 1e4 * s**2, axes)
    ratio, error = benchmark.compare(table, 24e-9, count=1024, cheap=8192)
    assert error < 0.012
    assert abs(ratio - 1) < min(3 * error, 0.02)


# crystfel: plumbing only --------------------------------------------------------------------

STAND_IN = """#!{python}
import sys
if sys.argv[1:] == ["--version"]:
    print("CrystFEL: {version}\\nLicence: none")
    raise SystemExit
{body}
"""

OBEDIENT = """
from spotmill.cli import main
raise SystemExit(main(["pattern-sim", "--polarisation=none", *sys.argv[1:]]))
"""


@pytest.fixture
def stand_in(small, monkeypatch):
    """Return a function that writes a program and returns its path."""
    monkeypatch.setenv("TMPDIR", str(small / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (small / "tmp").mkdir()

    def write(body=OBEDIENT, version="0.10.2"):
        path = small / "pattern_sim"
        path.write_text(STAND_IN.format(python=sys.executable, version=version, body=body))
        path.chmod(0o755)
        return path

    yield write
    assert not list((small / "tmp").iterdir())


def test_images_of_the_program_become_shards(stand_in, small, spotmill):
    """The stand-in is our own lattice sum, so that its shard is that of `lattice`."""
    program = stand_in()
    (small / "tilted.yaml").write_text("clen: 1.0e-3\ntilt_x: 1.5\nbeam_x: 2.0e-3\nflux: 2\n")
    for engine in ("lattice", "crystfel", "integrated"):
        extra = {"pattern_sim": program} if engine == "crystfel" else {}
        spotmill(*words(engine, engine, no_noise=True, randomise="tilted.yaml", **extra))
    ours, theirs = images("lattice"), images("crystfel")
    assert ours.max() > 10
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4 * ours.max())
    key = ["index", "h", "k", "l"]
    closed = truth("integrated")
    both = closed.merge(truth("crystfel"), on=key, suffixes=("", "_theirs"))
    assert len(both) == len(closed[closed["expected_photons"] >= engines.LEAST])
    for name in ("fs", "ss", "expected_photons", "live_fraction", "photon_energy"):
        np.testing.assert_allclose(both[name], both[f"{name}_theirs"], err_msg=name)
    with Shard("peaks/crystfel.h5") as shard:
        parameters = shard.header.parameters
    assert (parameters["engine"], parameters["crystfel_version"]) == ("crystfel", "0.10.2")
    assert str(program) not in str(parameters)


@pytest.mark.parametrize("beam", ["spectrum: gaussian\n", "divergence: 0\n"])
def test_photons_of_the_program_are_all_in_the_truth(stand_in, small, spotmill, beam):
    (small / "strong.yaml").write_text(STRONG + beam)
    program = stand_in(version="0.9.1+dirty" if "gaussian" in beam else "0.10.1")
    spotmill(*words("p", "crystfel", count=1, pattern_sim=program))
    spotmill(*words("l", "lattice", count=1))
    assert images("p").sum() == truth("p")["photons"].sum() > 1000
    assert abs(int(images("p").sum()) - int(images("l").sum())) < 5 * np.sqrt(images("l").sum())


@pytest.mark.parametrize(
    ("body", "version", "extra", "says"),
    [
        ("", "0.11.0", {}, "CrystFEL 0.11.0, which no longer has it"),
        ("", "unknown", {}, "states no CrystFEL version"),
        ("print('no such symmetry', file=sys.stderr); raise SystemExit(3)", "0.10.2", {},
         "failed with status 3, saying: no such symmetry"),
        ("", "0.10.2", {}, "left no image"),
        ("open('sim.h5', 'w').write('x')", "0.10.2", {}, "left no image"),
        ("import h5py; h5py.File('sim.h5', 'w')['data/data'] = [[1.0, 2.0]]", "0.10.2", {},
         r"image of (1, 2) pixels"),
        ("import h5py; h5py.File('sim.h5', 'w').create_dataset('data/data', (128, 166), "
         "fillvalue=float('nan'))", "0.10.2", {}, "not finite"),
        ("import subprocess; subprocess.run(['sleep', '60'])", "0.10.2",
         {"pattern_sim_timeout": 1}, "took more than 1 s"),
    ],
)  # fmt: skip
def test_a_failing_program_is_one_line(stand_in, small, capsys, body, version, extra, says):
    program = stand_in(body, version)
    assert main(words("bad", "crystfel", pattern_sim=program, **extra)) == 1
    message = one_line(capsys, small)
    assert says in message and "engine integrated" in message


@pytest.mark.parametrize("name", ["pattern_sim", "./nowhere/pattern_sim"])
def test_without_a_program_another_engine_is_named(small, capsys, monkeypatch, name):
    monkeypatch.setenv("PATH", str(small))
    assert main(words("bad", "crystfel", pattern_sim=name)) == 1
    message = one_line(capsys, small)
    assert "--pattern-sim" in message and "choose engine integrated or lattice" in message


def test_workflow_passes_the_engine_of_each_dataset(small):
    sheet = small / "config/datasets.tsv"
    head, *rows = sheet.read_text().splitlines()
    rows = [
        f"{row}\t{engine}" for row, engine in zip(rows, ["lattice", "crystfel", ""], strict=True)
    ]
    sheet.write_text("\n".join([f"{head}\tengine", *rows]) + "\n")
    with (small / "config/config.yaml").open("a") as config:
        config.write("n_wavelengths: 5\npattern_sim: ./my program\n")
    for name in ("Snakefile", "workflow", "envs", "profiles"):
        (small / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1"]
        + [f"results/images/peaks/{dataset}/p00000.h5" for dataset in "ABC"],
        cwd=small,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--engine lattice --n-wavelengths 5 ") == 1
    crystfel = "--engine crystfel --n-wavelengths 5 --pattern-sim './my program' "
    assert done.stdout.count(crystfel) == 1
    assert done.stdout.count("--engine integrated ") == 1
