"""Constants and the only conversions between photon energy, wavelength and wavenumber.

Values: CODATA 2018 (h, c and e are exact by definition of the SI).
Reciprocal lengths carry no 2 pi (|s| = 1/d); what carries it is called q.
"""

import math

from spotmill.errors import SpotmillError

PLANCK = 6.62607015e-34  # J s
LIGHT_SPEED = 299792458.0  # m/s
ELEMENTARY_CHARGE = 1.602176634e-19  # C
CLASSICAL_ELECTRON_RADIUS = 2.8179403262e-15  # m
AVOGADRO = 6.02214076e23  # 1/mol
BOLTZMANN = 1.380649e-23  # J/K
ANGSTROM = 1e-10  # m

# Outside this range the number is a wrong unit (keV, J, m), not an X-ray experiment.
LOWEST_PHOTON_ENERGY = 100.0  # eV
HIGHEST_PHOTON_ENERGY = 1.0e6  # eV
# Nothing diffracts to angles of use farther away: the number is in mm.
SHORTEST_CLEN = 1.0e-3  # m
LONGEST_CLEN = 20.0  # m


def check_photon_energy(photon_energy: float) -> float:
    """Return a photon energy in eV, or raise SpotmillError outside 100 eV to 1 MeV."""
    if not (LOWEST_PHOTON_ENERGY <= photon_energy <= HIGHEST_PHOTON_ENERGY):
        raise SpotmillError(
            f"photon_energy: {photon_energy!r} is not between {LOWEST_PHOTON_ENERGY:g} and "
            f"{HIGHEST_PHOTON_ENERGY:g} eV; give it in eV (8 keV is 8000)"
        )
    return float(photon_energy)


def check_clen(clen: float) -> float:
    """Return a camera length in m, or raise SpotmillError outside 1 mm to 20 m."""
    if not (math.isfinite(clen) and SHORTEST_CLEN <= clen <= LONGEST_CLEN):
        raise SpotmillError(
            f"clen: {clen!r} is not between {SHORTEST_CLEN:g} and {LONGEST_CLEN:g} m; "
            "give it in metres, not millimetres (80 mm is 0.08)"
        )
    return float(clen)


def check_wavelength(wavelength: float) -> float:
    """Return a wavelength in Å, or raise SpotmillError outside 0.012 to 124 Å (1 MeV to 100 eV)."""
    if not (0.012 <= wavelength <= 124.0):
        raise SpotmillError(
            f"wavelength: {wavelength!r} is not between 0.012 and 124 Å; give it in Å, not m or eV"
        )
    return float(wavelength)


def wavelength_from_photon_energy(photon_energy: float) -> float:
    """Return the wavelength in Å of a photon energy in eV (hc/E)."""
    energy = check_photon_energy(photon_energy) * ELEMENTARY_CHARGE
    return PLANCK * LIGHT_SPEED / energy / ANGSTROM


def photon_energy_from_wavelength(wavelength: float) -> float:
    """Return the photon energy in eV of a wavelength in Å (hc/lambda)."""
    if not (math.isfinite(wavelength) and wavelength > 0):
        raise SpotmillError(f"wavelength: {wavelength!r} is not a positive number of Å")
    energy = PLANCK * LIGHT_SPEED / (wavelength * ANGSTROM) / ELEMENTARY_CHARGE
    return check_photon_energy(energy)


def wavenumber_from_photon_energy(photon_energy: float) -> float:
    """Return the wavenumber 1/lambda in 1/Å of a photon energy in eV."""
    return 1.0 / wavelength_from_photon_energy(photon_energy)
