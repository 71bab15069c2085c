"""Runs of `spotmill watch` as processes of their own, and what must hold of their outputs."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

LONG = 100.0  # s; other tests may keep the processor busy


class Server:
    """The process that starts watches."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("watch_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, **request: object) -> object:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()


@dataclass
class Watch:
    """A watch of a folder, which may be started many times."""

    server: Server
    models: Path
    folder: Path
    output: Path
    flags: Sequence[object] = ()
    pid: int = 0

    @property
    def log(self) -> Path:
        return self.output.with_name(f"{self.output.name}.log")

    def start(self, *flags: object, line: int | None = None) -> None:
        """Start it; `line`: killed after so many lines."""
        words = ["watch", self.folder, "--models", self.models, "--output", self.output]
        words += ["--every", 0.1, *self.flags, *flags]
        request = {"words": [str(word) for word in words], "log": str(self.log), "line": line}
        self.pid = int(str(self.server.ask(**request)))

    def wait(self, seconds: float = LONG) -> int | None:
        """Return the code that it ended with, None where it has not ended."""
        found = self.server.ask(wait=self.pid, seconds=seconds)
        if found is None:
            return None
        self.pid = 0
        return int(str(found))

    def kill(self) -> None:
        """Kill it, if it still runs."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self, number: int = signal.SIGINT) -> int | None:
        """Ask it to end; return its code."""
        os.kill(self.pid, number)
        return self.wait()

    def run(self, *flags: object) -> int | None:
        """Run it to its end."""
        self.start(*flags)
        return self.wait()

    def said(self) -> str:
        """Return all that it ever printed."""
        return self.log.read_text()

    def rows(self) -> int:
        """Return the number of whole lines of the table, as a reader sees it."""
        table = self.output / "predictions.csv"
        return max(table.read_bytes().count(b"\n") - 1, 0) if table.is_file() else 0

    def until(self, rows: int) -> None:
        """Wait for so many rows."""
        end = time.monotonic() + LONG
        while self.rows() < rows:
            assert time.monotonic() < end, self.said()[-3000:]
            time.sleep(0.05)

    def until_said(self, words: str) -> None:
        """Wait for words on its terminal."""
        end = time.monotonic() + LONG
        while words not in (self.log.read_text() if self.log.is_file() else ""):
            assert time.monotonic() < end, self.said()[-3000:]
            time.sleep(0.05)


def table(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "predictions.csv")


def events(output: Path) -> list[tuple[str, int]]:
    """Return name of the file, and event, of every row, in order."""
    found = table(output)
    rows = zip(found["file"], found["event"], strict=True)
    return [(Path(file).name, int(event)) for file, event in rows]


def check_whole(output: Path, expected: Sequence[tuple[str, int]]) -> None:
    """Check that every expected event is there once, and all outputs say the same."""
    found = events(output)
    assert sorted(found) == sorted(expected)
    rows = table(output)
    with sqlite3.connect(output / "watch.sqlite") as database:
        ledger = database.execute(
            "SELECT file, event, is_hit, n_peaks, version FROM frames ORDER BY number"
        ).fetchall()
        versions = dict(database.execute("SELECT path, version FROM files"))
    database.close()
    assert [(Path(row[0]).name, row[1]) for row in ledger] == found
    parquet = pd.read_parquet(output / "predictions.parquet")
    for name in ("file", "event", "is_hit", "n_peaks", "version"):
        assert parquet[name].tolist() == rows[name].tolist()
    assert np.allclose(parquet["probability"], rows["probability"], rtol=1e-5)
    listed = (output / "hits.lst").read_text().splitlines()
    now = {Path(path).name: version for path, version in versions.items()}
    assert listed == [
        f"{row.file} //{row.event}" if row.file.endswith(".h5") else row.file
        for row in rows.itertuples()
        if row.is_hit and row.version == now[Path(row.file).name]
    ]
    counts: list[int] = []
    for part in sorted((output / "peaks").iterdir()):
        with h5py.File(part, "r") as file:
            counts += file["entry_1/result_1/nPeaks"][:].tolist()
    assert counts == rows["n_peaks"].tolist()
