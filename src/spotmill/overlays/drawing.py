"""How one frame is drawn: background, artefacts, dead panels, peaks.

Whoever writes a frame and whoever draws it later goes through `Drawing`, so both give the
same bits: what is random depends on seed, dataset and index alone.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spotmill.concepts import Beam, Response, Solvent
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.formats.geom import parse_geometry
from spotmill.model import parse_yaml
from spotmill.physics.artefacts import Artefacts
from spotmill.physics.coarse import MovingImage
from spotmill.physics.conditions import (
    CONDITIONS,
    Conditions,
    dead_panels,
    draw_conditions,
    frame_mask,
)
from spotmill.physics.geometry import Detector
from spotmill.physics.photons import Exposure, PhotonSampler, stream
from spotmill.physics.stray import StrayLight
from spotmill.randomise import Randomise

# Adds the background photons of one frame (identity, conditions) and returns their number.
Draw = Callable[[Exposure, tuple[int, str, int], Conditions], int]


def detector_of(shard: Shard) -> Detector:
    """Return the detector that a shard was made with."""
    header = shard.header
    geometry = parse_geometry(shard.parameter("detector"), f"{shard.path} (its detector)")
    return geometry.detector(clen=header.clen, photon_energy=header.photon_energy)


def response_of(shard: Shard) -> Response:
    """Return the detector response that a shard was made with."""
    text = shard.header.parameters.get("response")
    source = f"{shard.path} (its response)"
    return Response() if text is None else Response.parse(parse_yaml(text, source), source)


def check_belongs(peaks: Shard, water: Shard) -> None:
    """Raise SpotmillError unless peaks and water are of one dataset and detector."""
    if peaks.header.content != "peaks" or peaks.dtype.kind != "u":
        raise SpotmillError(
            f"{peaks.path}: holds no drawn peaks ({peaks.header.content}, {peaks.dtype}); "
            "simulate without --no-noise"
        )
    for name in ("dataset", "photon_energy", "clen", "pixel_size", "saturation"):
        left, right = getattr(peaks.header, name), getattr(water.header, name)
        if left != right:
            raise SpotmillError(
                f"{peaks.path} and {water.path}: {name} is {left!r} and {right!r}; "
                "give the water of the same dataset"
            )
    measured = "measured" in water.header.parameters
    if not measured and response_of(peaks) != response_of(water):
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different responses; remake the older"
        )
    # A measured background may lack pixels that the detector has, never the reverse.
    same = (water.mask == peaks.mask) | (measured & peaks.mask)
    if water.shape[1:] != peaks.shape[1:] or not same.all():
        raise SpotmillError(
            f"{peaks.path} and {water.path}: were made with different detectors; remake the older"
        )


class Drawn(NamedTuple):
    """A drawn frame.

    Attributes
    ----------
    image : [ss, fs]
        Photons; the next frame that is drawn overwrites it.
    background_photons, artefacts
        Photons of the background (with stray light) and of the detector itself, before pixels
        saturate.
    """

    image: NDArray[Any]
    background_photons: int
    artefacts: int


class Drawing:
    """Draws the overlays of one dataset, one at a time, in any order.

    Tables that drawing needs are made with the first frame: until then it costs nothing.

    Parameters
    ----------
    water
        Expected background or blank frames; stays open as long as frames are drawn.
    randomise
        What differs from frame to frame.
    seed
        Of everything drawn.

    Raises
    ------
    SpotmillError
        When the background cannot be randomised as asked.
    """

    def __init__(self, water: Shard, randomise: Randomise, seed: int) -> None:
        check_background(water, randomise)
        self.water, self._randomise, self._seed = water, randomise, seed
        self._saturation = water.header.saturation
        self.dtype = water.header.count_dtype
        self._signal: NDArray[Any] | None = None

    @cached_property
    def _detector(self) -> Detector:
        return detector_of(self.water)

    @cached_property
    def _background(self) -> Draw:
        return background(self.water, self._randomise)

    @cached_property
    def _artefacts(self) -> Artefacts:
        return Artefacts(self._detector, response_of(self.water))

    @cached_property
    def _stray(self) -> StrayLight:
        detector = replace(self._detector, mask=self.water.mask)
        return StrayLight(detector, response_of(self.water), self._randomise)

    @cached_property
    def _exposure(self) -> Exposure:
        return Exposure(self.water.mask, self.dtype, self._saturation)

    def _identity(self, index: int) -> tuple[int, str, int]:
        return self._seed, self.water.header.dataset, index

    def conditions(self, index: int) -> Conditions:
        """Return the conditions of a frame."""
        header = self.water.header
        identity = self._identity(index)
        return draw_conditions(self._randomise, header.photon_energy, header.clen, *identity)

    def draw(self, index: int, peaks: Shard | None = None, position: int = 0) -> Drawn:
        """Draw the frame of an index, with the peaks at `position` of a shard, if any."""
        identity, exposure = self._identity(index), self._exposure
        exposure.clear()
        conditions = self.conditions(index)
        photons = self._background(exposure, identity, conditions)
        if self._randomise.strays:
            lit, mean = self._stray.expected(identity, conditions)
            photons += exposure.add_at(lit, stream(*identity, "stray").poisson(mean))
        pixel, count = self._artefacts.draw(stream(*identity, "artefacts"))
        live = frame_mask(self._detector, self._randomise, identity)
        if live is not None:
            photons -= int(exposure.image[~live].sum(dtype=np.int64))
            exposure.image[~live] = 0
            count = np.where(live.ravel()[pixel], count, 0)
        artefacts = exposure.add_at(pixel, count)
        if peaks is not None:
            if self._signal is None or self._signal.dtype != peaks.dtype:
                self._signal = np.empty(peaks.shape[1:], peaks.dtype)
            signal = peaks.read(position, self._signal)
            exposure.add(signal if live is None else np.where(live, signal, 0))
        return Drawn(exposure.image, photons, artefacts)

    def columns(self, indices: NDArray[np.int64], peaks: Shard | None) -> dict[str, NDArray[Any]]:
        """Return the frame columns that are known before a frame is drawn."""
        columns: dict[str, NDArray[Any]] = {}
        if self._randomise.masks_panels:
            columns["dead_panels"] = np.array(
                [
                    dead_panels(self._detector, self._randomise, self._identity(index))
                    for index in indices.tolist()
                ],
                dtype=np.uint8,
            )
        if peaks is not None:
            return columns | {
                name: peaks.column(name) for name in peaks.columns() if name != "index"
            }
        drawn = [self.conditions(index) for index in indices.tolist()]
        return columns | {
            name: np.array([getattr(conditions, name) for conditions in drawn])
            for name in CONDITIONS
        }


def check_randomise(peaks: Shard, randomise: Randomise) -> None:
    """Raise SpotmillError unless peaks were made with the same randomise."""
    text = peaks.header.parameters.get("randomise", "{}")
    if Randomise.parse(parse_yaml(text, peaks.path), peaks.path) != randomise:
        raise SpotmillError(f"{peaks.path}: was made with another --randomise; give the same file")


def check_content(water: Shard) -> None:
    """Raise SpotmillError unless a shard is a background to draw from."""
    if water.header.content not in ("water", "blank"):
        raise SpotmillError(
            f"{water.path}: holds {water.header.content}, not expected water; give that"
        )


def check_background(water: Shard, randomise: Randomise) -> None:
    """Raise SpotmillError where a background cannot be randomised as asked."""
    check_content(water)
    if water.header.content == "blank":
        if randomise.moves_geometry or randomise.scales_background:
            raise SpotmillError(
                f"{water.path}: holds measured frames, which stay as they are; "
                "randomise neither photon energy, geometry, flux nor background"
            )
    elif randomise.moves_geometry and "solvent" not in water.header.parameters:
        raise SpotmillError(
            f"{water.path}: is a measured background, which stays where it was measured; "
            "randomise neither photon energy nor geometry"
        )


def background(water: Shard, randomise: Randomise) -> Draw:
    """Return how the background of a frame is drawn."""
    if water.header.content == "blank":
        return blank_background(water)
    if randomise.moves_geometry:
        return moving_background(water)
    sampler = PhotonSampler(np.where(water.mask, water.read(0), 0))

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        factor = conditions.flux * conditions.background
        return sampler.expose(exposure, stream(*identity, "background"), factor)

    return draw


def blank_background(stack: Shard) -> Draw:
    """Return how the background is drawn from a stack of measured blank frames."""

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        blank = draw_blank(stack, stream(*identity, "blank"))
        exposure.add(blank)
        return int(blank.sum(dtype=np.int64))

    return draw


def draw_blank(stack: Shard, rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return the photons [ss, fs] of one frame of a stack of blanks, drawn evenly.

    Parameters
    ----------
    stack
        A shard of content "blank".
    rng
        The stream of the frame, by `stream(seed, dataset, index, "blank")`.

    Raises
    ------
    SpotmillError
        When the shard holds something else than blank frames.
    """
    if stack.header.content != "blank" or stack.dtype.kind != "u":
        raise SpotmillError(
            f"{stack.path}: holds {stack.header.content}, not blank frames; "
            "make it with spotmill background --frames"
        )
    frame = stack.read(int(rng.integers(len(stack))))
    return np.where(stack.mask, frame, 0).astype(np.uint32)


def moving_background(water: Shard) -> Draw:
    """Return how the background is drawn when every frame has its own energy or geometry."""
    made_with = water.header.parameters
    beam = Beam.parse(parse_yaml(made_with["beam"], water.path), water.path)
    solvent = Solvent.parse(parse_yaml(made_with["solvent"], water.path), water.path)
    moving = MovingImage(detector_of(water), response_of(water), beam, solvent)

    def draw(exposure: Exposure, identity: tuple[int, str, int], conditions: Conditions) -> int:
        image = moving.at(conditions)
        mean = np.where(water.mask, image, 0) * (conditions.flux * conditions.background)
        counts = stream(*identity, "background").poisson(mean)
        exposure.add(counts)
        return int(counts.sum())

    return draw
