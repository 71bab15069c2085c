r"""Show a finished table of predictions against time, and tell when the stream drifted.

Example::

    spotmill monitor predicted/ --output monitored

Reads predictions.parquet of `spotmill predict` or `spotmill watch` (a file, a folder of parts, or
the folder that holds it), puts the frames in the order of their times, and writes watch.html,
monitor.csv, alarms.csv and watch.json.
"""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from spotmill.commands.arguments import add_output
from spotmill.commands.watch import add_drift_arguments
from spotmill.errors import SpotmillError

TABLE = "predictions.parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill monitor`."""
    parser.add_argument("table", metavar="TABLE", type=Path, help=f"{TABLE}, or its folder")
    add_output(parser, "folder to write")
    add_drift_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run `spotmill monitor`."""
    import numpy as np

    from spotmill.formats.atomic import make_folder, write_text
    from spotmill.inference.drift import ALARM_COLUMNS
    from spotmill.inference.monitor import NAMES, PAGE, Monitor
    from spotmill.inference.published import ALARMS
    from spotmill.inference.tables import shown

    table = read(args.table)
    times = table["time"].to_numpy(dtype=float) / 1000
    order = np.argsort(times, kind="stable")
    values = {name: table[name].to_numpy(dtype=float)[order] for name in NAMES}
    facts = {"table": str(args.table)}
    monitor = Monitor(f"Spotmill: {args.table}", args.block, args.false_alarms, facts)
    make_folder(args.output / PAGE)
    by = table["time_by"].fillna("").to_numpy()[order].tolist()
    alarms = monitor.take(values, times[order], np.zeros(len(order), dtype=bool), by)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ALARM_COLUMNS)
    for fields in [alarm.fields() for alarm in alarms]:
        writer.writerow([shown(fields[name]) for name in ALARM_COLUMNS])
    write_text(args.output / ALARMS, text.getvalue())
    summary = monitor.write(args.output, "", {})
    for alarm in alarms:
        print(alarm.words)
    print(f"frames {summary['frames']}, hits {summary['hits']}, alarms {summary['alarms']}")
    print(f"written: {args.output}/watch.html, monitor.csv, alarms.csv, watch.json")
    return 0


def read(path: Path) -> Any:
    """Return the table of a file or folder.

    Raises
    ------
    SpotmillError
        When there is none, it is no table of predictions, or holds no frames.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from spotmill.inference.monitor import NAMES

    columns = [*NAMES, "time", "time_by"]
    place = path / TABLE if (path / TABLE).exists() else path
    if not place.exists():
        raise SpotmillError(f"{path}: no such file or folder; give a {TABLE}, or the folder of one")
    try:
        known = pq.ParquetDataset(place).schema.names
        lacking = [name for name in columns if name not in known]
        if lacking:
            raise SpotmillError(
                f"{place}: lacks {', '.join(lacking)}; give a table that spotmill predict or watch "
                "wrote"
            )
        table = pq.read_table(place, columns=columns)
    except (pa.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:160]
        raise SpotmillError(
            f"{place}: cannot be read as a table ({words}); give a {TABLE}"
        ) from error
    if not table.num_rows:
        raise SpotmillError(f"{place}: holds 0 frames; give a table with frames")
    # ms since 1970; NaN where nobody knows.
    clock = table["time"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    return table.set_column(table.schema.get_field_index("time"), "time", clock).to_pandas()
