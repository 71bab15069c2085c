"""CrystFEL geometry files of others, and our own detector."""

import numpy as np
import pytest
from geom_texts import EIGER, parse

from spotmill.concepts import Response
from spotmill.formats.geom import (
    Quantity,
    format_geometry,
    read_geometry,
)
from spotmill.physics.geometry import beam_centre, pixel_positions

# --- files of others ----------------------------------------------------------------------

KNOWN = {
    # file: panels, clen as written, unit, corner of the first panel, shape of the data
    "geometry/crystfel_Eiger16M-binning2-nativefiles.geom": (
        1, 0.1, "m", (-1000.0, -1000.0), (2167, 2070),
    ),
    "geometry/crystfel_cspad-cxiformat.geom": (
        64, "/LCLS/detector_1/EncoderValue", "mm", (443.819, -49.8719), (1480, 1552),
    ),
    "geometry/crystfel_cspad-single.geom": (
        64, "/LCLS/detectorPosition", "mm", (424.384, -10.6473), (1480, 1552),
    ),
    "geometry/crystfel_jf-swissfel-16M.geom": (
        32, 95.3, "mm", (2147.07110898, 1131.30172146), (16448, 1030),
    ),
    "geometry/crystfel_lcls-dec.geom": (2, 0.0678, "m", (-491.9, 71.3), (1024, 1024)),
    "geometry/crystfel_lcls-june-r0013-r0128.geom": (2, 0.06478, "m", (-512.9, 53.0), (1024, 1024)),
    "geometry/crystfel_lcls-xpp-estimate.geom": (1, 0.08, "m", (-727.5, -727.5), (1456, 1456)),
    "geometry/crystfel_pilatus.geom": (
        1, "/LCLS/detectorPosition", "mm", (-1272.37, -1243.8), (2527, 2463),
    ),
    "geometry/crystfel_simple.geom": (2, 0.05, "m", (-512.0, 10.0), (1024, 1024)),
    "geometry/extrageom_agipd_simple_2d.geom": (128, 0.13, "m", (-525.0, 625.0), (8192, 128)),
    "geometry/reborn_adam_Eiger4M.geom": (
        1, 0.135, "m", (-2000.9199, -2249.374056), (4371, 4150),
    ),
    "reference/pattern_sim/Eiger4M_091.geom": (1, 0.15, "m", (-1034.5, -1081.5), (2163, 2069)),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_files_of_others(shared, name):
    panels, clen, unit, corner, shape = KNOWN[name]
    geometry = read_geometry(shared / name)
    assert len(geometry.panels) == panels
    assert geometry.clen == Quantity("clen", clen, unit)
    assert (geometry.panels[0].corner_x, geometry.panels[0].corner_y) == corner
    assert parse(format_geometry(geometry)) == geometry
    assert geometry.detector(clen=0.2, photon_energy=7000).shape == shape


def test_every_file_of_others_reads_back(shared):
    paths = sorted(shared.glob("geometry/*.geom")) + sorted(shared.glob("reference/*/*.geom"))
    assert len(paths) >= 21
    for path in paths:
        geometry = read_geometry(path)
        assert parse(format_geometry(geometry)) == geometry


def test_reference_detectors_follow_their_names(shared):
    for path in shared.glob("reference/pattern_sim/Eiger4M_*eV_*cm.geom"):
        _, energy, length = path.stem.split("_")
        geometry = read_geometry(path)
        assert geometry.photon_energy == float(energy.removesuffix("eV"))
        assert geometry.clen.number == float(length.removesuffix("cm")) / 100


# --- our own detector ---------------------------------------------------------------------


def test_eiger():
    geometry = read_geometry(EIGER)
    detector = geometry.detector()
    assert detector.shape == (2167, 2070)
    assert [panel.name for panel in detector.panels] == [f"m{n}" for n in range(8)]
    assert all((panel.n_ss, panel.n_fs) == (514, 1030) for panel in detector.panels)
    assert detector.mask.sum() == 8 * 514 * 1030
    assert detector.pixel_size == pytest.approx(75e-6, rel=1e-14)
    assert beam_centre(detector) == pytest.approx((1035.0, 1083.5))
    assert (~detector.mask.any(axis=1)).sum() == 3 * 37
    assert (~detector.mask.any(axis=0)).sum() == 10
    assert (geometry.clen.number, geometry.photon_energy, geometry.bandwidth) == (0.15, 7000, 0.01)
    assert (detector.adu_per_photon, detector.max_adu) == (1, 65535)


def test_eiger_modules_lie_as_their_pixels_do():
    # One grid: in the data array and in space, neighbours are 75 microns apart over gaps too.
    detector = read_geometry(EIGER).detector()
    for panel in detector.panels:
        first = pixel_positions(panel)[0, 0]
        expected = [(panel.min_fs + 0.5 - 1035) * 75e-6, (panel.min_ss + 0.5 - 1083.5) * 75e-6]
        np.testing.assert_allclose(first, [*expected, 0.15], atol=1e-12)


def test_eiger_response():
    assert Response.read(EIGER.with_suffix(".yaml")).point_spread == 3.0e-5
