"""`spotmill check` knows the columns of predictions of every kind of task."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from spotmill.audit.expected import Expected
from spotmill.audit.tables import prediction_findings
from spotmill.tasks import Task

KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "hit": ({"model": "linear"}, ("truth", "said", "score_0", "score_1")),
    "peaks": ({"model": "peak_net"}, ("fs", "ss", "intensity", "score", "matched")),
    "camera_length": (
        {"model": "profile_likelihood", "scale": "values"},
        ("truth", "said", "sigma"),
    ),
}


@pytest.mark.parametrize("target", KINDS)
def test_columns(target: str, tmp_path: Path) -> None:
    keys, columns = KINDS[target]
    task = Task(target=target, epochs=1, learning_rate=1e-3, **keys)
    path = tmp_path / "predictions.parquet"
    file = Expected(str(path), "evaluate", "mine")
    plan: Any = SimpleNamespace(tasks={"mine": task})
    table = pd.DataFrame({name: [1] for name in ("dataset", "index", *columns)})
    table.to_parquet(path)
    assert list(prediction_findings(plan, file)) == []
    table.drop(columns=["index", columns[0]]).to_parquet(path)
    assert list(prediction_findings(plan, file)) == [
        "lacks the column 'index'",
        f"lacks the column {columns[0]!r}",
    ]
