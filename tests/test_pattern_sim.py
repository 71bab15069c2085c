"""`pattern-sim` against frames that CrystFEL 0.10.2's program made, and as a command."""

import io

import h5py
import numpy as np
import pytest

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.formats import pattern_sim_inputs as inputs
from spotmill.formats.geom import read_geometry
from spotmill.formats.point_groups import as_array, point_group_operations
from spotmill.physics import lattice, pattern_sim
from spotmill.physics import pattern_sim_spectra as spectra

GEOM = """\
clen = 0.05
photon_energy = 7000
bandwidth = 0.01
adu_per_photon = {gain}
max_adu = {limit}
res = 5000
data = /entry/data/data
bad0/min_x = -3
bad0/max_x = 3
bad0/min_y = -3
bad0/max_y = 3
0/min_fs = 0
0/max_fs = 79
0/min_ss = 0
0/max_ss = 59
0/corner_x = -40
0/corner_y = -30
0/fs = +1.0x +0.0y
0/ss = +0.0x +1.0y
"""
CELL = """\
CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c

a = 67.288 A
b = 67.288 A
c = 106.582 A

al = 90.0 deg
be = 90.0 deg
ga = 90.0 deg
"""
QUATERNION = "-0.64106727 0.25995797 0.69769639 0.1862105"


# The program's frames -----------------------------------------------------------------


SETTINGS = {"s": (150e-9, 1e12, 1e-6), "m": (1e-6, 3e8, 5e-6), "p": (10e-6, 3e8, 5e-6)}


@pytest.fixture(scope="module")
def transform(shared):
    listed = inputs.read_intensities(shared / "reference/pattern_sim/1ic6_solvent.hkl.gz")
    group = as_array(point_group_operations(listed.symmetry))
    return lattice.intensity_transform(listed.hkl, listed.intensity, group)


@pytest.mark.parametrize(
    "name",
    [
        "s00_6000eV_15cm",
        "s04_7000eV_25cm",
        "m04_7000eV_25cm",
        "p00_6000eV_15cm",
        "p08_8000eV_35cm",
    ],
)
def test_numbers_of_the_program(shared, transform, name):
    folder = shared / "reference/pattern_sim"
    frame = np.load(folder / f"{name}.npz")
    panel = read_geometry(folder / f"Eiger4M_{name[4:]}.geom").detector().panels[0]
    size, nphotons, radius = SETTINGS[name[0]]
    cell = np.diag([67.288, 67.288, 106.582])
    axes = pattern_sim.turn_axes(cell, frame["quaternion_wxyz"], name)
    np.testing.assert_allclose(
        np.linalg.inv(axes).T * 1e10, frame["reciprocal_axes_m1"], rtol=1e-6, atol=10
    )
    energy = float(name[4:8])
    centre = pattern_sim.wavenumber(energy)
    k, weights = spectra.interior_points(spectra.tophat(centre, 0.01), 7)

    def photons(pixels):
        return pattern_sim.expected_photons(
            panel,
            pixels % 2069,
            pixels // 2069,
            axes,
            lattice.whole_cells(axes, size),
            transform,
            k,
            weights,
            nphotons / (np.pi * radius**2),
        )

    rng = np.random.default_rng(1)
    stored, value = frame["index"].astype(np.int64), frame["value"]
    chosen = np.union1d(np.argsort(value)[-5000:], rng.choice(stored.size, 10000))
    computed, expected = photons(stored[chosen]), value[chosen]
    bright = expected > 1e-3
    assert bright.sum() > 300
    np.testing.assert_allclose(computed[bright], expected[bright], rtol=1e-5)
    np.testing.assert_allclose(computed, expected, rtol=1e-4)
    others = np.setdiff1d(rng.integers(0, 2163 * 2069, 10000), stored)
    assert photons(others).max() <= frame["threshold"] * (1 + 1e-5)


def test_wavelengths_of_the_program():
    """Its log for 7 keV, 1 %, seven samples; and three samples of a Gaussian."""
    k, weights = spectra.interior_points(spectra.tophat(pattern_sim.wavenumber(7000), 0.01), 7)
    assert 1 / k[0] == pytest.approx(1.777869, abs=1e-6)
    assert 1 / k[-1] == pytest.approx(1.764585, abs=1e-6)
    np.testing.assert_allclose(weights, 1 / 7)
    _, weights = spectra.interior_points(spectra.gaussian(0.5, 0.001), 3)
    np.testing.assert_allclose(weights, [0.040, 0.919, 0.040], atol=6e-4)


@pytest.mark.parametrize(
    ("cells", "kept"), [(148, 0.9993), (938, 0.977), (1486, 0.952), (3000, 0.88)]
)
def test_table_loses_what_the_program_loses(cells, kept):
    table = pattern_sim.amplitude_table(cells, "full")
    following = np.roll(table, -1)
    # The square of a straight line, integrated; the exact integral over a period is N.
    integral = (table**2 + table * following + following**2).sum() / 3 / table.size
    assert integral / cells == pytest.approx(kept, abs=6e-3 if cells == 3000 else 6e-4)


def test_phased_multiplies_phases_by_intensities(shared):
    """At lattice points all gradients agree; half-way the program adds I exp(i phase)."""
    hkl = np.array([[0, 0, 0], [1, 0, 0]])
    intensity, phase = np.array([4.0, 9.0]), np.array([0.3, 2.0])
    parts = intensity * np.array([np.cos(phase), np.sin(phase)])
    table = lattice.expand(hkl, parts, np.eye(3, dtype=int)[None])

    def value(h):
        return pattern_sim._molecular(table.parts, table.half, True, h, 0.0, 0.0)

    assert value(0.0) == pytest.approx(4) and value(1.0) == pytest.approx(9)
    assert value(0.25) == pytest.approx(abs(3 * np.exp(0.3j) + 9 / 4 * np.exp(2j)), rel=1e-6)


# Spectra of our own -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spectrum", "mean", "deviation"),
    [
        (spectra.tophat(0.5, 0.02), 0.5, 0.01 / np.sqrt(12)),
        (spectra.gaussian(0.5, 0.01), 0.5, 0.005),
        (spectra.two_colour(0.5, 0.001, 0.02), 0.5, np.hypot(0.01, 0.0005)),
        (
            spectra.tabulated(np.array([0.5, 0.4, 0.6]), np.array([1.0, 0, 0])),
            0.5,
            0.1 / np.sqrt(6),
        ),
    ],
)
def test_equal_shares_keep_mean_and_width(spectrum, mean, deviation):
    k, weights = spectra.equal_shares(spectrum, 2000)
    assert weights.sum() == pytest.approx(1)
    assert k @ weights == pytest.approx(mean, abs=1e-3 * deviation)
    assert np.sqrt(weights @ (k - mean) ** 2) == pytest.approx(deviation, rel=3e-3)


def test_sase_has_spikes_within_the_band():
    spectrum = spectra.sase(0.5, 0.01, 1e-5, np.random.default_rng(1))
    k = np.linspace(spectrum.low, spectrum.high, 20001)
    density = spectrum.density(k)
    peaks = (density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])
    assert 8 <= peaks.sum() <= 15
    assert np.trapezoid(density, k) == pytest.approx(1, abs=1e-4)
    assert k[0] > 0.4974 and k[-1] < 0.5026


def test_a_spike_width_taken_for_a_fraction_is_refused():
    with pytest.raises(SpotmillError, match="sase-spike-width"):
        spectra.sase(0.5, 0.01, 2e6 * 0.5, np.random.default_rng(1))


# The command --------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a function that runs the command in a folder with its inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "det.geom").write_text(GEOM.format(gain=1, limit=1e6))
    (tmp_path / "cell.cell").write_text(CELL)
    rows = [
        f"{h} {k} {l} {1000 * (h + k + l)} 45.0 0.0 1"
        for h in range(9)
        for k in range(h + 1)
        for l in range(9)  # noqa: E741
    ]
    (tmp_path / "list.hkl").write_text(
        "CrystFEL reflection list version 2.0\nSymmetry: 4/mmm\n h k l I phase sigma(I) nmeas\n"
        + "\n".join(rows)
        + "\nEnd of reflections\n"
    )

    def run(*options, stdin=QUATERNION + "\n", files=("-i", "list.hkl")):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        words = ["pattern-sim", "-g", "det.geom", "-p", "cell.cell", *files, *map(str, options)]
        return main(words)

    return run


def image(path):
    with h5py.File(path) as file:
        return file["entry/data/data"][:]


def test_files_are_those_of_the_program(job, tmp_path):
    assert job("--no-noise", "--min-size=100", "--max-size=100") == 0
    with h5py.File(tmp_path / "sim.h5") as file:
        assert file["entry/data/data"].dtype == np.float32
        assert file["entry/data/data"].shape == (60, 80)
        assert file["wavelength"][:] == pytest.approx([1.77120e-10], rel=1e-5)
        assert file["photon_energy_eV"][:].tolist() == [7000.0]
        assert file["spectrum/wavelengths_A"].shape == file["spectrum/pdf"].shape == (1024,)
        assert file["spectrum/pdf"][0] == 0
        k = 1e10 / file["spectrum/wavelengths_A"][:]
        assert np.trapezoid(file["spectrum/pdf"][:], k) == pytest.approx(1, abs=1e-3)
        assert file["pattern_sim/quaternion"].dtype == np.float32
        np.testing.assert_allclose(
            file["pattern_sim/quaternion"], [float(w) for w in QUATERNION.split()]
        )
        astar = file["pattern_sim/astar"][:]
        # As the program wrote it for this orientation (frame 4 of the reference).
        np.testing.assert_allclose(astar, [-6.3769475e6, 8.939044e7, -1.18554104e8], rtol=1e-6)
        assert file["pattern_sim"].attrs["cells"].tolist() == [14, 14, 9]
        assert file["pattern_sim"].attrs["seed"] == 0
    assert image("sim.h5").sum() > 0


def test_names_and_powder(job, tmp_path):
    assert job("-r", "-n", 3, "-o", "run", "--powder=sum.h5") == 0
    assert sorted(p.name for p in tmp_path.glob("*.h5")) == [
        "run-1.h5",
        "run-2.h5",
        "run-3.h5",
        "sum.h5",
    ]
    np.testing.assert_array_equal(image("sum.h5"), sum(image(f"run-{i}.h5") for i in (1, 2, 3)))
    assert job("-r", "-n", 3, "--no-images", "--powder=again.h5", "-o", "no") == 0
    np.testing.assert_array_equal(image("sum.h5"), image("again.h5"))
    assert not list(tmp_path.glob("no*"))


def test_seeds_make_frames(job):
    sizes = ("--min-size=60", "--max-size=120")
    assert job("-r", "-n", 2, "-o", "a", "--seed=3", *sizes) == 0
    assert job("-r", "-n", 3, "-o", "b", "--seed=3", *sizes) == 0
    assert job("-r", "-n", 2, "-o", "c", "--seed=4", *sizes) == 0
    assert job("-r", "-o", "d.h5", "--really-random") == 0
    np.testing.assert_array_equal(image("a-2.h5"), image("b-2.h5"))
    assert (image("a-2.h5") != image("c-2.h5")).any()
    with h5py.File("a-1.h5") as one, h5py.File("a-2.h5") as two, h5py.File("d.h5") as drawn:
        assert (one["pattern_sim/quaternion"][:] != two["pattern_sim/quaternion"][:]).any()
        seed = int(drawn["pattern_sim"].attrs["seed"])
    assert seed > 0
    assert job("-r", "-o", "e.h5", "--seed", seed) == 0
    np.testing.assert_array_equal(image("d.h5"), image("e.h5"))


def test_engines_differ_where_they_must(job):
    for name, extra in {"ours": ["--polarisation=none"], "theirs": ["--as-pattern-sim"]}.items():
        assert job("--no-noise", "-s", 9, "-o", f"{name}.h5", *extra) == 0
    ours, theirs = image("ours.h5").astype(float), image("theirs.h5").astype(float)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.02)
    assert not np.allclose(ours, theirs, rtol=1e-3)


def test_noise_background_gain_and_saturation(job, tmp_path):
    assert job("--no-noise", "--background=3", "-o", "b.h5") == 0
    assert job("--no-noise", "-o", "n.h5") == 0
    live = image("b.h5") > 0
    assert live.sum() == 60 * 80 - 25
    np.testing.assert_allclose(image("b.h5")[live], image("n.h5")[live] + 3, rtol=1e-6)
    assert job("--background=3", "--nphotons=1", "-o", "p.h5") == 0
    drawn = image("p.h5")[live]
    assert abs(drawn.mean() - 3) < 4 * np.sqrt(3 / drawn.size)
    assert drawn.var() == pytest.approx(3, rel=0.1)
    # The program draws its background in spite of --no-noise, in bad pixels too.
    assert (
        job("--no-noise", "--background=3", "--nphotons=1", "--as-pattern-sim", "-o", "q.h5") == 0
    )
    assert image("q.h5").var() == pytest.approx(3, rel=0.1)
    (tmp_path / "det.geom").write_text(GEOM.format(gain=10, limit=45))
    assert job("--no-noise", "--background=3", "-o", "g.h5") == 0
    np.testing.assert_allclose(
        image("g.h5")[live], np.minimum(10 * image("b.h5")[live], 45), rtol=1e-6
    )


def test_energy_bandwidth_and_beam_file(job, tmp_path):
    (tmp_path / "x.beam").write_text(
        "; old\nbeam/fluence = 2e12\nbeam/radius = 2e-6\nbeam/photon_energy = 8000\n"
        "beam/bandwidth = 0.002\nbeam/divergence = 0.001\nprofile_radius = 0.001e9\n"
    )
    assert job("--beam=x.beam", "--beam-bandwidth=0.004", "-o", "x.h5") == 0
    assert job("--photon-energy=9000", "-o", "y.h5") == 0
    with h5py.File("x.h5") as file:
        attributes = dict(file["pattern_sim"].attrs)
    expected = {"photon_energy": 8000, "bandwidth": 0.004, "nphotons": 2e12, "beam_radius": 2e-6}
    assert {key: attributes[key] for key in expected} == expected
    with h5py.File("y.h5") as file:
        assert file["photon_energy_eV"][0] == 9000


def test_template_takes_first_crystals_of_chunks(job, tmp_path):
    axes = "astar = +0.1 +0.02 0.0 nm^-1\nbstar = -0.02 +0.1 +0.0 nm^-1\ncstar = 0 0 +0.09 nm^-1\n"
    chunk = f"----- Begin chunk -----\n--- Begin crystal\n{axes}--- End crystal\n"
    second = chunk.replace("0.09", "0.05")
    (tmp_path / "t.stream").write_text(chunk + second[len("----- Begin chunk -----\n") :] + second)
    assert job("--template=t.stream", "-n", 2, "-o", "t") == 0
    with h5py.File("t-1.h5") as one, h5py.File("t-2.h5") as two:
        np.testing.assert_allclose(one["pattern_sim/astar"], [1e8, 2e7, 0])
        assert one["pattern_sim/cstar"][2] == pytest.approx(9e7)
        assert two["pattern_sim/cstar"][2] == pytest.approx(5e7)
    assert job("--template=t.stream", "-n", 3, "-o", "u") == 1


@pytest.mark.parametrize("kind", ["gaussian", "sase", "twocolour", "fromfile"])
@pytest.mark.parametrize("mode", [[], ["--as-pattern-sim", "--sase-spike-width=1e-4"]])
def test_every_spectrum_runs(job, tmp_path, kind, mode):
    (tmp_path / "s.txt").write_text("# energy/keV current/A\n6.9 0\n7.0 2.5\n7.1 0\n")
    extra = ["--spectrum-file=s.txt"] if kind == "fromfile" else []
    assert job("-x", kind, "-s", 11, "--no-noise", *extra, *mode) == 0
    assert np.isfinite(image("sim.h5")).all() and image("sim.h5").sum() > 0


@pytest.mark.parametrize("mode", [["--space-group=P 4/m m m"], ["--as-pattern-sim"]])
@pytest.mark.parametrize("gradients", ["mosaic", "interpolate", "phased"])
@pytest.mark.parametrize("fringes", [[], ["--no-fringes"], ["--flat"]])
def test_every_gradient_runs(job, gradients, fringes, mode):
    assert job("-t", gradients, "--no-noise", *fringes, *mode) == 0
    assert np.isfinite(image("sim.h5")).all() and image("sim.h5").sum() > 0


def test_cell_from_a_pdb_record(job, tmp_path):
    (tmp_path / "cell.cell").write_text(
        "CRYST1   67.288   67.288  106.582  90.00  90.00  90.00 P 43 21 2     8\nEND\n"
    )
    assert job("--no-noise") == 0
    with h5py.File("sim.h5") as file:
        assert np.linalg.norm(file["pattern_sim/cstar"][:]) == pytest.approx(1e10 / 106.582)


def test_without_a_list_every_intensity_is_100(job):
    assert job("--no-noise", files=()) == 0
    assert job("--no-noise", "-o", "t.h5", "-t", "interpolate", files=()) == 0
    np.testing.assert_allclose(image("sim.h5"), image("t.h5"), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-n", "0"], "--number"),
        (["--min-size=100"], "--max-size"),
        (["--min-size=200", "--max-size=100"], "--min-size"),
        (["--min-size=1", "--max-size=1"], "size"),
        (["--background=-1"], "--background"),
        (["-x", "fromfile"], "--spectrum-file"),
        (["-o", "sim.png"], "sim.png"),
        (["-s", "0"], "--sample-spectrum"),
        (["--nphotons=-5"], "nphotons"),
        (["--photon-energy=7"], "photon_energy"),
        (["-y", "5/m"], "5/m"),
        (["-y", "m-3m"], "list.hkl"),
        (["-t", "phased"], "--space-group"),
        (["-x", "sase", "--as-pattern-sim"], "--sase-spike-width"),
        (["-n", "2"], "standard input"),
        (["-p", "nowhere.cell"], "nowhere.cell"),
    ],
)
def test_bad_options_end_in_one_line(job, tmp_path, capsys, options, says):
    before = set(tmp_path.iterdir())
    assert job("-r", "-n", "1", *options) == 1 if "-n" not in options else job(*options) == 1
    message = capsys.readouterr().err.strip()
    assert says in message and "\n" not in message
    written = {p.name for p in set(tmp_path.iterdir()) - before}
    assert written <= {"sim-1.h5"}


@pytest.mark.parametrize("line", ["1 0 0", "2 0 0 0", "a b c d", "nan 0 0 0", ""])
@pytest.mark.parametrize("mode", [[], ["--as-pattern-sim"]])
def test_bad_quaternions_are_refused(job, tmp_path, line, mode):
    assert job(*mode, stdin=line + "\n") == 1
    assert not (tmp_path / "sim.h5").exists()


def test_gpu_is_accepted_in_words(job, capsys):
    assert job("--gpu", "--gpu-dev=0") == 0
    assert "no effect" in capsys.readouterr().err
