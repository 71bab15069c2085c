"""Whatever a file holds, its reader returns or raises our own error: soon, and in silence.

SPOTMILL_FUZZ=20000 asks for that many examples a reader, drawn anew (`make fuzz`).
"""

import contextlib
import faulthandler
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz_examples import Reader, readers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotmill.concepts import Beam, Crystal, Response, Solvent
from spotmill.config import Config, Dataset
from spotmill.distributions import Distribution
from spotmill.errors import SpotmillError
from spotmill.formats.geom_reader import (
    BAD_DIRECTIVES,
    FILE_DIRECTIVES,
    FLAG_DIRECTIVES,
    PANEL_DIRECTIVES,
)
from spotmill.formats.geom_values import UNITS
from spotmill.randomise import Randomise
from spotmill.tasks import Task

LONG = int(os.environ.get("SPOTMILL_FUZZ", "0"))
SECONDS, MEMORY = 20.0, 6 * 2**30
READERS = readers()
MODELS = {
    "beam": Beam,
    "crystal": Crystal,
    "solvent": Solvent,
    "response": Response,
    "randomise": Randomise,
    "task": Task,
    "config": Config,
}

NASTY = [
    *("nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e400", "9" * 400, "-1", "0", "-0.0"),
    *("2147483648", "4294967296", "-2147483649", "9223372036854775808", "1000000", "0x10"),
    *("1_000", "1,000", "0,05", "1.5.2", "--", "", " ", "\t", "\0", "\ufeff", "\u2028", "\x85"),
    *("٣", "½", "²", "𝟙", "e", "1e", "+", "true", "null", "~", "[]", "{}", "!!python/none", "*a"),
    *("&a", "<<", "%", "//", "..", "/", "/dev/zero", "$(touch pwned)", "`x`", "'", '"', ";", "#"),
    *("\ud7ff", "é", "x" * 300, "=", ":", "- ", "data", "2020-13-45", "12:30:45", "0o17", "1e5"),
]
WORD = re.compile(rb"[^\s=:,\[\]{}]+")


def options(count: int) -> settings:
    return settings(
        max_examples=LONG or count,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


numbers = st.one_of(
    st.sampled_from(NASTY),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-5, 300).map(str),
    st.text(max_size=8),
)


@st.composite
def mutated(draw: Any, examples: tuple[bytes, ...]) -> bytes:
    """Return a valid file after some accidents."""
    data = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["byte", "bit", "cut", "lines", "word", "word", "insert"]))
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        if kind == "byte":
            new = draw(st.binary(min_size=1, max_size=8))
            data = data[:place] + new + data[place + len(new) :]
        elif kind == "bit":
            bit = 1 << draw(st.integers(0, 7))
            data = (
                data[:place] + bytes(b ^ bit for b in data[place : place + 1]) + data[place + 1 :]
            )
        elif kind == "cut":
            data = data[:place]
        elif kind == "insert":
            data = data[:place] + draw(st.sampled_from(NASTY)).encode() + data[place:]
        elif kind == "lines":
            data = shuffled(draw, data)
        else:
            words = list(WORD.finditer(data[:100_000]))
            if words:
                word = draw(st.sampled_from(words))
                new = draw(numbers).encode("utf-8", "surrogatepass")
                data = data[: word.start()] + new + data[word.end() :]
    return data


def shuffled(draw: Any, data: bytes) -> bytes:
    """Return a file with a line lost, doubled, moved or ended otherwise."""
    lines = data.split(b"\n")
    first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kind = draw(st.sampled_from(["lose", "double", "swap", "crlf", "cr"]))
    if kind == "lose":
        del lines[first]
    elif kind == "double":
        lines.insert(second, lines[first])
    elif kind == "swap":
        lines[first], lines[second] = lines[second], lines[first]
    return {"crlf": b"\r\n", "cr": b"\r"}.get(kind, b"\n").join(lines)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """End the whole run, with every thread's place, where an example takes too long."""
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    began = time.monotonic()
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert time.monotonic() - began < SECONDS


def check(reader: Reader, data: bytes, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Read a file, and see that nothing but our own error, of one line, comes of it."""
    path = folder / f"f{reader.suffix}"
    path.write_bytes(data)
    with guarded():
        try:
            reader.read(path)
        except SpotmillError as error:
            assert str(error) and len(str(error)) < 2000, error
            assert re.search("; |must|should|needs", str(error)), f"no remedy: {error}"
    out, err = capfd.readouterr()
    assert not err and not out, (out, err)


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let no example take all the memory there is."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for data in reader.examples:
        path = tmp_path / f"valid{reader.suffix}"
        path.write_bytes(data)
        reader.read(path)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = READERS[name]

    @options(12)
    @given(mutated(reader.examples))
    def holds(data: bytes) -> None:
        check(reader, data, tmp_path, capfd)

    holds()


def keys_of(model: Any) -> list[str]:
    return [*model.model_fields, *Distribution.model_fields, "radius", "patience", "x"]


def documents(model: Any) -> st.SearchStrategy[Any]:
    """Return mappings of the model's keys to anything."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from([1e-6, 0.01, 1, 100, "sase", "file", "flat", "jet", "measured"]),
        st.text(max_size=6),
        st.sampled_from(NASTY),
    )
    keys = st.sampled_from(keys_of(model))
    nested = st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=7), st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    )
    needed = {
        name: nested if not field.is_required() else st.one_of(st.just(1e-6), nested)
        for name, field in model.model_fields.items()
    }
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    return st.fixed_dictionaries(
        {name: needed[name] for name in sorted(required)},
        optional={name: needed[name] for name in model.model_fields if name not in required},
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_concept_of_anything_is_read_or_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @options(15)
    @given(documents(MODELS[name]))
    def holds(values: Any) -> None:
        data = yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")
        check(READERS[name], data, tmp_path, capfd)

    holds()


directives = st.one_of(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*PANEL_DIRECTIVES, *FLAG_DIRECTIVES])),
    st.tuples(st.sampled_from(["bad1", "bad2"]), st.sampled_from(list(BAD_DIRECTIVES))),
    st.tuples(
        st.just(""),
        st.sampled_from([*UNITS, *FILE_DIRECTIVES, "dim0", "dim3", "mask0_data", "group_a", "res"]),
    ),
)
values = st.one_of(
    numbers,
    st.sampled_from(["x", "-y", "+1.0x -0.1y", "1e200x +1e-200y", "a", "a,b", "0.1 m", "7 keV"]),
    st.sampled_from(["%", "ss", "fs", "/entry/x", "1e6", "999999", "1e-300", "1e300 mm"]),
)


def test_a_geometry_of_any_directives_is_read_or_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    valid = READERS["geometry"].examples[0].split(b"\n")

    @options(40)
    @given(st.lists(st.tuples(st.integers(0, len(valid)), directives, values), max_size=5))
    def holds(changes: list[Any]) -> None:
        lines = list(valid)
        for place, (owner, key), value in changes:
            whole = (f"{owner}/{key}" if owner else key).encode()
            new = whole + b" = " + value.encode("utf-8", "surrogatepass")
            same = [n for n, line in enumerate(lines) if line.startswith(whole + b" =")]
            if same:
                lines[same[0]] = new
            else:
                lines.insert(min(place, len(lines)), new)
        check(READERS["geometry"], b"\n".join(lines), tmp_path, capfd)

    holds()


def test_a_sheet_of_any_cells_is_read_or_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    columns = [*Dataset.model_fields, "dataset ", "X", ""]
    cells = st.one_of(numbers, st.sampled_from(["A", "B", "6000", "0.05", "24", '"A"', "6e3"]))
    rows = st.lists(st.lists(cells, min_size=3, max_size=6), max_size=5)

    @options(30)
    @given(st.lists(st.sampled_from(columns), max_size=6, unique=True), rows)
    def holds(header: list[str], table: list[list[str]]) -> None:
        text = "\n".join("\t".join(row) for row in [header or columns[:4], *table])
        check(READERS["sheet"], text.encode("utf-8", "surrogatepass"), tmp_path, capfd)

    holds()


@pytest.mark.parametrize("name", ["hkl", "pattern-sim list", "orientations", "spectrum", "stream"])
def test_rows_of_any_numbers_are_read_or_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = READERS[name].examples[0].split(b"\n")

    @options(15)
    @given(st.integers(0, len(lines)), st.lists(st.lists(numbers, max_size=8), max_size=4))
    def holds(place: int, rows: list[list[str]]) -> None:
        new = [" ".join(row).encode("utf-8", "surrogatepass") for row in rows]
        check(READERS[name], b"\n".join(lines[:place] + new + lines[place:]), tmp_path, capfd)

    holds()
