"""Benchmark files of Snakemake, in which a job's seconds, memory and more stand."""

import math
from pathlib import Path

MOST = 65536  # bytes of a file that are read; a row has about 100


def benchmark_rows(path: Path) -> list[dict[str, float]]:
    """Return the numbers of each run of a job by column, those that were measured alone.

    Nothing without a file, or where it was cut short: `s`, the seconds, is in every row.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head, *lines = [line.split("\t") for line in file.read(MOST).splitlines()]
        texts = [dict(zip(head, line, strict=True)) for line in lines]
    except (OSError, ValueError):
        return []
    rows = [
        {name: value for name, text in row.items() if (value := measured(text)) is not None}
        for row in texts
    ]
    return rows if all("s" in row for row in rows) else []


def measured(text: str) -> float | None:
    """Return a number; None for what Snakemake writes where it could not measure."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
