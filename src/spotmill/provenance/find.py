"""Find a frame by what a user has at hand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spotmill.config import FIRST_EMPTY
from spotmill.errors import SpotmillError
from spotmill.formats.tables import MANIFEST, read_table
from spotmill.overlays.opener import open_overlay

SIBLINGS = {
    "overlay": "images/peaks_water_overlay/{dataset}/{shard}.h5",
    "peaks": "images/peaks/{dataset}/{shard}.h5",
    "labels": "images/labels/{dataset}/{shard}.h5",
    "truth": "truth/{dataset}/{shard}.parquet",
    "frames": "truth/{dataset}/{shard}.frames.parquet",
}
FORMS = "give FILE.h5 NUMBER, FILE.h5//NUMBER or DATASET/INDEX (empties: DATASET/e0 ...)"


@dataclass(frozen=True)
class Place:
    """Where a frame stands.

    Attributes
    ----------
    path, position
        The shard, and the number of the frame within it (CrystFEL's event `//position`).
    beside
        Files of the same shard by what they hold, of those that are there.
    results
        The folder that holds images, tables and the rest.
    """

    path: Path
    position: int
    beside: dict[str, Path]
    results: Path

    @property
    def project(self) -> Path:
        """The folder to which names in the configuration are relative."""
        return self.results.parent


def find(words: Sequence[str], results: Path) -> Place:
    """Return the place of a frame that one or two words name.

    Raises
    ------
    SpotmillError
        When the words name no frame; it says which there are.
    """
    name, number = _parts(words)
    path = Path(name)
    if path.suffix == ".h5" or path.is_file():
        return _in_shard(path, _whole(number, name))
    if number is None:
        raise SpotmillError(f"{name}: names no frame; {FORMS}")
    index = int(number[1:]) + FIRST_EMPTY if number[0] == "e" else _whole(number, name)
    return _in_dataset(name, index, results)


def _parts(words: Sequence[str]) -> tuple[str, str | None]:
    if len(words) > 2:
        raise SpotmillError(f"{' '.join(words)}: names no frame; {FORMS}")
    text = words[0]
    if len(words) == 2:
        return text, words[1].removeprefix("//")
    if "//" in text:
        name, _, number = text.rpartition("//")
        return name.strip(), number.strip()
    named = re.fullmatch(r"([^/]+)/(e?[0-9]+)", text, re.ASCII)
    if named and not Path(text).is_file():
        return named[1], named[2]
    return text, None


def _whole(number: str | None, name: str) -> int:
    if number is None or not re.fullmatch(r"[0-9]{1,18}", number, re.ASCII):
        told = "" if number is None else f" ({number[:40]!r})"
        raise SpotmillError(f"{name}: which frame{told}? {FORMS}")
    return int(number)


def _in_shard(path: Path, position: int) -> Place:
    with open_overlay(path) as shard:
        if position >= len(shard):
            raise SpotmillError(
                f"{path}: holds {len(shard)} frames, numbered 0 to {len(shard) - 1}; "
                f"there is no {position}"
            )
        dataset = shard.header.dataset
    absolute = path.resolve()
    # .../results/images/peaks/02/p00000.h5, or .../results/images/water/02.h5
    above = [parent for parent in absolute.parents if parent.name == "images"]
    if not above:
        return Place(path, position, {}, Path("results"))
    root = _as_given(path, above[0].parent)
    beside = {
        what: file
        for what, pattern in SIBLINGS.items()
        if (file := root / pattern.format(dataset=dataset, shard=absolute.stem)).is_file()
        and file.resolve() != absolute
    }
    return Place(path, position, beside, root)


def _as_given(path: Path, folder: Path) -> Path:
    """Return an absolute folder as the path was given: relative where that was."""
    if path.is_absolute() or not folder.is_relative_to(Path.cwd()):
        return folder
    return folder.relative_to(Path.cwd())


def _short(index: int) -> str:
    return f"e{index - FIRST_EMPTY}" if index >= FIRST_EMPTY else str(index)


def _in_dataset(dataset: str, index: int, results: Path) -> Place:
    manifests = results / "manifest"
    there = sorted({path.stem for path in manifests.glob("*.parquet")} - {"all"})
    if dataset not in there:
        told = f"there are {', '.join(there)}" if there else f"none in {manifests}"
        raise SpotmillError(f"{dataset}: no such dataset ({told}); correct it, or give --results")
    table = read_table(manifests / f"{dataset}.parquet", MANIFEST).select(
        ["index", "kind", "overlay", "position"]
    )
    rows = table.to_pandas()
    found = rows[rows["index"] == index]
    if found.empty:
        spans = [
            f"{kind}: {_short(part.min())} to {_short(part.max())}"
            for kind, part in rows.groupby("kind")["index"]
            if len(part)
        ]
        raise SpotmillError(
            f"{dataset}/{_short(index)}: no such frame; there are {', '.join(spans)}"
        )
    row = found.iloc[0]
    return _in_shard(results.parent / str(row["overlay"]), int(row["position"]))
