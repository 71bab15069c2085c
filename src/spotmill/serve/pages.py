"""The pages as HTML."""

import json
import time
from pathlib import Path
from typing import Any

from spotmill.html_templates import html_templates
from spotmill.serve.live import State
from spotmill.serve.scan import Found

BYTES = 4 << 20  # of a text or JSON file that a page shows
MOST_ENTRIES = 2000


class Pages:
    """Fills the templates.

    Parameters
    ----------
    name
        What is served, for titles.
    """

    def __init__(self, name: str) -> None:
        self._environment = html_templates("spotmill.serve")
        self._environment.filters |= {"clock": clock, "span": span, "figure": figure, "size": size}
        self._environment.globals["name"] = name

    def fill(self, template: str, **values: Any) -> str:
        """Return a template filled with values."""
        return self._environment.get_template(f"{template}.html.j2").render(**values)

    def parts(self, state: State) -> dict[str, str]:
        """Return the parts of the overview that change."""
        return {
            name: self.fill(f"part_{name}", state=state, found=state.found, progress=state.progress)
            for name in ("progress", "frames", "training", "made")
        }


def clock(seconds: float | None) -> str:
    """Return a time on the server's clock; with the day where it is not today."""
    if seconds is None:
        return "–"
    local, now = time.localtime(seconds), time.localtime()
    today = local[:3] == now[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", local)


def span(seconds: float | None) -> str:
    """Return a span in words."""
    if seconds is None:
        return "–"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def figure(value: Any) -> str:
    """Return a number in four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"


def read_text(path: Path) -> str:
    """Return the text of a file, as far as a page shows it."""
    with path.open("rb") as file:
        return file.read(BYTES).decode("utf-8", "replace")


def read_json(path: Path) -> Any:
    """Return what a JSON file says; None where it says nothing."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None


def facts(told: Any) -> list[tuple[str, str]]:
    """Return the plain values of a JSON object, in its order."""
    if not isinstance(told, dict):
        return []
    shown = []
    for key, value in told.items():
        if isinstance(value, str | int | float) and key != "sha256":
            shown.append((str(key), figure(value)))
        elif (
            isinstance(value, list)
            and 0 < len(value) <= 12
            and all(isinstance(one, str | int | float) for one in value)
        ):
            shown.append((str(key), ", ".join(map(figure, value))))
    return shown


def result_rows(told: Any) -> tuple[list[str], list[list[str]]]:
    """Return the results of an evaluation as a table: its columns and rows."""
    results = told.get("results") if isinstance(told, dict) else None
    rows = [one for one in listed(results) if isinstance(one, dict)]
    columns = [
        key
        for key in dict.fromkeys(key for one in rows for key in one)
        if any(isinstance(one.get(key), str | int | float) for one in rows)
    ]
    # Its words are long.
    columns.sort(key="explained".__eq__)
    return columns, [[figure(plain(one.get(key))) for key in columns] for one in rows]


def listed(value: Any) -> list[Any]:
    """Return a list where there is one, else nothing."""
    return value if isinstance(value, list) else []


def plain(value: Any) -> Any:
    """Return a value where it is a plain one, else None."""
    return value if isinstance(value, str | int | float) else None


def tasks_of(found: Found) -> list[tuple[str, bool, bool]]:
    """Return the tasks with whether there is a model and an evaluation."""
    names = sorted({*found.models, *found.evaluations})
    return [(name, name in found.models, name in found.evaluations) for name in names]
