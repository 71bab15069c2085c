"""What a model of classes tells of values between them."""

import numpy as np
import pytest

from spotmill.inference.values import nearest_of

ENERGIES = np.array([8000.0, 6000.0, 7000.0])


def test_a_class_claims_no_more_than_its_step() -> None:
    """Told by the nearest class, values anywhere are off by what the told deviation says."""
    truth = np.random.default_rng(1).uniform(5500, 8500, 20_000)
    nearest = ENERGIES[np.argmin(abs(truth[:, None] - ENERGIES), axis=1)]
    told = [nearest_of(ENERGIES, float(one), 8.44, "eV", None) for one in nearest]
    pull = (truth - nearest) / [one.sigma for one in told]
    assert pull.std() == pytest.approx(1, abs=0.02)
    assert all(one.agrees is None for one in told)


@pytest.mark.parametrize(
    ("stated", "agrees"), [(7100.0, True), (7499.0, True), (7501.0, False), (6499.0, False)]
)
def test_agreement_is_by_the_nearest_class(stated: float, agrees: bool) -> None:
    told = nearest_of(ENERGIES, 7000.0, 8.44, "eV", stated)
    assert told.agrees is agrees
    assert (told.strange <= 1) is agrees
    assert "nearest of 6000, 7000, 8000 eV" in told.remark


def test_classes_at_unlike_steps() -> None:
    lengths = np.array([0.15, 0.25, 0.5])
    assert nearest_of(lengths, 0.25, 0.0, "m", 0.37).agrees is True
    assert nearest_of(lengths, 0.25, 0.0, "m", 0.19).agrees is False
    # Of two classes that are as likely, the choice tells more of the doubt than their step.
    assert nearest_of(lengths, 0.15, 0.07, "m", None).sigma > 0.07
