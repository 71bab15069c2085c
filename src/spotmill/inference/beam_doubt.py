"""Whether the background of a frame contradicts the place of the beam that is stated."""

import math

import numpy as np

from spotmill.inference.events import Event
from spotmill.physics.beam_centre import background_centre


def doubt(event: Event) -> str:
    """Return what contradicts the stated place of the beam, and what to do; else nothing.

    Nothing is changed. Of several panels, or where a geometry says it, the shift is told.
    """
    if not event.knows_radius:
        return ""
    detector = event.detector
    told = background_centre(event.image, event.mask, detector)
    if told is None:
        return ""
    stated, size = event.stated.beam_centre, detector.panels[0].pixel_size
    sigma = math.ceil(told.sigma / size)
    if event.geometry is not None or stated is None:
        return (
            f"background lies about {told.x / size:.0f} pixels in x and {told.y / size:.0f} in y "
            f"(± {sigma}) off the beam by geometry: check it, or subtract that from every corner_x "
            "and corner_y"
        )
    panel = detector.panels[0]
    off = np.linalg.solve(np.stack([panel.fs[:2], panel.ss[:2]], axis=1), [told.x, told.y])
    fs, ss = (round(one + more) for one, more in zip(stated, off, strict=True))
    said = ", ".join(f"{one:.0f}" for one in stated)
    who = event.stated.sources.get("beam_centre", "file")
    return (
        f"background lies about ({fs}, {ss}) ± {sigma}, beam centre by {who} is ({said}): "
        f"check it, or give --beam-centre {fs} {ss}"
    )
