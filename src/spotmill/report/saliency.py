"""Where the models looked: what `spotmill saliency` found, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from spotmill.errors import SpotmillError
from spotmill.formats.saliency import PARTS, RINGS
from spotmill.formats.tables import read_table
from spotmill.report.evaluations import read_json
from spotmill.report.names import frame_name
from spotmill.report.stored import Stored
from spotmill.report.verdict import percent
from spotmill.report.words import number

# From this rank correlation on two maps are alike; so are nets that differ by no more than this.
ALIKE, NEAR = 0.7, 0.1


class OnSpots(Stored):
    """How much of all change lies on true spots; `correlation` is with the map as trained."""

    n: int = Field(0, ge=0)
    share: float | None = None
    net: float | None = None
    area: float | None = None
    correlation: float | None = None


class Frame(Stored):
    """A frame (or a peak of it) whose answer was explained."""

    why: str
    dataset: str
    index: int
    answer: float
    without: float
    flux: float = 1.0
    truth: str | float | None = None
    said: str | float | None = None
    next: str | None = None
    score: float | None = None
    sum: float | None = None
    fs: float | None = None
    ss: float | None = None
    matched: bool | None = None
    spots: OnSpots | None = None
    shuffled: OnSpots | None = None

    @property
    def words(self) -> str:
        """Return the frame, and what was said of it."""
        flux = "" if self.flux == 1 else f" at flux {self.flux:g}"
        name = f"dataset {self.dataset}, {frame_name(self.index)}{flux}"
        if self.matched is not None:
            return f"{name}: {'a true spot' if self.matched else 'no spot is there'}"
        return f"{name}: true {_told(self.truth)}, said {_told(self.said)}"


class Found(Stored):
    """What `saliency.json` holds."""

    task: str
    target: str
    model: str
    kind: Literal["map", "rings", "peaks"]
    method: str
    answer: str
    reference: str
    frames: list[Frame]
    recipe: int
    sha256: str = ""


@dataclass(frozen=True)
class Saliency:
    """Explained answers of one task, and the parts or rings that they rest on."""

    found: Found
    parts: pd.DataFrame

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.found.task

    def of(self, number: int) -> pd.DataFrame:
        """Return the parts of a frame."""
        return self.parts[self.parts["frame"] == number]

    @property
    def shuffled(self) -> str:
        """Return what weights in disorder look at, in words; nothing where it was not asked."""
        first = next((frame for frame in self.found.frames if frame.shuffled), None)
        if first is None or first.shuffled is None or first.spots is None:
            return ""
        other = first.shuffled
        return (
            f"What true spots raise the answer by, less what they lower it, is "
            f"{_share(first.spots.net)} of all change, and {_share(other.net)} with the model’s "
            f"weights shuffled. Rank correlation of the two maps, signs aside: "
            f"{number(other.correlation)} (the first frame, weights shuffled once)."
        )

    @property
    def verdict(self) -> str:
        """Return in words whether the map tells what was learnt."""
        first = next((frame for frame in self.found.frames if frame.shuffled), None)
        if first is None or first.shuffled is None or first.shuffled.correlation is None:
            return (
                "No map of shuffled weights stands beside it, so it shows what the model reads, "
                "which may be due to how it is built as well as to what it learnt."
            )
        alike = first.shuffled.correlation >= ALIKE
        own, other = first.spots.net if first.spots else None, first.shuffled.net
        if own is None or other is None:
            return _WITHOUT_SPOTS[alike]
        if alike and abs(own - other) <= NEAR:
            return (
                "The map says nothing of what was learnt: with the weights shuffled it is nearly "
                "the same, spots and all, since the model is built to look there. What it learnt, "
                "its right answers and its controls show."
            )
        if alike:
            return (
                "Where the map is strong says nothing of what was learnt: with the weights "
                "shuffled the same parts count, since the model is built to look there. Only by "
                "how much, and whether, they raise or lower the answer is due to its weights."
            )
        if own - other > NEAR:
            return (
                "The map is of what this model learnt, right or wrong: with the weights shuffled "
                "other parts count, and true spots speak less for a hit."
            )
        return (
            "The map is due to this model’s weights, since with them shuffled other parts count; "
            "but true spots speak for a hit no more than there, so that they do is no sign of "
            "learning."
        )


_WITHOUT_SPOTS = {
    True: "The map says nothing of what was learnt: with the weights shuffled, the same parts "
    "count.",
    False: "The map is of what this model learnt, right or wrong: with the weights shuffled, other "
    "parts count.",
}


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _told(value: str | float | None) -> str:
    return value if isinstance(value, str) else number(value)


def read_saliencies(folders: Sequence[Path]) -> list[Saliency]:
    """Read what was found of some tasks.

    Raises
    ------
    SpotmillError
        When a file is missing, broken or names a frame that the other does not have.
    """
    return [read_saliency(folder) for folder in folders]


def read_saliency(folder: Path) -> Saliency:
    """Read what was found of a task."""
    path = folder / "saliency.json"
    found = Found.parse(read_json(path), path)
    schema = RINGS if found.kind == "rings" else PARTS
    parts = read_table(folder / "parts.parquet", schema).to_pandas()
    if set(parts["frame"]) != set(range(len(found.frames))):
        raise SpotmillError(
            f"{folder / 'parts.parquet'}: is not of the frames of {path.name}; remake both"
        )
    return Saliency(found, parts)
