"""The HDF5 file that `pattern_sim` wrote: one pattern, not compressed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic

SUFFIXES = (".h5", ".cxi", ".nx5")

SPECTRUM_POINTS = 1024


@dataclass(frozen=True, eq=False)
class Pattern:
    """What goes into one file.

    Attributes
    ----------
    image : [ss, fs] float32
    photon_energy : float
        Centre of the spectrum, eV.
    wavelength : float
        The same in Å.
    spectrum_wavelengths, spectrum_density : [1024]
        Å, and the density in wavenumber.
    quaternion : [4]
        (w, x, y, z); nan where the orientation came as axes.
    reciprocal_axes : [3, 3]
        Rows a*, b*, c* as turned, 1/Å.
    parameters
        Attributes of the group /pattern_sim: seed, sizes, options.
    """

    image: NDArray[np.float32]
    photon_energy: float
    wavelength: float
    spectrum_wavelengths: NDArray[np.float64]
    spectrum_density: NDArray[np.float64]
    quaternion: NDArray[np.floating]
    reciprocal_axes: NDArray[np.float64]
    parameters: Mapping[str, Any]


def check_name(path: str | Path) -> Path:
    """Return the path; raise SpotmillError unless its suffix is one that CrystFEL writes."""
    if Path(path).suffix not in SUFFIXES:
        raise SpotmillError(f"{path}: end the name of an image in {', '.join(SUFFIXES)}")
    return Path(path)


def write_image(path: str | Path, data: str, image: NDArray[np.floating]) -> None:
    """Write an image [ss, fs] alone, as float32 at the location `data`."""
    with atomic(check_name(path)) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset(data, data=np.asarray(image, dtype=np.float32))


def write_pattern(path: str | Path, data: str, pattern: Pattern) -> None:
    """Write one pattern, its image at the location `data` of the geometry file.

    Lengths are in m and 1/m, as in `pattern_sim`'s own files. /photon_energy_eV is what
    CrystFEL 0.9.1 wrote in place of /wavelength; both are here.
    """
    with atomic(check_name(path)) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset(data, data=np.asarray(pattern.image, dtype=np.float32))
        file["wavelength"] = np.array([pattern.wavelength * 1e-10])
        file["photon_energy_eV"] = np.array([pattern.photon_energy])
        file["spectrum/wavelengths_A"] = pattern.spectrum_wavelengths
        file["spectrum/pdf"] = pattern.spectrum_density
        file["pattern_sim/quaternion"] = np.asarray(pattern.quaternion, dtype=np.float32)
        for name, axis in zip(("astar", "bstar", "cstar"), pattern.reciprocal_axes, strict=True):
            file[f"pattern_sim/{name}"] = (axis * 1e10).astype(np.float32)
        for key, value in pattern.parameters.items():
            file["pattern_sim"].attrs[key] = value
