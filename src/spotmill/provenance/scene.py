"""The scene of a shard of peaks, put together again from what its header records."""

from dataclasses import replace
from functools import partial

from spotmill.commands.simulate import counted, reachable
from spotmill.concepts import Beam, Crystal
from spotmill.errors import SpotmillError
from spotmill.formats.frames import Shard
from spotmill.model import parse_yaml
from spotmill.overlays.drawing import detector_of, response_of
from spotmill.physics.artefacts import live_mask
from spotmill.physics.diffraction import reflection_table
from spotmill.physics.pattern import Scene
from spotmill.physics.reflections import (
    Reflections,
    check_same_crystal,
    expand_to_hemisphere,
    reciprocal_basis,
)
from spotmill.physics.response import spread_components
from spotmill.randomise import Randomise


def scene_of(peaks: Shard, reflections: Reflections, source: str) -> tuple[Scene, Randomise]:
    """Return the scene that a shard of peaks was simulated with, and what differs by frame.

    Parameters
    ----------
    reflections
        The crystal's; `source` names their file in messages.

    Raises
    ------
    SpotmillError
        When the reflections are of another crystal, or the shard is not of the engine
        `integrated` with a spectrum in closed form.
    """
    header = peaks.header
    if peaks.parameter("engine") != "integrated" or "spectrum" in header.parameters:
        raise SpotmillError(
            f"{peaks.path}: was not made by the engine integrated with a spectrum in closed form; "
            "its expected signal is not known"
        )
    check_same_crystal(
        str(peaks.path),
        tuple(peaks.parameter("cell")),
        peaks.parameter("space_group"),
        source,
        reflections.cell,
        reflections.space_group,
    )
    beam = Beam.parse(parse_yaml(peaks.parameter("beam"), peaks.path), peaks.path)
    crystal = Crystal.parse(parse_yaml(peaks.parameter("crystal"), peaks.path), peaks.path)
    text = header.parameters.get("randomise", "{}")
    randomise = Randomise.parse(parse_yaml(text, peaks.path), peaks.path)
    response, detector = response_of(peaks), detector_of(peaks)
    hkl, intensity = expand_to_hemisphere(reflections)
    scene = Scene(
        replace(detector, mask=live_mask(detector, response)),
        spread_components(response),
        partial(counted, response),
        reflection_table(hkl, intensity, reciprocal_basis(reflections.cell)),
        beam,
        crystal,
    )
    return reachable(scene, header.photon_energy, randomise), randomise
