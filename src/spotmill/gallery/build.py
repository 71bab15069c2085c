"""Make the gallery: choose, read, encode until the budget is spent, then write."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text
from spotmill.formats.frame_map import map_schema
from spotmill.formats.tables import MANIFEST, read_table
from spotmill.gallery.answers import Answers
from spotmill.gallery.choose import Choice, choose, odd_frames
from spotmill.gallery.frames import Reader
from spotmill.gallery.tell import tell_frame, tell_line
from spotmill.html_templates import html_templates
from spotmill.progress import Progress

INDEX, GRID = "index.js", "grid.html"
SCRIPTS = (
    *("gallery.js", "gallery_frame.js", "gallery_paint.js", "gallery_viewer.js"),
    "gallery.css",
)
STATIC = 12  # frames of the grid that needs no script


def build(
    manifest: Path,
    geometries: Mapping[str, Path],
    answers: Sequence[Answers],
    most: int,
    budget: int,
    min_photons: int,
    frame_map: Path | None = None,
) -> dict[str, str]:
    """Return the files of a gallery by name.

    Parameters
    ----------
    manifest
        Of all datasets.
    geometries
        Geometry file by dataset.
    most, budget
        Frames, and bytes of their files together with their small pictures, at most.
    min_photons
        Drawn photons from which a spot counts.
    frame_map
        Map that says which frames are odd.

    Raises
    ------
    SpotmillError
        When a file is missing or broken, or not even one frame fits.
    """
    rows = read_table(manifest, MANIFEST).to_pandas()
    if rows.empty:
        raise SpotmillError(f"{manifest}: holds no frame; remake it (name it to snakemake)")
    odd = odd_frames(read_table(frame_map, map_schema()).to_pandas()) if frame_map else []
    choices = choose(rows, answers, odd)[:most]
    lines, frames = _fill(rows, geometries, answers, choices, budget, min_photons)
    order = {name: number for number, name in enumerate(dict.fromkeys(rows["dataset"]))}
    first = of_many_datasets([line for line in lines if line["share"] == 1])[:STATIC]
    lines.sort(key=lambda line: (order[line["dataset"]], -line["share"], line["index"]))
    found = frames
    for name in SCRIPTS:
        found[name] = template(name).read_text(encoding="utf-8")
    found[GRID] = grid(first, len(rows))
    found[INDEX] = script("frames", {"of": len(rows), "frames": lines})
    return found


def _fill(
    rows: pd.DataFrame,
    geometries: Mapping[str, Path],
    answers: Sequence[Answers],
    choices: Sequence[Choice],
    budget: int,
    min_photons: int,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    reader = Reader(rows, choices, geometries)
    lines: list[dict[str, Any]] = []
    frames: dict[str, str] = {}
    spent = 0
    try:
        with Progress("gallery", len(choices)) as progress:
            for number in range(len(choices)):
                shown = reader.read(number)
                line = tell_line(shown, answers)
                frame = script("frame", tell_frame(shown, answers, min_photons))
                spent += len(frame) + len(packed(line))
                if spent > budget:
                    break
                lines.append(line)
                frames[line["file"]] = frame
                progress()
    finally:
        reader.close()
    if not lines:
        raise SpotmillError(
            f"--bytes: {budget} hold not even one frame, which takes {spent}; give more "
            "(report.gallery_bytes of the configuration)"
        )
    return lines, frames


def of_many_datasets(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines with the first of every dataset first, then the second of each, and so on."""
    before: Counter[str] = Counter()
    ranked = []
    for line in lines:
        ranked.append((before[line["dataset"]], line))
        before[line["dataset"]] += 1
    return [line for _, line in sorted(ranked, key=lambda pair: pair[0])]


def count_frames(gallery: Mapping[str, str]) -> int:
    """Return how many of a gallery's files are frames."""
    return len(gallery.keys() - {INDEX, GRID, *SCRIPTS})


def write(gallery: dict[str, str], folder: Path) -> None:
    """Write the files of a gallery, the list last, and remove those of one before."""
    for name, text in gallery.items():
        write_text(folder / name, text)
    for path in folder.iterdir():
        if path.suffix in (".js", ".css", ".html") and path.name not in gallery:
            path.unlink()


def script(function: str, value: Any) -> str:
    """Return a script that hands a value to a function of the page."""
    return f"spotmill.{function}({packed(value)});\n"


def packed(value: Any) -> str:
    """Return a value as JSON that may stand in a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    # What ends a script must not stand in it, wherever it is put.
    return text.replace("</", "<\\/")


def template(name: str) -> Any:
    """Return a file of the report's templates."""
    return files("spotmill.report") / "templates" / name


def grid(lines: Sequence[dict[str, Any]], n_manifest: int) -> str:
    """Return a page of small pictures with captions that needs no script."""
    environment = html_templates("spotmill.report")
    page = environment.get_template("gallery_grid.html.j2")
    return page.render(lines=lines, n_manifest=n_manifest) + "\n"
