"""Names of events as CrystFEL's lists have them: `//3`, `tag-123//`, `run_1/tag_2//0/5`.

What stands before the two strokes fills the placeholders (%) in the place of the data, in order;
what stands after them fills those among the `dim` lines, that is, numbers of frames
(crystfel_geometry(5), "Data dimensions").
"""

from dataclasses import dataclass
from typing import Self

PLACEHOLDER = "%"


@dataclass(frozen=True)
class EventId:
    """The name of an event.

    Attributes
    ----------
    parts
        Of places in the file, one a placeholder.
    numbers
        Of frames, one a `dim` line with a placeholder.
    """

    parts: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{'/'.join(self.parts)}//{'/'.join(map(str, self.numbers))}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that a text has, or raise ValueError where it is none."""
        before, strokes, after = text.partition("//")
        parts = before.split("/") if before else []
        numbers = after.split("/") if after else []
        if not strokes or not all(parts) or not all(one.isdecimal() for one in numbers):
            raise ValueError(f"event {text[:80]!r} is not of the form //3 or tag-3//")
        if any(len(one) > 18 for one in numbers):
            raise ValueError(f"event {text[:80]!r} has a number that no file reaches")
        return cls(tuple(parts), tuple(map(int, numbers)))

    def place(self, pattern: str) -> str:
        """Return a place in the file with the placeholders filled in.

        There may be fewer of them than parts: a mask may serve all events of a run.
        """
        pieces = pattern.split(PLACEHOLDER)
        if len(pieces) - 1 > len(self.parts):
            raise ValueError(f"event {str(self)!r} has too few parts for {pattern}")
        filled = [pieces[0]]
        for part, piece in zip(self.parts, pieces[1:], strict=False):
            filled += [part, piece]
        return "".join(filled)
