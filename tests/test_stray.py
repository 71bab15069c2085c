"""Stray light: where it falls, how bright it is, and that it scatters as photons do."""

from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from conftest import simulate_words, water_words

from spotmill.concepts import Response
from spotmill.errors import SpotmillError
from spotmill.formats.geom import read_geometry
from spotmill.overlays.opener import open_overlay
from spotmill.physics.artefacts import live_mask
from spotmill.physics.conditions import draw_conditions
from spotmill.physics.geometry import Detector
from spotmill.physics.stray import ICE_A, ICE_C, ICE_LEAST_D, StrayLight, ice_rings
from spotmill.randomise import STRAY, Randomise

Run = Callable[..., None]
STOP = {"beamstop": {"radius": 5e-3, "arm_width": 2e-3, "arm_angle": 90}}


@pytest.fixture
def detector(tiny: Path) -> Detector:
    return read_geometry("config/detectors/tiny.geom").detector(clen=0.05, photon_energy=8000.0)


def light(
    detector: Detector, index: int = 0, response: Response | None = None, **law: float
) -> np.ndarray:
    """Return the photons that a frame's stray light is expected to leave, [ss, fs]."""
    randomise, identity = Randomise.model_validate(law), (1, "A", index)
    conditions = draw_conditions(randomise, 8000.0, 0.05, *identity)
    stray = StrayLight(detector, response or Response(), randomise)
    pixel, mean = stray.expected(identity, conditions)
    image = np.zeros(detector.shape)
    image.ravel()[pixel] = mean
    return image


def radius(detector: Detector) -> np.ndarray:
    """Return the distance of pixels from the beam, m (half a millimetre each, by the geometry)."""
    ss, fs = np.mgrid[: detector.shape[0], : detector.shape[1]] + 0.5
    return 5e-4 * np.hypot(fs - 83, ss - 64)


def test_the_rings_are_those_of_hexagonal_ice() -> None:
    # All of a primitive lattice, and the absences of its space group, by gemmi.
    cell = gemmi.UnitCell(ICE_A, ICE_A, ICE_C, 90, 90, 120)
    group = gemmi.find_spacegroup_by_name("P 63/m m c")
    there = gemmi.make_miller_array(cell, group, ICE_LEAST_D)
    wanted = np.unique(np.round([1 / cell.calculate_d(list(hkl)) for hkl in there], 6))
    np.testing.assert_allclose(ice_rings(), wanted, atol=2e-6)
    # The first three of every powder pattern.
    np.testing.assert_allclose(1 / ice_rings()[:3], [3.907, 3.672, 3.449], atol=2e-3)


@pytest.mark.parametrize("name", STRAY)
def test_it_is_as_bright_as_it_is_said_to_be(name: str, detector: Detector) -> None:
    for index in range(4):
        image = light(detector, index, **{name: 3.0})
        assert image[detector.mask].max() == pytest.approx(3.0, rel=1e-6)
        assert not image[~detector.mask].any()


def test_frames_differ_in_its_shape_and_a_frame_does_not(detector: Detector) -> None:
    for name in STRAY:
        first = light(detector, 0, **{name: 2.0})
        np.testing.assert_array_equal(first, light(detector, 0, **{name: 2.0}))
        assert not np.array_equal(first, light(detector, 1, **{name: 2.0}))


def test_the_halo_lies_around_the_beam_and_not_in_the_beamstops_shadow(detector: Detector) -> None:
    response, away = Response.model_validate(STOP), radius(detector)
    for index in range(4):
        open_, stopped = (light(detector, index, one, halo=5.0) for one in (None, response))
        assert open_[away < 5e-3].sum() > 0
        # Pixels that the edge crosses are half lit.
        assert not stopped[(away < 5e-3 - 5e-4) & detector.mask].any()
        assert stopped[away < 2e-2].sum() > 5 * stopped[away > 4e-2].sum()


def test_the_rings_of_ice_lie_at_their_angles(detector: Detector) -> None:
    image, away = light(detector, 0, ice=5.0), radius(detector)
    # sin(theta) = wavelength / 2d, at 8 keV and 50 mm.
    wavelength = 12398.4198 / 8000
    rings = 0.05 * np.tan(2 * np.arcsin(wavelength * ice_rings() / 2))
    nearest = abs(away[..., None] - rings).min(-1)
    assert image[nearest < 5e-4].mean() > 2 * image[nearest > 1.5e-3].mean()
    assert image[away < 0.8 * rings[0]].max() < 0.01 * image.max()


def test_a_slope_rises_evenly(detector: Detector) -> None:
    image = light(detector, 0, slope=2.0)
    live = detector.mask & (image > 1e-3)
    ss, fs = np.mgrid[: image.shape[0], : image.shape[1]]
    terms = np.stack([np.ones(live.sum()), fs[live], ss[live]], axis=1)
    _, left, *_ = np.linalg.lstsq(terms, image[live], rcond=None)
    assert left[0] / live.sum() < 1e-8


def test_it_scatters_as_photons_do_and_changes_nothing_else(tiny: Path, spotmill: Run) -> None:
    (tiny / "stray.yaml").write_text("halo: 5\nice: 0.5\nslope: 1\n")
    (tiny / "none.yaml").write_text("{}\n")
    spotmill(*water_words())
    for name in ("stray", "none"):
        spotmill(*simulate_words(name, randomise=f"{name}.yaml"))
        words = ["--peaks", f"peaks/{name}.h5", "--seed", 7, "--randomise", f"{name}.yaml"]
        spotmill("overlay", "--water", "water.h5", *words, "--output", f"{name}.h5")
    with open_overlay("stray.h5") as lit, open_overlay("none.h5") as dark:
        extra = [lit.read(n).astype(int) - dark.read(n).astype(int) for n in range(len(lit))]
        assert min(image.min() for image in extra) == 0
        added = lit.column("background_photons") - dark.column("background_photons")
        np.testing.assert_array_equal(added, [image.sum() for image in extra])
        detector = read_geometry("config/detectors/tiny.geom").detector(
            clen=0.05, photon_energy=6000.0
        )
    law = Randomise.read("stray.yaml")
    response = Response.read("config/detectors/tiny.yaml")
    for index, image in enumerate(extra):
        identity = (7, "A", index)
        conditions = draw_conditions(law, 6000.0, 0.05, *identity)
        whole = Detector(
            detector.panels, detector.shape, live_mask(detector, response), 0.05, None, 1.0
        )
        pixel, mean = StrayLight(whole, response, law).expected(identity, conditions)
        seen = image.ravel()[pixel]
        assert abs(seen.sum() - mean.sum()) < 5 * mean.sum() ** 0.5
        square = ((seen - mean) ** 2 / mean)[mean > 0.5]
        # Of a Poisson law 1 + 1/(mean n): its own spread is below 4 / sqrt(n).
        assert abs(square.mean() - 1) < 4 * (3 / len(square)) ** 0.5


def test_a_darkness_below_none_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "randomise.yaml"
    path.write_text("halo: {uniform: [-1, 2]}\n")
    with pytest.raises(SpotmillError, match=r"randomise\.yaml: halo: photons must not fall below"):
        Randomise.read(path)
