"""Photons added up in the image's own type are those of a wide image clipped at the end."""

import numpy as np
import pytest

from spotmill.errors import SpotmillError
from spotmill.physics.photons import Exposure, PhotonSampler, fit_counts, stream


def layers(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return an image of few bright pixels, a mask, and photons on single pixels with repeats."""
    rng = np.random.default_rng(3)
    image = np.where(rng.random(shape) < 0.05, rng.integers(0, 70_000, shape), 0)
    live = rng.random(shape) < 0.8
    return image, live, rng.integers(0, image.size, 400), rng.integers(0, 30_000, 400)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 11), (64, 64)])
def test_what_is_added_is_clipped_as_the_sum_would_be(dtype, shape) -> None:
    image, live, pixels, counts = layers(shape)
    image = np.minimum(image, np.iinfo(np.uint16).max).astype(dtype)
    wide = np.where(live, image, 0).astype(np.int64) * 2
    on = live.ravel()[pixels]
    np.add.at(wide.ravel(), pixels[on], counts[on])
    exposure = Exposure(live, np.uint16, 60_000)
    for _ in range(2):
        exposure.clear()
        exposure.add(image)
        assert exposure.add_at(pixels, counts) == counts[on].sum()
        exposure.add(image)
        expected, _ = fit_counts(wide, np.uint16, 60_000)
        np.testing.assert_array_equal(exposure.image, expected)


def test_drawn_photons_stop_at_saturation_and_are_all_counted() -> None:
    sampler = PhotonSampler(np.array([[0.4, 0.0, 0.3, 0.5, 0.2]]))
    wide = np.zeros((1, 5), dtype=np.int64)
    exposure = Exposure(np.ones((1, 5), dtype=bool), np.uint16, 3)
    for index in range(40):
        drawn = sampler.draw(stream(1, "A", index, "b"))
        wide += drawn
        assert sampler.expose(exposure, stream(1, "A", index, "b")) == drawn.sum()
    assert wide.max() > 3
    np.testing.assert_array_equal(exposure.image, np.minimum(wide, 3))


def test_what_no_type_holds_is_refused_where_no_saturation_is_known() -> None:
    exposure = Exposure(np.ones((2, 2), dtype=bool), np.uint16, None)
    exposure.add(np.full((2, 2), 65_535))
    for add in (
        lambda: exposure.add(np.ones((2, 2), dtype=np.uint16)),
        lambda: exposure.add_at(np.array([1]), np.array([1])),
    ):
        with pytest.raises(SpotmillError, match="max_adu"):
            add()
    assert exposure.image.min() == 65_535
