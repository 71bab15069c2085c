"""Where a trained model looked: what parts of a few test frames its answers rest on.

Four ways, by what a model reads:

- hits told from features of a frame: occlusion, by squares;
- hits told from all pixels: integrated gradients from the frame to its own background;
- photon energy and camera length: integrated gradients from the frame to the mean of validation
  frames (of classes, those of the next class and else alike), summed by distance from the beam;
- peaks: occlusion of single pixels around a peak.

The background of a frame is the frame's own (means of blocks, bright pixels clipped away), drawn
anew, so what is put in place of a part has nothing in it but other noise.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spotmill.learning.attribution import Part
from spotmill.learning.dimmed import DimmedFrames
from spotmill.learning.frames import Frames


@dataclass(frozen=True)
class Explained:
    """What was found of a few frames.

    Attributes
    ----------
    kind
        "map" of squares, "rings" by radius, or "peaks" by pixels.
    answer, reference
        What is explained, and what stands in place of a part, in words.
    frames
        One record a frame, as `saliency.json` has them.
    columns
        Of the table of parts or rings.
    """

    kind: str
    method: str
    answer: str
    reference: str
    frames: list[dict[str, Any]] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **rows: Any) -> None:
        """Add rows to the table, which belong to the last frame."""
        count = len(next(iter(rows.values())))
        for name, values in ({"frame": [len(self.frames) - 1] * count} | rows).items():
            self.columns.setdefault(name, []).extend(np.asarray(values).tolist())

    def add_parts(self, parts: list[Part]) -> None:
        """Add the parts of the last frame."""
        for number, name in enumerate(Part._fields):
            self.add_column(name, [part[number] for part in parts])
        self.add_column("frame", [len(self.frames) - 1] * len(parts))

    def add_column(self, name: str, values: list[Any]) -> None:
        """Add values to one column."""
        self.columns.setdefault(name, []).extend(values)


def row_of(frames: Frames, said: dict[str, Any]) -> int:
    """Return the row of the frame that a prediction is of."""
    own = (frames.dataset == said["dataset"]) & (frames.index == said["index"])
    if isinstance(frames, DimmedFrames) and frames.flux is not None:
        own &= frames.flux == said["flux"]
    return int(np.flatnonzero(own)[0])


def record_of(why: str, said: dict[str, Any]) -> dict[str, Any]:
    """Return what `saliency.json` says of a frame: why it was chosen, and what was predicted."""
    told = {"why": why, "dataset": str(said["dataset"]), "index": int(said["index"])}
    for name in ("flux", "truth", "said", "score"):
        if name in said:
            value = said[name]
            told[name] = value if isinstance(value, str) else float(value)
    if "score_1" in said and "score_2" not in said:
        told["score"] = float(said["score_1"])
    return told
