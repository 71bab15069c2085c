"""The expected background on a coarse grid equals the one computed at every pixel."""

from dataclasses import replace

import numpy as np
import pytest

from spotmill.concepts import Beam, Beamstop, Response, Solvent
from spotmill.formats.geom import parse_geometry, read_geometry
from spotmill.physics.coarse import CoarseGrid, MovingImage
from spotmill.physics.conditions import Conditions, moved
from spotmill.physics.expected import expected_image
from spotmill.physics.geometry import Detector

BEAM = Beam(nphotons=3e8, beam_radius=5e-6, bandwidth=0.01)
PLAIN = Response(point_spread=3e-5)
SENSOR = Response(point_spread=3e-5, sensor="silicon", sensor_thickness=3.2e-4)
SHEET = Solvent(shape="sheet", thickness=1e-4)
THICK = Solvent(shape="jet", radius=5e-5, absorption=True, compton=True, air_downstream=0.02)


def detector(pixels: int = 150) -> Detector:
    """Return two panels that stand askew, one of them with a dead corner."""
    text = f"""
    photon_energy = 7000
    clen = 0.1
    res = 5000
    adu_per_photon = 1
    data = /entry/data/data
    dim0 = %
    dim1 = ss
    dim2 = fs
    a/min_fs = 0
    a/max_fs = {pixels - 1}
    a/min_ss = 0
    a/max_ss = 99
    a/corner_x = -{pixels / 2}
    a/corner_y = 5
    a/fs = x
    a/ss = y
    b/min_fs = 0
    b/max_fs = {pixels - 1}
    b/min_ss = 100
    b/max_ss = 199
    b/corner_x = -{pixels / 2}
    b/corner_y = -105.3
    b/fs = +0.999x +0.0447y
    b/ss = -0.0447x +0.999y
    """
    made = parse_geometry(text.replace("    ", ""), "two.geom").detector(clen=0.1)
    mask = made.mask.copy()
    mask[:20, :30] = False
    return replace(made, mask=mask)


def at(**changes: float) -> Conditions:
    """Return conditions of a frame."""
    values = {"photon_energy": 7000.0, "clen": 0.1, "beam_x": 0.0, "beam_y": 0.0}
    values |= {"tilt_x": 0.0, "tilt_y": 0.0, "flux": 1.0, "signal": 1.0, "background": 1.0}
    return Conditions(**(values | changes))


@pytest.mark.parametrize(
    ("response", "solvent", "conditions"),
    [
        (PLAIN, SHEET, at()),
        (PLAIN, SHEET, at(photon_energy=8500.0, clen=0.06, beam_x=2e-3, tilt_y=3.0)),
        (SENSOR, THICK, at(photon_energy=5500.0, clen=0.2, tilt_x=-2.0)),
        (
            Response(point_spread=3e-5, beamstop=Beamstop(radius=3e-3, transmission=0.1)),
            SHEET,
            at(clen=0.08),
        ),
    ],
)
def test_moving_image_is_the_image(
    response: Response, solvent: Solvent, conditions: Conditions
) -> None:
    whole = detector()
    found = MovingImage(whole, response, BEAM, solvent, step=16).at(conditions)
    there = moved(whole, conditions)
    wanted = expected_image(there, response, conditions.photon_energy, BEAM, solvent)
    live = whole.mask
    assert np.abs(found[live] / wanted[live] - 1).max() < 1e-4
    assert not found[~live].any()


def test_eiger_is_met_at_every_pixel() -> None:
    whole = read_geometry("config/detectors/eiger4m.geom").detector(clen=0.25)
    moving = MovingImage(whole, PLAIN, BEAM, SHEET)
    for energy, clen in ((5500.0, 0.38), (8500.0, 0.12)):
        conditions = at(photon_energy=energy, clen=clen)
        wanted = expected_image(moved(whole, conditions), PLAIN, energy, BEAM, SHEET)
        found = moving.at(conditions)
        assert np.abs(found[whole.mask] / wanted[whole.mask] - 1).max() < 1e-5


def test_bins_are_sums_over_pixels() -> None:
    whole = detector()
    grid = CoarseGrid(whole, step=16)
    rng = np.random.default_rng(1)
    bin_of_pixel = rng.integers(-1, 7, whole.shape)
    weight = whole.mask * rng.random(whole.shape)
    values = grid.expected(PLAIN, 7000.0, BEAM, SHEET)
    found = grid.bin_matrix(bin_of_pixel, weight, 7) @ values.ravel()
    image = grid.to_pixels(values)
    wanted = [(image * weight)[bin_of_pixel == number].sum() for number in range(7)]
    assert np.allclose(found, wanted, rtol=1e-5)


def test_cubic_is_exact_for_cubics() -> None:
    whole = detector()
    grid = CoarseGrid(whole, step=10)
    panel, coarse = whole.panels[0], grid.nodes.panels[0]

    def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 + x - 2 * y**2 + x**3 * y + y**3

    def place(of: object) -> tuple[np.ndarray, np.ndarray]:
        ss, fs = np.ogrid[: of.n_ss, : of.n_fs]
        points = of.corner + (fs + 0.5)[..., None] * of.fs + (ss + 0.5)[..., None] * of.ss
        return points[..., 0] * 50, points[..., 1] * 50

    values = np.zeros(grid.nodes.shape)
    values[coarse.slab] = cubic(*place(coarse))
    found = grid.to_pixels(values)[panel.slab]
    assert np.allclose(found, cubic(*place(panel)), atol=2e-6)
