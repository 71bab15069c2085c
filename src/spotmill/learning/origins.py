"""What the frames of a task are of, dataset by dataset, as their shards say it themselves."""

from typing import Any

import numpy as np

from spotmill.errors import SpotmillError
from spotmill.learning.frames import Frames
from spotmill.model import parse_yaml
from spotmill.overlays.opener import open_overlay
from spotmill.splits import SIDES


def origins(frames: Frames) -> list[dict[str, Any]]:
    """Return for every dataset its crystal, beam and conditions, and its frames on each side.

    Frames that are shown at several fluxes count once for each. What a shard does not say
    (frames of another origin) is None.
    """
    found = []
    for name in np.unique(frames.dataset).tolist():
        own = frames.dataset == name
        crystals = np.flatnonzero(own & (np.asarray(frames.blank) == 0))
        rows = crystals if len(crystals) else np.flatnonzero(own)
        said = told(str(frames.overlay[rows[0]]))
        if frames.values is not None:
            for column, key in enumerate(("photon_energy", "clen")):
                values = frames.values[own, column]
                said[key] = [float(values.min()), float(values.max())]
        counts = {side: int((own & (frames.side == side)).sum()) for side in SIDES}
        found.append({"dataset": name, **said, "n": counts})
    return found


def told(path: str) -> dict[str, Any]:
    """Return what the header of a shard says: crystal, photon_energy (eV), clen (m), flux."""
    with open_overlay(path) as shard:
        header = shard.header
    texts = header.parameters.get("peaks") or {}
    beam = plain(texts.get("beam") or (header.parameters.get("water") or {}).get("beam"), path)
    crystal = plain(texts.get("crystal"), path)
    randomise = plain(header.parameters.get("randomise"), path)
    return {
        "crystal": crystal.get("name"),
        "photon_energy": header.photon_energy,
        "clen": header.clen,
        "nphotons": beam.get("nphotons"),
        "engine": texts.get("engine"),
        "randomised": sorted(randomise),
    }


def plain(text: Any, source: str) -> dict[str, Any]:
    """Return the keys of a YAML text that a header carries; none where it is no such text."""
    if not isinstance(text, str):
        return {}
    try:
        values = parse_yaml(text, source)
    except SpotmillError:
        return {}
    return values if isinstance(values, dict) else {}
