"""Faint peaks of a known cell: frames drawn photon by photon from a known orientation."""

from pathlib import Path

import numpy as np
import pytest
from test_pair_indexing import TETRAGONAL, WAVELENGTH, excited, turned

from spotmill.errors import SpotmillError
from spotmill.formats.images_model import FrameMetadata, RawFrame
from spotmill.inference.events import Event, Maker
from spotmill.inference.faint import Faint, scattering_vectors
from spotmill.inference.stated import Given
from spotmill.learning.marked import mark
from spotmill.physics.pair_indexing import misorientation
from spotmill.physics.peak_finding import Peaks
from spotmill.physics.units import photon_energy_from_wavelength

PIXEL, CLEN, EDGE = 150e-6, 0.15, 1000
NONE = Peaks(np.empty((0, 2)), np.empty(0), np.empty(0))
CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 67.288 A
b = 67.288 A
c = 106.582 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> Faint:
    path = tmp_path_factory.mktemp("cell") / "known.cell"
    path.write_text(CELL)
    return Faint.of_cell(path)


def drawn(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame of spots of about four photons, and the places (fs, ss) of all spots."""
    rng = np.random.default_rng(seed)
    ray = vectors * WAVELENGTH + [0, 0, 1]
    place = ray[:, :2] / ray[:, 2:] * CLEN / PIXEL + EDGE / 2
    place = place[((place > 4) & (place < EDGE - 4)).all(1)]
    image = rng.poisson(0.03, (EDGE, EDGE)).astype(np.uint16)
    for fs, ss in place:
        hits = rng.normal((fs, ss), 0.4, (rng.poisson(4.5), 2)).astype(int)
        np.add.at(image, (hits[:, 1], hits[:, 0]), 1)
    return image, place


def event_of(image: np.ndarray, **known: float) -> Event:
    """Return a frame as `spotmill predict` reads it."""
    given = Given(pixel_size=PIXEL, beam_centre=(EDGE / 2, EDGE / 2), **known)
    live = np.ones(image.shape, dtype=bool)
    return Maker(given).event(RawFrame(Path("frame.h5"), 0, image, live, FrameMetadata()))


BEAM = {"photon_energy": photon_energy_from_wavelength(WAVELENGTH), "clen": CLEN}


def test_vectors_are_those_that_the_places_were_made_of():
    vectors = excited(turned(TETRAGONAL, 0), 0, 20)
    _, place = drawn(vectors, 0)
    seen = scattering_vectors(event_of(np.zeros((EDGE, EDGE), np.uint16), **BEAM), place)
    apart = np.linalg.norm(seen[:, None] - vectors[None], axis=2).min(1)
    assert apart.max() < 1e-9


def test_spots_of_four_photons_are_found_by_their_lattice(faint):
    axes = turned(TETRAGONAL, 3)
    image, place = drawn(excited(axes, 3, 40), 3)
    event = event_of(image, **BEAM)
    chosen = faint.choose(event, mark(event.image, event.mask), NONE)
    assert chosen.lattice is not None
    assert misorientation(chosen.lattice.axes, axes) < 0.1
    apart = np.linalg.norm(chosen.peaks.place[:, None] - place[None], axis=2).min(1)
    true = int((apart < 2).sum())
    assert true >= 0.5 * len(place)
    assert true >= 0.8 * len(apart)
    # A peak that the model has found is not found again.
    sure = Peaks(*(column[:5] for column in chosen.peaks))
    again = faint.choose(event, mark(event.image, event.mask), sure)
    assert len(again.peaks.score) == len(chosen.peaks.score)


def test_water_alone_has_no_lattice(faint):
    image, _ = drawn(np.empty((0, 3)), 5)
    event = event_of(image, **BEAM)
    chosen = faint.choose(event, mark(event.image, event.mask), NONE)
    assert chosen.lattice is None
    assert len(chosen.peaks.score) == 0


def test_without_a_beam_nothing_is_looked_for(faint):
    image, _ = drawn(np.empty((0, 3)), 5)
    event = event_of(image)
    chosen = faint.choose(event, mark(event.image, event.mask), NONE)
    assert chosen.lattice is None
    assert "photon energy" in chosen.remark


def test_a_file_that_is_no_cell_is_named(tmp_path):
    path = tmp_path / "no.cell"
    path.write_text("a = 3\n")
    with pytest.raises(SpotmillError, match=r"no\.cell: line 1"):
        Faint.of_cell(path)
