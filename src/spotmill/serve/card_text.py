"""The text of a card in parts that a page can set: headings, tables, pictures, paragraphs, code.

Cards are written by Spotmill, in the little of Markdown that is told apart here. What stands within
a line stays as it is written, and the templates escape all of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
PICTURE = re.compile(r"!\[(.*)\]\(([\w.-]+)\)")
RULE = re.compile(r":?-*:?")
FENCE = "```"


@dataclass(frozen=True)
class Part:
    """A heading (of a level), a table, a picture, a paragraph ("text") or code, line by line.

    The lines of a picture are what is to be seen, and the name of its file.

    Attributes
    ----------
    rows
        Cells of a table, its head first where it has one (its level is then 1).
    """

    kind: str
    lines: tuple[str, ...] = ()
    level: int = 0
    rows: list[list[str]] = field(default_factory=list)


def parts_of(text: str) -> Iterator[Part]:
    """Yield the parts of a card's text."""
    kind, lines = "", list[str]()
    for line in [*text.splitlines(), ""]:
        fence = line.startswith(FENCE)
        if kind == "code":
            own, alone = "" if fence else "code", None
        else:
            own, alone = kind_of(line), part_alone(line)
        if own != kind and lines:
            yield part_of(kind, lines)
            lines = []
        kind = own
        if alone is not None:
            yield alone
        elif own and not fence:
            lines.append(line)
    if lines:
        yield part_of(kind, lines)


def part_alone(line: str) -> Part | None:
    """Return the part that a line is by itself, not within code."""
    heading, picture = HEADING.fullmatch(line), PICTURE.fullmatch(line.strip())
    if heading:
        return Part("heading", (heading[2],), len(heading[1]))
    return Part("picture", (picture[1], picture[2])) if picture else None


def kind_of(line: str) -> str:
    """Return the kind of part that a line, not within code, belongs to; "" for none."""
    if not line.strip() or part_alone(line):
        return ""
    if line.startswith(FENCE):
        return "code"
    return "table" if line.startswith("|") else "text"


def part_of(kind: str, lines: list[str]) -> Part:
    """Return lines of a kind as a part."""
    if kind != "table":
        return Part(kind, tuple(lines))
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    # The line of dashes below the head, and a head without words, say nothing.
    told = [row for row in rows if not all(RULE.fullmatch(cell) for cell in row)]
    return Part(kind, level=int(any(rows[0])), rows=told)
