"""Which models of a folder are taken; what is wrong is told before any is opened."""

from pathlib import Path

import pytest

from spotmill.cli import main
from spotmill.errors import SpotmillError
from spotmill.inference.chosen_models import choose
from spotmill.learning.card_file import CARD


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("hit", "hit_low_flux", "photon_energy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CARD).write_text("{}")
    return tmp_path


def test_one_model_in_place_of_their_folder(models: Path) -> None:
    with pytest.raises(SpotmillError) as caught:
        choose(models / "hit", None)
    assert f"give --models {models} " in str(caught.value)
    assert "--tasks hit" in str(caught.value)


def test_a_name_that_is_not_there_lists_those_there(models: Path) -> None:
    with pytest.raises(SpotmillError, match="no model 'peaks'; known here: hit, hit_low_flux, ph"):
        choose(models, ["hit", "peaks"])
    with pytest.raises(SpotmillError, match="did you mean hit_low_flux"):
        choose(models, ["hit-lowflux"])


def test_a_command_that_is_misspelt(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prdict", "frames.h5"])
    said = capsys.readouterr().err
    assert "did you mean predict?" in said and "gallery" not in said
