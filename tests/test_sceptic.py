"""What a sceptic asks first: positions, sums, means, pairs, absences, noise and repeatability."""

import hashlib
import math
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, copy_tiny, simulate_words
from reflection_cut import (
    OFFSET,
    box,
    centroid,
    cut,
    read_case,
    reference_hemisphere,
)
from shard_worker import make_shard
from test_reflections import SETTINGS, cell_for

from spotmill.formats.frames import Shard
from spotmill.formats.geom import read_geometry
from spotmill.formats.reflections import read_reflections
from spotmill.physics.diffraction import Source, diffract, reflection_table, scale
from spotmill.physics.footprint import footprint
from spotmill.physics.geometry import max_scattering, project
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.photons import stream
from spotmill.physics.reflections import (
    Reflections,
    expand_to_hemisphere,
    reciprocal_basis,
)
from spotmill.physics.spectrum import tophat

HALF = {"s00": 10, "s04": 12, "s08": 14, "m04": 8}  # px: most of a spot, far from the next


@pytest.fixture(scope="module")
def hemisphere(shared):
    return reference_hemisphere(shared)


def compared(shared, hemisphere, name):
    """Return, for every spot of a frame, pattern_sim's sum and centroid and the prediction's.

    Rows: measured sum, predicted sum, measured less predicted fs and ss, displacement of the
    finite crystal's spot from the integrated engine's position, px.
    """
    case = read_case(shared, name, hemisphere)
    rows = []
    for row in range(len(case.spots.photons)):
        where = box(case, row, HALF[name])
        if where is None:
            continue
        pixels, predicted = case.image[where], cut(case, row, where)
        at = centroid(predicted, where)
        off = centroid(pixels, where) - OFFSET - at
        moved = np.hypot(*(at - [case.fs[row], case.ss[row]]))
        rows.append((pixels.sum(), predicted.sum(), *off, moved))
    return np.array(rows)


@pytest.mark.parametrize(("name", "spots"), [("s00", 25), ("s04", 5), ("s08", 5)])
def test_spots_lie_where_crystfel_draws_them(shared, hemisphere, name, spots) -> None:
    """A 150 nm crystal fills more than the band, which moves its spots by up to 5 px.

    Position, size and sum then follow from the engine's k_res and direction by the cut that
    each of the seven wavelengths makes.
    """
    rows = compared(shared, hemisphere, name)
    assert len(rows) >= spots
    miss = np.hypot(rows[:, 2], rows[:, 3])
    assert np.median(miss) < 0.01
    assert miss.max() < 0.05
    # Without the displacement the agreement would be a hundred times worse: it is no tautology.
    assert np.median(rows[:, 4]) > 0.5


@pytest.mark.parametrize("name", ["s00", "s04", "s08", "m04"])
def test_spot_sums_are_those_of_crystfel(shared, hemisphere, name) -> None:
    rows = compared(shared, hemisphere, name)
    ratio = rows[:, 0] / rows[:, 1]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    assert ratio.min() > 0.98 and ratio.max() < 1.02


def test_closed_form_is_the_whole_of_a_spot_inside_the_band(shared, hemisphere) -> None:
    """At 1 µm the middle of the band holds whole spots: no model between the two programs."""
    case = read_case(shared, "m04", hemisphere)
    band = case.light.spectrum
    place = (case.spots.wavenumber - band.low) / (band.high - band.low)
    ratios = []
    for row in np.flatnonzero(np.abs(place - 0.5) < 0.25):
        where = box(case, int(row), 8)
        if where is not None:
            ratios.append(case.image[where].sum() / case.spots.photons[row])
    assert len(ratios) >= 2
    np.testing.assert_allclose(ratios, 1.0, atol=0.05)  # fringes outside box and band


def test_positions_obey_the_prediction_equation_written_by_hand(shared, hemisphere) -> None:
    """Strike the plane z = clen with the ray s + k z, pixels read off the geometry file."""
    case = read_case(shared, "s00", hemisphere)
    text = (shared / "reference/pattern_sim/Eiger4M_6000eV_15cm.geom").read_text()
    entries = dict(line.split(";")[0].split("=") for line in text.splitlines() if "=" in line)
    values = {key.strip().split("/")[-1]: value.strip() for key, value in entries.items()}
    s, k = case.spots.s, case.spots.wavenumber
    x, y = (0.15 * s[:, axis] / (s[:, 2] + k) for axis in (0, 1))
    fs = x * float(values["res"]) - float(values["corner_x"])
    ss = y * float(values["res"]) - float(values["corner_y"])
    on = case.fs >= 0
    assert on.sum() > 20
    np.testing.assert_allclose(case.fs[on], fs[on], atol=1e-6)
    np.testing.assert_allclose(case.ss[on], ss[on], atol=1e-6)


@cache
def proteinase():
    reflections = read_reflections(ROOT / "resources/1ic6.mtz")
    hkl, intensity = expand_to_hemisphere(reflections)
    return reflection_table(hkl, intensity, reciprocal_basis(reflections.cell))


def proteinase_light(energy: float) -> Source:
    volume = 1 / abs(np.linalg.det(proteinase().axes))
    return Source(
        tophat(energy, 0.01), scale(3e8 / (math.pi * 5e-6**2), 1e-15, volume), polarisation=1.0
    )


def seen(detector, light, wavelength: float):
    """Return angles 2 theta [n] and the azimuthal mean of P where a live pixel is, else 0."""
    reach = 2 * math.asin(max_scattering(detector, wavelength) * wavelength / 2)
    angles = np.linspace(0, 1.001 * reach, 500)
    azimuths = (np.arange(720) + 0.5) * (2 * np.pi / 720)
    values = []
    for angle in angles:
        x, y = math.sin(angle) * np.cos(azimuths), math.sin(angle) * np.sin(azimuths)
        rays = np.stack([x, y, np.full_like(x, math.cos(angle))], axis=1)
        panel, fs, ss = project(detector, rays)
        on = panel >= 0
        on[on] = detector.mask[ss[on].astype(int), fs[on].astype(int)]
        values.append(((1 - x**2) * on).mean())
    assert light.polarisation == 1.0
    return angles, np.array(values)


@cache
def many_patterns():
    """Return detector, light, and |s| and recorded photons of every spot of 2 000 patterns."""
    detector = read_geometry(ROOT / "config/detectors/eiger4m.geom").detector(
        clen=0.15, photon_energy=7000.0
    )
    light = proteinase_light(7000.0)
    table = proteinase().within(max_scattering(detector, 1 / light.spectrum.high))
    lengths, photons = [], []
    for index in range(2000):
        turned = turn_axes(table.axes, random_quaternion(stream(2, "mean", index, "orientation")))
        spots = diffract(table, turned, light)
        feet = footprint(spots, detector, [(0.0, 1.0)])
        lengths.append(np.linalg.norm(spots.s, axis=1))
        photons.append(np.bincount(feet.spot, feet.photons, minlength=len(spots.photons)))
    return detector, light, lengths, photons


@pytest.mark.parametrize(("d_max", "precision"), [(np.inf, 0.06), (10.0, 0.01), (4.0, 0.01)])
def test_mean_over_orientations_is_the_solid_angle_integral_over_the_detector(
    d_max, precision
) -> None:
    """Σ over 2 000 orientations of 1IC6 on the Eiger 4M against an integral without any draw.

    The direction of s is uniform, so d cos(psi) / 2 of it is |s| / (4 k^2) dk: a reflection
    gives scale |F|^2 / (|s|^2 / 2) ∫ p(k) |s| / (4 k^2) <P live>(2 theta) dk on the mean, and
    so does its Friedel mate. A few strong, rarely excited reflections of low resolution make
    most of the scatter of the sum: without them the test is sharper.
    """
    detector, light, lengths, photons = many_patterns()
    band, table = light.spectrum, proteinase()
    totals = np.array([photons[i][lengths[i] >= 1 / d_max].sum() for i in range(len(photons))])
    angles, live = seen(detector, light, 1 / band.high)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    k = (band.low + band.high) / 2 + nodes * (band.high - band.low) / 2
    length = np.sqrt(table.squared)
    keep = (length >= 1 / d_max) & (length < 2 * band.low)
    length, intensity = length[keep], table.intensity[keep]
    share = np.zeros(len(length))
    for node, weight in zip(k, weights / 2, strict=True):
        two_theta = 2 * np.arcsin(length / (2 * node))
        share += weight * length / (4 * node**2) * np.interp(two_theta, angles, live, right=0.0)
    expected = (2 * light.scale * intensity / (length**2 / 2) * share).sum()
    error = totals.std() / math.sqrt(len(totals))
    assert error < precision * expected
    assert abs(totals.mean() - expected) < 3 * error


def test_friedel_mates_have_equal_intensity() -> None:
    """Turn the crystal by half about an axis across s: -h then stands where h stood."""
    table, light = proteinase(), proteinase_light(7000.0)
    axes = turn_axes(table.axes, random_quaternion(stream(2, "pair", 0, "orientation")))
    spots = diffract(table, axes, light)
    brightest = np.argsort(spots.photons)[-20:]
    for row in brightest:
        across = np.cross(spots.s[row], [0.3, -0.2, 0.9])
        across /= np.linalg.norm(across)
        mates = diffract(table, axes @ (2 * np.outer(across, across) - np.eye(3)), light)
        match = (mates.hkl == -spots.hkl[row]).all(axis=1)
        assert match.sum() == 1
        np.testing.assert_allclose(mates.photons[match], spots.photons[row], rtol=1e-9)
        np.testing.assert_allclose(mates.direction[match][0], spots.direction[row], atol=1e-12)


def test_absent_reflections_stay_absent_in_every_space_group() -> None:
    assert {group.number for group in SETTINGS} == set(range(1, 231))
    with_absences = 0
    for number, group in enumerate(SETTINGS):
        cell = cell_for(group)
        hkl = gemmi.make_miller_array(gemmi.UnitCell(*cell), group, 1.2)
        intensity = np.random.default_rng(number).exponential(1e4, len(hkl))
        reflections = Reflections(cell, group.xhm(), hkl, intensity, 1.2)
        every, values = expand_to_hemisphere(reflections)
        operations = group.operations()
        assert not operations.systematic_absences(every).any(), group.xhm()
        table = reflection_table(every, values, reciprocal_basis(cell))
        axes = turn_axes(table.axes, random_quaternion(stream(3, "abs", number, "orientation")))
        volume = 1 / abs(np.linalg.det(axes))
        light = Source(tophat(12000, 0.5), scale(1e18, 1e-18, volume), None)
        spots = diffract(table, axes, light)
        assert len(spots.hkl) > 20, group.xhm()
        assert not operations.systematic_absences(spots.hkl).any(), group.xhm()
        # The lattice itself would have put spots there.
        grid = np.mgrid[-8:9, -8:9, -8:9].reshape(3, -1).T.astype(np.int32)
        grid = grid[grid.any(axis=1)]
        s = grid @ axes
        excited = np.abs(-(s**2).sum(1) / np.where(s[:, 2] == 0, np.nan, 2 * s[:, 2]) - 1) < 0.2
        with_absences += operations.systematic_absences(grid[excited]).any()
    assert with_absences > 300


def images(path) -> np.ndarray:
    with Shard(path) as shard:
        return np.stack([shard.read(i) for i in range(len(shard.indices))])


def test_doubling_the_flux_doubles_the_expected_photons(tiny, spotmill) -> None:
    weak = (tiny / "config/beams/weak.yaml").read_text()
    assert "nphotons: 1.0e8" in weak
    (tiny / "twice.yaml").write_text(weak.replace("1.0e8", "2.0e8"))
    for name, beam in (("one", "config/beams/weak.yaml"), ("two", "twice.yaml")):
        spotmill(*simulate_words(name, 0, 6, no_noise=True, beam=beam))
    one, two = images("peaks/one.h5"), images("peaks/two.h5")
    assert one.sum() > 100
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    spots = [pd.read_parquet(f"truth/{name}.parquet") for name in ("one", "two")]
    for column in ("expected_photons", "photons"):
        np.testing.assert_allclose(spots[1][column], 2 * spots[0][column], rtol=1e-9)


def test_mean_of_a_thousand_noisy_frames_is_the_expectation(tiny, spotmill) -> None:
    n = 1000
    quaternion = random_quaternion(stream(4, "noise", 0, "orientation"))
    line = " ".join(repr(float(x)) for x in quaternion) + "\n"
    Path("many.txt").write_text(line * n)
    Path("one.txt").write_text(line)
    spotmill(*simulate_words("one", 0, 1, no_noise=True, orientations="one.txt"))
    spotmill(*simulate_words("many", 0, n, orientations="many.txt"))
    expected = images("peaks/one.h5")[0].astype(np.float64)
    noisy = images("peaks/many.h5")
    assert not noisy[:, expected == 0].any()
    lit = expected > 0.01  # 10 photons in all frames: the pull is nearly normal
    pull = (noisy.mean(axis=0)[lit] - expected[lit]) / np.sqrt(expected[lit] / n)
    assert lit.sum() > 50
    assert abs((pull**2).mean() - 1) < 5 * math.sqrt(2 / lit.sum())
    assert abs(noisy.sum() / n - expected.sum()) < 4 * math.sqrt(expected.sum() / n)


def test_one_two_and_four_workers_write_the_same_bytes(tmp_path) -> None:
    written = {}
    for workers in (1, 2, 4):
        folder = tmp_path / f"with{workers}"
        folder.mkdir()
        copy_tiny(folder)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done in [pool.submit(make_shard, str(folder), 3 * i) for i in range(4)]:
                done.result()
        files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".h5", ".parquet")]
        written[workers] = {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        }
    assert len(written[1]) == 12
    assert written[1] == written[2] == written[4]
