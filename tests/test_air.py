"""Air along the beam against closed forms, other integrals and published cross-sections."""

import gemmi
import numpy as np
import pytest
from scipy.integrate import quad
from test_water import cube, detector_of, flat

from spotmill.concepts import Beam, Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.physics import air
from spotmill.physics.air import (
    air_density,
    elastic_scattering,
    expected_air,
    form_factor,
    inelastic_scattering,
)
from spotmill.physics.expected import expected_image
from spotmill.physics.geometry import Panel

R_E = 2.8179403262e-15  # m
HC = 12398.419843320026  # eV Å
# Molecules of air by their electrons and atoms: share, electrons, atoms.
AIR = ((0.7808, 14, (7, 7)), (0.2095, 16, (8, 8)), (0.0093, 18, (18,)))


def test_forward_limit_is_that_of_whole_molecules():
    expected = sum(share * electrons**2 for share, electrons, _ in AIR)
    # The coefficients give nitrogen 6.995 electrons.
    assert elastic_scattering(0.0) == pytest.approx(expected, rel=2e-3)
    # One small pixel close to the beam, and air over 1 mm about the crystal.
    detector = flat(0.5, (1, 1), (-1, 0))
    image = expected_air(detector, 7000.0, 1e15, None, 5e-4, 5e-4)
    solid_angle = 75e-6**2 / 0.5**2
    photons = 1e15 * 101325 / (1.380649e-23 * 293) * R_E**2 * expected * 1e-3 * solid_angle
    assert image[0, 0] == pytest.approx(photons, rel=3e-3)


def test_air_weighs_what_it_should():
    """1.2047 kg/m³ (ISO 2533 at 20 °C, corrected to 293 K) at 28.96 g/mol."""
    density = air_density() * 0.0289647 / 6.02214076e23
    assert density == pytest.approx(1.2041 * 293.15 / 293, rel=1e-3)


def test_large_angles_are_those_of_independent_atoms():
    q = np.linspace(15, 25, 60)
    atoms = np.zeros(len(q))
    for share, _, charges in AIR:
        for charge in charges:
            it92 = gemmi.Element(charge).it92
            stol2 = (q / (4 * np.pi)) ** 2
            atoms += share * np.array([it92.calculate_sf(s) for s in stol2]) ** 2
    np.testing.assert_allclose(elastic_scattering(q), atoms, rtol=0.07)
    # What is left oscillates about it.
    assert (elastic_scattering(q) / atoms).mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("bond", "charge", "share"), [(1.098, 7, 0.7808), (1.208, 8, 0.2095)])
def test_molecules_are_the_mean_over_their_orientations(monkeypatch, bond, charge, share):
    """One gas alone, against |f (1 + exp(iqbu))|² averaged over u, the cosine of its axis."""
    gas = next(gas for gas in air.GASES if gas.bond == bond)
    monkeypatch.setattr(air, "GASES", (gas,))
    u = np.linspace(-1, 1, 20_001)
    for q in (0.3, 2.0, 4.5):
        f = gemmi.Element(charge).it92.calculate_sf((q / (4 * np.pi)) ** 2)
        mean = np.trapezoid(abs(f * (1 + np.exp(1j * q * bond * u))) ** 2, u) / 2
        assert elastic_scattering(q) == pytest.approx(share * mean, rel=1e-6)


@pytest.mark.parametrize(
    ("charge", "barns"), [(7, 6.2475), (8, 9.1573), (18, 61.318)], ids=["N", "O", "Ar"]
)
def test_published_cross_sections_of_the_atoms(charge, barns):
    """Total elastic sections at 8 keV of EPDL97 (Cullen et al.), as tabulated in xraylib."""
    element = gemmi.Element(charge).name

    def ring(angle):
        f2 = form_factor(element, 4 * np.pi * np.sin(angle / 2) * 8000 / HC) ** 2
        return f2 * (1 + np.cos(angle) ** 2) * np.pi * np.sin(angle)

    section = R_E**2 * quad(ring, 0, np.pi)[0] * 1e28
    assert section == pytest.approx(barns, rel=1e-3)


@pytest.mark.parametrize("compton", [False, True])
@pytest.mark.parametrize("energy", [6000.0, 12000.0])
def test_all_directions_add_up_to_the_cross_section(energy, compton):
    image = expected_air(cube(), energy, 1e12, 0.5, 1e-6, 2e-6, compton=compton)

    def ring(angle):
        q = 4 * np.pi * np.sin(angle / 2) * energy / HC
        electrons = elastic_scattering(q) + (inelastic_scattering(q) if compton else 0)
        return electrons * (1 + np.cos(angle) ** 2) * np.pi * np.sin(angle)

    section = R_E**2 * quad(ring, 0, np.pi)[0]
    photons = 1e12 * air_density() * 3e-6 * section
    assert image.sum(dtype=float) == pytest.approx(photons, rel=1e-3)


def by_points(detector, energy, polarisation, upstream, downstream, pixel):
    """Photons in a pixel (ss, fs) of the only panel, summed over points of the path."""
    panel = detector.panels[0]
    place = panel.corner + (pixel[1] + 0.5) * panel.fs + (pixel[0] + 0.5) * panel.ss
    edges = np.linspace(-upstream, downstream, 40_001)
    z = (edges[1:] + edges[:-1]) / 2
    way = place - np.array([[0, 0, 1]]) * z[:, None]
    length = np.linalg.norm(way, axis=1)
    solid_angle = abs(way @ np.cross(panel.fs, panel.ss)) / length**3
    x, y = (way[:, :2] / length[:, None]).T
    light = polarisation * (1 - x**2) + (1 - polarisation) * (1 - y**2)
    q = 4 * np.pi * np.sin(np.arccos(way[:, 2] / length) / 2) * energy / HC
    each = elastic_scattering(q) * solid_angle * light
    return air_density() * R_E**2 * each.sum() * (upstream + downstream) / len(z)


@pytest.mark.parametrize("path", [(0.05, 0.0), (0.0, 0.09), (0.3, 0.099)])
@pytest.mark.parametrize("polarisation", [1.0, 0.3])
@pytest.mark.parametrize("tilted", [False, True])
def test_integral_along_the_path(path, polarisation, tilted):
    fs, ss = np.array([2e-4, 0, 0]), np.array([0, 3e-4, 0])
    if tilted:
        fs, ss = np.array([2e-4, 0, 6e-5]), np.array([1e-5, 3e-4, -9e-5])
    corner = np.array([-0.02, -0.01, 0.1]) - 10 * (fs + ss) * [0, 0, 1]
    detector = detector_of(Panel("p", 0, 299, 0, 299, corner, fs, ss))
    if tilted:
        # Such a panel leans over the beam, so the air must end before it.
        path = (path[0], min(path[1], 0.06))
    image = expected_air(detector, 9000.0, 1.0, polarisation, *path)
    for pixel in ((0, 0), (33, 99), (150, 160), (299, 299), (40, 280)):
        expected = by_points(detector, 9000.0, polarisation, *path, pixel)
        assert image[pixel] == pytest.approx(expected, rel=1e-4)


def test_photons_are_proportional_to_pressure_flux_and_a_short_path():
    detector = flat(0.2, (31, 31), (15, -5), step=20)
    once = expected_air(detector, 7000.0, 1e9, 1.0, 1e-5, 1e-5)
    assert (once > 0).all()
    for image in (
        expected_air(detector, 7000.0, 2e9, 1.0, 1e-5, 1e-5),
        expected_air(detector, 7000.0, 1e9, 1.0, 2e-5, 2e-5),
        expected_air(detector, 7000.0, 1e9, 1.0, 1e-5, 1e-5, pressure=202650.0),
    ):
        np.testing.assert_allclose(image, 2 * once, rtol=1e-4)
    # Paths that join add up.
    whole = expected_air(detector, 7000.0, 1e9, 1.0, 0.1, 0.15)
    parts = [
        expected_air(detector, 7000.0, 1e9, 1.0, 0.1, 0.0),
        expected_air(detector, 7000.0, 1e9, 1.0, 0.0, 0.15),
    ]
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-5)


def test_the_pixel_in_the_beam_and_masked_ones():
    mask = np.ones((11, 11), dtype=bool)
    mask[2, 3] = False
    detector = detector_of(flat(0.1, (11, 11), (5, 5)).panels[0], mask=mask)
    image = expected_air(detector, 7000.0, 1e9, 1.0, 0.01, 0.02)
    assert image[2, 3] == 0
    assert image[5, 5] == pytest.approx(image[5, 6], rel=1e-3)
    assert np.isfinite(image).all() and (image[mask] > 0).all()


def test_air_in_the_image_of_a_dataset():
    detector = flat(0.1, (21, 21), (10, 10), step=20)
    beam = Beam(nphotons=1e9, beam_radius=5e-6, bandwidth=0.01)
    plain = Solvent(thickness=1e-4)
    aired = plain.model_copy(update={"air_upstream": 0.01, "air_downstream": 0.05})
    difference = expected_image(detector, Response(), 7000.0, beam, aired) - expected_image(
        detector, Response(), 7000.0, beam, plain
    )
    air_alone = expected_air(detector, 7000.0, 1e9, 1.0, 0.01, 0.05)
    np.testing.assert_allclose(difference, air_alone, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"upstream": 50.0}, "air_upstream"),  # mm
        ({"downstream": 50.0}, "air_downstream"),
        ({"downstream": 0.11}, "behind the detector"),
        ({"upstream": -0.1}, "air_upstream"),
        ({"upstream": float("nan")}, "air_upstream"),
        ({"photon_energy": 7.0}, "give it in eV"),
        ({"photon_energy": 3.0e5}, "1/Å"),
        ({"nphotons": 0.0}, "nphotons"),
        ({"polarisation": 95.0}, "polarisation"),
        ({"pressure": 1.0e9}, "give it in Pa"),
        ({"pressure": float("nan")}, "give it in Pa"),
    ],
)
def test_wrong_units(change, word):
    values = {
        "photon_energy": 7000.0,
        "nphotons": 1e9,
        "polarisation": 1.0,
        "upstream": 0.01,
        "downstream": 0.01,
    } | change
    with pytest.raises(SpotmillError, match=word):
        expected_air(flat(0.1, (5, 900), (2, 2), step=3), **values)


def test_wrong_units_in_the_solvent_file():
    with pytest.raises(SpotmillError, match="air_upstream"):
        Solvent.parse({"thickness": 1e-4, "air_upstream": 20}, "water.yaml")
