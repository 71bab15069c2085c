"""To which resolutions a detector reaches."""

import math

import numpy as np
import pytest

from spotmill.physics.geometry import Detector, Panel, scattering_magnitude
from spotmill.physics.reach import reach

WAVELENGTH = 1.5


def detector(corner: tuple[float, float, float], *more: tuple[float, float, float]) -> Detector:
    """Return panels of 100 x 80 pixels of 1 mm, their data side by side."""
    panels = tuple(
        Panel(f"p{n}", 100 * n, 100 * n + 99, 0, 79, at, np.array([1e-3, 0, 0]),
              np.array([0, 1e-3, 0]))
        for n, at in enumerate((corner, *more))
    )  # fmt: skip
    shape = (80, 100 * len(panels))
    return Detector(panels, shape, np.ones(shape, dtype=bool), 0.1, None, 1.0)


def d_at(distance: float) -> float:
    """Return the resolution (Å) at a distance (m) from the beam on a plane 0.1 m behind."""
    return WAVELENGTH / (2 * math.sin(math.atan2(distance, 0.1) / 2))


def test_edge_and_corner_are_the_nearest_side_and_the_farthest_corner() -> None:
    found = reach(detector((-0.04, -0.05, 0.1)), WAVELENGTH)
    assert found.edge == pytest.approx(d_at(0.03))
    assert found.corner == pytest.approx(d_at(math.hypot(0.06, 0.05)))


def test_a_gap_between_panels_is_no_edge() -> None:
    found = reach(detector((-0.105, -0.04, 0.1), (0.005, -0.04, 0.1)), WAVELENGTH)
    assert found.edge == pytest.approx(d_at(0.04))
    assert found.corner == pytest.approx(d_at(math.hypot(0.105, 0.04)))


def test_on_a_tilted_panel_no_border_pixel_scatters_less_than_the_edge() -> None:
    tilt = 0.3
    panel = Panel("p", 0, 99, 0, 79, (-0.05, -0.04, 0.1),
                  1e-3 * np.array([math.cos(tilt), 0, math.sin(tilt)]),
                  np.array([0, 1e-3, 0]))  # fmt: skip
    one = Detector((panel,), (80, 100), np.ones((80, 100), dtype=bool), 0.1, None, 1.0)
    s = scattering_magnitude(one, WAVELENGTH)
    border = min(s[0].min(), s[-1].min(), s[:, 0].min(), s[:, -1].min())
    # Half a pixel lies between a border pixel's middle and the border.
    assert 1 / border == pytest.approx(reach(one, WAVELENGTH).edge, rel=0.025)


def test_beside_the_beam_there_is_no_edge() -> None:
    found = reach(detector((0.01, -0.04, 0.1)), WAVELENGTH)
    assert math.isnan(found.edge) and found.corner == pytest.approx(d_at(math.hypot(0.11, 0.04)))
