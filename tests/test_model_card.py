"""The README of a model folder says what the model is and what it saw, from the card alone."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kinds_data import TASKS, common, make_kinds

from spotmill.audit.expected import Expected
from spotmill.audit.tables import model_findings
from spotmill.cli import main
from spotmill.formats.digests import file_digest
from spotmill.learning.model_card import readme
from spotmill.learning.store import load_card


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a trained model of every kind."""
    folder = tmp_path_factory.mktemp("cards")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_kinds(folder)
        for name in TASKS:
            assert main(["train", *common(name), "--output", f"models/{name}"]) == 0
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the row of a table that begins with a word."""
    (line,) = re.findall(rf"^\| {re.escape(first)} \|.*$", text, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", TASKS)
def test_it_says_what_the_frames_were(name: str, here: Path) -> None:
    text = Path(f"models/{name}/README.md").read_text()
    rows = pq.read_table(f"splits/{name}.parquet").to_pandas()
    if name == "flux":
        # Every pattern at two fluxes.
        rows = rows.loc[rows.index.repeat((rows["kind"] == "crystal") + 1)]
    counts = rows["split"].value_counts()
    own = cells(text, "A")
    assert own[1] == "proteinase K" and own[4] == "3e+08"
    assert own[5:] == [str(counts[side]) for side in ("train", "validation", "test")]
    assert f"{counts['train']} for training, {counts['validation']} for validation" in text
    assert "Differs from frame to frame: background, clen, flux, photon_energy." in text
    if name == "energy":
        low, high = map(float, own[2].split(" to "))
        assert 5500 <= low < 6000 and 8000 < high <= 8500
    else:
        assert own[2:4] == ["7000", "0.05"]


@pytest.mark.parametrize("name", TASKS)
def test_it_says_what_the_model_is(name: str, here: Path) -> None:
    folder = Path(f"models/{name}")
    text, facts = (folder / "README.md").read_text(), load_card(folder)
    assert text.startswith(f"# {name}\n")
    assert f"`{TASKS[name]['model']}`" in text
    assert file_digest(folder / "model.safetensors") in text
    assert cells(text, "epochs run")[1] == str(facts["epochs_run"])
    assert cells(text, "seed")[1] == "`1`"
    assert json.loads(cells(text, "settings of the model")[1].strip("`")) == facts["settings"]
    history = (folder / "history.csv").read_text().splitlines()
    best = dict(
        zip(history[0].split(","), history[1 + facts["best_epoch"]].split(","), strict=True)
    )
    assert float(cells(text, "loss")[1]) == pytest.approx(float(best["validation_loss"]), rel=1e-5)


def test_it_is_made_of_the_card_alone_and_audited(here: Path, tmp_path: Path) -> None:
    folder = Path("models/hit")
    text = (folder / "README.md").read_bytes()
    assert text == readme(load_card(folder)).encode()
    assert str(here).encode() not in text
    file = Expected("models/hit/README.md", "train", "hit")
    assert list(model_findings(None, file)) == []  # type: ignore[arg-type]
    (folder / "README.md").write_bytes(text.replace(b"seed", b"weed"))
    assert list(model_findings(None, file)) == ["does not say what model.json says"]  # type: ignore[arg-type]
    (folder / "README.md").write_bytes(text)
