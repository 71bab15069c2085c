"""Water against references, closed forms, and sums and integrals done another way."""

import math
import random

import numpy as np
import pytest
from scipy.integrate import quad
from water_data import PIXEL, SHEET, detector_of

from spotmill.concepts import Solvent
from spotmill.errors import SpotmillError
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.water import expected_water
from spotmill.physics.water_shapes import lit_length, sheet_transmission, transmission
from spotmill.physics.water_tables import (
    absorption_coefficient,
    compressibility,
    forward_limit,
    incoherent_scattering,
    look_up,
    mass_density,
    number_density,
    water_table,
)

SETS = {
    f"{row * 3 + column + 1:02d}": (clen, energy)
    for row, clen in enumerate((0.15, 0.25, 0.35))
    for column, energy in enumerate((6000.0, 7000.0, 8000.0))
}
R_E = 2.8179403262e-15


def flat(clen, shape, centre, step=1):
    """Pixel centres (not corners) at whole multiples of the pixel from `centre` (fs, ss)."""
    corner = [(-centre[0] - 0.5 * step) * PIXEL, (-centre[1] - 0.5 * step) * PIXEL, clen]
    fs, ss = [step * PIXEL, 0, 0], [0, step * PIXEL, 0]
    return detector_of(Panel("flat", 0, shape[1] - 1, 0, shape[0] - 1, corner, fs, ss))


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "reference" / "water"
    profile = np.load(folder / "water_q_profile.npz")
    table = (profile["q_invA"], profile["F2_T298.0K"])
    return table, np.load(folder / "water_reference_9.npz")


def reference_image(clen, energy, table=None):
    detector = flat(clen, (2163, 2069), (1034, 1080))
    return expected_water(detector, energy, 3e8, 5e-6, 1.0, SHEET, table=table)


@pytest.mark.parametrize("name", SETS)
def test_equals_the_reference_images(reference, name):
    table, images = reference
    image = reference_image(*SETS[name], table).astype(np.float64)
    close = {"rtol": 5e-3}
    ss, fs = np.ogrid[:2163, :2069]
    ring = np.rint(np.hypot(fs - 1034, ss - 1080)).astype(int).ravel()
    count = np.bincount(ring)
    np.testing.assert_array_equal(count, images[f"{name}_radial_n"])
    radial = np.bincount(ring, image.ravel()) / count
    np.testing.assert_allclose(radial, images[f"{name}_radial_mean"], **close)
    np.testing.assert_allclose(image[1080], images[f"{name}_row1080"], **close)
    np.testing.assert_allclose(image[:, 1034], images[f"{name}_col1034"], **close)
    corners = [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]
    np.testing.assert_allclose(corners, images[f"{name}_corners"], **close)
    np.testing.assert_allclose(image[::16, ::16], images[f"{name}_decimated16"], **close)
    assert image.sum() == pytest.approx(float(images[f"{name}_total"]), rel=5e-3)
    # Most of it is the density, theirs being that of 20 degrees; the table was resampled.
    density = number_density(25.0) / 3.33679e28
    np.testing.assert_allclose(image[1080], images[f"{name}_row1080"] * density, rtol=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_own_table_moves_totals_as_foretold(reference, name):
    total = reference_image(*SETS[name]).sum(dtype=float)
    change = 100 * (total / float(reference[1][f"{name}_total"]) - 1)
    assert -2.05 < change < 0.35


def test_shipped_table_is_the_published_one(shared):
    published = np.loadtxt(shared / "physics" / "water_table_25C.csv", delimiter=",", skiprows=3)
    q, f2 = water_table(25.0)
    np.testing.assert_array_equal(np.stack([q, f2], axis=1), published)


def scalar_photons(panel, fs, ss, energy, polarisation, f2, compton):
    """One pixel, from the angles on, without vectors."""
    x, y, z = (
        panel.corner[i] + (fs + 0.5) * panel.fs[i] + (ss + 0.5) * panel.ss[i] for i in range(3)
    )
    distance = math.sqrt(x * x + y * y + z * z)
    two_theta = math.acos(z / distance)
    q = 4 * math.pi * math.sin(two_theta / 2) / (12398.419843320026 / energy)
    ax = panel.fs[1] * panel.ss[2] - panel.fs[2] * panel.ss[1]
    ay = panel.fs[2] * panel.ss[0] - panel.fs[0] * panel.ss[2]
    az = panel.fs[0] * panel.ss[1] - panel.fs[1] * panel.ss[0]
    area = math.sqrt(ax * ax + ay * ay + az * az)
    lean = abs(ax * x + ay * y + az * z) / (area * distance)
    azimuth = math.atan2(y, x)
    sine2 = math.sin(two_theta) ** 2
    along_x = 1 - sine2 * math.cos(azimuth) ** 2
    along_y = 1 - sine2 * math.sin(azimuth) ** 2
    factor = polarisation * along_x + (1 - polarisation) * along_y
    row = next(i for i in range(len(f2[0])) if f2[0][i + 1] >= q)
    share = (q - f2[0][row]) / (f2[0][row + 1] - f2[0][row])
    electrons = f2[1][row] * (1 - share) + f2[1][row + 1] * share
    if compton:
        electrons += float(incoherent_scattering(q))
    molecules = 997.0449 / 18.01528e-3 * 6.02214076e23 * 1e-4
    return 3e8 * molecules * R_E**2 * electrons * factor * area * lean / distance**2


@pytest.mark.parametrize("compton", [False, True])
def test_equals_scalar_evaluation_on_tilted_panels(compton):
    panels = (
        Panel("a", 0, 99, 0, 79, [-0.01, -0.02, 0.1], [2e-4, 0, 3e-5], [1e-5, 2e-4, -1e-4]),
        Panel("b", 0, 99, 80, 359, [0.05, 0.02, 0.02], [0, 1e-4, 1e-4], [-2e-5, -1e-4, 1e-4]),
    )
    detector = detector_of(*panels)
    solvent = Solvent(thickness=1e-4, compton=compton)
    image = expected_water(detector, 7000.0, 3e8, 5e-6, 0.8, solvent)
    table = [list(map(float, column)) for column in water_table(25.0)]
    draw = random.Random(1)
    for panel in panels:
        for _ in range(50):
            fs, ss = draw.randrange(panel.n_fs), draw.randrange(panel.n_ss)
            expected = scalar_photons(panel, fs, ss, 7000.0, 0.8, table, compton)
            assert image[panel.min_ss + ss, fs] == pytest.approx(expected, rel=1e-6)


def cube(half=0.1, n=120):
    """Six panels that see the whole sphere, one above the other in the array."""
    panels = []
    axes = np.eye(3)
    step = 2 * half / n
    for number in range(6):
        sign = 1 if number % 2 else -1
        out, a, b = (axes[(number // 2 + k) % 3] for k in range(3))
        corner = sign * half * out - half * a - half * b
        first = number * n
        panels.append(
            Panel(str(number), 0, n - 1, first, first + n - 1, corner, step * a, step * b)
        )
    return detector_of(*panels)


@pytest.mark.parametrize(
    ("energy", "published"), [(6000.0, 3.9e-3), (7000.0, 3.3e-3), (8000.0, 2.8e-3)]
)
def test_elastic_probability_over_the_sphere(energy, published):
    image = expected_water(cube(), energy, 1.0, 5e-6, 0.5, SHEET)
    probability = image.sum(dtype=float)
    assert probability == pytest.approx(published, abs=0.05e-3)
    wavelength = 12398.419843320026 / energy
    table = water_table(25.0)

    angle = np.linspace(0, math.pi, 20_001)
    f2 = np.interp(4 * math.pi * np.sin(angle / 2) / wavelength, *table)
    ring = f2 * (1 + np.cos(angle) ** 2) / 2 * 2 * math.pi * np.sin(angle)
    section = R_E**2 * np.trapezoid(ring, angle)
    assert probability == pytest.approx(section * number_density(25.0) * 1e-4, rel=1e-3)


def test_polarisation():
    detector = flat(0.1, (201, 201), (100, 100))
    images = {
        f: expected_water(detector, 7000.0, 1e9, 5e-6, f, SHEET) for f in (None, 1.0, 0.5, 0.0)
    }
    np.testing.assert_allclose(images[1.0], images[0.0].T, rtol=1e-6)
    np.testing.assert_allclose((images[1.0] + images[0.0]) / 2, images[0.5], rtol=1e-6)
    # The field along x leaves the vertical through the beam as it is.
    np.testing.assert_allclose(images[1.0][:, 100], images[None][:, 100], rtol=1e-6)
    sine2 = (100 * PIXEL) ** 2 / ((100 * PIXEL) ** 2 + 0.01)
    assert images[1.0][100, 0] / images[None][100, 0] == pytest.approx(1 - sine2, rel=1e-6)


def test_photons_are_proportional_to_flux_and_thickness():
    detector = flat(0.1, (21, 21), (10, 10))
    once = expected_water(detector, 7000.0, 1e9, 5e-6, 1.0, SHEET)
    for image in (
        expected_water(detector, 7000.0, 2e9, 5e-6, 1.0, SHEET),
        expected_water(detector, 7000.0, 1e9, 9e-6, 1.0, Solvent(thickness=2e-4)),
        expected_water(detector, 7000.0, 1e9, 5e-6, 1.0, Solvent(thickness=1e-4, tilt=60.0)),
    ):
        np.testing.assert_allclose(image, 2 * once, rtol=1e-6)


def test_masked_and_absent_pixels_are_zero():
    panel = Panel("p", 2, 9, 3, 9, [-3e-4, -3e-4, 0.1], [PIXEL, 0, 0], [0, PIXEL, 0])
    mask = np.ones((10, 10), dtype=bool)
    mask[5, 4:7] = False
    image = expected_water(detector_of(panel, mask=mask), 7000.0, 1e9, 5e-6, None, SHEET)
    live = np.zeros((10, 10), dtype=bool)
    live[3:, 2:] = True
    np.testing.assert_array_equal(image > 0, live & mask)
    assert image.dtype == np.float32


@pytest.mark.parametrize("ratio", [1e-4, 0.3, 0.99, 1.0, 2.5])
def test_lit_volumes_against_integration(ratio):
    radius, beam = 2e-5, 2e-5 * ratio
    lit = min(radius, beam)
    area = math.pi * beam**2

    def jet(psi):
        u = lit * math.sin(psi)
        chord = 2 * math.sqrt(max(radius**2 - u**2, 0))
        return chord * 2 * math.sqrt(max(beam**2 - u**2, 0)) * lit * math.cos(psi)

    def droplet(psi):
        rho = lit * math.sin(psi)
        chord = 2 * math.sqrt(max(radius**2 - rho**2, 0))
        return chord * 2 * math.pi * rho * lit * math.cos(psi)

    half = math.pi / 2
    volume = quad(jet, -half, half, epsabs=0, epsrel=1e-10)[0]
    assert lit_length(Solvent(shape="jet", radius=radius), beam) == pytest.approx(volume / area)
    volume = quad(droplet, 0, half, epsabs=0, epsrel=1e-10)[0]
    drop = Solvent(shape="droplet", radius=radius)
    assert lit_length(drop, beam) == pytest.approx(volume / area, rel=1e-9)


def test_narrow_beam_sees_the_diameter():
    for shape in ("jet", "droplet"):
        solvent = Solvent(shape=shape, radius=3e-5)
        assert lit_length(solvent, 1e-8) == pytest.approx(6e-5, rel=1e-6)
    # A beam wider than a droplet lights all of it.
    whole = 4 / 3 * math.pi * 3e-5**3 / (math.pi * 1e-4**2)
    assert lit_length(Solvent(shape="droplet", radius=3e-5), 1e-4) == pytest.approx(whole)


@pytest.mark.parametrize("tilt", [0.0, 40.0])
@pytest.mark.parametrize("two_theta", [0.0, 27.0, 80.0, 120.0, 180.0])
def test_sheet_absorption_against_integration(tilt, two_theta):
    attenuation, thickness = 2456.0, 1e-4
    out = math.radians(two_theta)
    normal = math.radians(tilt)
    exit_cosine = math.cos(out - normal)

    def through(depth):
        rest = thickness - depth if exit_cosine > 0 else depth
        way = depth / math.cos(normal) + rest / abs(exit_cosine)
        return math.exp(-attenuation * way) / thickness

    mean = quad(through, 0, thickness)[0]
    direction = np.array([[math.sin(out), 0.0, math.cos(out)]])
    value = sheet_transmission(direction, attenuation * thickness, normal)[0]
    assert value == pytest.approx(mean, rel=1e-9)


def test_sheet_absorption_published_values():
    for energy, forward in ((6000.0, 0.782), (7000.0, 0.857), (8000.0, 0.902)):
        depth = absorption_coefficient(energy, 25.0) * 1e-4
        assert sheet_transmission(np.array([[0, 0, 1.0]]), depth, 0.0)[0] == pytest.approx(
            forward, abs=5e-4
        )
    angle = math.radians(27)
    depth = absorption_coefficient(6000.0, 25.0) * 1e-4
    aside = sheet_transmission(np.array([[math.sin(angle), 0, math.cos(angle)]]), depth, 0.0)
    assert aside[0] == pytest.approx(0.771, abs=1e-3)


@pytest.mark.parametrize("shape", ["jet", "droplet"])
@pytest.mark.parametrize("beam", [5e-6, 8e-5])
def test_round_absorption_against_random_points(shape, beam):
    """Marches out from random points of the lit water; no chord formula is used."""
    radius, attenuation = 5e-5, 6000.0
    solvent = Solvent(shape=shape, radius=radius)
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (60_000, 3)) * [min(beam, radius), beam, radius]
    across = np.array([1.0, 0.0 if shape == "jet" else 1.0, 1.0])
    inside = (points**2 * across).sum(axis=1) < radius**2
    inside &= (points[:, :2] ** 2).sum(axis=1) < beam**2
    points = points[inside][:20_000]
    way_in = points[:, 2] + np.sqrt(radius**2 - (points[:, :2] ** 2 * across[:2]).sum(axis=1))
    for direction in ([0, 0, 1], [0.5, 0.4, 0.8], [-0.5, -0.4, 0.8], [0.9, 0.1, -0.4]):
        unit = np.array(direction) / np.linalg.norm(direction)
        low, high = np.zeros(len(points)), np.full(len(points), 4 * radius)
        for _ in range(30):
            middle = (low + high) / 2
            there = ((points + middle[:, np.newaxis] * unit) ** 2 * across).sum(axis=1)
            low, high = (
                np.where(there < radius**2, middle, low),
                np.where(there < radius**2, high, middle),
            )
        drawn = np.exp(-attenuation * (way_in + low))
        value = transmission(solvent, beam, attenuation)(unit[np.newaxis])[0]
        sigma = drawn.std() / math.sqrt(len(drawn))
        assert value == pytest.approx(drawn.mean(), abs=3.5 * sigma + 2e-4 * value)


def test_absorption_and_compton_in_the_image():
    detector = flat(0.1, (41, 41), (400, 400), step=20)
    plain = expected_water(detector, 6000.0, 1e9, 5e-6, 1.0, SHEET)
    absorbed = expected_water(
        detector, 6000.0, 1e9, 5e-6, 1.0, Solvent(thickness=1e-4, absorption=True)
    )
    assert absorbed[20, 20] / plain[20, 20] == pytest.approx(0.782, abs=5e-4)
    both = expected_water(detector, 6000.0, 1e9, 5e-6, 1.0, Solvent(thickness=1e-4, compton=True))
    assert both[20, 20] == pytest.approx(plain[20, 20], rel=1e-4)
    assert 1.05 < both[0, 0] / plain[0, 0] < 1.15
    # Thin water of any form transmits nearly all.
    thin = {"radius": 1e-9, "absorption": True}
    for shape in ("jet", "droplet"):
        clear = Solvent(shape=shape, radius=1e-9)
        np.testing.assert_allclose(
            expected_water(detector, 6000.0, 1e9, 5e-6, 1.0, Solvent(shape=shape, **thin)),
            expected_water(detector, 6000.0, 1e9, 5e-6, 1.0, clear),
            rtol=1e-4,
        )


@pytest.mark.parametrize("energy", [7.0, 7e-3, 7e6, float("nan"), -7000.0])
def test_photon_energy_in_a_wrong_unit(energy):
    with pytest.raises(SpotmillError, match="photon_energy"):
        expected_water(flat(0.1, (5, 5), (2, 2)), energy, 1e9, 5e-6, 1.0, SHEET)


def test_values_in_wrong_units():
    detector = flat(0.1, (5, 5), (2, 2))
    with pytest.raises(SpotmillError, match="beam_radius"):
        expected_water(detector, 7000.0, 1e9, 5.0, 1.0, SHEET)
    with pytest.raises(SpotmillError, match="nphotons"):
        expected_water(detector, 7000.0, float("inf"), 5e-6, 1.0, SHEET)
    with pytest.raises(SpotmillError, match="polarisation"):
        expected_water(detector, 7000.0, 1e9, 5e-6, 50.0, SHEET)
    for function in (mass_density, compressibility, number_density, water_table, forward_limit):
        with pytest.raises(SpotmillError, match="°C"):
            function(298.15)
    with pytest.raises(SpotmillError, match="attenuation table"):
        absorption_coefficient(500.0, 25.0)
    with pytest.raises(SpotmillError, match="eV"):
        absorption_coefficient(7.0, 25.0)
    for q in (-0.1, 13.0, float("nan")):
        with pytest.raises(SpotmillError, match="1/Å"):
            incoherent_scattering(q)


def test_q_outside_the_table():
    # 30 keV at a right angle: q is 21 1/Å.
    aside = detector_of(Panel("p", 0, 4, 0, 4, [0.1, 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]))
    with pytest.raises(SpotmillError, match=r"the table of water holds 0 to 10\.75"):
        expected_water(aside, 30000.0, 1e9, 5e-6, 1.0, SHEET)
    with pytest.raises(SpotmillError, match="holds"):
        look_up([1.0, 10.76], water_table(25.0))
    # A masked pixel is not asked for.
    dark = Detector(aside.panels, aside.shape, np.zeros((5, 5), dtype=bool), 0.1, None, 1.0)
    assert not expected_water(dark, 30000.0, 1e9, 5e-6, 1.0, SHEET).any()


def test_shipped_solvents(pytestconfig):
    folder = pytestconfig.rootpath / "config" / "solvents"
    solvents = {path.stem: Solvent.read(path) for path in folder.glob("*.yaml")}
    assert set(solvents) >= {"water_sheet", "water_jet", "water_droplet"}
    assert solvents["water_sheet"] == SHEET
