"""Writes a layout: room, progress, what is done already, the record at the end."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from spotmill import __version__
from spotmill.export.choice import Choice, Row
from spotmill.export.folder import (
    MARK,
    Layout,
    Unit,
    Working,
    bytes_below,
    check_room,
    in_words,
    open_folder,
    refuse_filled,
)
from spotmill.export.reader import Reader
from spotmill.export.tables import Tables, fingerprint
from spotmill.formats.atomic import write_text
from spotmill.formats.digests import signed_json, write_digests
from spotmill.progress import Progress
from spotmill.splits import SIDES

# Frames of a dataset that are encoded to tell the bytes of all.
SAMPLES = 3
DIGESTS = "SHA256SUMS"


class Exported(Layout, Protocol):
    """A layout that also knows what it writes besides frames."""

    def bytes_beside(self) -> int:
        """Return the bytes of what is not of single frames."""


class Tell(Protocol):
    """Says a line to the user."""

    def __call__(self, line: str) -> None:
        """Say a line."""


def hand_over(
    layout: Exported,
    reader: Reader,
    output: Path,
    name: str,
    kinds: Sequence[str],
    tell: Tell,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write a layout to a folder, going on where a former process was stopped; return its record.

    Raises
    ------
    SpotmillError
        When the folder is not to be written to, has no room, or a source is broken.
    """
    refuse_filled(output)
    choice = layout.choice
    left = output.with_name(f".{output.name}.part")
    needed = expected_bytes(layout)
    tell(f"{name}: {len(choice)} frames of {', '.join(choice.datasets)}: about {in_words(needed)}")
    check_room(output, max(0, needed - bytes_below(left)))
    settings = {
        "format": name,
        "version": __version__,
        "kinds": list(kinds),
        "settings": layout.settings,
        "sources": fingerprint(choice, kinds),
    }
    with open_folder(output, settings) as working:
        units = [*layout.units(), Tables(layout, reader, spots=name != "webdataset")]
        finished = sum(unit.frames for unit in units if unit.name in working.done)
        if working.done:
            tell(f"{name}: goes on behind {finished} frames that are written")
        with Progress(name, len(choice), finished, quiet) as step:
            write_units(units, working, step)
        record = record_of(layout, name, kinds, working)
        write_text(working.path / MARK, signed_json(record))
        digests = {file: sha for unit in units for file, sha in working.done[unit.name].items()}
        write_digests(working.path / DIGESTS, [f"{name} by spotmill {__version__}"], digests)
    size = bytes_below(output)
    tell(f"{output}: {record['n_frames']} frames, {record['n_files']} files, {in_words(size)}")
    return {"output": str(output), "bytes": size, **record}


def write_units(units: Sequence[Unit], working: Working, step: Progress) -> None:
    """Write the units that are not done yet."""
    for unit in units:
        if unit.name not in working.done:
            working.add(unit, unit.write(working.path, step))


def record_of(
    layout: Exported, name: str, kinds: Sequence[str], working: Working
) -> dict[str, Any]:
    """Return what an export says of itself."""
    choice = layout.choice
    rows: Counter[tuple[str, str, bool]] = Counter(
        (row.dataset, row.split, row.is_hit) for row in choice.rows()
    )

    def count(place: int, value: str, hits: bool) -> int:
        return sum(n for key, n in rows.items() if key[place] == value and (key[2] or not hits))

    conditions = choice.conditions
    return {
        "format": name,
        "version": __version__,
        "kinds": list(kinds),
        "n_frames": len(choice),
        "n_hits": sum(n for key, n in rows.items() if key[2]),
        "n_files": sum(len(files) for files in working.done.values()),
        "sides": {
            side: {"n": count(1, side, False), "n_hits": count(1, side, True)} for side in SIDES
        },
        "split": choice.sides,
        "datasets": {
            dataset: {
                "photon_energy": conditions[dataset][0],
                "clen": conditions[dataset][1],
                "n": count(0, dataset, False),
                "n_hits": count(0, dataset, True),
            }
            for dataset in choice.datasets
        },
        "settings": layout.settings,
    }


def expected_bytes(layout: Exported) -> int:
    """Return the bytes of an export, by those of a few frames of each dataset."""
    total = float(layout.bytes_beside())
    for dataset in layout.choice.datasets:
        part = layout.choice.of_dataset(dataset)
        for kind in ("crystal", "empty"):
            same = part.where([one == kind for one in part.table["kind"].to_pylist()])
            sizes = [layout.bytes_of(row) for row in samples(same)]
            total += len(same) * sum(sizes) / max(1, len(sizes))
    return round(total)


def samples(choice: Choice) -> list[Row]:
    """Return a few frames that lie apart."""
    places = sorted({len(choice) * n // SAMPLES for n in range(SAMPLES)}) if len(choice) else []
    return [row for place in places for row in choice.rows(place, 1)]
