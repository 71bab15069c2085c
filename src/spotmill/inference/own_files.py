"""Names of what `spotmill predict` writes, and what an earlier run of it left in a folder."""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from spotmill.errors import SpotmillError

SUMMARY, PICTURES = "predict.json", "pictures"
# For CrystFEL: peaks of all frames, copies of hits, where all is in these, and the hits in them.
PEAKS, HITS = "peaks.cxi", "hits.cxi"
GEOMETRY, LIST = "predicted.geom", "hits.lst"
# Hits by their own files; hits.lst names those that hold their peaks, too.
HITS_ALONE = "hits_in_files.lst"
TABLES = ("predictions.parquet", "predictions.csv")
OWN = frozenset((*TABLES, SUMMARY, HITS_ALONE, PICTURES, PEAKS, HITS, GEOMETRY, LIST))
PICTURE = re.compile(r"\d{5}_.+_\d+\.png")


def check_not_watched(folder: Path) -> None:
    """Raise SpotmillError where a folder is that of a watch, whose tables would be lost."""
    from spotmill.inference.ledger import NAME

    if (folder / NAME).is_file():
        raise SpotmillError(
            f"--output: {folder} is a folder that spotmill watch writes; name another"
        )


def remove_leftovers(folder: Path, written: Collection[Path], read: Collection[Path]) -> None:
    """Remove an earlier run's copies of hits and pictures of hits, which others do not replace.

    Parameters
    ----------
    written
        By this run.
    read
        Files that this run read frames of; they stay.

    Raises
    ------
    SpotmillError
        When one of them cannot be removed.
    """
    from spotmill.formats.images import is_product

    kept = {os.path.realpath(path) for path in (*written, *read)}
    left = [folder / HITS] if is_product(folder / HITS) else []
    with suppress(OSError):
        left += [one for one in (folder / PICTURES).iterdir() if PICTURE.fullmatch(one.name)]
    for path in left:
        if path.is_symlink() or os.path.realpath(path) in kept:
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SpotmillError(
                f"{path}: is of an earlier run and cannot be removed ({error.strerror}); check its "
                "permissions, or name another --output"
            ) from error
    with suppress(OSError):
        # Only where nothing is left in it.
        (folder / PICTURES).rmdir()
