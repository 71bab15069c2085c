"""The history of a training, as its folder keeps it."""

import csv
import io

HISTORY = "history.csv"


def history_text(rows: list[dict[str, float]]) -> str:
    """Return the history of a training as CSV, one row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
