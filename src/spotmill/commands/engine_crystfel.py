"""The `crystfel` engine: runs the user's own `pattern_sim`, of CrystFEL 0.10.2 or before.

One crystal at a time, so that each may have its own size, spectrum and conditions. The
program is told to draw no noise; what it leaves out (polarisation, point spread, mask) is
put upon its images afterwards, as upon those of the `lattice` engine.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam
from spotmill.errors import SpotmillError
from spotmill.formats.cell import write_cell
from spotmill.formats.geom import Geometry, GeomPanel, Quantity, write_geometry
from spotmill.formats.point_groups import laue_symbol
from spotmill.formats.reflections import write_hkl
from spotmill.formats.spectra import CRYSTFEL_HEADER
from spotmill.physics.diffraction import Spots, polarisation_factor
from spotmill.physics.engines import (
    LEAST,
    cells_of,
    share_out,
    spread_image,
    wavelength_samples,
    with_closed_form,
)
from spotmill.physics.footprint import Footprint
from spotmill.physics.geometry import Detector, pixel_positions
from spotmill.physics.lattice import LENIENT, Transform
from spotmill.physics.pattern import Integrated, Scene, Shot
from spotmill.physics.reflections import Reflections, find_space_group
from spotmill.physics.spectrum import Spectrum
from spotmill.physics.units import photon_energy_from_wavelength

# The last version that has the program, and the first that takes the beam from the geometry.
LAST_VERSION = (0, 10, 2)
BEAM_IN_GEOMETRY = (0, 10, 0)

OTHERWISE = "choose engine integrated or lattice, which need no program"

DATA = "/data/data"
SPECTRUM_POINTS = 4096
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Program:
    """An executable and the CrystFEL version that it states."""

    path: str
    version: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the version as numbers."""
        return tuple(int(word) for word in self.version.split("."))


def find_program(name: str) -> Program:
    """Return the program of a name or path, its version checked.

    Raises
    ------
    SpotmillError
        When there is none, it does not state a version, or one too new to have it.
    """
    found = shutil.which(name)
    if found is None:
        raise SpotmillError(
            f"pattern_sim: {name}: no such program; name CrystFEL's with --pattern-sim, "
            f"or {OTHERWISE}"
        )
    path = str(Path(found).absolute())
    told = run_program([path, "--version"], "", Path.cwd(), ANSWER_SECONDS)
    match = re.search(r"CrystFEL:?\s+(?:version\s+)?(\d+\.\d+\.\d+)", told)
    if match is None:
        raise SpotmillError(
            f"pattern_sim: {name}: --version states no CrystFEL version; name another program, "
            f"or {OTHERWISE}"
        )
    program = Program(path, match.group(1))
    if program.numbers > LAST_VERSION:
        raise SpotmillError(
            f"pattern_sim: {name}: is of CrystFEL {program.version}, which no longer has it; "
            f"give one of 0.10.2 or before, or {OTHERWISE}"
        )
    return program


def run_program(words: list[str], stdin: str, folder: Path, seconds: float) -> str:
    """Run a program in a folder and return what it prints; nothing of it goes on running.

    Raises
    ------
    SpotmillError
        When it cannot be started, fails, or takes longer than `seconds`.
    """
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SpotmillError(
            f"pattern_sim: {words[0]}: cannot be run ({error.strerror}); {OTHERWISE}"
        ) from error
    try:
        told, _ = process.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise SpotmillError(
            f"pattern_sim: {words[0]}: took more than {seconds:g} s; raise --pattern-sim-timeout, "
            f"or {OTHERWISE}"
        ) from error
    finally:
        _end(process)
    if process.returncode:
        last = ([line.strip() for line in told.splitlines() if line.strip()] or ["nothing"])[-1]
        raise SpotmillError(
            f"pattern_sim: {words[0]}: failed with status {process.returncode}, saying: "
            f"{last[:200]}; mend that, or {OTHERWISE}"
        )
    return told


def _end(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@dataclass(frozen=True)
class PatternSim:
    """CrystFEL's program as an engine; the truth of the spots is the closed form."""

    program: Program
    reflections: Reflections
    transform: Transform
    n_wavelengths: int
    seconds: float
    least: float = LEAST

    def __call__(self, scene: Scene, shot: Shot) -> tuple[Spots, Footprint]:
        """Return the spots and where their expected photons fall."""
        with tempfile.TemporaryDirectory(prefix="spotmill-") as name:
            folder = Path(name)
            words = self.prepare(folder, scene.beam, shot)
            line = " ".join(f"{value:.9f}" for value in shot.quaternion) + "\n"
            run_program(words, line, folder, self.seconds)
            image = read_image(folder / "sim.h5", shot.detector, self.program.path)
        image = spread_image(
            polarised(image, shot.detector, scene.beam), shot.detector, scene.spread
        )
        wavenumbers, _ = wavelength_samples(shot.spectrum, self.n_wavelengths)
        owned = share_out(image, shot, self.transform, cells_of(shot), wavenumbers)
        return with_closed_form(owned, Integrated()(scene, shot), shot)

    def prepare(self, folder: Path, beam: Beam, shot: Shot) -> list[str]:
        """Write the program's input files and return its command line."""
        write_geometry(folder / "sim.geom", program_geometry(shot, beam.bandwidth))
        write_cell(folder / "sim.cell", self.reflections)
        write_hkl(folder / "sim.hkl", self.reflections)
        group = find_space_group(self.reflections.space_group, self.reflections.cell)
        size = f"{shot.size * LENIENT * 1e9:.12g}"
        nphotons = shot.fluence * np.pi * beam.beam_radius**2
        options = {
            "geometry": "sim.geom",
            "pdb": "sim.cell",
            "intensities": "sim.hkl",
            "symmetry": laue_symbol(group),
            "number": 1,
            "output": "sim.h5",
            "min-size": size,
            "max-size": size,
            "nphotons": f"{nphotons:.9g}",
            "beam-radius": f"{beam.beam_radius:.9g}",
            "sample-spectrum": self.n_wavelengths,
            "spectrum": "tophat",
        }
        if beam.spectrum != "tophat":
            write_spectrum(folder / "spectrum.txt", shot.spectrum)
            options |= {"spectrum": "fromfile", "spectrum-file": "spectrum.txt"}
        if self.program.numbers < BEAM_IN_GEOMETRY:
            options |= {"photon-energy": shot.photon_energy, "beam-bandwidth": beam.bandwidth}
        words = [f"--{key}={value}" for key, value in options.items()]
        return [self.program.path, *words, "--no-noise"]


def program_geometry(shot: Shot, bandwidth: float) -> Geometry:
    """Return the geometry of a shot: panels where they stood, photons in `/data/data`."""
    panels = []
    for panel in shot.detector.panels:
        res = 1.0 / float(np.linalg.norm(panel.fs))
        fs, ss = (panel.fs * res).tolist(), (panel.ss * res).tolist()
        panels.append(
            GeomPanel(
                name=panel.name,
                min_fs=panel.min_fs,
                max_fs=panel.max_fs,
                min_ss=panel.min_ss,
                max_ss=panel.max_ss,
                corner_x=float(panel.corner[0] * res),
                corner_y=float(panel.corner[1] * res),
                fs=(fs[0], fs[1], fs[2]),
                ss=(ss[0], ss[1], ss[2]),
                res=res,
                coffset=float(panel.corner[2] - shot.detector.clen),
                data=DATA,
                adu_per_photon=1.0,
            )
        )
    return Geometry(
        tuple(panels),
        clen=Quantity("clen", shot.detector.clen, "m"),
        radiation=Quantity("photon_energy", shot.photon_energy, "eV"),
        bandwidth=bandwidth,
    )


def write_spectrum(path: Path, spectrum: Spectrum) -> None:
    """Write a spectrum as CrystFEL reads it: keV and density."""
    wavenumber = np.linspace(spectrum.low, spectrum.high, SPECTRUM_POINTS)
    energy = wavenumber * photon_energy_from_wavelength(1.0) / 1000
    rows = zip(energy.tolist(), spectrum.density(wavenumber).tolist(), strict=True)
    text = "\n".join(f"{kev:.9f} {density:.6g}" for kev, density in rows)
    path.write_text(f"{CRYSTFEL_HEADER}\n{text}\n", encoding="utf-8")


def read_image(path: Path, detector: Detector, program: str) -> NDArray[np.float32]:
    """Read the image [ss, fs] that the program wrote.

    Raises
    ------
    SpotmillError
        When it wrote none, or not photons on this detector.
    """
    try:
        with h5py.File(path, "r") as file:
            image = np.asarray(file[DATA][()], dtype=np.float32)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SpotmillError(
            f"pattern_sim: {program}: ended well but left no image; try it by hand, or {OTHERWISE}"
        ) from error
    if image.shape != detector.shape:
        raise SpotmillError(
            f"pattern_sim: {program}: left an image of {image.shape} pixels for a detector of "
            f"{detector.shape}; {OTHERWISE}"
        )
    if not (np.isfinite(image).all() and (image >= 0).all()):
        raise SpotmillError(
            f"pattern_sim: {program}: left pixels that are negative or not finite; {OTHERWISE}"
        )
    return image


def polarised(image: NDArray[np.float32], detector: Detector, beam: Beam) -> NDArray[np.float32]:
    """Multiply an image [ss, fs] by the polarisation factor, 0 where no panel is."""
    result = np.zeros_like(image)
    for panel in detector.panels:
        points = pixel_positions(panel)
        points /= np.linalg.norm(points, axis=-1, keepdims=True)
        factor = polarisation_factor(points.reshape(-1, 3), beam.polarisation)
        result[panel.slab] = image[panel.slab] * factor.reshape(points.shape[:2])
    return result
