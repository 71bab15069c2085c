"""A wrong unit ends in an error that says which unit is meant, never in an image."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
from test_diffraction import AXES, PIXEL, VOLUME, detector, hemisphere, turned

from spotmill.concepts import Response, Solvent
from spotmill.distributions import Distribution
from spotmill.errors import SpotmillError
from spotmill.physics import (
    conditions,
    diffraction,
    footprint,
    geometry,
    illumination,
    lattice,
    orientations,
    pattern_sim,
    pattern_sim_spectra,
    reflections,
    response,
    rocking,
    spectrum,
    units,
    water,
    water_shapes,
    water_tables,
)
from spotmill.randomise import Randomise

RNG = np.random.default_rng(0)
CELL = (67.288, 67.288, 106.582, 90.0, 90.0, 90.0)
SILICON = Response(sensor="silicon", sensor_thickness=4.5e-4)
SHEET = Solvent(shape="sheet", thickness=1e-4)
STILL = conditions.Conditions(7000.0, 0.03, 0, 0, 0, 0, 1.0, 1.0, 1.0)
WAVE = (np.array([0.5646]), np.ones(1))


def light(**changes):
    given = {"energy": 7000.0, "size": 1e-6, "polarisation": None} | changes
    factor = diffraction.scale(1e18, given["size"] ** 3, VOLUME)
    return diffraction.Source(spectrum.tophat(given["energy"], 0.2), factor, given["polarisation"])


def spots(**changes):
    return diffraction.diffract(hemisphere(6.0), turned(0), light(**changes))


def panel(unit: float):
    """Return a panel whose lengths, right in m, are given in another unit."""
    vectors = np.array([[-0.015, -0.015, 0.03], [PIXEL, 0, 0], [0, PIXEL, 0]]) * unit
    return geometry.Panel("p", 0, 9, 0, 9, *vectors)


def lattice_image(axes=AXES, k=WAVE[0], fluence=1e18):
    transform = lattice.uniform_transform(1.0)
    direct = np.linalg.inv(axes).T
    return lattice.lattice_image(detector(n=4), direct, (3, 3, 3), transform, k, WAVE[1], fluence)


def draw(**laws):
    randomise = Randomise(**{name: Distribution(constant=v) for name, v in laws.items()})
    return conditions.draw_conditions(randomise, 7000.0, 0.15, 1, "A", 0)


# What is called, the right value, and the same in wrong units (named beside each).
CASES = {
    "check_photon_energy: keV, J": (units.check_photon_energy, 7000.0, 7.0, 1.1e-15),
    "check_clen: mm, µm": (units.check_clen, 0.15, 150.0, 1.5e5),
    "check_wavelength: m, eV": (units.check_wavelength, 1.77, 1.77e-10, 7000.0),
    "wavelength of photon energy: keV": (units.wavelength_from_photon_energy, 7000.0, 7.0),
    "wavenumber of photon energy: keV": (units.wavenumber_from_photon_energy, 7000.0, 7.0),
    "photon energy of wavelength: m, pm": (
        units.photon_energy_from_wavelength,
        1.77,
        1.77e-10,
        177.0,
    ),
    "tophat energy: keV, J": (lambda e: spectrum.tophat(e, 0.01), 7000.0, 7.0, 1.1e-15),
    "tophat bandwidth: %": (lambda b: spectrum.tophat(7000.0, b), 0.01, 1.0, -0.01, math.nan),
    "gaussian energy: keV": (lambda e: spectrum.gaussian(e, 0.01), 7000.0, 7.0),
    "gaussian bandwidth: %, eV": (lambda b: spectrum.gaussian(7000.0, b), 0.01, 1.0, 70.0),
    "two colours, bandwidth: %": (lambda b: spectrum.two_colour(7e3, b, 100.0), 0.004, 0.6),
    "two colours, separation: negative": (
        lambda d: spectrum.two_colour(7e3, 0.004, d),
        100.0,
        -100.0,
        1e5,
    ),
    "sase bandwidth: %": (lambda b: spectrum.sase(7e3, b, 9, 1e-4, RNG), 0.01, 1.0),
    "sase spike width: %, eV": (lambda w: spectrum.sase(7e3, 0.01, 9, w, RNG), 2e-4, 0.2, 1.4),
    "spectrum table: keV": (
        lambda e: spectrum.tabulated(np.array([e, 1.01 * e]), np.ones(2)),
        7000.0,
        7.0,
    ),
    "spectrum table centred: keV": (
        lambda e: spectrum.centred(spectrum.tabulated(np.array([6e3, 7e3]), np.ones(2)), e),
        6500.0,
        6.5,
    ),
    "crystal volume: µm": (lambda a: illumination.crystal_volume("box", a), 4e-6, 4.0, math.nan),
    "projected width: µm": (lambda a: illumination.projected_width("box", a), 4e-6, 4.0),
    "lit fraction, size: µm": (
        lambda a: illumination.lit_fraction("box", a, "flat", 5e-6, (0, 0)),
        4e-6,
        4.0,
    ),
    "lit fraction, beam radius: µm": (
        lambda r: illumination.lit_fraction("box", 4e-6, "flat", r, (0, 0)),
        5e-6,
        5.0,
    ),
    "lit fraction, offset: µm": (
        lambda x: illumination.lit_fraction("box", 4e-6, "flat", 5e-6, (x, 0)),
        2e-6,
        2.0,
    ),
    "scale, crystal volume: µm^3, Å^3": (
        lambda v: diffraction.scale(1e18, v, VOLUME),
        1e-18,
        1.0,
        1e-30,
    ),
    "scale, cell volume: m^3, nm^3 of a small cell": (
        lambda v: diffraction.scale(1e18, 1e-18, v),
        1.2e5,
        1.2e-25,
        0.9,
    ),
    "reflection table, axes: Å, 1/m": (
        lambda f: diffraction.reflection_table(np.eye(3, dtype=int), np.ones(3), AXES * f),
        1.0,
        2000.0,
        1e10,
    ),
    "reflections within s: 1/m": (lambda s: hemisphere(6.0).within(s), 0.2, 2e9, 0.0),
    "diffract, turned axes: 1/nm, 1/m": (
        lambda f: diffraction.diffract(hemisphere(6.0), turned(0) * f, light()),
        1.0,
        10.0,
        1e10,
    ),
    "polarisation: %": (lambda p: spots(polarisation=p), 0.95, 95.0, -1.0),
    "mosaicity: degrees, mrad": (lambda m: rocking.rocking(m, 0.0, 2e3), 3.5e-3, 0.2, 3.5),
    "divergence: mrad, degrees": (lambda d: rocking.rocking(0.0, d, 2e3), 1e-3, 1.0, 0.11),
    "rocking, reach: m": (lambda r: rocking.rocking(1e-3, 0.0, r), 2000.0, 0.15),
    "quaternion: degrees": (lambda w: orientations.rotation_matrix(np.array([w, 0, 0, 0])), 1, 30),
    "unit quaternion: degrees": (
        lambda w: orientations.unit_quaternion(np.array([w, 0, 0, 0]), "x"),
        1.0,
        30.0,
    ),
    "conditions, energy shift: keV for a dataset's eV": (
        lambda e: draw(photon_energy=e),
        -100.0,
        -6993.0,
    ),
    "conditions, clen shift: mm": (lambda d: draw(clen=d), 0.001, 150.0),
    "conditions, beam: mm": (lambda x: draw(beam_x=x), 1.5e-3, 1.5),
    "conditions, tilt: more than a quarter turn": (lambda t: draw(tilt_y=t), 1.0, 100.0),
    "moved, clen: mm": (
        lambda d: conditions.moved(detector(), replace(STILL, clen=d)),
        0.03,
        300.0,
    ),
    "moved, beam: mm": (
        lambda x: conditions.moved(detector(), replace(STILL, beam_y=x)),
        1e-3,
        1.0,
    ),
    "panel: mm, µm": (panel, 1.0, 1e3, 1e6),
    "magnitude, wavelength: m": (lambda w: geometry.magnitude(np.ones((1, 3)), w), 1.77, 1.77e-10),
    "scattering magnitude, wavelength: eV": (
        lambda w: geometry.scattering_magnitude(detector(n=4), w),
        1.77,
        7000.0,
    ),
    "max scattering, wavelength: m": (
        lambda w: geometry.max_scattering(detector(n=4), w),
        1.77,
        1.77e-10,
    ),
    "footprint, point spread: µm, pixels": (
        lambda d: footprint.footprint(spots(), detector(), [(d, 1.0)]),
        3e-5,
        30.0,
        0.4,
    ),
    "footprint, weight: %": (
        lambda w: footprint.footprint(spots(), detector(), [(3e-5, w)]),
        1.0,
        100.0,
    ),
    "whole cells, size: nm": (lambda a: lattice.whole_cells(np.eye(3) * 50, a), 1e-7, 1e5),
    "lattice, axes: m, 1/Å": (lambda f: lattice_image(axes=AXES / f), 1.0, 1e-10, 1e-4),
    "lattice, wavenumber: 1/m, eV": (
        lambda k: lattice_image(k=np.array([k])),
        0.5646,
        5.6e9,
        7000.0,
    ),
    "lattice, fluence: negative": (lambda f: lattice_image(fluence=f), 1e18, -1e18),
    "resolved size, wavenumber: 1/m": (
        lambda k: lattice.resolved_size(detector(n=4), np.array([k]), 0.0, 4),
        0.5646,
        5.6e9,
    ),
    "pattern_sim wavenumber: keV": (pattern_sim.wavenumber, 7000.0, 7.0),
    "pattern_sim spectrum, centre: eV, 1/m": (
        lambda k: pattern_sim_spectra.tophat(k, 0.01),
        0.5646,
        7000.0,
        5.6e9,
    ),
    "cell: m, radians": (
        lambda f: reflections.reciprocal_basis(tuple(x * f for x in CELL)),
        1.0,
        1e-10,
        math.pi / 180,
    ),
    "sensor absorption: keV": (lambda e: response.sensor_absorption("silicon", e), 7000.0, 7.0),
    "sensor thickness: mm, µm": (
        lambda t: response.sensor_efficiency("silicon", t, 7000.0, 1.0),
        4.5e-4,
        0.45,
        450.0,
    ),
    "detection map: keV": (
        lambda e: response.detection_map(detector(n=4), SILICON, e),
        7000.0,
        7.0,
    ),
    "detection at pixels: keV": (
        lambda e: response.detection_at(detector(n=4), SILICON, e, np.array([0])),
        7000.0,
        7.0,
    ),
    "water, photon energy: keV": (
        lambda e: water.expected_water(detector(n=4), e, 3e8, 5e-6, 1.0, SHEET),
        7000.0,
        7.0,
    ),
    "water, beam radius: µm": (
        lambda r: water.expected_water(detector(n=4), 7000.0, 3e8, r, 1.0, SHEET),
        5e-6,
        5.0,
    ),
    "lit length, beam radius: µm": (lambda r: water_shapes.lit_length(SHEET, r), 5e-6, 5.0),
    "water temperature: K": (water_tables.water_table, 25.0, 298.15),
    "check_temperature: K": (water_tables.check_temperature, 25.0, 298.15),
    "density, temperature: K": (water_tables.mass_density, 25.0, 298.15),
    "compressibility, temperature: K": (water_tables.compressibility, 25.0, 298.15),
    "number density, temperature: K": (water_tables.number_density, 25.0, 298.15),
    "forward limit, temperature: K": (water_tables.forward_limit, 25.0, 298.15),
    "absorption coefficient: keV": (
        lambda e: water_tables.absorption_coefficient(e, 25.0),
        7000.0,
        7.0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_right_unit_passes_and_wrong_units_are_refused_in_one_line(name) -> None:
    function, right, *wrong = CASES[name]
    function(right)
    for value in wrong:
        with pytest.raises(SpotmillError) as caught:
            function(value)
        assert "\n" not in str(caught.value)


def test_every_physics_module_with_units_is_here() -> None:
    """A new public function that takes a photon energy, clen, size … must join the list."""
    modules = [conditions, diffraction, footprint, geometry, illumination, lattice, pattern_sim]
    modules += [orientations, reflections, response, rocking, spectrum, units, water, water_tables]
    dimensional = {"photon_energy", "wavelength", "temperature", "bandwidth", "mosaicity", "clen"}
    found = set()
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and dimensional & set(inspect.signature(function).parameters):
                found.add(f"{module.__name__.rsplit('.', 1)[-1]}.{name}")
    covered = {
        "conditions.draw_conditions",
        "geometry.magnitude",
        "geometry.max_scattering",
        "geometry.scattering_magnitude",
        "pattern_sim.wavenumber",
        "response.detection_at",
        "response.detection_map",
        "response.sensor_absorption",
        "response.sensor_efficiency",
        "rocking.rocking",
        "spectrum.centred",
        "spectrum.gaussian",
        "spectrum.sase",
        "spectrum.tophat",
        "spectrum.two_colour",
        "units.check_clen",
        "units.check_photon_energy",
        "units.check_wavelength",
        "units.photon_energy_from_wavelength",
        "units.wavelength_from_photon_energy",
        "units.wavenumber_from_photon_energy",
        "water.expected_water",
        "water_tables.absorption_coefficient",
        "water_tables.check_temperature",
        "water_tables.compressibility",
        "water_tables.forward_limit",
        "water_tables.mass_density",
        "water_tables.measured_table",
        "water_tables.number_density",
        "water_tables.water_table",
    }
    assert found - covered == set(), "state their wrong units in CASES, then add them here"
