"""The section "Cost" of the report, as a script that fills it."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from spotmill.html_templates import html_templates


def script(table: pd.DataFrame, sentences: Sequence[str], off: Sequence[str], chart: str) -> str:
    """Return `cost.js`: what the section says, its table and its chart.

    Parameters
    ----------
    table
        Costs by rule (`spotmill.report.cost.table`).
    sentences, off
        What there is to say, and where the plan was off.
    chart
        The Plotly figure as JSON.
    """
    environment = html_templates("spotmill.report")
    environment.filters |= {"short": short}
    html = environment.get_template("cost_told.html.j2").render(
        rows=plain_rows(table), sentences=sentences, off=off
    )
    code = environment.get_template("cost.js").render()
    return f"{code}\nspotmill.cost({json.dumps({'html': html, 'chart': json.loads(chart)})});\n"


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, with None where there is no number."""
    rows = table.astype(object).where(table.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def short(value: float | None) -> str:
    """Return a number with as many digits as one reads; a dash where there is none."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}" if value >= 0.01 or not value else f"{value:.1g}"
