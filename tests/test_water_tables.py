"""Tables of water against published values."""

import numpy as np
import pytest

from spotmill.physics.water_tables import (
    absorption_coefficient,
    compressibility,
    forward_limit,
    incoherent_scattering,
    look_up,
    mass_density,
    measured_table,
    number_density,
    water_table,
)


def test_density_and_compressibility():
    # Kell's own table: maximum at 4 °C, and the values of the 25 °C table.
    assert mass_density(25.0) == pytest.approx(997.05, abs=0.01)
    assert mass_density(4.0) == pytest.approx(999.972, abs=0.002)
    assert mass_density(20.0) == pytest.approx(998.2041, abs=0.002)
    assert number_density(25.0) == pytest.approx(3.3329e28, rel=1e-4)
    assert number_density(20.0) == pytest.approx(3.3368e28, rel=1e-4)
    assert compressibility(25.0) == pytest.approx(4.525e-10, rel=1e-3)
    assert compressibility(46.5) < min(compressibility(40.0), compressibility(53.0))
    assert forward_limit(25.0) == pytest.approx(6.208, abs=1e-3)


def test_attenuation_and_compton_published_values():
    for energy, per_cm in ((6000.0, 24.56), (7000.0, 15.45), (8000.0, 10.34)):
        assert absorption_coefficient(energy, 25.0) == pytest.approx(100 * per_cm, rel=1e-3)
    values = incoherent_scattering([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(values, [0, 0.31, 1.12, 2.20, 3.31, 4.31], atol=0.006)
    assert 8.5 < incoherent_scattering(12.5) < 10


@pytest.mark.parametrize("temperature", [1.0, 5.0, 20.0, 25.0, 35.0, 60.0, 77.0])
def test_tables_of_all_temperatures(temperature):
    q, f2 = water_table(temperature)
    assert q[0] == 0
    assert f2[0] == pytest.approx(forward_limit(temperature), rel=3e-3)
    assert (f2 > 0).all()
    # At large q atoms scatter alone; the measured scatter there is 3 %.
    assert look_up(np.linspace(8, 10.7, 50), (q, f2)).mean() == pytest.approx(2.72, rel=0.05)


def test_main_peak_moves_and_falls_with_temperature():
    peaks = {}
    for temperature in (1.0, 25.0, 77.0):
        q, f2 = water_table(temperature)
        peaks[temperature] = (q[f2.argmax()], f2.max())
    assert peaks[1.0] == (pytest.approx(1.95, abs=0.03), pytest.approx(62.0, rel=0.01))
    assert peaks[25.0] == (pytest.approx(2.03, abs=0.03), pytest.approx(58.6, rel=0.01))
    assert peaks[77.0] == (pytest.approx(2.10, abs=0.03), pytest.approx(56.3, rel=0.01))


def test_measured_table_reproduces_the_ready_one(shared):
    profile = np.load(shared / "reference" / "water" / "water_q_profile.npz")
    q, f2 = water_table(25.0)
    column = int(np.argmin(abs(profile["hura_T_K"] - 298.16)))
    made = measured_table(q, profile["hura_q_invA"], profile["hura_F2"][:, column], 25.0)
    # The two differ in the fitted range and the passage (0.8 to 1.0), not elsewhere.
    assert np.abs(made / f2 - 1).max() < 0.018
    np.testing.assert_allclose(made[q > 1.02], f2[q > 1.02], rtol=2e-3)


def test_temperatures_join_without_a_step():
    q = np.linspace(0.1, 10, 200)
    for temperature in (11.0, 25.0, 44.0):
        below, at, above = (
            look_up(q, water_table(temperature + step)) for step in (-0.01, 0.0, 0.01)
        )
        np.testing.assert_allclose(below, at, rtol=2e-3)
        np.testing.assert_allclose(above, at, rtol=2e-3)
