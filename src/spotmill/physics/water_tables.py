"""What is known of liquid water: density, compressibility, structure, attenuation.

Tables are shipped in `spotmill/data`, each with its source in its header. No table is
ever read outside its range: a wrong unit ends in an error, not in a clamped value.
"""

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.signal import savgol_filter

from spotmill.errors import SpotmillError
from spotmill.physics.units import AVOGADRO, BOLTZMANN, check_photon_energy

Table = tuple[NDArray[np.float64], NDArray[np.float64]]

MOLAR_MASS = 18.01528e-3  # kg/mol
ELECTRONS = 10  # of one molecule
ZERO_CELSIUS = 273.15  # K
BOHR_RADIUS = 0.529177210903  # Å, CODATA 2018

LOWEST_TEMPERATURE = 1.0  # °C, the coldest measured
HIGHEST_TEMPERATURE = 77.0  # °C, the hottest measured
TABLE_TEMPERATURE = 25.0  # °C, of the table that is shipped ready made

# The low-q polynomial is fitted from FIT_LOW: below, the measured points at 1 and 11 °C lie
# up to 30 % above the thermodynamic limit that they must approach.
FIT_LOW, FIT_HIGH = 0.5, 1.2  # 1/Å
SPLICE_LOW, SPLICE_HIGH = 0.8, 1.0  # 1/Å
STEP = 0.05  # 1/Å, of the measured points


def check_temperature(temperature: float) -> float:
    """Return a temperature in °C, or raise SpotmillError outside 1 to 77 °C."""
    if not (LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE):
        raise SpotmillError(
            f"temperature: {temperature!r} is not between {LOWEST_TEMPERATURE:g} and "
            f"{HIGHEST_TEMPERATURE:g} °C, where water was measured; give it in °C"
        )
    return float(temperature)


def mass_density(temperature: float) -> float:
    """Return the density of water in kg/m³ at a temperature in °C and one atmosphere.

    Kell, J. Chem. Eng. Data 20, 97 (1975), equation 16.
    """
    t = check_temperature(temperature)
    above = np.polynomial.polynomial.polyval(
        t, (999.83952, 16.945176, -7.9870401e-3, -46.170461e-6, 105.56302e-9, -280.54253e-12)
    )
    return float(above / (1 + 16.879850e-3 * t))


def compressibility(temperature: float) -> float:
    """Return the isothermal compressibility of water in 1/Pa at a temperature in °C.

    Kell, J. Chem. Eng. Data 20, 97 (1975), equation 20.
    """
    t = check_temperature(temperature)
    above = np.polynomial.polynomial.polyval(
        t, (50.88496, 0.6163813, 1.459187e-3, 20.08438e-6, -58.47727e-9, 410.4110e-12)
    )
    return float(1e-11 * above / (1 + 19.67348e-3 * t))


def number_density(temperature: float) -> float:
    """Return the molecules per m³ of water at a temperature in °C."""
    return mass_density(temperature) * AVOGADRO / MOLAR_MASS


def forward_limit(temperature: float) -> float:
    """Return the scattering at q = 0 in electrons² per molecule, at a temperature in °C.

    The limit of fluctuations of density, Z² n kB T kappa_T with Z = 10 electrons:
    Orthaber, Bergmann & Glatter, J. Appl. Cryst. 33, 218 (2000).
    """
    kelvin = check_temperature(temperature) + ZERO_CELSIUS
    energy = BOLTZMANN * kelvin
    return ELECTRONS**2 * number_density(temperature) * energy * compressibility(temperature)


@cache
def _columns(name: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the column names and the rows of a shipped table."""
    text = resources.files("spotmill").joinpath("data", name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    rows.setflags(write=False)
    return tuple(lines[0].split(",")), rows


def water_table(temperature: float) -> Table:
    """Return the elastic scattering of liquid water at a temperature.

    At 25 °C this is the shipped table; otherwise it is made from the measured points of
    all seven temperatures (see `measured_table`), interpolated in temperature at each q
    by a monotone cubic (PCHIP).

    Parameters
    ----------
    temperature : float
        °C, from 1 to 77.

    Returns
    -------
    q : [n] 1/Å
        4 pi sin(theta)/wavelength, ascending from 0.
    F2 : [n] electrons² per molecule

    Raises
    ------
    SpotmillError
        When the temperature is outside the measured range.
    """
    temperature = check_temperature(temperature)
    if temperature == TABLE_TEMPERATURE:
        rows = _columns("water_25C.csv")[1]
        return rows[:, 0], rows[:, 1]
    q, temperatures, values = _all_temperatures()
    return q, PchipInterpolator(temperatures, values)(temperature)


@cache
def _all_temperatures() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return q [n], temperatures [m] in °C and F2 [m, n]."""
    names, rows = _columns("water_hura.csv")
    ready = _columns("water_25C.csv")[1]
    temperatures = np.array([float(name) for name in names[1:]])
    q = STEP * np.arange(round(ready[-1, 0] / STEP) + 1)
    values = [
        np.interp(q, ready[:, 0], ready[:, 1])
        if temperature == TABLE_TEMPERATURE
        else measured_table(q, rows[:, 0], rows[:, column], temperature)
        for column, temperature in enumerate(temperatures, start=1)
    ]
    return q, temperatures, np.array(values)


def measured_table(
    q: NDArray[np.float64],
    measured_q: NDArray[np.float64],
    measured: NDArray[np.float64],
    temperature: float,
) -> NDArray[np.float64]:
    """Return a table of F2 on the grid `q` made from measured points at one temperature.

    Below 0.8 1/Å an even polynomial with the forward limit imposed, above 1.0 1/Å the
    points with a five-point quadratic smoothing (Savitzky & Golay), between them a smooth
    passage from one to the other.
    """
    limit = forward_limit(temperature)
    fitted = (measured_q > FIT_LOW - STEP / 2) & (measured_q < FIT_HIGH + STEP / 2)
    powers = np.array([2, 4, 6])
    coefficients = np.linalg.lstsq(
        measured_q[fitted, np.newaxis] ** powers, measured[fitted] - limit, rcond=None
    )[0]
    low = limit + q[:, np.newaxis] ** powers @ coefficients
    high = np.interp(q, measured_q, savgol_filter(measured, 5, 2))
    share = np.clip((q - SPLICE_LOW) / (SPLICE_HIGH - SPLICE_LOW), 0, 1)
    share = share**2 * (3 - 2 * share)
    return np.asarray((1 - share) * low + share * high)


def look_up(q: ArrayLike, table: Table) -> NDArray[np.float64]:
    """Return a table's values at q in 1/Å, linear between its rows.

    Raises
    ------
    SpotmillError
        When a q lies outside the table.
    """
    points = np.asarray(q, dtype=np.float64)
    if points.size:
        check_q(points, float(table[0][0]), float(table[0][-1]))
    return np.interp(points, *table)


def check_q(q: NDArray[np.float64], lowest: float, highest: float) -> None:
    """Raise SpotmillError unless all q in 1/Å lie between two limits."""
    low, high = float(q.min()), float(q.max())
    if not (lowest <= low and high <= highest):
        raise SpotmillError(
            f"q: {low:.4g} to {high:.4g} 1/Å asked for, but the table of water holds "
            f"{lowest:g} to {highest:g}; check the units of photon_energy (eV) and clen (m)"
        )


def incoherent_scattering(q: ArrayLike) -> NDArray[np.float64]:
    """Return the incoherent scattering function of a water molecule, in electrons.

    Independent atoms, S_O + 2 S_H: oxygen from Hubbell et al. (1975), hydrogen exactly,
    1 - f² with f = 1/(1 + (q a0/2)²)² of the free atom.

    Parameters
    ----------
    q : [...] 1/Å

    Raises
    ------
    SpotmillError
        When a q lies outside the table.
    """
    points = np.asarray(q, dtype=np.float64)
    rows = _columns("oxygen_incoherent.csv")[1]
    highest = 4 * np.pi * rows[-1, 0]
    if points.size:
        check_q(points, 0.0, highest)
    oxygen = PchipInterpolator(4 * np.pi * rows[:, 0], rows[:, 1])(points)
    form_factor = (1 + (points * BOHR_RADIUS / 2) ** 2) ** -2
    return np.asarray(oxygen + 2 * (1 - form_factor**2))


def absorption_coefficient(photon_energy: float, temperature: float) -> float:
    """Return the linear attenuation coefficient of water in 1/m.

    Parameters
    ----------
    photon_energy : float
        eV, from 1000 to 100 000.
    temperature : float
        °C.

    Raises
    ------
    SpotmillError
        When the photon energy is outside the table (NIST, see its header).
    """
    energy = check_photon_energy(photon_energy)
    rows = _columns("water_attenuation.csv")[1]
    lowest, highest = rows[0, 0], rows[-1, 0]
    if not lowest <= energy <= highest:
        raise SpotmillError(
            f"photon_energy: {energy:g} eV is outside the attenuation table of water, "
            f"{lowest:g} to {highest:g} eV; set `absorption: false` or change it"
        )
    # cm²/g is 0.1 m²/kg.
    per_mass = 0.1 * np.exp(np.interp(np.log(energy), np.log(rows[:, 0]), np.log(rows[:, 1])))
    return float(per_mass * mass_density(temperature))
