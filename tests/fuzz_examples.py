"""Valid files of every kind that Spotmill reads, small, for the fuzzing of their readers."""

import io
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fabio
import gemmi
import h5py
import numpy as np
from conftest import ROOT

from spotmill.concepts import Beam, Crystal, Response, Solvent
from spotmill.config import Config, read_datasets
from spotmill.formats.cell import read_cell
from spotmill.formats.geom import read_geometry
from spotmill.formats.hkl import read_hkl
from spotmill.formats.images import open_file, sources
from spotmill.formats.mtz import read_mtz
from spotmill.formats.orientations import read_orientations
from spotmill.formats.pattern_sim_inputs import (
    read_beam,
    read_cell_or_pdb,
    read_intensities,
    stream_axes,
)
from spotmill.formats.pattern_sim_inputs import read_spectrum as read_crystfel_spectrum
from spotmill.formats.spectra import read_spectrum
from spotmill.formats.structures import read_structure
from spotmill.randomise import Randomise
from spotmill.tasks import Task

TINY = ROOT / "tests/tiny/config"


@dataclass(frozen=True)
class Reader:
    """What reads a file, the ending of its name, and valid files to begin with."""

    read: Callable[[Path], Any]
    suffix: str
    examples: tuple[bytes, ...]


def geometry(path: Path) -> None:
    read_geometry(path).detector(clen=0.05, photon_energy=6000)


def frames(path: Path) -> None:
    with open_file(path) as file:
        for event in range(min(len(file), 3)):
            file.read(event)


def text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


GEOMETRY = text(
    "clen = 0.06 m",
    "photon_energy = 7 keV",
    "adu_per_eV = 0.0001",
    "max_adu = 65535",
    "res = 2000",
    "data = /entry/data/data",
    "dim0 = %",
    "dim1 = ss",
    "dim2 = fs",
    "mask0_data = /mask",
    "mask0_goodbits = 0x00",
    "rigid_group_q0 = a,b",
    "rigid_group_collection_all = q0",
    "detector_shift_x = 1 mm",
    "a/min_fs = 0",
    "a/max_fs = 9",
    "a/min_ss = 0",
    "a/max_ss = 7",
    "a/corner_x = -12.5",
    "a/corner_y = -4",
    "a/fs = +0.999x -0.002y",
    "a/ss = +0.002x +0.999y",
    "b/min_fs = 10",
    "b/max_fs = 19",
    "b/min_ss = 0",
    "b/max_ss = 7",
    "b/corner_x = 3",
    "b/corner_y = -4",
    "b/coffset = 0.001",
    "b/fs = x",
    "b/ss = y",
    "bad1/panel = a",
    "bad1/min_fs = 2",
    "bad1/max_fs = 3",
    "bad1/min_ss = 2",
    "bad1/max_ss = 3",
    "bad2/min_x = -2",
    "bad2/max_x = 3.5",
    "bad2/min_y = 2",
    "bad2/max_y = 3",
    "flag_lessthan = 0",
    "c/min_fs = 0",
    "c/max_fs = 9",
    "c/min_ss = 8",
    "c/max_ss = 9",
    "c/corner_x = -12.5",
    "c/corner_y = 40",
    "c/fs = x",
    "c/ss = y",
)
CELL = text(
    "CrystFEL unit cell file version 1.0",
    "",
    "; a comment",
    "lattice_type = tetragonal",
    "centering = P",
    "unique_axis = c",
    "a = 67.288 A",
    "b = 6.7288 nm",
    "c = 106.582 A",
    "al = 90 deg",
    "be = 90 deg",
    "ga = 90 deg",
)
HKL = text(
    "CrystFEL reflection list version 2.0",
    "Symmetry: 4/mmm",
    "   h    k    l                I    phase   sigma(I)   nmeas",
    "   0    0    4       123.456789        -       0.00       1",
    "   1    0    2       3.5e4        -       0.00       1",
    "   2    1    3       0.25        90.0       0.00       12",
    "End of reflections",
)
STREAM = text(
    "CrystFEL stream format 2.3",
    "----- Begin chunk -----",
    "--- Begin crystal",
    "astar = +0.0100000 -0.0200000 +0.1000000 nm^-1",
    "bstar = +0.1000000 +0.0200000 +0.0000000 nm^-1",
    "cstar = +0.0000000 -0.2000000 +0.1000000 nm^-1",
    "--- End crystal",
    "----- End chunk -----",
)
PDB = text(
    "HEADER    HYDROLASE                               01-JAN-01   1IC6",
    "CRYST1   67.288   67.288  106.582  90.00  90.00  90.00 P 43 21 2     8",
    "SCALE1      0.014862  0.000000  0.000000        0.00000",
    "MODEL        1",
    "ATOM      1  CA  ALA A   1      10.000  10.000  10.000  1.00 20.00           C",
    "ANISOU    1  CA  ALA A   1     2406   1892   1614    198    519   -328       C",
    "HETATM    2 CA    CA A   2      11.000  12.000  13.000  0.50 20.00          CA2+",
    "TER",
    "ENDMDL",
    "END",
)
BEAM_FILE = text(
    "beam/photon_energy = 9000 ; eV", "beam/bandwidth = 0.01", "beam/fluence = 1e12",
    "beam/radius = 3e-6", "beam/divergence = 0.0", "profile_radius = 1",
)  # fmt: skip


def mmcif() -> bytes:
    structure = gemmi.read_pdb_string(PDB.decode())
    structure.setup_entities()
    return structure.make_mmcif_document().as_string().encode()


def mtz() -> bytes:
    file = gemmi.Mtz(with_base=True)
    file.spacegroup = gemmi.SpaceGroup("P 43 21 2")
    file.set_cell_for_all(gemmi.UnitCell(67.288, 67.288, 106.582, 90, 90, 90))
    file.add_dataset("x")
    file.add_column("I", "J")
    file.history = ["spotmill reflections: d_min 2.5 A"]
    file.set_data(np.array([[0, 0, 4, 9], [1, 0, 2, 3], [2, 1, 3, 0.5]], dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder:
        file.write_to_file(f"{folder}/x.mtz")
        return Path(f"{folder}/x.mtz").read_bytes()


def written(kind: str, size: int = 12) -> bytes:
    """Return an image as fabio writes it."""
    image = np.arange(size * size, dtype=np.int32).reshape(size, size) % 100
    header = {
        "_array_data.header_contents": "# Detector_distance 0.1 m\n# Wavelength 1.0 A\n"
        "# Beam_xy (5.0, 6.0) pixels\n# Pixel_size 75e-6 m x 75e-6 m\n",
        "WaveLength": "1e-10",
        "SampleDistance": "0.1",
    }
    made = fabio.factory(kind)
    made.data = image
    made.header = {key: header[key] for key in header if ("." in key) == (kind == "cbfimage")}
    with tempfile.TemporaryDirectory() as folder:
        made.write(f"{folder}/x")
        return Path(f"{folder}/x").read_bytes()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(60, dtype=np.uint16).reshape(2, 5, 6))
    return out.getvalue()


def mar345() -> bytes:
    """Return the header of a MAR345 plate and some packed pixels."""
    head = struct.pack("<16i", 1234, 1200, 0, 1, 1, 1440000, 150, 150, 1000, 0, 0, 0, 0, 0, 0, 0)
    head += b"mar research".ljust(64) + b"PROGRAM scan345\nFORMAT  1200  MAR345 1440000\n"
    head += b"PIXEL LENGTH 150 HEIGHT 150\nWAVELENGTH 1.0\nDISTANCE 100\nEND OF HEADER\n"
    return head.ljust(4096, b"\0") + b"\nCCP4 packed image, X: 1200, Y: 1200\n" + bytes(range(200))


def hdf5(kind: str) -> bytes:
    """Return images in HDF5: NXmx, CXI, or a bare array."""
    out = io.BytesIO()
    data = np.arange(60, dtype=np.uint16).reshape(2, 5, 6)
    with h5py.File(out, "w", libver="latest" if kind == "cxi" else "earliest") as file:
        if kind == "bare":
            file["data"] = data
        elif kind == "cxi":
            file.create_dataset("entry_1/data_1/data", data=data, chunks=(1, 5, 6), compression=4)
            file["entry_1/instrument_1/detector_1/distance"] = 0.1
            file["entry_1/data_1/mask"] = np.zeros((5, 6), dtype=np.uint16)
        else:
            entry = file.create_group("entry")
            entry.attrs["NX_class"] = "NXentry"
            group = entry.create_group("data")
            group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "data"
            group.create_dataset("data", data=data, chunks=(1, 5, 6), compression="gzip")
            detector = entry.create_group("instrument/detector")
            detector.attrs["NX_class"] = "NXdetector"
            entry["instrument"].attrs["NX_class"] = "NXinstrument"
            detector["pixel_mask"] = np.zeros((5, 6), dtype=np.uint32)
            for name, value in (("distance", 0.1), ("x_pixel_size", 75e-6), ("y_pixel_size", 1e-4)):
                detector[name] = value
                detector[name].attrs["units"] = "m"
            beam = entry.create_group("instrument/beam")
            beam["incident_wavelength"] = 1.3
            file["entry/link"] = h5py.SoftLink("/entry/data")
    return out.getvalue()


def tiny(*names: str) -> tuple[bytes, ...]:
    return tuple((TINY / name).read_bytes() for name in names)


def readers() -> dict[str, Reader]:
    """Return every reader by name."""
    folder = Path(tempfile.mkdtemp(prefix="spotmill-fuzz-"))
    cell = folder / "valid.cell"
    cell.write_bytes(CELL)
    beam = b"nphotons: 1.0e12\nbeam_radius: 2e-6\nbandwidth: 1e-3\n"
    return {
        "geometry": Reader(geometry, ".geom", (GEOMETRY, *tiny("detectors/tiny.geom"))),
        "cell": Reader(read_cell, ".cell", (CELL,)),
        "hkl": Reader(lambda path: read_hkl(path, cell), ".hkl", (HKL,)),
        "orientations": Reader(
            lambda path: read_orientations(path, 2), ".txt", (b"1 0 0 0\n0.5 0.5 0.5 0.5 # x\n",)
        ),
        "spectrum": Reader(
            read_spectrum,
            ".txt",
            (b"7000 1\n7010, 3.5\n# x\n7020 0\n", b"# energy/keV current/A\n7.0 1\n7.1 2e-3\n"),
        ),
        "mtz": Reader(read_mtz, ".mtz", (mtz(),)),
        "pdb": Reader(read_structure, ".pdb", (PDB,)),
        "mmcif": Reader(read_structure, ".cif", (mmcif(),)),
        "beam": Reader(
            Beam.read,
            ".yaml",
            (
                *tiny("beams/weak.yaml"),
                beam + b"spectrum: sase\nn_spikes: 30\nspike_width: 1e-4\n",
                beam + b"spectrum: twocolour\nseparation: 70\nprofile: flat\noffset: [1e-6, 0]\n",
            ),
        ),
        "crystal": Reader(
            Crystal.read,
            ".yaml",
            (
                *tiny("crystals/proteinase_k.yaml"),
                b"name: x\nstructure: pdb:1IC6\nsize: {lognormal: [1e-6, 0.3]}\n"
                b"per_frame: [0.1, 0.8, 0.1]\nmosaicity: {uniform: [0, 0.1]}\n",
            ),
        ),
        "solvent": Reader(
            Solvent.read,
            ".yaml",
            (
                *tiny("solvents/thin.yaml"),
                b"shape: measured\nframes: [a.h5]\nuse: mean\nscale: 2\n",
            ),
        ),
        "response": Reader(
            Response.read,
            ".yaml",
            (
                *tiny("detectors/tiny.yaml"),
                b"sensor: silicon\nsensor_thickness: 4.5e-4\ndead_pixels: 0.01\n"
                b"beamstop: {radius: 1e-3, arm_width: 1e-3}\nzingers: 2\nzinger_photons: 9\n",
            ),
        ),
        "randomise": Reader(
            Randomise.read,
            ".yaml",
            (
                b"flux: {lognormal: [1, 0.3]}\nclen: {normal: [0, 1e-4]}\n"
                b"signal: {choice: [1, 2]}\n",
            ),
        ),
        "task": Reader(Task.read, ".yaml", tiny("tasks/hit.yaml", "tasks/camera_length.yaml")),
        "config": Reader(Config.read, ".yaml", tiny("config.yaml")),
        "sheet": Reader(read_datasets, ".tsv", tiny("datasets.tsv")),
        "list": Reader(
            lambda path: list(sources(path)), ".lst", (f"{cell} //3\n{cell}\n".encode(),)
        ),
        "pattern-sim list": Reader(read_intensities, ".hkl", (HKL,)),
        "pattern-sim cell": Reader(read_cell_or_pdb, ".cell", (CELL, PDB)),
        "pattern-sim beam": Reader(read_beam, ".beam", (BEAM_FILE,)),
        "pattern-sim spectrum": Reader(
            read_crystfel_spectrum, ".txt", (b"# energy/keV current/A\n7.0 1\n7.1 2e-3\n",)
        ),
        "stream": Reader(lambda path: list(stream_axes(path)), ".stream", (STREAM,)),
        "cbf": Reader(frames, ".cbf", (written("cbfimage"),)),
        "tiff": Reader(frames, ".tif", (written("tifimage"),)),
        "edf": Reader(frames, ".edf", (written("edfimage"),)),
        "adsc": Reader(frames, ".img", (written("dtrekimage"),)),
        "esperanto": Reader(frames, ".esperanto", (written("esperantoimage", 256),)),
        "mar345": Reader(frames, ".mar1200", (mar345(),)),
        "numpy": Reader(frames, ".npy", (array(),)),
        "hdf5": Reader(frames, ".h5", (hdf5("nxmx"), hdf5("cxi"), hdf5("bare"))),
    }
