"""Every file that a command reads or writes, in turn, is none: a pipe, a loop, a folder ..."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import GOOD, words
from test_bad_input import listing, made, prepared  # noqa: F401

from spotmill.cli import main

# Of a command's words, those that name no file to be read.
NO_INPUT = {"output", "figures", "seed", "d_min", "photon_energy", "clen", "dataset"}
WRITTEN = {"simulate": ("output", "truth"), "report": ("output", "figures")}
# These read no file; where `init` may not write stands in bad_inputs_front.py.
FILED = [command for command in GOOD if command not in ("init", "completion")]
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("/no/such/file")


def written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": device,
    "loop": loop,
    "dangling link": dangling,
    "folder": Path.mkdir,
    "empty": written(b""),
    "picture": written(PNG),
    "HDF5 start": written(b"\x89HDF\r\n\x1a\n" + bytes(600)),
    "Parquet start": written(b"PAR1" + bytes(40) + b"\xff\xff\xff\x7fPAR1"),
    "UTF-16": written("nphotons: 1\n".encode("utf-16-le")),
    "Latin-1": written(b"name: prot\xe9ine\n"),
    "NUL bytes": written(bytes(5000)),
    "gzip": written(b"\x1f\x8b\x08\x00" + bytes(60)),
}


def inputs(command: str) -> list[str]:
    """Return the options of a command that name files to be read."""
    found = []
    for key, value in GOOD[command].items():
        first = value[0] if isinstance(value, list) else value
        output = key in NO_INPUT or key in WRITTEN.get(command, ())
        if not output and isinstance(first, str) and Path(first).exists():
            found.append(key)
    return found


def refused(given: list[str], folder: Path, capfd: pytest.CaptureFixture[str], what: str) -> None:
    before = listing(folder)
    try:
        code = main(given)
    except SystemExit as left:
        code = int(left.code or 0)
    said = capfd.readouterr().err
    if given[0] == "pattern-sim":
        said = said[said.index("spotmill pattern-sim") :]  # after a note on its samples
    assert code in (1, 2) and said.count("\n") == 1, f"{what}: {code}: {said}"
    assert said.startswith(f"spotmill {given[0]}: error: ") and len(said) < 1000, f"{what}: {said}"
    assert re.search("; |must|should|needs", said), f"{what}: names no remedy: {said}"
    assert said.rstrip("\n").isprintable(), f"{what}: {said}"
    assert listing(folder) == before, f"{what}: left something"


def replaced_with(value: Any, name: str) -> Any:
    return [name, *value[1:]] if isinstance(value, list) else name


def is_folder(value: Any) -> bool:
    return Path(value[0] if isinstance(value, list) else value).is_dir()


@pytest.mark.parametrize("command", FILED)
def test_no_file_of_another_kind_is_taken(
    command: str,
    prepared: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert inputs(command)
    for key in inputs(command):
        value = GOOD[command][key]
        first = Path(value[0] if isinstance(value, list) else value)
        for kind, make in KINDS.items():
            if kind == "empty" and key == "response":
                continue
            name = first.with_name(f"bad{first.suffix}")
            make(name)
            given = words(command, {key: replaced_with(value, str(name))})
            refused(given, prepared, capfd, f"{key} that is a {kind}")
            name.rmdir() if kind == "folder" else name.unlink()
        for name in ("x" * 300, "a/" * 3000 + "x", "/proc/self/fd/9999", f"{first}/x"):
            given = words(command, {key: replaced_with(value, name)})
            refused(given, prepared, capfd, f"{key} called {name[:20]}")


@pytest.mark.parametrize("command", FILED)
def test_no_output_goes_where_it_must_not(
    command: str,
    prepared: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    os.mkfifo("pipe.h5")
    Path("loop.h5").symlink_to("loop.h5")
    Path("taken.h5").mkdir()
    Path("taken.h5/file").write_text("precious\n")
    for key in WRITTEN.get(command, ("output",)):
        suffix = Path(GOOD[command][key]).suffix
        into_folder = not suffix
        places = ["pipe.h5", "/dev/null", "loop.h5", "x" * 300, "config/config.yaml/x.h5"]
        places += [] if into_folder else ["taken.h5"]
        for place in places:
            refused(words(command, {key: place}), prepared, capfd, f"{key} at {place[:30]}")
        for other in inputs(command):
            value = GOOD[command][other]
            first = value[0] if isinstance(value, list) else value
            given = words(command, {key: f"./{first}"})
            refused(given, prepared, capfd, f"{key} over {other}")
    assert Path("taken.h5/file").read_text() == "precious\n"
    assert Path("/dev/null").is_char_device()


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give up the rights of root for a while, where these tests run as root."""
    if os.geteuid():
        yield
        return
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("command", FILED)
def test_what_may_not_be_read_or_written_is_said(
    command: str,
    prepared: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = inputs(command)[0]
    value = GOOD[command][key]
    first = Path(value[0] if isinstance(value, list) else value)
    mode = first.stat().st_mode
    here = Path()  # nobody may look at the folders above
    Path("locked").mkdir(mode=0o555)
    if command == "export":
        # What it imports late, nobody may be unable to read.
        assert main(words(command, {"output": "before.onnx"})) == 0
        capfd.readouterr()
    with as_nobody(prepared):
        for name in WRITTEN.get(command, ("output",)):
            there = f"locked/{GOOD[command][name]}"
            refused(words(command, {name: there}), here, capfd, f"{name} in a locked folder")
    first.chmod(0)
    with as_nobody(prepared):
        refused(words(command, {}), here, capfd, f"{key} that is locked")
    first.chmod(mode)
