"""What the gallery must show of a production, read from the production's own files."""

import base64
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (frames may be compressed by its filters)
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page

HC = 12398.419843320026  # eV Å


@dataclass(frozen=True)
class Frame:
    """A frame as the production's files have it."""

    photons: NDArray[Any]  # [ss, fs]
    spots: pd.DataFrame
    found: pd.DataFrame
    wavelength: float  # Å


def listed(report: Path) -> list[dict[str, Any]]:
    """Return the lines of the gallery's list."""
    text = (report / "gallery/index.js").read_text()
    found = re.search(r"spotmill\.frames\((.*)\);?\s*$", text, re.DOTALL)
    assert found
    return json.loads(found[1])["frames"]


def read_frame(production: Path, dataset: str, index: int) -> Frame:
    """Read a frame from its shard, its truth, and what the task of peaks said."""
    manifest = pd.read_parquet(production / "results/manifest/all.parquet")
    row = manifest[(manifest["dataset"] == dataset) & (manifest["index"] == index)].iloc[0]
    with h5py.File(production / row["overlay"]) as file:
        photons = file["entry/data/data"][int(row["position"])]
    spots = pd.DataFrame()
    if row["truth"]:
        truth = pd.read_parquet(production / row["truth"])
        spots = truth[truth["index"] == index]
    found = pd.read_parquet(production / "results/evaluation/peaks/predictions.parquet")
    found = found[(found["dataset"] == dataset) & (found["index"] == index)]
    return Frame(photons, spots, found, HC / row["photon_energy"])


class Viewer:
    """The open viewer of a frame: where pixels are on the screen, and what is drawn there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.locator("#gallery-viewer")
        self.canvas: Locator = page.locator("#gallery-canvas")
        self.wait()

    def wait(self) -> None:
        """Wait until the frame is there and painted."""
        self.page.locator("#gallery-viewer[data-ready=yes]").wait_for()
        self.painted()

    def painted(self) -> None:
        """Wait for two pictures of the screen."""
        self.page.evaluate(
            "() => new Promise((done) => "
            "requestAnimationFrame(() => requestAnimationFrame(() => done())))"
        )

    def told(self, name: str) -> str:
        """Return a word that the viewer keeps beside itself."""
        return self.dialog.get_attribute(f"data-{name}") or ""

    @property
    def scale(self) -> float:
        """Return how many pixels of the screen a pixel of the frame is wide."""
        return float(self.told("scale"))

    @property
    def readout(self) -> str:
        """Return what stands below the frame."""
        return self.page.locator("#gallery-readout").inner_text()

    def on_canvas(self, fs: float, ss: float) -> tuple[float, float]:
        """Return where a place of the frame is on the canvas."""
        x, y = float(self.told("x")), float(self.told("y"))
        return (fs - x) * self.scale, (ss - y) * self.scale

    def point_at(self, fs: float, ss: float) -> tuple[float, float]:
        """Move the pointer over a place of the frame, to a whole pixel of the screen.

        Returns where on the screen that is.
        """
        box = self.canvas.bounding_box()
        assert box
        x, y = self.on_canvas(fs, ss)
        place = float(round(box["x"] + x)), float(round(box["y"] + y))
        self.page.mouse.move(*place)
        return place

    def place_of(self, x: float, y: float) -> tuple[float, float]:
        """Return fs and ss of a place on the screen."""
        box = self.canvas.bounding_box()
        assert box
        left, top = float(self.told("x")), float(self.told("y"))
        return left + (x - box["x"]) / self.scale, top + (y - box["y"]) / self.scale

    def pixel_at_pointer(self) -> tuple[int, int]:
        """Return fs and ss of the pixel that the page says is under the pointer."""
        found = re.match(r"fs (\d+), ss (\d+):", self.readout)
        assert found, self.readout
        return int(found[1]), int(found[2])

    def photons_at_pointer(self) -> int | None:
        """Return the photons that the page says are under the pointer; None of a dead pixel."""
        found = re.search(r": (\d+) photons?|: no live pixel", self.readout)
        assert found, self.readout
        return int(found[1]) if found[1] else None

    def show(self, *shown: str) -> None:
        """Show these overlays and no others: rings, true, found."""
        for name in ("rings", "true", "found"):
            box = self.page.locator(f"#gallery-{name}")
            if box.is_visible():
                box.set_checked(name in shown)
        self.painted()

    def picture(self) -> NDArray[np.int16]:
        """Return the canvas [y, x, colour]."""
        url = self.canvas.evaluate("one => one.toDataURL()")
        data = base64.b64decode(url.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16)

    def drawn(self, overlay: str) -> NDArray[np.bool_]:
        """Return where an overlay changes the canvas [y, x]."""
        self.show()
        without = self.picture()
        self.show(overlay)
        return (np.abs(self.picture() - without) > 8).any(axis=-1)
