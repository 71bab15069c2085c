"""Tasks of values: each frame's own photon energy and camera length, and the physics behind."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam, Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.formats.geom import parse_geometry
from spotmill.learning.frames import Frames
from spotmill.learning.profiles import radial_bins
from spotmill.learning.setup import Setup
from spotmill.model import parse_yaml
from spotmill.overlays.opener import open_overlay
from spotmill.physics.artefacts import live_mask
from spotmill.physics.profile_family import ProfileFamily, Range, profile_family
from spotmill.tasks import TRUTH

# A quantity that is the same in all training frames is taken as known this well.
KNOWN = 1e-4
UNITS = {"photon_energy": "eV", "camera_length": "m"}
# What is called right in the goals: the nearest keV, the nearest cm.
STEPS = {"photon_energy": 1000.0, "camera_length": 0.01}
COLUMNS = ("photon_energy", "clen")


@dataclass(frozen=True)
class Quantity:
    """What a task of values asks for."""

    target: str

    @property
    def column(self) -> int:
        """0 for the photon energy, 1 for the camera length."""
        return COLUMNS.index(TRUTH[self.target])

    @property
    def unit(self) -> str:
        """The unit, eV or m."""
        return UNITS[self.target]

    @property
    def step(self) -> float:
        """1 keV or 1 cm."""
        return STEPS[self.target]


def values_of(frames: Frames) -> NDArray[np.float64]:
    """Return the photon energy (eV) and camera length (m) of frames of values, [n, 2]."""
    if frames.values is None:
        raise ValueError("a task of classes has no values")
    return frames.values


def ranges_of(values: NDArray[np.float64]) -> tuple[Range, Range]:
    """Return the ranges of photon energy and camera length that frames [n, 2] cover."""
    ranges = []
    for low, high in zip(values.min(0).tolist(), values.max(0).tolist(), strict=True):
        ranges.append((low, high) if high > low * (1 + KNOWN) else known(low))
    return ranges[0], ranges[1]


def known(value: float) -> Range:
    """Return the narrow range of a quantity that is known."""
    return value * (1 - KNOWN), value * (1 + KNOWN)


def family_of(setup: Setup, rows: NDArray[np.int64], source: str) -> ProfileFamily:
    """Return the expected profiles of the water that a task's frames were made with.

    The ranges are those of the rows.

    Raises
    ------
    SpotmillError
        When datasets differ in detector, response, beam or solvent, or the background is no
        model of water.
    """
    frames = setup.frames
    texts: dict[str, str] | None = None
    first = ""
    for name in np.unique(frames.dataset).tolist():
        path = str(frames.overlay[np.flatnonzero(frames.dataset == name)[0]])
        own = water_texts(path, source)
        if texts is None:
            texts, first = own, name
        for key, text in own.items():
            if text != texts.get(key):
                raise SpotmillError(
                    f"{source}: datasets: {first} and {name} differ in their {key}; "
                    "choose datasets that share it"
                )
    if texts is None:
        raise ValueError("a split without frames passed")
    beam = Beam.parse(parse_yaml(texts["beam"], source), source)
    solvent = Solvent.parse(parse_yaml(texts["solvent"], source), source)
    response = Response()
    if texts.get("response"):
        response = Response.parse(parse_yaml(texts["response"], source), source)
    values = values_of(frames)[rows]
    geometry = parse_geometry(texts["detector"], f"{source} (detector of its frames)")
    detector = geometry.detector(clen=float(values[0, 1]), photon_energy=float(values[0, 0]))
    bins = setup.encoder.shape[-1]
    bin_of_pixel = np.where(live_mask(detector, response), radial_bins(setup.view.radius, bins), -1)
    energies, clens = ranges_of(values)
    return profile_family(detector, response, beam, solvent, bin_of_pixel, bins, energies, clens)


def water_texts(path: str | Path, source: str) -> dict[str, str]:
    """Return detector, response, beam and solvent of an overlay's water."""
    with open_overlay(path) as shard:
        water = shard.header.parameters.get("water")
    if not isinstance(water, dict) or not {"detector", "beam", "solvent"} <= water.keys():
        raise SpotmillError(
            f"{source}: scale: values need a background that is modelled; {path} has none, "
            "so choose other datasets or scale: classes"
        )
    return {key: str(water.get(key, "")) for key in ("detector", "beam", "solvent", "response")}
