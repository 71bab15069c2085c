"""`watch.html` in a browser, written by a real watch with models of the production."""

import os
import subprocess
from pathlib import Path

import pytest
from mill import BIN

from browser.pages import SCHEMES, WIDTHS, none_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def watched(production: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a watch that did what was there."""
    folder = tmp_path_factory.mktemp("watched")
    frames = production / "results/images/peaks_water_overlay/A"
    words = [BIN / "spotmill", "watch", frames, "--output", folder / "out"]
    words += ["--models", production / "results/models", "--once", "--every", "0.1"]
    words += ["--geometry", production / "results/images/A.geom", "--block", "6"]
    words += ["--tasks", "hit", "photon_energy_values", "peaks"]
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "out/watch.html"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_opens_without_a_word_and_can_be_read(visit, watched, screenshots, scheme) -> None:
    opened = visit(watched, scheme=scheme)
    opened.page.screenshot(path=screenshots / f"watch_{scheme}.png", full_page=True)
    none_of(opened.run("structure") + opened.run("contrast") + opened.run("boxes"))
    assert opened.page.locator("img").evaluate("one => one.naturalWidth") > 300


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_sideways(visit, watched, width) -> None:
    none_of(visit(watched, width=width).run("overflow"))
