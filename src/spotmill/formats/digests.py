"""SHA-256 of files: lists as sha256sum writes them, and files that carry their own."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import write_text

PLACEHOLDER = "0" * 64
OWN = re.compile(rb"sha256\W{1,8}([0-9a-f]{64})")
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; raise SpotmillError without a file."""
    try:
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise SpotmillError(
            f"{path}: cannot be read ({error.strerror}); remake it (name it to snakemake)"
        ) from error


def write_digests(path: str | Path, comments: Iterable[str], digests: Mapping[str, str]) -> None:
    """Write a list that `sha256sum --check` takes, after lines of comment."""
    lines = [f"# {comment}" for comment in comments]
    lines += [f"{digest}  {name}" for name, digest in digests.items()]
    write_text(path, "\n".join(lines) + "\n")


def read_digests(path: str | Path) -> dict[str, str]:
    """Return the digests of a list by name of file.

    Raises
    ------
    SpotmillError
        When it is missing or no such list.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SpotmillError(f"{path}: cannot be read; delete it and run snakemake again") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        match = LINE.fullmatch(line)
        if match:
            found[match[2]] = match[1]
        elif not line.startswith("# "):
            raise SpotmillError(
                f"{path}: line {number} is no digest; delete it and run snakemake again"
            )
    if not found:
        raise SpotmillError(f"{path}: lists no file; delete it and run snakemake again")
    return found


def fingerprint(digests: Iterable[str]) -> str:
    """Return one digest for many files, whatever their names and order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def signed(raw: bytes) -> bytes:
    """Return bytes with the SHA-256 of the whole in the place of its last placeholder."""
    before, found, after = raw.rpartition(PLACEHOLDER.encode())
    if not found:
        raise ValueError("no placeholder for the digest")
    return before + hashlib.sha256(raw).hexdigest().encode() + after


def is_altered(raw: bytes) -> bool:
    """Return whether bytes carry a SHA-256 of their own that is not theirs."""
    matches = list(OWN.finditer(raw))
    if not matches:
        return False
    first, last = matches[-1].span(1)
    plain = raw[:first] + PLACEHOLDER.encode() + raw[last:]
    return hashlib.sha256(plain).hexdigest().encode() != matches[-1][1]


def signed_json(values: Mapping[str, Any]) -> str:
    """Return values as JSON text with a last key `sha256`, of the text with zeros there."""
    text = json.dumps({**values, "sha256": PLACEHOLDER}, indent=1) + "\n"
    return signed(text.encode()).decode()
