r"""Check the installation, and what the project in this folder needs of the machine.

Examples::

    spotmill doctor
    spotmill doctor --json | jq '.findings[] | select(.state != "ok")'

One line for each thing looked at: ok, warning or failure, what was found, and what to do. Libraries
are tried, not only looked for: torch multiplies on every GPU, numba compiles, the filters of HDF5
give back what they packed. In a project's folder the configuration, the memory and the disk are
looked at, too. Ends with 1 where there is a failure. Nothing is changed.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotmill.doctor.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spotmill doctor`."""
    parser.add_argument("--json", action="store_true", help="write JSON, for machines")


def run(args: argparse.Namespace) -> int:
    """Run `spotmill doctor`; return 1 where something is broken."""
    from spotmill import __version__

    found = []
    for finding in findings():
        found.append(finding)
        if not args.json:
            print(finding.line(), flush=True)
    counts = {
        state: sum(one.state == state for one in found) for state in ("ok", "warning", "failure")
    }
    if args.json:
        told = {"version": __version__, **counts, "findings": [asdict(one) for one in found]}
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        total = ", ".join(f"{count} {state}" for state, count in counts.items())
        print(f"spotmill {__version__}: {total}")
    return int(counts["failure"] > 0)


def findings() -> "Iterator[Finding]":
    """Yield all findings, in the order in which they are looked for."""
    from spotmill.doctor import libraries, machine

    yield from libraries.look(("torch", "numba", "hdf5plugin", "fabio"))
    yield from machine.look()
