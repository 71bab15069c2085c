"""The detector's response against closed forms, trigonometry and the laws it draws from."""

import math

import numpy as np
import pytest
from scipy import stats

from spotmill.concepts import Beamstop, Response
from spotmill.errors import SpotmillError
from spotmill.physics.artefacts import Artefacts, flawed_pixels, live_mask
from spotmill.physics.geometry import Detector, Panel
from spotmill.physics.photons import stream
from spotmill.physics.response import (
    detection_at,
    detection_map,
    sensor_absorption,
    sensor_efficiency,
    shadow_plane,
    spread_components,
)

PIXEL = 1e-4


def detector_of(*panels, mask=None):
    shape = (max(p.max_ss for p in panels) + 1, max(p.max_fs for p in panels) + 1)
    live = np.zeros(shape, dtype=bool)
    for panel in panels:
        live[panel.slab] = True
    return Detector(panels, shape, live if mask is None else live & mask, 0.1, None, 1.0)


def panel_of(corner, first_fs=0, n_fs=200, n_ss=160, fs=(PIXEL, 0, 0), ss=(0, PIXEL, 0)):
    return Panel("p", first_fs, first_fs + n_fs - 1, 0, n_ss - 1, corner, fs, ss)


@pytest.fixture
def flat():
    """A panel of 20 x 16 mm normal to the beam, which passes off its centre."""
    return detector_of(panel_of((-90.3 * PIXEL, -70.7 * PIXEL, 0.1)))


# --- sensor ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photon_energy", "transmission"),
    [(8030.4, 8.2279e-4), (10017.0, 0.024223), (12390.0, 0.13686), (15066.0, 0.32793)],
)
def test_silicon_agrees_with_the_table_of_henke(photon_energy, transmission):
    """Transmission of 500 micron: Henke, Gullikson & Davis, At. Data Nucl. Data Tables 54 (1993).

    The two compilations differ by 2 to 4 % in the coefficient.
    """
    tau = float(sensor_absorption("silicon", photon_energy)) * 500e-6
    assert tau / -math.log(transmission) == pytest.approx(1.025, abs=0.02)
    found = float(sensor_efficiency("silicon", 500e-6, photon_energy, 1.0))
    assert found == pytest.approx(1 - transmission, abs=0.01)


# Total attenuation and energy absorption, cm2/g: NIST Standard Reference Database 126.
NIST_SILICON = {
    4e3: (452.9, 442.7),
    6e3: (147.0, 143.9),
    8e3: (64.68, 63.13),
    1e4: (33.89, 32.89),
    1.5e4: (10.34, 9.794),
    2e4: (4.464, 4.076),
}
NIST_CADMIUM_TELLURIDE = {6e3: 528.6, 1e4: 138.1, 2e4: 21.44, 3e4: 21.82, 6e4: 6.542, 1e5: 1.671}


def test_absorption_lies_between_the_two_coefficients_of_nist():
    for energy, (attenuated, deposited) in NIST_SILICON.items():
        tau = float(sensor_absorption("silicon", energy)) / 232.9
        assert deposited < tau < attenuated
        assert tau == pytest.approx(deposited, rel=0.02)
    for energy, attenuated in NIST_CADMIUM_TELLURIDE.items():
        tau = float(sensor_absorption("cadmium_telluride", energy)) / 585.0
        assert 0.87 * attenuated < tau < attenuated


@pytest.mark.parametrize("thickness", [320e-6, 450e-6, 1000e-6])
@pytest.mark.parametrize(("photon_energy", "tau_over_rho"), [(8e3, 63.79), (1e4, 33.15)])
def test_silicon_follows_beer_at_tabulated_energies(thickness, photon_energy, tau_over_rho):
    for angle in (0.0, 30.0, 60.0, 85.0):
        cosine = math.cos(math.radians(angle))
        path = thickness * 100 / cosine  # cm
        expected = 1 - math.exp(-tau_over_rho * 2.329 * path)
        found = float(sensor_efficiency("silicon", thickness, photon_energy, cosine))
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("photon_energy", "stated"),
    [(8000.0, (0.99, 1.0, 1.0)), (12400.0, (0.73, 0.84, 0.98)), (17500.0, (0.37, 0.47, 0.76))],
)
def test_common_silicon_sensors_have_their_well_known_efficiencies(photon_energy, stated):
    found = [
        float(sensor_efficiency("silicon", t, photon_energy, 1.0)) for t in (320e-6, 450e-6, 1e-3)
    ]
    assert found == pytest.approx(stated, abs=0.01)
    assert float(sensor_efficiency("cadmium_telluride", 750e-6, 20000.0, 1.0)) > 0.999


@pytest.mark.parametrize(
    ("sensor", "edge", "jump"),
    [
        ("silicon", 1839, 3191 / 307),
        ("cadmium_telluride", 26711, 28.52 / 8.924),
        ("cadmium_telluride", 31814, 34.21 / 18.01),
    ],
)
def test_absorption_edges_are_steps(sensor, edge, jump):
    below, above = sensor_absorption(sensor, [edge - 0.01, edge])
    assert above / below == pytest.approx(jump, rel=1e-4)
    many = sensor_absorption(sensor, np.linspace(2000.0, 1e5, 5000))
    assert np.isfinite(many).all() and (many > 0).all()


@pytest.mark.parametrize("photon_energy", [8.0, 900.0, 1.1e5, math.nan])
def test_photon_energies_outside_the_table_are_refused(photon_energy):
    with pytest.raises(SpotmillError, match="photon_energy: "):
        sensor_absorption("silicon", photon_energy)


def test_unphysical_sensors_are_refused():
    with pytest.raises(SpotmillError, match="sensor: 'germanium'"):
        sensor_absorption("germanium", 8000.0)
    for thickness in (0.0, -1e-4, math.nan, 450.0):
        with pytest.raises(SpotmillError, match="sensor_thickness"):
            sensor_efficiency("silicon", thickness, 8000.0, 1.0)
    for cosine in (0.0, -0.5, 1.1, math.nan):
        with pytest.raises(SpotmillError, match="surface"):
            sensor_efficiency("silicon", 450e-6, 8000.0, cosine)


def test_ideal_detector_counts_everything(flat):
    image = detection_map(flat, Response(), 8000.0)
    assert image.dtype == np.float32 and image.shape == flat.shape and (image == 1).all()
    np.testing.assert_array_equal(live_mask(flat, Response()), flat.mask)


def test_map_holds_the_efficiency_at_the_angle_of_each_pixel():
    # Panels turned about y by 0 and 35 degrees: the angle of incidence by trigonometry.
    turn = math.radians(35.0)
    fs = (PIXEL * math.cos(turn), 0.0, -PIXEL * math.sin(turn))
    centre = np.array([0.05, 0.0, 0.05])
    corner = centre - 100 * np.array(fs) - 80 * np.array([0, PIXEL, 0])
    detector = detector_of(
        panel_of((-100 * PIXEL, -80 * PIXEL, 0.1)), panel_of(corner, first_fs=200, fs=fs)
    )
    response = Response(sensor="silicon", sensor_thickness=450e-6)
    image = detection_map(detector, response, 12400.0)
    tau = float(sensor_absorption("silicon", 12400.0))
    # Flat: the tangent is the distance from the beam over 0.1 m.
    angle = math.atan(math.hypot(50.5, 30.5) * PIXEL / 0.1)
    expected = 1 - math.exp(-tau * 450e-6 / math.cos(angle))
    assert image[110, 150] == pytest.approx(expected, rel=1e-6)
    # Turned: at the centre of its rows, the ray runs 45 - 35 degrees from the normal.
    between = (image[79, 299] + image[80, 300]) / 2
    expected = 1 - math.exp(-tau * 450e-6 / math.cos(math.radians(10.0)))
    assert between == pytest.approx(expected, rel=1e-5)


def test_few_pixels_agree_with_the_map(flat):
    beamstop = Beamstop(radius=2e-3, transmission=0.1, arm_width=1e-3, arm_angle=20)
    response = Response(sensor="silicon", sensor_thickness=3.2e-4, beamstop=beamstop)
    image = detection_map(flat, response, 9000.0)
    pixel = np.random.default_rng(0).integers(image.size, size=500)
    few = detection_at(flat, response, 9000.0, pixel)
    np.testing.assert_allclose(few, image.ravel()[pixel], rtol=1e-6)
    one = pixel[:3]
    own = detection_at(flat, response, np.array([8000.0, 9000.0, 12000.0]), one)
    alone = [detection_at(flat, response, e, one)[i] for i, e in enumerate((8e3, 9e3, 12e3))]
    np.testing.assert_array_equal(own, alone)
    assert (detection_at(flat, Response(), 9000.0, pixel) == 1).all()


# --- point spread ---------------------------------------------------------------------------


def test_spread_components_share_the_photons():
    assert spread_components(Response(point_spread=2e-5)) == [(2e-5, 1.0)]
    shared = Response(point_spread=2e-5, charge_sharing=0.2, charge_sharing_spread=9e-5)
    assert spread_components(shared) == [(2e-5, 0.8), (9e-5, 0.2)]


# --- beamstop -------------------------------------------------------------------------------


def area_of_shadow(detector, response):
    return (1 - detection_map(detector, response, 8000.0).astype(float)).sum() * PIXEL**2


def test_round_shadow_has_its_area_and_lies_around_the_beam(flat):
    for radius in (0.8e-3, 3e-3, 5.2e-3):
        response = Response(beamstop=Beamstop(radius=radius))
        shade = 1 - detection_map(flat, response, 8000.0).astype(float)
        assert shade.sum() * PIXEL**2 == pytest.approx(math.pi * radius**2, rel=5e-3)
        ss, fs = np.indices(flat.shape) + 0.5
        middle = [(shade * axis).sum() / shade.sum() for axis in (fs, ss)]
        assert middle == pytest.approx([90.3, 70.7], abs=0.02)
        away = np.hypot(fs - 90.3, ss - 70.7) * PIXEL
        assert (shade[away < radius - PIXEL] == 1).all()
        assert (shade[away > radius + PIXEL] == 0).all()


def test_transmission_lets_its_share_through(flat):
    dark = area_of_shadow(flat, Response(beamstop=Beamstop(radius=3e-3)))
    grey = area_of_shadow(flat, Response(beamstop=Beamstop(radius=3e-3, transmission=0.3)))
    clear = area_of_shadow(flat, Response(beamstop=Beamstop(radius=3e-3, transmission=1.0)))
    assert grey == pytest.approx(0.7 * dark, rel=1e-6)
    assert clear == 0


@pytest.mark.parametrize(
    ("angle", "reach"),
    # From the beam at (90.3, 70.7) to the edges of the panel of 200 x 160 pixels.
    [(0, 109.7), (90, 89.3), (180, 90.3), (-90, 70.7), (270, 70.7)],
)
def test_arm_runs_from_the_beam_to_the_edge(flat, angle, reach):
    width, radius = 1.4e-3, 1e-3
    beamstop = Beamstop(radius=radius, arm_width=width, arm_angle=angle)
    arm = area_of_shadow(flat, Response(beamstop=beamstop))
    # The disc and a strip, less the part of the strip within the disc.
    half = width / 2
    within = half * math.sqrt(radius**2 - half**2) + radius**2 * math.asin(half / radius)
    expected = math.pi * radius**2 + width * reach * PIXEL - within
    assert arm == pytest.approx(expected, rel=0.01)


def test_arm_points_where_its_angle_says(flat):
    beamstop = Beamstop(radius=5e-4, arm_width=6e-4, arm_angle=30)
    image = detection_map(flat, Response(beamstop=beamstop), 8000.0)
    for distance in (20, 50, 80):
        for turn, expected in ((30, 0.0), (150, 1.0), (210, 1.0), (-30, 1.0)):
            angle = math.radians(turn)
            fs = int(90.3 + distance * math.cos(angle))
            ss = int(70.7 + distance * math.sin(angle))
            assert image[ss, fs] == expected


def test_shadow_is_cast_from_the_interaction_point():
    near = panel_of((-30 * PIXEL, -80 * PIXEL, 0.1), n_fs=60)
    far = panel_of((30 * PIXEL, -80 * PIXEL, 0.2), first_fs=60, n_fs=140)
    detector = detector_of(near, far)
    assert shadow_plane(detector) == pytest.approx(0.1)
    image = detection_map(detector, Response(beamstop=Beamstop(radius=4e-3)), 8000.0)
    # 4 mm at 0.1 m is 8 mm at 0.2 m: column 60 is 30 pixels from the beam.
    row = image[80, 60:]
    assert (row[:48] == 0).all() and (row[52:] == 1).all()


def test_masked_shadow_leaves_the_mask(flat):
    beamstop = Beamstop(radius=3e-3, arm_width=1e-3, masked=True)
    response = Response(beamstop=beamstop)
    shaded = detection_map(flat, response, 8000.0) < 1
    np.testing.assert_array_equal(live_mask(flat, response), flat.mask & ~shaded)
    open_ = Response(beamstop=beamstop.model_copy(update={"masked": False}))
    np.testing.assert_array_equal(live_mask(flat, open_), flat.mask)


# --- flawed pixels --------------------------------------------------------------------------

FLAWED = Response(
    dead_pixels=0.02, hot_pixels=0.01, hot_rate=40, noisy_pixels=0.03, noisy_rate=0.4, specimen=5
)


def test_flawed_pixels_are_as_many_as_stated_and_of_one_kind():
    n = 400 * 500
    flaws = flawed_pixels((400, 500), FLAWED)
    for pixels, share in zip(flaws, (0.02, 0.01, 0.03), strict=True):
        assert abs(len(pixels) - n * share) < 5 * math.sqrt(n * share * (1 - share))
    assert len(np.unique(np.concatenate(flaws))) == sum(len(pixels) for pixels in flaws)


def test_flawed_pixels_belong_to_the_specimen():
    again = flawed_pixels((400, 500), FLAWED.model_copy(update={"hot_rate": 3.0}))
    for left, right in zip(flawed_pixels((400, 500), FLAWED), again, strict=True):
        np.testing.assert_array_equal(left, right)
    other = flawed_pixels((400, 500), FLAWED.model_copy(update={"specimen": 6}))
    hot = flawed_pixels((400, 500), FLAWED).hot
    assert np.isin(other.hot, hot).mean() < 0.05
    more = flawed_pixels((400, 500), FLAWED.model_copy(update={"dead_pixels": 0.04}))
    assert np.isin(flawed_pixels((400, 500), FLAWED).dead, more.dead).all()


def test_dead_pixels_leave_the_mask(flat):
    live = live_mask(flat, FLAWED)
    gone = np.flatnonzero(flat.mask & ~live)
    np.testing.assert_array_equal(gone, flawed_pixels(flat.shape, FLAWED).dead)


def draw_frames(artefacts, count, seed=1):
    frames = np.zeros((count, artefacts.live.size), dtype=np.int64)
    for index in range(count):
        pixel, counts = artefacts.draw(stream(seed, "A", index, "artefacts"))
        np.add.at(frames[index], pixel, counts)
    return frames


def test_hot_and_noisy_pixels_follow_the_poisson_law_at_their_places(flat):
    mask = np.ones(flat.shape, dtype=bool)
    mask[:, :40] = False
    artefacts = Artefacts(detector_of(*flat.panels, mask=mask), FLAWED)
    frames = draw_frames(artefacts, 60)
    flaws = flawed_pixels(flat.shape, FLAWED)
    silent = ~np.isin(np.arange(flat.mask.size), np.concatenate([flaws.hot, flaws.noisy]))
    assert not frames[:, silent | ~artefacts.live.ravel()].any()
    for pixels, mean in ((flaws.hot, 40.0), (flaws.noisy, 0.4)):
        counts = frames[:, pixels[artefacts.live.ravel()[pixels]]].ravel()
        edges = np.unique(stats.poisson.ppf(np.linspace(0, 1, 13)[1:-1], mean))
        observed = np.bincount(np.digitize(counts, edges, right=True), minlength=len(edges) + 1)
        law = np.diff([0.0, *stats.poisson.cdf(edges, mean), 1.0])
        assert stats.chisquare(observed, law * counts.size).pvalue > 1e-4


# --- zingers --------------------------------------------------------------------------------


def test_zingers_have_the_moments_of_a_compound_poisson_law(flat):
    rate, mean, n = 3.0, 20.0, 3000
    artefacts = Artefacts(flat, Response(zingers=rate, zinger_photons=mean))
    frames = [artefacts.draw(stream(2, "A", i, "artefacts")) for i in range(n)]
    struck = np.array([len(np.unique(pixel)) for pixel, _ in frames])
    observed = np.bincount(np.minimum(struck, 8), minlength=9)
    law = stats.poisson.pmf(np.arange(9), rate)
    law[8] = stats.poisson.sf(7, rate)
    # Two on one pixel in a frame are rarer than 1 in 7000 frames.
    assert stats.chisquare(observed, law * n).pvalue > 1e-4
    totals = np.array([counts.sum() for _, counts in frames])
    square = mean**2 + mean * (mean - 1)  # second moment of the geometric law
    assert abs(totals.mean() - rate * mean) < 5 * math.sqrt(rate * square / n)
    assert totals.var() == pytest.approx(rate * square, rel=0.15)


def test_zingers_fall_everywhere_alike_and_in_proportion_to_area():
    small = panel_of((-80 * PIXEL, 0, 0.1), n_fs=40)
    large = panel_of((0, 0, 0.1), first_fs=50, n_fs=120)
    artefacts = Artefacts(detector_of(small, large), Response(zingers=5000, zinger_photons=1))
    pixel, _ = artefacts.draw(stream(3, "A", 0, "artefacts"))
    ss, fs = np.divmod(pixel, artefacts.live.shape[1])
    assert not ((fs >= 40) & (fs < 50)).any()
    share = (fs < 40).mean()
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / len(fs))
    assert stats.kstest((ss + 0.5) / 160, "uniform").pvalue > 1e-4


def test_tracks_are_short_straight_and_stay_on_their_panel():
    length = 30 * PIXEL
    wide = detector_of(panel_of((-0.05, -0.05, 0.1), n_fs=1000, n_ss=1000))
    response = Response(zingers=0.2, zinger_photons=2000, zinger_length=length)
    artefacts = Artefacts(wide, response)
    extents = []
    for index in range(2000):
        pixel, _ = artefacts.draw(stream(4, "A", index, "artefacts"))
        if stream(4, "A", index, "artefacts").poisson(0.2) != 1:
            continue
        ss, fs = np.divmod(np.unique(pixel), 1000)
        points = np.column_stack([fs, ss]) - [fs.mean(), ss.mean()]
        if len(fs) > 2:
            axes = np.linalg.svd(points, full_matrices=False)[2]
            assert np.abs(points @ axes[1]).max() < 1.5
        extents.append(np.hypot(*np.ptp(points, axis=0)))
    # An exponential law's mean and deviation are one; a pixel's rounding adds half a pixel or so.
    error = 30 / math.sqrt(len(extents))
    assert abs(np.mean(extents) - 30) < 5 * error
    beside = detector_of(
        panel_of((0, 0, 0.1), n_fs=5, n_ss=5), panel_of((1, 0, 0.1), first_fs=5, n_fs=5, n_ss=5)
    )
    response = Response(zingers=1, zinger_photons=200, zinger_length=length)
    struck = 0
    for index in range(60):
        pixel, _ = Artefacts(beside, response).draw(stream(5, "A", index, "artefacts"))
        if stream(5, "A", index, "artefacts").poisson(1.0) == 1:
            assert len(np.unique(pixel % 10 // 5)) <= 1
            struck += len(pixel) > 0
    assert struck > 10
